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
    /// The picture as the encoder sent it; `null` where it sends sound alone.
    #[schema(required = true)]
    pub video: Option<VideoFormat>,
    /// The sound as the encoder sent it; `null` without any.
    #[schema(required = true)]
    pub audio: Option<AudioFormat>,
    /// What the encoder called itself; `null` where it did not say.
    #[schema(required = true, example = "obs-output module (libobs version 30.2.3)", max_length = 100)]
    pub encoder: Option<String>,
    /// The smaller pictures that viewers can choose beside the encoder's own, the highest first; empty where there are none.
    pub renditions: Vec<Rendition>,
    /// Why these; `null` where there never were any to make.
    #[schema(required = true)]
    pub renditions_reason: Option<RenditionsReason>,
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
    /// The DASH manifest, for players that do not know HLS: the same pictures and the same sound. `null` for recordings.
    #[schema(
        required = true,
        format = "uri-reference",
        example = "https://weir.example.org/live/channels/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01/index.mpd"
    )]
    pub dash_url: Option<String>,
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

/// A smaller picture that is made of an encoder's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Rendition {
    /// As in its address.
    #[schema(example = "720p")]
    pub name: String,
    /// In pixels.
    #[schema(example = 1280)]
    pub width: u32,
    /// In pixels.
    #[schema(example = 720)]
    pub height: u32,
    /// Of the picture, on average.
    #[schema(example = 2500)]
    pub bitrate_kbps: u32,
}

/// Why a stream has the renditions that it has: they are made from now on (`started`); making more fell behind
/// (`too_slow`); the node has no processor time for more (`no_budget`), or has some again (`budget_freed`); ffmpeg fails
/// (`ffmpeg_failed`) or is not installed (`ffmpeg_missing`); what failed or was too slow is made again (`recovered`); the
/// encoder sends another picture (`source_changed`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RenditionsReason {
    /// They are made from now on.
    Started,
    /// Making more of them fell behind.
    TooSlow,
    /// The node has no processor time for more.
    NoBudget,
    /// Another stream left processor time for more.
    BudgetFreed,
    /// ffmpeg failed again and again.
    FfmpegFailed,
    /// ffmpeg is not installed on the node.
    FfmpegMissing,
    /// They are made again, after ffmpeg had failed or been too slow.
    Recovered,
    /// The encoder sends another picture than before.
    SourceChanged,
}

/// Why a stream ended: the encoder stopped it (`unpublished`) or was lost and did not come back (`connection_lost`); the
/// server was shut down (`shutdown`) or crashed (`crashed`); the encoder came back to another node, which began a new stream
/// (`moved`); the stream key was rotated (`key_rotated`); the channel was
/// closed (`channel_closed`); the account of its owner was suspended (`account_suspended`); an administrator took it down
/// (`taken_down`); what the encoder sent could no longer be packaged (`error`).
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
    /// The encoder came back to another node, which began a new stream.
    Moved,
    /// The stream key was rotated.
    KeyRotated,
    /// The channel was closed.
    ChannelClosed,
    /// The account of the channel's owner was suspended.
    AccountSuspended,
    /// An administrator took it down.
    TakenDown,
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
