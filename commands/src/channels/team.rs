//! The accounts that have a role in a channel.

use domain::{
    Aggregate, Principal,
    accounts::Account,
    channels::{Channel, ChannelCommand, ChannelRefusal, ChannelRole},
    ids::{AccountId, ChannelId},
};

use crate::{CommandError, Commands, Metadata};

/// Makes an account a moderator or an editor, or the one instead of the other; the same again is fine. Answers the position
/// at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`]: `NotAllowed` to whoever may not change the team, `NoAccount` for one that there is not or not any
/// more, `OwnerNeedsNoRole`, `TeamFull`.
pub async fn give_role(
    commands: &Commands,
    channel_id: ChannelId,
    by: Principal,
    account_id: AccountId,
    role: ChannelRole,
    metadata: Metadata,
) -> Result<i64, CommandError<ChannelRefusal>> {
    // One that is erased in this moment may still get it, and the process that follows the erasure takes it.
    let account = commands.load::<Account>(&account_id.to_string()).await?;
    if !account.is_some_and(|(account, _)| account.is_active()) {
        return Err(CommandError::Refused(ChannelRefusal::NoAccount));
    }
    let command = ChannelCommand::GiveRole { by, account_id, role };
    Ok(commands.execute::<Channel>(&channel_id.to_string(), command, metadata).await?.position)
}

/// Takes the role of an account; the same again is fine. Whoever has one may leave. `by` is `None` for Weir itself, because the
/// account was erased. Answers a position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] to whoever may not.
pub async fn take_role(
    commands: &Commands,
    channel_id: ChannelId,
    by: Option<Principal>,
    account_id: AccountId,
    metadata: Metadata,
) -> Result<i64, CommandError<ChannelRefusal>> {
    let command = ChannelCommand::TakeRole { by, account_id };
    Ok(commands.execute::<Channel>(&channel_id.to_string(), command, metadata).await?.position)
}

/// The channels in which an account was ever given a role, in no particular order.
///
/// # Errors
/// When the log does not answer.
pub async fn of_member(commands: &Commands, account_id: AccountId) -> Result<Vec<ChannelId>, sqlx::Error> {
    let ids: Vec<String> = sqlx::query_scalar(
        "select distinct aggregate_id from log.events where event_type = 'channel.role_given' and aggregate_type = $2 \
         and substring(payload::text from '\"account_id\": *\"([0-9a-f-]{36})\"') = $1",
    )
    .bind(account_id.to_string())
    .bind(Channel::TYPE)
    .fetch_all(commands.pool())
    .await?;
    ids.iter().map(|id| id.parse()).collect::<Result<_, _>>().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}
