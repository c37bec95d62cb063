//! Exports: copies of a part of the log, asked for, written and deleted. Each is an event, whichever way it goes.
//!
//! One that is written in the background (`ExportWay::Job`) becomes a row of [`jobs`], which says who writes it and how
//! far it is; its file is fetched with a token of [`downloads`].

pub mod downloads;
pub mod jobs;

use domain::{
    exports::{Export, ExportCommand, ExportDeletedReason, ExportFilter, ExportFormat, ExportRefusal, ExportWay},
    ids::{AccountId, ExportId},
};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    CommandError, Commands, Committed, Metadata,
    events::{Filter, FilterError},
};

/// How long the file of an export is kept.
pub const KEPT_FOR: time::Duration = time::Duration::days(7);

/// An export to be.
#[derive(Debug, Clone)]
pub struct RequestExport {
    /// Who asks; `None` for the operator's command line.
    pub by: Option<AccountId>,
    /// How it is handed out.
    pub way: ExportWay,
    /// Its form.
    pub format: ExportFormat,
    /// Which events it holds; `until` is a position that exists.
    pub filter: ExportFilter,
    /// Whether accounts stand in it under their real ids instead of pseudonyms.
    pub names_accounts: bool,
    /// Who and why, for the log.
    pub metadata: Metadata,
}

/// A new export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedExport {
    /// The export.
    pub export_id: ExportId,
    /// Where its event is in the log.
    pub position: i64,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrittenExport {
    /// How many events it holds.
    pub event_count: i64,
    /// How long it is.
    pub size_bytes: i64,
    /// When it is deleted by itself; `None` where nothing is kept.
    pub expires_at: Option<OffsetDateTime>,
}

/// What an export of `filter` is recorded as, when the log ends at `head`.
#[must_use]
pub fn recorded(filter: &Filter, head: i64) -> ExportFilter {
    ExportFilter {
        types: filter.types.clone(),
        subject: filter.subject.as_ref().map(ToString::to_string),
        channel_id: filter.channel,
        after: filter.after,
        until: filter.until.unwrap_or(head),
        from: filter.from,
        to: filter.to,
    }
}

/// Which events an export holds that is recorded so.
///
/// # Errors
/// [`FilterError`] when nothing could ever match.
pub fn filter(recorded: &ExportFilter) -> Result<Filter, FilterError> {
    let filter = Filter {
        after: recorded.after,
        until: Some(recorded.until),
        types: recorded.types.clone(),
        subject: recorded.subject.as_deref().map(str::parse).transpose()?,
        channel: recorded.channel_id,
        from: recorded.from,
        to: recorded.to,
    };
    filter.check()?;
    Ok(filter)
}

/// Records that somebody asks for a copy of a part of the log. A job is then written by the processes; whoever asks in
/// another way writes it and says [`complete`] or [`fail`].
///
/// # Errors
/// [`CommandError`]; nothing is refused.
pub async fn request(
    commands: &Commands,
    request: RequestExport,
) -> Result<RequestedExport, CommandError<ExportRefusal>> {
    let RequestExport { by, way, format, filter, names_accounts, metadata } = request;
    let export_id = ExportId::from(Uuid::now_v7());
    let command = ExportCommand::Request { export_id, by, way, format, filter, names_accounts };
    let Committed { position, .. } = execute(commands, export_id, command, metadata).await?;
    Ok(RequestedExport { export_id, position })
}

/// Records that an export was written in full. Answers the position at which the log shows it.
///
/// # Errors
/// [`CommandError`]; refused when it has ended or was deleted.
pub async fn complete(
    commands: &Commands,
    export_id: ExportId,
    written: WrittenExport,
    metadata: Metadata,
) -> Result<i64, CommandError<ExportRefusal>> {
    let WrittenExport { event_count, size_bytes, expires_at } = written;
    let command = ExportCommand::Complete { event_count, size_bytes, expires_at };
    let position = execute(commands, export_id, command, metadata).await?.position;
    metrics::counter!("weir_exports_total", "outcome" => "completed").increment(1);
    Ok(position)
}

/// Records that an export could not be written; `reason` is read by whoever asked for it. Answers the position at which
/// the log shows it.
///
/// # Errors
/// [`CommandError`]; refused when it has ended or was deleted.
pub async fn fail(
    commands: &Commands,
    export_id: ExportId,
    reason: String,
    metadata: Metadata,
) -> Result<i64, CommandError<ExportRefusal>> {
    let position = execute(commands, export_id, ExportCommand::Fail { reason }, metadata).await?.position;
    metrics::counter!("weir_exports_total", "outcome" => "failed").increment(1);
    Ok(position)
}

/// Records that an export is not to be had any more; its file goes soon after, and a job that writes it stops. Answers
/// the position at which the log shows it.
///
/// # Errors
/// [`CommandError`]; refused when there is no such export, or it was deleted before.
pub async fn delete(
    commands: &Commands,
    export_id: ExportId,
    reason: ExportDeletedReason,
    metadata: Metadata,
) -> Result<i64, CommandError<ExportRefusal>> {
    Ok(execute(commands, export_id, ExportCommand::Delete { reason }, metadata).await?.position)
}

async fn execute(
    commands: &Commands,
    export_id: ExportId,
    command: ExportCommand,
    metadata: Metadata,
) -> Result<Committed, CommandError<ExportRefusal>> {
    commands.execute::<Export>(&export_id.to_string(), command, metadata).await
}
