//! The event store: cqrs-es's `EventStore` over `log.events`, with a bounded cache of aggregates in front and one
//! appender behind, which stores all commands that wait in one transaction; a caller who is alone goes past it.
//!
//! What the cache holds may be out of date as soon as another process appends. That is safe: whatever was decided on it
//! is refused by the primary key of `log.events`, and a refusal or "nothing to do" decided on it is decided again on
//! the log.

mod appender;
mod batch;
mod key;
mod log;
mod lone;
mod turns;

use std::{
    any::Any,
    collections::HashMap,
    convert::Infallible,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cqrs_es::{AggregateContext, AggregateError, EventEnvelope, EventStore};
use domain::{Aggregate, Event};
use quick_cache::sync::Cache;
use serde_json::value::RawValue;
use sqlx::{PgPool, Row, postgres::PgRow, types::Json};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use self::{
    appender::{Append, AppendError, Appender, EventRow, UsedKey},
    key::KeyRef,
    lone::Lone,
};
pub(crate) use self::{key::Key, turns::Turns};
use crate::{
    AsOf, CommandError, CommandsOptions, Committed, LoadError, Metadata,
    adapter::{Adapted, AdaptedEvent},
    counters::Counters,
    error::BoxError,
    events,
};

/// An `Arc<Cached<A>>` of whatever aggregate.
type CachedAggregate = Arc<dyn Any + Send + Sync>;

struct Cached<A> {
    aggregate: A,
    version: i64,
}

/// The log as far as aggregates are concerned. One per process.
pub(crate) struct Store {
    pool: PgPool,
    cache: Arc<Cache<Key, CachedAggregate>>,
    /// Not longer than there may be commands under way.
    queue: mpsc::UnboundedSender<Append>,
    lone: Lone,
    committed: watch::Sender<i64>,
    /// A permit for each byte of the events that wait to be stored.
    room: Arc<Semaphore>,
    counters: Arc<Counters>,
}

impl Store {
    /// A store and its appender, which goes on until `stop` is cancelled; what comes with the store resolves when it has
    /// ended. `under_way` has a permit less for each command under way.
    pub(crate) async fn start(
        pool: PgPool,
        options: &CommandsOptions,
        under_way: Arc<Semaphore>,
        counters: Arc<Counters>,
        committed: watch::Sender<i64>,
        stop: CancellationToken,
    ) -> Result<(Self, oneshot::Receiver<()>), sqlx::Error> {
        let cache = Arc::new(Cache::new(options.cached_aggregates));
        let (sender, queue) = mpsc::unbounded_channel();
        let alone = (Arc::clone(&under_way), options);
        let lone = Lone::new(&pool.connect_options(), Arc::clone(&cache), alone, stop.clone());
        let appender = Appender {
            queue,
            batch_len: options.batch_len,
            permits: under_way,
            queue_len: options.queue_len,
            committed: committed.clone(),
            stop,
            counters: Arc::clone(&counters),
            commit: Duration::ZERO,
        };
        let ended = appender.start((*pool.connect_options()).clone(), Arc::clone(&cache)).await?;
        let room = Arc::new(Semaphore::new(options.queue_bytes));
        Ok((Self { pool, cache, queue: sender, lone, committed, room, counters }, ended))
    }

    /// The aggregate as the log has it now.
    pub(crate) async fn load<A: Aggregate>(&self, id: &str) -> Result<Option<(A, i64)>, LoadError> {
        let cached = self.cached::<A>(id);
        let remembered = cached.as_ref().map_or(0, |cached| cached.version);
        let (aggregate, version) = self.catch_up(cached, id).await?;
        if version == 0 {
            return Ok(None);
        }
        if version > remembered {
            self.remember(Key { aggregate_type: A::TYPE, id: id.into() }, aggregate.clone(), version);
        }
        Ok(Some((aggregate, version)))
    }

    /// The aggregate as it was.
    pub(crate) async fn load_at<A: Aggregate>(&self, id: &str, as_of: AsOf) -> Result<Option<(A, i64)>, LoadError> {
        let (position, time) = match as_of {
            AsOf::Position(position) => (Some(position), None),
            // Times never go backwards along the log.
            AsOf::Time(time) => (None, Some(time)),
        };
        if let Some(position) = position {
            let head = events::head(&self.pool).await?;
            if position > head {
                return Err(LoadError::PositionBeyondHead { position, head });
            }
        }
        let rows = sqlx::query(
            "select sequence, event_type, event_version, payload from log.events \
             where aggregate_type = $1 and aggregate_id = $2 and ($3::bigint is null or position <= $3) \
             and ($4::timestamptz is null or recorded_at <= $4) order by sequence",
        )
        .bind(A::TYPE)
        .bind(id)
        .bind(position)
        .bind(time)
        .fetch_all(&self.pool)
        .await?;
        let (aggregate, version) = fold(A::default(), 0, &rows, id)?;
        Ok((version > 0).then_some((aggregate, version)))
    }

    /// Whether the thread that appends takes nothing more.
    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    fn cached<A: Aggregate>(&self, id: &str) -> Option<Arc<Cached<A>>> {
        self.cache.get(&KeyRef { aggregate_type: A::TYPE, id })?.downcast().ok()
    }

    fn remember<A: Aggregate>(&self, key: Key, aggregate: A, version: i64) {
        self.cache.insert(key, Arc::new(Cached { aggregate, version }));
    }

    /// Folds in what the log has beyond `cached`.
    async fn catch_up<A: Aggregate>(&self, cached: Option<Arc<Cached<A>>>, id: &str) -> Result<(A, i64), LoadError> {
        let (aggregate, version) =
            cached.map_or_else(|| (A::default(), 0), |cached| (cached.aggregate.clone(), cached.version));
        fold(aggregate, version, &self.rows(A::TYPE, id, version).await?, id)
    }

    async fn rows(&self, aggregate_type: &str, id: &str, after: i64) -> Result<Vec<PgRow>, sqlx::Error> {
        sqlx::query(
            "select sequence, event_type, event_version, payload, metadata from log.events \
             where aggregate_type = $1 and aggregate_id = $2 and sequence > $3 order by sequence",
        )
        .bind(aggregate_type)
        .bind(id)
        .bind(after)
        .fetch_all(&self.pool)
        .await
    }

    async fn append(
        &self,
        append: Append,
        answered: oneshot::Receiver<Result<i64, AppendError>>,
    ) -> Result<i64, AppendError> {
        let begin = Instant::now();
        let answer = match self.lone.append(&append).await {
            Some(answer) => {
                self.counters.batch_commands.record(1.0);
                self.counters.append_seconds.record(begin.elapsed().as_secs_f64());
                if let Ok(position) = answer {
                    tell(&self.committed, position);
                }
                answer
            }
            None => {
                let stopped = || AppendError::Unavailable(Arc::new(sqlx::Error::PoolClosed));
                self.queue.send(append).map_err(|_| stopped())?;
                // The appender answers everything that it has taken; it is gone only when the process is.
                answered
                    .await
                    .unwrap_or_else(|_| Err(AppendError::OutcomeUnknown(Arc::new(sqlx::Error::WorkerCrashed))))
            }
        };
        self.lone.answered(begin.elapsed());
        answer
    }

    /// Waits for what is stored beside the thread that appends; the process is stopping.
    pub(crate) async fn close(&self) {
        self.lone.close().await;
    }
}

/// Tells what was committed, by whichever way.
fn tell(committed: &watch::Sender<i64>, position: i64) {
    committed.send_if_modified(|last| {
        let is_later = position > *last;
        *last = position.max(*last);
        is_later
    });
}

/// Folds stored events into an aggregate.
fn fold<A: Aggregate>(mut aggregate: A, mut version: i64, rows: &[PgRow], id: &str) -> Result<(A, i64), LoadError> {
    for row in rows {
        let (event, sequence) = decode::<A>(row, id)?;
        if sequence != version + 1 {
            return Err(LoadError::Gap {
                aggregate_type: A::TYPE,
                aggregate_id: id.to_owned(),
                expected: version + 1,
                found: sequence,
            });
        }
        aggregate.apply(&event);
        version = sequence;
    }
    Ok((aggregate, version))
}

fn decode<A: Aggregate>(row: &PgRow, id: &str) -> Result<(A::Event, i64), LoadError> {
    let sequence = row.try_get(0)?;
    let event_type: &str = row.try_get(1)?;
    let event_version: &str = row.try_get(2)?;
    let payload: Json<&RawValue> = row.try_get(3)?;
    let event = domain::decode(event_type, event_version, payload.get()).map_err(|error| LoadError::Unreadable {
        aggregate_type: A::TYPE,
        aggregate_id: id.to_owned(),
        sequence,
        source: error.into(),
    })?;
    Ok((event, sequence))
}

/// One attempt at a command, and what the caller wants to know of it beyond what cqrs-es says.
#[derive(Default)]
pub(crate) struct Attempt {
    /// Whether to look at the log even when the aggregate is remembered.
    pub(crate) is_fresh: bool,
    /// Set while nothing but the memory of this process has been asked.
    is_from_memory: AtomicBool,
    committed: OnceLock<Committed>,
}

impl Attempt {
    pub(crate) fn new(is_fresh: bool) -> Self {
        Self { is_fresh, ..Self::default() }
    }

    /// Whether the decision may be wrong because other processes have changed the aggregate.
    pub(crate) fn may_be_stale(&self) -> bool {
        self.is_from_memory.load(Ordering::Relaxed)
    }

    /// What became of it; `None` when there was nothing to do as far as this process remembers.
    pub(crate) fn committed(&self) -> Option<Committed> {
        self.committed.get().copied()
    }
}

/// The store as cqrs-es sees it, for one attempt at one command.
pub(crate) struct AttemptStore<'a> {
    pub(crate) store: &'a Store,
    pub(crate) attempt: &'a Attempt,
    pub(crate) key: &'a Key,
    /// What goes into the log beside the events. Not passed through cqrs-es, which would have it as a map.
    pub(crate) metadata: &'a Metadata,
}

/// An aggregate on which a command is decided.
pub(crate) struct Context<A> {
    aggregate: Adapted<A>,
    /// Before the command.
    version: i64,
}

impl<A: Aggregate> AggregateContext<Adapted<A>> for Context<A> {
    fn aggregate(&mut self) -> &mut Adapted<A> {
        &mut self.aggregate
    }
}

impl<A: Aggregate> EventStore<Adapted<A>> for AttemptStore<'_> {
    type AC = Context<A>;

    async fn load_events(&self, id: &str) -> Result<Vec<EventEnvelope<Adapted<A>>>, AggregateError<A::Refusal>> {
        let rows = self.store.rows(A::TYPE, id, 0).await.map_err(|error| passed(error.into()))?;
        rows.iter()
            .map(|row| {
                let (event, sequence) = decode::<A>(row, id).map_err(|error| passed(error.into()))?;
                let metadata: Json<HashMap<String, String>> =
                    row.try_get(4).map_err(|error| passed(CommandError::Unexpected(error.into())))?;
                Ok(EventEnvelope {
                    aggregate_id: id.to_owned(),
                    sequence: usize::try_from(sequence)
                        .map_err(|error| passed(CommandError::Unexpected(error.into())))?,
                    payload: AdaptedEvent(event),
                    metadata: metadata.0,
                })
            })
            .collect()
    }

    async fn load_aggregate(&self, id: &str) -> Result<Context<A>, AggregateError<A::Refusal>> {
        let cached = self.store.cached::<A>(id);
        let counters = &self.store.counters;
        if cached.is_some() { &counters.cache_hits } else { &counters.cache_misses }.increment(1);
        let (aggregate, version) = match cached {
            Some(cached) if !self.attempt.is_fresh => {
                self.attempt.is_from_memory.store(true, Ordering::Relaxed);
                (cached.aggregate.clone(), cached.version)
            }
            cached => self.store.catch_up(cached, id).await.map_err(|error| passed(error.into()))?,
        };
        Ok(Context { aggregate: Adapted(aggregate), version })
    }

    /// Answers no events: they are for queries that cqrs-es would dispatch to, and there are none.
    async fn commit(
        &self,
        decided: Vec<AdaptedEvent<A::Event>>,
        context: Context<A>,
        _: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<Adapted<A>>>, AggregateError<A::Refusal>> {
        let Context { aggregate, version } = context;
        if decided.is_empty() {
            if !self.attempt.may_be_stale() {
                let position = events::head(&self.store.pool).await.map_err(|error| passed(error.into()))?;
                // Set once per attempt.
                let _ = self.attempt.committed.set(Committed { position, version });
            }
            return Ok(Vec::new());
        }
        let mut events = Vec::with_capacity(decided.len());
        let mut claims = Vec::new();
        for AdaptedEvent(event) in &decided {
            let payload = to_json(event).map_err(|error| passed(CommandError::Unexpected(error.into())))?;
            events.push(EventRow { event_type: event.event_type(), event_version: event.event_version(), payload });
            claims.extend(event.claims());
        }
        let metadata = self.metadata.to_json();
        let size: usize = events.iter().map(|event| event.payload.len() + metadata.len()).sum();
        let room =
            u32::try_from(size).ok().and_then(|size| Arc::clone(&self.store.room).try_acquire_many_owned(size).ok());
        let room = room.ok_or_else(|| passed(CommandError::Overloaded))?;
        let used_key = self.metadata.idempotency.as_ref().map(|idempotency| {
            let Metadata { actor, command_id, .. } = *self.metadata;
            Box::new(UsedKey { actor: actor.to_string(), command_id, idempotency: idempotency.clone() })
        });
        // From here on the log has the last word.
        self.attempt.is_from_memory.store(false, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let append = Append {
            key: self.key.clone(),
            first_sequence: version + 1,
            events,
            metadata,
            claims,
            used_key,
            _room: room,
            answer,
        };
        let position = self.store.append(append, answered).await.map_err(|error| match error {
            AppendError::Repeated => passed(CommandError::Repeated),
            AppendError::Conflict => AggregateError::AggregateConflict,
            AppendError::Held(kind) => AggregateError::UserError(A::claimed(kind)),
            AppendError::Unavailable(source) => passed(CommandError::Unavailable(source.into())),
            AppendError::OutcomeUnknown(source) => passed(CommandError::OutcomeUnknown(source.into())),
            AppendError::Unstorable(source) => passed(CommandError::Unexpected(source.into())),
        })?;
        let version = version + i64::try_from(decided.len()).expect("a command has fewer than 2^63 events");
        // Set once per attempt.
        let _ = self.attempt.committed.set(Committed { position, version });
        // What was remembered until now is what the log had: should an outcome be unknown, it is still a state that was.
        self.store.remember(self.key.clone(), aggregate.0, version);
        Ok(Vec::new())
    }
}

fn to_json<E: Event>(event: &E) -> Result<String, serde_json::Error> {
    let mut json = Vec::with_capacity(256);
    serde_json::to_writer(&mut json, event)?;
    Ok(String::from_utf8(json).expect("JSON is text"))
}

/// Our error through cqrs-es's; [`unpassed`] takes it out again.
fn passed<R: std::error::Error>(error: CommandError<Infallible>) -> AggregateError<R> {
    AggregateError::UnexpectedError(Box::new(error))
}

/// What [`passed`] put in.
pub(crate) fn unpassed<R>(error: BoxError) -> CommandError<R> {
    match error.downcast::<CommandError<Infallible>>() {
        Ok(error) => error.map_refused(|never| match never {}),
        Err(error) => CommandError::Unexpected(error),
    }
}
