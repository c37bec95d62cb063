//! Personal tokens: what people hand to programs of their own instead of a password.
//!
//! A token is `weir_` and 256 random bits. The log's tables hold its SHA-256 alone, so it can be shown once only.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    Aggregate,
    accounts::{
        Account, PersonalToken, PersonalTokenCommand, PersonalTokenName, PersonalTokenRefusal,
        PersonalTokenRevokedReason, PersonalTokenScope, Session,
    },
    ids::{AccountId, PersonalTokenId, SessionId},
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::suspension::{self, Standing};
use crate::{Actor, CommandError, Commands, Metadata, master_keys::random};

/// What every token begins with, so that people and scanners of source code know one when they see it.
pub const PREFIX: &str = "weir_";

/// How many tokens an account may have.
const MOST: i64 = 50;
/// How many tokens a sweep looks at between two statements.
const SWEEP_LEN: i64 = 500;

/// A token that somebody wants.
#[derive(Debug)]
pub struct CreatePersonalToken {
    /// Whose it is to be.
    pub account_id: AccountId,
    /// By which session its owner makes it; `None` for nobody's. One that has to end makes none.
    pub session_id: Option<SessionId>,
    /// What its owner calls it.
    pub name: PersonalTokenName,
    /// What it may do.
    pub scopes: Vec<PersonalTokenScope>,
    /// When it is worth nothing any more by itself.
    pub expires_at: OffsetDateTime,
    /// Who and why, for the log.
    pub metadata: Metadata,
}

/// A new token.
pub struct CreatedPersonalToken {
    /// The token's id.
    pub token_id: PersonalTokenId,
    /// The secret; it cannot be had again.
    pub token: Zeroizing<String>,
    /// Where its event is in the log.
    pub position: i64,
}

/// What a token is good for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundPersonalToken {
    /// The token's id.
    pub token_id: PersonalTokenId,
    /// Whose it is.
    pub account_id: AccountId,
    /// What it may do.
    pub scopes: Vec<PersonalTokenScope>,
    /// When it is worth nothing any more.
    pub expires_at: OffsetDateTime,
}

/// Makes a token.
///
/// # Errors
/// [`CommandError::Refused`] when it could do nothing, would last too long, there are too many, or the session by which it is made has
/// to end.
pub async fn create(
    commands: &Commands,
    create: CreatePersonalToken,
) -> Result<CreatedPersonalToken, CommandError<PersonalTokenRefusal>> {
    let CreatePersonalToken { account_id, session_id, name, scopes, expires_at, metadata } = create;
    let count: i64 = sqlx::query_scalar("select count(*) from log.personal_tokens where account_id = $1")
        .bind(account_id.uuid())
        .fetch_one(commands.pool())
        .await?;
    if count >= MOST {
        return Err(CommandError::Refused(PersonalTokenRefusal::TooMany));
    }
    let token_id = PersonalTokenId::from(Uuid::now_v7());
    let secret = Zeroizing::new(random::<32>());
    let token = Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret.as_slice())));
    let name = commands.account_keys().seal(account_id, name.as_str()).await?;
    // The row first: without its event nobody was shown the token, and it goes when its time is over.
    sqlx::query(
        "insert into log.personal_tokens (token_id, account_id, digest, scopes, expires_at) values ($1, $2, $3, $4, $5)",
    )
    .bind(token_id.uuid())
    .bind(account_id.uuid())
    .bind(digest(&token))
    .bind(scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>())
    .bind(expires_at)
    .execute(commands.pool())
    .await?;
    let command = PersonalTokenCommand::Create { token_id, account_id, name, scopes, expires_at };
    match commands.execute::<PersonalToken>(&token_id.to_string(), command, metadata).await {
        Ok(committed) => {
            revoke_if_shut_out(commands, account_id, token_id, session_id)
                .await
                .map_err(CommandError::after_storing)?;
            Ok(CreatedPersonalToken { token_id, token, position: committed.position })
        }
        Err(error) => {
            if matches!(error, CommandError::Refused(_)) {
                forget(commands, token_id).await?;
            }
            Err(error)
        }
    }
}

/// Revokes a new token of an account that was erased or suspended meanwhile, or whose session has to end, and refuses it. Whoever
/// does that looks for tokens after the event that is looked for here, so one of the two finds the other.
async fn revoke_if_shut_out(
    commands: &Commands,
    account_id: AccountId,
    token_id: PersonalTokenId,
    session_id: Option<SessionId>,
) -> Result<(), CommandError<PersonalTokenRefusal>> {
    let (reason, refusal) = match suspension::standing(commands, account_id).await? {
        Standing::Erased => (PersonalTokenRevokedReason::AccountErased, PersonalTokenRefusal::Unknown),
        Standing::Suspended => (PersonalTokenRevokedReason::AccountSuspended, PersonalTokenRefusal::Unknown),
        Standing::Good => {
            let Some(session_id) = session_id else { return Ok(()) };
            let Some(reason) = shut_out(commands, account_id, session_id).await? else { return Ok(()) };
            (reason, PersonalTokenRefusal::SessionEnded)
        }
    };
    finish(commands, token_id, reason, Actor::System).await?;
    Err(CommandError::Refused(refusal))
}

/// By what a session is to end that its account did after it was opened, whether or not it has ended yet: a reset of the password, a
/// change of it whose owner wanted so, or ceasing to be an administrator, who is none again. `None` where it goes on. Positions are compared, and no
/// clocks.
async fn shut_out(
    commands: &Commands,
    account_id: AccountId,
    session_id: SessionId,
) -> Result<Option<PersonalTokenRevokedReason>, sqlx::Error> {
    let event_type: Option<String> = sqlx::query_scalar(
        "select event_type from log.events changed where aggregate_type = $1 and aggregate_id = $2 \
             and (event_type = 'account.administrator_revoked' and not exists ( \
                      select from log.events where aggregate_type = $1 and aggregate_id = $2 \
                      and event_type = 'account.administrator_granted' and position > changed.position) \
                  or event_type = 'account.password_changed' \
                      and (payload->'PasswordChanged'->>'reason' = 'reset' \
                           or payload->'PasswordChanged'->>'ends_all_but' <> $4)) \
             and position > (select position from log.events where aggregate_type = $3 and aggregate_id = $4 \
                  order by sequence limit 1) \
         order by position limit 1",
    )
    .bind(Account::TYPE)
    .bind(account_id.to_string())
    .bind(Session::TYPE)
    .bind(session_id.to_string())
    .fetch_optional(commands.pool())
    .await?;
    Ok(event_type.map(|event_type| match event_type.as_str() {
        "account.administrator_revoked" => PersonalTokenRevokedReason::AdministratorRevoked,
        _ => PersonalTokenRevokedReason::PasswordChanged,
    }))
}

/// What a token is good for; `None` when it never was good, or is no more. Notes that it was used, to the hour.
///
/// # Errors
/// When the log does not answer.
pub async fn find(commands: &Commands, token: &str) -> Result<Option<FoundPersonalToken>, sqlx::Error> {
    let found: Option<(Uuid, Uuid, Vec<String>, OffsetDateTime, bool)> = sqlx::query_as(
        "select token_id, account_id, scopes, expires_at, \
             last_used_at is null or last_used_at < now() - interval '1 hour' \
         from log.personal_tokens where digest = $1 and revoke_reason is null and expires_at > now()",
    )
    .bind(digest(token))
    .fetch_optional(commands.pool())
    .await?;
    let Some((token_id, account_id, scopes, expires_at, is_stale)) = found else { return Ok(None) };
    if is_stale {
        sqlx::query("update log.personal_tokens set last_used_at = date_trunc('hour', now()) where token_id = $1")
            .bind(token_id)
            .execute(commands.pool())
            .await?;
    }
    let scopes = scopes.iter().filter_map(|scope| PersonalTokenScope::from_stored(scope)).collect();
    Ok(Some(FoundPersonalToken { token_id: token_id.into(), account_id: account_id.into(), scopes, expires_at }))
}

/// When the tokens of an account were last used, to the hour; those that never were are not in it.
///
/// # Errors
/// When the log does not answer.
pub async fn last_used(
    commands: &Commands,
    account_id: AccountId,
) -> Result<Vec<(PersonalTokenId, OffsetDateTime)>, sqlx::Error> {
    let used: Vec<(Uuid, OffsetDateTime)> = sqlx::query_as(
        "select token_id, last_used_at from log.personal_tokens where account_id = $1 and last_used_at is not null",
    )
    .bind(account_id.uuid())
    .fetch_all(commands.pool())
    .await?;
    Ok(used.into_iter().map(|(id, used_at)| (id.into(), used_at)).collect())
}

/// Makes a token of `account_id` worthless; again is fine. Answers a position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] with `PersonalTokenRefusal::Unknown` when the account never had such a token.
pub async fn revoke(
    commands: &Commands,
    account_id: AccountId,
    token_id: PersonalTokenId,
    metadata: Metadata,
) -> Result<i64, CommandError<PersonalTokenRefusal>> {
    let token = commands.load::<PersonalToken>(&token_id.to_string()).await?;
    match token.map(|(token, _)| token) {
        Some(token) if token.owner() == Some(account_id) => {}
        _ => return Err(CommandError::Refused(PersonalTokenRefusal::Unknown)),
    }
    finish_with(commands, token_id, PersonalTokenRevokedReason::Owner, metadata).await
}

/// Makes all tokens of an account worthless.
///
/// # Errors
/// [`CommandError`] of the first that could not be revoked; those before it are.
pub async fn revoke_all(
    commands: &Commands,
    account_id: AccountId,
    reason: PersonalTokenRevokedReason,
) -> Result<(), CommandError<PersonalTokenRefusal>> {
    // All at once: what follows is an event for each.
    let good: Vec<Uuid> = sqlx::query_scalar(
        "update log.personal_tokens set revoke_reason = coalesce(revoke_reason, $2) where account_id = $1 \
         returning token_id",
    )
    .bind(account_id.uuid())
    .bind(reason_text(reason))
    .fetch_all(commands.pool())
    .await?;
    for token_id in good {
        finish(commands, token_id.into(), reason, Actor::System).await.map_err(CommandError::after_storing)?;
    }
    Ok(())
}

/// Makes the tokens of an account worthless that were made before the event at `position`.
pub(super) async fn revoke_before(
    commands: &Commands,
    account_id: AccountId,
    position: i64,
    reason: PersonalTokenRevokedReason,
) -> Result<(), CommandError<PersonalTokenRefusal>> {
    let made: Vec<Uuid> = sqlx::query_scalar(
        "select token_id from log.personal_tokens token where account_id = $1 and exists ( \
             select from log.events where aggregate_type = $3 and aggregate_id = token.token_id::text and position < $2)",
    )
    .bind(account_id.uuid())
    .bind(position)
    .bind(PersonalToken::TYPE)
    .fetch_all(commands.pool())
    .await?;
    for token_id in made {
        finish(commands, token_id.into(), reason, Actor::System).await?;
    }
    Ok(())
}

/// Revokes the tokens whose time is over, and finishes those whose end was interrupted. Answers how many. To be called now
/// and then; several processes may do it at once.
///
/// # Errors
/// [`CommandError`] of the first that could not be revoked; those before it are.
pub async fn revoke_expired(commands: &Commands) -> Result<u64, CommandError<PersonalTokenRefusal>> {
    let mut total = 0;
    loop {
        let over: Vec<(Uuid, Option<String>)> = sqlx::query_as(
            "select token_id, revoke_reason from log.personal_tokens \
             where revoke_reason is not null or expires_at < now() limit $1",
        )
        .bind(SWEEP_LEN)
        .fetch_all(commands.pool())
        .await?;
        if over.is_empty() {
            return Ok(total);
        }
        for (token_id, reason) in over {
            let reason = reason.as_deref().map_or(PersonalTokenRevokedReason::Expired, reason_from);
            finish(commands, token_id.into(), reason, Actor::System).await?;
            total += 1;
        }
    }
}

async fn finish(
    commands: &Commands,
    token_id: PersonalTokenId,
    reason: PersonalTokenRevokedReason,
    actor: Actor,
) -> Result<i64, CommandError<PersonalTokenRefusal>> {
    finish_with(commands, token_id, reason, Metadata::new(actor)).await
}

/// Makes a token worthless, stores that it is, and forgets it. Whatever is interrupted in between is done again by
/// [`revoke_expired`].
async fn finish_with(
    commands: &Commands,
    token_id: PersonalTokenId,
    reason: PersonalTokenRevokedReason,
    metadata: Metadata,
) -> Result<i64, CommandError<PersonalTokenRefusal>> {
    sqlx::query("update log.personal_tokens set revoke_reason = $2 where token_id = $1 and revoke_reason is null")
        .bind(token_id.uuid())
        .bind(reason_text(reason))
        .execute(commands.pool())
        .await?;
    let command = PersonalTokenCommand::Revoke { reason };
    let position = match commands.execute::<PersonalToken>(&token_id.to_string(), command, metadata).await {
        Ok(committed) => committed.position,
        // Whoever made it did not get as far as the event.
        Err(CommandError::Refused(_)) => 0,
        // It is worthless already.
        Err(error) => return Err(error.after_storing()),
    };
    forget(commands, token_id).await.map_err(|error| CommandError::from(error).after_storing())?;
    Ok(position)
}

async fn forget(commands: &Commands, token_id: PersonalTokenId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.personal_tokens where token_id = $1")
        .bind(token_id.uuid())
        .execute(commands.pool())
        .await?;
    Ok(())
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn reason_text(reason: PersonalTokenRevokedReason) -> &'static str {
    match reason {
        PersonalTokenRevokedReason::Owner => "owner",
        PersonalTokenRevokedReason::Expired => "expired",
        PersonalTokenRevokedReason::AccountErased => "account_erased",
        PersonalTokenRevokedReason::AccountSuspended => "account_suspended",
        PersonalTokenRevokedReason::AdministratorRevoked => "administrator_revoked",
        PersonalTokenRevokedReason::PasswordChanged => "password_changed",
    }
}

fn reason_from(text: &str) -> PersonalTokenRevokedReason {
    match text {
        "owner" => PersonalTokenRevokedReason::Owner,
        "account_erased" => PersonalTokenRevokedReason::AccountErased,
        "account_suspended" => PersonalTokenRevokedReason::AccountSuspended,
        "administrator_revoked" => PersonalTokenRevokedReason::AdministratorRevoked,
        "password_changed" => PersonalTokenRevokedReason::PasswordChanged,
        _ => PersonalTokenRevokedReason::Expired,
    }
}

impl fmt::Debug for CreatedPersonalToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CreatedPersonalToken")
            .field("token_id", &self.token_id)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
