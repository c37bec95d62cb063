//! Sessions that were proved lately: whoever has one knew the password, and had a code, a few minutes ago. What shows a secret asks
//! for that; what changes how an account signs in asks for the password itself.

use domain::ids::SessionId;

use crate::Commands;

/// How long a proof counts, in minutes: long enough to set an encoder up, and shorter than a device is left open.
const MINUTES: i32 = 10;

/// Whether a session was opened or proved in the last ten minutes; `false` for one that is over, and for what is none.
///
/// # Errors
/// When the log does not answer.
pub async fn is_proved(commands: &Commands, session_id: SessionId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from log.sessions where session_id = $1 and end_reason is null \
             and greatest(opened_at, proved_at) > now() - make_interval(mins => $2))",
    )
    .bind(session_id.uuid())
    .bind(MINUTES)
    .fetch_one(commands.pool())
    .await
}

/// Notes that whoever has the session has just shown who they are. Nothing is noted of one that is over.
///
/// # Errors
/// When the log does not answer.
pub async fn note(commands: &Commands, session_id: SessionId) -> Result<(), sqlx::Error> {
    sqlx::query("update log.sessions set proved_at = now() where session_id = $1 and end_reason is null")
        .bind(session_id.uuid())
        .execute(commands.pool())
        .await?;
    Ok(())
}
