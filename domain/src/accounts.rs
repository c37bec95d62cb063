//! Accounts: people who can sign in, and their sessions.

mod credentials;
mod sessions;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

pub use credentials::{Email, Password, Username};
pub use sessions::{Session, SessionCommand, SessionEndReason, SessionEvent, SessionRefusal};

use crate::{
    Aggregate, Claim, Claimed, Event,
    ids::{AccountId, SecretId},
    sealed::Sealed,
};

/// What an account can be told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountCommand {
    /// Make it.
    Register {
        /// The new account.
        account_id: AccountId,
        /// Its username, sealed.
        username: Sealed,
        /// The keyed digest by which the username is unique.
        username_digest: String,
        /// Its e-mail address, sealed; not unique before it is confirmed.
        email: Sealed,
        /// The hash of its password, in the vault.
        password: SecretId,
        /// The digest of the set-up token that makes it an administrator, if it came with one.
        setup_token_digest: Option<String>,
    },
}

/// What can have happened to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountEvent {
    /// A person registered.
    Registered {
        /// The account.
        account_id: AccountId,
        /// Its username, sealed.
        username: Sealed,
        /// The keyed digest by which the username is unique.
        username_digest: String,
        /// Its e-mail address, sealed.
        email: Sealed,
        /// The hash of its password, in the vault.
        password: SecretId,
        /// Whether it may administer the platform.
        is_administrator: bool,
        /// The digest of the set-up token that was used up, for an administrator; `None` for everybody else.
        setup_token_digest: Option<String>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        registered_at: OffsetDateTime,
    },
}

impl AccountEvent {
    /// The stored names of all events of an account.
    pub const TYPES: &[&'static str] = &["account.registered"];
}

impl Event for AccountEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "account.registered",
        }
    }

    fn claims(&self) -> Vec<Claim> {
        match self {
            Self::Registered { username_digest, setup_token_digest, .. } => {
                let username = Claim::Take { kind: Claimed::Username, name: username_digest.clone() };
                let setup_token =
                    setup_token_digest.clone().map(|digest| Claim::Take { kind: Claimed::SetupToken, name: digest });
                std::iter::once(username).chain(setup_token).collect()
            }
        }
    }
}

/// Why an account says no.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AccountRefusal {
    /// Somebody else has this username.
    #[error("the username is taken; choose another")]
    UsernameTaken,
    /// The set-up token was used before.
    #[error("the set-up token was already used")]
    SetupTokenUsed,
    /// This account was registered before.
    #[error("the account already exists")]
    AlreadyExists,
}

/// An account as far as its rules need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    registered: Option<Registered>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Registered {
    password: SecretId,
    is_administrator: bool,
}

impl Account {
    /// Where the hash of its password is, in the vault; `None` before it exists.
    #[must_use]
    pub fn password(&self) -> Option<SecretId> {
        self.registered.as_ref().map(|registered| registered.password)
    }

    /// Whether it may administer the platform.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.registered.as_ref().is_some_and(|registered| registered.is_administrator)
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Refusal = AccountRefusal;

    fn decide(&self, command: AccountCommand, now: OffsetDateTime) -> Result<Vec<AccountEvent>, AccountRefusal> {
        let AccountCommand::Register { account_id, username, username_digest, email, password, setup_token_digest } =
            command;
        if self.registered.is_some() {
            return Err(AccountRefusal::AlreadyExists);
        }
        Ok(vec![AccountEvent::Registered {
            account_id,
            username,
            username_digest,
            email,
            password,
            is_administrator: setup_token_digest.is_some(),
            setup_token_digest,
            registered_at: now,
        }])
    }

    fn apply(&mut self, event: &AccountEvent) {
        let AccountEvent::Registered { password, is_administrator, .. } = event;
        self.registered = Some(Registered { password: *password, is_administrator: *is_administrator });
    }

    fn claimed(claimed: Claimed) -> AccountRefusal {
        match claimed {
            Claimed::SetupToken => AccountRefusal::SetupTokenUsed,
            Claimed::Username | Claimed::Handle | Claimed::LiveStream => AccountRefusal::UsernameTaken,
        }
    }
}
