//! Mails on their way: which event leads to which, who sends it, how often it was tried, and what became of it. No facts, and
//! worth nothing once they have gone, so no events.

use std::time::Duration;

use domain::{
    Aggregate,
    accounts::{Account, AccountEmail, PasswordReset},
    ids::AccountId,
};
use sqlx::PgPool;

/// How long rows of mails stay after these have gone: much longer than any code is good for.
const KEPT_DAYS: i32 = 14;
/// What mails are about. Its id is that of the account whose owner reads them.
const OF_ACCOUNTS: [&str; 3] = [Account::TYPE, AccountEmail::TYPE, PasswordReset::TYPE];

/// A mail: an event, and which of its mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MailId {
    /// Where the event is in the log.
    pub position: i64,
    /// Counted from 0.
    pub part: i16,
}

/// A mail that somebody has taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingMail {
    /// Which.
    pub id: MailId,
    /// How often it was tried, this time included.
    pub attempts: i32,
    /// For how long it has waited.
    pub waited: Duration,
}

/// What became of a mail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MailOutcome {
    /// A server has taken it, or it is in the folder.
    Sent,
    /// A server refused it for good.
    Refused,
    /// It came to nothing in the time that there was for it.
    Expired,
    /// It cannot be made, or its address is none.
    Undeliverable,
    /// Its reader was erased, or needs it no longer.
    Dropped,
}

impl MailOutcome {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Sent, Self::Refused, Self::Expired, Self::Undeliverable, Self::Dropped];

    /// As stored and counted.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Refused => "refused",
            Self::Expired => "expired",
            Self::Undeliverable => "undeliverable",
            Self::Dropped => "dropped",
        }
    }
}

/// Puts a mail on the list; nothing happens when it is or was there.
///
/// # Errors
/// When the database does not answer.
pub async fn enqueue(pool: &PgPool, id: MailId) -> Result<(), sqlx::Error> {
    sqlx::query("insert into log.mails (position, part) values ($1, $2) on conflict (position, part) do nothing")
        .bind(id.position)
        .bind(id.part)
        .execute(pool)
        .await?;
    Ok(())
}

/// Takes on the mail that is due first, if one is, for as long as `lease`: when that is over and nothing was said of it, another takes
/// it on.
///
/// # Errors
/// When the database does not answer.
pub async fn claim(pool: &PgPool, lease: Duration) -> Result<Option<WaitingMail>, sqlx::Error> {
    let claimed: Option<(i64, i16, i32, f64)> = sqlx::query_as(
        "update log.mails mail set claimed_until = now() + make_interval(secs => $1), attempts = attempts + 1 \
         where (position, part) = ( \
             select position, part from log.mails \
             where settled_at is null and next_attempt_at <= now() and (claimed_until is null or claimed_until < now()) \
             order by next_attempt_at, position, part limit 1 for update skip locked) \
         returning position, part, attempts, extract(epoch from now() - created_at)::float8",
    )
    .bind(lease.as_secs_f64())
    .fetch_optional(pool)
    .await?;
    Ok(claimed.map(|(position, part, attempts, waited)| WaitingMail {
        id: MailId { position, part },
        attempts,
        waited: Duration::try_from_secs_f64(waited).unwrap_or_default(),
    }))
}

/// Lets a mail be tried again after `wait`.
///
/// # Errors
/// When the database does not answer; then it is tried again once the lease is over.
pub async fn retry(pool: &PgPool, id: MailId, wait: Duration, failure: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update log.mails set claimed_until = null, next_attempt_at = now() + make_interval(secs => $3), failure = $4 \
         where position = $1 and part = $2 and settled_at is null",
    )
    .bind(id.position)
    .bind(id.part)
    .bind(wait.as_secs_f64())
    .bind(failure)
    .execute(pool)
    .await?;
    Ok(())
}

/// Notes what became of a mail; it is not tried again.
///
/// # Errors
/// When the database does not answer; then it is tried again once the lease is over.
pub async fn settle(pool: &PgPool, id: MailId, outcome: MailOutcome, failure: Option<&str>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update log.mails set settled_at = now(), outcome = $3, failure = $4, claimed_until = null \
         where position = $1 and part = $2 and settled_at is null",
    )
    .bind(id.position)
    .bind(id.part)
    .bind(outcome.as_str())
    .bind(failure)
    .execute(pool)
    .await?;
    Ok(())
}

/// Forgets what was said of mails to an account, and answers which mails to it are on the list: of those that went into a folder
/// there are files.
///
/// # Errors
/// When the database does not answer.
pub async fn forget(pool: &PgPool, account_id: AccountId) -> Result<Vec<MailId>, sqlx::Error> {
    let mails: Vec<(i64, i16)> = sqlx::query_as(
        "update log.mails mail set failure = null from log.events event \
         where event.position = mail.position and event.aggregate_type = any($1) and event.aggregate_id = $2 \
         returning mail.position, mail.part",
    )
    .bind(OF_ACCOUNTS)
    .bind(account_id.to_string())
    .fetch_all(pool)
    .await?;
    Ok(mails.into_iter().map(|(position, part)| MailId { position, part }).collect())
}

/// Those among these positions whose mails were to people who were erased since.
///
/// # Errors
/// When the database does not answer.
pub async fn of_erased(pool: &PgPool, positions: &[i64]) -> Result<Vec<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "select event.position from log.events event \
         join log.keys key on key.account_id = event.aggregate_id::uuid and key.wrapped is null \
         where event.position = any($1) and event.aggregate_type = any($2)",
    )
    .bind(positions)
    .bind(OF_ACCOUNTS)
    .fetch_all(pool)
    .await
}

/// How many mails wait, and for how long the oldest of them has.
///
/// # Errors
/// When the database does not answer.
pub async fn waiting(pool: &PgPool) -> Result<(i64, Duration), sqlx::Error> {
    let (count, oldest): (i64, f64) = sqlx::query_as(
        "select count(*), coalesce(extract(epoch from now() - min(created_at)), 0)::float8 \
         from log.mails where settled_at is null",
    )
    .fetch_one(pool)
    .await?;
    Ok((count, Duration::try_from_secs_f64(oldest).unwrap_or_default()))
}

/// Removes the rows of mails that have gone long ago; how many.
///
/// # Errors
/// When the database does not answer.
pub async fn sweep(pool: &PgPool) -> Result<u64, sqlx::Error> {
    let swept = sqlx::query("delete from log.mails where settled_at < now() - make_interval(days => $1)")
        .bind(KEPT_DAYS)
        .execute(pool)
        .await?;
    Ok(swept.rows_affected())
}
