//! What the media plane needs from the rest of the platform. The binary wires it to the write side; tests record calls.

use domain::{
    ids::{ChannelId, StreamId},
    streams::{AudioTrack, EncoderName, EndReason, VideoTrack},
};
use futures::future::BoxFuture;
use thiserror::Error;
use time::OffsetDateTime;

/// Whose stream key it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// The channel that the key publishes to.
    pub channel_id: ChannelId,
    /// Its handle, for log lines.
    pub channel_handle: String,
}

/// A stream whose first key frame is in.
#[derive(Debug, Clone, PartialEq)]
pub struct StartedStream {
    /// The new stream; made by the media plane.
    pub stream_id: StreamId,
    /// Whose broadcast it is.
    pub channel_id: ChannelId,
    /// The picture as the encoder sends it.
    pub video: VideoTrack,
    /// The sound as the encoder sends it, if there is any.
    pub audio: Option<AudioTrack>,
    /// What the encoder calls itself, if it says.
    pub encoder: Option<EncoderName>,
}

/// A stream that a crash of this node left without an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenStream {
    /// The stream.
    pub stream_id: StreamId,
    /// Whose broadcast it is.
    pub channel_id: ChannelId,
    /// When its first key frame was in.
    pub started_at: OffsetDateTime,
}

/// Why the write side says no. The texts are shown to the streamer by the encoder and on the dashboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PublishError {
    /// No channel has this stream key, or it was rotated.
    #[error("This stream key is not known or no longer valid. Copy the current one from the dashboard.")]
    KeyUnknown,
    /// The channel has a live stream.
    #[error("This channel is already live. Stop the other encoder first.")]
    AlreadyLive,
    /// There is no such stream to end, or another node owns it.
    #[error("There is no such stream on this node.")]
    StreamUnknown,
    /// The write side does not answer, and what was asked may or may not have happened.
    #[error("The server cannot start streams at the moment. Please try again.")]
    Unavailable,
}

/// The write side, as the media plane sees it.
///
/// Calls are repeated after [`PublishError::Unavailable`], so `stream_started` and `stream_ended` must succeed when
/// the same fact about the same stream is already stored. A call that does not answer within
/// [`Patience::call`](crate::Patience::call) is dropped and counts as unavailable.
pub trait Publishing: Send + Sync + 'static {
    /// Whose key this is. Asked on every connection, so that a key just rotated is refused at once.
    fn authorise_publisher<'a>(&'a self, stream_key: &'a str) -> BoxFuture<'a, Result<Publisher, PublishError>>;

    /// Stores that a stream has started. Viewers see it only afterwards.
    fn stream_started(&self, stream: StartedStream) -> BoxFuture<'_, Result<(), PublishError>>;

    /// Stores that a stream has ended.
    fn stream_ended(&self, stream_id: StreamId, reason: EndReason) -> BoxFuture<'_, Result<(), PublishError>>;

    /// The streams that this node has started and not ended, in no particular order; asked once, at start.
    fn open_streams(&self) -> BoxFuture<'_, Result<Vec<OpenStream>, PublishError>>;
}
