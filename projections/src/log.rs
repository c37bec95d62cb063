//! Events as the log in Postgres and the messages of JetStream hold them.

use std::{borrow::Cow, sync::Arc};

use domain::{DecodeError, DomainEvent, RecordedEvent};
use serde::Deserialize;
use serde_json::value::RawValue;
use sqlx::{PgConnection, Row};
use time::OffsetDateTime;

use crate::projection::Projection;

/// The most events that are read or applied at once.
pub(crate) const BATCH: usize = 1_000;

/// All events after one position up to another.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The position before the first.
    pub(crate) after: i64,
    /// The position of the last; `after` when there are none.
    pub(crate) last: i64,
    /// In order.
    pub(crate) entries: Vec<Entry>,
}

/// An event, as far as somebody here wants it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) position: i64,
    pub(crate) event_type: Box<str>,
    pub(crate) aggregate_id: Box<str>,
    pub(crate) content: Content,
}

#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are the large one, and a box would be an allocation for each"
)]
pub(crate) enum Content {
    Event(RecordedEvent),
    Damaged(Arc<DecodeError>),
    /// No projection here asked for events of its type, so that nobody looked at it.
    Unwanted,
}

/// Reads events, those that `projections` want.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    wanted: Arc<[&'static str]>,
}

impl Log {
    pub(crate) fn new(projections: &[&dyn Projection]) -> Self {
        let mut wanted: Vec<_> =
            projections.iter().flat_map(|projection| projection.events()).copied().flatten().copied().collect();
        wanted.sort_unstable();
        wanted.dedup();
        Self { wanted: wanted.into() }
    }

    /// Up to [`BATCH`] events after `position`. What Postgres shows is complete: the row of `log.head` is locked until
    /// an append commits, so that positions become visible in order.
    pub(crate) async fn after(&self, position: i64, connection: &mut PgConnection) -> Result<Batch, sqlx::Error> {
        self.between(position, i64::MAX, BATCH, connection).await
    }

    /// Up to `limit` events after `position` and up to position `until`.
    pub(crate) async fn between(
        &self,
        position: i64,
        until: i64,
        limit: usize,
        connection: &mut PgConnection,
    ) -> Result<Batch, sqlx::Error> {
        let rows = sqlx::query(
            "select position, aggregate_type, aggregate_id, sequence, event_type, event_version,
                    case when event_type = any($2::text[]) then payload::text end, recorded_at
             from log.events where position > $1 and position <= $3 order by position limit $4",
        )
        .bind(position)
        .bind(&self.wanted[..])
        .bind(until)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(connection)
        .await?;
        let mut entries = Vec::with_capacity(rows.len());
        for row in &rows {
            let payload: Option<&str> = row.try_get(6)?;
            entries.push(decode(Stored {
                position: row.try_get(0)?,
                aggregate_type: Cow::Borrowed(row.try_get(1)?),
                aggregate_id: Cow::Borrowed(row.try_get(2)?),
                sequence: row.try_get(3)?,
                event_type: Cow::Borrowed(row.try_get(4)?),
                event_version: Cow::Borrowed(row.try_get(5)?),
                payload,
                recorded_at: row.try_get(7)?,
            }));
        }
        Ok(Batch { after: position, last: entries.last().map_or(position, |entry| entry.position), entries })
    }

    /// The event in the body of a message.
    pub(crate) fn message(&self, body: &[u8]) -> Result<Entry, serde_json::Error> {
        let message: Message<'_> = serde_json::from_slice(body)?;
        let is_wanted = self.wanted.binary_search(&&*message.event_type).is_ok();
        Ok(decode(Stored {
            position: message.position,
            aggregate_type: message.aggregate_type,
            aggregate_id: message.aggregate_id,
            sequence: message.sequence,
            event_type: message.event_type,
            event_version: message.event_version,
            payload: is_wanted.then(|| message.payload.get()),
            recorded_at: message.recorded_at,
        }))
    }
}

/// The position of the last event of the log.
pub(crate) async fn head(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select position from log.head").fetch_one(connection).await
}

#[derive(Deserialize)]
struct Message<'a> {
    position: i64,
    #[serde(borrow)]
    aggregate_type: Cow<'a, str>,
    #[serde(borrow)]
    aggregate_id: Cow<'a, str>,
    sequence: i64,
    #[serde(borrow)]
    event_type: Cow<'a, str>,
    #[serde(borrow)]
    event_version: Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
    #[serde(with = "time::serde::rfc3339")]
    recorded_at: OffsetDateTime,
}

struct Stored<'a> {
    position: i64,
    aggregate_type: Cow<'a, str>,
    aggregate_id: Cow<'a, str>,
    sequence: i64,
    event_type: Cow<'a, str>,
    event_version: Cow<'a, str>,
    /// `None` when nobody wants it.
    payload: Option<&'a str>,
    recorded_at: OffsetDateTime,
}

fn decode(stored: Stored<'_>) -> Entry {
    let Stored { position, sequence, recorded_at, .. } = stored;
    let content = match stored.payload {
        None => Content::Unwanted,
        Some(payload) => {
            match DomainEvent::decode(&stored.aggregate_type, &stored.event_type, &stored.event_version, payload) {
                Ok(event) => Content::Event(RecordedEvent { position, sequence, recorded_at, event }),
                Err(error) => Content::Damaged(Arc::new(error)),
            }
        }
    };
    Entry { position, event_type: stored.event_type.into(), aggregate_id: stored.aggregate_id.into(), content }
}
