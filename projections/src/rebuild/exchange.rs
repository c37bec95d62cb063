//! The new tables take the place of the live ones.

use std::time::{Duration, Instant};

use sqlx::{Connection, Executor};
use tokio::time::sleep;

use super::{
    build::{Build, drop_if_empty, forget},
    error::RebuildError,
    progress::Phase,
    shape::Shape,
};
use crate::{
    applier::{Failure, Interruption},
    log::{self, Entry},
    projection::ApplyError,
};

/// How long readers may be kept waiting behind us while somebody else reads on, and how long the pause is in which they
/// are let through. Postgres stops an autovacuum that is in the way after `deadlock_timeout`, a second by default:
/// every tenth attempt is long enough for that.
const LOCKS: [Duration; 2] = [Duration::from_millis(250), Duration::from_millis(1_500)];
const BETWEEN: Duration = Duration::from_millis(250);
/// After how long it is said that somebody is in the way.
const TOLD: Duration = Duration::from_secs(10);

/// How an attempt ended.
enum Attempt {
    /// The live tables are the new ones, at this position.
    Done(i64),
    /// Somebody uses the live tables.
    Busy,
    /// The live tables are not what they were when those that should take their place were made.
    Changed,
}

impl Build {
    /// Puts the tables, which hold nearly everything, in the place of the live ones with the rest; the position reached.
    /// Whoever drops this drops it between two attempts, or does not know how the last one ended.
    pub(super) async fn exchange(&mut self) -> Result<i64, RebuildError> {
        self.reporter.is(Phase::Exchanging);
        let name = self.projection.name();
        let began = Instant::now();
        let mut is_told = false;
        for count in 1.. {
            self.read_up_to(i64::MAX).await?;
            self.go_on()?;
            let lock = LOCKS[usize::from(count % 10 == 0)];
            let generation = self.live().await.map(|live| live.generation);
            let attempt = self.attempt(lock).await;
            match self.settle(attempt).await {
                Ok(Some(Attempt::Done(position))) => {
                    self.reporter.reached(position);
                    // What is left of the schema is swept by the next rebuild if this fails.
                    if let Ok(connection) = self.applier.connection.get().await
                        && let Err(error) = drop_if_empty(&self.schema, connection).await
                    {
                        tracing::debug!(%error, "the schema of the rebuild is left");
                    }
                    return Ok(position);
                }
                Ok(Some(Attempt::Changed)) => return Err(RebuildError::Changed { projection: name }),
                // The commit's answer was lost on the way.
                Err(RebuildError::Gone { projection }) => match (generation, self.live().await) {
                    (Ok(before), Ok(live)) if live.generation > before => return Ok(live.position),
                    _ => return Err(RebuildError::Gone { projection }),
                },
                Err(error) => return Err(error),
                Ok(Some(Attempt::Busy) | None) => {
                    if began.elapsed() > TOLD && !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(
                            projection = name,
                            "the rebuilt tables are ready, but somebody uses the live ones all the time (a backup, a long \
                             query?); waiting for a gap"
                        );
                    }
                    sleep(BETWEEN).await;
                }
            }
        }
        unreachable!("counted for ever")
    }

    async fn attempt(&mut self, lock: Duration) -> Result<Attempt, Interruption> {
        let (name, schema, tables) = (self.projection.name(), self.schema.clone(), self.projection.tables());
        let checkpoint = self.applier.checkpoint.position;
        let (fold, shape) = (self.applier.fold.clone(), self.shape.text.clone());
        let connection = self.applier.connection.get().await?;
        let mut transaction = connection.begin().await?;
        let limit = format!("set local lock_timeout = {}", lock.as_millis());
        transaction.execute(limit.as_str()).await?;
        // First the checkpoint, then the tables: in the order in which a worker takes them.
        sqlx::query("insert into read.checkpoints (projection) values ($1) on conflict do nothing")
            .bind(name)
            .execute(&mut *transaction)
            .await?;
        let locked = sqlx::query("select from read.checkpoints where projection = $1 for update")
            .bind(name)
            .execute(&mut *transaction)
            .await;
        if is_busy(locked)? {
            return Ok(Attempt::Busy);
        }
        // From here on the worker waits for us. The log's end is at or after where it stands.
        let head = log::head(&mut transaction).await?;
        let mut position = checkpoint;
        while position < head {
            let batch = fold.log.between(position, head, log::BATCH, &mut transaction).await?;
            let entries: Vec<&Entry> = batch.entries.iter().collect();
            let written = async {
                let events = fold.wanted(&entries)?;
                fold.write(&events, (position, batch.last), &mut transaction).await
            };
            match written.await {
                Ok(_) => position = batch.last,
                Err(Failure::Interruption(interruption)) => return Err(interruption),
                // Reading on meets it too, and finds out which event it is.
                Err(Failure::Refused(_)) => return Ok(Attempt::Busy),
            }
        }
        let live: Vec<String> = tables.iter().map(|table| format!("read.{table}")).collect();
        let live = live.join(", ");
        // Readers wait from here to the commit.
        let locked = transaction.execute(&*format!("lock table {live} in access exclusive mode")).await;
        if is_busy(locked)? {
            return Ok(Attempt::Busy);
        }
        if Shape::read(tables, &schema, &mut transaction).await?.text != shape {
            return Ok(Attempt::Changed);
        }
        transaction.execute(&*format!("drop table {live}")).await?;
        for table in tables {
            transaction.execute(&*format!("alter table {schema}.{table} set schema read")).await?;
        }
        sqlx::query(
            "update read.checkpoints set position = $2, generation = generation + 1, updated_at = now()
             where projection = $1",
        )
        .bind(name)
        .bind(position)
        .execute(&mut *transaction)
        .await?;
        // What failed before is past, but for what failed here and was passed over.
        sqlx::query("update read.failed_events set resolved_at = now() where projection = $1 and resolved_at is null")
            .bind(name)
            .execute(&mut *transaction)
            .await?;
        sqlx::query(&format!(
            "insert into read.failed_events as failed
             select * from {schema}.failed_events built where built.projection = $1 and built.is_skipped
             on conflict (projection, position) do update set error = excluded.error, is_skipped = true,
                 attempts = failed.attempts + excluded.attempts, last_failed_at = excluded.last_failed_at,
                 resolved_at = null"
        ))
        .bind(name)
        .execute(&mut *transaction)
        .await?;
        forget(self.projection, &mut transaction).await?;
        transaction.commit().await?;
        Ok(Attempt::Done(position))
    }
}

/// Whether somebody else has what was to be locked.
fn is_busy<T>(locked: Result<T, sqlx::Error>) -> Result<bool, Interruption> {
    match locked {
        Ok(_) => Ok(false),
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == "55P03") => Ok(true),
        Err(error) => Err(Interruption::Away(ApplyError::Write(error))),
    }
}
