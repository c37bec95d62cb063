//! What an operator does when nobody can do it in the web app any more: make an administrator, and take a lost authenticator off.

use anyhow::{Context, bail};
use commands::{
    Actor, CommandError, Commands, Metadata,
    accounts::{self, administrators, second_factor},
};
use domain::{
    accounts::{AccountRefusal, AdministratorRefusal},
    ids::AccountId,
};

/// Makes somebody an administrator.
///
/// # Errors
/// When they cannot be one, or the log does not answer.
pub(super) async fn make(commands: &Commands, account_id: AccountId, account: &str) -> anyhow::Result<()> {
    if accounts::is_administrator(commands, account_id).await.context("the account cannot be read")? {
        println!("{account_id} is an administrator already");
        return Ok(());
    }
    match administrators::grant(commands, account_id, None, Metadata::new(Actor::System)).await {
        Ok(_) => {
            println!("{account_id} is an administrator from now on");
            Ok(())
        }
        Err(CommandError::Refused(AccountRefusal::Unknown)) => bail!("there is no account {account}"),
        Err(CommandError::Refused(AccountRefusal::Administrator(AdministratorRefusal::Suspended))) => {
            bail!("{account} is suspended; make another account the administrator, who can lift that")
        }
        Err(CommandError::Refused(AccountRefusal::Administrator(AdministratorRefusal::BeingErased))) => {
            bail!("{account} is to be erased, as its owner wishes; `weir accounts keep {account}` calls that off")
        }
        Err(error) => Err(error).context("the account could not be made an administrator's; try again"),
    }
}

/// Takes the second factor off an account whose owner has lost authenticator and recovery codes.
///
/// # Errors
/// When there is no such account, or the log does not answer.
pub(super) async fn reset_second_factor(
    commands: &Commands,
    account_id: AccountId,
    account: &str,
) -> anyhow::Result<()> {
    match second_factor::disable(commands, account_id, Metadata::new(Actor::System)).await {
        Ok(_) => {
            println!(
                "{account_id} signs in with the password alone from now on, until its owner sets up another factor"
            );
            Ok(())
        }
        Err(CommandError::Refused(_)) => bail!("there is no account {account}"),
        Err(error) => Err(error).context("the second factor could not be taken off; try again"),
    }
}
