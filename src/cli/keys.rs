//! `weir keys`: the master key, and the key of playback tokens.

use std::io::{IsTerminal, Write};

use anyhow::Context;
use clap::{Args, Subcommand};
use commands::keys::Rotation;
use ingest::rights::{Bearer, Pass};

use crate::{
    config::Config,
    node,
    secrets::{EdgeSecrets, Secrets},
    wire,
};

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
    /// Make a new key for the addresses of streams that are not public; those of before go on until they expire
    ///
    /// Nodes learn of it when they are started again, and edges when they get a new file from `weir keys edge`.
    RotatePlayback,
    /// Print the secrets file of an edge: the playback key alone. Whoever has it can watch every stream
    Edge,
    /// Print a token with which a cache that verifies gets every stream, for its `Authorization` header
    ///
    /// It is worth nothing any more once the playback key was rotated three times.
    CacheToken {
        /// How long it is good for
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3_650), value_name = "DAYS")]
        days: u32,
    },
}

impl Keys {
    pub(crate) async fn run(self, config: &Config) -> anyhow::Result<()> {
        match self.command {
            Command::Rotate { prepare } => rotate(config, prepare).await,
            Command::RotatePlayback => rotate_playback(config),
            Command::Edge => {
                print!("{}", EdgeSecrets::of(&Secrets::load_existing(&config.secrets_file)?).text()?);
                Ok(())
            }
            Command::CacheToken { days } => cache_token(config, days),
        }
    }
}

fn rotate_playback(config: &Config) -> anyhow::Result<()> {
    Secrets::load_existing(&config.secrets_file)?.add_playback_key()?;
    println!(
        "{} has a new playback key, and the former one beside it; start the nodes again, and give edges a new file with \
         `weir keys edge`",
        config.secrets_file.display()
    );
    Ok(())
}

fn cache_token(config: &Config, days: u32) -> anyhow::Result<()> {
    let keys = wire::playback_keys(&Secrets::load_existing(&config.secrets_file)?);
    let expires_at = time::OffsetDateTime::now_utc() + time::Duration::days(days.into());
    let expires_at_s = u64::try_from(expires_at.unix_timestamp()).context("the clock stands before 1970")?;
    let token = keys.mint(&Pass { bearer: Bearer::Edge, version: 0, expires_at_s });
    println!("{}", token.context("there is no playback key")?);
    Ok(())
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
