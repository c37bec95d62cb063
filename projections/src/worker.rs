//! What keeps one read model up to date.

use std::{sync::Arc, time::Duration};

use domain::sealed::Keyring;
use sqlx::PgPool;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep},
};

use crate::{
    applier::{Applier, Interruption, describe},
    checkpoint,
    connection::Lasting,
    feed::Subscription,
    log::{self, BATCH, Batch, Entry},
    measures::Lag,
    projection::{ApplyError, Projection},
    schema,
    status::{Board, State},
};

/// How often one who stands by, or stands still, looks at the checkpoint.
const LOOK: Duration = Duration::from_millis(200);
/// How long the checkpoint must stand still, with events to apply, before it takes over.
const TAKE_OVER: Duration = Duration::from_secs(1);
/// How long the first and the longest pause is after Postgres or the keys did not answer.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Applies events to one projection's live tables.
pub(crate) struct Worker {
    projection: &'static dyn Projection,
    board: Board,
    feed: Subscription,
    applier: Applier,
    pause: Duration,
}

impl Worker {
    pub(crate) fn new(
        projection: &'static dyn Projection,
        pool: &PgPool,
        keyring: Arc<dyn Keyring>,
        board: Board,
        feed: Subscription,
    ) -> Self {
        let connection = Lasting::new(pool, projection.name(), schema::LIVE);
        let applier = Applier::new(projection, connection, keyring).measured(Lag::new(projection.name()));
        Self { projection, board, feed, applier, pause: PAUSES.0 }
    }

    /// Works until it is dropped, which it may be at any moment: a batch is applied or it is not.
    pub(crate) async fn run(mut self) {
        let name = self.projection.name();
        loop {
            let Err(interruption) = self.lead().await;
            let resumed = match interruption {
                Interruption::Fenced => self.give_way().await,
                Interruption::Away(error) => {
                    self.wait(&error).await;
                    Ok(())
                }
                Interruption::Stuck { position, error, .. } => {
                    tracing::error!(
                        projection = name,
                        position,
                        error,
                        "the projection has stopped at an event; once that can be applied: weir projections retry {name}"
                    );
                    self.board.is(name, State::Stopped { position, error });
                    self.stand_still().await;
                    tracing::info!(projection = name, "trying again");
                    Ok(())
                }
            };
            if let Err(error) = resumed {
                self.wait(&error.into()).await;
            }
        }
    }

    /// Applies what comes.
    async fn lead(&mut self) -> Result<std::convert::Infallible, Interruption> {
        let name = self.projection.name();
        // From here on nothing is missed: what is in the log is read, what comes later is heard.
        self.feed = self.feed.clone();
        self.applier.load().await?;
        let connection = self.applier.connection.get().await?;
        let head = log::head(connection).await?;
        self.applier.begin_measuring().await?;
        let position = self.applier.checkpoint.position;
        if position > head {
            let error = format!(
                "the read model is ahead of the log, which ends at {head}, as after the log was restored from an older \
                 backup: make it anew with weir projections rebuild {name}"
            );
            return Err(Interruption::Stuck { position, event_type: Box::default(), error });
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
                        let position = self.applier.checkpoint.position;
                        let entries: Vec<&Entry> = batches
                            .iter()
                            .flat_map(|batch| &batch.entries)
                            .filter(|entry| entry.position > position)
                            .collect();
                        let stepped = self.applier.step(&entries, last).await;
                        self.reached(stepped)?;
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
        let position = self.applier.checkpoint.position;
        let mut end = position;
        let mut next = Some(first);
        while let Some(batch) = next {
            if batch.after > end {
                return (gathered, false);
            }
            let count: i64 = end - position;
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
            let read = self.applier.read_on(i64::MAX, BATCH).await;
            let is_more = self.reached(read)?;
            if !is_more {
                return Ok(());
            }
            self.at_work();
        }
    }

    /// Tells how far the tables are, also where it ended badly.
    fn reached<T>(&self, outcome: Result<T, Interruption>) -> Result<T, Interruption> {
        self.board.reached(self.projection.name(), self.applier.checkpoint.position);
        outcome
    }

    fn at_work(&mut self) {
        self.pause = PAUSES.0;
        self.board.is(self.projection.name(), State::Following);
    }

    /// Somebody moved the checkpoint: a rebuild, whose tables are to be worked on at once, or another worker, which is waited
    /// for.
    async fn give_way(&mut self) -> Result<(), sqlx::Error> {
        let name = self.projection.name();
        let generation = self.applier.checkpoint.generation;
        let checkpoint = checkpoint::read(name, self.applier.connection.get().await?).await?;
        if checkpoint.generation != generation {
            tracing::info!(projection = name, position = checkpoint.position, "going on with the rebuilt tables");
            return Ok(());
        }
        tracing::info!(projection = name, "another worker is at work; standing by");
        self.board.is(name, State::StandingBy);
        self.stand_by().await?;
        tracing::info!(projection = name, "the other worker has stopped; taking over");
        Ok(())
    }

    /// Returns when whoever is at work has not moved for a while although there is something to apply.
    async fn stand_by(&mut self) -> Result<(), sqlx::Error> {
        let name = self.projection.name();
        let mut seen = -1;
        let mut still_since = None;
        loop {
            let position = checkpoint::read(name, self.applier.connection.get().await?).await?.position;
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

    /// Returns when somebody asked to try again, or got past what it stopped at: a rebuild, or a worker that knows better.
    async fn stand_still(&mut self) {
        let before = self.applier.checkpoint;
        // Left by a statement that failed, or by a panic.
        self.applier.connection.discard();
        loop {
            sleep(LOOK).await;
            let read = async { checkpoint::read(self.projection.name(), self.applier.connection.get().await?).await };
            match read.await {
                Ok(now) => {
                    let tells = |it: checkpoint::Checkpoint| (it.position, it.generation, it.retries);
                    if tells(now) != tells(before) {
                        return;
                    }
                }
                // Whoever comes to ask needs Postgres, too.
                Err(_) => self.applier.connection.discard(),
            }
        }
    }

    async fn wait(&mut self, error: &ApplyError) {
        let name = self.projection.name();
        let error = describe(error);
        if self.pause == PAUSES.0 {
            tracing::warn!(projection = name, error, "the projection cannot go on; trying again");
        }
        self.board.is(name, State::Waiting { error });
        self.applier.connection.discard();
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES.1);
    }
}
