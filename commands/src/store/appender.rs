use std::{mem, sync::Arc, thread, time::Duration};

use domain::{Claim, Claimed};
use quick_cache::sync::Cache;
use sqlx::postgres::PgConnectOptions;
use thiserror::Error;
use tokio::{
    runtime,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    CachedAggregate,
    batch::Batch,
    key::Key,
    log::{Answer, Log},
    tell,
};
use crate::{Idempotency, counters::Counters};

/// What it roughly takes to store one more command in a batch, and to decide one. They need not be exact: with them it is
/// told what a commit takes, and whether that is more than what is gained by deciding while one is stored.
const STORING_ONE: Duration = Duration::from_micros(10);
const DECIDING_ONE: Duration = Duration::from_micros(4);
/// How much of a commit's time is waited for those who are likely to come right now, and how long at most.
const WAITED_SHARE: u32 = 8;
const WAITED_AT_MOST: Duration = Duration::from_millis(1);
/// How often what waits is encoded while the server works.
const GATHERED_EVERY: Duration = Duration::from_millis(1);

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
    pub(crate) used_key: Option<Box<UsedKey>>,
    /// The room in memory that it takes up.
    pub(crate) _room: OwnedSemaphorePermit,
    /// Told the position of the last event.
    pub(crate) answer: oneshot::Sender<Answer>,
}

pub(crate) struct EventRow {
    pub(crate) event_type: &'static str,
    pub(crate) event_version: &'static str,
    /// JSON.
    pub(crate) payload: String,
}

/// The client's key of a command.
pub(crate) struct UsedKey {
    pub(crate) actor: String,
    pub(crate) command_id: Uuid,
    pub(crate) idempotency: Idempotency,
}

/// Why the events of a command were not stored, or are not known to be.
#[derive(Debug, Clone, Error)]
pub(crate) enum AppendError {
    #[error("the client's key was used by another command")]
    Repeated,
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

/// Takes what waits and stores it in one transaction, batch after batch. While the server works on one, the commands of the
/// one before are answered and those of the one after encoded.
pub(super) struct Appender {
    pub(super) queue: mpsc::UnboundedReceiver<Append>,
    pub(super) batch_len: usize,
    /// One for each command that may be under way beside those that are; `queue_len` when there are none.
    pub(super) permits: Arc<Semaphore>,
    pub(super) queue_len: usize,
    pub(super) committed: watch::Sender<i64>,
    pub(super) stop: CancellationToken,
    pub(super) counters: Arc<Counters>,
    /// What a batch took lately beside its commands: above all the commit.
    pub(super) commit: Duration,
}

/// A batch with the answers to its commands, in order.
type Answered = (Batch, Vec<Answer>);

impl Appender {
    /// Runs on a thread of its own: among the tasks of a busy runtime, the server would wait for it most of the time.
    /// What is answered resolves once the appender has ended.
    pub(super) async fn start(
        self,
        options: PgConnectOptions,
        cache: Arc<Cache<Key, CachedAggregate>>,
    ) -> Result<oneshot::Receiver<()>, sqlx::Error> {
        let (connected, connecting) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        thread::Builder::new().name("weir append".to_owned()).spawn(move || {
            // Dropped at the end, also by a panic.
            let _ending: oneshot::Sender<()> = ending;
            runtime.block_on(async {
                match Log::connect(options, cache).await {
                    // Should nobody be waiting any more, the queue is closed too.
                    Ok(log) => {
                        let _ = connected.send(Ok(()));
                        self.run(log).await;
                    }
                    Err(error) => _ = connected.send(Err(error)),
                }
            });
        })?;
        connecting.await.unwrap_or(Err(sqlx::Error::WorkerCrashed))?;
        Ok(ended)
    }

    async fn run(mut self, mut log: Log) {
        let (mut current, mut next) = (Batch::new(), Batch::new());
        let mut answered: Option<Answered> = None;
        let mut spare = Some(Batch::new());
        loop {
            if current.len() == 0 {
                // Nothing is to be stored, so those whose events are stored need not wait.
                if let Some(answered) = answered.take() {
                    spare = Some(self.answer(answered));
                }
                if !self.wait(&mut current).await {
                    break;
                }
            }
            self.fill(&mut current);
            self.counters.batch_commands.record(current.len() as f64);
            self.counters.queue_commands.set(self.queue.len() as f64);
            let begin = Instant::now();
            let storing = log.store(&current);
            let meanwhile = async {
                if let Some(answered) = answered.take() {
                    spare = Some(self.answer(answered));
                }
                self.gather(&mut next).await;
            };
            // First of all the batch goes to the server.
            let answers = tokio::select! {
                biased;
                answers = storing => answers,
                () = meanwhile => unreachable!("what is done meanwhile has no end"),
            };
            let took = begin.elapsed();
            self.counters.append_seconds.record(took.as_secs_f64());
            let commit = took.saturating_sub(STORING_ONE * u32::try_from(current.len()).unwrap_or(u32::MAX));
            self.commit = (self.commit * 7 + commit) / 8;
            if let Some(answered) = answered.take() {
                // The log had answered before there was a meanwhile.
                spare = Some(self.answer(answered));
            }
            let stored_len = current.len();
            let stored = mem::replace(&mut current, mem::replace(&mut next, spare.take().unwrap_or_else(Batch::new)));
            answered = Some((stored, answers));
            if current.len() < stored_len / 2 && !self.is_halved() {
                // Two groups that take turns would need two commits where one does for both.
                spare = answered.take().map(|answered| self.answer(answered));
                self.wait_for(stored_len, &mut current);
            }
        }
        log.close().await;
    }

    /// Waits for a command; `false` when none will come any more.
    async fn wait(&mut self, batch: &mut Batch) -> bool {
        loop {
            tokio::select! {
                append = self.queue.recv() => {
                    return append.map(|append| batch.push(append)).is_some();
                }
                () = self.stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
        }
    }

    /// Takes what waits now and then, for ever. Not as it comes: each command would wake this thread. Cancel safe.
    async fn gather(&mut self, batch: &mut Batch) {
        loop {
            self.fill(batch);
            sleep(GATHERED_EVERY).await;
        }
    }

    /// Takes what waits at once.
    fn fill(&mut self, batch: &mut Batch) {
        while batch.len() < self.limit()
            && let Ok(append) = self.queue.try_recv()
        {
            batch.push(append);
        }
    }

    /// Gives those who have just been answered a moment to come with their next command.
    fn wait_for(&mut self, len: usize, batch: &mut Batch) {
        let wait = (self.commit / WAITED_SHARE).min(WAITED_AT_MOST);
        for _ in 0..2 {
            self.fill(batch);
            if batch.len() >= len {
                break;
            }
            // Nothing else runs on this thread, and the timer of the runtime is too coarse.
            thread::sleep(wait / 2);
        }
    }

    /// How many commands go into a batch.
    fn limit(&self) -> usize {
        if self.is_halved() { self.batch_len.min(self.under_way().div_ceil(2)) } else { self.batch_len }
    }

    /// Whether a batch is to be half of the commands under way, so that the others are decided while it is stored.
    fn is_halved(&self) -> bool {
        DECIDING_ONE * u32::try_from(self.under_way()).unwrap_or(u32::MAX) > self.commit
    }

    fn under_way(&self) -> usize {
        self.queue_len.saturating_sub(self.permits.available_permits())
    }

    /// Tells the commands of a batch; gives it back empty.
    fn answer(&self, (mut batch, answers): Answered) -> Batch {
        if let Some(last) = answers.iter().filter_map(|answer| answer.as_ref().ok()).max() {
            tell(&self.committed, *last);
        }
        for (append, answer) in batch.drain().zip(answers) {
            // Nobody may be waiting any more; it is stored all the same.
            let _ = append.answer.send(answer);
        }
        batch
    }
}
