//! Exports: copies of a part of the log that were handed out. Each is an event itself, so that who took what can be seen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{
    Aggregate, Claimed, Event,
    ids::{AccountId, ChannelId, ExportId},
    timestamp,
};

/// How an export is handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportWay {
    /// As a file that is made in the background and fetched later.
    Job,
    /// As the answer to a request for the feed.
    Feed,
    /// As a file that the operator's command line wrote.
    CommandLine,
}

/// The form of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportFormat {
    /// Apache Parquet.
    Parquet,
    /// A JSON object on each line.
    Ndjson,
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
}

impl ExportFormat {
    /// As stored and sent, `parquet` for example; also the ending of a file's name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// Which events an export holds: those that meet every condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ExportFilter {
    /// Only these event types, `channel.created` or `channel.*` for example; all when empty.
    pub types: Vec<String>,
    /// Only those of one aggregate, as `channel/<id>`.
    pub subject: Option<String>,
    /// Only a channel's own and those of its streams.
    pub channel_id: Option<ChannelId>,
    /// Only positions above this one; 0 for all.
    pub after: i64,
    /// Only positions up to this one: the head when the export was requested, so that it ends.
    pub until: i64,
    /// Only what was recorded at this time or later.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(schema_with = "timestamp::optional_schema")]
    pub from: Option<OffsetDateTime>,
    /// Only what was recorded before this time.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schemars(schema_with = "timestamp::optional_schema")]
    pub to: Option<OffsetDateTime>,
}

/// Why an export was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportDeletedReason {
    /// Its time was over.
    Expired,
    /// Somebody who may asked for it.
    Requested,
    /// The account that had asked for the export was erased.
    AccountErased,
}

/// What an export can be told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExportCommand {
    /// Begin it.
    Request {
        /// The new export.
        export_id: ExportId,
        /// Who asks; `None` for the operator's command line.
        by: Option<AccountId>,
        /// How it is handed out.
        way: ExportWay,
        /// Its form.
        format: ExportFormat,
        /// Which events it holds.
        filter: ExportFilter,
        /// Whether accounts stand in it under their real ids, which only administrators may ask for, instead of pseudonyms.
        names_accounts: bool,
    },
    /// All of it is written.
    Complete {
        /// How many events it holds.
        event_count: i64,
        /// How long it is.
        size_bytes: i64,
        /// When it is deleted by itself; `None` where nothing is kept.
        expires_at: Option<OffsetDateTime>,
    },
    /// It cannot be written.
    Fail {
        /// What went wrong, in words for whoever asked for it.
        reason: String,
    },
    /// It is not to be had any more.
    Delete {
        /// Why.
        reason: ExportDeletedReason,
    },
}

/// What can have happened to an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExportEvent {
    /// Somebody asked for a copy of a part of the log.
    Requested {
        /// The export.
        export_id: ExportId,
        /// Who asked; `null` for the operator's command line.
        by: Option<AccountId>,
        /// How it is handed out.
        way: ExportWay,
        /// Its form.
        format: ExportFormat,
        /// Which events it holds.
        filter: ExportFilter,
        /// Whether accounts stand in it under their real ids, which only administrators may ask for, instead of pseudonyms.
        names_accounts: bool,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        requested_at: OffsetDateTime,
    },
    /// The export was written in full.
    Completed {
        /// The export.
        export_id: ExportId,
        /// How many events it holds.
        event_count: i64,
        /// How long it is, in bytes.
        size_bytes: i64,
        /// When it was complete.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        completed_at: OffsetDateTime,
        /// When it is deleted by itself; `null` where nothing is kept.
        #[serde(with = "time::serde::rfc3339::option")]
        #[schemars(schema_with = "timestamp::optional_schema")]
        expires_at: Option<OffsetDateTime>,
    },
    /// The export could not be written.
    Failed {
        /// The export.
        export_id: ExportId,
        /// What went wrong, in words for whoever asked for it.
        reason: String,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        failed_at: OffsetDateTime,
    },
    /// The export is not to be had any more.
    Deleted {
        /// The export.
        export_id: ExportId,
        /// Why.
        reason: ExportDeletedReason,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        deleted_at: OffsetDateTime,
    },
}

impl ExportEvent {
    /// The stored names of all events of an export.
    pub const TYPES: &[&'static str] = &["export.requested", "export.completed", "export.failed", "export.deleted"];
}

impl Event for ExportEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "export.requested",
            Self::Completed { .. } => "export.completed",
            Self::Failed { .. } => "export.failed",
            Self::Deleted { .. } => "export.deleted",
        }
    }
}

/// Why an export says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ExportRefusal {
    /// This export was requested before.
    #[error("the export already exists")]
    AlreadyExists,
    /// There is no such export.
    #[error("there is no such export")]
    Unknown,
    /// It was completed or failed before.
    #[error("the export has already ended")]
    AlreadyEnded,
    /// It was deleted.
    #[error("the export was deleted; ask for a new one")]
    Deleted,
}

/// How far an export is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExportState {
    /// It is to be written, or being written.
    #[default]
    Requested,
    /// It is there.
    Completed,
    /// It could not be written.
    Failed,
    /// It is gone.
    Deleted,
}

/// An export as far as its rules, and whoever writes it, need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    requested: Option<ExportRequest>,
    state: ExportState,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportRequest {
    /// The export.
    pub export_id: ExportId,
    /// Who asked; `None` for the operator's command line.
    pub by: Option<AccountId>,
    /// How it is handed out.
    pub way: ExportWay,
    /// Its form.
    pub format: ExportFormat,
    /// Which events it holds.
    pub filter: ExportFilter,
    /// Whether accounts stand in it under their real ids.
    pub names_accounts: bool,
    /// When.
    pub requested_at: OffsetDateTime,
}

impl Export {
    /// What was asked for; `None` before it exists.
    #[must_use]
    pub fn request(&self) -> Option<&ExportRequest> {
        self.requested.as_ref()
    }

    /// How far it is; `None` before it exists.
    #[must_use]
    pub fn state(&self) -> Option<ExportState> {
        self.requested.as_ref().map(|_| self.state)
    }

    /// The export, unless it does not exist or is past `Requested`.
    fn under_way(&self) -> Result<ExportId, ExportRefusal> {
        let export_id = self.not_deleted()?;
        if self.state == ExportState::Requested { Ok(export_id) } else { Err(ExportRefusal::AlreadyEnded) }
    }

    fn not_deleted(&self) -> Result<ExportId, ExportRefusal> {
        let requested = self.requested.as_ref().ok_or(ExportRefusal::Unknown)?;
        if self.state == ExportState::Deleted { Err(ExportRefusal::Deleted) } else { Ok(requested.export_id) }
    }
}

impl Aggregate for Export {
    const TYPE: &'static str = "export";
    type Command = ExportCommand;
    type Event = ExportEvent;
    type Refusal = ExportRefusal;

    fn decide(&self, command: ExportCommand, now: OffsetDateTime) -> Result<Vec<ExportEvent>, ExportRefusal> {
        let event = match command {
            ExportCommand::Request { .. } if self.requested.is_some() => return Err(ExportRefusal::AlreadyExists),
            ExportCommand::Request { export_id, by, way, format, filter, names_accounts } => {
                ExportEvent::Requested { export_id, by, way, format, filter, names_accounts, requested_at: now }
            }
            ExportCommand::Complete { event_count, size_bytes, expires_at } => ExportEvent::Completed {
                export_id: self.under_way()?,
                event_count,
                size_bytes,
                completed_at: now,
                expires_at,
            },
            ExportCommand::Fail { reason } => {
                ExportEvent::Failed { export_id: self.under_way()?, reason, failed_at: now }
            }
            ExportCommand::Delete { reason } => {
                ExportEvent::Deleted { export_id: self.not_deleted()?, reason, deleted_at: now }
            }
        };
        Ok(vec![event])
    }

    fn apply(&mut self, event: &ExportEvent) {
        match event {
            ExportEvent::Requested { export_id, by, way, format, filter, names_accounts, requested_at } => {
                self.requested = Some(ExportRequest {
                    export_id: *export_id,
                    by: *by,
                    way: *way,
                    format: *format,
                    filter: filter.clone(),
                    names_accounts: *names_accounts,
                    requested_at: *requested_at,
                });
            }
            ExportEvent::Completed { .. } => self.state = ExportState::Completed,
            ExportEvent::Failed { .. } => self.state = ExportState::Failed,
            ExportEvent::Deleted { .. } => self.state = ExportState::Deleted,
        }
    }

    fn claimed(_: Claimed) -> ExportRefusal {
        ExportRefusal::AlreadyExists
    }
}
