//! Suspension: keeping somebody out until an administrator lets them in again, or until a time.
//!
//! One event makes it hold: from `account.suspended` on nobody can sign in, make a token or publish. What follows is done at
//! once, and done again by a process that follows the event: sessions end and personal tokens are revoked, each by an event that
//! every node knows of within a second, and encoders are sent away (by the nodes that have them). Nothing is done when its time is over:
//! whoever asks then is told that there is none.

use std::borrow::Cow;

use domain::{
    Invalid,
    accounts::{
        Account, AccountCommand, AccountRefusal, PersonalTokenRevokedReason, SessionEndReason, SuspensionCommand,
        SuspensionReason, SuspensionRefusal,
    },
    ids::AccountId,
    sealed::{Keyring as _, Opened, Sealed},
};
use thiserror::Error;
use time::OffsetDateTime;

use super::{personal_tokens, sessions};
use crate::{Actor, CommandError, Commands, LoadError, Metadata};

/// Somebody who is to be kept out.
#[derive(Debug, Clone)]
pub struct Suspend {
    /// The account.
    pub account_id: AccountId,
    /// The administrator who asks.
    pub by: AccountId,
    /// Why, as typed: its owner reads it.
    pub reason: String,
    /// When it is over by itself; `None` for not before it is lifted.
    pub until: Option<OffsetDateTime>,
    /// Who and why, for the log.
    pub metadata: Metadata,
}

/// Why an account was not suspended.
#[derive(Debug, Error)]
pub enum SuspensionError {
    /// All fields that break a rule of their own; never empty.
    #[error("some fields are not valid")]
    Invalid(Vec<Invalid>),
    /// Refused, or not carried out.
    #[error(transparent)]
    Command(#[from] CommandError<AccountRefusal>),
}

/// What somebody is told who cannot sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentSuspension {
    /// Why; empty where it cannot be read any more.
    pub reason: String,
    /// When it is over by itself; `None` for not before it is lifted.
    pub until: Option<OffsetDateTime>,
}

/// Whether an account may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may, or there never was one.
    Good,
    /// It is suspended.
    Suspended,
    /// It was erased.
    Erased,
}

/// Suspends an account; once more with another reason or end is fine. Answers a position at which the log shows all of it.
///
/// Once the event is stored, whatever fails or is interrupted is done by the process that follows it.
///
/// # Errors
/// [`SuspensionError`]; refused for one's own account, that of the last administrator, one that is not there, and an end that
/// has passed.
pub async fn suspend(commands: &Commands, suspend: Suspend) -> Result<i64, SuspensionError> {
    let Suspend { account_id, by, reason, until, metadata } = suspend;
    let reason = sealed_reason(commands, account_id, by, &reason, until).await?;
    let command = SuspensionCommand::Suspend { by: Some(by), reason, until };
    Ok(begin(commands, account_id, by, command, metadata).await?)
}

/// Why somebody is to be suspended, sealed under their key, once it is known that they may be at this moment.
///
/// # Errors
/// As of [`suspend`].
pub(crate) async fn sealed_reason(
    commands: &Commands,
    account_id: AccountId,
    by: AccountId,
    reason: &str,
    until: Option<OffsetDateTime>,
) -> Result<Sealed, SuspensionError> {
    let reason = SuspensionReason::parse(reason).map_err(|invalid| SuspensionError::Invalid(vec![invalid]))?;
    let account = commands.load::<Account>(&account_id.to_string()).await.map_err(CommandError::from)?;
    let account = account.map(|(account, _)| account).unwrap_or_default();
    // Before the reason is sealed: an account that never was must not get a key, and an erased one has none.
    account.may_be_suspended(by, until, OffsetDateTime::now_utc()).map_err(CommandError::Refused)?;
    if account.is_administrator() && !is_good_administrator(commands, by).await? {
        return Err(CommandError::Refused(SuspensionRefusal::LastAdministrator.into()).into());
    }
    Ok(commands.account_keys().seal(account_id, reason.as_str()).await.map_err(CommandError::from)?)
}

/// Has `by` suspend somebody as `command` says, with what follows from it. Answers a position at which the log shows it.
///
/// # Errors
/// [`CommandError`]; refused as [`suspend`] is.
pub(crate) async fn begin(
    commands: &Commands,
    account_id: AccountId,
    by: AccountId,
    command: SuspensionCommand,
    metadata: Metadata,
) -> Result<i64, CommandError<AccountRefusal>> {
    let id = account_id.to_string();
    let account = commands.load::<Account>(&id).await?.map(|(account, _)| account).unwrap_or_default();
    let needs_another = account.is_administrator() && by != account_id;
    if needs_another && !is_good_administrator(commands, by).await? {
        return Err(CommandError::Refused(SuspensionRefusal::LastAdministrator.into()));
    }
    let was_suspended = account.suspension(OffsetDateTime::now_utc()).is_some();
    let committed = commands.execute::<Account>(&id, AccountCommand::Suspension(command), metadata.clone()).await?;
    // Two administrators may have suspended each other at the same moment: of the two events the later one finds the other. Who
    // was suspended before stays so.
    let is_good = async || is_good_administrator(commands, by).await.map_err(CommandError::after_storing);
    if needs_another && !was_suspended && !is_good().await? {
        let undo = AccountCommand::Suspension(SuspensionCommand::Reinstate { by: None });
        let undone = commands.execute::<Account>(&id, undo, metadata.follow_up()).await;
        undone.map_err(|error| CommandError::OutcomeUnknown(error.into()))?;
        return Err(CommandError::Refused(SuspensionRefusal::LastAdministrator.into()));
    }
    match finish(commands, account_id).await {
        Ok(position) => Ok(position.max(committed.position)),
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                account.id = %account_id,
                "a suspension was begun; it is finished by the process that follows the log"
            );
            Ok(committed.position)
        }
    }
}

/// Lets somebody in again; that they are not suspended is fine. Answers a position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] with `AccountRefusal::Unknown` when there is no such account.
pub async fn reinstate(
    commands: &Commands,
    account_id: AccountId,
    by: AccountId,
    metadata: Metadata,
) -> Result<i64, CommandError<AccountRefusal>> {
    let command = AccountCommand::Suspension(SuspensionCommand::Reinstate { by: Some(by) });
    Ok(commands.execute::<Account>(&account_id.to_string(), command, metadata).await?.position)
}

/// Ends the sessions of a suspended account and revokes its personal tokens, all of them or the rest; nothing happens when it is
/// not suspended any more. Answers where in the log the last of that is, 0 where nothing was to be done.
///
/// # Errors
/// [`CommandError`]; to be called again then.
pub async fn finish(commands: &Commands, account_id: AccountId) -> Result<i64, CommandError<AccountRefusal>> {
    if standing(commands, account_id).await? != Standing::Suspended {
        return Ok(0);
    }
    let ended = sessions::end_all(commands, account_id, None, SessionEndReason::AccountSuspended, Actor::System)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))?;
    personal_tokens::revoke_all(commands, account_id, PersonalTokenRevokedReason::AccountSuspended)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))?;
    Ok(ended)
}

/// Whether an account may be used now.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn standing(commands: &Commands, account_id: AccountId) -> Result<Standing, LoadError> {
    let account = commands.load::<Account>(&account_id.to_string()).await?;
    Ok(match account {
        Some((account, _)) if account.is_erased() => Standing::Erased,
        Some((account, _)) if account.suspension(OffsetDateTime::now_utc()).is_some() => Standing::Suspended,
        _ => Standing::Good,
    })
}

/// Why and until when an account is suspended; `None` when it is not.
///
/// # Errors
/// [`CommandError`]; nothing is refused.
pub async fn current(
    commands: &Commands,
    account_id: AccountId,
) -> Result<Option<CurrentSuspension>, CommandError<AccountRefusal>> {
    let account = commands.load::<Account>(&account_id.to_string()).await?;
    let Some((account, _)) = account else { return Ok(None) };
    let Some(suspension) = account.suspension(OffsetDateTime::now_utc()) else { return Ok(None) };
    let opened = commands.account_keys().open(vec![Cow::Borrowed(&suspension.reason)]).await?;
    let reason = opened.into_iter().next().map(|opened| Opened::or(opened, "")).unwrap_or_default();
    Ok(Some(CurrentSuspension { reason, until: suspension.until }))
}

/// Whether somebody can administer the platform now.
pub(super) async fn is_good_administrator(
    commands: &Commands,
    account_id: AccountId,
) -> Result<bool, CommandError<AccountRefusal>> {
    let account = commands.load::<Account>(&account_id.to_string()).await?;
    let now = OffsetDateTime::now_utc();
    Ok(account.is_some_and(|(account, _)| account.is_administrator() && account.suspension(now).is_none()))
}
