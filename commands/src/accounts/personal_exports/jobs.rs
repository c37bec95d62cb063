//! Personal exports that are being written, and files that are there: who writes which, how far they are, and when they go.
//! As the process that follows the log has noted them.

use domain::ids::{AccountId, PersonalExportId};
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

/// An export that a worker has taken on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PersonalExportJob {
    /// The export.
    pub export_id: PersonalExportId,
    /// Of whom.
    pub account_id: AccountId,
    /// How often it was begun, this time included.
    pub attempts: i32,
}

/// Puts an export on the list; nothing happens when it is there.
///
/// # Errors
/// When the database does not answer.
pub async fn enqueue(pool: &PgPool, export_id: PersonalExportId, account_id: AccountId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into log.personal_exports (export_id, account_id) values ($1, $2) on conflict (export_id) do nothing",
    )
    .bind(export_id.uuid())
    .bind(account_id.uuid())
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes on the oldest export that nobody writes, if there is one: one that is new, or whose worker has not said [`beat`]
/// for 15 s. It begins from scratch.
///
/// # Errors
/// When the database does not answer.
pub async fn claim(pool: &PgPool, worker: Uuid) -> Result<Option<PersonalExportJob>, sqlx::Error> {
    let claimed: Option<(Uuid, Uuid, i32)> = sqlx::query_as(
        "update log.personal_exports job set worker = $1, beat_at = now(), attempts = attempts + 1, fraction = 0 \
         where export_id = ( \
             select export_id from log.personal_exports \
             where expires_at is null and (worker is null or beat_at < now() - interval '15 seconds') \
             order by created_at, export_id limit 1 for update skip locked) \
         returning job.export_id, job.account_id, job.attempts",
    )
    .bind(worker)
    .fetch_optional(pool)
    .await?;
    Ok(claimed.map(|(export_id, account_id, attempts)| PersonalExportJob {
        export_id: export_id.into(),
        account_id: account_id.into(),
        attempts,
    }))
}

/// Says that `worker` still writes the export, and how much of it is done, from 0 to 1. `false` when it is not its any more.
///
/// # Errors
/// When the database does not answer.
pub async fn beat(
    pool: &PgPool,
    export_id: PersonalExportId,
    worker: Uuid,
    fraction: f64,
) -> Result<bool, sqlx::Error> {
    let updated = sqlx::query(
        "update log.personal_exports set beat_at = now(), fraction = $3 where export_id = $1 and worker = $2",
    )
    .bind(export_id.uuid())
    .bind(worker)
    .bind(fraction)
    .execute(pool)
    .await?;
    Ok(updated.rows_affected() == 1)
}

/// Gives an export back, so that whoever is next takes it on at once.
///
/// # Errors
/// When the database does not answer; then it is taken on once the worker's last beat is old.
pub async fn release(pool: &PgPool, export_id: PersonalExportId, worker: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("update log.personal_exports set worker = null where export_id = $1 and worker = $2")
        .bind(export_id.uuid())
        .bind(worker)
        .execute(pool)
        .await?;
    Ok(())
}

/// Notes that the file is there until `expires_at`.
///
/// # Errors
/// When the database does not answer.
pub async fn keep(
    pool: &PgPool,
    export_id: PersonalExportId,
    account_id: AccountId,
    expires_at: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into log.personal_exports (export_id, account_id, expires_at) values ($1, $2, $3) \
         on conflict (export_id) do update set expires_at = excluded.expires_at, worker = null, fraction = 1",
    )
    .bind(export_id.uuid())
    .bind(account_id.uuid())
    .bind(expires_at)
    .execute(pool)
    .await?;
    Ok(())
}

/// Takes an export off the list, whoever writes it.
///
/// # Errors
/// When the database does not answer.
pub async fn remove(pool: &PgPool, export_id: PersonalExportId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.personal_exports where export_id = $1").bind(export_id.uuid()).execute(pool).await?;
    Ok(())
}

/// How much of an export is done that somebody writes now, from 0 to 1; `None` while nobody does.
///
/// # Errors
/// When the database does not answer.
pub async fn fraction(pool: &PgPool, export_id: PersonalExportId) -> Result<Option<f64>, sqlx::Error> {
    sqlx::query_scalar("select fraction from log.personal_exports where export_id = $1 and worker is not null")
        .bind(export_id.uuid())
        .fetch_optional(pool)
        .await
}

/// The files whose time is over, the oldest first, at most `limit`.
///
/// # Errors
/// When the database does not answer.
pub async fn expired(pool: &PgPool, limit: i64) -> Result<Vec<(AccountId, PersonalExportId)>, sqlx::Error> {
    let rows: Vec<(Uuid, Uuid)> = sqlx::query_as(
        "select account_id, export_id from log.personal_exports where expires_at <= now() order by expires_at limit $1",
    )
    .bind(limit)
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|(account_id, export_id)| (account_id.into(), export_id.into())).collect())
}

/// The exports of an account that are on the list.
///
/// # Errors
/// When the database does not answer.
pub async fn of_account(pool: &PgPool, account_id: AccountId) -> Result<Vec<PersonalExportId>, sqlx::Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar("select export_id from log.personal_exports where account_id = $1")
        .bind(account_id.uuid())
        .fetch_all(pool)
        .await?;
    Ok(ids.into_iter().map(PersonalExportId::from).collect())
}
