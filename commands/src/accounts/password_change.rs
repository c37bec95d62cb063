//! Another password for who knows the one of before.
//!
//! Where its owner wants all other ways in closed, the event says so, and which session stays. What follows is done at once, and done
//! again by the process that follows the event, so that nothing of it is lost with whoever was cut off.

use domain::{
    accounts::{
        Account, AccountCommand, AccountRefusal, Password, PasswordChangedReason, PersonalTokenRevokedReason,
        SessionEndReason,
    },
    ids::{AccountId, SessionId},
};

use super::{AccountsError, destroy_former, personal_tokens, put_password, sessions};
use crate::{Actor, CommandError, Commands, Metadata};

/// Gives an account another password; with `ends_all_but`, ends all sessions but that one and revokes all personal tokens. Answers a
/// position at which the log shows all of it.
///
/// Once the event is stored, whatever fails or is interrupted is done by the process that follows it.
///
/// # Errors
/// [`AccountsError::Invalid`] when it is too short, too long or too common.
pub async fn change(
    commands: &Commands,
    account_id: AccountId,
    password: &str,
    ends_all_but: Option<SessionId>,
    metadata: Metadata,
) -> Result<i64, AccountsError> {
    let password = Password::parse(password).map_err(|invalid| AccountsError::Invalid(vec![invalid]))?;
    let account = account_id.to_string();
    let former = commands.load::<Account>(&account).await.map_err(CommandError::from)?;
    let former = former.and_then(|(account, _)| account.password());
    let password = put_password(commands, &account, &password).await?;
    let reason = PasswordChangedReason::Changed;
    let command = AccountCommand::ChangePassword { password, reason, ends_all_but };
    let committed = commands.execute::<Account>(&account, command, metadata).await?;
    let mut position = committed.position;
    if let Some(kept) = ends_all_but {
        match end_others(commands, account_id, kept).await {
            Ok(ended) => position = position.max(ended),
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                account.id = %account_id,
                "a password was changed, and not all other ways in are closed; the process that follows the log closes them"
            ),
        }
    }
    if let Some(former) = former {
        destroy_former(commands, account_id, former).await;
    }
    Ok(position)
}

async fn end_others(
    commands: &Commands,
    account_id: AccountId,
    kept: SessionId,
) -> Result<i64, CommandError<AccountRefusal>> {
    let ended = sessions::end_others(commands, account_id, kept, SessionEndReason::PasswordChanged)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))?;
    personal_tokens::revoke_all(commands, account_id, PersonalTokenRevokedReason::PasswordChanged)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))?;
    Ok(ended)
}

/// Ends the sessions but `kept`, and revokes the personal tokens, that were there before the event at `position` told of a change that
/// ends them, all of them or the rest.
///
/// # Errors
/// [`CommandError`]; to be called again then.
pub async fn finish(
    commands: &Commands,
    account_id: AccountId,
    position: i64,
    kept: SessionId,
) -> Result<(), CommandError<AccountRefusal>> {
    let (reason, owner) = (SessionEndReason::PasswordChanged, Actor::Account(account_id));
    sessions::end_before(commands, account_id, position, Some(kept), reason, owner)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))?;
    personal_tokens::revoke_before(commands, account_id, position, PersonalTokenRevokedReason::PasswordChanged)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))
}
