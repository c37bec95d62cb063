//! Streams: started and ended by the node that takes them in.

use domain::{
    ids::{ChannelId, NodeId, StreamId},
    streams::{AudioTrack, EndReason, StreamRefusal, VideoTrack},
};
use time::OffsetDateTime;

use crate::{CommandError, Commands, LoadError};

/// A stream whose first key frame is in.
#[derive(Debug, Clone, PartialEq)]
pub struct StartStream {
    /// The new stream, numbered by its node.
    pub stream_id: StreamId,
    /// Whose broadcast it is.
    pub channel_id: ChannelId,
    /// The node that takes it in.
    pub node_id: NodeId,
    /// The channel's title at this moment.
    pub title: String,
    /// The picture.
    pub video: VideoTrack,
    /// The sound, if there is any.
    pub audio: Option<AudioTrack>,
}

/// A stream that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenStream {
    /// The stream.
    pub stream_id: StreamId,
    /// Whose broadcast it is.
    pub channel_id: ChannelId,
    /// When it started.
    pub started_at: OffsetDateTime,
}

/// Stores that a stream started; the same again is fine. Answers the position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] with `StreamRefusal::ChannelLive` while the channel has another live stream.
pub async fn start(commands: &Commands, start: StartStream) -> Result<i64, CommandError<StreamRefusal>> {
    let _ = (commands, start);
    todo!()
}

/// Stores that a stream ended; the same again is fine, and the first reason stays. Answers the position at which the
/// log shows it.
///
/// # Errors
/// [`CommandError::Refused`] when there is no such stream, or another node takes it in.
pub async fn end(
    commands: &Commands,
    stream_id: StreamId,
    node_id: NodeId,
    reason: EndReason,
) -> Result<i64, CommandError<StreamRefusal>> {
    let _ = (commands, stream_id, node_id, reason);
    todo!()
}

/// The streams of a node that have not ended, oldest first; what a crash left open among them.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn open_streams(commands: &Commands, node_id: NodeId) -> Result<Vec<OpenStream>, LoadError> {
    let _ = (commands, node_id);
    todo!()
}
