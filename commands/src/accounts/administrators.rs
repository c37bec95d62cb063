//! Who administers the install: accounts made so by the set-up token, by an administrator or by the operator.
//!
//! An account knows of no other, so that one is left who can administer is seen to here: whoever takes a right looks for another
//! administrator before the event and after it, and undoes it where there is none any more. Of two who take it from each other at the
//! same moment, the later event finds the earlier.
//!
//! Who loses the right is signed out, and their personal tokens are revoked: addresses of media and downloads that were given to an
//! administrator name the session, and end with it. It is done at once, and done again by the process that follows the event.

use domain::{
    Claimed,
    accounts::{
        Account, AccountCommand, AccountRefusal, AdministratorCommand, AdministratorRefusal,
        PersonalTokenRevokedReason, SessionEndReason,
    },
    ids::AccountId,
};

use super::{personal_tokens, sessions, suspension};
use crate::{Actor, CommandError, Commands, Metadata, setup};

/// Makes an account an administrator's; that it is one already is fine. `by` is the administrator who asks, `None` for the operator.
/// Answers a position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] with `AccountRefusal::Unknown`, or [`AdministratorRefusal`] for one that is suspended or to be erased, and
/// where `by` administers nothing, or not any more.
pub async fn grant(
    commands: &Commands,
    account_id: AccountId,
    by: Option<AccountId>,
    metadata: Metadata,
) -> Result<i64, CommandError<AccountRefusal>> {
    let was_administrator = super::is_administrator(commands, account_id).await?;
    need_good(commands, by).await?;
    let command = AccountCommand::Administrator(AdministratorCommand::Grant { by });
    let position = commands.execute::<Account>(&account_id.to_string(), command, metadata.clone()).await?.position;
    // Who is unmade at the same moment must not leave others behind: of the two events the later one finds the other.
    if !was_administrator && let Err(refused) = need_good(commands, by).await {
        let undone = revoke(commands, account_id, None, metadata.follow_up()).await;
        undone.map_err(|error| CommandError::OutcomeUnknown(error.into()))?;
        return Err(refused.after_storing());
    }
    if let Err(error) = setup::forget_given_out(commands).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a set-up token that was given out could not be forgotten; it makes no administrator while there is one"
        );
    }
    Ok(position)
}

/// Takes the right to administer from an account; that it has none is fine. `by` is the administrator who asks, perhaps the account
/// itself, `None` for the operator. They are signed out everywhere. Answers a position at which the log shows it; from there on every
/// node refuses.
///
/// # Errors
/// [`CommandError::Refused`] with `AccountRefusal::Unknown`, or [`AdministratorRefusal::LastAdministrator`] where nobody else could
/// administer the install, [`AdministratorRefusal::NotByAdministrator`] where `by` administers nothing, or not any more.
pub async fn revoke(
    commands: &Commands,
    account_id: AccountId,
    by: Option<AccountId>,
    metadata: Metadata,
) -> Result<i64, CommandError<AccountRefusal>> {
    let id = account_id.to_string();
    let account = commands.load::<Account>(&id).await?.map(|(account, _)| account).unwrap_or_default();
    let was_administrator = account.is_administrator();
    if was_administrator && !is_another(commands, account_id).await? {
        return Err(CommandError::Refused(AdministratorRefusal::LastAdministrator.into()));
    }
    need_good(commands, by).await?;
    if let Some(digest) = account.setup_token_digest() {
        // The event gives it back, and whoever still has it must not become an administrator.
        setup::forget_token(commands, digest).await?;
    }
    let command = AccountCommand::Administrator(AdministratorCommand::Revoke { by });
    let committed = commands.execute::<Account>(&id, command, metadata.clone()).await?;
    if was_administrator && !is_another(commands, account_id).await.map_err(CommandError::after_storing)? {
        let undo = AccountCommand::Administrator(AdministratorCommand::Grant { by: None });
        let undone = commands.execute::<Account>(&id, undo, metadata.follow_up()).await;
        undone.map_err(|error| CommandError::OutcomeUnknown(error.into()))?;
        return Err(CommandError::Refused(AdministratorRefusal::LastAdministrator.into()));
    }
    if was_administrator && let Err(error) = finish(commands, account_id, committed.position).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            account.id = %account_id,
            "an administrator was unmade, and not all that was opened as one has ended; the process that follows the log ends it"
        );
    }
    Ok(committed.position)
}

/// Ends the sessions and revokes the personal tokens of who ceased to be an administrator by the event at `position`, all that were
/// there before it, or the rest; nothing happens where they are one again.
///
/// # Errors
/// [`CommandError`]; to be called again then.
pub async fn finish(
    commands: &Commands,
    account_id: AccountId,
    position: i64,
) -> Result<(), CommandError<AccountRefusal>> {
    if super::is_administrator(commands, account_id).await? {
        return Ok(());
    }
    // Not by their owner: somebody else has unmade them, most likely.
    let reason = SessionEndReason::AdministratorRevoked;
    sessions::end_before(commands, account_id, position, None, reason, Actor::System)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))?;
    personal_tokens::revoke_before(commands, account_id, position, PersonalTokenRevokedReason::AdministratorRevoked)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))
}

/// Refuses what an administrator asks who is none any more, or is suspended. The operator may.
async fn need_good(commands: &Commands, by: Option<AccountId>) -> Result<(), CommandError<AccountRefusal>> {
    match by {
        Some(by) if !suspension::is_good_administrator(commands, by).await? => {
            Err(CommandError::Refused(AdministratorRefusal::NotByAdministrator.into()))
        }
        _ => Ok(()),
    }
}

/// Whether somebody else than `account_id` can administer the install now.
async fn is_another(commands: &Commands, account_id: AccountId) -> Result<bool, CommandError<AccountRefusal>> {
    // These hold one name each, as long as they may; whether they can shows their account.
    let administrators: Vec<String> =
        sqlx::query_scalar("select distinct aggregate_id from log.reservations where kind = any($1)")
            .bind([Claimed::SetupToken.as_str(), Claimed::Administrator.as_str()])
            .fetch_all(commands.pool())
            .await?;
    for administrator in administrators {
        let administrator = administrator.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        if administrator != account_id && suspension::is_good_administrator(commands, administrator).await? {
            return Ok(true);
        }
    }
    Ok(false)
}
