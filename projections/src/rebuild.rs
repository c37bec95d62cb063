//! Read models made anew from the log.
//!
//! The tables are built in a schema of their own by the same code that keeps the live ones, while these go on. The log is
//! read and decoded once for all projections that are rebuilt together; each applies it on a connection of its own. In the
//! end one transaction takes the live checkpoint, which makes the worker wait, applies the last events, puts the new tables
//! in the place of the old, which readers wait for, and sets the checkpoint. The worker finds that its tables were replaced,
//! and goes on with the new ones. What was there before is there until then, whatever happens.
//!
//! A build has a checkpoint of its own, so that the same call goes on after an interruption, if the live tables still look
//! as they did and the program is the same; if not, the build is thrown away. A lock keeps two from building the same.
//!
//! A changed shape is a new projection (`things_v2`) with tables of its own beside the old ones; it starts from the
//! beginning by itself, and needs no rebuild. Rebuilding is for tables whose content is wrong: after a bug in the code that
//! folds events was repaired, or after the log was restored from an older backup.

mod build;
mod compare;
mod error;
mod exchange;
mod progress;
mod shape;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::sealed::{BoxFuture, Keyring};
use sqlx::PgPool;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{
    build::{Build, Earlier, PAUSE, may_pass},
    progress::Reporter,
};
pub use self::{
    compare::{Comparison, Difference, TableComparison},
    error::RebuildError,
    progress::{Part, Phase, Progress},
};
use crate::{
    QueryError, checkpoint,
    connection::Lasting,
    log::{self, Batch, Log},
    projection::Projection,
    schema,
};

/// Where tables are built that take the place of the live ones.
const BUILD: &str = "read_build";
/// Where tables are built that are compared with the live ones.
const CHECK: &str = "read_check";
/// How many events are read and applied at once. The more, the more often several concern the same row, which is then
/// written once (docs/adr/0014); memory sets the limit.
const BATCH: usize = 20_000;
/// How long Postgres may be away when a rebuild begins, after it was first found to be.
const OPENING: Duration = Duration::from_secs(10);
/// How many batches are read ahead, for each projection.
const AHEAD: usize = 1;

/// How it ended for each projection, in the order in which they were named.
pub type Outcomes<T> = Vec<(&'static str, Result<T, RebuildError>)>;

/// The rebuild of some projections.
///
/// Dropping what it returns ends it like a cancellation; only whether the tables were exchanged may then be unknown.
pub struct Rebuild {
    pool: PgPool,
    keyring: Arc<dyn Keyring>,
    projections: Vec<&'static dyn Projection>,
    progress: Arc<watch::Sender<Progress>>,
    cancel: CancellationToken,
    batch_len: usize,
}

impl std::fmt::Debug for Rebuild {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Rebuild").field("progress", &*self.progress.borrow()).finish_non_exhaustive()
    }
}

/// What is done with the tables once they are filled.
type End<T> = for<'a> fn(&'a mut Build) -> BoxFuture<'a, Result<T, RebuildError>>;

/// Where tables are built, and for how long.
struct Place {
    schema: Arc<str>,
    /// What an earlier attempt left is gone on with, and what this one leaves is kept.
    is_kept: bool,
}

impl Rebuild {
    /// Of these projections, which share the reading of the log.
    #[must_use]
    pub fn new(
        pool: PgPool,
        keyring: Arc<dyn Keyring>,
        projections: impl IntoIterator<Item = &'static dyn Projection>,
    ) -> Self {
        let projections: Vec<_> = projections.into_iter().collect();
        let part = |name| Part { name, began_at: 0, position: 0, phase: Phase::Applying };
        let parts = projections.iter().map(|projection| part(projection.name())).collect();
        let progress = Arc::new(watch::Sender::new(Progress { until: 0, parts }));
        let cancel = CancellationToken::new();
        Self { pool, keyring, projections, progress, cancel, batch_len: BATCH }
    }

    /// Ends after the batch at hand once `cancel` is cancelled, with [`RebuildError::Interrupted`].
    #[must_use]
    pub fn cancelled_by(mut self, cancel: CancellationToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// How many events are read and applied at once, 1 or more; 20,000 by default. What is in memory grows with it.
    #[must_use]
    pub fn batches_of(mut self, events: usize) -> Self {
        self.batch_len = events.max(1);
        self
    }

    /// Tells how far it is.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Puts newly built tables in the place of the live ones; the positions at which it did. Each projection's tables are
    /// exchanged by themselves.
    pub async fn exchange(self) -> Outcomes<i64> {
        let place = |_: &dyn Projection| Place { schema: BUILD.into(), is_kept: true };
        let end: End<i64> = |build| {
            Box::pin(async {
                build.finish().await?;
                build.exchange().await
            })
        };
        self.run(place, None, end).await
    }

    /// Leaves the tables as they would be after the event of `position`, in the schema `read_at_<position>`, for somebody to
    /// look at. A state of the past never takes the place of the live one, which it would let go backwards under everybody who
    /// waits for it. What was erased since is erased there too.
    pub async fn keep_at(self, position: i64) -> Outcomes<i64> {
        let place = |_: &dyn Projection| Place { schema: format!("read_at_{position}").into(), is_kept: true };
        let end: End<i64> = |build| {
            Box::pin(async {
                build.finish().await?;
                Ok(build.applier.checkpoint.position)
            })
        };
        self.run(place, Some(position), end).await
    }

    /// Compares the live tables with newly built ones at the same position, and drops these. The live ones are written
    /// meanwhile; nobody waits.
    pub async fn compare(self) -> Outcomes<Comparison> {
        let place = |_: &dyn Projection| Place { schema: CHECK.into(), is_kept: false };
        let end: End<Comparison> = |build| Box::pin(build.compare());
        self.run(place, None, end).await
    }

    async fn run<T: Send + 'static>(
        self,
        place: impl Fn(&dyn Projection) -> Place,
        position: Option<i64>,
        end: End<T>,
    ) -> Outcomes<T> {
        let names: Vec<_> = self.projections.iter().map(|projection| projection.name()).collect();
        let (mut running, mut senders) = (Vec::new(), Vec::new());
        for projection in self.projections.iter().copied() {
            let place = place(projection);
            let build = match self.open_at_last(projection, &place, position).await {
                Ok(build) => build,
                Err(error) => {
                    Reporter::new(&self.progress, projection.name()).is(Phase::Over);
                    running.push(Err(error));
                    continue;
                }
            };
            let (sender, batches) = mpsc::channel(AHEAD);
            senders.push((build.applier.checkpoint.position, build.until, sender));
            let reporter = build.reporter.clone();
            let task = tokio::spawn(carry_out(build, batches, end, place.is_kept));
            running.push(Ok((AbortOnDropHandle::new(task), reporter)));
        }
        let _reader = AbortOnDropHandle::new(tokio::spawn(self.cancel.clone().run_until_cancelled_owned(read(
            Lasting::new(&self.pool, "rebuild", schema::LIVE),
            Log::new(&self.projections),
            self.batch_len,
            senders,
        ))));
        let mut outcomes = Vec::new();
        for (projection, running) in names.into_iter().zip(running) {
            let outcome = match running {
                Ok((task, reporter)) => {
                    let outcome = task.await.unwrap_or(Err(RebuildError::Panicked { projection }));
                    reporter.is(Phase::Over);
                    outcome
                }
                Err(error) => Err(error),
            };
            outcomes.push((projection, outcome));
        }
        outcomes
    }

    /// Opens, also where Postgres is away for a moment.
    async fn open_at_last(
        &self,
        projection: &'static dyn Projection,
        place: &Place,
        position: Option<i64>,
    ) -> Result<Build, RebuildError> {
        // Not since it began: whoever was stopped itself for so long tries once more.
        let mut away_since = None;
        loop {
            match self.open(projection, place, position).await {
                Err(RebuildError::Tables { source, .. }) if may_pass(&source) && !self.cancel.is_cancelled() => {
                    if away_since.get_or_insert_with(Instant::now).elapsed() > OPENING {
                        let (projection, error) = (projection.name(), source.to_string());
                        return Err(RebuildError::Away { projection, position: 0, error });
                    }
                    sleep(PAUSE).await;
                }
                opened => return opened,
            }
        }
    }

    async fn open(
        &self,
        projection: &'static dyn Projection,
        place: &Place,
        position: Option<i64>,
    ) -> Result<Build, RebuildError> {
        let name = projection.name();
        let tables = |source| RebuildError::Tables { projection: name, source };
        let mut connection = Lasting::new(&self.pool, "rebuild", schema::LIVE);
        let connection = connection.get().await.map_err(tables)?;
        // In this order: both grow.
        let live = checkpoint::load(name, connection).await.map_err(tables)?.position;
        let head = log::head(connection).await.map_err(tables)?;
        let until = match (position, place.is_kept) {
            (Some(position), _) if (0..=head).contains(&position) => position,
            (Some(position), _) => return Err(RebuildError::OutOfRange { position, head }),
            (None, true) => head,
            (None, false) if live <= head => live,
            (None, false) => return Err(RebuildError::Ahead { projection: name, head }),
        };
        let earlier = if place.is_kept { Earlier::Continue } else { Earlier::Discard };
        let reporter = Reporter::new(&self.progress, name);
        let servers = (&self.pool, self.keyring.clone());
        let options = (self.batch_len, self.cancel.clone());
        let mut build = Build::open(projection, servers, place.schema.clone(), earlier, options, reporter).await?;
        build.until = until;
        self.progress.send_modify(|progress| progress.until = progress.until.max(until));
        Ok(build)
    }
}

async fn carry_out<T>(
    mut build: Build,
    batches: mpsc::Receiver<Arc<Batch>>,
    end: End<T>,
    is_kept: bool,
) -> Result<T, RebuildError> {
    let outcome = async {
        build.fill(batches).await?;
        end(&mut build).await
    };
    let outcome = outcome.await;
    if !is_kept && let Err(error) = build.discard().await {
        tracing::warn!(error = &error as &dyn std::error::Error, "what was built to compare with is left");
    }
    outcome
}

/// Reads the log for all who still listen. It may end early: they read the rest by themselves, and meet what went wrong.
async fn read(
    mut connection: Lasting,
    log: Log,
    batch_len: usize,
    mut builds: Vec<(i64, i64, mpsc::Sender<Arc<Batch>>)>,
) {
    let mut position = builds.iter().map(|(from, ..)| *from).min().unwrap_or_default();
    let until = builds.iter().map(|(_, until, _)| *until).max().unwrap_or_default();
    while position < until && !builds.is_empty() {
        let Ok(connection) = connection.get().await else { return };
        let Ok(batch) = log.between(position, until, batch_len, connection).await else { return };
        if batch.entries.is_empty() {
            return;
        }
        position = batch.last;
        let batch = Arc::new(batch);
        let mut listening = Vec::new();
        for (from, until, build) in builds {
            if batch.last <= from || build.send(batch.clone()).await.is_ok() {
                listening.push((from, until, build));
            }
        }
        builds = listening;
    }
}

/// Throws away what interrupted rebuilds left, and the states of the past that somebody wanted to look at: for erasure, as
/// both may show what an erased person told. A rebuild that is running goes on, and meets the erasure in the log; one that
/// builds a state of the past ends.
///
/// # Errors
/// [`QueryError`] when Postgres is away or refuses.
pub async fn discard_leftovers(pool: &PgPool) -> Result<(), QueryError> {
    let mut connection = Lasting::new(pool, "sweep of rebuilds", schema::LIVE);
    let connection = connection.get().await?;
    let schemas: Vec<String> = sqlx::query_scalar(
        "select nspname::text from pg_namespace where nspname ~ '^read_(at_[0-9]+|build|check)$' order by 1",
    )
    .fetch_all(&mut *connection)
    .await?;
    for schema in schemas {
        build::sweep(&schema, connection).await?;
    }
    Ok(())
}
