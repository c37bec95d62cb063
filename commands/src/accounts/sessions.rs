//! Sessions: devices on which an account is signed in, each with a refresh token that changes with every use.
//!
//! A token is the session's id, its generation, and a MAC over both and the session's salt under the digest key. So the
//! database alone gives nobody a token, any token of a session that was ever valid is told from a made-up one, and two
//! tabs that refresh at once get the same successor.

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    Aggregate,
    accounts::{Account, Session, SessionCommand, SessionEndReason, SessionRefusal},
    ids::{AccountId, SessionId},
};
use sqlx::FromRow;
use subtle::ConstantTimeEq;
use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    CredentialsWrong, Verified,
    suspension::{self, Standing},
};
use crate::{Actor, CommandError, Commands, Metadata, master_keys::random};

/// How many sessions a sweep ends between two statements.
const SWEEP_LEN: i64 = 500;

/// A session with its current refresh token.
pub struct OpenedSession {
    /// The session.
    pub session_id: SessionId,
    /// Whose it is.
    pub account_id: AccountId,
    /// The secret with which it goes on; each works once (and ten seconds longer, for tabs that ask at once).
    pub refresh_token: Zeroizing<String>,
    /// When the session ends unless it is refreshed before.
    pub expires_at: OffsetDateTime,
}

/// The session has ended, expired or never was: sign in again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the session has ended; sign in again")]
pub struct SessionEnded;

/// Opens a session for an account whose credentials were checked.
///
/// # Errors
/// [`CommandError`]; refused only as `SessionRefusal::NoAccount` or `AccountSuspended`, when the account was erased or
/// suspended meanwhile.
pub async fn open(
    commands: &Commands,
    account_id: AccountId,
    user_agent: &str,
    address: &str,
) -> Result<OpenedSession, CommandError<SessionRefusal>> {
    let session_id = SessionId::from(Uuid::now_v7());
    let user_agent = commands.account_keys().seal_for_a_while(account_id, user_agent).await?;
    let address = commands.account_keys().seal_for_a_while(account_id, address).await?;
    let salt = random::<16>();
    // The row first: without its event it is swept, while an event without its row would stay open for ever.
    let expires_at: OffsetDateTime = sqlx::query_scalar(
        "insert into log.sessions (session_id, account_id, salt, expires_at) \
         values ($1, $2, $3, now() + interval '30 days') returning expires_at",
    )
    .bind(session_id.uuid())
    .bind(account_id.uuid())
    .bind(salt)
    .fetch_one(commands.pool())
    .await?;
    let command = SessionCommand::Open { session_id, account_id, user_agent, address };
    commands.execute::<Session>(&session_id.to_string(), command, Metadata::new(Actor::Account(account_id))).await?;
    end_if_kept_out(commands, account_id, session_id).await.map_err(CommandError::after_storing)?;
    let refresh_token = Token { session_id, generation: 0 }.sign(commands, &salt);
    Ok(OpenedSession { session_id, account_id, refresh_token, expires_at })
}

/// Ends a new session of an account that was erased or suspended meanwhile, and refuses it. Whoever does that looks for sessions
/// after the event that is looked for here, so one of the two finds the other.
async fn end_if_kept_out(
    commands: &Commands,
    account_id: AccountId,
    session_id: SessionId,
) -> Result<(), CommandError<SessionRefusal>> {
    let (reason, refusal) = match suspension::standing(commands, account_id).await? {
        Standing::Good => return Ok(()),
        Standing::Erased => (SessionEndReason::AccountErased, SessionRefusal::NoAccount),
        Standing::Suspended => (SessionEndReason::AccountSuspended, SessionRefusal::AccountSuspended),
    };
    finish(commands, session_id, reason, Actor::System).await?;
    Err(CommandError::Refused(refusal))
}

/// The same for somebody whose username and password were right a moment ago, unless they have another password by now: who
/// changes it and ends the other sessions means one that is being opened, too.
///
/// # Errors
/// [`CommandError::Refused`] when the password was changed or the account erased meanwhile.
pub async fn open_for(
    commands: &Commands,
    verified: Verified,
    user_agent: &str,
    address: &str,
) -> Result<OpenedSession, CommandError<CredentialsWrong>> {
    let wrong = |error: CommandError<SessionRefusal>| error.map_refused(|_| CredentialsWrong);
    let opened = open(commands, verified.account_id, user_agent, address).await.map_err(wrong)?;
    end_if_outdated(commands, verified, opened.session_id).await.map_err(CommandError::after_storing)?;
    Ok(opened)
}

/// Ends a new session that was opened with a password of before, and refuses it. Who changes a password looks for sessions after the
/// event that is looked for here, so one of the two finds the other.
async fn end_if_outdated(
    commands: &Commands,
    verified: Verified,
    session_id: SessionId,
) -> Result<(), CommandError<CredentialsWrong>> {
    let account = commands.load::<Account>(&verified.account_id.to_string()).await?;
    if account.and_then(|(account, _)| account.password()) == Some(verified.password) {
        return Ok(());
    }
    let ended = finish(commands, session_id, SessionEndReason::PasswordChanged, Actor::System).await;
    ended.map_err(|error| error.map_refused(|_| CredentialsWrong))?;
    Err(CommandError::Refused(CredentialsWrong))
}

/// Goes on with a session for 30 days more, but not beyond half a year after it was opened, and replaces its token. A token
/// that was replaced before ends the session: somebody else may hold a copy.
///
/// # Errors
/// [`CommandError::Refused`] when the session is over or the token was never one.
pub async fn refresh(commands: &Commands, token: &str) -> Result<OpenedSession, CommandError<SessionEnded>> {
    let ended = || CommandError::Refused(SessionEnded);
    loop {
        let (token, row) = recognise(commands, token).await?.ok_or_else(ended)?;
        if !row.is_live {
            return Err(ended());
        }
        let session_id = token.session_id;
        let (generation, expires_at) = if token.generation == row.generation {
            let rotated: Option<(i64, OffsetDateTime)> = sqlx::query_as(
                "update log.sessions set generation = generation + 1, rotated_at = now(), \
                     expires_at = least(now() + interval '30 days', opened_at + interval '180 days') \
                 where session_id = $1 and generation = $2 and end_reason is null and expires_at > now() \
                 returning generation, expires_at",
            )
            .bind(session_id.uuid())
            .bind(row.generation)
            .fetch_optional(commands.pool())
            .await?;
            match rotated {
                Some(rotated) => rotated,
                // Another tab was faster; look again.
                None => continue,
            }
        } else if token.generation + 1 == row.generation && row.is_just_rotated {
            (row.generation, row.expires_at)
        } else if token.generation < row.generation {
            tracing::warn!(session.id = %session_id, "a refresh token came back that had been replaced");
            finish(commands, session_id, SessionEndReason::TokenReused, Actor::System)
                .await
                .map_err(|error| error.map_refused(|_| SessionEnded))?;
            return Err(ended());
        } else {
            // From the future: the database was restored to an earlier state.
            return Err(ended());
        };
        let refresh_token = Token { session_id, generation }.sign(commands, &row.salt);
        return Ok(OpenedSession { session_id, account_id: row.account_id.into(), refresh_token, expires_at });
    }
}

/// Ends the session of a token; without effect when it has ended before or the token was never one.
///
/// # Errors
/// [`CommandError`]; never refused.
pub async fn end(commands: &Commands, token: &str) -> Result<(), CommandError<SessionRefusal>> {
    match recognise(commands, token).await? {
        Some((token, row)) => {
            let actor = Actor::Account(row.account_id.into());
            finish(commands, token.session_id, SessionEndReason::SignedOut, actor).await?;
            Ok(())
        }
        None => Ok(()),
    }
}

/// When the open sessions of an account were last used, to the quarter of an hour for which an access token is good.
///
/// # Errors
/// When the log does not answer.
pub async fn last_used(
    commands: &Commands,
    account_id: AccountId,
) -> Result<Vec<(SessionId, OffsetDateTime)>, sqlx::Error> {
    let used: Vec<(Uuid, OffsetDateTime)> = sqlx::query_as(
        "select session_id, rotated_at from log.sessions \
         where account_id = $1 and end_reason is null and expires_at > now()",
    )
    .bind(account_id.uuid())
    .fetch_all(commands.pool())
    .await?;
    Ok(used.into_iter().map(|(id, used_at)| (id.into(), used_at)).collect())
}

/// Ends a session of `account_id`, from whatever device; again is fine. Answers a position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] with `SessionRefusal::Unknown` when the account never had such a session.
pub async fn end_one(
    commands: &Commands,
    account_id: AccountId,
    session_id: SessionId,
) -> Result<i64, CommandError<SessionRefusal>> {
    let session = commands.load::<Session>(&session_id.to_string()).await?;
    match session {
        Some((session, _)) if session.owner() == Some(account_id) => {}
        _ => return Err(CommandError::Refused(SessionRefusal::Unknown)),
    }
    finish(commands, session_id, SessionEndReason::EndedByOwner, Actor::Account(account_id)).await
}

/// Ends all sessions of `account_id` but `kept`. Answers a position at which the log shows it; 0 when there was none.
///
/// # Errors
/// [`CommandError`]; never refused.
pub async fn end_others(
    commands: &Commands,
    account_id: AccountId,
    kept: SessionId,
    reason: SessionEndReason,
) -> Result<i64, CommandError<SessionRefusal>> {
    end_all(commands, account_id, Some(kept), reason, Actor::Account(account_id)).await
}

/// Whether the session goes on.
///
/// # Errors
/// When the log does not answer.
pub async fn is_open(commands: &Commands, session_id: SessionId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from log.sessions \
         where session_id = $1 and end_reason is null and expires_at > now())",
    )
    .bind(session_id.uuid())
    .fetch_one(commands.pool())
    .await
}

/// Ends the sessions that were not used for too long, and finishes those whose end was interrupted. Answers how many.
/// To be called now and then; several processes may do it at once.
///
/// # Errors
/// [`CommandError`] of the first that could not be ended; those before it are.
pub async fn end_expired(commands: &Commands) -> Result<u64, CommandError<SessionRefusal>> {
    let mut total = 0;
    loop {
        let over: Vec<(Uuid, Option<String>)> = sqlx::query_as(
            "select session_id, end_reason from log.sessions where end_reason is not null or expires_at < now() limit $1",
        )
        .bind(SWEEP_LEN)
        .fetch_all(commands.pool())
        .await?;
        if over.is_empty() {
            return Ok(total);
        }
        for (session_id, reason) in over {
            let reason = reason.as_deref().map_or(SessionEndReason::Expired, reason_from);
            finish(commands, session_id.into(), reason, Actor::System).await?;
            total += 1;
        }
    }
}

/// Ends all sessions of an account, but `kept` if there is one. Answers where the last event of it is, 0 where nothing was
/// to be done.
///
/// # Errors
/// [`CommandError`] of the first that could not be ended; those before it are.
pub(crate) async fn end_all(
    commands: &Commands,
    account_id: AccountId,
    kept: Option<SessionId>,
    reason: SessionEndReason,
    actor: Actor,
) -> Result<i64, CommandError<SessionRefusal>> {
    let mut position = 0;
    let kept = kept.map(SessionId::uuid);
    let mut has_begun = false;
    let failed = |error: sqlx::Error, has_begun: bool| {
        let error = CommandError::from(error);
        if has_begun { error.after_storing() } else { error }
    };
    loop {
        let open: Vec<Uuid> = sqlx::query_scalar(
            "select session_id from log.sessions where account_id = $1 and session_id is distinct from $3 limit $2",
        )
        .bind(account_id.uuid())
        .bind(SWEEP_LEN)
        .bind(kept)
        .fetch_all(commands.pool())
        .await
        .map_err(|error| failed(error, has_begun))?;
        if open.is_empty() {
            return Ok(position);
        }
        // All at once: what follows is an event for each.
        sqlx::query(
            "update log.sessions set end_reason = $2 \
             where account_id = $1 and end_reason is null and session_id is distinct from $3",
        )
        .bind(account_id.uuid())
        .bind(reason_text(reason))
        .bind(kept)
        .execute(commands.pool())
        .await
        .map_err(|error| failed(error, has_begun))?;
        has_begun = true;
        for session_id in open {
            let finished = finish(commands, session_id.into(), reason, actor).await;
            position = position.max(finished.map_err(CommandError::after_storing)?);
        }
    }
}

/// Ends the sessions of an account that were opened before the event at `position`, as `actor` wanted by it, but `kept` if there is
/// one. Positions are compared, and no clocks: one that is being opened looks at the account after its own event.
pub(super) async fn end_before(
    commands: &Commands,
    account_id: AccountId,
    position: i64,
    kept: Option<SessionId>,
    reason: SessionEndReason,
    actor: Actor,
) -> Result<(), CommandError<SessionRefusal>> {
    let opened: Vec<Uuid> = sqlx::query_scalar(
        "select session_id from log.sessions session \
         where account_id = $1 and session_id is distinct from $4 and exists ( \
             select from log.events where aggregate_type = $3 and aggregate_id = session.session_id::text and position < $2)",
    )
    .bind(account_id.uuid())
    .bind(position)
    .bind(Session::TYPE)
    .bind(kept.map(SessionId::uuid))
    .fetch_all(commands.pool())
    .await?;
    for session_id in opened {
        finish(commands, session_id.into(), reason, actor).await?;
    }
    Ok(())
}

/// Makes the tokens of a session worthless, stores that it ended, and forgets it. Answers where in the log that is, 0 where
/// it was there before. Whatever is interrupted in between is
/// done again by [`end_expired`].
async fn finish(
    commands: &Commands,
    session_id: SessionId,
    reason: SessionEndReason,
    actor: Actor,
) -> Result<i64, CommandError<SessionRefusal>> {
    sqlx::query("update log.sessions set end_reason = $2 where session_id = $1 and end_reason is null")
        .bind(session_id.uuid())
        .bind(reason_text(reason))
        .execute(commands.pool())
        .await?;
    let command = SessionCommand::End { reason };
    let position = match commands.execute::<Session>(&session_id.to_string(), command, Metadata::new(actor)).await {
        Ok(committed) => committed.position,
        // Unknown: whoever opened it did not get as far as the event. Or it has ended before.
        Err(CommandError::Refused(_)) => 0,
        // Its tokens are worthless already.
        Err(error) => return Err(error.after_storing()),
    };
    let forgotten = sqlx::query("delete from log.sessions where session_id = $1")
        .bind(session_id.uuid())
        .execute(commands.pool())
        .await;
    forgotten.map_err(|error| CommandError::from(error).after_storing())?;
    Ok(position)
}

fn reason_text(reason: SessionEndReason) -> &'static str {
    match reason {
        SessionEndReason::SignedOut => "signed_out",
        SessionEndReason::Expired => "expired",
        SessionEndReason::TokenReused => "token_reused",
        SessionEndReason::AccountErased => "account_erased",
        SessionEndReason::EndedByOwner => "ended_by_owner",
        SessionEndReason::PasswordChanged => "password_changed",
        SessionEndReason::ErasureRequested => "erasure_requested",
        SessionEndReason::AccountSuspended => "account_suspended",
        SessionEndReason::AdministratorRevoked => "administrator_revoked",
    }
}

fn reason_from(text: &str) -> SessionEndReason {
    match text {
        "signed_out" => SessionEndReason::SignedOut,
        "token_reused" => SessionEndReason::TokenReused,
        "account_erased" => SessionEndReason::AccountErased,
        "ended_by_owner" => SessionEndReason::EndedByOwner,
        "password_changed" => SessionEndReason::PasswordChanged,
        "erasure_requested" => SessionEndReason::ErasureRequested,
        "account_suspended" => SessionEndReason::AccountSuspended,
        "administrator_revoked" => SessionEndReason::AdministratorRevoked,
        _ => SessionEndReason::Expired,
    }
}

#[derive(FromRow)]
struct SessionRow {
    account_id: Uuid,
    salt: Vec<u8>,
    generation: i64,
    expires_at: OffsetDateTime,
    is_live: bool,
    is_just_rotated: bool,
}

/// The token and its session, if the token was ever one of it.
async fn recognise(commands: &Commands, text: &str) -> Result<Option<(Token, SessionRow)>, sqlx::Error> {
    let Some((token, mac)) = Token::parse(text) else {
        return Ok(None);
    };
    let row: Option<SessionRow> = sqlx::query_as(
        "select account_id, salt, generation, expires_at, end_reason is null and expires_at > now() as is_live, \
             rotated_at > now() - interval '10 seconds' as is_just_rotated \
         from log.sessions where session_id = $1",
    )
    .bind(token.session_id.uuid())
    .fetch_optional(commands.pool())
    .await?;
    let row = row.filter(|row| bool::from(token.mac(commands, &row.salt).ct_eq(&mac)));
    Ok(row.map(|row| (token, row)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Token {
    session_id: SessionId,
    /// How many tokens of the session came before.
    generation: i64,
}

impl Token {
    fn parse(text: &str) -> Option<(Self, [u8; 32])> {
        let bytes: [u8; 56] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (session_id, rest) = bytes.split_first_chunk::<16>()?;
        let (generation, mac) = rest.split_first_chunk::<8>()?;
        let token =
            Self { session_id: Uuid::from_bytes(*session_id).into(), generation: i64::from_be_bytes(*generation) };
        Some((token, mac.try_into().ok()?))
    }

    fn sign(self, commands: &Commands, salt: &[u8]) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([0; 56]);
        bytes[..16].copy_from_slice(self.session_id.uuid().as_bytes());
        bytes[16..24].copy_from_slice(&self.generation.to_be_bytes());
        bytes[24..].copy_from_slice(&self.mac(commands, salt));
        Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()))
    }

    fn mac(self, commands: &Commands, salt: &[u8]) -> [u8; 32] {
        commands.keys().digest(&[
            b"refresh_token",
            self.session_id.uuid().as_bytes(),
            &self.generation.to_be_bytes(),
            salt,
        ])
    }
}

impl fmt::Debug for OpenedSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OpenedSession")
            .field("session_id", &self.session_id)
            .field("account_id", &self.account_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}
