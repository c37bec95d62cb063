//! What keeps one read model up to date.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use domain::{RecordedEvent, sealed::Keyring};
use futures::FutureExt;
use sqlx::{Connection, PgPool};
use thiserror::Error;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep, timeout},
};

use crate::{
    checkpoint::{self, Checkpoint},
    connection::Lasting,
    feed::Subscription,
    log::{self, BATCH, Batch, Content, Entry, Log},
    projection::{ApplyError, Projection},
    schema,
    status::{Board, State},
};

/// How often an event is tried before it counts as one that cannot be applied.
const ATTEMPTS: u32 = 3;
/// How long a batch may take. A worker that hangs must not stay the one at work for ever.
const APPLY: Duration = Duration::from_secs(30);
/// How often one who stands by looks at the checkpoint.
const LOOK: Duration = Duration::from_millis(200);
/// How long the checkpoint must stand still, with events to apply, before it takes over.
const TAKE_OVER: Duration = Duration::from_secs(1);
/// How long the first and the longest pause is after Postgres or the keys did not answer.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Applies events to one projection's tables.
pub(crate) struct Worker {
    projection: &'static dyn Projection,
    log: Log,
    keyring: Arc<dyn Keyring>,
    board: Board,
    feed: Subscription,
    connection: Lasting,
    checkpoint: Checkpoint,
    pause: Duration,
}

/// Why a worker stopped what it was doing.
#[derive(Debug, Error)]
enum Interruption {
    /// Somebody else moved the checkpoint.
    #[error("another worker is at work")]
    Fenced,
    /// Servers are away.
    #[error(transparent)]
    Away(ApplyError),
    /// The event at this position cannot be applied.
    #[error("{error}")]
    Stuck { position: i64, error: String },
}

impl From<sqlx::Error> for Interruption {
    fn from(error: sqlx::Error) -> Self {
        Self::Away(ApplyError::Write(error))
    }
}

impl Worker {
    pub(crate) fn new(
        projection: &'static dyn Projection,
        pool: &PgPool,
        keyring: Arc<dyn Keyring>,
        board: Board,
        feed: Subscription,
    ) -> Self {
        Self {
            projection,
            log: Log::new(&[projection]),
            keyring,
            board,
            feed,
            connection: Lasting::new(pool, projection.name(), schema::LIVE),
            checkpoint: Checkpoint { position: 0, failed_at: None },
            pause: PAUSES.0,
        }
    }

    /// Works until it is dropped, which it may be at any moment: a batch is applied or it is not.
    pub(crate) async fn run(mut self) {
        let name = self.projection.name();
        loop {
            let Err(interruption) = self.lead().await;
            match interruption {
                Interruption::Fenced => {
                    tracing::info!(projection = name, "another worker is at work; standing by");
                    self.board.is(name, State::StandingBy);
                    if let Err(error) = self.stand_by().await {
                        self.wait(&error.into()).await;
                    } else {
                        tracing::info!(projection = name, "the other worker has stopped; taking over");
                    }
                }
                Interruption::Away(error) => self.wait(&error).await,
                Interruption::Stuck { position, error } => {
                    tracing::error!(projection = name, position, error, "the projection has stopped at an event");
                    self.board.is(name, State::Stopped { position, error });
                    // It stands still until the process is started again; only a panic ends it.
                    self.connection.discard();
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Applies what comes.
    async fn lead(&mut self) -> Result<std::convert::Infallible, Interruption> {
        let name = self.projection.name();
        // From here on nothing is missed: what is in the log is read, what comes later is heard.
        self.feed = self.feed.clone();
        let connection = self.connection.get().await?;
        self.checkpoint = checkpoint::load(name, connection).await?;
        let head = log::head(connection).await?;
        let position = self.checkpoint.position;
        if position > head {
            let error = format!("the read model is ahead of the log, which ends at {head}: rebuild it");
            return Err(Interruption::Stuck { position, error });
        }
        self.board.reached(name, position);
        if position < head {
            self.catch_up().await?;
        }
        self.at_work();
        loop {
            match self.feed.batches.recv().await {
                Ok(first) => {
                    let (batches, is_complete) = self.gather(first);
                    if let Some(last) = batches.last().map(|batch| batch.last) {
                        let entries: Vec<&Entry> = batches
                            .iter()
                            .flat_map(|batch| &batch.entries)
                            .filter(|entry| entry.position > self.checkpoint.position)
                            .collect();
                        self.step(&entries, last).await?;
                    }
                    if !is_complete {
                        self.catch_up().await?;
                    }
                }
                Err(RecvError::Lagged(batches)) => {
                    tracing::debug!(projection = name, batches, "too slow for the feed; reading the log");
                    self.catch_up().await?;
                }
                // The process is about to end.
                Err(RecvError::Closed) => std::future::pending().await,
            }
        }
    }

    /// `first` and what else has arrived, as far as it follows on the checkpoint, and whether all of it did.
    fn gather(&mut self, first: Arc<Batch>) -> (Vec<Arc<Batch>>, bool) {
        let mut gathered = Vec::new();
        let mut end = self.checkpoint.position;
        let mut next = Some(first);
        while let Some(batch) = next {
            if batch.after > end {
                return (gathered, false);
            }
            let count: i64 = end - self.checkpoint.position;
            if batch.last > end {
                end = batch.last;
                gathered.push(batch);
            }
            next = if count < BATCH as i64 { self.feed.batches.try_recv().ok() } else { None };
        }
        (gathered, true)
    }

    /// Applies what the log has.
    async fn catch_up(&mut self) -> Result<(), Interruption> {
        loop {
            let connection = self.connection.get().await?;
            let batch = timeout(APPLY, self.log.after(self.checkpoint.position, connection))
                .await
                .map_err(|_| Interruption::Away(ApplyError::TimedOut))??;
            if batch.entries.is_empty() {
                return Ok(());
            }
            let entries: Vec<&Entry> = batch.entries.iter().collect();
            self.step(&entries, batch.last).await?;
            self.at_work();
            if entries.len() < BATCH {
                return Ok(());
            }
        }
    }

    /// Applies events that follow on the checkpoint, up to position `last`.
    async fn step(&mut self, entries: &[&Entry], last: i64) -> Result<(), Interruption> {
        if last <= self.checkpoint.position {
            return Ok(());
        }
        match self.attempt(entries, last).await {
            Ok(()) => Ok(()),
            Err(Failure::Interruption(interruption)) => Err(interruption),
            Err(Failure::Refused(error)) => {
                tracing::warn!(
                    projection = self.projection.name(),
                    error = %describe(&error),
                    "a batch cannot be applied; trying its events one by one"
                );
                self.step_singly(entries, last).await
            }
        }
    }

    /// The same, event by event, to find the one that cannot be applied.
    async fn step_singly(&mut self, entries: &[&Entry], last: i64) -> Result<(), Interruption> {
        for entry in entries.iter().filter(|entry| self.projection.wants(&entry.event_type)) {
            let mut attempts = 0;
            let error = loop {
                match self.attempt(&[entry], entry.position).await {
                    Ok(()) => break None,
                    Err(Failure::Interruption(interruption)) => return Err(interruption),
                    Err(Failure::Refused(error)) => {
                        attempts += 1;
                        if attempts == ATTEMPTS {
                            break Some(describe(&error));
                        }
                        sleep(PAUSES.0 * attempts).await;
                    }
                }
            };
            if let Some(error) = error {
                self.give_up(entry, error).await?;
            }
        }
        if last == self.checkpoint.position {
            return Ok(());
        }
        self.attempt(&[], last).await.map_err(|failure| match failure {
            Failure::Interruption(interruption) => interruption,
            Failure::Refused(error) => Interruption::Away(error),
        })
    }

    /// Keeps an event that cannot be applied, and passes it over if the projection may.
    async fn give_up(&mut self, entry: &Entry, error: String) -> Result<(), Interruption> {
        let name = self.projection.name();
        let is_skipped = self.projection.is_skippable(&entry.event_type);
        let from = self.checkpoint.position;
        let mut transaction = self.connection.get().await?.begin().await?;
        // Skipping moves the checkpoint, standing still does not; either way only the one at work may say so.
        let to = if is_skipped { entry.position } else { from };
        if !checkpoint::advance(name, from, to, &mut transaction).await? {
            return Err(Interruption::Fenced);
        }
        checkpoint::keep_failed(name, entry, (&error, ATTEMPTS, is_skipped), &mut transaction).await?;
        transaction.commit().await?;
        if !is_skipped {
            return Err(Interruption::Stuck { position: entry.position, error });
        }
        tracing::warn!(projection = name, position = entry.position, error, "an event is passed over");
        self.moved(to);
        Ok(())
    }

    /// Writes rows and checkpoint, or nothing.
    async fn attempt(&mut self, entries: &[&Entry], last: i64) -> Result<(), Failure> {
        let outcome = timeout(APPLY, self.apply(entries, last)).await;
        let result = outcome.unwrap_or(Err(Failure::Interruption(Interruption::Away(ApplyError::TimedOut))));
        match &result {
            Ok(()) => self.moved(last),
            // What a lost, late or panicked conversation leaves behind is not to be used again.
            Err(Failure::Interruption(Interruption::Away(_)) | Failure::Refused(ApplyError::Panicked(_))) => {
                self.connection.discard();
            }
            Err(_) => {}
        }
        result
    }

    async fn apply(&mut self, entries: &[&Entry], last: i64) -> Result<(), Failure> {
        let (name, from) = (self.projection.name(), self.checkpoint.position);
        let mut events: Vec<&RecordedEvent> = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| self.projection.wants(&entry.event_type)) {
            match &entry.content {
                Content::Event(event) => events.push(event),
                Content::Damaged(error) => return Err(ApplyError::Decode(error.clone()).into()),
                Content::Unwanted => {}
            }
        }
        let is_resolved = self.checkpoint.failed_at.is_some_and(|failed_at| failed_at <= last);
        let connection = self.connection.get().await.map_err(Interruption::from)?;
        if events.is_empty() && !is_resolved {
            let is_moved = checkpoint::advance(name, from, last, connection).await.map_err(Interruption::from)?;
            return if is_moved { Ok(()) } else { Err(Interruption::Fenced.into()) };
        }
        let mut transaction = connection.begin().await.map_err(Interruption::from)?;
        if !checkpoint::advance(name, from, last, &mut transaction).await.map_err(Interruption::from)? {
            return Err(Interruption::Fenced.into());
        }
        if !events.is_empty() {
            let apply = self.projection.apply(&events, &mut transaction, &*self.keyring);
            AssertUnwindSafe(apply).catch_unwind().await.map_err(|panic| ApplyError::Panicked(message(&*panic)))??;
        }
        if is_resolved {
            checkpoint::resolve(name, last, &mut transaction).await.map_err(Interruption::from)?;
        }
        // A deferred constraint speaks here, so that this may be the rows' fault too.
        transaction.commit().await.map_err(ApplyError::Write)?;
        Ok(())
    }

    fn moved(&mut self, to: i64) {
        self.checkpoint.position = to;
        self.checkpoint.failed_at = self.checkpoint.failed_at.filter(|failed_at| *failed_at > to);
        self.board.reached(self.projection.name(), to);
    }

    fn at_work(&mut self) {
        self.pause = PAUSES.0;
        self.board.is(self.projection.name(), State::Following);
    }

    /// Returns when whoever is at work has not moved for a while although there is something to apply.
    async fn stand_by(&mut self) -> Result<(), sqlx::Error> {
        let name = self.projection.name();
        let mut seen = -1;
        let mut still_since = None;
        loop {
            let position = checkpoint::position(name, self.connection.get().await?).await?;
            self.board.reached(name, position);
            self.pause = PAUSES.0;
            if position != seen || position >= *self.feed.head.borrow() {
                seen = position;
                still_since = None;
            } else if still_since.get_or_insert_with(Instant::now).elapsed() >= TAKE_OVER {
                return Ok(());
            }
            sleep(LOOK).await;
        }
    }

    async fn wait(&mut self, error: &ApplyError) {
        let name = self.projection.name();
        let error = describe(error);
        if self.pause == PAUSES.0 {
            tracing::warn!(projection = name, error, "the projection cannot go on; trying again");
        }
        self.board.is(name, State::Waiting { error });
        self.connection.discard();
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}

/// Why a batch was not applied.
enum Failure {
    /// It has nothing to do with the events.
    Interruption(Interruption),
    /// One of them is at fault.
    Refused(ApplyError),
}

impl From<Interruption> for Failure {
    fn from(interruption: Interruption) -> Self {
        Self::Interruption(interruption)
    }
}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        if error.is_passing() { Self::Interruption(Interruption::Away(error)) } else { Self::Refused(error) }
    }
}

/// The error and its causes on one line.
fn describe(error: &ApplyError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a message").to_owned()
}
