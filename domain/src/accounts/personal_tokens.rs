use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::{Duration, OffsetDateTime};

use crate::{
    Aggregate, Claimed, Event, Invalid,
    ids::{AccountId, PersonalTokenId},
    invalid,
    sealed::Sealed,
    timestamp,
};

/// How long a personal token may be good for.
pub const PERSONAL_TOKEN_MAX_DAYS: u16 = 366;

/// What a personal token may do. It may never touch how its account signs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum PersonalTokenScope {
    /// Look at whatever its account may look at, stream keys excepted.
    #[serde(rename = "read")]
    Read,
    /// Create and edit channels, and what they keep.
    #[serde(rename = "channels:write")]
    ChannelsWrite,
    /// See and rotate stream keys.
    #[serde(rename = "stream_keys")]
    StreamKeys,
    /// Ask for exports of the log and delete them.
    #[serde(rename = "exports:write")]
    ExportsWrite,
}

impl PersonalTokenScope {
    /// All there are.
    pub const ALL: &[Self] = &[Self::Read, Self::ChannelsWrite, Self::StreamKeys, Self::ExportsWrite];

    /// As stored, and as clients write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::ChannelsWrite => "channels:write",
            Self::StreamKeys => "stream_keys",
            Self::ExportsWrite => "exports:write",
        }
    }

    /// The scope of this name, if there is one.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|scope| scope.as_str() == text)
    }
}

/// What a person calls a token of theirs: one line of 1 to 50 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalTokenName(String);

impl PersonalTokenName {
    /// A name as typed, trimmed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        invalid::text("name", text, (1, 50), false).map(Self)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a personal token can be told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PersonalTokenCommand {
    /// Make it.
    Create {
        /// The new token.
        token_id: PersonalTokenId,
        /// Whose it is.
        account_id: AccountId,
        /// What its owner calls it, sealed.
        name: Sealed,
        /// What it may do; not empty.
        scopes: Vec<PersonalTokenScope>,
        /// When it is worth nothing any more by itself.
        expires_at: OffsetDateTime,
    },
    /// It is worth nothing from now on; again is fine.
    Revoke {
        /// Why.
        reason: PersonalTokenRevokedReason,
    },
}

/// Why a personal token is worth nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PersonalTokenRevokedReason {
    /// Its owner wanted it.
    Owner,
    /// Its time was over.
    Expired,
    /// Its account was erased.
    AccountErased,
    /// Its account was suspended.
    AccountSuspended,
    /// Its account may not administer the platform any more.
    AdministratorRevoked,
    /// The password was reset, or changed and the owner wanted all other ways in closed.
    PasswordChanged,
}

/// What can have happened to a personal token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PersonalTokenEvent {
    /// An account made a token for a program of its own.
    Created {
        /// The token.
        token_id: PersonalTokenId,
        /// Whose it is.
        account_id: AccountId,
        /// What its owner calls it, sealed.
        name: Sealed,
        /// What it may do.
        scopes: Vec<PersonalTokenScope>,
        /// When it is worth nothing any more by itself.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        expires_at: OffsetDateTime,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        created_at: OffsetDateTime,
    },
    /// A token is worth nothing any more.
    Revoked {
        /// The token.
        token_id: PersonalTokenId,
        /// Whose it was.
        account_id: AccountId,
        /// Why.
        reason: PersonalTokenRevokedReason,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        revoked_at: OffsetDateTime,
    },
}

impl PersonalTokenEvent {
    /// The stored names of all events of a personal token.
    pub const TYPES: &[&'static str] = &["personal_token.created", "personal_token.revoked"];
}

impl Event for PersonalTokenEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Created { .. } => "personal_token.created",
            Self::Revoked { .. } => "personal_token.revoked",
        }
    }
}

/// Why a personal token says no.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PersonalTokenRefusal {
    /// This token was made before.
    #[error("the token already exists")]
    AlreadyExists,
    /// There is no such token.
    #[error("there is no such token")]
    Unknown,
    /// It could do nothing.
    #[error("a token needs at least one scope")]
    NoScope,
    /// It would be good for too long, or not at all.
    #[error("a token has to expire, within {PERSONAL_TOKEN_MAX_DAYS} days")]
    Expiry,
    /// The account has as many as it may have.
    #[error("the account has as many tokens as it may have")]
    TooMany,
    /// The session by which it was to be made has to end.
    #[error("the session by which the token was to be made has ended")]
    SessionEnded,
}

/// A personal token as far as its rules need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersonalToken {
    created: Option<(PersonalTokenId, AccountId)>,
    is_revoked: bool,
}

impl PersonalToken {
    /// Whose it is; `None` when there is no such token, or not any more.
    #[must_use]
    pub fn owner(&self) -> Option<AccountId> {
        self.created.filter(|_| !self.is_revoked).map(|(_, account_id)| account_id)
    }
}

impl Aggregate for PersonalToken {
    const TYPE: &'static str = "personal_token";
    type Command = PersonalTokenCommand;
    type Event = PersonalTokenEvent;
    type Refusal = PersonalTokenRefusal;

    fn decide(
        &self,
        command: PersonalTokenCommand,
        now: OffsetDateTime,
    ) -> Result<Vec<PersonalTokenEvent>, PersonalTokenRefusal> {
        match (command, self.created) {
            (PersonalTokenCommand::Create { .. }, Some(_)) => Err(PersonalTokenRefusal::AlreadyExists),
            (PersonalTokenCommand::Create { token_id, account_id, name, mut scopes, expires_at }, None) => {
                scopes.sort_unstable();
                scopes.dedup();
                if scopes.is_empty() {
                    return Err(PersonalTokenRefusal::NoScope);
                }
                if expires_at <= now || expires_at > now + Duration::days(PERSONAL_TOKEN_MAX_DAYS.into()) {
                    return Err(PersonalTokenRefusal::Expiry);
                }
                Ok(vec![PersonalTokenEvent::Created {
                    token_id,
                    account_id,
                    name,
                    scopes,
                    expires_at,
                    created_at: now,
                }])
            }
            (PersonalTokenCommand::Revoke { .. }, None) => Err(PersonalTokenRefusal::Unknown),
            (PersonalTokenCommand::Revoke { .. }, Some(_)) if self.is_revoked => Ok(Vec::new()),
            (PersonalTokenCommand::Revoke { reason }, Some((token_id, account_id))) => {
                Ok(vec![PersonalTokenEvent::Revoked { token_id, account_id, reason, revoked_at: now }])
            }
        }
    }

    fn apply(&mut self, event: &PersonalTokenEvent) {
        match event {
            PersonalTokenEvent::Created { token_id, account_id, .. } => self.created = Some((*token_id, *account_id)),
            PersonalTokenEvent::Revoked { .. } => self.is_revoked = true,
        }
    }

    fn claimed(_: Claimed) -> PersonalTokenRefusal {
        PersonalTokenRefusal::AlreadyExists
    }
}
