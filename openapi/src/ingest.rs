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
    /// The picture; `null` before it is known.
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
    /// What the streamer could do better; empty when all is well.
    pub advice: Vec<IngestAdvice>,
    /// Why the last encoder was turned away; `null` when none was, or when one was let in since.
    #[schema(required = true)]
    pub last_refusal: Option<IngestRefusal>,
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
