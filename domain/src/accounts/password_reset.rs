//! Password resets: that somebody asked for one. What it leads to is another password of the account.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use super::Language;
use crate::{Aggregate, Claimed, Event, ids::AccountId, sealed::Sealed, timestamp};

/// What can be told of the resets of an account's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordResetCommand {
    /// Mail a code by which another password can be chosen.
    Request {
        /// Whose password it is.
        account_id: AccountId,
        /// The confirmed address of the account, sealed.
        email: Sealed,
        /// The code, sealed.
        code: Sealed,
        /// The language of the mail.
        language: Language,
        /// When the code is worth nothing any more.
        expires_at: OffsetDateTime,
    },
}

/// What can have happened to the resets of an account's password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PasswordResetEvent {
    /// A code is mailed to the confirmed address of an account, by which another password can be chosen.
    Requested {
        /// Whose password it is.
        account_id: AccountId,
        /// The address, sealed.
        email: Sealed,
        /// The code, sealed; worth nothing after `expires_at`, once it was used, or once there is a later one.
        code: Sealed,
        /// The language of the mail.
        language: Language,
        /// When the code is worth nothing any more.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        expires_at: OffsetDateTime,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        requested_at: OffsetDateTime,
    },
}

impl PasswordResetEvent {
    /// The stored names of all events of a reset.
    pub const TYPES: &[&'static str] = &["password_reset.requested"];

    /// Whose password it is.
    #[must_use]
    pub fn account_id(&self) -> AccountId {
        let Self::Requested { account_id, .. } = self;
        *account_id
    }
}

impl Event for PasswordResetEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Requested { .. } => "password_reset.requested",
        }
    }
}

/// Why a reset says no: never so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PasswordResetRefusal {
    /// No name of a reset is unique.
    #[error("a reset holds no name")]
    Claimed,
}

/// The resets of an account's password as far as their rules need them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordReset {
    requested_at: Option<OffsetDateTime>,
}

impl PasswordReset {
    /// When one was last asked for.
    #[must_use]
    pub fn requested_at(&self) -> Option<OffsetDateTime> {
        self.requested_at
    }
}

impl Aggregate for PasswordReset {
    const TYPE: &'static str = "password_reset";
    type Command = PasswordResetCommand;
    type Event = PasswordResetEvent;
    type Refusal = PasswordResetRefusal;

    fn decide(
        &self,
        command: PasswordResetCommand,
        now: OffsetDateTime,
    ) -> Result<Vec<PasswordResetEvent>, PasswordResetRefusal> {
        let PasswordResetCommand::Request { account_id, email, code, language, expires_at } = command;
        Ok(vec![PasswordResetEvent::Requested { account_id, email, code, language, expires_at, requested_at: now }])
    }

    fn apply(&mut self, event: &PasswordResetEvent) {
        let PasswordResetEvent::Requested { requested_at, .. } = event;
        self.requested_at = Some(*requested_at);
    }

    fn claimed(_: Claimed) -> PasswordResetRefusal {
        PasswordResetRefusal::Claimed
    }
}
