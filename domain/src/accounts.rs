//! Accounts: people who can sign in, and their sessions.

mod credentials;
mod personal_tokens;
mod sessions;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

pub use credentials::{Email, Password, Username};
pub use personal_tokens::{
    PERSONAL_TOKEN_MAX_DAYS, PersonalToken, PersonalTokenCommand, PersonalTokenEvent, PersonalTokenName,
    PersonalTokenRefusal, PersonalTokenRevokedReason, PersonalTokenScope,
};
pub use sessions::{Session, SessionCommand, SessionEndReason, SessionEvent, SessionRefusal};

use crate::{
    Aggregate, Claim, Claimed, Event,
    ids::{AccountId, SecretId},
    sealed::Sealed,
    timestamp,
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
    /// Forget the person; again is fine.
    Erase {
        /// Who asks: the person, or `None` for the operator.
        by: Option<AccountId>,
        /// Whether it may be done to the only administrator, too, after which a set-up token makes a new one.
        even_administrator: bool,
    },
}

/// What can have happened to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
        /// The digest of the set-up token that was used up, for an administrator; `null` for everybody else.
        setup_token_digest: Option<String>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        registered_at: OffsetDateTime,
    },
    /// A person was forgotten: the key of the account is destroyed, and its username is free.
    Erased {
        /// The account.
        account_id: AccountId,
        /// The keyed digest of the username that is free now.
        username_digest: String,
        /// The digest of the set-up token that the account was made with, for an administrator: another may be made now.
        setup_token_digest: Option<String>,
        /// Who asked for it; `null` for the operator.
        by: Option<AccountId>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        erased_at: OffsetDateTime,
    },
}

impl AccountEvent {
    /// The stored names of all events of an account.
    pub const TYPES: &[&'static str] = &["account.registered", "account.erased"];
}

impl Event for AccountEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "account.registered",
            Self::Erased { .. } => "account.erased",
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
            Self::Erased { username_digest, setup_token_digest, .. } => {
                let username = Claim::Release { kind: Claimed::Username, name: username_digest.clone() };
                let setup_token =
                    setup_token_digest.clone().map(|digest| Claim::Release { kind: Claimed::SetupToken, name: digest });
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
    /// There is no such account, or not any more.
    #[error("there is no such account")]
    Unknown,
    /// Nobody could administer the platform any more.
    #[error("this account is the only administrator's; the operator can erase it on the command line")]
    OnlyAdministrator,
}

/// An account as far as its rules need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    registered: Option<Registered>,
    is_erased: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Registered {
    account_id: AccountId,
    username_digest: String,
    password: SecretId,
    is_administrator: bool,
    setup_token_digest: Option<String>,
}

impl Account {
    /// Where the hash of its password is, in the vault; `None` before it exists and after its erasure.
    #[must_use]
    pub fn password(&self) -> Option<SecretId> {
        self.active().map(|registered| registered.password)
    }

    /// Whether somebody can sign in to it: it was registered and not erased.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active().is_some()
    }

    /// Whether the person was forgotten.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.is_erased
    }

    /// The digest of the set-up token that it was made with, if it is an administrator's.
    #[must_use]
    pub fn setup_token_digest(&self) -> Option<&str> {
        self.active()?.setup_token_digest.as_deref()
    }

    /// Whether it may administer the platform.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.active().is_some_and(|registered| registered.is_administrator)
    }

    fn active(&self) -> Option<&Registered> {
        self.registered.as_ref().filter(|_| !self.is_erased)
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    type Command = AccountCommand;
    type Event = AccountEvent;
    type Refusal = AccountRefusal;

    fn decide(&self, command: AccountCommand, now: OffsetDateTime) -> Result<Vec<AccountEvent>, AccountRefusal> {
        match command {
            AccountCommand::Register { .. } if self.registered.is_some() => Err(AccountRefusal::AlreadyExists),
            AccountCommand::Register { account_id, username, username_digest, email, password, setup_token_digest } => {
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
            AccountCommand::Erase { .. } if self.is_erased => Ok(Vec::new()),
            AccountCommand::Erase { by, even_administrator } => {
                let registered = self.registered.as_ref().ok_or(AccountRefusal::Unknown)?;
                if registered.is_administrator && !even_administrator {
                    return Err(AccountRefusal::OnlyAdministrator);
                }
                Ok(vec![AccountEvent::Erased {
                    account_id: registered.account_id,
                    username_digest: registered.username_digest.clone(),
                    setup_token_digest: registered.setup_token_digest.clone(),
                    by,
                    erased_at: now,
                }])
            }
        }
    }

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Registered {
                account_id,
                username_digest,
                password,
                is_administrator,
                setup_token_digest,
                ..
            } => {
                self.registered = Some(Registered {
                    account_id: *account_id,
                    username_digest: username_digest.clone(),
                    password: *password,
                    is_administrator: *is_administrator,
                    setup_token_digest: setup_token_digest.clone(),
                });
            }
            AccountEvent::Erased { .. } => self.is_erased = true,
        }
    }

    fn claimed(claimed: Claimed) -> AccountRefusal {
        match claimed {
            Claimed::SetupToken => AccountRefusal::SetupTokenUsed,
            Claimed::Username | Claimed::Handle | Claimed::LiveStream | Claimed::RecordedStream => {
                AccountRefusal::UsernameTaken
            }
        }
    }
}
