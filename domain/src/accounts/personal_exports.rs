//! Exports of what is kept of a person: asked for by that person, made as a file, forgotten after a while. One at a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::{
    Aggregate, Claimed, Event,
    exports::ExportState,
    ids::{AccountId, PersonalExportId},
    timestamp,
};

/// How long somebody waits after an export until they may ask for the next one.
pub const PERSONAL_EXPORT_EVERY: Duration = Duration::HOUR;

/// What a personal export can be told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonalExportCommand {
    /// Begin it.
    Request {
        /// The new export.
        export_id: PersonalExportId,
        /// Who asks, and of whom it is.
        account_id: AccountId,
    },
    /// All of it is written.
    Complete {
        /// Which one.
        export_id: PersonalExportId,
        /// How long the file is.
        size_bytes: i64,
        /// When it is deleted by itself.
        expires_at: OffsetDateTime,
    },
    /// It cannot be written.
    Fail {
        /// Which one.
        export_id: PersonalExportId,
        /// Why.
        failure: PersonalExportFailure,
    },
    /// It is not to be had any more; again is fine.
    Delete {
        /// Which one.
        export_id: PersonalExportId,
        /// Why.
        reason: PersonalExportDeletedReason,
    },
}

/// Why the file of a personal export could not be written. As text: what whoever asked for it is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Error)]
#[serde(rename_all = "snake_case")]
pub enum PersonalExportFailure {
    /// There is no room for it.
    #[error("The server has no room left for the file. Tell whoever runs it, and ask again later.")]
    StorageFull,
    /// It was begun again and again, and each time whoever wrote it was stopped.
    #[error("The server was interrupted again and again while it wrote the file. Tell whoever runs it, and ask again.")]
    Interrupted,
    /// Anything else, which is told in the log of the node.
    #[error("The server could not write the file. Its log says why; tell whoever runs it, and ask again.")]
    Unwritable,
}

/// Why a personal export was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonalExportDeletedReason {
    /// Its time was over.
    Expired,
    /// Another one was asked for.
    Replaced,
    /// Its account was erased.
    AccountErased,
}

/// What can have happened to a personal export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PersonalExportEvent {
    /// Somebody asked for everything that is kept of them.
    Requested {
        /// The export.
        export_id: PersonalExportId,
        /// Who asked, and of whom it is.
        account_id: AccountId,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        requested_at: OffsetDateTime,
    },
    /// The file is there.
    Completed {
        /// The export.
        export_id: PersonalExportId,
        /// Of whom it is.
        account_id: AccountId,
        /// How long the file is, in bytes.
        size_bytes: i64,
        /// When it was complete.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        completed_at: OffsetDateTime,
        /// When it is deleted by itself.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        expires_at: OffsetDateTime,
    },
    /// The file could not be written.
    Failed {
        /// The export.
        export_id: PersonalExportId,
        /// Of whom it would have been.
        account_id: AccountId,
        /// Why.
        failure: PersonalExportFailure,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        failed_at: OffsetDateTime,
    },
    /// The file is not to be had any more.
    Deleted {
        /// The export.
        export_id: PersonalExportId,
        /// Of whom it was.
        account_id: AccountId,
        /// Why.
        reason: PersonalExportDeletedReason,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        deleted_at: OffsetDateTime,
    },
}

impl PersonalExportEvent {
    /// The stored names of all events of a personal export.
    pub const TYPES: &[&'static str] = &[
        "personal_export.requested",
        "personal_export.completed",
        "personal_export.failed",
        "personal_export.deleted",
    ];

    /// Of whom it is.
    #[must_use]
    pub fn account_id(&self) -> AccountId {
        match self {
            Self::Requested { account_id, .. }
            | Self::Completed { account_id, .. }
            | Self::Failed { account_id, .. }
            | Self::Deleted { account_id, .. } => *account_id,
        }
    }
}

impl Event for PersonalExportEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "personal_export.requested",
            Self::Completed { .. } => "personal_export.completed",
            Self::Failed { .. } => "personal_export.failed",
            Self::Deleted { .. } => "personal_export.deleted",
        }
    }

    fn event_version(&self) -> &'static str {
        match self {
            // 2 has a word for why, in place of a sentence.
            Self::Failed { .. } => "2",
            Self::Requested { .. } | Self::Completed { .. } | Self::Deleted { .. } => "1",
        }
    }
}

/// Why a personal export says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PersonalExportRefusal {
    /// One is being made.
    #[error("an export is being made; wait for it")]
    UnderWay,
    /// One was made a short while ago.
    #[error("an export was made a short while ago; ask again at {again_at}")]
    TooSoon {
        /// When the next one may be asked for.
        again_at: OffsetDateTime,
    },
    /// There is no such export, or it is past that.
    #[error("there is no such export, or it has ended")]
    Unknown,
}

/// The newest export of a person, as far as its rules, and whoever shows it, need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewestPersonalExport {
    /// Which one.
    pub export_id: PersonalExportId,
    /// Of whom it is.
    pub account_id: AccountId,
    /// How far it is.
    pub state: ExportState,
    /// When it was asked for.
    pub requested_at: OffsetDateTime,
    /// How long the file is, in bytes; `None` until it is complete.
    pub size_bytes: Option<i64>,
    /// When it was complete; `None` until then.
    pub completed_at: Option<OffsetDateTime>,
    /// When it is deleted by itself; `None` until it is complete.
    pub expires_at: Option<OffsetDateTime>,
    /// Why it failed; `None` unless it did.
    pub failure: Option<PersonalExportFailure>,
}

/// The exports of one person, by the id of whose account they go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonalExports {
    newest: Option<NewestPersonalExport>,
}

impl PersonalExports {
    /// The one that was asked for last; `None` before the first.
    #[must_use]
    pub fn newest(&self) -> Option<&NewestPersonalExport> {
        self.newest.as_ref()
    }

    /// The newest, if it is this one and being made.
    fn under_way(&self, export_id: PersonalExportId) -> Result<AccountId, PersonalExportRefusal> {
        let newest = self.newest.as_ref().ok_or(PersonalExportRefusal::Unknown)?;
        let is_under_way = newest.export_id == export_id && newest.state == ExportState::Requested;
        if is_under_way { Ok(newest.account_id) } else { Err(PersonalExportRefusal::Unknown) }
    }

    fn request(
        &self,
        export_id: PersonalExportId,
        account_id: AccountId,
        now: OffsetDateTime,
    ) -> Result<Vec<PersonalExportEvent>, PersonalExportRefusal> {
        let requested = PersonalExportEvent::Requested { export_id, account_id, requested_at: now };
        let Some(newest) = &self.newest else { return Ok(vec![requested]) };
        let again_at = newest.requested_at + PERSONAL_EXPORT_EVERY;
        match newest.state {
            ExportState::Requested => Err(PersonalExportRefusal::UnderWay),
            ExportState::Completed if again_at > now => Err(PersonalExportRefusal::TooSoon { again_at }),
            ExportState::Completed => {
                let deleted = PersonalExportEvent::Deleted {
                    export_id: newest.export_id,
                    account_id,
                    reason: PersonalExportDeletedReason::Replaced,
                    deleted_at: now,
                };
                Ok(vec![deleted, requested])
            }
            ExportState::Failed | ExportState::Deleted => Ok(vec![requested]),
        }
    }
}

impl Aggregate for PersonalExports {
    const TYPE: &'static str = "personal_export";
    type Command = PersonalExportCommand;
    type Event = PersonalExportEvent;
    type Refusal = PersonalExportRefusal;

    fn decide(
        &self,
        command: PersonalExportCommand,
        now: OffsetDateTime,
    ) -> Result<Vec<PersonalExportEvent>, PersonalExportRefusal> {
        let event = match command {
            PersonalExportCommand::Request { export_id, account_id } => {
                return self.request(export_id, account_id, now);
            }
            PersonalExportCommand::Complete { export_id, size_bytes, expires_at } => PersonalExportEvent::Completed {
                export_id,
                account_id: self.under_way(export_id)?,
                size_bytes,
                completed_at: now,
                expires_at,
            },
            PersonalExportCommand::Fail { export_id, failure } => PersonalExportEvent::Failed {
                export_id,
                account_id: self.under_way(export_id)?,
                failure,
                failed_at: now,
            },
            PersonalExportCommand::Delete { export_id, reason } => {
                let newest = self.newest.as_ref().filter(|newest| {
                    newest.export_id == export_id
                        && matches!(newest.state, ExportState::Requested | ExportState::Completed)
                });
                let Some(newest) = newest else { return Ok(Vec::new()) };
                PersonalExportEvent::Deleted { export_id, account_id: newest.account_id, reason, deleted_at: now }
            }
        };
        Ok(vec![event])
    }

    fn apply(&mut self, event: &PersonalExportEvent) {
        if let PersonalExportEvent::Requested { export_id, account_id, requested_at } = event {
            self.newest = Some(NewestPersonalExport {
                export_id: *export_id,
                account_id: *account_id,
                state: ExportState::Requested,
                requested_at: *requested_at,
                size_bytes: None,
                completed_at: None,
                expires_at: None,
                failure: None,
            });
            return;
        }
        let Some(newest) = &mut self.newest else { return };
        match event {
            PersonalExportEvent::Requested { .. } => {}
            PersonalExportEvent::Completed { size_bytes, completed_at, expires_at, .. } => {
                newest.state = ExportState::Completed;
                newest.size_bytes = Some(*size_bytes);
                newest.completed_at = Some(*completed_at);
                newest.expires_at = Some(*expires_at);
            }
            PersonalExportEvent::Failed { failure, .. } => {
                newest.state = ExportState::Failed;
                newest.failure = Some(*failure);
            }
            PersonalExportEvent::Deleted { .. } => newest.state = ExportState::Deleted,
        }
    }

    fn claimed(_: Claimed) -> PersonalExportRefusal {
        PersonalExportRefusal::Unknown
    }
}
