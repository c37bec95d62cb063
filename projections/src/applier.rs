//! Folding events into one projection's tables, in whatever schema: live by a worker, anew by a rebuild.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{RecordedEvent, sealed::Keyring};
use futures::FutureExt;
use sqlx::{Connection, PgConnection};
use thiserror::Error;
use time::OffsetDateTime;
use tokio::time::{sleep, timeout};

use crate::{
    checkpoint::{self, Checkpoint},
    connection::Lasting,
    log::{Batch, Content, Entry, Log},
    measures::Lag,
    projection::{ApplyError, Projection},
};

/// How often an event is tried before it counts as one that cannot be applied.
const ATTEMPTS: u32 = 3;
/// How long the pause is after the first of them.
const PAUSE: Duration = Duration::from_millis(100);
/// How long a batch may take. A worker that hangs must not stay the one at work for ever.
const APPLY: Duration = Duration::from_secs(30);

/// Applies events to one projection's tables, which the connection's search path finds, with its checkpoint.
pub(crate) struct Applier {
    pub(crate) fold: Fold,
    pub(crate) connection: Lasting,
    pub(crate) checkpoint: Checkpoint,
    /// Measures how late rows come, where somebody waits for them.
    lag: Option<Lag>,
}

/// What turns events into rows, wherever they are.
#[derive(Clone)]
pub(crate) struct Fold {
    pub(crate) projection: &'static dyn Projection,
    pub(crate) log: Log,
    keyring: Arc<dyn Keyring>,
}

/// Why events are not applied any further.
#[derive(Debug, Error)]
pub(crate) enum Interruption {
    /// Somebody else moved the checkpoint.
    #[error("another worker is at work")]
    Fenced,
    /// Servers are away.
    #[error(transparent)]
    Away(ApplyError),
    /// The event at this position cannot be applied.
    #[error("{error}")]
    Stuck { position: i64, event_type: Box<str>, error: String },
}

impl From<sqlx::Error> for Interruption {
    fn from(error: sqlx::Error) -> Self {
        Self::Away(ApplyError::Write(error))
    }
}

impl Applier {
    pub(crate) fn new(projection: &'static dyn Projection, connection: Lasting, keyring: Arc<dyn Keyring>) -> Self {
        let fold = Fold { projection, log: Log::new(&[projection]), keyring };
        Self { fold, connection, checkpoint: Checkpoint::default(), lag: None }
    }

    /// Also measures how long after it was recorded an event can be read.
    pub(crate) fn measured(mut self, lag: Lag) -> Self {
        self.lag = Some(lag);
        self
    }

    /// Starts from where the tables stand.
    pub(crate) async fn load(&mut self) -> Result<(), sqlx::Error> {
        self.checkpoint = checkpoint::load(self.fold.projection.name(), self.connection.get().await?).await?;
        Ok(())
    }

    /// From now on events count as late or not.
    pub(crate) async fn begin_measuring(&mut self) -> Result<(), sqlx::Error> {
        if let Some(lag) = &mut self.lag {
            let now = sqlx::query_scalar("select clock_timestamp()").fetch_one(self.connection.get().await?).await?;
            lag.begin(now);
        }
        Ok(())
    }

    /// Reads up to `limit` events that follow on the checkpoint, up to position `until`, and applies them; whether there
    /// may be more.
    pub(crate) async fn read_on(&mut self, until: i64, limit: usize) -> Result<bool, Interruption> {
        let connection = self.connection.get().await?;
        let batch = timeout(APPLY, self.fold.log.between(self.checkpoint.position, until, limit, connection))
            .await
            .map_err(|_| Interruption::Away(ApplyError::TimedOut))??;
        self.take(&batch).await?;
        Ok(batch.entries.len() == limit)
    }

    /// Applies what of a batch is new. The batch must begin at the checkpoint or before it.
    pub(crate) async fn take(&mut self, batch: &Batch) -> Result<(), Interruption> {
        let position = self.checkpoint.position;
        let new = batch.entries.partition_point(|entry| entry.position <= position);
        let entries: Vec<&Entry> = batch.entries[new..].iter().collect();
        self.step(&entries, batch.last).await
    }

    /// Applies events that follow on the checkpoint, up to position `last`.
    pub(crate) async fn step(&mut self, entries: &[&Entry], last: i64) -> Result<(), Interruption> {
        if last <= self.checkpoint.position {
            return Ok(());
        }
        match self.attempt(entries, last).await {
            Ok(()) => Ok(()),
            Err(Failure::Interruption(interruption)) => Err(interruption),
            Err(Failure::Refused(error)) => {
                tracing::warn!(
                    projection = self.fold.projection.name(),
                    error = %describe(&error),
                    "a batch cannot be applied; trying its events one by one"
                );
                self.step_singly(entries, last).await
            }
        }
    }

    /// The same, event by event, to find the one that cannot be applied.
    async fn step_singly(&mut self, entries: &[&Entry], last: i64) -> Result<(), Interruption> {
        for entry in entries.iter().filter(|entry| self.fold.projection.wants(&entry.event_type)) {
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
                        sleep(PAUSE * attempts).await;
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
        let name = self.fold.projection.name();
        let is_skipped = self.fold.projection.is_skippable(&entry.event_type);
        let from = self.checkpoint.position;
        let mut transaction = self.connection.get().await?.begin().await?;
        // Skipping moves the checkpoint, standing still does not; either way only the one at work may say so.
        let to = if is_skipped { entry.position } else { from };
        if checkpoint::advance(name, from, to, &mut transaction).await?.is_none() {
            return Err(Interruption::Fenced);
        }
        checkpoint::keep_failed(name, entry, (&error, ATTEMPTS, is_skipped), &mut transaction).await?;
        transaction.commit().await?;
        if !is_skipped {
            return Err(Interruption::Stuck { position: entry.position, event_type: entry.event_type.clone(), error });
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
            Err(Failure::Interruption(Interruption::Fenced | Interruption::Stuck { .. })) => {}
            // What a lost, late or panicked conversation leaves behind is not to be used again, and a statement that was
            // refused may have been prepared for tables of another shape.
            Err(Failure::Interruption(Interruption::Away(_)) | Failure::Refused(_)) => self.connection.discard(),
        }
        result
    }

    async fn apply(&mut self, entries: &[&Entry], last: i64) -> Result<(), Failure> {
        let events = self.fold.wanted(entries)?;
        let name = self.fold.projection.name();
        let is_resolved = self.checkpoint.failed_at.is_some_and(|failed_at| failed_at <= last);
        let connection = self.connection.get().await.map_err(Interruption::from)?;
        if events.is_empty() && !is_resolved {
            let moved = checkpoint::advance(name, self.checkpoint.position, last, connection).await;
            return moved.map_err(Interruption::from)?.map(|_| ()).ok_or(Interruption::Fenced.into());
        }
        let mut transaction = connection.begin().await.map_err(Interruption::from)?;
        let clock = self.fold.write(&events, (self.checkpoint.position, last), &mut transaction).await?;
        if is_resolved {
            checkpoint::resolve(name, last, &mut transaction).await.map_err(Interruption::from)?;
        }
        // A deferred constraint speaks here, so that this may be the rows' fault too.
        transaction.commit().await.map_err(ApplyError::Write)?;
        if let Some(lag) = &self.lag {
            lag.committed(clock, &events);
        }
        Ok(())
    }

    fn moved(&mut self, to: i64) {
        self.checkpoint.position = to;
        self.checkpoint.failed_at = self.checkpoint.failed_at.filter(|failed_at| *failed_at > to);
    }
}

impl Fold {
    /// The events among these that the projection wants.
    pub(crate) fn wanted<'a>(&self, entries: &[&'a Entry]) -> Result<Vec<&'a RecordedEvent>, ApplyError> {
        let mut events = Vec::with_capacity(entries.len());
        for entry in entries.iter().filter(|entry| self.projection.wants(&entry.event_type)) {
            match &entry.content {
                Content::Event(event) => events.push(event),
                Content::Damaged(error) => return Err(ApplyError::Decode(error.clone())),
                Content::Unwanted => {}
            }
        }
        Ok(events)
    }

    /// Writes rows and checkpoint, from one position to another, in the connection's transaction; what time it was there.
    pub(crate) async fn write(
        &self,
        events: &[&RecordedEvent],
        (from, to): (i64, i64),
        connection: &mut PgConnection,
    ) -> Result<(OffsetDateTime, Instant), Failure> {
        let moved = checkpoint::advance(self.projection.name(), from, to, connection).await;
        let clock = (moved.map_err(Interruption::from)?.ok_or(Interruption::Fenced)?, Instant::now());
        if !events.is_empty() {
            let apply = self.projection.apply(events, connection, &*self.keyring);
            AssertUnwindSafe(apply).catch_unwind().await.map_err(|panic| ApplyError::Panicked(message(&*panic)))??;
        }
        Ok(clock)
    }
}

/// Why a batch was not applied.
#[derive(Debug)]
pub(crate) enum Failure {
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
pub(crate) fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
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
