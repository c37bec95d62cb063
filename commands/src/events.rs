//! Reading the log by position.

use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::{PgExecutor, PgPool, Row};
use time::OffsetDateTime;

/// An event as the log keeps it, and as it travels over NATS (as JSON).
#[derive(Debug, Clone, Serialize)]
pub struct StoredEvent {
    /// Its place in the one total order; contiguous from 1.
    pub position: i64,
    /// The kind of aggregate, `channel` for example.
    pub aggregate_type: String,
    /// Which one.
    pub aggregate_id: String,
    /// Its place among the events of its aggregate; contiguous from 1.
    pub sequence: i64,
    /// Its name, `channel.created` for example.
    pub event_type: String,
    /// The version of its payload's shape.
    pub event_version: String,
    /// The fact, externally tagged: `{"Created": {…}}`.
    pub payload: Box<RawValue>,
    /// Who and why: an object of texts.
    pub metadata: Box<RawValue>,
    /// When the log took it.
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
}

/// Up to `limit` events after position `after`, in order; empty when there are no more.
///
/// # Errors
/// When the database does not answer.
pub async fn page(pool: &PgPool, after: i64, limit: i64) -> Result<Vec<StoredEvent>, sqlx::Error> {
    read(pool, after, limit).await
}

/// The position of the last event; 0 for an empty log.
///
/// # Errors
/// When the database does not answer.
pub async fn head(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select position from log.head").fetch_one(pool).await
}

pub(crate) async fn read(
    executor: impl PgExecutor<'_>,
    after: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>, sqlx::Error> {
    let rows = sqlx::query(
        "select position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
         recorded_at from log.events where position > $1 order by position limit $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(executor)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(StoredEvent {
                position: row.try_get(0)?,
                aggregate_type: row.try_get(1)?,
                aggregate_id: row.try_get(2)?,
                sequence: row.try_get(3)?,
                event_type: row.try_get(4)?,
                event_version: row.try_get(5)?,
                payload: row.try_get::<sqlx::types::Json<Box<RawValue>>, _>(6)?.0,
                metadata: row.try_get::<sqlx::types::Json<Box<RawValue>>, _>(7)?.0,
                recorded_at: row.try_get(8)?,
            })
        })
        .collect()
}
