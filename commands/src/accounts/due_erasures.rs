//! Erasures that were asked for and are not due yet: until then, whoever signs in keeps the account.
//!
//! That somebody asked, and that they thought better of it, is in the log, and the account decides of the two. When it is
//! due is kept in a table beside the log by the process that follows it, which carries it out on time.

use std::time::Duration;

use domain::{
    accounts::{Account, AccountCommand, AccountRefusal, ErasureCancelledReason, SessionEndReason},
    ids::AccountId,
    timestamp,
};
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{erasure, sessions};
use crate::{Actor, CommandError, Commands, Metadata};

/// How many are carried out between two statements.
const SWEEP_LEN: i64 = 100;

/// An erasure that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestedErasure {
    /// When it is carried out.
    pub due_at: OffsetDateTime,
    /// Where in the log it is.
    pub position: i64,
}

/// Asks for the erasure of an account in `cooling_off` from now, and signs it out everywhere, so that whoever signs in again
/// means it. One that was asked for before stays as it is.
///
/// # Errors
/// [`CommandError::Refused`] with `AccountRefusal::Unknown` or `OnlyAdministrator`.
pub async fn request(
    commands: &Commands,
    account_id: AccountId,
    cooling_off: Duration,
    metadata: Metadata,
) -> Result<RequestedErasure, CommandError<AccountRefusal>> {
    let due_at = timestamp::cut(OffsetDateTime::now_utc() + cooling_off);
    let id = account_id.to_string();
    let command = AccountCommand::RequestErasure { due_at };
    let position = commands.execute::<Account>(&id, command, metadata).await?.position;
    let reason = SessionEndReason::ErasureRequested;
    if let Err(error) = sessions::end_all(commands, account_id, None, reason, Actor::Account(account_id)).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            account.id = %account_id,
            "an erasure was asked for, and not all sessions have ended; the process that follows the log ends them"
        );
    }
    let account = commands.load::<Account>(&id).await.map_err(|error| CommandError::from(error).after_storing())?;
    let due_at = account.and_then(|(account, _)| account.erasure_due_at()).unwrap_or(due_at);
    Ok(RequestedErasure { due_at, position })
}

/// Ends the sessions that were opened before the event at `position` asked for the erasure, all of them or the rest; nothing
/// happens when the account is not to be erased any more.
///
/// # Errors
/// [`CommandError`]; to be called again then.
pub async fn finish_request(
    commands: &Commands,
    account_id: AccountId,
    position: i64,
) -> Result<(), CommandError<AccountRefusal>> {
    let account = commands.load::<Account>(&account_id.to_string()).await?;
    if account.is_none_or(|(account, _)| account.erasure_due_at().is_none()) {
        return Ok(());
    }
    let (reason, owner) = (SessionEndReason::ErasureRequested, Actor::Account(account_id));
    sessions::end_before(commands, account_id, position, None, reason, owner)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))
}

/// Keeps the account if it was to be erased. Whether it was.
///
/// # Errors
/// [`CommandError::Refused`] with `AccountRefusal::Unknown` when it is erased.
pub async fn cancel(
    commands: &Commands,
    account_id: AccountId,
    reason: ErasureCancelledReason,
    metadata: Metadata,
) -> Result<bool, CommandError<AccountRefusal>> {
    let id = account_id.to_string();
    let account = commands.load::<Account>(&id).await?;
    if !account.is_some_and(|(account, _)| account.erasure_due_at().is_some() || account.is_erased()) {
        return Ok(false);
    }
    commands.execute::<Account>(&id, AccountCommand::CancelErasure { reason }, metadata).await?;
    Ok(true)
}

/// Erases the accounts whose time has come, by the clock of the database and by ours. Answers how many. Several processes may
/// do it at once.
///
/// # Errors
/// [`CommandError`] of the first that could not be erased; each is in the log, and all the others are.
pub async fn carry_out(commands: &Commands) -> Result<u64, CommandError<AccountRefusal>> {
    let (mut erased, mut failed) = (0, None);
    // Goes past what fails, so that it holds nobody up.
    let mut after = (OffsetDateTime::UNIX_EPOCH - Duration::from_secs(1), Uuid::nil());
    loop {
        let due: Vec<(OffsetDateTime, Uuid)> = sqlx::query_as(
            "select due_at, account_id from log.due_erasures where due_at <= now() and (due_at, account_id) > ($2, $3) \
             order by due_at, account_id limit $1",
        )
        .bind(SWEEP_LEN)
        .bind(after.0)
        .bind(after.1)
        .fetch_all(commands.pool())
        .await?;
        let Some(last) = due.last() else { break };
        after = *last;
        for (_, account_id) in due {
            let account_id = AccountId::from(account_id);
            match carry_out_one(commands, account_id).await {
                Ok(is_erased) => erased += u64::from(is_erased),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        account.id = %account_id,
                        "an account whose time has come could not be erased; it is tried again"
                    );
                    failed.get_or_insert(error);
                }
            }
        }
    }
    failed.map_or(Ok(erased), Err)
}

/// Erases an account if its time has come. Whether it did.
async fn carry_out_one(commands: &Commands, account_id: AccountId) -> Result<bool, CommandError<AccountRefusal>> {
    let command = AccountCommand::CarryOutErasure;
    match commands.execute::<Account>(&account_id.to_string(), command, Metadata::new(Actor::System)).await {
        Ok(_) | Err(CommandError::Refused(AccountRefusal::Unknown)) => {}
        Err(CommandError::Refused(AccountRefusal::OnlyAdministrator)) => {
            tracing::warn!(
                account.id = %account_id,
                "an account that was to be erased is the only administrator's by now; it stays"
            );
            let reason = ErasureCancelledReason::OnlyAdministrator;
            cancel(commands, account_id, reason, Metadata::new(Actor::System)).await?;
        }
        Err(error) => return Err(error),
    }
    let account = commands.load::<Account>(&account_id.to_string()).await?.map(|(account, _)| account);
    let Some(account) = account else { return Ok(false) };
    if account.is_erased() {
        erasure::finish(commands, account_id).await?;
    }
    // Where our clock is behind that of the database, it is for the next time.
    if account.erasure_due_at().is_none() {
        forget(commands.pool(), account_id).await?;
    }
    Ok(account.is_erased())
}

/// Notes when an account is to be erased.
///
/// # Errors
/// When the database does not answer.
pub async fn note(pool: &PgPool, account_id: AccountId, due_at: OffsetDateTime) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into log.due_erasures (account_id, due_at) values ($1, $2) \
         on conflict (account_id) do update set due_at = excluded.due_at",
    )
    .bind(account_id.uuid())
    .bind(due_at)
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets that an account is to be erased.
///
/// # Errors
/// When the database does not answer.
pub async fn forget(pool: &PgPool, account_id: AccountId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.due_erasures where account_id = $1").bind(account_id.uuid()).execute(pool).await?;
    Ok(())
}

/// How long it is until the next erasure is due, by the clock of the database; `None` when there is none.
///
/// # Errors
/// When the database does not answer.
pub async fn next_in(pool: &PgPool) -> Result<Option<Duration>, sqlx::Error> {
    let seconds: Option<f64> = sqlx::query_scalar(
        "select greatest(extract(epoch from min(due_at) - now())::double precision, 0) from log.due_erasures",
    )
    .fetch_one(pool)
    .await?;
    Ok(seconds.map(Duration::from_secs_f64))
}
