//! Reports: somebody says that something breaks a right or a rule; administrators decide.
//!
//! A decision that suspends an account does so before it is stored, since that can be refused. What is taken down is taken down
//! after it, by the process that follows `report.decided`.

use std::borrow::Cow;

use domain::{
    Invalid,
    accounts::Account,
    channels::Channel,
    ids::{AccountId, ChannelId, ReportId},
    recordings::Recording,
    reports::{
        FiledReport, Report, ReportAction, ReportAnswer, ReportCommand, ReportKind, ReportRefusal, ReportTarget,
        ReportText, ReportVerdict,
    },
    sealed::{Keyring as _, Opened, Sealed},
    streams::Stream,
};
use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    CommandError, Commands, LoadError, Metadata,
    accounts::suspension::{self, Standing, Suspend, SuspensionError},
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
/// # Errors
/// [`ReportsError`]; refused when it was decided otherwise before, or what is to be done cannot be.
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
    if action == ReportAction::SuspendAccount && report.decision().is_none() {
        let metadata = metadata.follow_up();
        let metadata = Metadata { actor: crate::Actor::Account(by), ..metadata };
        let suspend = Suspend { account_id: owner_id, by, reason, until, metadata };
        suspension::suspend(commands, suspend).await.map_err(ReportsError::Suspension)?;
    }
    let answer = match answer {
        Some(answer) => sealed_for(commands, account_id, answer.as_str()).await?,
        None => None,
    };
    let command = ReportCommand::Decide { by, verdict, action, answer };
    Ok(commands.execute::<Report>(&id, command, metadata).await?.position)
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
