//! The set-up token: what makes the first administrator of an install.

use domain::Claimed;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::{Commands, random_text};

/// The setting that holds the digest of the token.
const DIGEST: &str = "setup_token_digest";

/// The set-up token of an install that has no administrator yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupToken {
    /// Just made; it cannot be read again.
    New(Zeroizing<String>),
    /// Made before, and not used yet.
    AlreadyGivenOut,
}

/// Makes the set-up token when there is none yet. `None` once an administrator exists. Of several processes that ask at
/// once, one gets it.
///
/// # Errors
/// When the log does not answer.
pub async fn ensure_token(commands: &Commands) -> Result<Option<SetupToken>, sqlx::Error> {
    if is_used(commands).await? {
        return Ok(None);
    }
    let token = random_text::new();
    let made = sqlx::query("insert into log.settings (name, value) values ($1, $2) on conflict (name) do nothing")
        .bind(DIGEST)
        .bind(digest(commands, &token))
        .execute(commands.pool())
        .await?;
    Ok(Some(if made.rows_affected() == 1 { SetupToken::New(token) } else { SetupToken::AlreadyGivenOut }))
}

/// Makes a set-up token in place of one that was lost, which is worth nothing from then on. `None` once an administrator
/// exists.
///
/// # Errors
/// When the log does not answer.
pub async fn replace_token(commands: &Commands) -> Result<Option<Zeroizing<String>>, sqlx::Error> {
    if is_used(commands).await? {
        return Ok(None);
    }
    let token = random_text::new();
    sqlx::query(
        "insert into log.settings (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value",
    )
    .bind(DIGEST)
    .bind(digest(commands, &token))
    .execute(commands.pool())
    .await?;
    Ok(Some(token))
}

/// Makes the token of this digest worth nothing; what was used stays used.
pub(crate) async fn forget_token(commands: &Commands, digest: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.settings where name = $1 and value = $2")
        .bind(DIGEST)
        .bind(digest)
        .execute(commands.pool())
        .await?;
    Ok(())
}

/// Makes whatever token was given out worth nothing; what was used stays used.
pub(crate) async fn forget_given_out(commands: &Commands) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.settings where name = $1").bind(DIGEST).execute(commands.pool()).await?;
    Ok(())
}

/// Whether nobody administers the install yet, or nobody any more.
///
/// # Errors
/// When the log does not answer.
pub async fn is_open(commands: &Commands) -> Result<bool, sqlx::Error> {
    Ok(!is_used(commands).await?)
}

/// Whether somebody administers the install, by a set-up token or otherwise: then none makes another.
pub(crate) async fn is_used(commands: &Commands) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select from log.reservations where kind = any($1))")
        .bind([Claimed::SetupToken.as_str(), Claimed::Administrator.as_str()])
        .fetch_one(commands.pool())
        .await
}

/// The digest of `token` if it is the one that was given out. Whether it was used shows when it is claimed.
pub(crate) async fn digest_if_given_out(commands: &Commands, token: &str) -> Result<Option<String>, sqlx::Error> {
    let given_out: Option<String> = sqlx::query_scalar("select value from log.settings where name = $1")
        .bind(DIGEST)
        .fetch_optional(commands.pool())
        .await?;
    let digest = digest(commands, token);
    Ok(given_out.filter(|given_out| given_out.as_bytes().ct_eq(digest.as_bytes()).into()))
}

fn digest(commands: &Commands, token: &str) -> String {
    hex::encode(commands.keys().digest(&[b"setup_token", token.trim().as_bytes()]))
}
