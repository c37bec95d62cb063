//! Reading the log by position, for whoever is not an aggregate.
//!
//! [`batches`] reads all that a [`Filter`] wants, [`page`] some of it, and an [`Envelope`] writes events as outsiders get
//! them.

mod batches;
mod envelope;
mod filter;
mod json;
mod lent;
mod position;
mod pseudonyms;
mod raw_json;
mod reader;
mod row;
mod rows;
mod suspensions;

use std::time::Duration;

use serde::Serialize;
use sqlx::PgPool;
use time::OffsetDateTime;
use tokio::time::Instant;

pub use self::{
    batches::batches,
    envelope::{Actors, Envelope},
    filter::{Filter, FilterError, Subject},
    position::{head, position_at},
    pseudonyms::Pseudonyms,
    raw_json::RawJson,
    reader::ReadError,
    suspensions::{last_suspension_of, last_suspensions},
};
pub(crate) use self::{
    lent::{Lent, within},
    reader::rows_after,
    row::EventRow,
};

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
    pub payload: RawJson,
    /// Who and why: an object of texts.
    pub metadata: RawJson,
    /// When the log took it.
    #[serde(with = "time::serde::rfc3339")]
    pub recorded_at: OffsetDateTime,
}

/// Some events in the order of their positions, and how far the log was looked through for them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// What was found.
    pub events: Vec<StoredEvent>,
    /// Every wanted event up to this position was delivered, in this batch or before. To go on from here is to lose
    /// nothing and to repeat nothing, whether or not there is an event at it.
    pub reached: i64,
}

/// The first `limit` events that `filter` wants, in order; fewer only when there are no more. It takes as long as it
/// takes: where little may match in a large log, [`page_within`] is better.
///
/// # Errors
/// When the database does not answer.
pub async fn page(pool: &PgPool, filter: &Filter, limit: i64) -> Result<Vec<StoredEvent>, sqlx::Error> {
    let limit = usize::try_from(limit).unwrap_or(0);
    Ok(reader::first(pool, filter, limit, None).await?.events)
}

/// As [`page`], but looking no further once `budget` is used up: then there may be more even though fewer than `limit`
/// were found. There is no more when [`Batch::reached`] is at the end of what was asked for.
///
/// # Errors
/// [`ReadError`] when nothing could ever match, or the database does not answer.
pub async fn page_within(pool: &PgPool, filter: &Filter, limit: usize, budget: Duration) -> Result<Batch, ReadError> {
    filter.check()?;
    Ok(reader::first(pool, filter, limit, Instant::now().checked_add(budget)).await?)
}
