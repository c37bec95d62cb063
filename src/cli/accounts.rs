//! `weir accounts`: what an operator does for a person.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use commands::{
    Actor, CommandError, Commands, Metadata,
    accounts::{self, Erase},
};
use domain::{accounts::AccountRefusal, ids::AccountId};

use crate::{config::Config, node};

#[derive(Debug, Args)]
pub(crate) struct Accounts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Forget a person for good: destroy the account's key, end its sessions, close its channels, delete its exports
    Erase {
        /// The username, or the id
        account: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
        /// Even the only administrator; `weir setup-token` makes the token for the next one
        #[arg(long)]
        last_administrator: bool,
    },
}

impl Accounts {
    pub(crate) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let Command::Erase { account, yes, last_administrator } = self.command;
        let commands = node::open_commands(config).await?;
        let erased = erase(&commands, &account, yes, last_administrator).await;
        commands.shutdown().await;
        erased
    }
}

async fn erase(commands: &Commands, account: &str, yes: bool, last_administrator: bool) -> anyhow::Result<()> {
    let found = match account.parse::<AccountId>() {
        Ok(account_id) => Some(account_id),
        Err(_) => accounts::by_username(commands, account).await.context("the account cannot be looked for")?,
    };
    let account_id = found.with_context(|| format!("there is no account {account}"))?;
    if !yes && !confirmed(account)? {
        bail!("nothing was erased");
    }
    let erase =
        Erase { account_id, by: None, even_administrator: last_administrator, metadata: Metadata::new(Actor::System) };
    match accounts::erase(commands, erase).await {
        Ok(_) => {
            println!("{account_id} is erased; its channels are closed and its exports deleted by the running nodes");
            Ok(())
        }
        Err(CommandError::Refused(AccountRefusal::Unknown)) => bail!("there is no account {account}"),
        Err(CommandError::Refused(AccountRefusal::OnlyAdministrator)) => bail!(
            "{account} is the only administrator; with --last-administrator it is erased all the same, and \
             `weir setup-token` makes the token for the next one"
        ),
        Err(error) => Err(error).context("the account could not be erased; try again"),
    }
}

/// Asks on the terminal.
fn confirmed(account: &str) -> anyhow::Result<bool> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!("this cannot be undone; say --yes where nobody can be asked");
    }
    let mut stderr = std::io::stderr();
    write!(stderr, "Erase {account} for good? This cannot be undone. Type the same again to go on: ")
        .and_then(|()| stderr.flush())
        .context("the question cannot be asked")?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).context("the answer cannot be read")?;
    Ok(answer.trim() == account.trim())
}
