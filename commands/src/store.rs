//! The event store: cqrs-es's `EventStore` over `log.events`, with a bounded cache of aggregates in front and one
//! appender behind, which stores all commands that wait in one transaction.
//!
//! What the cache holds may be out of date as soon as another process appends. That is safe: whatever was decided on it
//! is refused by the primary key of `log.events`, and a refusal or "nothing to do" decided on it is decided again on
//! the log.

mod appender;
mod key;
mod turns;

use std::{
    any::Any,
    collections::HashMap,
    convert::Infallible,
    iter,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use cqrs_es::{AggregateContext, AggregateError, EventEnvelope, EventStore};
use domain::{Aggregate, Event};
use quick_cache::sync::Cache;
use serde_json::value::RawValue;
use sqlx::{PgPool, Row, postgres::PgRow, types::Json};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use self::{
    appender::{Append, AppendError, Appender, EventRow},
    key::KeyRef,
};
pub(crate) use self::{key::Key, turns::Turns};
use crate::{
    CommandError, CommandsOptions, Committed, LoadError,
    adapter::{Adapted, AdaptedEvent},
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
    queue: mpsc::Sender<Append>,
}

impl Store {
    /// A store and the task that appends for it until `stop` is cancelled.
    pub(crate) async fn start(
        pool: PgPool,
        options: &CommandsOptions,
        committed: watch::Sender<i64>,
        stop: CancellationToken,
    ) -> Result<(Self, JoinHandle<()>), sqlx::Error> {
        let cache = Arc::new(Cache::new(options.cached_aggregates));
        let (sender, queue) = mpsc::channel(options.queue_len);
        let connect_options = (*pool.connect_options()).clone();
        let connection = appender::connect(&connect_options).await?;
        let appender = Appender {
            options: connect_options,
            queue,
            batch_len: options.batch_len,
            cache: Arc::clone(&cache),
            committed,
            stop,
            connection: Some((connection, tokio::time::Instant::now())),
        };
        Ok((Self { pool, cache, queue: sender }, tokio::spawn(appender.run())))
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

    /// Whether the task that appends takes nothing more.
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
        let (mut aggregate, mut version) =
            cached.map_or_else(|| (A::default(), 0), |cached| (cached.aggregate.clone(), cached.version));
        for row in self.rows(A::TYPE, id, version).await? {
            let (event, sequence) = decode::<A>(&row, id)?;
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
        let stopped = || AppendError::Unavailable(Arc::new(sqlx::Error::PoolClosed));
        self.queue.send(append).await.map_err(|_| stopped())?;
        // The appender answers everything that it has taken; it is gone only when the process is.
        answered.await.unwrap_or_else(|_| Err(AppendError::OutcomeUnknown(Arc::new(sqlx::Error::WorkerCrashed))))
    }
}

fn decode<A: Aggregate>(row: &PgRow, id: &str) -> Result<(A::Event, i64), LoadError> {
    let sequence = row.try_get(0)?;
    let event_type: &str = row.try_get(1)?;
    let event_version: &str = row.try_get(2)?;
    let payload: Json<&RawValue> = row.try_get(3)?;
    let unreadable = |source: BoxError| LoadError::Unreadable {
        aggregate_type: A::TYPE,
        aggregate_id: id.to_owned(),
        sequence,
        source,
    };
    let event: A::Event = serde_json::from_str(payload.get()).map_err(|error| unreadable(error.into()))?;
    if event.event_type() != event_type || event.event_version() != event_version {
        return Err(unreadable(
            format!("the payload does not belong to an event {event_type} of version {event_version}").into(),
        ));
    }
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

/// The store as cqrs-es sees it, for one attempt.
pub(crate) struct AttemptStore<'a> {
    pub(crate) store: &'a Store,
    pub(crate) attempt: &'a Attempt,
}

/// An aggregate on which a command is decided.
pub(crate) struct Context<A> {
    id: Arc<str>,
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
        let (aggregate, version) = match cached {
            Some(cached) if !self.attempt.is_fresh => {
                self.attempt.is_from_memory.store(true, Ordering::Relaxed);
                (cached.aggregate.clone(), cached.version)
            }
            cached => self.store.catch_up(cached, id).await.map_err(|error| passed(error.into()))?,
        };
        Ok(Context { id: id.into(), aggregate: Adapted(aggregate), version })
    }

    async fn commit(
        &self,
        decided: Vec<AdaptedEvent<A::Event>>,
        context: Context<A>,
        metadata: HashMap<String, String>,
    ) -> Result<Vec<EventEnvelope<Adapted<A>>>, AggregateError<A::Refusal>> {
        let Context { id, aggregate, version } = context;
        if decided.is_empty() {
            if !self.attempt.may_be_stale() {
                let position = events::head(&self.store.pool).await.map_err(|error| passed(error.into()))?;
                // Set once per attempt.
                let _ = self.attempt.committed.set(Committed { position, version });
            }
            return Ok(Vec::new());
        }
        let unstorable = |error: serde_json::Error| passed(CommandError::Unexpected(error.into()));
        let events = decided
            .iter()
            .map(|AdaptedEvent(event)| {
                Ok(EventRow {
                    event_type: event.event_type(),
                    event_version: event.event_version(),
                    payload: serde_json::to_string(event)?,
                })
            })
            .collect::<Result<Vec<_>, _>>()
            .map_err(unstorable)?;
        let claims = decided.iter().flat_map(|AdaptedEvent(event)| event.claims()).collect();
        let key = Key { aggregate_type: A::TYPE, id };
        // Until its events are known to be stored, nobody shall build on this aggregate.
        self.store.cache.remove(&key);
        // From here on the log has the last word.
        self.attempt.is_from_memory.store(false, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        let append = Append {
            key: key.clone(),
            first_sequence: version + 1,
            events,
            metadata: serde_json::to_string(&metadata).map_err(unstorable)?,
            claims,
            answer,
        };
        let position = self.store.append(append, answered).await.map_err(|error| match error {
            AppendError::Conflict => AggregateError::AggregateConflict,
            AppendError::Held(kind) => AggregateError::UserError(A::claimed(kind)),
            AppendError::Unavailable(source) => passed(CommandError::Unavailable(source.into())),
            AppendError::OutcomeUnknown(source) => passed(CommandError::OutcomeUnknown(source.into())),
            AppendError::Unstorable(source) => passed(CommandError::Unexpected(source.into())),
        })?;
        let first_sequence = usize::try_from(version).expect("a count of events is not negative") + 1;
        let version = version + i64::try_from(decided.len()).expect("a command has fewer than 2^63 events");
        // Set once per attempt.
        let _ = self.attempt.committed.set(Committed { position, version });
        let aggregate_id = key.id.to_string();
        self.store.remember(key, aggregate.0, version);
        Ok((first_sequence..)
            .zip(decided)
            .zip(iter::repeat_with(|| (aggregate_id.clone(), metadata.clone())))
            .map(|((sequence, payload), (aggregate_id, metadata))| EventEnvelope {
                aggregate_id,
                sequence,
                payload,
                metadata,
            })
            .collect())
    }
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
