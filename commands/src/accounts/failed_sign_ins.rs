//! Sign-ins that failed, for the owner of the account and for administrators.
//!
//! The first of an hour is told at once, those after it are counted and told together when the hour is over: two events
//! an hour and account for each thing that can be wrong, however fast somebody guesses. What is tried with a username that
//! nobody has is told by the log of calls alone.

use std::time::Duration;

use domain::{
    accounts::{SignInCommand, SignInFailure, SignInRefusal, SignIns, Username},
    ids::AccountId,
    sealed::Sealed,
    timestamp,
};
use sqlx::types::Json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{find, username_digest};
use crate::{Actor, CommandError, Commands, Metadata};

/// For how long what follows a first failure is told together.
pub const TOLD_EVERY: Duration = Duration::from_secs(3_600);
/// How many are told between two statements.
const SWEEP_LEN: i64 = 200;

/// Somebody who could not sign in.
#[derive(Debug, Clone)]
pub struct FailedSignIn {
    /// With which username, as typed.
    pub username: String,
    /// What was wrong.
    pub failure: SignInFailure,
    /// What the browser calls itself.
    pub user_agent: String,
    /// The address that it came from.
    pub address: String,
}

type Counted = (Uuid, String, i64, OffsetDateTime, OffsetDateTime, Json<Sealed>, Json<Sealed>);

/// Notes that somebody could not sign in. Nothing happens when nobody has the username.
///
/// # Errors
/// [`CommandError`]; never refused.
pub async fn note(commands: &Commands, failed: FailedSignIn) -> Result<(), CommandError<SignInRefusal>> {
    let FailedSignIn { username, failure, user_agent, address } = failed;
    let Ok(username) = Username::parse(&username) else { return Ok(()) };
    let Some(account_id) = find(commands, &username_digest(commands, &username)).await? else { return Ok(()) };
    let keys = commands.account_keys();
    let user_agent = keys.seal_for_a_while(account_id, &user_agent).await?;
    let address = keys.seal_for_a_while(account_id, &address).await?;
    let at = timestamp::cut(OffsetDateTime::now_utc());
    // The row first: one that was told and not counted would be told again and again.
    let is_first: bool = sqlx::query_scalar(
        "insert into log.failed_sign_ins as failed (account_id, failure, first_at, last_at, user_agent, address) \
         values ($1, $2, $3, $3, $4, $5) \
         on conflict (account_id, failure) do update set count = failed.count + 1, \
             last_at = greatest(failed.last_at, excluded.last_at), \
             user_agent = excluded.user_agent, address = excluded.address \
         returning count = 0",
    )
    .bind(account_id.uuid())
    .bind(failure.as_str())
    .bind(at)
    .bind(Json(&user_agent))
    .bind(Json(&address))
    .fetch_one(commands.pool())
    .await?;
    if is_first {
        let fail =
            SignInCommand::Fail { account_id, failure, count: 1, first_at: at, last_at: at, user_agent, address };
        tell(commands, account_id, fail).await?;
    }
    Ok(())
}

/// Tells what has failed in hours that are over. Answers how many events that were. To be called now and then; several
/// processes may do it at once.
///
/// # Errors
/// [`CommandError`] of the first that could not be told; those before it are.
pub async fn tell_over(commands: &Commands) -> Result<u64, CommandError<SignInRefusal>> {
    tell_older(commands, TOLD_EVERY).await
}

/// As [`tell_over`], of what began longer than `age` ago.
///
/// # Errors
/// As [`tell_over`].
pub async fn tell_older(commands: &Commands, age: Duration) -> Result<u64, CommandError<SignInRefusal>> {
    let mut total = 0;
    loop {
        let over: Vec<Counted> = sqlx::query_as(
            "select account_id, failure, count, first_at, last_at, user_agent, address from log.failed_sign_ins \
             where first_at <= now() - make_interval(secs => $1) order by first_at limit $2",
        )
        .bind(age.as_secs_f64())
        .bind(SWEEP_LEN)
        .fetch_all(commands.pool())
        .await?;
        if over.is_empty() {
            return Ok(total);
        }
        for (account_id, failure, count, first_at, last_at, user_agent, address) in over {
            let account_id = AccountId::from(account_id);
            if let Some(known) = SignInFailure::from_stored(&failure) {
                // Without a second one it was told, unless a crash came in between: then it is now.
                let count = u32::try_from(count.max(1)).unwrap_or(u32::MAX);
                let (user_agent, address) = (user_agent.0, address.0);
                let fail =
                    SignInCommand::Fail { account_id, failure: known, count, first_at, last_at, user_agent, address };
                tell(commands, account_id, fail).await?;
                total += 1;
            }
            settle(commands, account_id, &failure, count, last_at).await?;
        }
    }
}

/// What was told goes; what was counted in between stays, and is told when its hour is over.
async fn settle(
    commands: &Commands,
    account_id: AccountId,
    failure: &str,
    told: i64,
    last_at: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let gone = sqlx::query("delete from log.failed_sign_ins where account_id = $1 and failure = $2 and last_at = $3")
        .bind(account_id.uuid())
        .bind(failure)
        .bind(last_at)
        .execute(commands.pool())
        .await?;
    if gone.rows_affected() == 0 {
        sqlx::query(
            "update log.failed_sign_ins set count = greatest(count - $3, 1), first_at = greatest(last_at, now()) \
             where account_id = $1 and failure = $2",
        )
        .bind(account_id.uuid())
        .bind(failure)
        .bind(told)
        .execute(commands.pool())
        .await?;
    }
    Ok(())
}

/// Forgets what was counted for an account.
pub(super) async fn forget(commands: &Commands, account_id: AccountId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.failed_sign_ins where account_id = $1")
        .bind(account_id.uuid())
        .execute(commands.pool())
        .await?;
    Ok(())
}

async fn tell(
    commands: &Commands,
    account_id: AccountId,
    fail: SignInCommand,
) -> Result<(), CommandError<SignInRefusal>> {
    // Whoever erases forgets what was counted after the event that is looked for here.
    if super::is_erased(commands, account_id).await? {
        return Ok(());
    }
    commands.execute::<SignIns>(&account_id.to_string(), fail, Metadata::new(Actor::System)).await?;
    Ok(())
}
