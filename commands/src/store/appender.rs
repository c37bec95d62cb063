use std::{sync::Arc, time::Duration};

use domain::{Claim, Claimed};
use quick_cache::sync::Cache;
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, Row,
    postgres::{PgConnectOptions, PgDatabaseError, PgSeverity},
};
use thiserror::Error;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{CachedAggregate, key::Key};

/// The server gives an append up after this long, and then surely has not stored it.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// We give up after this long, not knowing what the server does.
const APPEND_TIMEOUT: Duration = Duration::from_secs(15);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is tried before it is used: one that has died in the meantime must not make
/// the outcome of an append unknown.
const TRUSTED_IDLE: Duration = Duration::from_millis(250);

const APPEND: &str = "select first_position, conflicts, held \
    from log.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

/// The events of one command, waiting to be stored.
pub(crate) struct Append {
    pub(crate) key: Key,
    /// The sequence of the first event.
    pub(crate) first_sequence: i64,
    /// At least one.
    pub(crate) events: Vec<EventRow>,
    /// JSON.
    pub(crate) metadata: String,
    pub(crate) claims: Vec<Claim>,
    /// Told the position of the last event.
    pub(crate) answer: oneshot::Sender<Result<i64, AppendError>>,
}

pub(crate) struct EventRow {
    pub(crate) event_type: &'static str,
    pub(crate) event_version: &'static str,
    /// JSON.
    pub(crate) payload: String,
}

/// Why the events of a command were not stored, or are not known to be.
#[derive(Debug, Clone, Error)]
pub(crate) enum AppendError {
    #[error("the aggregate has gone on in between")]
    Conflict,
    #[error("somebody else holds the {}", .0.as_str())]
    Held(Claimed),
    #[error("the log cannot be reached")]
    Unavailable(#[source] Arc<sqlx::Error>),
    #[error("the connection to the log was lost in an append")]
    OutcomeUnknown(#[source] Arc<sqlx::Error>),
    #[error("the log cannot store the event")]
    Unstorable(#[source] Arc<sqlx::Error>),
}

/// The one task of a process that appends: it takes all that waits and stores it in one transaction.
pub(crate) struct Appender {
    pub(crate) options: PgConnectOptions,
    pub(crate) queue: mpsc::Receiver<Append>,
    pub(crate) batch_len: usize,
    pub(crate) cache: Arc<Cache<Key, CachedAggregate>>,
    pub(crate) committed: watch::Sender<i64>,
    pub(crate) stop: CancellationToken,
    /// The connection, and when it was last used.
    pub(crate) connection: Option<(PgConnection, Instant)>,
}

/// What the server made of a batch.
struct Stored {
    first_position: i64,
    conflicts: Vec<i32>,
    held: Vec<i32>,
}

impl Appender {
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(self.batch_len);
        loop {
            let taken = tokio::select! {
                taken = self.queue.recv_many(&mut batch, self.batch_len) => taken,
                () = self.stop.cancelled(), if !self.queue.is_closed() => {
                    self.queue.close();
                    continue;
                }
            };
            if taken == 0 {
                break;
            }
            self.append_all(&mut batch).await;
        }
        if let Some((connection, _)) = self.connection.take() {
            // The server ends the session by itself should this not reach it.
            let _ = connection.close().await;
        }
    }

    async fn append_all(&mut self, batch: &mut Vec<Append>) {
        let answers = match self.append(batch).await {
            // One of them holds what the server does not take; alone, the others pass.
            Err(AppendError::Unstorable(_)) if batch.len() > 1 => {
                let mut answers = Vec::with_capacity(batch.len());
                for append in batch.iter() {
                    let answer = self.append(std::slice::from_ref(append)).await;
                    answers.push(answer.and_then(|mut answers| answers.remove(0)));
                }
                answers
            }
            Err(error) => vec![Err(error); batch.len()],
            Ok(answers) => answers,
        };
        if let Some(last) = answers.iter().filter_map(|answer| answer.as_ref().ok()).max() {
            self.committed.send_replace(*last);
        }
        for (append, answer) in batch.drain(..).zip(answers) {
            // Nobody may be waiting any more; it is stored all the same.
            let _ = append.answer.send(answer);
        }
    }

    /// Stores a batch in one transaction. The answers are in its order.
    async fn append(&mut self, batch: &[Append]) -> Result<Vec<Result<i64, AppendError>>, AppendError> {
        let mut connection = self.connect().await.map_err(|error| AppendError::Unavailable(Arc::new(error)))?;
        let stored = timeout(APPEND_TIMEOUT, send(&mut connection, batch))
            .await
            .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())));
        match stored {
            Ok(stored) => {
                self.connection = Some((connection, Instant::now()));
                Ok(answers(batch, &stored))
            }
            Err(error) => {
                let error = Arc::new(error);
                let kind = kind(&error);
                tracing::warn!(error = &*error as &dyn std::error::Error, commands = batch.len(), "an append failed");
                match kind {
                    Failure::Data => {
                        self.connection = Some((connection, Instant::now()));
                        Err(AppendError::Unstorable(error))
                    }
                    Failure::NotDone => {
                        self.connection = Some((connection, Instant::now()));
                        Err(AppendError::Unavailable(error))
                    }
                    Failure::Unknown => Err(AppendError::OutcomeUnknown(error)),
                }
            }
        }
    }

    /// The connection, which the caller puts back when it is still good.
    async fn connect(&mut self) -> Result<PgConnection, sqlx::Error> {
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

/// A connection of the appender's own, so that appends never wait for one of the pool.
pub(crate) async fn connect(options: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    let connecting = async {
        let mut connection = options.clone().application_name("weir append").connect().await?;
        connection.execute(format!("set statement_timeout = {}", STATEMENT_TIMEOUT.as_millis()).as_str()).await?;
        Ok(connection)
    };
    timeout(CONNECT_TIMEOUT, connecting)
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

async fn send(connection: &mut PgConnection, batch: &[Append]) -> Result<Stored, sqlx::Error> {
    let event_total = batch.iter().map(|append| append.events.len()).sum();
    let mut commands = Vec::with_capacity(event_total);
    let mut aggregate_types = Vec::with_capacity(event_total);
    let mut aggregate_ids = Vec::with_capacity(event_total);
    let mut sequences = Vec::with_capacity(event_total);
    let mut event_types = Vec::with_capacity(event_total);
    let mut event_versions = Vec::with_capacity(event_total);
    let mut payloads = Vec::with_capacity(event_total);
    let mut metadatas = Vec::with_capacity(event_total);
    let mut claim_commands = Vec::new();
    let mut claim_takes = Vec::new();
    let mut claim_kinds = Vec::new();
    let mut claim_names = Vec::new();
    let mut claim_holders = Vec::new();
    for (command, append) in (1_i32..).zip(batch) {
        for (sequence, event) in (append.first_sequence..).zip(&append.events) {
            commands.push(command);
            aggregate_types.push(append.key.aggregate_type);
            aggregate_ids.push(&*append.key.id);
            sequences.push(sequence);
            event_types.push(event.event_type);
            event_versions.push(event.event_version);
            payloads.push(event.payload.as_str());
            metadatas.push(append.metadata.as_str());
        }
        for claim in &append.claims {
            let (takes, kind, name) = match claim {
                Claim::Take { kind, name } => (true, kind, name),
                Claim::Release { kind, name } => (false, kind, name),
            };
            claim_commands.push(command);
            claim_takes.push(takes);
            claim_kinds.push(kind.as_str());
            claim_names.push(name.as_str());
            claim_holders.push(&*append.key.id);
        }
    }
    // `fetch_one` answers once the server is ready for the next statement, which is after the commit.
    let row = sqlx::query(APPEND)
        .bind(commands)
        .bind(aggregate_types)
        .bind(aggregate_ids)
        .bind(sequences)
        .bind(event_types)
        .bind(event_versions)
        .bind(payloads)
        .bind(metadatas)
        .bind(claim_commands)
        .bind(claim_takes)
        .bind(claim_kinds)
        .bind(claim_names)
        .bind(claim_holders)
        .fetch_one(connection)
        .await?;
    Ok(Stored { first_position: row.try_get(0)?, conflicts: row.try_get(1)?, held: row.try_get(2)? })
}

/// The answer to each command of a batch.
fn answers(batch: &[Append], stored: &Stored) -> Vec<Result<i64, AppendError>> {
    let mut next_position = stored.first_position;
    let mut first_claim = 1_usize;
    (1_i32..)
        .zip(batch)
        .map(|(command, append)| {
            let claims = first_claim..first_claim + append.claims.len();
            first_claim = claims.end;
            if stored.conflicts.contains(&command) {
                return Err(AppendError::Conflict);
            }
            let held = stored.held.iter().filter_map(|place| usize::try_from(*place).ok());
            if let Some(place) = held.into_iter().find(|place| claims.contains(place)) {
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
