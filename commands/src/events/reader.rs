use std::collections::VecDeque;

use futures::TryStreamExt;
use serde_json::value::RawValue;
use sqlx::{PgPool, Row, postgres::PgRow, types::Json};
use thiserror::Error;
use tokio::time::Instant;

use super::{
    Batch, Filter, FilterError, StoredEvent,
    filter::Types,
    lent::{self, Lent},
    position,
};

/// How many rows a batch has at most.
const ROWS: usize = 4_000;
/// With how many rows reading begins, so that the first are there soon.
const FIRST_ROWS: usize = 500;
/// How large a batch gets, but for its last event.
const BYTES: usize = 2 * 1024 * 1024;
/// What an event takes beside its payload and metadata.
const EVENT_BYTES: usize = 300;
/// How many positions one statement looks through when few may match.
const WINDOW: i64 = 50_000;
/// How many positions are found at a time where an index knows them.
const LISTED: i64 = 50_000;

const COLUMNS: &str = "position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
                       recorded_at";

/// Which channel the first event of an aggregate names; the index `events_of_channels` has the same words.
const CHANNEL_OF: &str = r#"substring(payload::text from '^\{"[A-Za-z]+":\{[^{}]*"channel_id": *"([0-9a-f-]{36})"')"#;

/// Why the log could not be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Nothing could ever match.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The database does not answer.
    #[error("the log could not be read")]
    Log(#[from] sqlx::Error),
}

/// Walks along the log in order, in statements that are each bounded, however little matches.
pub(super) struct Reader {
    pool: PgPool,
    types: Types,
    way: Way,
    reached: i64,
    end: i64,
    rows: usize,
}

enum Way {
    /// Along the positions.
    Log,
    /// Along those positions that an index names.
    Listed { of: Of, positions: VecDeque<i64>, listed: i64 },
}

enum Of {
    Subject(super::Subject),
    Channel(String),
}

impl Reader {
    /// At the beginning of what `filter` wants; the end is the end of the log as it is now.
    pub(super) async fn open(pool: PgPool, filter: &Filter) -> Result<Self, sqlx::Error> {
        let mut end = position::head(&pool).await?.min(filter.until.unwrap_or(i64::MAX));
        let mut reached = filter.after;
        if let Some(from) = filter.from {
            reached = reached.max(position::position_before(&pool, from).await?);
        }
        if let Some(to) = filter.to {
            end = end.min(position::position_before(&pool, to).await?);
        }
        let listed = |of| Way::Listed { of, positions: VecDeque::new(), listed: reached };
        let way = match (&filter.subject, filter.channel) {
            (Some(subject), _) => listed(Of::Subject(subject.clone())),
            (None, Some(channel)) => listed(Of::Channel(channel.to_string())),
            (None, None) => Way::Log,
        };
        Ok(Self { pool, types: Types::new(&filter.types), way, reached, end, rows: FIRST_ROWS })
    }

    /// The next events, perhaps none, `limit` at most; `None` at the end.
    pub(super) async fn next(&mut self, limit: usize) -> Result<Option<Batch>, sqlx::Error> {
        if self.reached >= self.end {
            return Ok(None);
        }
        let limit = limit.min(self.rows);
        let events = match &mut self.way {
            Way::Log => {
                let to = if self.types.are_all() { self.end } else { self.end.min(self.reached + WINDOW) };
                let (events, is_cut) = along(&self.pool, &self.types, self.reached, to, limit).await?;
                self.reached = events.last().filter(|_| is_cut).map_or(to, |last| last.position);
                events
            }
            Way::Listed { of, positions, listed } => {
                if positions.is_empty() {
                    *positions = list(&self.pool, of, &self.types, *listed, self.end, LISTED).await?.into();
                    *listed =
                        positions.back().copied().filter(|_| positions.len() == LISTED as usize).unwrap_or(self.end);
                }
                let wanted: Vec<i64> = positions.iter().copied().take(limit).collect();
                let events = if wanted.is_empty() { Vec::new() } else { at(&self.pool, &wanted).await? };
                positions.drain(..events.len());
                self.reached = match (events.last(), positions.is_empty()) {
                    (Some(last), false) => last.position,
                    _ => *listed,
                };
                events
            }
        };
        // What was cut for its size is not read in vain again.
        self.rows = if events.len() < limit && size(&events) >= BYTES { events.len() } else { ROWS.min(self.rows * 2) };
        Ok(Some(Batch { events, reached: self.reached }))
    }
}

/// The first `limit` events that `filter` wants, or those that are found by `deadline`.
pub(super) async fn first(
    pool: &PgPool,
    filter: &Filter,
    limit: usize,
    deadline: Option<Instant>,
) -> Result<Batch, sqlx::Error> {
    let mut reader = Reader::open(pool.clone(), filter).await?;
    let mut found = Batch { events: Vec::new(), reached: reader.reached };
    while found.events.len() < limit && deadline.is_none_or(|deadline| Instant::now() < deadline) {
        let Some(more) = reader.next(limit - found.events.len()).await? else { break };
        found.reached = more.reached;
        found.events.extend(more.events);
    }
    Ok(found)
}

/// Up to `limit` events after `after`, fewer only at the end of the log.
pub(super) async fn after(pool: &PgPool, after: i64, limit: i64) -> Result<Vec<StoredEvent>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from log.events where position > $1 order by position limit $2");
    collect(pool, sqlx::query(&sql).bind(after).bind(limit)).await
}

/// The next events of the wanted types after `after` and not after `to`, and whether there may be more of them.
async fn along(
    pool: &PgPool,
    types: &Types,
    after: i64,
    to: i64,
    limit: usize,
) -> Result<(Vec<StoredEvent>, bool), sqlx::Error> {
    let limit_rows = i64::try_from(limit).unwrap_or(i64::MAX);
    let events = if types.are_all() {
        let sql = format!(
            "select {COLUMNS} from log.events where position > $1 and position <= $2 order by position limit $3"
        );
        let rows = sqlx::query(&sql).bind(after).bind(to).bind(limit_rows);
        collect(pool, rows).await?
    } else {
        let sql = format!(
            "select {COLUMNS} from log.events where position > $1 and position <= $2 \
             and (event_type = any ($4) or event_type ^@ any ($5)) order by position limit $3"
        );
        let rows = sqlx::query(&sql).bind(after).bind(to).bind(limit_rows).bind(&types.exact).bind(&types.prefixes);
        collect(pool, rows).await?
    };
    let is_cut = events.len() == limit || size(&events) >= BYTES;
    Ok((events, is_cut))
}

/// The events at these positions, as many of the first as a batch may have.
async fn at(pool: &PgPool, positions: &[i64]) -> Result<Vec<StoredEvent>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from log.events where position = any ($1) order by position");
    collect(pool, sqlx::query(&sql).bind(positions)).await
}

/// Where the wanted events are. The sums keep Postgres from looking along the positions for the few that match.
async fn list(pool: &PgPool, of: &Of, types: &Types, after: i64, to: i64, limit: i64) -> Result<Vec<i64>, sqlx::Error> {
    let of_types = "($4 or event_type = any ($5) or event_type ^@ any ($6))";
    let sql = match of {
        Of::Subject(_) => format!(
            "select position from log.events where aggregate_type = $7 and aggregate_id = $8 \
             and position + 0 > $1 and position + 0 <= $2 and {of_types} order by position + 0 limit $3"
        ),
        Of::Channel(_) => format!(
            "with member as materialized ( \
                 select 'channel' as aggregate_type, $7 as aggregate_id \
                 union all \
                 select aggregate_type, aggregate_id from log.events \
                     where sequence = 1 and aggregate_type <> 'channel' and {CHANNEL_OF} = $7 \
             ) \
             select position from member join log.events using (aggregate_type, aggregate_id) \
             where position + 0 > $1 and position + 0 <= $2 and {of_types} order by position + 0 limit $3"
        ),
    };
    let query = sqlx::query_scalar(&sql)
        .bind(after)
        .bind(to)
        .bind(limit)
        .bind(types.are_all())
        .bind(&types.exact)
        .bind(&types.prefixes);
    let query = match of {
        Of::Subject(subject) => query.bind(&subject.aggregate_type).bind(&subject.aggregate_id),
        Of::Channel(channel) => query.bind(channel),
    };
    let mut lent = Lent::take(pool).await?;
    let positions = lent::in_time(query.fetch_all(&mut *lent)).await?;
    lent.give_back();
    Ok(positions)
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

async fn collect(pool: &PgPool, query: Query<'_>) -> Result<Vec<StoredEvent>, sqlx::Error> {
    let mut lent = Lent::take(pool).await?;
    let mut events = Vec::new();
    let mut size_bytes = 0;
    let all = async {
        let mut rows = query.fetch(&mut *lent);
        while let Some(row) = rows.try_next().await? {
            let event = event(&row)?;
            size_bytes += size_of(&event);
            events.push(event);
            if size_bytes >= BYTES {
                return Ok(false);
            }
        }
        Ok(true)
    };
    if lent::in_time(all).await? {
        lent.give_back();
    }
    Ok(events)
}

fn size(events: &[StoredEvent]) -> usize {
    events.iter().map(size_of).sum()
}

fn size_of(event: &StoredEvent) -> usize {
    EVENT_BYTES + event.payload.get().len() + event.metadata.get().len()
}

fn event(row: &PgRow) -> Result<StoredEvent, sqlx::Error> {
    Ok(StoredEvent {
        position: row.try_get(0)?,
        aggregate_type: row.try_get(1)?,
        aggregate_id: row.try_get(2)?,
        sequence: row.try_get(3)?,
        event_type: row.try_get(4)?,
        event_version: row.try_get(5)?,
        payload: row.try_get::<Json<Box<RawValue>>, _>(6)?.0,
        metadata: row.try_get::<Json<Box<RawValue>>, _>(7)?.0,
        recorded_at: row.try_get(8)?,
    })
}
