//! Reports: somebody says that something breaks a right or a rule; administrators decide.
//!
//! A decision says all that is to be done. What follows from it is done after it: an account is suspended at once, and again by the
//! process that follows `report.decided`, which takes down what is taken down. Whether it can be is looked at before.

use std::borrow::Cow;

use domain::{
    Aggregate, Invalid,
    accounts::{Account, AccountRefusal, SuspensionCommand},
    channels::Channel,
    ids::{AccountId, ChannelId, ReportId},
    recordings::Recording,
    reports::{
        DecidedSuspension, FiledReport, Report, ReportAction, ReportAnswer, ReportCommand, ReportKind, ReportRefusal,
        ReportTarget, ReportText, ReportVerdict,
    },
    sealed::{Keyring as _, Opened, Sealed},
    streams::Stream,
    timestamp,
};
use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    Actor, CommandError, Commands, LoadError, Metadata,
    accounts::suspension::{self, Standing, SuspensionError},
};

/// A report to be.
#[derive(Debug, Clone)]
pub struct FileReport {
    /// Who reports.
    pub by: AccountId,
    /// What.
    pub target: ReportTarget,
    /// What is said to be wrong.
    pub kind: ReportKind,
    /// What they say of it, as typed.
    pub text: String,
    /// Where in the stream or recording, in milliseconds from its start, if they say.
    pub at_ms: Option<i64>,
    /// Who and why, for the log.
    pub metadata: Metadata,
}

/// A new report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewReport {
    /// The report.
    pub report_id: ReportId,
    /// Where its event is in the log.
    pub position: i64,
}

/// What an administrator has found.
#[derive(Debug, Clone)]
pub struct DecideReport {
    /// The report.
    pub report_id: ReportId,
    /// The administrator.
    pub by: AccountId,
    /// What they have found.
    pub verdict: ReportVerdict,
    /// What is done.
    pub action: ReportAction,
    /// What they answer to who has reported, as typed; empty for nothing.
    pub answer: String,
    /// Of a suspension: why, as typed.
    pub reason: String,
    /// Of a suspension: when it is over by itself; `None` for not before it is lifted.
    pub until: Option<OffsetDateTime>,
    /// Who and why, for the log.
    pub metadata: Metadata,
}

/// Why there is no report, or no decision.
#[derive(Debug, Error)]
pub enum ReportsError {
    /// All fields that break a rule of their own; never empty.
    #[error("some fields are not valid")]
    Invalid(Vec<Invalid>),
    /// The account could not be suspended, and nothing was decided.
    #[error("the account could not be suspended")]
    Suspension(#[source] SuspensionError),
    /// Refused, or not carried out.
    #[error(transparent)]
    Command(#[from] CommandError<ReportRefusal>),
}

/// Stores a report.
///
/// # Errors
/// [`ReportsError`]; refused when the same person's report of the same thing is open, and when there is no such thing.
pub async fn file(commands: &Commands, file: FileReport) -> Result<NewReport, ReportsError> {
    let FileReport { by, target, kind, text, at_ms, metadata } = file;
    let text = ReportText::parse(&text).map_err(|invalid| ReportsError::Invalid(vec![invalid]))?;
    let owner_id = owner(commands, target).await.map_err(CommandError::from)?;
    let owner_id = owner_id.ok_or(CommandError::Refused(ReportRefusal::TargetUnknown))?;
    let text = commands.account_keys().seal(by, text.as_str()).await.map_err(CommandError::from)?;
    let report_id = ReportId::from(Uuid::now_v7());
    let command = ReportCommand::File { report_id, account_id: by, target, owner_id, kind, text, at_ms };
    let committed = commands.execute::<Report>(&report_id.to_string(), command, metadata).await?;
    Ok(NewReport { report_id, position: committed.position })
}

/// Stores what was found of a report, and suspends an account where that is what is done; the same again is fine. Answers a
/// position at which the log shows it.
///
/// Once the event is stored, whatever fails or is interrupted is done by the process that follows it.
///
/// # Errors
/// [`ReportsError`]; refused when it was decided otherwise before, or what is to be done cannot be: then nothing was decided.
pub async fn decide(commands: &Commands, decide: DecideReport) -> Result<i64, ReportsError> {
    let DecideReport { report_id, by, verdict, action, answer, reason, until, metadata } = decide;
    let answer = match answer.trim() {
        "" => None,
        answer => Some(ReportAnswer::parse(answer).map_err(|invalid| ReportsError::Invalid(vec![invalid]))?),
    };
    let id = report_id.to_string();
    let report = commands.load::<Report>(&id).await.map_err(CommandError::from)?;
    let (report, _) = report.ok_or(CommandError::Refused(ReportRefusal::Unknown))?;
    let FiledReport { account_id, owner_id, .. } =
        report.may_be_decided(verdict, action).map_err(CommandError::Refused)?;
    let is_new = report.decision().is_none();
    let suspension = if action == ReportAction::SuspendAccount && is_new {
        let reason = suspension::sealed_reason(commands, owner_id, by, &reason, until).await;
        let (reason, until) = (reason.map_err(ReportsError::Suspension)?, until.map(timestamp::cut));
        Some(DecidedSuspension { owner_id, reason, until })
    } else {
        None
    };
    let answer = match answer {
        Some(answer) => sealed_for(commands, account_id, answer.as_str()).await?,
        None => None,
    };
    let is_suspended = suspension.is_some();
    let command = ReportCommand::Decide { by, verdict, action, answer, suspension };
    let decided = commands.execute::<Report>(&id, command, metadata).await?.position;
    if !is_suspended {
        return Ok(decided);
    }
    match carry_out_suspension(commands, report_id).await {
        Ok(position) => Ok(position.max(decided)),
        Err(CommandError::Refused(refusal)) => {
            tracing::warn!(
                report.id = %report_id, %refusal,
                "a suspension was decided, and the account cannot be suspended any more"
            );
            Ok(decided)
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                report.id = %report_id,
                "a suspension was decided; it is carried out by the process that follows the log"
            );
            Ok(decided)
        }
    }
}

/// Suspends the account that a decision suspends, unless that was done, or its suspension was lifted, since; one that is suspended
/// for longer stays so. To be called any number of times. Answers a position at which the log shows it, 0 where nothing was to
/// be done.
///
/// # Errors
/// [`CommandError`]; refused when the account cannot be suspended any more, or the time of it is over.
pub async fn carry_out_suspension(
    commands: &Commands,
    report_id: ReportId,
) -> Result<i64, CommandError<AccountRefusal>> {
    let id = report_id.to_string();
    let Some((report, _)) = commands.load::<Report>(&id).await? else { return Ok(0) };
    let Some((by, DecidedSuspension { owner_id, reason, until })) = report.suspension() else { return Ok(0) };
    let decided: Option<(i64, Uuid, Uuid)> = sqlx::query_as(
        "select position, (metadata->>'command_id')::uuid, (metadata->>'correlation_id')::uuid from log.events \
         where aggregate_type = $1 and aggregate_id = $2 and event_type = 'report.decided'",
    )
    .bind(Report::TYPE)
    .bind(&id)
    .fetch_optional(commands.pool())
    .await?;
    let Some((position, command_id, correlation_id)) = decided else { return Ok(0) };
    // Positions are compared, and no clocks. What was lifted after the decision is not begun by it anew.
    let is_done: bool = sqlx::query_scalar(
        "select exists (select from log.events where aggregate_type = $1 and aggregate_id = $2 and position > $3 \
             and (event_type = 'account.reinstated' \
                  or event_type = 'account.suspended' and metadata->>'causation_id' = $4))",
    )
    .bind(Account::TYPE)
    .bind(owner_id.to_string())
    .bind(position)
    .bind(command_id.to_string())
    .fetch_one(commands.pool())
    .await?;
    if is_done {
        return Ok(0);
    }
    let causation_id = Some(command_id);
    let metadata = Metadata { correlation_id, causation_id, ..Metadata::new(Actor::Account(by)) };
    let command = SuspensionCommand::SuspendAtLeast { by, reason: reason.clone(), until: *until };
    suspension::begin(commands, *owner_id, by, command, metadata).await
}

/// The answer for somebody who may have been erased: then it is for nobody.
async fn sealed_for(
    commands: &Commands,
    account_id: AccountId,
    answer: &str,
) -> Result<Option<Sealed>, CommandError<ReportRefusal>> {
    if suspension::standing(commands, account_id).await? == Standing::Erased {
        return Ok(None);
    }
    Ok(Some(commands.account_keys().seal(account_id, answer).await?))
}

/// What is sealed, in its order; `None` for what an erased person had sealed.
///
/// # Errors
/// [`CommandError`]; nothing is refused.
pub async fn open(
    commands: &Commands,
    sealed: Vec<&Sealed>,
) -> Result<Vec<Option<String>>, CommandError<ReportRefusal>> {
    let opened = commands.account_keys().open(sealed.into_iter().map(Cow::Borrowed).collect()).await?;
    let text = |opened| match opened {
        Opened::Text(text) => Some(text),
        Opened::Erased => None,
    };
    Ok(opened.into_iter().map(text).collect())
}

/// Whose it is; `None` when there is nothing of the kind, or not any more.
async fn owner(commands: &Commands, target: ReportTarget) -> Result<Option<AccountId>, LoadError> {
    let channel_id: Option<ChannelId> = match target {
        ReportTarget::Account { account_id } => {
            let account = commands.load::<Account>(&account_id.to_string()).await?;
            return Ok(account.filter(|(account, _)| account.is_active()).map(|_| account_id));
        }
        ReportTarget::Channel { id } => Some(id),
        ReportTarget::Stream { id } => {
            commands.load::<Stream>(&id.to_string()).await?.and_then(|(stream, _)| stream.channel_id())
        }
        ReportTarget::Recording { id } => {
            let recording = commands.load::<Recording>(&id.to_string()).await?;
            recording.and_then(|(recording, _)| Some(recording.origin()?.channel_id))
        }
    };
    let Some(channel_id) = channel_id else { return Ok(None) };
    let channel = commands.load::<Channel>(&channel_id.to_string()).await?;
    Ok(channel.and_then(|(channel, _)| channel.owner_id()))
}
