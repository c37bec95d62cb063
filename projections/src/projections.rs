use std::sync::Arc;

use domain::sealed::Keyring;
use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    feed::Feed,
    log::Log,
    measures,
    projection::{ALL, Projection},
    read_models::ReadModels,
    status::{Board, Entry, Source, Status},
    worker::Worker,
};

/// The workers of this process, one for each projection.
pub struct Projections {
    projections: &'static [&'static dyn Projection],
    pool: PgPool,
    board: Board,
    head: watch::Receiver<i64>,
    source: watch::Receiver<Source>,
    cancel: CancellationToken,
    tasks: TaskTracker,
    count: usize,
}

impl Projections {
    /// Starts a worker for every projection and returns at once; call it within a tokio runtime. Without `nats`, and
    /// while it is away, they read the log in Postgres. They end, after the batch at hand, when `cancel` is cancelled.
    #[must_use]
    pub fn start(
        pool: PgPool,
        nats: Option<async_nats::Client>,
        keyring: Arc<dyn Keyring>,
        cancel: CancellationToken,
    ) -> Self {
        Self::start_some(ALL, pool, nats, keyring, cancel)
    }

    /// As [`Projections::start`], for some projections only.
    #[must_use]
    pub fn start_some(
        projections: &'static [&'static dyn Projection],
        pool: PgPool,
        nats: Option<async_nats::Client>,
        keyring: Arc<dyn Keyring>,
        cancel: CancellationToken,
    ) -> Self {
        // Also the others', whose checkpoints those who wait will ask for.
        let board = Board::new(ALL.iter().chain(projections).map(|projection| projection.name()));
        let feed = Feed::new(Log::new(projections), pool.clone(), nats);
        let (subscription, source) = (feed.subscribe(), feed.source());
        let tasks = TaskTracker::new();
        for projection in projections {
            let worker = Worker::new(*projection, &pool, keyring.clone(), board.clone(), subscription.clone());
            tasks.spawn(cancel.clone().run_until_cancelled_owned(worker.run()));
        }
        tasks.spawn(cancel.clone().run_until_cancelled_owned(feed.run()));
        let report = {
            let (board, head) = (board.clone(), subscription.head.clone());
            measures::report(pool.clone(), move || {
                let head = *head.borrow();
                (head, status(projections, &board, head))
            })
        };
        tasks.spawn(cancel.clone().run_until_cancelled_owned(report));
        tasks.close();
        let count = tasks.len();
        Self { projections, pool, board, head: subscription.head, source, cancel, tasks, count }
    }

    /// Queries over the tables that these workers keep, which learn of new rows at once.
    #[must_use]
    pub fn read_models(&self) -> ReadModels {
        ReadModels::with_board(self.pool.clone(), self.board.clone())
    }

    /// Where each projection stands, for health checks and metrics.
    #[must_use]
    pub fn status(&self) -> Vec<Status> {
        status(self.projections, &self.board, *self.head.borrow())
    }

    /// Where the workers get their events from at the moment.
    #[must_use]
    pub fn source(&self) -> Source {
        *self.source.borrow()
    }

    /// Whether a task of them has ended although nobody cancelled it: by a panic, since they go on for ever. What it kept
    /// stands still then without anybody else noticing; the process had better end.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.tasks.len() < self.count && !self.cancel.is_cancelled()
    }

    /// Waits until all workers have ended, once they were cancelled.
    pub async fn ended(&self) {
        self.tasks.wait().await;
    }
}

fn status(projections: &[&dyn Projection], board: &Board, head: i64) -> Vec<Status> {
    let here = |entry: &&Entry| projections.iter().any(|projection| projection.name() == entry.name);
    let status = board.entries();
    let status = status.iter().filter(here).map(|entry| Status {
        name: entry.name,
        position: entry.position,
        lag: (head - entry.position).max(0),
        state: entry.state.clone(),
    });
    status.collect()
}

impl std::fmt::Debug for Projections {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Projections").field("board", &self.board).finish_non_exhaustive()
    }
}
