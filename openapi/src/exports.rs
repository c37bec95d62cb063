//! Exports: copies of a part of the event log as files, made in the background.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{Limit, Page};

/// A copy of a part of the event log as a file.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Export {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d09")]
    pub id: Uuid,
    /// How far it is.
    pub status: ExportStatus,
    /// Its form.
    pub format: ExportFormat,
    /// Which events it holds.
    pub filter: ExportFilter,
    /// How far the writing is; `null` once it has failed or was deleted.
    #[schema(required = true)]
    pub progress: Option<ExportProgress>,
    /// How many events it holds; `null` until it is ready.
    #[schema(required = true, example = 1_000_000, minimum = 0)]
    pub event_count: Option<i64>,
    /// How long the file is, in bytes; `null` until it is ready.
    #[schema(required = true, example = 45_000_000, minimum = 0)]
    pub size_bytes: Option<i64>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
    /// When it was ready; `null` until then.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-21T10:00:07.123456Z")]
    pub completed_at: Option<OffsetDateTime>,
    /// When the file is deleted by itself; `null` until it is ready.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-28T10:00:07.123456Z")]
    pub expires_at: Option<OffsetDateTime>,
    /// Where the file is fetched without signing in; good for 15 minutes, and made anew at each look. `null` unless it is
    /// ready.
    #[schema(
        required = true,
        format = "uri-reference",
        example = "https://weir.example.org/api/v1/exports/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d09/download?token=AAAAAGkgQ"
    )]
    pub download_url: Option<String>,
    /// Why it failed, and what to do; `null` unless it did.
    #[schema(required = true, example = "The server has no room left for the file.")]
    pub error: Option<String>,
}

/// Some exports.
pub type ExportPage = Page<Export>;

/// How far an export is: it waits for its turn (`waiting`), is being written (`running`), can be downloaded (`ready`), could
/// not be written (`failed`), or is not to be had any more (`deleted`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportStatus {
    /// It waits for its turn.
    Waiting,
    /// It is being written.
    Running,
    /// It can be downloaded.
    Ready,
    /// It could not be written.
    Failed,
    /// It is not to be had any more.
    Deleted,
}

/// The form of an export: Apache Parquet, for DuckDB, pandas and the like (`parquet`); an event in CloudEvents' JSON a line
/// (`ndjson`); comma-separated values with a header line (`csv`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// Apache Parquet.
    Parquet,
    /// An event a line.
    Ndjson,
    /// Comma-separated values.
    Csv,
}

/// How far the writing of an export is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ExportProgress {
    /// How many events are written.
    #[schema(example = 250_000, minimum = 0)]
    pub events_done: i64,
    /// How many it will be; `null` while only writing it can tell.
    #[schema(required = true, example = 1_000_000, minimum = 0)]
    pub events_total: Option<i64>,
    /// The part of the work that is done, from 0 to 1.
    #[schema(example = 0.25, minimum = 0, maximum = 1)]
    pub fraction: f64,
}

/// Which events an export holds: those that meet every condition.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ExportFilter {
    /// Only these types; all when empty.
    #[schema(example = json!(["stream.*"]))]
    pub types: Vec<String>,
    /// Only what happened to this one; `null` for all.
    #[schema(required = true, example = "channel/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01")]
    pub subject: Option<String>,
    /// Only what happened to this channel and its streams; `null` for all.
    #[schema(required = true, example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01")]
    pub channel_id: Option<Uuid>,
    /// Only positions above this one.
    #[schema(example = 0, minimum = 0)]
    pub after: i64,
    /// Only positions up to this one: the end of the log when it was asked for.
    #[schema(example = 1_000_000, minimum = 0)]
    pub until: i64,
    /// Only what the log took at this time or later; `null` for all.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-01T00:00:00Z")]
    pub from: Option<OffsetDateTime>,
    /// Only what the log took before this time; `null` for all.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-12-01T00:00:00Z")]
    pub to: Option<OffsetDateTime>,
}

/// Which events to write, and as what.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateExportRequest {
    /// The form of the file.
    pub format: ExportFormat,
    /// Only these types: `channel.created`, or `channel.*` for all that begin so. All when left out.
    #[serde(default)]
    #[schema(max_items = 100, example = json!(["channel.*", "stream.started"]))]
    pub types: Option<Vec<String>>,
    /// Only what happened to this one: kind and id.
    #[serde(default)]
    #[schema(max_length = 300, example = "channel/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01")]
    pub subject: Option<String>,
    /// Only what happened to this channel and its streams: its handle or its id. Its owner may give it, and everybody who
    /// is not an administrator has to.
    #[serde(default)]
    #[schema(max_length = 64, example = "river_talks")]
    pub channel: Option<String>,
    /// Only events that the log took at this time (RFC 3339) or later.
    #[serde(default)]
    #[schema(value_type = Option<OffsetDateTime>, example = "2026-11-01T00:00:00Z")]
    pub from: Option<String>,
    /// Only events that the log took before this time (RFC 3339).
    #[serde(default)]
    #[schema(value_type = Option<OffsetDateTime>, example = "2026-12-01T00:00:00Z")]
    pub to: Option<String>,
    /// Only events after this position.
    #[serde(default)]
    #[schema(example = 0, minimum = 0)]
    pub after: Option<i64>,
}

/// Which exports to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportsQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20, example = 20)]
    pub limit: Limit,
    /// `next_cursor` of the page before.
    #[param(max_length = 512)]
    pub after: Option<String>,
}

/// By what a file is fetched.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DownloadQuery {
    /// The token of `download_url`.
    #[param(max_length = 100, example = "AAAAAGkgQ")]
    pub token: String,
}
