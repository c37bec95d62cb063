//! `weir accounts`: what an operator does for a person.

mod administrators;
mod export;

use std::{
    io::{BufRead, IsTerminal, Write},
    path::PathBuf,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use commands::{
    Actor, CommandError, Commands, Metadata,
    accounts::{self, Erase, due_erasures},
};
use domain::{
    accounts::{AccountRefusal, ErasureCancelledReason},
    ids::AccountId,
};

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
        /// Even an administrator; where nobody is one then, `weir setup-token` makes the token for the next
        #[arg(long)]
        last_administrator: bool,
    },
    /// Write all that is kept of a person into a zip of JSON files, as they could have it themselves, for one who cannot sign in
    ///
    /// A running node makes it. That it was asked for is recorded, and shown to the person among what happened to their account.
    Export {
        /// The username, or the id
        account: String,
        /// The file
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        /// Replace the file if it exists
        #[arg(long)]
        force: bool,
    },
    /// Make somebody an administrator, for when the only one cannot sign in any more
    MakeAdministrator {
        /// The username, or the id
        account: String,
    },
    /// Take the second factor off an account, for who has lost authenticator and recovery codes; be sure who asks
    ResetSecondFactor {
        /// The username, or the id
        account: String,
    },
    /// Call off the erasure that a person has asked for, for one who cannot sign in
    Keep {
        /// The username, or the id
        account: String,
    },
}

impl Accounts {
    pub(crate) async fn run(self, config: &Config) -> anyhow::Result<()> {
        if let Command::Export { output, force: false, .. } = &self.command
            && output.exists()
        {
            bail!("{} exists; give --force to replace it", output.display());
        }
        let commands = node::open_commands(config).await?;
        let done = match self.command {
            Command::Erase { account, yes, last_administrator } => {
                erase(&commands, &account, yes, last_administrator).await
            }
            Command::Export { account, output, .. } => match find(&commands, &account).await {
                Ok(account_id) => export::export(&commands, config, account_id, &output).await,
                Err(error) => Err(error),
            },
            Command::MakeAdministrator { account } => match find(&commands, &account).await {
                Ok(account_id) => administrators::make(&commands, account_id, &account).await,
                Err(error) => Err(error),
            },
            Command::ResetSecondFactor { account } => match find(&commands, &account).await {
                Ok(account_id) => administrators::reset_second_factor(&commands, account_id, &account).await,
                Err(error) => Err(error),
            },
            Command::Keep { account } => keep(&commands, &account).await,
        };
        commands.shutdown().await;
        done
    }
}

async fn find(commands: &Commands, account: &str) -> anyhow::Result<AccountId> {
    let found = match account.parse::<AccountId>() {
        Ok(account_id) => Some(account_id),
        Err(_) => accounts::by_username(commands, account).await.context("the account cannot be looked for")?,
    };
    found.with_context(|| format!("there is no account {account}"))
}

async fn keep(commands: &Commands, account: &str) -> anyhow::Result<()> {
    let account_id = find(commands, account).await?;
    let (reason, metadata) = (ErasureCancelledReason::Operator, Metadata::new(Actor::System));
    match due_erasures::cancel(commands, account_id, reason, metadata).await {
        Ok(true) => println!("{account_id} stays"),
        Ok(false) => println!("{account_id} was not to be erased"),
        Err(CommandError::Refused(_)) => bail!("{account} was erased"),
        Err(error) => return Err(error).context("the erasure could not be called off; try again"),
    }
    Ok(())
}

async fn erase(commands: &Commands, account: &str, yes: bool, last_administrator: bool) -> anyhow::Result<()> {
    let account_id = find(commands, account).await?;
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
            "{account} is an administrator, who has to give that up first; with --last-administrator it is erased all \
             the same, and if nobody is one then, `weir setup-token` makes the token for the next"
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
