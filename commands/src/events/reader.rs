use std::{collections::VecDeque, time::Duration};

use sqlx::PgPool;
use thiserror::Error;
use tokio::time::Instant;

use super::{
    Batch, Filter, FilterError, StoredEvent, Subject,
    filter::Types,
    lent::{ANSWERED_WITHIN, Lent, within},
    position,
    row::{COLUMNS, EventRow},
    rows::{self, BYTES},
};

/// How many rows a batch has at most.
const ROWS: usize = 4_000;
/// With how many rows reading begins, so that the first are there soon.
const FIRST_ROWS: usize = 500;
/// From how many positions on they are many.
const MANY: i64 = 200;
/// How many positions one statement looks through when few may match.
const WINDOW: i64 = 50_000;
/// How many positions are found at a time where an index knows them.
const LISTED: usize = 50_000;

/// The aggregates that belong to the channel `$9`; the index `events_of_channels` has the same words.
const OF_CHANNEL: &str = r#"
    select 'channel' as aggregate_type, $9::text as aggregate_id
    union all
    select aggregate_type, aggregate_id from log.events
        where substr(split_part(payload::text, '"channel_id":"', 2), 1, 36) = $9
            and sequence = 1 and aggregate_type <> 'channel' and strpos(payload::text, '"channel_id":"') > 0
            and split_part(payload::text, '"channel_id":"', 1) not like '{%{%{%'"#;
/// The one that is asked for.
const OF_SUBJECT: &str = "select $7::text as aggregate_type, $8::text as aggregate_id where $9::text is null";

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

/// Either or both.
struct Of {
    subject: Option<Subject>,
    channel: Option<String>,
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
        let way = if filter.subject.is_none() && filter.channel.is_none() {
            Way::Log
        } else {
            let of = Of { subject: filter.subject.clone(), channel: filter.channel.map(|channel| channel.to_string()) };
            Way::Listed { of, positions: VecDeque::new(), listed: reached }
        };
        Ok(Self { pool, types: Types::new(&filter.types), way, reached, end, rows: FIRST_ROWS })
    }

    /// The next events, perhaps none, `limit` at most; `None` at the end.
    pub(super) async fn next(&mut self, limit: usize) -> Result<Option<Batch>, sqlx::Error> {
        if self.reached >= self.end {
            return Ok(None);
        }
        let limit = limit.min(self.rows);
        let mut events = Vec::new();
        match &mut self.way {
            Way::Log => {
                let to = if self.types.are_all() { self.end } else { self.end.min(self.reached + WINDOW) };
                let is_whole = along(&self.pool, &self.types, self.reached, to, limit, &mut events).await?;
                let is_cut = events.len() == limit || !is_whole;
                self.reached = events.last().filter(|_| is_cut).map_or(to, |last| last.position);
            }
            Way::Listed { of, positions, listed } => {
                if positions.is_empty() {
                    *positions = list(&self.pool, of, &self.types, *listed, self.end).await?.into();
                    let is_more = positions.len() == LISTED;
                    *listed = positions.back().copied().filter(|_| is_more).unwrap_or(self.end);
                }
                let wanted: Vec<i64> = positions.iter().copied().take(limit).collect();
                if !wanted.is_empty() {
                    at(&self.pool, &wanted, &mut events).await?;
                }
                positions.drain(..events.len());
                let last = events.last().filter(|_| !positions.is_empty());
                self.reached = last.map_or(*listed, |last| last.position);
            }
        }
        // Half of what would be too large, so that seldom anything is read in vain.
        let size_bytes: usize = events.iter().map(|event| EventRow::from(event).size()).sum();
        let fitting = (BYTES / 2 * events.len()).checked_div(size_bytes).unwrap_or(ROWS);
        self.rows = fitting.clamp(1, ROWS.min(self.rows * 2));
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

/// Shows `limit` events after position `after`, or as many as there are. Whether it was all there are. `are_many` is
/// whether many are expected.
pub(crate) async fn rows_after(
    pool: &PgPool,
    after: i64,
    limit: usize,
    are_many: bool,
    answered_within: Duration,
    mut show: impl FnMut(EventRow<'_>),
) -> Result<bool, sqlx::Error> {
    let mut total = 0;
    let show = |row: EventRow<'_>| {
        total += 1;
        show(row);
    };
    let is_whole = rows::between(pool, (after, i64::MAX), limit, are_many, answered_within, show).await?;
    Ok(is_whole && total < limit)
}

/// The next events of the wanted types after `after` and not after `to`. Whether they are `limit`, or all.
async fn along(
    pool: &PgPool,
    types: &Types,
    after: i64,
    to: i64,
    limit: usize,
    events: &mut Vec<StoredEvent>,
) -> Result<bool, sqlx::Error> {
    if types.are_all() {
        let are_many = to - after >= MANY;
        return rows::between(pool, (after, to), limit, are_many, ANSWERED_WITHIN, keep(events)).await;
    }
    let sql = format!(
        "select {COLUMNS} from log.events where position > $1 and position <= $2 \
         and (event_type = any ($4) or event_type ^@ any ($5)) order by position limit $3"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let query = sqlx::query(&sql).bind(after).bind(to).bind(limit).bind(&types.exact).bind(&types.prefixes);
    rows::queried(pool, query, ANSWERED_WITHIN, keep(events)).await
}

/// The events at these positions, as many of the first as are large enough together. Whether they are all.
async fn at(pool: &PgPool, positions: &[i64], events: &mut Vec<StoredEvent>) -> Result<bool, sqlx::Error> {
    let sql = format!("select {COLUMNS} from log.events where position = any ($1) order by position");
    rows::queried(pool, sqlx::query(&sql).bind(positions), ANSWERED_WITHIN, keep(events)).await
}

/// Where the wanted events are. The sums keep Postgres from looking along the positions for the few that match.
async fn list(pool: &PgPool, of: &Of, types: &Types, after: i64, to: i64) -> Result<Vec<i64>, sqlx::Error> {
    let member = if of.channel.is_some() { OF_CHANNEL } else { OF_SUBJECT };
    let sql = format!(
        "with member as materialized ({member}) \
         select position from member join log.events using (aggregate_type, aggregate_id) \
         where ($7::text is null or (aggregate_type = $7 and aggregate_id = $8)) \
             and position + 0 > $1 and position + 0 <= $2 \
             and ($4 or event_type = any ($5) or event_type ^@ any ($6)) \
         order by position + 0 limit $3"
    );
    let subject = of.subject.as_ref();
    let query = sqlx::query_scalar(&sql)
        .bind(after)
        .bind(to)
        .bind(i64::try_from(LISTED).expect("it is small"))
        .bind(types.are_all())
        .bind(&types.exact)
        .bind(&types.prefixes)
        .bind(subject.map(|subject| subject.aggregate_type.as_str()))
        .bind(subject.map(|subject| subject.aggregate_id.as_str()))
        .bind(of.channel.as_deref());
    let mut lent = Lent::take(pool).await?;
    let positions = within(ANSWERED_WITHIN, query.fetch_all(&mut *lent)).await?;
    lent.give_back();
    Ok(positions)
}

fn keep(events: &mut Vec<StoredEvent>) -> impl FnMut(EventRow<'_>) {
    |row| events.push(row.to_stored())
}
