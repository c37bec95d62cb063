//! What people can ask for of what is kept of them: a copy, and to be forgotten.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// An account that is to be erased.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ErasureScheduled {
    /// When. Whoever signs in before keeps the account.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-12-05T10:00:00.123456Z")]
    pub erased_at: OffsetDateTime,
}

/// Whether an account is to be erased, and how long it could still be kept.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Erasure {
    /// After how many days an account is erased that asks for it; 0: at once.
    #[schema(example = 14, minimum = 0)]
    pub after_days: u32,
    /// When this one is erased; `null` when it is not to be.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-12-05T10:00:00.123456Z")]
    pub erased_at: Option<OffsetDateTime>,
}

/// A copy of everything that is kept of a person.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PersonalExport {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d15")]
    pub id: Uuid,
    /// How far it is.
    pub status: PersonalExportStatus,
    /// The part that is written, from 0 to 1.
    #[schema(example = 0.25, minimum = 0, maximum = 1)]
    pub progress: f64,
    /// How long the file is, in bytes; `null` until it is ready.
    #[schema(required = true, example = 45_000, minimum = 0)]
    pub size_bytes: Option<i64>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
    /// When it was ready; `null` until then.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-21T10:00:03.123456Z")]
    pub completed_at: Option<OffsetDateTime>,
    /// When the file is deleted by itself; `null` until it is ready.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-28T10:00:03.123456Z")]
    pub expires_at: Option<OffsetDateTime>,
    /// When another one may be asked for; `null` when that is now, or once this one is ready.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-21T11:00:00.123456Z")]
    pub again_at: Option<OffsetDateTime>,
    /// Why it failed, and what to do; `null` unless it did.
    #[schema(required = true, example = "The server has no room left for the file.")]
    pub error: Option<String>,
    /// The same as a word to act on; `null` unless it failed.
    #[schema(required = true)]
    pub error_code: Option<PersonalExportError>,
}

/// Why the file of a personal export could not be written: there is no room for it (`storage_full`), the server was stopped again and
/// again while it wrote it (`interrupted`), or anything else, which the log of the server tells (`unwritable`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonalExportError {
    /// There is no room for it.
    StorageFull,
    /// The server was stopped again and again while it wrote it.
    Interrupted,
    /// Anything else.
    Unwritable,
}

/// How far a personal export is: it waits for its turn (`waiting`), is being written (`running`), can be downloaded
/// (`ready`), could not be written (`failed`), or is not to be had any more (`deleted`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonalExportStatus {
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

/// Where the file of a personal export is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PersonalExportDownload {
    /// A path of this server, good for five minutes and for as long as this session goes on.
    #[schema(format = "uri-reference", example = "/api/v1/me/export/download?token=AAAAAGkgQ")]
    pub download_url: String,
}

/// By what a file is fetched.
#[derive(Debug, Clone, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PersonalExportQuery {
    /// The token of `download_url`.
    #[param(max_length = 200, example = "AAAAAGkgQ")]
    pub token: String,
}
