use std::{sync::Arc, time::Duration};

use domain::Claim;
use quick_cache::sync::Cache;
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, Row,
    error::BoxDynError,
    postgres::{PgArguments, PgConnectOptions, PgDatabaseError, PgSeverity},
};
use tokio::time::{Instant, timeout};

use super::{
    CachedAggregate,
    appender::{Append, AppendError},
    batch::Batch,
    key::Key,
};

/// The server gives an append up after this long, and then surely has not stored it. By itself it would plan [`APPEND_ONE`]
/// anew each time.
const SETTINGS: &str = "set statement_timeout = 10000; set plan_cache_mode = force_generic_plan";
/// We give up after this long, not knowing what the server does.
pub(super) const APPEND_TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is tried before it is used: one that has died in the meantime must not make
/// the outcome of an append unknown.
pub(super) const TRUSTED_IDLE: Duration = Duration::from_millis(250);

const APPEND: &str = "select first_position, repeated, conflicts, held \
    from log.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)";

/// One event that neither takes nor gives back a name and came without a key, as most events of a quiet install do. A
/// function costs the server 10 µs more than a statement, and `log.append` with its arrays three times as much as either.
pub(super) const APPEND_ONE: &str = "with head as ( \
        update log.head set position = position + 1, recorded_at = greatest(clock_timestamp(), recorded_at) \
            returning position, recorded_at \
    ) \
    insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, \
            recorded_at) \
        select position, $1, $2, $3, $4, $5, $6::json, $7::json, recorded_at from head \
        returning position, pg_notify('weir_log', position::text)";
/// What [`APPEND_ONE`] fails with when the aggregate has gone on; `log.append` says so in its answer.
pub(super) const UNIQUE_VIOLATION: &str = "23505";

/// The answer to a command: the position of its last event.
pub(super) type Answer = Result<i64, AppendError>;

/// The connection over which a process appends; its own, so that appends never wait for one of the pool.
pub(super) struct Log {
    options: PgConnectOptions,
    cache: Arc<Cache<Key, CachedAggregate>>,
    /// The connection, and when it was last used.
    connection: Option<(PgConnection, Instant)>,
}

/// What the server made of a batch.
struct Stored {
    first_position: i64,
    repeated: Vec<i32>,
    conflicts: Vec<i32>,
    held: Vec<i32>,
}

impl Log {
    pub(super) async fn connect(
        options: PgConnectOptions,
        cache: Arc<Cache<Key, CachedAggregate>>,
    ) -> Result<Self, sqlx::Error> {
        let connection = connect(&options).await?;
        Ok(Self { options, cache, connection: Some((connection, Instant::now())) })
    }

    /// Stores a batch in one transaction. The answers are in its order.
    pub(super) async fn store(&mut self, batch: &Batch) -> Vec<Answer> {
        let appends = batch.appends();
        if let [append] = appends {
            return vec![self.append_alone(append).await];
        }
        match self.append(appends, batch.arguments()).await {
            // One of them holds what the server does not take; alone, the others pass.
            Err(AppendError::Unstorable(_)) => {
                let mut answers = Vec::with_capacity(appends.len());
                for append in appends {
                    answers.push(self.append_alone(append).await);
                }
                answers
            }
            Err(error) => vec![Err(error); appends.len()],
            Ok(answers) => answers,
        }
    }

    pub(super) async fn close(mut self) {
        if let Some((connection, _)) = self.connection.take() {
            // The server ends the session by itself should this not reach it.
            let _ = connection.close().await;
        }
    }

    async fn append_alone(&mut self, append: &Append) -> Answer {
        match append.events.as_slice() {
            [event] if append.claims.is_empty() && append.used_key.is_none() => {
                let appending = async |connection: &mut PgConnection| {
                    sqlx::query_scalar(APPEND_ONE)
                        .bind(append.key.aggregate_type)
                        .bind(&*append.key.id)
                        .bind(append.first_sequence)
                        .bind(event.event_type)
                        .bind(event.event_version)
                        .bind(&event.payload)
                        .bind(&append.metadata)
                        .fetch_one(connection)
                        .await
                };
                self.call(1, appending).await
            }
            _ => self.append(std::slice::from_ref(append), Batch::arguments_of(append)).await?.remove(0),
        }
    }

    async fn append(
        &mut self,
        appends: &[Append],
        arguments: Result<PgArguments, BoxDynError>,
    ) -> Result<Vec<Answer>, AppendError> {
        let arguments = arguments.map_err(|error| AppendError::Unstorable(Arc::new(sqlx::Error::Encode(error))))?;
        let stored = self.call(appends.len(), async |connection: &mut PgConnection| send(connection, arguments).await);
        Ok(answers(appends, &stored.await?))
    }

    /// Runs one statement that stores so many commands.
    async fn call<T>(
        &mut self,
        commands: usize,
        statement: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, AppendError> {
        let mut connection = self.connection().await.map_err(|error| AppendError::Unavailable(Arc::new(error)))?;
        let stored = timeout(APPEND_TIMEOUT, statement(&mut connection))
            .await
            .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
        let error = match stored {
            Ok(stored) => {
                self.connection = Some((connection, Instant::now()));
                return Ok(stored);
            }
            Err(error) => Arc::new(error),
        };
        let failure = kind(&error);
        if !matches!(failure, Failure::Unknown) {
            self.connection = Some((connection, Instant::now()));
        }
        if !matches!(failure, Failure::Conflict) {
            tracing::warn!(error = &*error as &dyn std::error::Error, commands, "an append failed");
        }
        Err(match failure {
            Failure::Conflict => AppendError::Conflict,
            Failure::Data => AppendError::Unstorable(error),
            Failure::NotDone => AppendError::Unavailable(error),
            Failure::Unknown => AppendError::OutcomeUnknown(error),
        })
    }

    /// The connection, which the caller puts back when it is still good.
    async fn connection(&mut self) -> Result<PgConnection, sqlx::Error> {
        if let Some((mut connection, used_at)) = self.connection.take() {
            if used_at.elapsed() < TRUSTED_IDLE {
                return Ok(connection);
            }
            if let Ok(Ok(())) = timeout(CONNECT_TIMEOUT, connection.ping()).await {
                return Ok(connection);
            }
        }
        // The server may have been replaced by a copy that lags behind what this process remembers.
        self.cache.clear();
        connect(&self.options).await
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let connecting = async {
        let mut connection = options.clone().application_name("weir append").connect().await?;
        connection.execute(SETTINGS).await?;
        Ok(connection)
    };
    timeout(CONNECT_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

async fn send(connection: &mut PgConnection, arguments: PgArguments) -> Result<Stored, sqlx::Error> {
    // `fetch_one` answers, here as above, once the server is ready for the next statement, which is after the commit.
    let row = sqlx::query_with(APPEND, arguments).fetch_one(connection).await?;
    Ok(Stored {
        first_position: row.try_get(0)?,
        repeated: row.try_get(1)?,
        conflicts: row.try_get(2)?,
        held: row.try_get(3)?,
    })
}

/// The answer to each command of a batch.
fn answers(appends: &[Append], stored: &Stored) -> Vec<Answer> {
    let mut next_position = stored.first_position;
    let mut first_claim = 1_usize;
    (1_i32..)
        .zip(appends)
        .map(|(command, append)| {
            let claims = first_claim..first_claim + append.claims.len();
            first_claim = claims.end;
            if stored.repeated.contains(&command) {
                return Err(AppendError::Repeated);
            }
            if stored.conflicts.contains(&command) {
                return Err(AppendError::Conflict);
            }
            let mut held = stored.held.iter().filter_map(|place| usize::try_from(*place).ok());
            if let Some(place) = held.find(|place| claims.contains(place)) {
                let (Claim::Take { kind, .. } | Claim::Release { kind, .. }) = append.claims[place - claims.start];
                return Err(AppendError::Held(kind));
            }
            next_position += i64::try_from(append.events.len()).expect("a batch is smaller than 2^63");
            Ok(next_position - 1)
        })
        .collect()
}

/// What is known after an append failed.
enum Failure {
    /// Nothing was stored: the aggregate has gone on in between.
    Conflict,
    /// Nothing was stored, because of what was to be stored.
    Data,
    /// Nothing was stored; the server may take it later.
    NotDone,
    /// It may have been stored.
    Unknown,
}

fn kind(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Encode(_) => Failure::Data,
        sqlx::Error::Database(error) => {
            let error = error.downcast_ref::<PgDatabaseError>();
            // A session that is ended says so even when that happens right after its commit.
            if matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic) {
                return Failure::Unknown;
            }
            if error.code() == UNIQUE_VIOLATION {
                return Failure::Conflict;
            }
            // Data exceptions and broken constraints.
            if error.code().starts_with("22") || error.code().starts_with("23") {
                Failure::Data
            } else {
                Failure::NotDone
            }
        }
        _ => Failure::Unknown,
    }
}
