//! Streams: one broadcast of a channel each, running or past.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{Limit, Page};

/// One broadcast of a channel.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Stream {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d02")]
    pub id: Uuid,
    /// Whose broadcast it is.
    pub channel: StreamChannel,
    /// The channel's title when it started.
    #[schema(example = "Talks by the river")]
    pub title: String,
    /// Whether it is running.
    #[schema(example = true)]
    pub is_live: bool,
    /// When its first key frame was in.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub started_at: OffsetDateTime,
    /// When it ended; `null` while it runs.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-21T12:00:00.123456Z")]
    pub ended_at: Option<OffsetDateTime>,
    /// Why it ended; `null` while it runs.
    #[schema(required = true)]
    pub end_reason: Option<EndReason>,
    /// From start to end, in milliseconds; `null` while it runs.
    #[schema(required = true, example = 7_200_000, minimum = 0)]
    pub duration_ms: Option<i64>,
    /// The picture as the encoder sent it.
    pub video: VideoFormat,
    /// The sound as the encoder sent it; `null` without any.
    #[schema(required = true)]
    pub audio: Option<AudioFormat>,
    /// What the encoder called itself; `null` where it did not say.
    #[schema(required = true, example = "obs-output module (libobs version 30.2.3)", max_length = 100)]
    pub encoder: Option<String>,
    /// Where it plays while it runs.
    pub playback: Playback,
    /// Its latest picture. Answers 404 until the first one is taken.
    #[schema(
        required = true,
        format = "uri-reference",
        example = "https://weir.example.org/live/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d02/thumbnail.jpg"
    )]
    pub thumbnail_url: Option<String>,
    /// When it was recorded that it had started.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub updated_at: OffsetDateTime,
}

/// Some streams.
pub type StreamPage = Page<Stream>;

/// Whose broadcast a stream is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StreamChannel {
    /// The channel.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01")]
    pub id: Uuid,
    /// Its unique name.
    #[schema(example = "river_talks")]
    pub handle: String,
    /// Its title now.
    #[schema(example = "Talks by the river")]
    pub title: String,
}

/// Where to play something.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Playback {
    /// The HLS master playlist.
    #[schema(
        format = "uri-reference",
        example = "https://weir.example.org/live/channels/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01/index.m3u8"
    )]
    pub hls_url: String,
}

/// A picture as an encoder sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VideoFormat {
    /// As in RFC 6381.
    #[schema(example = "avc1.64001f")]
    pub codec: String,
    /// In pixels.
    #[schema(example = 1280)]
    pub width: u32,
    /// In pixels.
    #[schema(example = 720)]
    pub height: u32,
    /// Frames a second; 0 when not known.
    #[schema(example = 30.0)]
    pub frame_rate: f64,
}

/// Sound as an encoder sends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AudioFormat {
    /// As in RFC 6381.
    #[schema(example = "mp4a.40.2")]
    pub codec: String,
    /// In hertz.
    #[schema(example = 48000)]
    pub sample_rate: u32,
    /// 1 for mono, 2 for stereo.
    #[schema(example = 2)]
    pub channels: u8,
}

/// Why a stream ended: the encoder stopped it (`unpublished`) or was lost and did not come back (`connection_lost`); the
/// server was shut down (`shutdown`) or crashed (`crashed`); the stream key was rotated (`key_rotated`); the channel was
/// closed (`channel_closed`); what the encoder sent could no longer be packaged (`error`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// The encoder stopped it.
    Unpublished,
    /// The encoder was lost and did not come back in time.
    ConnectionLost,
    /// The server was shut down.
    Shutdown,
    /// The server crashed, and the encoder did not come back in time.
    Crashed,
    /// The stream key was rotated.
    KeyRotated,
    /// The channel was closed.
    ChannelClosed,
    /// What the encoder sent could no longer be packaged.
    Error,
}

/// Which streams to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct StreamsQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20, example = 20)]
    pub limit: Limit,
    /// `next_cursor` of the page before.
    #[param(max_length = 512)]
    pub after: Option<String>,
    /// `true`: only running ones; `false`: only past ones.
    #[param(example = true)]
    pub live: Option<bool>,
    /// Only those of the channel with this handle.
    #[param(example = "river_talks", min_length = 3, max_length = 25, pattern = "^[A-Za-z0-9_]+$")]
    pub channel: Option<String>,
}
