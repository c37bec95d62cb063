//! Exports that are being written: who writes which, and how far they are. No facts, and worth nothing after they end, so
//! no events.

use std::collections::HashMap;

use domain::ids::ExportId;
use sqlx::PgPool;
use uuid::Uuid;

/// An export that a worker has taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// The export.
    pub export_id: ExportId,
    /// How often it was begun, this time included.
    pub attempts: i32,
}

/// How far an export is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JobProgress {
    /// How many events are written.
    pub events_done: i64,
    /// How many it will be; `None` when only writing it will tell.
    pub events_total: Option<i64>,
    /// Up to which position the log was looked through.
    pub position: i64,
}

/// Puts an export on the list; nothing happens when it is there.
///
/// # Errors
/// When the database does not answer.
pub async fn enqueue(pool: &PgPool, export_id: ExportId) -> Result<(), sqlx::Error> {
    sqlx::query("insert into log.export_jobs (export_id) values ($1) on conflict (export_id) do nothing")
        .bind(export_id.uuid())
        .execute(pool)
        .await?;
    Ok(())
}

/// Takes on the oldest export that nobody writes, if there is one: one that is new, or whose worker has not said [`beat`]
/// for 15 s. It begins from scratch.
///
/// # Errors
/// When the database does not answer.
pub async fn claim(pool: &PgPool, worker: Uuid) -> Result<Option<Job>, sqlx::Error> {
    let claimed: Option<(Uuid, i32)> = sqlx::query_as(
        "update log.export_jobs job \
         set worker = $1, beat_at = now(), attempts = attempts + 1, events_done = 0, events_total = null, position = 0 \
         where export_id = ( \
             select export_id from log.export_jobs \
             where worker is null or beat_at < now() - interval '15 seconds' \
             order by created_at, export_id limit 1 for update skip locked) \
         returning job.export_id, job.attempts",
    )
    .bind(worker)
    .fetch_optional(pool)
    .await?;
    Ok(claimed.map(|(export_id, attempts)| Job { export_id: export_id.into(), attempts }))
}

/// Says that `worker` still writes the export, and how far it is. `false` when it is not its any more: it was slow and
/// another took it on, or it has ended.
///
/// # Errors
/// When the database does not answer.
pub async fn beat(
    pool: &PgPool,
    export_id: ExportId,
    worker: Uuid,
    progress: JobProgress,
) -> Result<bool, sqlx::Error> {
    let JobProgress { events_done, events_total, position } = progress;
    let updated = sqlx::query(
        "update log.export_jobs set beat_at = now(), events_done = $3, events_total = $4, position = $5 \
         where export_id = $1 and worker = $2",
    )
    .bind(export_id.uuid())
    .bind(worker)
    .bind(events_done)
    .bind(events_total)
    .bind(position)
    .execute(pool)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// Gives an export back, so that whoever is next takes it on at once.
///
/// # Errors
/// When the database does not answer; then it is taken on once the worker's last beat is old.
pub async fn release(pool: &PgPool, export_id: ExportId, worker: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("update log.export_jobs set worker = null where export_id = $1 and worker = $2")
        .bind(export_id.uuid())
        .bind(worker)
        .execute(pool)
        .await?;
    Ok(())
}

/// Takes an export off the list, whoever writes it.
///
/// # Errors
/// When the database does not answer.
pub async fn remove(pool: &PgPool, export_id: ExportId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.export_jobs where export_id = $1").bind(export_id.uuid()).execute(pool).await?;
    Ok(())
}

/// How far those of `exports` are that somebody writes now. The others are not in the answer.
///
/// # Errors
/// When the database does not answer.
pub async fn progress(pool: &PgPool, exports: &[ExportId]) -> Result<HashMap<ExportId, JobProgress>, sqlx::Error> {
    if exports.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<Uuid> = exports.iter().map(|id| id.uuid()).collect();
    let rows: Vec<(Uuid, i64, Option<i64>, i64)> = sqlx::query_as(
        "select export_id, events_done, events_total, position from log.export_jobs \
         where export_id = any($1) and worker is not null",
    )
    .bind(ids)
    .fetch_all(pool)
    .await?;
    let rows = rows.into_iter().map(|(id, events_done, events_total, position)| {
        (ExportId::from(id), JobProgress { events_done, events_total, position })
    });
    Ok(rows.collect())
}
