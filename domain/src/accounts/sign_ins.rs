//! Sign-ins that failed. Those that succeed are sessions.
//!
//! Whoever guesses passwords must not be able to fill the log: the first failure of an hour is told at once, and those
//! that follow together, when the hour is over.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{Aggregate, Claimed, Event, ids::AccountId, sealed::Sealed, timestamp};

/// What can be told of sign-ins to an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignInCommand {
    /// Some failed; what was told before is not told again.
    Fail {
        /// To whose account.
        account_id: AccountId,
        /// What was wrong.
        failure: SignInFailure,
        /// How many failed.
        count: u32,
        /// When the first of them was.
        first_at: OffsetDateTime,
        /// When the last of them was.
        last_at: OffsetDateTime,
        /// What the last one's browser calls itself, sealed for a while.
        user_agent: Sealed,
        /// The address that the last one came from, sealed for a while.
        address: Sealed,
    },
}

/// What was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SignInFailure {
    /// The password.
    WrongPassword,
    /// The code of the second factor; the password was right.
    WrongCode,
}

impl SignInFailure {
    /// As stored.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WrongPassword => "wrong_password",
            Self::WrongCode => "wrong_code",
        }
    }

    /// The failure that is stored so, if there is one.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::WrongPassword, Self::WrongCode].into_iter().find(|failure| failure.as_str() == text)
    }
}

/// What can have happened to sign-ins to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SignInEvent {
    /// Somebody could not sign in to an account, once or several times within an hour.
    Failed {
        /// To whose account.
        account_id: AccountId,
        /// What was wrong.
        failure: SignInFailure,
        /// How many failed.
        count: u32,
        /// What the last one's browser calls itself, sealed for a while.
        user_agent: Sealed,
        /// The address that the last one came from, sealed for a while.
        address: Sealed,
        /// When the first of them was.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        first_at: OffsetDateTime,
        /// When the last of them was.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        last_at: OffsetDateTime,
    },
}

impl SignInEvent {
    /// The stored names of all events of sign-ins.
    pub const TYPES: &[&'static str] = &["sign_in.failed"];

    /// To whose account.
    #[must_use]
    pub fn account_id(&self) -> AccountId {
        let Self::Failed { account_id, .. } = self;
        *account_id
    }
}

impl Event for SignInEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Failed { .. } => "sign_in.failed",
        }
    }
}

/// Sign-ins refuse nothing that is told of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignInRefusal {
    /// Never: they hold no name.
    #[error("sign-ins hold no name")]
    HoldsNoName,
}

/// The sign-ins to one account, by whose id they go.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIns {
    /// Up to when failures were told.
    told_until: BTreeMap<SignInFailure, OffsetDateTime>,
}

impl Aggregate for SignIns {
    const TYPE: &'static str = "sign_in";
    type Command = SignInCommand;
    type Event = SignInEvent;
    type Refusal = SignInRefusal;

    fn decide(&self, command: SignInCommand, _: OffsetDateTime) -> Result<Vec<SignInEvent>, SignInRefusal> {
        let SignInCommand::Fail { account_id, failure, count, first_at, last_at, user_agent, address } = command;
        if self.told_until.get(&failure).is_some_and(|told| last_at <= *told) {
            return Ok(Vec::new());
        }
        Ok(vec![SignInEvent::Failed { account_id, failure, count, user_agent, address, first_at, last_at }])
    }

    fn apply(&mut self, event: &SignInEvent) {
        let SignInEvent::Failed { failure, last_at, .. } = event;
        self.told_until.insert(*failure, *last_at);
    }

    fn claimed(_: Claimed) -> SignInRefusal {
        SignInRefusal::HoldsNoName
    }
}
