use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{
    AccountReinstated, AccountSuspended, AdministratorGranted, AdministratorRevoked, ErasureCancelledReason,
    administrators,
};
use crate::{
    Claim, Claimed, Event,
    ids::{AccountId, SecretId, SessionId},
    sealed::Sealed,
    timestamp,
};

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
        /// Of a change by which all other sessions and all personal tokens end: the session that stays; `null` where none does
        /// by it, and for a reset, by which all do.
        ends_all_but: Option<SessionId>,
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
    /// An account may administer the platform.
    AdministratorGranted(AdministratorGranted),
    /// An account may not administer the platform any more.
    AdministratorRevoked(AdministratorRevoked),
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
        "account.administrator_granted",
        "account.administrator_revoked",
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
            | Self::AdministratorGranted(AdministratorGranted { account_id, .. })
            | Self::AdministratorRevoked(AdministratorRevoked { account_id, .. })
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
            Self::AdministratorGranted(_) => "account.administrator_granted",
            Self::AdministratorRevoked(_) => "account.administrator_revoked",
        }
    }

    fn event_version(&self) -> &'static str {
        match self {
            // 2 says what ends by it.
            Self::PasswordChanged { .. } => "2",
            _ => "1",
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
            Self::AdministratorGranted(granted) => vec![administrators::taken(granted.account_id)],
            Self::AdministratorRevoked(AdministratorRevoked { account_id, setup_token_digest, .. }) => {
                administrators::released(*account_id, setup_token_digest.as_ref()).collect()
            }
            Self::Erased { account_id, username_digest, setup_token_digest, .. } => {
                let username = Claim::Release { kind: Claimed::Username, name: username_digest.clone() };
                // The event does not say whether it was made an administrator; of who was not, nothing is released.
                let administrator = administrators::released(*account_id, setup_token_digest.as_ref());
                std::iter::once(username).chain(administrator).collect()
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
