//! What must be true once all is up and quiet again.

mod answers;
mod jetstream;
mod read_models;
pub mod sabotage;

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ledger::Ledger, subscriber::Told};

/// An event as the log has it.
pub struct Stored {
    pub position: i64,
    pub aggregate_type: String,
    pub aggregate_id: String,
    pub sequence: i64,
    pub event_type: String,
    pub event_version: String,
    pub payload: String,
    pub correlation_id: Option<Uuid>,
    pub actor: String,
    pub recorded_at: OffsetDateTime,
}

/// Everything that is wrong; nothing, if all is well.
pub struct Findings(Vec<String>);

impl Findings {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    pub fn add(&mut self, finding: String) {
        // The first ones tell the most.
        if self.0.len() < 100 {
            self.0.push(finding);
        }
    }

    pub fn expect(&mut self, is_well: bool, finding: impl FnOnce() -> String) {
        if !is_well {
            self.add(finding());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn into_vec(self) -> Vec<String> {
        self.0
    }
}

pub async fn all(
    pool: &PgPool,
    nats_url: &str,
    secrets: &std::path::Path,
    ledger: &Ledger,
    told: &[Told],
    findings: &mut Findings,
) -> anyhow::Result<usize> {
    let log = read(pool).await?;
    order(pool, &log, findings).await?;
    answers::check(&log, ledger, findings);
    answers::keys(pool, &log, ledger, findings).await?;
    jetstream::check(nats_url, &log, findings).await?;
    subscriber(&log, told, findings);
    read_models::check(pool, secrets, &log, findings).await?;
    Ok(log.len())
}

async fn read(pool: &PgPool) -> sqlx::Result<Vec<Stored>> {
    type Row = (i64, String, String, i64, String, String, String, Option<String>, String, OffsetDateTime);
    let rows: Vec<Row> = sqlx::query_as(
        "select position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text,
                metadata ->> 'correlation_id', coalesce(metadata ->> 'actor', ''), recorded_at
         from log.events order by position",
    )
    .fetch_all(pool)
    .await?;
    let stored = |row: Row| Stored {
        position: row.0,
        aggregate_type: row.1,
        aggregate_id: row.2,
        sequence: row.3,
        event_type: row.4,
        event_version: row.5,
        payload: row.6,
        correlation_id: row.7.and_then(|id| id.parse().ok()),
        actor: row.8,
        recorded_at: row.9,
    };
    Ok(rows.into_iter().map(stored).collect())
}

/// Positions without a hole, times that never run backwards, and each aggregate's events numbered from 1.
async fn order(pool: &PgPool, log: &[Stored], findings: &mut Findings) -> sqlx::Result<()> {
    let mut sequences = std::collections::HashMap::<(&str, &str), i64>::new();
    let mut newest = OffsetDateTime::UNIX_EPOCH;
    for (event, expected) in log.iter().zip(1..) {
        let Stored { position, sequence, recorded_at, .. } = event;
        findings.expect(*position == expected, || format!("the log has position {position} where {expected} belongs"));
        findings
            .expect(*recorded_at >= newest, || format!("{position} was recorded at {recorded_at}, before {newest}"));
        newest = newest.max(*recorded_at);
        let last = sequences.entry((&event.aggregate_type, &event.aggregate_id)).or_default();
        *last += 1;
        findings.expect(sequence == last, || {
            format!("{position} is event {sequence} of {} {}, after {last}", event.aggregate_type, event.aggregate_id)
        });
    }
    let head: i64 = sqlx::query_scalar("select position from log.head").fetch_one(pool).await?;
    findings.expect(head == log.len() as i64, || format!("log.head says {head}, there are {} events", log.len()));
    let held_twice: i64 = sqlx::query_scalar(
        "select count(*) from (select payload -> 'Created' ->> 'handle' as handle from log.events
             where event_type = 'channel.created' group by 1 having count(*) > 1) twice",
    )
    .fetch_one(pool)
    .await?;
    findings.expect(held_twice == 0, || format!("{held_twice} handles were given more than once"));
    Ok(())
}

/// Every position once and in order.
fn subscriber(log: &[Stored], told: &[Told], findings: &mut Findings) {
    findings.expect(log.len() == told.len(), || {
        format!("the subscriber was told of {} events, there are {}", told.len(), log.len())
    });
    for (event, told) in log.iter().zip(told) {
        let is_same =
            (event.position, event.sequence, &event.event_type) == (told.position, told.sequence, &told.event_type);
        if !is_same {
            findings.add(format!("the subscriber was told {told:?} where the log has position {}", event.position));
            return;
        }
    }
}
