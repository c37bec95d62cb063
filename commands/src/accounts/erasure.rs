//! Erasure: forgetting a person.
//!
//! What makes it irrevocable is one event, `account.erased`: from there on nobody can sign in. What follows from it is done
//! at once, and done again by a process that follows the event, so that no crash leaves it half done:
//!
//! 1. The account's key is destroyed, and with it every sealed field of every event, wherever there is a copy.
//! 2. Its sessions end, its personal tokens are revoked, its secrets, its clients' request keys and what was counted of failed
//!    sign-ins are deleted.
//! 3. Its channels are closed and the exports that it asked for are deleted (by the process).

use domain::{
    accounts::{Account, AccountCommand, AccountRefusal, PersonalTokenRevokedReason, SessionEndReason, Username},
    exports::Export,
    ids::{AccountId, ExportId},
};
use zeroize::Zeroizing;

use super::{
    CredentialsWrong, email, failed_sign_ins, find, personal_tokens, second_factor, sessions, username_digest,
};
use crate::{Actor, CommandError, Commands, LoadError, Metadata, setup, vault};

/// Somebody who is to be forgotten.
#[derive(Debug, Clone)]
pub struct Erase {
    /// The account.
    pub account_id: AccountId,
    /// Who asks: the person, or `None` for the operator.
    pub by: Option<AccountId>,
    /// Whether it may be done to the only administrator, too: then another set-up token can be made.
    pub even_administrator: bool,
    /// Who and why, for the log.
    pub metadata: Metadata,
}

/// Forgets a person; the same again is fine. Answers a position at which the log shows it.
///
/// Once the event is stored, whatever fails or is interrupted is done by the process that follows it.
///
/// # Errors
/// [`CommandError::Refused`] with `AccountRefusal::Unknown`, or `OnlyAdministrator` unless that is allowed.
pub async fn erase(commands: &Commands, erase: Erase) -> Result<i64, CommandError<AccountRefusal>> {
    let Erase { account_id, by, even_administrator, metadata } = erase;
    if even_administrator
        && let Some((account, _)) = commands.load::<Account>(&account_id.to_string()).await?
        && let Some(digest) = account.setup_token_digest()
    {
        // The event gives it back, and whoever still has it must not become the next administrator.
        setup::forget_token(commands, digest).await?;
    }
    let command = AccountCommand::Erase { by, even_administrator };
    let committed = commands.execute::<Account>(&account_id.to_string(), command, metadata).await?;
    if let Err(error) = finish(commands, account_id).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            account.id = %account_id,
            "an erasure was begun; it is finished by the process that follows the log"
        );
    }
    Ok(committed.position)
}

/// Does what follows from `account.erased` of this account, all of it or the rest.
///
/// # Errors
/// [`CommandError`]; to be called again then.
pub async fn finish(commands: &Commands, account_id: AccountId) -> Result<(), CommandError<AccountRefusal>> {
    commands.account_keys().destroy(account_id).await?;
    sessions::end_all(commands, account_id, None, SessionEndReason::AccountErased, Actor::System)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))?;
    personal_tokens::revoke_all(commands, account_id, PersonalTokenRevokedReason::AccountErased)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))?;
    second_factor::forget(commands, account_id).await?;
    email::release(commands, account_id, Metadata::new(Actor::System))
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))?;
    failed_sign_ins::forget(commands, account_id).await?;
    vault::destroy_all(commands.pool(), &account_id.to_string()).await?;
    commands.forget_requests(Actor::Account(account_id)).await?;
    Ok(())
}

/// Whether the account was erased; `false` when there never was one.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn is_erased(commands: &Commands, account_id: AccountId) -> Result<bool, LoadError> {
    let account = commands.load::<Account>(&account_id.to_string()).await?;
    Ok(account.is_some_and(|(account, _)| account.is_erased()))
}

/// Checks the password of an account that is signed in.
///
/// # Errors
/// [`CommandError::Refused`] when it is wrong, [`CommandError::Overloaded`] when too many are checked at once.
pub async fn verify_password(
    commands: &Commands,
    account_id: AccountId,
    password: &str,
) -> Result<(), CommandError<CredentialsWrong>> {
    let hash = super::hash_of(commands, account_id).await?;
    let password = super::checkable(password);
    let is_right = commands.passwords().verify(Zeroizing::new(password.to_owned()), hash).await?;
    if is_right { Ok(()) } else { Err(CommandError::Refused(CredentialsWrong)) }
}

/// The account of this username, in any case, if there is one.
///
/// # Errors
/// When the log does not answer.
pub async fn by_username(commands: &Commands, username: &str) -> Result<Option<AccountId>, sqlx::Error> {
    match Username::parse(username) {
        Ok(username) => find(commands, &username_digest(commands, &username)).await,
        // Nobody can have it.
        Err(_) => Ok(None),
    }
}

/// The exports that an account has asked for, deleted or not, in the order in which it did.
///
/// # Errors
/// When the log does not answer.
pub async fn exports_of(commands: &Commands, account_id: AccountId) -> Result<Vec<ExportId>, sqlx::Error> {
    let ids: Vec<String> = sqlx::query_scalar(
        "select aggregate_id from log.events where event_type = 'export.requested' and aggregate_type = $2 \
         and substring(payload::text from '\"by\": *\"([0-9a-f-]{36})\"') = $1 order by position",
    )
    .bind(account_id.to_string())
    .bind(<Export as domain::Aggregate>::TYPE)
    .fetch_all(commands.pool())
    .await?;
    ids.iter().map(|id| id.parse()).collect::<Result<_, _>>().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
