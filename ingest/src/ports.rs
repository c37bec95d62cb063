//! What the media plane needs from the rest of the platform. The binary wires it to the write side; tests record calls.

use domain::{
    ids::{ChannelId, RecordingId, StreamId},
    recordings::{FinishedRecording, RecordingFailure},
    streams::{AudioTrack, EncoderName, EndReason, Rendition, RenditionsReason, VideoTrack},
};
use futures::future::BoxFuture;
use thiserror::Error;
use time::OffsetDateTime;

use crate::rights::{ChannelRights, KnownRecording};

/// Whose stream key it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// The channel that the key publishes to.
    pub channel_id: ChannelId,
    /// Its handle, for log lines.
    pub channel_handle: String,
    /// Who may watch what it publishes.
    pub rights: ChannelRights,
}

/// A stream whose first key frame is in, or the first sound of one without a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct StartedStream {
    /// The new stream; made by the media plane.
    pub stream_id: StreamId,
    /// Whose broadcast it is.
    pub channel_id: ChannelId,
    /// The picture as the encoder sends it; `None` where it sends sound alone.
    pub video: Option<VideoTrack>,
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
    /// The account of the channel's owner is suspended.
    #[error("The account of this channel's owner is suspended. Sign in to Weir to see why and until when.")]
    OwnerSuspended,
    /// Encoders may not publish from where this one is.
    #[error("Publishing from your address is not allowed here. Ask whoever runs this server.")]
    AddressRefused,
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
/// Calls are repeated after [`PublishError::Unavailable`], so all that report something must succeed when
/// the same fact about the same stream is already stored. A call that does not answer within
/// [`Patience::call`](crate::Patience::call) is dropped and counts as unavailable.
pub trait Publishing: Send + Sync + 'static {
    /// Whether encoders may publish from this address; asked before their key is looked at.
    fn admits(&self, _: std::net::IpAddr) -> bool {
        true
    }

    /// Whose key this is. Asked on every connection, so that a key just rotated is refused at once.
    fn authorise_publisher<'a>(&'a self, stream_key: &'a str) -> BoxFuture<'a, Result<Publisher, PublishError>>;

    /// Stores that a stream has started. Viewers see it only afterwards.
    fn stream_started(&self, stream: StartedStream) -> BoxFuture<'_, Result<(), PublishError>>;

    /// Stores that a stream has ended.
    fn stream_ended(&self, stream_id: StreamId, reason: EndReason) -> BoxFuture<'_, Result<(), PublishError>>;

    /// Stores which renditions a stream has now beside its source, the highest first, and why.
    fn renditions_changed(
        &self,
        stream_id: StreamId,
        renditions: Vec<Rendition>,
        reason: RenditionsReason,
    ) -> BoxFuture<'_, Result<(), PublishError>>;

    /// Stores what the encoder of a stream sends from now on, where that is something else than before.
    fn tracks_changed(
        &self,
        stream_id: StreamId,
        video: Option<VideoTrack>,
        audio: Option<AudioTrack>,
    ) -> BoxFuture<'_, Result<(), PublishError>>;

    /// The streams that this node has started and not ended, in no particular order; asked once, at start.
    fn open_streams(&self) -> BoxFuture<'_, Result<Vec<OpenStream>, PublishError>>;
}

/// A recording that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenRecording {
    /// The recording.
    pub recording_id: RecordingId,
    /// The stream that it keeps.
    pub stream_id: StreamId,
    /// Whose broadcast that is.
    pub channel_id: ChannelId,
}

/// Why the write side does not take a fact about a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordError {
    /// There is no such recording any more.
    #[error("the recording was deleted")]
    Gone,
    /// The write side does not answer, and what was asked may or may not have happened.
    #[error("the server cannot keep recordings at the moment")]
    Unavailable,
}

/// The write side, as the recorder sees it. Calls are repeated after [`RecordError::Unavailable`], so each must succeed when
/// the same fact is already stored.
pub trait Recordings: Send + Sync + 'static {
    /// Begins the recording of a stream; `None` when its channel does not record.
    fn begin(
        &self,
        stream_id: StreamId,
        channel_id: ChannelId,
    ) -> BoxFuture<'_, Result<Option<OpenRecording>, RecordError>>;

    /// How many bytes one recording of a channel may have, as its settings are now; `None` for any size. Asked about once a
    /// minute while a stream is recorded.
    fn size_limit(&self, channel_id: ChannelId) -> BoxFuture<'_, Result<Option<u64>, RecordError>> {
        let _ = channel_id;
        Box::pin(std::future::ready(Ok(None)))
    }

    /// The recordings that this node has begun and not finished, in no particular order; asked once, at start.
    fn open(&self) -> BoxFuture<'_, Result<Vec<OpenRecording>, RecordError>>;

    /// The recordings that this node has published lately, in no particular order: a crash may have come before their pictures
    /// for seeking. Asked once, at start.
    fn lately_published(&self) -> BoxFuture<'_, Result<Vec<OpenRecording>, RecordError>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Stores that a recording is complete.
    fn published(
        &self,
        recording_id: RecordingId,
        finished: FinishedRecording,
    ) -> BoxFuture<'_, Result<(), RecordError>>;

    /// Whether a recording was deleted.
    fn is_deleted(&self, recording_id: RecordingId) -> BoxFuture<'_, Result<bool, RecordError>> {
        let _ = recording_id;
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Whether a recording is complete, has failed or was deleted, so that this node has nothing more to do for it. False for one
    /// that is not known, or cannot be read; asked at start about what is left of such that are not open.
    fn is_over(&self, recording_id: RecordingId) -> BoxFuture<'_, Result<bool, RecordError>> {
        let _ = recording_id;
        Box::pin(std::future::ready(Ok(false)))
    }

    /// Stores that there is nothing of a recording.
    fn failed(&self, recording_id: RecordingId, reason: RecordingFailure) -> BoxFuture<'_, Result<(), RecordError>>;
}

/// What somebody wants of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordingUse {
    /// To watch it.
    Play,
    /// To have it as a file.
    Download,
}

/// Whether somebody may have a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordingAccess {
    /// There is no such recording to be watched.
    Unknown,
    /// It takes a token, and this is none or not a good one.
    Refused,
    /// It may be had.
    Granted {
        /// Whether everybody may have it, so that shared caches may keep it.
        is_public: bool,
        /// What a file of it is called, without an ending: letters, digits, `.`, `_` and `-`.
        file_name: String,
    },
}

/// Who may have which recording, as the origin sees it.
pub trait RecordingRights: Send + Sync + 'static {
    /// Whether a recording may be had by whoever has `token`. Asked for every playlist and segment.
    fn allows<'a>(
        &'a self,
        recording_id: RecordingId,
        wanted: RecordingUse,
        token: Option<&'a str>,
    ) -> BoxFuture<'a, Result<RecordingAccess, RecordError>>;

    /// Waits until whoever has `token` may have the recording no more: for answers that take long.
    fn lost(&self, recording_id: RecordingId, wanted: RecordingUse, token: Option<String>) -> BoxFuture<'static, ()> {
        let _ = (recording_id, wanted, token);
        Box::pin(std::future::pending())
    }

    /// What a relay must know to decide by itself, for one that shows `token`; `None` when it is none of ours, and when there
    /// is no such recording to be watched.
    fn known<'a>(
        &'a self,
        recording_id: RecordingId,
        token: &'a str,
    ) -> BoxFuture<'a, Result<Option<KnownRecording>, RecordError>> {
        let _ = (recording_id, token);
        Box::pin(std::future::ready(Ok(None)))
    }
}
