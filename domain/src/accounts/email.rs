//! The e-mail address of an account: whether it is confirmed, and how it becomes another one.
//!
//! Nothing about it is decided by codes here: whether the right one came back shows before a command is given. What is decided is to
//! whom an address belongs, which is to whoever confirms it first (docs/adr/0008).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use super::Language;
use crate::{Aggregate, Claim, Claimed, Event, ids::AccountId, sealed::Sealed, timestamp};

/// What can be told of the address of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EmailCommand {
    /// Mail a code to the address, that shows whose it is.
    RequestConfirmation {
        /// Whose it is.
        account_id: AccountId,
        /// The address, sealed.
        email: Sealed,
        /// The code, sealed.
        code: Sealed,
        /// The language of the mail.
        language: Language,
        /// When the code is worth nothing any more.
        expires_at: OffsetDateTime,
    },
    /// The code came back.
    Confirm {
        /// Whose it is.
        account_id: AccountId,
        /// The address, sealed.
        email: Sealed,
        /// The keyed digest by which a confirmed address is unique.
        email_digest: String,
    },
    /// Mail a code to another address, and one to the present one where that is confirmed.
    RequestChange {
        /// Whose it is.
        account_id: AccountId,
        /// The address to be, sealed.
        wanted: Sealed,
        /// The code for it, sealed.
        wanted_code: Sealed,
        /// The keyed digest of the address to be.
        wanted_digest: String,
        /// The code for the present address, sealed; `None` where that is not confirmed.
        present_code: Option<Sealed>,
        /// The language of the mails.
        language: Language,
        /// When the codes are worth nothing any more.
        expires_at: OffsetDateTime,
    },
    /// The codes came back.
    Change {
        /// Whose it is.
        account_id: AccountId,
        /// The address to be, sealed as it was when the change was asked for.
        email: Sealed,
        /// The keyed digest by which it is unique.
        email_digest: String,
    },
    /// The account was erased; again is fine.
    Release {
        /// Whose it was.
        account_id: AccountId,
    },
}

/// What can have happened to the address of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EmailEvent {
    /// A code is mailed to the address of an account, so that whoever reads it can show that it is theirs.
    ConfirmationRequested {
        /// Whose it is.
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
    /// The address of an account is confirmed: no other account can have it as a confirmed one.
    Confirmed {
        /// Whose it is.
        account_id: AccountId,
        /// The address, sealed.
        email: Sealed,
        /// The keyed digest by which it is unique.
        email_digest: String,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        confirmed_at: OffsetDateTime,
    },
    /// Codes are mailed to the address of an account and to the one that it is to be.
    ChangeRequested {
        /// Whose it is.
        account_id: AccountId,
        /// The address to be, sealed.
        wanted: Sealed,
        /// The code for it, sealed; worth nothing after `expires_at`, once it was used, or once there is a later one.
        wanted_code: Sealed,
        /// The present address, sealed; `null` where it is not confirmed, and nothing is mailed there.
        present: Option<Sealed>,
        /// The code for it, sealed; `null` where there is none.
        present_code: Option<Sealed>,
        /// The language of the mails.
        language: Language,
        /// When the codes are worth nothing any more.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        expires_at: OffsetDateTime,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        requested_at: OffsetDateTime,
    },
    /// An account has another address, which is confirmed.
    Changed {
        /// Whose it is.
        account_id: AccountId,
        /// The address, sealed.
        email: Sealed,
        /// The keyed digest by which it is unique.
        email_digest: String,
        /// The address of before, sealed; `null` where it was not confirmed.
        former: Option<Sealed>,
        /// The keyed digest of the address of before, which is free now; `null` where it was not confirmed.
        former_digest: Option<String>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        changed_at: OffsetDateTime,
    },
    /// The account was erased, and its address can be confirmed by another one.
    Released {
        /// Whose it was.
        account_id: AccountId,
        /// The keyed digest of the address that is free now; `null` where it was not confirmed.
        email_digest: Option<String>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        released_at: OffsetDateTime,
    },
}

impl EmailEvent {
    /// The stored names of all events of an address.
    pub const TYPES: &[&'static str] = &[
        "email.confirmation_requested",
        "email.confirmed",
        "email.change_requested",
        "email.changed",
        "email.released",
    ];

    /// Whose it is.
    #[must_use]
    pub fn account_id(&self) -> AccountId {
        match self {
            Self::ConfirmationRequested { account_id, .. }
            | Self::Confirmed { account_id, .. }
            | Self::ChangeRequested { account_id, .. }
            | Self::Changed { account_id, .. }
            | Self::Released { account_id, .. } => *account_id,
        }
    }
}

impl Event for EmailEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::ConfirmationRequested { .. } => "email.confirmation_requested",
            Self::Confirmed { .. } => "email.confirmed",
            Self::ChangeRequested { .. } => "email.change_requested",
            Self::Changed { .. } => "email.changed",
            Self::Released { .. } => "email.released",
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let take = |digest: &String| Claim::Take { kind: Claimed::Email, name: digest.clone() };
        let release = |digest: &String| Claim::Release { kind: Claimed::Email, name: digest.clone() };
        match self {
            Self::Confirmed { email_digest, .. } => vec![take(email_digest)],
            Self::Changed { email_digest, former_digest, .. } => {
                former_digest.iter().map(release).chain([take(email_digest)]).collect()
            }
            Self::Released { email_digest, .. } => email_digest.iter().map(release).collect(),
            Self::ConfirmationRequested { .. } | Self::ChangeRequested { .. } => Vec::new(),
        }
    }
}

/// Why an address says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EmailRefusal {
    /// Another account has confirmed this address.
    #[error("another account has confirmed this address")]
    Taken,
    /// It is confirmed already.
    #[error("the address is confirmed already")]
    AlreadyConfirmed,
    /// It is the present one already.
    #[error("the account has this address already")]
    Unchanged,
    /// No change to this address was asked for.
    #[error("no change to this address was asked for")]
    NotRequested,
    /// There is no such account, or not any more.
    #[error("there is no such account")]
    Unknown,
}

/// The e-mail address of an account as far as its rules need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountEmail {
    confirmed: Option<ConfirmedEmail>,
    /// The address to which a change was asked for last.
    wanted: Option<Sealed>,
    language: Option<Language>,
    is_released: bool,
    has_begun: bool,
}

/// A confirmed address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfirmedEmail {
    /// The address, sealed.
    pub email: Sealed,
    /// The keyed digest by which it is unique.
    pub digest: String,
}

impl AccountEmail {
    /// The address, once it is confirmed.
    #[must_use]
    pub fn confirmed(&self) -> Option<&ConfirmedEmail> {
        self.confirmed.as_ref().filter(|_| !self.is_released)
    }

    /// The address to which a change was asked for last, sealed.
    #[must_use]
    pub fn wanted(&self) -> Option<&Sealed> {
        self.wanted.as_ref().filter(|_| !self.is_released)
    }

    /// In which language the account is written to, if it ever said so.
    #[must_use]
    pub fn language(&self) -> Option<Language> {
        self.language
    }
}

impl Aggregate for AccountEmail {
    const TYPE: &'static str = "email";
    type Command = EmailCommand;
    type Event = EmailEvent;
    type Refusal = EmailRefusal;

    fn decide(&self, command: EmailCommand, now: OffsetDateTime) -> Result<Vec<EmailEvent>, EmailRefusal> {
        let event = match command {
            EmailCommand::Release { .. } if self.is_released || !self.has_begun => return Ok(Vec::new()),
            EmailCommand::Release { account_id } => EmailEvent::Released {
                account_id,
                email_digest: self.confirmed.as_ref().map(|confirmed| confirmed.digest.clone()),
                released_at: now,
            },
            _ if self.is_released => return Err(EmailRefusal::Unknown),
            EmailCommand::RequestConfirmation { .. } | EmailCommand::Confirm { .. } if self.confirmed.is_some() => {
                return Err(EmailRefusal::AlreadyConfirmed);
            }
            EmailCommand::RequestConfirmation { account_id, email, code, language, expires_at } => {
                EmailEvent::ConfirmationRequested { account_id, email, code, language, expires_at, requested_at: now }
            }
            EmailCommand::Confirm { account_id, email, email_digest } => {
                EmailEvent::Confirmed { account_id, email, email_digest, confirmed_at: now }
            }
            EmailCommand::RequestChange { ref wanted_digest, .. } if self.has(wanted_digest) => {
                return Err(EmailRefusal::Unchanged);
            }
            EmailCommand::RequestChange {
                account_id, wanted, wanted_code, present_code, language, expires_at, ..
            } => EmailEvent::ChangeRequested {
                account_id,
                wanted,
                wanted_code,
                present: self
                    .confirmed
                    .as_ref()
                    .filter(|_| present_code.is_some())
                    .map(|present| present.email.clone()),
                present_code,
                language,
                expires_at,
                requested_at: now,
            },
            // Sealed twice, the same address is another ciphertext: it is that of the last request or none.
            EmailCommand::Change { ref email, .. } if self.wanted.as_ref() != Some(email) => {
                return Err(EmailRefusal::NotRequested);
            }
            EmailCommand::Change { account_id, email, email_digest } => EmailEvent::Changed {
                account_id,
                email,
                email_digest,
                former: self.confirmed.as_ref().map(|former| former.email.clone()),
                former_digest: self.confirmed.as_ref().map(|former| former.digest.clone()),
                changed_at: now,
            },
        };
        Ok(vec![event])
    }

    fn apply(&mut self, event: &EmailEvent) {
        self.has_begun = true;
        match event {
            EmailEvent::ConfirmationRequested { language, .. } => self.language = Some(*language),
            EmailEvent::ChangeRequested { language, wanted, .. } => {
                self.language = Some(*language);
                self.wanted = Some(wanted.clone());
            }
            EmailEvent::Confirmed { email, email_digest, .. } | EmailEvent::Changed { email, email_digest, .. } => {
                self.confirmed = Some(ConfirmedEmail { email: email.clone(), digest: email_digest.clone() });
                self.wanted = None;
            }
            EmailEvent::Released { .. } => self.is_released = true,
        }
    }

    fn claimed(_: Claimed) -> EmailRefusal {
        EmailRefusal::Taken
    }
}

impl AccountEmail {
    fn has(&self, digest: &str) -> bool {
        self.confirmed.as_ref().is_some_and(|confirmed| confirmed.digest == digest)
    }
}
