use std::borrow::Cow;

use domain::{
    channels::Visibility,
    ids::{ChannelId, InviteId, RecordingId, SessionId, StreamId},
    recordings::RecordingVisibility,
    streams::{AudioTrack, EncoderName, VideoTrack},
};
pub use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// Whoever was asked did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortUnavailable;

/// What the media plane knows of the encoders that are connected.
pub trait LiveStreams: Send + Sync {
    /// What is seen of the channel's encoder just now; [`IngestStatus::default`] when none is connected.
    fn status(&self, channel_id: ChannelId) -> BoxFuture<'_, Result<IngestStatus, PortUnavailable>>;
}

/// The encoders that are connected, to be sent away.
pub trait Publishers: Send + Sync {
    /// Cuts the channel's encoder, wherever it is connected, because its stream key was rotated. Nothing happens when
    /// none is.
    fn cut(&self, channel_id: ChannelId) -> BoxFuture<'_, Result<(), PortUnavailable>>;
}

/// The right to watch one channel that is not public, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaybackPass {
    /// The channel.
    pub channel_id: ChannelId,
    /// How many events the channel had had when the right was looked at: a later change of who may watch ends it.
    pub version: i64,
    /// Whose session it ends with; `None` for whoever knows the address.
    pub session_id: Option<SessionId>,
    /// The invite that it ends with, where it was given for one.
    pub invite_id: Option<InviteId>,
    /// When it ends by itself, in whole seconds.
    pub expires_at: OffsetDateTime,
}

/// The right to have one recording that not everybody may have, for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordingPass {
    /// The recording.
    pub recording_id: RecordingId,
    /// Who finds it: the right ends when that changes.
    pub visibility: RecordingVisibility,
    /// Whether viewers may download it: a right to download ends when that changes.
    pub is_download_allowed: bool,
    /// Who may watch its channel: the right ends when that changes.
    pub channel_visibility: Visibility,
    /// How many events the channel had had when it was looked at who asks: a role that is taken later ends a right that took one.
    pub channel_version: i64,
    /// Whether it is to have the file, not to watch.
    pub is_download: bool,
    /// Whose session it ends with; `None` for whoever knows the address.
    pub session_id: Option<SessionId>,
    /// When it ends by itself, in whole seconds; twelve hours from now at most.
    pub expires_at: OffsetDateTime,
}

/// What makes the tokens that stand in addresses of streams and recordings.
pub trait PlaybackTokens: Send + Sync {
    /// A token of letters, digits, `-` and `_`.
    fn mint(&self, pass: &PlaybackPass) -> String;

    /// The same for a recording.
    fn mint_recording(&self, pass: &RecordingPass) -> String;
}

/// Whether the server has what it needs.
pub trait Readiness: Send + Sync {
    /// Looks at everything; each look must end within about a second.
    fn check(&self) -> BoxFuture<'_, Vec<Check>>;
}

/// One thing that the server needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What, `postgres` for example.
    pub name: &'static str,
    /// Whether it is as it must be.
    pub ok: bool,
    /// In one sentence, without addresses or secrets: everybody may read it.
    pub detail: String,
}

/// How far an encoder is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IngestState {
    /// None is connected.
    #[default]
    Waiting,
    /// Data comes in, but no stream has started yet.
    Receiving,
    /// Viewers can watch.
    Live,
    /// The connection was lost; the stream goes on if it comes back in time.
    Reconnecting,
}

/// What is seen of a channel's encoder. Nodes tell it to each other as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IngestStatus {
    /// How far it is.
    pub state: IngestState,
    /// The running stream.
    pub stream_id: Option<StreamId>,
    /// Since when the encoder is connected.
    #[serde(with = "time::serde::rfc3339::option")]
    pub connected_since: Option<OffsetDateTime>,
    /// The picture.
    pub video: Option<VideoTrack>,
    /// The sound.
    pub audio: Option<AudioTrack>,
    /// What the encoder calls itself, if it says.
    #[serde(default)]
    pub encoder: Option<EncoderName>,
    /// What comes in, over the last seconds.
    pub bitrate_kbps: Option<u32>,
    /// From key frame to key frame.
    pub keyframe_interval_ms: Option<u32>,
    /// Pictures a second as they came, over the last seconds.
    #[serde(default)]
    pub frame_rate: Option<f64>,
    /// How unevenly messages arrived over the last seconds.
    #[serde(default)]
    pub jitter_ms: Option<u32>,
    /// Pictures that are missing in the cadence of the last seconds.
    #[serde(default)]
    pub missing_frames: Option<u32>,
    /// How far sound is ahead of the picture; negative when it is behind.
    #[serde(default)]
    pub sound_ahead_ms: Option<i32>,
    /// How long nothing has come from a connected encoder.
    #[serde(default)]
    pub silent_ms: Option<u32>,
    /// How much longer the running stream waits for its encoder.
    #[serde(default)]
    pub waits_ms: Option<u32>,
    /// The figures of each second of the last minute, the oldest first.
    #[serde(default)]
    pub history: Vec<IngestSample>,
    /// The renditions that are made, the highest first.
    #[serde(default)]
    pub renditions: Vec<IngestRendition>,
    /// Why there are no more of them.
    #[serde(default)]
    pub renditions_remark: Option<Advice>,
    /// What the streamer could do better.
    pub advice: Vec<Advice>,
    /// Why the last encoder was turned away, until another was let in and that is two minutes ago.
    pub last_refusal: Option<IngestRefusal>,
}

/// What came in over the seconds before one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct IngestSample {
    /// Picture and sound together.
    pub bitrate_kbps: u32,
    /// Pictures a second.
    pub frame_rate: f64,
    /// How unevenly messages arrived.
    pub jitter_ms: u32,
    /// Pictures that are missing in the cadence.
    pub missing_frames: u32,
}

/// A rendition that is made of what the encoder sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IngestRendition {
    /// `720p` for example.
    pub name: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// Frames a second, at most.
    pub frame_rate: f64,
    /// Of the picture, on average.
    pub bitrate_kbps: u32,
    /// How far it is behind what it should have by now, in milliseconds of the stream.
    pub lag_ms: u32,
}

/// Something a streamer could do better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// Short and stable.
    pub code: Cow<'static, str>,
    /// One sentence that says what to do.
    pub message: Cow<'static, str>,
}

/// Why an encoder was turned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IngestRefusal {
    /// Short and stable.
    pub code: Cow<'static, str>,
    /// One sentence that says what to do.
    pub message: Cow<'static, str>,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
}
