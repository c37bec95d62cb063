use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{
    Aggregate, Claimed, Event,
    ids::{AccountId, SessionId},
    sealed::Sealed,
    timestamp,
};

/// What a session can be told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionCommand {
    /// Somebody signed in.
    Open {
        /// The new session.
        session_id: SessionId,
        /// Whose it is.
        account_id: AccountId,
        /// What the browser calls itself, sealed.
        user_agent: Sealed,
        /// The address it came from, sealed.
        address: Sealed,
    },
    /// Its tokens are worth nothing from now on.
    End {
        /// Why.
        reason: SessionEndReason,
    },
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SessionEndReason {
    /// Its owner signed out.
    SignedOut,
    /// It was not used for too long.
    Expired,
    /// A refresh token came back that had been replaced: somebody else may hold a copy.
    TokenReused,
    /// Its account was erased.
    AccountErased,
    /// Its owner ended it from another device.
    EndedByOwner,
    /// The password was changed, and the owner wanted all other devices signed out.
    PasswordChanged,
    /// Its owner asked for the account to be erased.
    ErasureRequested,
    /// Its account was suspended.
    AccountSuspended,
    /// Its account may not administer the platform any more: what was opened by that right has to end.
    AdministratorRevoked,
}

/// What can have happened to a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SessionEvent {
    /// An account signed in on a device.
    Opened {
        /// The session.
        session_id: SessionId,
        /// Whose it is.
        account_id: AccountId,
        /// What the browser calls itself, sealed.
        user_agent: Sealed,
        /// The address it came from, sealed.
        address: Sealed,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        opened_at: OffsetDateTime,
    },
    /// The device is signed out.
    Ended {
        /// The session.
        session_id: SessionId,
        /// Whose it was.
        account_id: AccountId,
        /// Why.
        reason: SessionEndReason,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        ended_at: OffsetDateTime,
    },
}

impl SessionEvent {
    /// The stored names of all events of a session.
    pub const TYPES: &[&'static str] = &["session.opened", "session.ended"];
}

impl Event for SessionEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "session.opened",
            Self::Ended { .. } => "session.ended",
        }
    }
}

/// Why a session says no.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SessionRefusal {
    /// This session was opened before.
    #[error("the session already exists")]
    AlreadyExists,
    /// There is no such session.
    #[error("there is no such session")]
    Unknown,
    /// It is over.
    #[error("the session has already ended")]
    AlreadyEnded,
    /// Its account was erased.
    #[error("the account no longer exists")]
    NoAccount,
    /// Its account is suspended.
    #[error("the account is suspended")]
    AccountSuspended,
}

/// A session as far as its rules need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    opened: Option<(SessionId, AccountId)>,
    has_ended: bool,
}

impl Session {
    /// Whose it is; `None` before it was opened.
    #[must_use]
    pub fn owner(&self) -> Option<AccountId> {
        self.opened.map(|(_, account_id)| account_id)
    }

    /// Whether it was opened and has not ended.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.opened.is_some() && !self.has_ended
    }
}

impl Aggregate for Session {
    const TYPE: &'static str = "session";
    type Command = SessionCommand;
    type Event = SessionEvent;
    type Refusal = SessionRefusal;

    fn decide(&self, command: SessionCommand, now: OffsetDateTime) -> Result<Vec<SessionEvent>, SessionRefusal> {
        match (command, self.opened) {
            (SessionCommand::Open { .. }, Some(_)) => Err(SessionRefusal::AlreadyExists),
            (SessionCommand::Open { session_id, account_id, user_agent, address }, None) => {
                Ok(vec![SessionEvent::Opened { session_id, account_id, user_agent, address, opened_at: now }])
            }
            (SessionCommand::End { .. }, None) => Err(SessionRefusal::Unknown),
            (SessionCommand::End { .. }, Some(_)) if self.has_ended => Err(SessionRefusal::AlreadyEnded),
            (SessionCommand::End { reason }, Some((session_id, account_id))) => {
                Ok(vec![SessionEvent::Ended { session_id, account_id, reason, ended_at: now }])
            }
        }
    }

    fn apply(&mut self, event: &SessionEvent) {
        match event {
            SessionEvent::Opened { session_id, account_id, .. } => self.opened = Some((*session_id, *account_id)),
            SessionEvent::Ended { .. } => self.has_ended = true,
        }
    }

    fn claimed(_: Claimed) -> SessionRefusal {
        SessionRefusal::AlreadyExists
    }
}
