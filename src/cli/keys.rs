//! `weir keys`: the master key.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::{Args, Subcommand};
use commands::keys::Rotation;

use crate::{config::Config, node, secrets::Secrets};

#[derive(Debug, Args)]
pub(crate) struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new master key, and seal everything again under it while all nodes go on
    ///
    /// What was interrupted goes on where it was. Where nodes have copies of the secrets file, begin with --prepare, copy the
    /// file to all of them, and then rotate; copy it once more afterwards, so that none keeps the former key.
    Rotate {
        /// Only put the new key beside the old one in the secrets file
        #[arg(long)]
        prepare: bool,
    },
}

impl Keys {
    pub(crate) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let Command::Rotate { prepare } = self.command;
        rotate(config, prepare).await
    }
}

async fn rotate(config: &Config, only_prepare: bool) -> anyhow::Result<()> {
    // Not made anew: a rotation needs the keys that there are.
    Secrets::load_existing(&config.secrets_file)?;
    let pool = node::open_pool(config).await?;
    let mut rotation = Rotation::begin(&pool).await?;
    // Read once nobody else can change them.
    let mut secrets = Secrets::load_existing(&config.secrets_file)?;
    rotation.check(&secrets.master_keys()).await?;
    let file = config.secrets_file.display();
    if secrets.add_master_key()? {
        say(&format!("{file} has a new master key, and the former one beside it"));
    } else {
        say(&format!("{file} has a new master key from before; going on with it"));
    }
    if only_prepare {
        say("Copy it to all nodes, then run `weir keys rotate`");
        return Ok(());
    }
    let mut shown = std::time::Instant::now();
    let is_terminal = std::io::stderr().is_terminal();
    let rotated = rotation
        .rotate(&secrets.master_keys(), |rotated| {
            let pause = std::time::Duration::from_millis(if is_terminal { 200 } else { 5_000 });
            if shown.elapsed() >= pause {
                shown = std::time::Instant::now();
                say(&format!("{} keys of accounts and {} secrets sealed again", rotated.keys, rotated.secrets));
            }
        })
        .await
        .context("the rotation did not get to its end; nothing is lost, run it again to go on")?;
    secrets.forget_former_master_keys()?;
    println!(
        "{} keys of accounts and {} secrets are sealed under the new master key; {file} has it alone. Keep a copy of the \
         file, and the former one as long as there are backups of the database from before",
        rotated.keys, rotated.secrets
    );
    Ok(())
}

fn say(line: &str) {
    // Nobody may be reading any more, and the rotation goes on.
    drop(writeln!(std::io::stderr(), "{line}"));
}
