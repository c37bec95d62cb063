use time::OffsetDateTime;

use super::{AdministratorCommand, ErasureCancelledReason, PasswordChangedReason, SuspensionCommand};
use crate::{
    ids::{AccountId, SecretId, SessionId},
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
    /// Have another password.
    ChangePassword {
        /// Its hash, in the vault.
        password: SecretId,
        /// How it came to that.
        reason: PasswordChangedReason,
        /// Of a change by which all other sessions and all personal tokens are to end: the session that stays. `None` where none
        /// is to, and for a reset, by which all are.
        ends_all_but: Option<SessionId>,
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
    /// Administer the platform, or do not any more.
    Administrator(AdministratorCommand),
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
