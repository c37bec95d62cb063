//! How far a projection has come, and what it failed at. Tables are found by the connection's search path.

use sqlx::{PgConnection, prelude::FromRow};
use time::OffsetDateTime;

use crate::log::Entry;

/// Where a projection stands.
#[derive(Debug, Clone, Copy, Default, FromRow)]
pub(crate) struct Checkpoint {
    pub(crate) position: i64,
    /// The event at which it stopped, until it gets past it.
    pub(crate) failed_at: Option<i64>,
    /// How often a rebuild has replaced its tables.
    pub(crate) generation: i64,
    /// How often somebody asked to try again.
    pub(crate) retries: i64,
}

/// The checkpoint, made if there is none.
pub(crate) async fn load(name: &str, connection: &mut PgConnection) -> Result<Checkpoint, sqlx::Error> {
    sqlx::query("insert into checkpoints (projection) values ($1) on conflict do nothing")
        .bind(name)
        .execute(&mut *connection)
        .await?;
    read(name, connection).await
}

/// The checkpoint, which was made before.
pub(crate) async fn read(name: &str, connection: &mut PgConnection) -> Result<Checkpoint, sqlx::Error> {
    sqlx::query_as(
        "select position, generation, retries,
             (select max(failed.position) from failed_events failed where failed.projection = $1
                 and failed.resolved_at is null and not failed.is_skipped) as failed_at
         from checkpoints where projection = $1",
    )
    .bind(name)
    .fetch_one(connection)
    .await
}

/// Moves on, and tells the time of Postgres; `None`, and nothing is moved, when another worker did. First in its
/// transaction: two workers then meet here, at one row, instead of somewhere among the rows of the read model.
pub(crate) async fn advance(
    name: &str,
    from: i64,
    to: i64,
    connection: &mut PgConnection,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar(
        "update checkpoints set position = $3, updated_at = now() where projection = $1 and position = $2
         returning clock_timestamp()",
    )
    .bind(name)
    .bind(from)
    .bind(to)
    .fetch_optional(connection)
    .await
}

/// Notes that failures up to `position` are past.
pub(crate) async fn resolve(name: &str, position: i64, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update failed_events set resolved_at = now()
         where projection = $1 and position <= $2 and resolved_at is null and not is_skipped",
    )
    .bind(name)
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps an event that could not be applied in so many attempts, which are added to earlier ones.
pub(crate) async fn keep_failed(
    name: &str,
    entry: &Entry,
    (error, attempts, is_skipped): (&str, u32, bool),
    connection: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into failed_events as failed
             (projection, position, event_type, aggregate_id, error, attempts, is_skipped)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (projection, position) do update set error = excluded.error, is_skipped = excluded.is_skipped,
             attempts = failed.attempts + excluded.attempts, last_failed_at = now(), resolved_at = null",
    )
    .bind(name)
    .bind(entry.position)
    .bind(&*entry.event_type)
    .bind(&*entry.aggregate_id)
    .bind(error)
    .bind(i64::from(attempts))
    .bind(is_skipped)
    .execute(connection)
    .await?;
    Ok(())
}
