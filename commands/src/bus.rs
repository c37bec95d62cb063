use std::{collections::HashMap, sync::Arc, time::Duration};

use cqrs_es::{AggregateError, CqrsFramework};
use domain::{Aggregate, sealed::Keyring, timestamp};
use rand::Rng;
use sqlx::PgPool;
use thiserror::Error;
use time::OffsetDateTime;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_util::sync::CancellationToken;

use crate::{
    CommandError, LoadError, MasterKeys, Metadata,
    accounts::{PasswordCost, Passwords},
    adapter::{Adapted, Now},
    counters::Counters,
    events,
    idempotency::InFlightKeys,
    keyring::AccountKeys,
    store::{self, Attempt, AttemptStore, Key, Store, Turns},
};

/// How often a command is decided again because other processes were faster.
const ATTEMPTS: u32 = 10;

/// How much a process takes on. The default does for a node of any size.
#[derive(Debug, Clone)]
pub struct CommandsOptions {
    /// How many commands may be under way at once; more are refused as [`CommandError::Overloaded`].
    pub queue_len: usize,
    /// How many bytes of events may wait to be stored; commands beyond are refused as [`CommandError::Overloaded`] too.
    pub queue_bytes: usize,
    /// How many aggregates are kept in memory.
    pub cached_aggregates: usize,
    /// How many commands go into one transaction at most.
    pub batch_len: usize,
    /// When a caller is taken to be alone.
    pub lone: LoneLimits,
    /// What the hash of a password costs. One that cost less is made anew when its owner signs in.
    pub password_cost: PasswordCost,
}

impl Default for CommandsOptions {
    fn default() -> Self {
        Self {
            queue_len: 4_096,
            queue_bytes: 64 << 20,
            cached_aggregates: 16_384,
            batch_len: 2_048,
            lone: LoneLimits::default(),
            password_cost: PasswordCost::default(),
        }
    }
}

/// When the next command is taken to be that of a caller who is alone, and is stored in its task, where Postgres is reached by
/// a socket of this machine.
#[derive(Debug, Clone, Copy)]
pub struct LoneLimits {
    /// It came so soon after the answer to the one before.
    pub follows: Duration,
    /// That one was stored so fast, and for so long the task stays awake for this one: beside a slower disk, being woken is
    /// nothing.
    pub stored: Duration,
}

impl Default for LoneLimits {
    fn default() -> Self {
        Self { follows: Duration::from_micros(300), stored: Duration::from_millis(1) }
    }
}

/// Why the write side could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The log does not answer, or was not migrated.
    #[error("the log could not be read")]
    Log(#[source] sqlx::Error),
    /// What is sealed in this database would not open, and its people could not sign in.
    #[error(
        "this database was begun with other keys, or its keys were rotated since; put back the secrets file that belongs to it"
    )]
    OtherKeys,
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Where its last event is in the log; where nothing had to happen, a position at which the log already shows it.
    pub position: i64,
    /// How many events its aggregate now has.
    pub version: i64,
}

/// A moment in the history of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// After the event at this position.
    Position(i64),
    /// At this time, by the clock of the log.
    Time(OffsetDateTime),
}

/// The write side. Cheap to clone.
#[derive(Clone)]
pub struct Commands {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    keys: Arc<MasterKeys>,
    account_keys: Arc<AccountKeys>,
    passwords: Passwords,
    store: Store,
    turns: Turns,
    under_way: Arc<Semaphore>,
    in_flight: InFlightKeys,
    counters: Arc<Counters>,
    committed: watch::Receiver<i64>,
    stop: CancellationToken,
    appender_ended: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
}

impl Commands {
    /// Starts the write side of this process on a database that was migrated.
    ///
    /// # Errors
    /// [`StartError`] when the log does not answer, or was begun with other keys.
    pub async fn start(pool: PgPool, keys: MasterKeys, options: CommandsOptions) -> Result<Self, StartError> {
        let head = events::head(&pool).await.map_err(StartError::Log)?;
        if !keys.belong_to(&pool).await.map_err(StartError::Log)? {
            return Err(StartError::OtherKeys);
        }
        let (sender, committed) = watch::channel(head);
        let stop = CancellationToken::new();
        let under_way = Arc::new(Semaphore::new(options.queue_len));
        let counters = Arc::new(Counters::new());
        let starting =
            Store::start(pool.clone(), &options, Arc::clone(&under_way), Arc::clone(&counters), sender, stop.clone());
        let (store, appender_ended) = starting.await.map_err(StartError::Log)?;
        let keys = Arc::new(keys);
        let inner = Inner {
            account_keys: AccountKeys::start(pool.clone(), Arc::clone(&keys)),
            pool,
            keys,
            passwords: Passwords::new(options.password_cost),
            store,
            turns: Turns::default(),
            under_way,
            in_flight: InFlightKeys::default(),
            counters,
            committed,
            stop,
            appender_ended: tokio::sync::Mutex::new(Some(appender_ended)),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Has the aggregate `id` decide `command`, and stores what it decides. When others changed the aggregate in
    /// between, it decides again, several times if need be.
    ///
    /// Not cancel safe: when the future is dropped, the command may or may not be carried out.
    ///
    /// # Errors
    /// [`CommandError`]; after [`CommandError::OutcomeUnknown`] alone may anything have been stored.
    pub async fn execute<A: Aggregate>(
        &self,
        id: &str,
        command: A::Command,
        metadata: Metadata,
    ) -> Result<Committed, CommandError<A::Refusal>> {
        let result = self.decide_and_append::<A>(id, command, &metadata).await;
        self.inner.counters.count(&result);
        result
    }

    async fn decide_and_append<A: Aggregate>(
        &self,
        id: &str,
        command: A::Command,
        metadata: &Metadata,
    ) -> Result<Committed, CommandError<A::Refusal>> {
        // Before the wait for the turn: what waits takes up memory too.
        let _permit = self.inner.under_way.try_acquire().map_err(|_| CommandError::Overloaded)?;
        let key = Key { aggregate_type: A::TYPE, id: id.into() };
        let _turn = self.inner.turns.take(key.clone()).await;
        let mut conflicts = 0;
        let mut is_fresh = false;
        loop {
            let attempt = Attempt::new(is_fresh);
            let store = AttemptStore { store: &self.inner.store, attempt: &attempt, key: &key, metadata };
            let now = Now(timestamp::cut(OffsetDateTime::now_utc()));
            let decided = CqrsFramework::<Adapted<A>, _>::new(store, Vec::new(), now)
                .execute_with_metadata(id, command.clone(), HashMap::new())
                .await;
            match decided {
                Ok(()) => match attempt.committed() {
                    Some(committed) => return Ok(committed),
                    None => is_fresh = true,
                },
                Err(AggregateError::UserError(_)) if attempt.may_be_stale() => is_fresh = true,
                Err(AggregateError::UserError(refusal)) => {
                    // What stands in the way may be what the same request has done.
                    if let Some(idempotency) = &metadata.idempotency
                        && self.is_carried_out(metadata.actor, idempotency).await?
                    {
                        return Err(CommandError::Repeated);
                    }
                    return Err(CommandError::Refused(refusal));
                }
                Err(AggregateError::AggregateConflict) => {
                    conflicts += 1;
                    if conflicts == ATTEMPTS {
                        return Err(CommandError::Conflict);
                    }
                    is_fresh = true;
                    // Whoever won goes on from memory and would win again and again.
                    let wait = rand::rng().random_range(Duration::ZERO..Duration::from_millis(2) * conflicts);
                    tokio::time::sleep(wait).await;
                }
                Err(
                    AggregateError::DatabaseConnectionError(error)
                    | AggregateError::DeserializationError(error)
                    | AggregateError::UnexpectedError(error),
                ) => return Err(store::unpassed(error)),
            }
        }
    }

    /// The aggregate `id` as the log has it now, and how many events that is; `None` when it has none.
    ///
    /// # Errors
    /// [`LoadError`] when the log does not answer, or holds what cannot be read.
    pub async fn load<A: Aggregate>(&self, id: &str) -> Result<Option<(A, i64)>, LoadError> {
        self.inner.store.load(id).await
    }

    /// The aggregate `id` as it was, and how many events that is; `None` when it did not exist yet. A time that is still to
    /// come is now.
    ///
    /// # Errors
    /// [`LoadError::PositionBeyondHead`] for a position that the log has not reached; otherwise like [`Self::load`].
    pub async fn load_at<A: Aggregate>(&self, id: &str, as_of: AsOf) -> Result<Option<(A, i64)>, LoadError> {
        self.inner.store.load_at(id, as_of).await
    }

    /// Opens what is sealed in events; for projections and processes.
    #[must_use]
    pub fn keyring(&self) -> Arc<dyn Keyring> {
        Arc::clone(&self.inner.account_keys) as Arc<dyn Keyring>
    }

    /// The keys of accounts: sealing, and destroying.
    #[must_use]
    pub fn account_keys(&self) -> &Arc<AccountKeys> {
        &self.inner.account_keys
    }

    /// The pool that it was started with.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    pub(crate) fn keys(&self) -> &MasterKeys {
        &self.inner.keys
    }

    pub(crate) fn in_flight(&self) -> &InFlightKeys {
        &self.inner.in_flight
    }

    pub(crate) fn passwords(&self) -> &Passwords {
        &self.inner.passwords
    }

    /// The last position that this process committed; changes as soon as it commits more. A hint: other processes
    /// append too.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<i64> {
        self.inner.committed.clone()
    }

    /// Whether nothing can be stored any more, though nobody shut it down: the thread that appends has panicked, and the
    /// process had better end.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.inner.store.is_closed() && !self.inner.stop.is_cancelled()
    }

    /// Lets what is under way finish and refuses what comes after as [`CommandError::Unavailable`].
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        self.inner.store.close().await;
        if let Some(ended) = self.inner.appender_ended.lock().await.take() {
            // Nothing is ever said, it is dropped.
            let _ = ended.await;
        }
    }
}
