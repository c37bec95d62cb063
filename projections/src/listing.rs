//! Where each projection stands, as the database tells it to whoever asks, in whatever process the workers are.

use std::time::Duration;

use sqlx::{PgPool, prelude::FromRow};

use crate::{
    QueryError,
    projection::{ALL, Projection},
};

/// How long a checkpoint may stand still, with events to apply, until nobody seems to be at work.
const IDLE: Duration = Duration::from_secs(5);

/// Where a projection stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The projection.
    pub name: String,
    /// Whether this Weir has it; one of another version may stay behind in the database.
    pub is_known: bool,
    /// The last event in its tables; 0 before the first.
    pub position: i64,
    /// The last event of the log.
    pub head: i64,
    /// How long ago the oldest event that is not in its tables was recorded; zero when there is none.
    pub lag: Duration,
    /// What it seems to be doing.
    pub standing: Standing,
    /// How many events could not be applied: the one at which it stands, and those passed over.
    pub failed_events: i64,
    /// How far a rebuild is that is running, or was interrupted.
    pub rebuild: Option<i64>,
}

/// What a projection seems to be doing. Which of several processes does it is not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It has every event.
    CaughtUp,
    /// Events come, and it applies them.
    Moving,
    /// There are events to apply, and nobody does.
    Behind,
    /// It stands still at an event that could not be applied.
    Stopped {
        /// The event's position.
        position: i64,
        /// What went wrong the last time.
        error: String,
        /// How often it was tried.
        attempts: i64,
    },
    /// It has events that the log has not, as after the log was restored from an older backup.
    Ahead,
}

impl Listed {
    /// How many events are not in its tables.
    #[must_use]
    pub fn lag_events(&self) -> i64 {
        (self.head - self.position).max(0)
    }
}

#[derive(FromRow)]
struct Row {
    name: String,
    position: i64,
    head: i64,
    lag_seconds: f64,
    idle_seconds: f64,
    failed_events: i64,
    stopped_at: Option<i64>,
    error: Option<String>,
    attempts: Option<i64>,
}

/// Every projection of this Weir, and whatever else the database knows of, by name.
///
/// # Errors
/// [`QueryError`] when Postgres cannot be asked.
pub async fn list(pool: &PgPool) -> Result<Vec<Listed>, QueryError> {
    let names: Vec<&str> = ALL.iter().map(|projection| projection.name()).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "select name, coalesce(checkpoint.position, 0) as position, head.position as head,
             coalesce(extract(epoch from clock_timestamp() - oldest.recorded_at), 0)::float8 as lag_seconds,
             coalesce(extract(epoch from clock_timestamp() - checkpoint.updated_at), 'infinity')::float8 as idle_seconds,
             (select count(*) from read.failed_events failed where failed.projection = name and resolved_at is null)
                 as failed_events,
             stopped.position as stopped_at, stopped.error, stopped.attempts
         from (select unnest($1::text[]) as name union select projection from read.checkpoints) known
             cross join log.head
             left join read.checkpoints checkpoint on checkpoint.projection = name
             left join log.events oldest on oldest.position = coalesce(checkpoint.position, 0) + 1
             left join lateral (
                 select failed.position, error, attempts from read.failed_events failed
                 where failed.projection = name and resolved_at is null and not is_skipped
                     and failed.position > coalesce(checkpoint.position, 0)
                 order by failed.position limit 1
             ) stopped on true
         order by name",
    )
    .bind(&names)
    .fetch_all(pool)
    .await?;
    let is_building: bool =
        sqlx::query_scalar("select to_regclass('read_build.builds') is not null").fetch_one(pool).await?;
    let mut builds: Vec<(String, i64)> = Vec::new();
    if is_building {
        // It may be done in between.
        builds = sqlx::query_as("select projection, position from read_build.checkpoints")
            .fetch_all(pool)
            .await
            .unwrap_or_default();
    }
    let listed = rows.into_iter().map(|row| Listed {
        is_known: names.contains(&&*row.name),
        rebuild: builds.iter().find(|(name, _)| *name == row.name).map(|(_, position)| *position),
        position: row.position,
        head: row.head,
        lag: Duration::from_secs_f64(row.lag_seconds.max(0.0)),
        failed_events: row.failed_events,
        standing: row.standing(),
        name: row.name,
    });
    Ok(listed.collect())
}

impl Row {
    fn standing(&self) -> Standing {
        let is_idle = self.idle_seconds >= IDLE.as_secs_f64() && self.lag_seconds >= IDLE.as_secs_f64();
        match (self.stopped_at, &self.error, self.attempts) {
            (Some(position), Some(error), Some(attempts)) => {
                Standing::Stopped { position, error: error.clone(), attempts }
            }
            _ if self.position > self.head => Standing::Ahead,
            _ if self.position == self.head => Standing::CaughtUp,
            _ if is_idle => Standing::Behind,
            _ => Standing::Moving,
        }
    }
}

/// Has the worker of a projection that stands still try again, in whatever process it is, within a second; whether it
/// stood still.
///
/// # Errors
/// [`QueryError`] when Postgres cannot be asked.
pub async fn retry(pool: &PgPool, projection: &dyn Projection) -> Result<bool, QueryError> {
    let asked = sqlx::query(
        "update read.checkpoints checkpoint set retries = retries + 1
         where projection = $1 and (
             position > (select head.position from log.head) or exists (
                 select from read.failed_events failed where failed.projection = $1 and failed.resolved_at is null
                     and not failed.is_skipped and failed.position > checkpoint.position
             )
         )",
    )
    .bind(projection.name())
    .execute(pool)
    .await?;
    Ok(asked.rows_affected() == 1)
}
