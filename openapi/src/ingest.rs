//! Ingest: what the server sees of a channel's encoder.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::streams::{AudioFormat, VideoFormat};

/// What the server sees of a channel's encoder just now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct IngestStatus {
    /// How far it is.
    pub state: IngestState,
    /// The running stream; `null` before there is one.
    #[schema(required = true, example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d02")]
    pub stream_id: Option<Uuid>,
    /// Since when the encoder is connected; `null` while it is not.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-21T10:00:00.123456Z")]
    pub connected_since: Option<OffsetDateTime>,
    /// The picture; `null` before it is known, and without any.
    #[schema(required = true)]
    pub video: Option<VideoFormat>,
    /// The sound; `null` without any.
    #[schema(required = true)]
    pub audio: Option<AudioFormat>,
    /// What the encoder calls itself; `null` while none is connected, or where it does not say.
    #[schema(required = true, example = "obs-output module (libobs version 30.2.3)", max_length = 100)]
    pub encoder: Option<String>,
    /// What comes in, in kilobits a second over the last seconds; `null` before it is known.
    #[schema(required = true, example = 4500)]
    pub bitrate_kbps: Option<u32>,
    /// From key frame to key frame, in milliseconds; `null` before it is known.
    #[schema(required = true, example = 2000)]
    pub keyframe_interval_ms: Option<u32>,
    /// Pictures a second as they come, over the last five seconds; `null` before it is known. What the encoder announces
    /// is in `video`.
    #[schema(required = true, example = 29.97)]
    pub frame_rate: Option<f64>,
    /// How unevenly data arrives, in milliseconds: the latest of the last five seconds against the earliest, each
    /// measured by its own media time; `null` before it is known.
    #[schema(required = true, example = 40)]
    pub jitter_ms: Option<u32>,
    /// Pictures of the last five seconds that the cadence of the others wants and that did not come; `null` before it is
    /// known.
    #[schema(required = true, example = 0)]
    pub missing_frames: Option<u32>,
    /// How far the newest sound is ahead of the newest picture, in milliseconds; negative when it is behind, `null`
    /// without sound.
    #[schema(required = true, example = -20)]
    pub sound_ahead_ms: Option<i32>,
    /// How long nothing has come from the connected encoder, in milliseconds; `null` before its first picture.
    #[schema(required = true, example = 15)]
    pub silent_ms: Option<u32>,
    /// How much longer the running stream waits for its lost encoder before it ends, in milliseconds; `null` while it need
    /// not, and from when an encoder is connected again.
    #[schema(required = true, example = 42_000)]
    pub waits_ms: Option<u32>,
    /// The figures of each second of the last minute, the oldest first; empty before the first picture.
    #[schema(max_items = 60)]
    pub history: Vec<IngestSample>,
    /// The smaller renditions that are made for viewers beside what the encoder sends, the highest first.
    pub renditions: Vec<IngestRendition>,
    /// Why there are no more renditions, or why another encoder makes them than the server was set to use; `null` when all
    /// is well.
    #[schema(required = true)]
    pub renditions_remark: Option<IngestAdvice>,
    /// What the streamer could do better; empty when all is well.
    pub advice: Vec<IngestAdvice>,
    /// Why the last encoder was turned away; `null` when none was, or once another was let in and the refusal is two minutes old.
    /// One that came beside a live encoder is told for two minutes.
    #[schema(required = true)]
    pub last_refusal: Option<IngestRefusal>,
}

/// What came in over the five seconds before one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IngestSample {
    /// Picture and sound together, in kilobits a second.
    #[schema(example = 4500)]
    pub bitrate_kbps: u32,
    /// Pictures a second.
    #[schema(example = 29.97)]
    pub frame_rate: f64,
    /// How unevenly data arrived, in milliseconds.
    #[schema(example = 40)]
    pub jitter_ms: u32,
    /// Pictures that were missing in the cadence.
    #[schema(example = 0)]
    pub missing_frames: u32,
}

/// A rendition that is made of what the encoder sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IngestRendition {
    /// As viewers choose it.
    #[schema(example = "720p")]
    pub name: String,
    /// In pixels.
    #[schema(example = 1280)]
    pub width: u32,
    /// In pixels.
    #[schema(example = 720)]
    pub height: u32,
    /// Frames a second, at most.
    #[schema(example = 30.0)]
    pub frame_rate: f64,
    /// Of the picture, on average, in kilobits a second.
    #[schema(example = 2800)]
    pub bitrate_kbps: u32,
    /// How far it is behind what it should have by now, in milliseconds of the stream. The few pictures that are always under
    /// way do not count, however rare they are.
    #[schema(example = 600)]
    pub lag_ms: u32,
}

/// How far an encoder is: none is connected (`waiting`), data comes in but no stream has started (`receiving`), viewers
/// can watch (`live`), the connection was lost and the stream waits for it (`reconnecting`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum IngestState {
    /// No encoder is connected.
    Waiting,
    /// Data comes in, but no stream has started yet.
    Receiving,
    /// Viewers can watch.
    Live,
    /// The connection was lost; the stream goes on if it comes back in time.
    Reconnecting,
}

/// Something a streamer could do better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IngestAdvice {
    /// Short and stable.
    #[schema(example = "keyframes_too_far_apart")]
    pub code: Cow<'static, str>,
    /// One sentence that says what to do.
    #[schema(example = "Set the key-frame interval to 2 seconds.")]
    pub message: Cow<'static, str>,
}

/// Why an encoder was turned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IngestRefusal {
    /// Short and stable.
    #[schema(example = "codec_unsupported")]
    pub code: Cow<'static, str>,
    /// One sentence that says what to do.
    #[schema(example = "Set the video encoder to H.264.")]
    pub message: Cow<'static, str>,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub at: OffsetDateTime,
}
