//! Following the log: each event of some types to a handler, in order, at least once.
//!
//! A process is a name with a durable checkpoint. Its handler is called again for an event when the node dies between the
//! handler's work and the checkpoint, or when two nodes lead for a moment; so it must bear that. Nothing is ever passed
//! over: an event that the handler fails on is tried again for ever, and holds up this process alone.

use std::{
    any::Any,
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use commands::{
    Actor, Commands, Metadata,
    events::{self, Filter, StoredEvent},
};
use domain::{DecodeError, DomainEvent};
use futures::FutureExt;
use serde::Deserialize;
use sqlx::PgPool;
use thiserror::Error;
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use uuid::Uuid;

use crate::leadership::Leadership;

/// How often the log is looked at when nothing wakes the process: notifications are lost with their connection.
const POLLED_EVERY: Duration = Duration::from_secs(1);
/// How often a node that does not lead tries to; each try is a new connection.
const TRIED_EVERY: Duration = Duration::from_secs(3);
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How many events are read at once.
const READ_LEN: i64 = 200;
/// How many events that nobody wants are passed before the checkpoint says so: after a restart they are passed again.
const CHECKPOINT_EVERY: i64 = 10_000;

/// Whatever a handler failed by.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Who follows the log, and for what.
#[derive(Debug, Clone, Copy)]
pub struct Process {
    /// Its name in `log.processes`, for ever: another name is another process, which begins anew.
    pub name: &'static str,
    /// The stored names of the events that it wants.
    pub types: &'static [&'static str],
    /// Where it begins when it has never run.
    pub begin: Begin,
}

/// Where a new process begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At the first event of the log: what happened before there was such a process is its business too.
    Start,
    /// After the last event of this moment.
    Head,
}

/// An event for a handler.
#[derive(Debug)]
pub struct Followed {
    /// As the log keeps it: position, times, metadata.
    pub stored: StoredEvent,
    /// What happened.
    pub event: DomainEvent,
}

/// What a process does for each event.
pub trait Handler: Send + Sync {
    /// Acts on one event. It may have acted on it before.
    ///
    /// # Errors
    /// Whatever keeps it from acting; it is called again until it succeeds.
    fn handle(&self, followed: &Followed) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Why a process does not get on.
#[derive(Debug, Error)]
enum FollowError {
    #[error("the log does not answer")]
    Log(#[from] sqlx::Error),
    #[error("event {position} cannot be read; a newer Weir may have written it")]
    Decode { position: i64, source: DecodeError },
    #[error("event {position} ({event_type}) could not be handled")]
    Handler { position: i64, event_type: String, source: BoxError },
    #[error("the handler of event {position} ({event_type}) panicked: {message}")]
    Panicked { position: i64, event_type: String, message: String },
}

impl FollowError {
    /// The event that it does not get past.
    fn position(&self) -> Option<i64> {
        match self {
            Self::Log(_) => None,
            Self::Decode { position, .. } | Self::Handler { position, .. } | Self::Panicked { position, .. } => {
                Some(*position)
            }
        }
    }
}

/// The processes of a node that do not get on. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Troubles(Arc<Mutex<BTreeMap<&'static str, i64>>>);

impl Troubles {
    /// The names of those that are held up, with the position of the event at which they are; empty when all get on.
    #[must_use]
    pub fn told(&self) -> Vec<(&'static str, i64)> {
        let held_up = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held_up.iter().map(|(name, position)| (*name, *position)).collect()
    }

    fn set(&self, name: &'static str, position: Option<i64>) {
        let mut held_up = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match position {
            Some(position) => held_up.insert(name, position),
            None => held_up.remove(name),
        };
    }
}

/// The log as the processes of one node follow it. They share one connection that listens.
pub struct Following {
    commands: Commands,
    woken: watch::Sender<()>,
    troubles: Troubles,
}

impl Following {
    /// Of the log of `commands`.
    #[must_use]
    pub fn new(commands: &Commands) -> Self {
        Self { commands: commands.clone(), woken: watch::Sender::new(()), troubles: Troubles::default() }
    }

    /// The same, telling `troubles` of processes that do not get on.
    #[must_use]
    pub fn telling(self, troubles: Troubles) -> Self {
        Self { troubles, ..self }
    }

    /// Wakes all who follow when the log has grown, for ever. Without it they poll. Cancel safe.
    pub async fn listen(&self) {
        let mut growth = self.commands.growth();
        loop {
            growth.wait().await;
            self.woken.send_replace(());
        }
    }

    /// Hands every event that `process` wants to `handler`, one at a time and in order, for ever, on one node among those
    /// that do so. Cancel safe: what was under way is done again by whoever follows next.
    pub async fn follow(&self, process: Process, handler: &impl Handler) {
        let mut follower = Follower {
            process,
            handler,
            pool: self.commands.pool(),
            leadership: Leadership::new(process.name, self.commands.pool().clone()),
            position: None,
            stored_position: 0,
        };
        let mut woken = self.woken.subscribe();
        let mut trouble = Trouble::new(process.name, self.troubles.clone());
        loop {
            // Before it looks, so that what is appended meanwhile wakes it again.
            woken.mark_unchanged();
            match follower.advance().await {
                Ok(Progress::CaughtUp) => {
                    trouble.is_over();
                    // The sender is here with us; an error cannot be.
                    let _ = timeout(POLLED_EVERY, woken.changed()).await;
                }
                Ok(Progress::Standby) => {
                    trouble.is_over();
                    sleep(TRIED_EVERY).await;
                }
                Err(error) => sleep(trouble.with(&error, follower.position)).await,
            }
        }
    }
}

/// Of a command of Weir itself that this event leads to.
pub(crate) fn caused_by(followed: &Followed) -> Metadata {
    #[derive(Deserialize)]
    struct Stored {
        command_id: Uuid,
        correlation_id: Uuid,
    }
    let mut metadata = Metadata::new(Actor::System);
    if let Ok(stored) = serde_json::from_str::<Stored>(followed.stored.metadata.get()) {
        metadata.correlation_id = stored.correlation_id;
        metadata.causation_id = Some(stored.command_id);
    }
    metadata
}

enum Progress {
    CaughtUp,
    Standby,
}

struct Follower<'a, H> {
    process: Process,
    handler: &'a H,
    pool: &'a PgPool,
    leadership: Leadership,
    /// How far it has come; `None` while it does not lead, since then others move on.
    position: Option<i64>,
    /// What the checkpoint says.
    stored_position: i64,
}

impl<H: Handler> Follower<'_, H> {
    /// Goes on to the head of the log.
    async fn advance(&mut self) -> Result<Progress, FollowError> {
        loop {
            if !self.leadership.is_ours().await? {
                self.position = None;
                return Ok(Progress::Standby);
            }
            let mut position = match self.position {
                Some(position) => position,
                None => self.checkpoint().await?,
            };
            // Positions commit in order, so all that is at or before the head can be seen.
            let head = events::head(self.pool).await?;
            let events = self.wanted(position, head).await?;
            let is_whole = (events.len() as i64) < READ_LEN;
            for stored in events {
                position = stored.position;
                self.handle(stored).await?;
                self.position = Some(position);
                self.store(position).await?;
            }
            if is_whole {
                position = position.max(head);
                self.position = Some(position);
                metrics::gauge!("weir_process_position", "process" => self.process.name).set(position as f64);
                if position - self.stored_position >= CHECKPOINT_EVERY {
                    self.store(position).await?;
                }
                return Ok(Progress::CaughtUp);
            }
        }
    }

    async fn handle(&self, stored: StoredEvent) -> Result<(), FollowError> {
        let StoredEvent { position, .. } = stored;
        let event_type = stored.event_type.clone();
        let event = DomainEvent::decode(
            &stored.aggregate_type,
            &stored.event_type,
            &stored.event_version,
            stored.payload.get(),
        )
        .map_err(|source| FollowError::Decode { position, source })?;
        let followed = Followed { stored, event };
        // A bug met by one event must not end the whole node again and again.
        match AssertUnwindSafe(self.handler.handle(&followed)).catch_unwind().await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(FollowError::Handler { position, event_type, source }),
            Err(panic) => Err(FollowError::Panicked { position, event_type, message: message(&*panic) }),
        }
    }

    async fn wanted(&self, after: i64, until: i64) -> Result<Vec<StoredEvent>, sqlx::Error> {
        let types = self.process.types.iter().map(|name| (*name).to_owned()).collect();
        let filter = Filter { after, until: Some(until), types, ..Filter::default() };
        events::page(self.pool, &filter, READ_LEN).await
    }

    /// What the checkpoint says; a new process gets one.
    async fn checkpoint(&mut self) -> Result<i64, sqlx::Error> {
        let begin = match self.process.begin {
            Begin::Start => 0,
            Begin::Head => events::head(self.pool).await?,
        };
        sqlx::query("insert into log.processes (name, position) values ($1, $2) on conflict (name) do nothing")
            .bind(self.process.name)
            .bind(begin)
            .execute(self.pool)
            .await?;
        let position: i64 = sqlx::query_scalar("select position from log.processes where name = $1")
            .bind(self.process.name)
            .fetch_one(self.pool)
            .await?;
        self.position = Some(position);
        self.stored_position = position;
        Ok(position)
    }

    async fn store(&mut self, position: i64) -> Result<(), sqlx::Error> {
        // A leader that lost its lead without knowing it must not take the next one back.
        sqlx::query("update log.processes set position = $2, updated_at = now() where name = $1 and position < $2")
            .bind(self.process.name)
            .bind(position)
            .execute(self.pool)
            .await?;
        self.stored_position = position;
        Ok(())
    }
}

/// Tells of what goes wrong once, and how long to wait before the next attempt.
struct Trouble {
    name: &'static str,
    board: Troubles,
    told: Option<String>,
    position: Option<i64>,
    retry: Duration,
    since: Instant,
}

impl Trouble {
    fn new(name: &'static str, board: Troubles) -> Self {
        Self { name, board, told: None, position: None, retry: FIRST_RETRY, since: Instant::now() }
    }

    fn with(&mut self, error: &FollowError, position: Option<i64>) -> Duration {
        let text = with_causes(error);
        if self.told.as_ref() != Some(&text) {
            tracing::error!(process = self.name, error = text, "a process does not get on; it is tried again");
            if self.told.is_none() {
                self.since = Instant::now();
            }
            self.told = Some(text);
        }
        metrics::gauge!("weir_process_is_healthy", "process" => self.name).set(0.0);
        self.board.set(self.name, error.position());
        if self.position != position {
            // It got on in between.
            self.position = position;
            self.retry = FIRST_RETRY;
        }
        let wait = self.retry;
        self.retry = LAST_RETRY.min(self.retry * 2);
        wait
    }

    fn is_over(&mut self) {
        metrics::gauge!("weir_process_is_healthy", "process" => self.name).set(1.0);
        self.board.set(self.name, None);
        if self.told.take().is_some() {
            let seconds = self.since.elapsed().as_secs();
            tracing::info!(process = self.name, seconds, "the process gets on again");
        }
        self.retry = FIRST_RETRY;
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a text cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

fn message(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
