//! Recordings: streams that are kept for later watching.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    Limit, Page,
    streams::{Playback, StreamChannel},
};

/// A stream that is kept for later watching.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Recording {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d05")]
    pub id: Uuid,
    /// The stream that it keeps.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d02")]
    pub stream_id: Uuid,
    /// Whose broadcast that was.
    pub channel: StreamChannel,
    /// Its title: the channel's when the stream started, until the owner edits it.
    #[schema(example = "Talks by the river")]
    pub title: String,
    /// How far it is.
    pub status: RecordingStatus,
    /// Who finds it.
    pub visibility: RecordingVisibility,
    /// Whether viewers may download it; its owner always may.
    #[schema(example = false)]
    pub is_download_allowed: bool,
    /// How long it plays, in milliseconds; `null` until it is ready.
    #[schema(required = true, example = 7_200_000, minimum = 0)]
    pub duration_ms: Option<i64>,
    /// How large it is, in bytes; `null` until it is ready.
    #[schema(required = true, example = 2_250_000_000_i64, minimum = 0)]
    pub size_bytes: Option<i64>,
    /// The qualities that it can be watched in, the stream's own first; empty until it is ready.
    pub renditions: Vec<RecordedRendition>,
    /// How often something of the stream is missing in between.
    #[schema(example = 0, minimum = 0)]
    pub gap_count: i64,
    /// Why it is shorter than its stream; `null` when it is not.
    #[schema(required = true)]
    pub cut_short: Option<RecordingCutShort>,
    /// Why there is nothing of it; `null` unless it failed.
    #[schema(required = true)]
    pub failure: Option<RecordingFailure>,
    /// Where it plays, for whoever asked; `null` until it is ready. Unless everybody may watch it, the address is good for
    /// some hours: ask again when it is answered by 403.
    #[schema(required = true)]
    pub playback: Option<Playback>,
    /// A picture of it; `null` until it is ready.
    #[schema(
        required = true,
        format = "uri-reference",
        example = "https://weir.example.org/vod/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d05/thumbnail.jpg"
    )]
    pub thumbnail_url: Option<String>,
    /// Small pictures for seeking: a WebVTT file that names parts of JPEG sheets. Answers 404 until they are made, a moment
    /// after the recording is ready. `null` until it is ready.
    #[schema(
        required = true,
        format = "uri-reference",
        example = "https://weir.example.org/vod/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d05/sheets/index.vtt"
    )]
    pub seek_thumbnails_url: Option<String>,
    /// Where whoever asked downloads it as one MP4 file without signing in, for some hours; `null` until it is ready, and for
    /// those who may not. Where the stream changed its picture or sound in between it is several files, which `downloads.json`
    /// beside it names.
    #[schema(
        required = true,
        format = "uri-reference",
        example = "https://weir.example.org/vod/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d05/download.mp4"
    )]
    pub download_url: Option<String>,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub started_at: OffsetDateTime,
    /// When it was ready; `null` until then.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-21T12:00:01.123456Z")]
    pub published_at: Option<OffsetDateTime>,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T12:00:01.123456Z")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change; an edit sends it back in `If-Match`.
    #[schema(example = 2, minimum = 1)]
    pub version: i64,
}

/// Some recordings.
pub type RecordingPage = Page<Recording>;

/// How far a recording is: its stream is on (`recording`), it can be watched (`ready`), or there is nothing of it
/// (`failed`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingStatus {
    /// Its stream is on.
    Recording,
    /// It can be watched.
    Ready,
    /// There is nothing of it.
    Failed,
}

/// Who finds a recording: everybody who sees the channel (`published`), whoever has its address (`unlisted`), or its owner
/// alone (`archived`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingVisibility {
    /// Everybody who sees the channel.
    Published,
    /// Whoever has its address.
    Unlisted,
    /// Its owner alone.
    Archived,
}

/// Why a recording is shorter than its stream: there was no room left (`storage_full`), the storage took nothing for too long
/// (`storage_unavailable`), the server crashed and the stream was over when it came back (`crashed`), or it had become as large
/// as all of the channel's recordings together may be (`quota`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingCutShort {
    /// There was no room left.
    StorageFull,
    /// The storage took nothing for too long.
    StorageUnavailable,
    /// The server crashed.
    Crashed,
    /// It had become as large as all of the channel's recordings together may be.
    Quota,
}

/// Why there is nothing of a recording: the stream was over too soon (`empty`), there was no room left (`storage_full`),
/// the storage took nothing (`storage_unavailable`), or what was kept of it is on a server that is gone (`node_lost`): then it becomes
/// `ready` after all if that server comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingFailure {
    /// The stream was over too soon.
    Empty,
    /// There was no room left.
    StorageFull,
    /// The storage took nothing.
    StorageUnavailable,
    /// It is on a server that is gone.
    NodeLost,
}

/// One quality that a recording can be watched in.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RecordedRendition {
    /// `source`, or a height such as `720p`.
    #[schema(example = "source")]
    pub name: String,
    /// In pixels.
    #[schema(example = 1280)]
    pub width: u32,
    /// In pixels.
    #[schema(example = 720)]
    pub height: u32,
    /// As in RFC 6381, picture and sound.
    #[schema(example = "avc1.64001f,mp4a.40.2")]
    pub codecs: String,
    /// Bits a second on average.
    #[schema(example = 2_500_000, minimum = 0)]
    pub bitrate_bps: i64,
}

/// What to change about a recording; what is left out or `null` stays as it is.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditRecordingRequest {
    /// A new title, on one line.
    #[serde(default)]
    #[schema(example = "Talks by the sea", min_length = 1, max_length = 140, pattern = r"^[^\x00-\x1f\x7f-\x9f]+$")]
    pub title: Option<String>,
    /// Who finds it.
    #[serde(default)]
    pub visibility: Option<RecordingVisibility>,
    /// Whether viewers may download it.
    #[serde(default)]
    #[schema(example = true)]
    pub is_download_allowed: Option<bool>,
}

/// Which recordings to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecordingsQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20, example = 20)]
    pub limit: Limit,
    /// `next_cursor` of the page before.
    #[param(max_length = 512)]
    pub after: Option<String>,
}

/// Whether a channel's streams are recorded, and how much of that is kept.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RecordingSettings {
    /// Whether streams are recorded that start from now on.
    #[schema(example = true)]
    pub is_on: bool,
    /// What the owner has said.
    pub own_limits: RecordingLimits,
    /// What the server allows at most.
    pub server_limits: RecordingLimits,
    /// What is there now.
    pub usage: RecordingUsage,
}

/// How much of a channel's recordings is kept; `null` for no limit.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, ToSchema)]
pub struct RecordingLimits {
    /// A recording is deleted so many days after its stream.
    #[schema(required = true, example = 90, minimum = 1, maximum = 36500)]
    pub keep_days: Option<u32>,
    /// The oldest are deleted when all together are larger, in bytes. The newest stays, and ends early if it becomes so large
    /// while its stream is on.
    #[schema(required = true, example = 100_000_000_000_i64, minimum = 1)]
    pub max_size_bytes: Option<i64>,
    /// The oldest are deleted when there are more.
    #[schema(required = true, example = 500, minimum = 1)]
    pub max_count: Option<u32>,
}

/// What a channel's recordings take.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
pub struct RecordingUsage {
    /// How many can be watched.
    #[schema(example = 12, minimum = 0)]
    pub count: i64,
    /// How large they are together, in bytes.
    #[schema(example = 27_000_000_000_i64, minimum = 0)]
    pub size_bytes: i64,
}

/// What holds for a channel's recordings from now on; a limit that is left out or `null` is the server's.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeRecordingSettingsRequest {
    /// Whether streams are recorded that start from now on.
    #[schema(example = true)]
    pub is_on: bool,
    /// A recording is deleted so many days after its stream.
    #[serde(default)]
    #[schema(example = 30, minimum = 1, maximum = 36500)]
    pub keep_days: Option<u32>,
    /// The oldest are deleted when all together are larger, in bytes, and a recording that is being made ends when it is so
    /// large.
    #[serde(default)]
    #[schema(example = 50_000_000_000_i64, minimum = 1)]
    pub max_size_bytes: Option<i64>,
    /// The oldest are deleted when there are more.
    #[serde(default)]
    #[schema(example = 100, minimum = 1)]
    pub max_count: Option<u32>,
}
