use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{CutShort, RecordedRendition, RecordingDeletedReason, RecordingFailure, RecordingVisibility};
use crate::{
    Claim, Claimed, Event,
    channels::Title,
    ids::{AccountId, ChannelId, NodeId, RecordingId, StreamId},
    timestamp,
};

/// What can have happened to a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum RecordingEvent {
    /// A stream is being kept.
    Started {
        /// The recording.
        recording_id: RecordingId,
        /// The stream that it keeps.
        stream_id: StreamId,
        /// Whose broadcast that is.
        channel_id: ChannelId,
        /// The node that takes the stream in, and keeps it.
        node_id: NodeId,
        /// The channel's title at the time.
        title: Title,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        started_at: OffsetDateTime,
    },
    /// The recording is complete and can be watched.
    Published {
        /// The recording.
        recording_id: RecordingId,
        /// Whose it is.
        channel_id: ChannelId,
        /// How long it plays, in milliseconds.
        duration_ms: i64,
        /// All that is stored of it, in bytes.
        size_bytes: i64,
        /// The qualities that it can be watched in, `source` first.
        renditions: Vec<RecordedRendition>,
        /// How often something of the stream is missing in between; 0 when it is whole.
        gap_count: i64,
        /// Why it is shorter than its stream; `null` when it is not.
        cut_short: Option<CutShort>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        published_at: OffsetDateTime,
    },
    /// Nothing of the stream could be kept.
    Failed {
        /// The recording.
        recording_id: RecordingId,
        /// Whose it is.
        channel_id: ChannelId,
        /// Why.
        reason: RecordingFailure,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        failed_at: OffsetDateTime,
    },
    /// What is said of it, or who finds it, is new; all of it is named.
    Edited {
        /// The recording.
        recording_id: RecordingId,
        /// Whose it is.
        channel_id: ChannelId,
        /// Its title from now on.
        title: Title,
        /// Who finds it from now on.
        visibility: RecordingVisibility,
        /// Whether viewers may download it from now on; its owner always may.
        is_download_allowed: bool,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        edited_at: OffsetDateTime,
    },
    /// The recording is not to be had any more; what is stored of it goes soon after.
    Deleted {
        /// The recording.
        recording_id: RecordingId,
        /// Whose it was.
        channel_id: ChannelId,
        /// The stream that it kept.
        stream_id: StreamId,
        /// Who wanted it; `null` for Weir itself.
        by: Option<AccountId>,
        /// Why.
        reason: RecordingDeletedReason,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        deleted_at: OffsetDateTime,
    },
}

impl RecordingEvent {
    /// The stored names of all events of a recording.
    pub const TYPES: &[&'static str] =
        &["recording.started", "recording.published", "recording.failed", "recording.edited", "recording.deleted"];

    /// The recording that it happened to.
    #[must_use]
    pub fn recording_id(&self) -> RecordingId {
        match self {
            Self::Started { recording_id, .. }
            | Self::Published { recording_id, .. }
            | Self::Failed { recording_id, .. }
            | Self::Edited { recording_id, .. }
            | Self::Deleted { recording_id, .. } => *recording_id,
        }
    }
}

impl Event for RecordingEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Started { .. } => "recording.started",
            Self::Published { .. } => "recording.published",
            Self::Failed { .. } => "recording.failed",
            Self::Edited { .. } => "recording.edited",
            Self::Deleted { .. } => "recording.deleted",
        }
    }

    fn claims(&self) -> Vec<Claim> {
        match self {
            // For ever: a stream that was recorded once is not recorded a second time when its node comes back.
            Self::Started { stream_id, .. } => {
                vec![Claim::Take { kind: Claimed::RecordedStream, name: stream_id.to_string() }]
            }
            Self::Published { .. } | Self::Failed { .. } | Self::Edited { .. } | Self::Deleted { .. } => Vec::new(),
        }
    }
}
