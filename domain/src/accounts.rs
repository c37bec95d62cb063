//! Accounts: people who can sign in, and their sessions.

mod credentials;
mod email;
mod erasure;
mod language;
mod password_reset;
mod personal_exports;
mod personal_tokens;
mod profile;
mod sessions;
mod sign_ins;
mod suspension;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

pub use credentials::{Email, Password, Username};
pub use email::{AccountEmail, ConfirmedEmail, EmailCommand, EmailEvent, EmailRefusal};
pub use erasure::ErasureCancelledReason;
pub use language::Language;
pub use password_reset::{PasswordReset, PasswordResetCommand, PasswordResetEvent, PasswordResetRefusal};
pub use personal_exports::{
    NewestPersonalExport, PERSONAL_EXPORT_EVERY, PersonalExportCommand, PersonalExportDeletedReason,
    PersonalExportEvent, PersonalExportRefusal, PersonalExports,
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
    /// Have another password.
    ChangePassword {
        /// Its hash, in the vault.
        password: SecretId,
        /// How it came to that.
        reason: PasswordChangedReason,
    },
    /// Ask for a code of an authenticator from now on.
    EnableSecondFactor {
        /// What the codes are made from, in the vault.
        seed: SecretId,
    },
    /// Ask for the password alone from now on; again is fine.
    DisableSecondFactor,
    /// A recovery code stood in for the authenticator.
    UseRecoveryCode {
        /// How many are left.
        left: u32,
    },
    /// The recovery codes of before are worth nothing any more.
    ReplaceRecoveryCodes,
    /// Keep its owner out, or let them in again.
    Suspension(SuspensionCommand),
    /// Be erased at a later time, unless its owner signs in before; again is fine, and changes nothing.
    RequestErasure {
        /// When.
        due_at: OffsetDateTime,
    },
    /// Stay; again is fine.
    CancelErasure {
        /// Why.
        reason: ErasureCancelledReason,
    },
    /// Be erased if the time for it has come; again is fine.
    CarryOutErasure,
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
    /// An account has another password.
    PasswordChanged {
        /// The account.
        account_id: AccountId,
        /// The hash of the password, in the vault.
        password: SecretId,
        /// How it came to that.
        reason: PasswordChangedReason,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        changed_at: OffsetDateTime,
    },
    /// Signing in takes a code of an authenticator, too.
    SecondFactorEnabled {
        /// The account.
        account_id: AccountId,
        /// What the codes are made from, in the vault.
        seed: SecretId,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        enabled_at: OffsetDateTime,
    },
    /// Signing in takes the password alone.
    SecondFactorDisabled {
        /// The account.
        account_id: AccountId,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        disabled_at: OffsetDateTime,
    },
    /// A recovery code stood in for the authenticator.
    RecoveryCodeUsed {
        /// The account.
        account_id: AccountId,
        /// How many are left.
        left: u32,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        used_at: OffsetDateTime,
    },
    /// The recovery codes of before are worth nothing any more.
    RecoveryCodesReplaced {
        /// The account.
        account_id: AccountId,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        replaced_at: OffsetDateTime,
    },
    /// An account was suspended: nobody can sign in to it, and nothing of it is shown.
    Suspended(AccountSuspended),
    /// The suspension of an account was lifted.
    Reinstated(AccountReinstated),
    /// A person asked to be forgotten, and has until then to think better of it.
    ErasureRequested {
        /// The account.
        account_id: AccountId,
        /// When the account is erased.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        due_at: OffsetDateTime,
        /// When it was asked for.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        requested_at: OffsetDateTime,
    },
    /// An account that was to be erased stays.
    ErasureCancelled {
        /// The account.
        account_id: AccountId,
        /// Why.
        reason: ErasureCancelledReason,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        cancelled_at: OffsetDateTime,
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

/// How an account came to another password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PasswordChangedReason {
    /// Its owner knew the one of before.
    Changed,
    /// Whoever reads its mail chose another one, by a code.
    Reset,
}

impl AccountEvent {
    /// The stored names of all events of an account.
    pub const TYPES: &[&'static str] = &[
        "account.registered",
        "account.erased",
        "account.password_changed",
        "account.second_factor_enabled",
        "account.second_factor_disabled",
        "account.recovery_code_used",
        "account.recovery_codes_replaced",
        "account.erasure_requested",
        "account.erasure_cancelled",
        "account.suspended",
        "account.reinstated",
    ];

    /// Whose it is.
    #[must_use]
    pub fn account_id(&self) -> AccountId {
        match self {
            Self::Registered { account_id, .. }
            | Self::PasswordChanged { account_id, .. }
            | Self::SecondFactorEnabled { account_id, .. }
            | Self::SecondFactorDisabled { account_id, .. }
            | Self::RecoveryCodeUsed { account_id, .. }
            | Self::RecoveryCodesReplaced { account_id, .. }
            | Self::ErasureRequested { account_id, .. }
            | Self::ErasureCancelled { account_id, .. }
            | Self::Suspended(AccountSuspended { account_id, .. })
            | Self::Reinstated(AccountReinstated { account_id, .. })
            | Self::Erased { account_id, .. } => *account_id,
        }
    }
}

impl Event for AccountEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Registered { .. } => "account.registered",
            Self::Erased { .. } => "account.erased",
            Self::PasswordChanged { .. } => "account.password_changed",
            Self::SecondFactorEnabled { .. } => "account.second_factor_enabled",
            Self::SecondFactorDisabled { .. } => "account.second_factor_disabled",
            Self::RecoveryCodeUsed { .. } => "account.recovery_code_used",
            Self::RecoveryCodesReplaced { .. } => "account.recovery_codes_replaced",
            Self::ErasureRequested { .. } => "account.erasure_requested",
            Self::ErasureCancelled { .. } => "account.erasure_cancelled",
            Self::Suspended(_) => "account.suspended",
            Self::Reinstated(_) => "account.reinstated",
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
            Self::PasswordChanged { .. }
            | Self::SecondFactorEnabled { .. }
            | Self::SecondFactorDisabled { .. }
            | Self::RecoveryCodeUsed { .. }
            | Self::RecoveryCodesReplaced { .. }
            | Self::ErasureRequested { .. }
            | Self::ErasureCancelled { .. }
            | Self::Suspended(_)
            | Self::Reinstated(_) => Vec::new(),
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
    /// The account asks for a second factor already.
    #[error("the account has a second factor already")]
    SecondFactorThere,
    /// The account asks for no second factor.
    #[error("the account has no second factor")]
    NoSecondFactor,
    /// Nobody could administer the platform any more.
    #[error("this account is the only administrator's; the operator can erase it on the command line")]
    OnlyAdministrator,
    /// It cannot be suspended so.
    #[error(transparent)]
    Suspension(#[from] SuspensionRefusal),
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

    /// The digest of the set-up token that it was made with, if it is an administrator's.
    #[must_use]
    pub fn setup_token_digest(&self) -> Option<&str> {
        self.active()?.setup_token_digest.as_deref()
    }

    /// Its suspension, if it is suspended at `now`.
    #[must_use]
    pub fn suspension(&self, now: OffsetDateTime) -> Option<&Suspension> {
        self.active().and(self.suspension.as_ref()).filter(|suspension| suspension.holds(now))
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
            AccountCommand::ChangePassword { password, reason } => {
                AccountEvent::PasswordChanged { account_id, password, reason, changed_at: now }
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
            | Claimed::OpenReport => AccountRefusal::UsernameTaken,
        }
    }
}
