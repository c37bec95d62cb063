//! `weir mail`: whether mails can be sent.

use anyhow::Context;
use clap::{Args, Subcommand};

use crate::config::Config;

#[derive(Debug, Args)]
pub(crate) struct Mail {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Send a mail at once, as the settings say, and tell what came of it
    Test {
        /// Whom to
        address: String,
    },
}

impl Mail {
    pub(crate) async fn run(self, config: &Config) -> anyhow::Result<()> {
        let Command::Test { address } = self.command;
        let public_url = config.public_url(config.http);
        let post = config.mail.post(&config.data_dir, &public_url)?;
        processes::mail::test(&post, &address, &public_url).await.context("the mail was not sent")?;
        match &config.mail.host {
            Some(host) => println!("{host} has taken the mail; whether it arrives, {address} will show"),
            None => {
                println!("no mail server is set: the mail is in {}", config.mail.folder(&config.data_dir).display());
            }
        }
        Ok(())
    }
}
