use domain::{Aggregate, accounts::Account, ids::AccountId};
use sqlx::{PgPool, postgres::PgRow};

use super::{StoredEvent, row::EventRow};

/// Of each account that was ever suspended the event that last kept it out or let it in again, up to `until`: of those after `after`
/// the first `limit`, in the order of their positions. By the index `events_of_suspensions`, which has the same words.
///
/// # Errors
/// When the database does not answer.
pub async fn last_suspensions(
    pool: &PgPool,
    after: i64,
    until: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>, sqlx::Error> {
    let rows = sqlx::query(
        "select position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at \
         from log.events event \
         where event_type in ('account.suspended', 'account.reinstated') and position > $1 and position <= $2 \
             and not exists ( \
                 select from log.events later \
                 where later.event_type in ('account.suspended', 'account.reinstated') and later.position <= $2 \
                     and later.position > event.position and later.aggregate_id = event.aggregate_id) \
         order by position limit $3",
    )
    .bind(after)
    .bind(until)
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(stored).collect()
}

/// The last suspension of an account up to `until`, whatever came after it.
///
/// # Errors
/// When the database does not answer.
pub async fn last_suspension_of(
    pool: &PgPool,
    account_id: AccountId,
    until: i64,
) -> Result<Option<StoredEvent>, sqlx::Error> {
    let row = sqlx::query(
        "select position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at \
         from log.events \
         where aggregate_type = $1 and aggregate_id = $2 and event_type = 'account.suspended' and position <= $3 \
         order by sequence desc limit 1",
    )
    .bind(Account::TYPE)
    .bind(account_id.to_string())
    .bind(until)
    .fetch_optional(pool)
    .await?;
    row.as_ref().map(stored).transpose()
}

fn stored(row: &PgRow) -> Result<StoredEvent, sqlx::Error> {
    Ok(EventRow::new(row)?.to_stored())
}
