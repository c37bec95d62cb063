//! One projection's tables in a schema of their own: made, filled, finished.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use domain::sealed::Keyring;
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tokio::{sync::mpsc, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    error::RebuildError,
    progress::{Phase, Reporter},
    shape::Shape,
};
use crate::{
    applier::{Applier, Interruption, describe},
    checkpoint,
    connection::{Lasting, is_held},
    log::Batch,
    projection::{ApplyError, Projection},
};

/// How long servers may be away, or nothing move, before it is given up for now.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the pause is after servers did not answer.
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// Keeps those who make and drop the schema apart.
const SCHEMA_LOCK: &str = "select pg_advisory_xact_lock(7165382913)";

/// What is done with tables of an earlier attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Earlier {
    /// It is gone on with, if this program would make the same.
    Continue,
    /// They are thrown away.
    Discard,
}

/// A projection's tables in the making. It holds a lock for as long as it lives.
pub(super) struct Build {
    pub(super) projection: &'static dyn Projection,
    pub(super) schema: Arc<str>,
    pub(super) applier: Applier,
    pub(super) reporter: Reporter,
    /// The position up to which it is filled.
    pub(super) until: i64,
    batch_len: usize,
    pub(super) cancel: CancellationToken,
    pub(super) shape: Shape,
    id: Uuid,
    failing: Option<(Instant, i64)>,
}

impl Build {
    /// Makes the tables, or finds those that an earlier attempt left.
    pub(super) async fn open(
        projection: &'static dyn Projection,
        (pool, keyring): (&PgPool, Arc<dyn Keyring>),
        schema: Arc<str>,
        earlier: Earlier,
        (batch_len, cancel): (usize, CancellationToken),
        reporter: Reporter,
    ) -> Result<Self, RebuildError> {
        let name = projection.name();
        let connection =
            Lasting::new(pool, &format!("rebuild {name}"), &schema).locked(&format!("rebuild {schema}.{name}"));
        let applier = Applier::new(projection, connection, keyring);
        let (shape, id, failing) = (Shape::default(), Uuid::now_v7(), None);
        let mut build = Self { projection, schema, applier, reporter, until: 0, batch_len, cancel, shape, id, failing };
        let tables = |source| RebuildError::Tables { projection: name, source };
        let connection = build.applier.connection.get().await.map_err(|source| match is_held(&source) {
            true => RebuildError::InProgress { projection: name },
            false => tables(source),
        })?;
        build.shape = Shape::read(projection.tables(), &build.schema, connection).await.map_err(tables)?;
        if build.shape.tables < projection.tables().len() {
            return Err(RebuildError::NotMigrated { projection: name });
        }
        build.make(earlier).await.map_err(tables)?;
        build.applier.load().await.map_err(tables)?;
        build.reporter.began_at(build.applier.checkpoint.position);
        Ok(build)
    }

    async fn make(&mut self, earlier: Earlier) -> Result<(), sqlx::Error> {
        let (name, schema, shape) = (self.projection.name(), &self.schema, self.shape.text.clone());
        let mut transaction = self.applier.connection.get().await?.begin().await?;
        transaction.execute(SCHEMA_LOCK).await?;
        // The two that every projection needs are like the live ones, so that the same code finds them.
        let bookkeeping = format!(
            "create schema if not exists {schema};
             create table if not exists {schema}.checkpoints (like read.checkpoints including all);
             create table if not exists {schema}.failed_events (like read.failed_events including all);
             create table if not exists {schema}.builds (
                 projection text primary key, id uuid not null, shape text not null, program text not null,
                 began_at timestamptz not null default now()
             )"
        );
        transaction.execute(bookkeeping.as_str()).await?;
        let found: Option<(Uuid, String, String)> =
            sqlx::query_as("select id, shape, program from builds where projection = $1")
                .bind(name)
                .fetch_optional(&mut *transaction)
                .await?;
        let program = program();
        match found {
            Some((id, built, by)) if earlier == Earlier::Continue && built == shape && by == program => self.id = id,
            _ => {
                forget(self.projection, &mut transaction).await?;
                for table in self.projection.tables() {
                    transaction.execute(&*format!("drop table if exists {schema}.{table}")).await?;
                }
                for statement in &self.shape.early {
                    transaction.execute(statement.as_str()).await?;
                }
                sqlx::query("insert into builds (projection, id, shape, program) values ($1, $2, $3, $4)")
                    .bind(name)
                    .bind(self.id)
                    .bind(shape)
                    .bind(program)
                    .execute(&mut *transaction)
                    .await?;
            }
        }
        transaction.commit().await
    }

    /// Applies what a reader sends, and then, by itself, whatever is missing.
    pub(super) async fn fill(&mut self, mut batches: mpsc::Receiver<Arc<Batch>>) -> Result<(), RebuildError> {
        while let Some(batch) = batches.recv().await {
            loop {
                self.go_on()?;
                let taken = self.take(&batch).await;
                if self.settle(taken).await?.is_some() {
                    break;
                }
            }
            self.reporter.reached(self.applier.checkpoint.position);
        }
        self.read_up_to(self.until).await
    }

    async fn take(&mut self, batch: &Batch) -> Result<(), Interruption> {
        // After a crash of Postgres it may stand before where it was: its commits do not wait for the disk.
        while self.applier.checkpoint.position < batch.after.min(self.until) {
            self.applier.read_on(batch.after.min(self.until), self.batch_len).await?;
        }
        if batch.last <= self.until { self.applier.take(batch).await } else { Ok(()) }
    }

    /// Applies the events of the log up to a position.
    pub(super) async fn read_up_to(&mut self, until: i64) -> Result<(), RebuildError> {
        while self.applier.checkpoint.position < until {
            self.go_on()?;
            let read = self.applier.read_on(until, self.batch_len).await;
            let is_more = self.settle(read).await?;
            self.reporter.reached(self.applier.checkpoint.position);
            if is_more == Some(false) {
                break;
            }
        }
        Ok(())
    }

    /// Makes what is cheaper to make at the end. What is there already is left.
    pub(super) async fn finish(&mut self) -> Result<(), RebuildError> {
        self.reporter.is(Phase::Indexing);
        let tables = self.projection.tables().iter();
        // Readers are to find statistics; autovacuum does the rest in its time.
        let analyze = tables.map(|table| format!("analyze {}.{table}", self.schema));
        let statements: Vec<String> = self.shape.late.iter().cloned().chain(analyze).collect();
        for statement in statements {
            loop {
                let cancel = self.cancel.clone();
                let done = cancel.run_until_cancelled(self.execute(&statement)).await;
                self.go_on()?;
                if self.settle(done.unwrap_or(Ok(()))).await?.is_some() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// # Errors
    /// Once it was told to stop.
    pub(super) fn go_on(&self) -> Result<(), RebuildError> {
        let (projection, position) = (self.projection.name(), self.applier.checkpoint.position);
        if self.cancel.is_cancelled() { Err(RebuildError::Interrupted { projection, position }) } else { Ok(()) }
    }

    async fn execute(&mut self, statement: &str) -> Result<(), Interruption> {
        self.applier.connection.get().await?.execute(statement).await?;
        Ok(())
    }

    /// What to do about how something ended: `None` is to try it again, from where the checkpoint is now.
    pub(super) async fn settle<T>(&mut self, outcome: Result<T, Interruption>) -> Result<Option<T>, RebuildError> {
        let projection = self.projection.name();
        let mut error = match outcome {
            Ok(value) => {
                self.failing = None;
                return Ok(Some(value));
            }
            Err(Interruption::Stuck { position, event_type, error }) => {
                return Err(RebuildError::Stuck { projection, position, event_type: event_type.into(), error });
            }
            // Nobody else is at work: a commit went through, or was lost, whose answer did not come.
            Err(Interruption::Fenced) => Interruption::Fenced.to_string(),
            Err(Interruption::Away(ApplyError::Write(source))) if !may_pass(&source) => {
                return Err(RebuildError::Tables { projection, source });
            }
            Err(Interruption::Away(error)) => describe(&error),
        };
        loop {
            let position = self.applier.checkpoint.position;
            let (since, seen) = *self.failing.get_or_insert((Instant::now(), position));
            if seen != position {
                self.failing = Some((Instant::now(), position));
            } else if since.elapsed() > PATIENCE {
                return Err(RebuildError::Away { projection, position, error });
            }
            tracing::debug!(projection, position, error, "the rebuild tries again");
            self.applier.connection.discard();
            sleep(PAUSE).await;
            match self.reload().await {
                Ok(true) => return Ok(None),
                Ok(false) => return Err(RebuildError::Gone { projection }),
                Err(source) if may_pass(&source) => error = source.to_string(),
                Err(source) => return Err(RebuildError::Tables { projection, source }),
            }
        }
    }

    /// Looks where the tables stand; whether they are still these.
    async fn reload(&mut self) -> Result<bool, sqlx::Error> {
        let connection = self.applier.connection.get().await?;
        let is_there: bool = sqlx::query_scalar(
            "select to_regclass($1 || '.builds') is not null and exists (
                 select from pg_tables where schemaname = $1 and tablename = $2)",
        )
        .bind(&*self.schema)
        .bind(self.projection.tables().first())
        .fetch_one(&mut *connection)
        .await?;
        if !is_there {
            return Ok(false);
        }
        let id: Option<Uuid> = sqlx::query_scalar("select id from builds where projection = $1")
            .bind(self.projection.name())
            .fetch_optional(connection)
            .await?;
        if id != Some(self.id) {
            return Ok(false);
        }
        self.applier.load().await?;
        Ok(true)
    }

    /// Throws the tables away.
    pub(super) async fn discard(mut self) -> Result<(), RebuildError> {
        let (projection, schema) = (self.projection, self.schema.clone());
        let dropped = async {
            let connection = self.applier.connection.get().await?;
            let mut transaction = connection.begin().await?;
            forget(projection, &mut transaction).await?;
            for table in projection.tables() {
                transaction.execute(&*format!("drop table if exists {schema}.{table}")).await?;
            }
            transaction.commit().await?;
            drop_if_empty(&schema, connection).await
        };
        dropped.await.map_err(|source| RebuildError::Tables { projection: projection.name(), source })
    }
}

/// Takes a build out of the books, which the connection's search path finds.
pub(super) async fn forget(projection: &dyn Projection, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    for table in ["builds", "checkpoints", "failed_events"] {
        sqlx::query(&format!("delete from {table} where projection = $1"))
            .bind(projection.name())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Drops the schema once nothing is built there.
pub(super) async fn drop_if_empty(schema: &str, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut transaction = connection.begin().await?;
    transaction.execute(SCHEMA_LOCK).await?;
    let is_there: bool = sqlx::query_scalar("select to_regclass($1 || '.builds') is not null")
        .bind(schema)
        .fetch_one(&mut *transaction)
        .await?;
    if is_there {
        let is_empty: bool = sqlx::query_scalar(&format!("select not exists (select from {schema}.builds)"))
            .fetch_one(&mut *transaction)
            .await?;
        if is_empty {
            transaction.execute(&*format!("drop schema {schema} cascade")).await?;
        }
    }
    transaction.commit().await
}

pub(super) fn may_pass(error: &sqlx::Error) -> bool {
    crate::error::is_passing(error) || is_held(error)
}

/// Drops what nobody works on in a schema.
pub(super) async fn sweep(schema: &str, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let books = format!("{schema}.builds");
    let is_there: bool =
        sqlx::query_scalar("select to_regclass($1) is not null").bind(&books).fetch_one(&mut *connection).await?;
    if !is_there {
        return Ok(());
    }
    let builds: Vec<String> =
        sqlx::query_scalar(&format!("select projection from {books}")).fetch_all(&mut *connection).await?;
    for name in builds {
        let mut transaction = connection.begin().await?;
        // Somebody may be looking at them.
        transaction.execute("set local lock_timeout = '5s'").await?;
        let is_abandoned: bool = sqlx::query_scalar("select pg_try_advisory_xact_lock(hashtextextended($1, 0))")
            .bind(format!("weir rebuild {schema}.{name}"))
            .fetch_one(&mut *transaction)
            .await?;
        // A state of the past never meets the erasure in the log.
        if is_abandoned || schema.starts_with("read_at_") {
            // Its rows, above all; the tables of a projection that is no more are dropped with the schema.
            let tables: Vec<String> = sqlx::query_scalar(
                "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname = $1
                     and (tablename = $2 or starts_with(tablename, $2 || '_'))",
            )
            .bind(schema)
            .bind(&name)
            .fetch_all(&mut *transaction)
            .await?;
            for table in tables {
                transaction.execute(&*format!("drop table {table}")).await?;
            }
            sqlx::query(&format!("delete from {books} where projection = $1"))
                .bind(&name)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
    }
    drop_if_empty(schema, connection).await
}

/// What tells this program from one that may fold events differently: its version, size and age.
fn program() -> String {
    let file = std::env::current_exe().and_then(std::fs::metadata);
    let file = file.map(|file| {
        let modified = file.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        format!("{} bytes of {} ms", file.len(), modified.unwrap_or_default().as_millis())
    });
    format!("{} {}", env!("CARGO_PKG_VERSION"), file.unwrap_or_default())
}

impl Build {
    /// The checkpoint of the live tables.
    pub(super) async fn live(&mut self) -> Result<checkpoint::Checkpoint, Interruption> {
        let name = self.projection.name();
        let connection = self.applier.connection.get().await?;
        let live = sqlx::query_as(
            "select position, generation, retries, null::bigint as failed_at from read.checkpoints where projection = $1",
        );
        Ok(live.bind(name).fetch_optional(connection).await?.unwrap_or_default())
    }
}
