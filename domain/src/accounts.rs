//! Accounts: people who can sign in, and their sessions.

mod administrators;
mod commands;
mod credentials;
mod email;
mod erasure;
mod events;
mod language;
mod password_reset;
mod personal_exports;
mod personal_tokens;
mod profile;
mod sessions;
mod sign_ins;
mod suspension;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

pub use administrators::{AdministratorCommand, AdministratorGranted, AdministratorRefusal, AdministratorRevoked};
pub use commands::AccountCommand;
pub use credentials::{Email, Password, Username};
pub use email::{AccountEmail, ConfirmedEmail, EmailCommand, EmailEvent, EmailRefusal};
pub use erasure::ErasureCancelledReason;
pub use events::{AccountEvent, PasswordChangedReason};
pub use language::Language;
pub use password_reset::{PasswordReset, PasswordResetCommand, PasswordResetEvent, PasswordResetRefusal};
pub use personal_exports::{
    NewestPersonalExport, PERSONAL_EXPORT_EVERY, PersonalExportCommand, PersonalExportDeletedReason,
    PersonalExportEvent, PersonalExportFailure, PersonalExportRefusal, PersonalExports,
};
pub use personal_tokens::{
    PERSONAL_TOKEN_MAX_DAYS, PersonalToken, PersonalTokenCommand, PersonalTokenEvent, PersonalTokenName,
    PersonalTokenRefusal, PersonalTokenRevokedReason, PersonalTokenScope,
};
pub use profile::{AvatarName, Bio, DisplayName, Profile, ProfileCommand, ProfileEvent, ProfileRefusal, ProfileText};
pub use sessions::{Session, SessionCommand, SessionEndReason, SessionEvent, SessionRefusal};
pub use sign_ins::{SignInCommand, SignInEvent, SignInFailure, SignInRefusal, SignIns};
pub use suspension::{
    AccountReinstated, AccountSuspended, Suspension, SuspensionCommand, SuspensionReason, SuspensionRefusal,
};

use crate::{
    Aggregate, Claimed,
    ids::{AccountId, SecretId},
    sealed::Sealed,
};

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
    /// The account asks for a second factor already.
    #[error("the account has a second factor already")]
    SecondFactorThere,
    /// The account asks for no second factor.
    #[error("the account has no second factor")]
    NoSecondFactor,
    /// Whoever administers the platform gives that up before: nobody could administer it any more otherwise.
    #[error(
        "this account administers the platform; it gives that up first, or the operator erases it on the command line"
    )]
    OnlyAdministrator,
    /// It cannot be suspended so.
    #[error(transparent)]
    Suspension(#[from] SuspensionRefusal),
    /// It does not become an administrator's, or stays one.
    #[error(transparent)]
    Administrator(#[from] AdministratorRefusal),
}

/// An account as far as its rules need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    registered: Option<Registered>,
    is_erased: bool,
    second_factor: Option<SecretId>,
    #[serde(default)]
    erasure_due_at: Option<OffsetDateTime>,
    #[serde(default)]
    suspension: Option<Suspension>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Registered {
    account_id: AccountId,
    username: Sealed,
    username_digest: String,
    email: Sealed,
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

    /// Its username, sealed; `None` before it exists and after its erasure.
    #[must_use]
    pub fn username(&self) -> Option<&Sealed> {
        self.active().map(|registered| &registered.username)
    }

    /// The address that it was registered with, sealed; `None` before it exists and after its erasure.
    #[must_use]
    pub fn registered_email(&self) -> Option<&Sealed> {
        self.active().map(|registered| &registered.email)
    }

    /// What the codes of its authenticator are made from, in the vault; `None` when it asks for none.
    #[must_use]
    pub fn second_factor(&self) -> Option<SecretId> {
        self.active().and(self.second_factor)
    }

    /// Whether somebody can sign in to it: it was registered and not erased.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active().is_some()
    }

    /// When it is erased, if that was asked for; `None` once it is.
    #[must_use]
    pub fn erasure_due_at(&self) -> Option<OffsetDateTime> {
        self.active().and(self.erasure_due_at)
    }

    /// Whether the person was forgotten.
    #[must_use]
    pub fn is_erased(&self) -> bool {
        self.is_erased
    }

    /// The digest of the set-up token by which it is an administrator's, if it is by one.
    #[must_use]
    pub fn setup_token_digest(&self) -> Option<&str> {
        self.active()?.setup_token_digest.as_deref()
    }

    /// Its suspension, if it is suspended at `now`.
    #[must_use]
    pub fn suspension(&self, now: OffsetDateTime) -> Option<&Suspension> {
        self.active().and(self.suspension.as_ref()).filter(|suspension| suspension.holds(now))
    }

    /// Whether `by` may suspend it until `until` at `now`; that they administer the platform is for the caller to see.
    ///
    /// # Errors
    /// Why not.
    pub fn may_be_suspended(
        &self,
        by: AccountId,
        until: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Result<(), AccountRefusal> {
        let registered = self.active().ok_or(AccountRefusal::Unknown)?;
        Ok(suspension::may_begin(registered.account_id, Some(by), until, now)?)
    }

    /// Whether it may administer the platform.
    #[must_use]
    pub fn is_administrator(&self) -> bool {
        self.active().is_some_and(|registered| registered.is_administrator)
    }

    fn active(&self) -> Option<&Registered> {
        self.registered.as_ref().filter(|_| !self.is_erased)
    }

    fn erase(
        &self,
        by: Option<AccountId>,
        even_administrator: bool,
        now: OffsetDateTime,
    ) -> Result<Vec<AccountEvent>, AccountRefusal> {
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

    /// What a command does to an account that is there.
    fn change(
        &self,
        account_id: AccountId,
        command: AccountCommand,
        now: OffsetDateTime,
    ) -> Result<Vec<AccountEvent>, AccountRefusal> {
        let event = match command {
            AccountCommand::ChangePassword { password, reason, ends_all_but } => {
                AccountEvent::PasswordChanged { account_id, password, reason, ends_all_but, changed_at: now }
            }
            AccountCommand::EnableSecondFactor { .. } if self.second_factor.is_some() => {
                return Err(AccountRefusal::SecondFactorThere);
            }
            AccountCommand::EnableSecondFactor { seed } => {
                AccountEvent::SecondFactorEnabled { account_id, seed, enabled_at: now }
            }
            AccountCommand::DisableSecondFactor if self.second_factor.is_none() => return Ok(Vec::new()),
            AccountCommand::DisableSecondFactor => AccountEvent::SecondFactorDisabled { account_id, disabled_at: now },
            AccountCommand::UseRecoveryCode { .. } | AccountCommand::ReplaceRecoveryCodes
                if self.second_factor.is_none() =>
            {
                return Err(AccountRefusal::NoSecondFactor);
            }
            AccountCommand::UseRecoveryCode { left } => {
                AccountEvent::RecoveryCodeUsed { account_id, left, used_at: now }
            }
            AccountCommand::ReplaceRecoveryCodes => {
                AccountEvent::RecoveryCodesReplaced { account_id, replaced_at: now }
            }
            AccountCommand::Suspension(command) => {
                return Ok(suspension::decide(account_id, self.suspension.as_ref(), command, now)?);
            }
            AccountCommand::Administrator(command) => {
                let standing = administrators::Standing {
                    account_id,
                    is_administrator: self.is_administrator(),
                    setup_token_digest: self.setup_token_digest(),
                    is_suspended: self.suspension(now).is_some(),
                    is_being_erased: self.erasure_due_at.is_some(),
                };
                return Ok(administrators::decide(&standing, command, now)?);
            }
            AccountCommand::RequestErasure { due_at } => {
                // Refused now, not when the time has come.
                self.erase(Some(account_id), false, now)?;
                if self.erasure_due_at.is_some() {
                    return Ok(Vec::new());
                }
                AccountEvent::ErasureRequested { account_id, due_at, requested_at: now }
            }
            AccountCommand::CancelErasure { .. } if self.erasure_due_at.is_none() => return Ok(Vec::new()),
            AccountCommand::CancelErasure { reason } => {
                AccountEvent::ErasureCancelled { account_id, reason, cancelled_at: now }
            }
            AccountCommand::CarryOutErasure => {
                let is_due = self.erasure_due_at.is_some_and(|due_at| due_at <= now);
                return if is_due { self.erase(Some(account_id), false, now) } else { Ok(Vec::new()) };
            }
            // Decided before.
            AccountCommand::Register { .. } | AccountCommand::Erase { .. } => {
                return Err(AccountRefusal::AlreadyExists);
            }
        };
        Ok(vec![event])
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
            AccountCommand::Erase { by, even_administrator } => self.erase(by, even_administrator, now),
            change => {
                let registered = self.active().ok_or(AccountRefusal::Unknown)?;
                self.change(registered.account_id, change, now)
            }
        }
    }

    fn apply(&mut self, event: &AccountEvent) {
        match event {
            AccountEvent::Registered {
                account_id,
                username,
                username_digest,
                email,
                password,
                is_administrator,
                setup_token_digest,
                ..
            } => {
                self.registered = Some(Registered {
                    account_id: *account_id,
                    username: username.clone(),
                    username_digest: username_digest.clone(),
                    email: email.clone(),
                    password: *password,
                    is_administrator: *is_administrator,
                    setup_token_digest: setup_token_digest.clone(),
                });
            }
            AccountEvent::PasswordChanged { password, .. } => {
                if let Some(registered) = &mut self.registered {
                    registered.password = *password;
                }
            }
            AccountEvent::SecondFactorEnabled { seed, .. } => self.second_factor = Some(*seed),
            AccountEvent::SecondFactorDisabled { .. } => self.second_factor = None,
            AccountEvent::RecoveryCodeUsed { .. } | AccountEvent::RecoveryCodesReplaced { .. } => {}
            AccountEvent::Suspended(_) | AccountEvent::Reinstated(_) => suspension::apply(&mut self.suspension, event),
            AccountEvent::AdministratorGranted(_) => {
                if let Some(registered) = &mut self.registered {
                    registered.is_administrator = true;
                }
            }
            AccountEvent::AdministratorRevoked(_) => {
                if let Some(registered) = &mut self.registered {
                    registered.is_administrator = false;
                    registered.setup_token_digest = None;
                }
            }
            AccountEvent::ErasureRequested { due_at, .. } => self.erasure_due_at = Some(*due_at),
            AccountEvent::ErasureCancelled { .. } => self.erasure_due_at = None,
            AccountEvent::Erased { .. } => self.is_erased = true,
        }
    }

    fn claimed(claimed: Claimed) -> AccountRefusal {
        match claimed {
            Claimed::SetupToken => AccountRefusal::SetupTokenUsed,
            Claimed::Username
            | Claimed::Handle
            | Claimed::LiveStream
            | Claimed::RecordedStream
            | Claimed::Email
            | Claimed::OpenReport
            | Claimed::Administrator => AccountRefusal::UsernameTaken,
        }
    }
}
