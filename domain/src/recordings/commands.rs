use super::{FinishedRecording, RecordingDeletedReason, RecordingFailure, RecordingVisibility};
use crate::{
    channels::Title,
    ids::{AccountId, ChannelId, NodeId, RecordingId, StreamId},
};

/// What a recording can be told to do.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordingCommand {
    /// The first of its stream is being kept.
    Start {
        /// The new recording.
        recording_id: RecordingId,
        /// The stream that it keeps.
        stream_id: StreamId,
        /// Whose broadcast that is.
        channel_id: ChannelId,
        /// The node that takes the stream in, and keeps it.
        node_id: NodeId,
        /// The channel's title at this moment.
        title: Title,
    },
    /// All of it is stored.
    Publish {
        /// What has come of it.
        finished: FinishedRecording,
    },
    /// There is nothing of it.
    Fail {
        /// Why.
        reason: RecordingFailure,
    },
    /// Change what is said of it and who finds it.
    Edit {
        /// The version that the editor saw; refused when it is no longer current.
        expected_version: Option<i64>,
        /// A new title, or `None` to leave it.
        title: Option<Title>,
        /// Who finds it, or `None` to leave it.
        visibility: Option<RecordingVisibility>,
        /// Whether viewers may download it, or `None` to leave it.
        is_download_allowed: Option<bool>,
    },
    /// It is not to be had any more.
    Delete {
        /// Who wants it; `None` for Weir itself.
        by: Option<AccountId>,
        /// Why.
        reason: RecordingDeletedReason,
    },
}
