//! Sessions: devices on which an account is signed in, each with a refresh token that changes with every use.

use std::fmt;

use domain::{
    accounts::SessionRefusal,
    ids::{AccountId, SessionId},
};
use thiserror::Error;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{CommandError, Commands};

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
/// [`CommandError`]; never refused.
pub async fn open(
    commands: &Commands,
    account_id: AccountId,
    user_agent: &str,
    address: &str,
) -> Result<OpenedSession, CommandError<SessionRefusal>> {
    let _ = (commands, account_id, user_agent, address);
    todo!()
}

/// Goes on with a session for 30 days more and replaces its token. A token that was replaced before ends the session:
/// somebody else may hold a copy.
///
/// # Errors
/// [`CommandError::Refused`] when the session is over or the token was never one.
pub async fn refresh(commands: &Commands, token: &str) -> Result<OpenedSession, CommandError<SessionEnded>> {
    let _ = (commands, token);
    todo!()
}

/// Ends the session of a token; without effect when it has ended before or the token was never one.
///
/// # Errors
/// [`CommandError`]; never refused.
pub async fn end(commands: &Commands, token: &str) -> Result<(), CommandError<SessionRefusal>> {
    let _ = (commands, token);
    todo!()
}

/// Whether the session goes on.
///
/// # Errors
/// When the log does not answer.
pub async fn is_open(commands: &Commands, session_id: SessionId) -> Result<bool, sqlx::Error> {
    let _ = (commands, session_id);
    todo!()
}

/// Ends the sessions that were not used for too long, and finishes those whose end was interrupted. Answers how many.
/// To be called now and then; several processes may do it at once.
///
/// # Errors
/// [`CommandError`] of the first that could not be ended; those before it are.
pub async fn end_expired(commands: &Commands) -> Result<u64, CommandError<SessionRefusal>> {
    let _ = commands;
    todo!()
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
