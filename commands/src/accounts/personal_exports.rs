//! Exports of what is kept of a person: asked for, made by the processes, fetched with a token, forgotten.

pub mod jobs;
pub mod tokens;

use domain::{
    accounts::{
        NewestPersonalExport, PersonalExportCommand, PersonalExportDeletedReason, PersonalExportFailure,
        PersonalExportRefusal, PersonalExports,
    },
    ids::{AccountId, PersonalExportId},
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{CommandError, Commands, LoadError, Metadata};

/// How long the file is kept.
pub const KEPT_FOR: time::Duration = time::Duration::days(7);

/// Asks for everything that is kept of a person; an earlier file goes. Answers a position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] while one is being made, and for an hour after one was asked for.
pub async fn request(
    commands: &Commands,
    account_id: AccountId,
    metadata: Metadata,
) -> Result<i64, CommandError<PersonalExportRefusal>> {
    // What was asked for in this moment by somebody who is erased is deleted by the process that follows both.
    if super::is_erased(commands, account_id).await? {
        return Err(CommandError::Refused(PersonalExportRefusal::Unknown));
    }
    let export_id = PersonalExportId::from(Uuid::now_v7());
    execute(commands, account_id, PersonalExportCommand::Request { export_id, account_id }, metadata).await
}

/// The export that a person asked for last; `None` before the first.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn newest(commands: &Commands, account_id: AccountId) -> Result<Option<NewestPersonalExport>, LoadError> {
    let exports = commands.load::<PersonalExports>(&account_id.to_string()).await?;
    Ok(exports.and_then(|(exports, _)| exports.newest().cloned()))
}

/// Records that a file was written in full.
///
/// # Errors
/// [`CommandError`]; refused when it has ended or was deleted.
pub async fn complete(
    commands: &Commands,
    (account_id, export_id): (AccountId, PersonalExportId),
    size_bytes: i64,
    expires_at: OffsetDateTime,
    metadata: Metadata,
) -> Result<i64, CommandError<PersonalExportRefusal>> {
    let expires_at = domain::timestamp::cut(expires_at);
    let command = PersonalExportCommand::Complete { export_id, size_bytes, expires_at };
    execute(commands, account_id, command, metadata).await
}

/// Records that a file could not be written, and why, for whoever asked for it.
///
/// # Errors
/// [`CommandError`]; refused when it has ended or was deleted.
pub async fn fail(
    commands: &Commands,
    (account_id, export_id): (AccountId, PersonalExportId),
    failure: PersonalExportFailure,
    metadata: Metadata,
) -> Result<i64, CommandError<PersonalExportRefusal>> {
    execute(commands, account_id, PersonalExportCommand::Fail { export_id, failure }, metadata).await
}

/// Records that a file is not to be had any more; again is fine.
///
/// # Errors
/// [`CommandError`]; never refused.
pub async fn delete(
    commands: &Commands,
    (account_id, export_id): (AccountId, PersonalExportId),
    reason: PersonalExportDeletedReason,
    metadata: Metadata,
) -> Result<i64, CommandError<PersonalExportRefusal>> {
    execute(commands, account_id, PersonalExportCommand::Delete { export_id, reason }, metadata).await
}

async fn execute(
    commands: &Commands,
    account_id: AccountId,
    command: PersonalExportCommand,
    metadata: Metadata,
) -> Result<i64, CommandError<PersonalExportRefusal>> {
    Ok(commands.execute::<PersonalExports>(&account_id.to_string(), command, metadata).await?.position)
}
