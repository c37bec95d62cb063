//! Administrators: accounts that may administer the platform, by the set-up token or because an administrator or the operator made
//! them one. That somebody is left who can is for the caller to see: an account knows of no other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use super::AccountEvent;
use crate::{Claim, Claimed, ids::AccountId, timestamp};

/// What an account can be told about administering the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AdministratorCommand {
    /// It may from now on; that it may already is fine.
    Grant {
        /// The administrator who says so; `None` for the operator.
        by: Option<AccountId>,
    },
    /// It may not any more; that it may not anyway is fine.
    Revoke {
        /// The administrator who says so, perhaps the account itself; `None` for the operator.
        by: Option<AccountId>,
    },
}

/// What `account.administrator_granted` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdministratorGranted {
    /// The account.
    pub account_id: AccountId,
    /// The administrator who did it; `null` for the operator, and for Weir itself.
    pub by: Option<AccountId>,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(schema_with = "timestamp::schema")]
    pub granted_at: OffsetDateTime,
}

/// What `account.administrator_revoked` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AdministratorRevoked {
    /// The account.
    pub account_id: AccountId,
    /// The digest of the set-up token that the account was made with, if it was and had the right by it: it counts no longer.
    pub setup_token_digest: Option<String>,
    /// The administrator who did it, perhaps the account itself; `null` for the operator.
    pub by: Option<AccountId>,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schemars(schema_with = "timestamp::schema")]
    pub revoked_at: OffsetDateTime,
}

/// Why somebody does not become an administrator, or stays one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AdministratorRefusal {
    /// Who is kept out cannot administer anything.
    #[error("a suspended account cannot administer the platform")]
    Suspended,
    /// Its owner has asked for its erasure.
    #[error("an account that is to be erased cannot administer the platform")]
    BeingErased,
    /// Nobody could administer the platform any more.
    #[error("the last administrator stays one")]
    LastAdministrator,
    /// Whoever asks does not administer the platform, or not any more.
    #[error("only an administrator makes and unmakes administrators")]
    NotByAdministrator,
}

/// What of an account decides.
pub(super) struct Standing<'a> {
    pub(super) account_id: AccountId,
    pub(super) is_administrator: bool,
    pub(super) setup_token_digest: Option<&'a str>,
    pub(super) is_suspended: bool,
    pub(super) is_being_erased: bool,
}

/// What `command` leads to for an account that exists.
pub(super) fn decide(
    standing: &Standing<'_>,
    command: AdministratorCommand,
    now: OffsetDateTime,
) -> Result<Vec<AccountEvent>, AdministratorRefusal> {
    let Standing { account_id, is_administrator, setup_token_digest, is_suspended, is_being_erased } = *standing;
    match command {
        AdministratorCommand::Grant { .. } if is_administrator => Ok(Vec::new()),
        AdministratorCommand::Grant { .. } if is_suspended => Err(AdministratorRefusal::Suspended),
        AdministratorCommand::Grant { .. } if is_being_erased => Err(AdministratorRefusal::BeingErased),
        AdministratorCommand::Grant { by } => {
            let granted = AdministratorGranted { account_id, by, granted_at: now };
            Ok(vec![AccountEvent::AdministratorGranted(granted)])
        }
        AdministratorCommand::Revoke { .. } if !is_administrator => Ok(Vec::new()),
        AdministratorCommand::Revoke { by } => {
            let setup_token_digest = setup_token_digest.map(ToOwned::to_owned);
            let revoked = AdministratorRevoked { account_id, setup_token_digest, by, revoked_at: now };
            Ok(vec![AccountEvent::AdministratorRevoked(revoked)])
        }
    }
}

/// The name under which it is known which accounts administer the platform, beside that of the set-up token: its id.
fn name(account_id: AccountId) -> String {
    account_id.to_string()
}

/// That an account is among those who administer the platform.
pub(super) fn taken(account_id: AccountId) -> Claim {
    Claim::Take { kind: Claimed::Administrator, name: name(account_id) }
}

/// That it is not, or not any more, whether it was made an administrator or came with a set-up token.
pub(super) fn released(account_id: AccountId, setup_token_digest: Option<&String>) -> impl Iterator<Item = Claim> {
    let made = Claim::Release { kind: Claimed::Administrator, name: name(account_id) };
    let set_up = setup_token_digest.map(|digest| Claim::Release { kind: Claimed::SetupToken, name: digest.clone() });
    std::iter::once(made).chain(set_up)
}
