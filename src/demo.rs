//! The demo: an account with a channel, and a test picture for it.

mod picture;

use std::path::Path;

use anyhow::Context;
use commands::{
    Actor, CommandError, Commands, Metadata,
    accounts::Register,
    channels::{CreateChannel, StreamKey},
};
use domain::ids::{AccountId, ChannelId};
use rand::distr::{Alphanumeric, SampleString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::secrets;

pub use picture::publish;

/// The demo account.
pub const USERNAME: &str = "demo";
/// The demo channel.
pub const HANDLE: &str = "demo";

/// The demo channel and who owns it.
pub struct DemoChannel {
    /// Of the demo account, random.
    pub password: String,
    /// Of the demo channel.
    pub stream_key: StreamKey,
}

/// Makes the demo account and its channel, or finds those of an earlier start.
///
/// # Errors
/// When somebody else has the names, or the log does not answer.
pub async fn channel(commands: &Commands, data_dir: &Path) -> anyhow::Result<DemoChannel> {
    let file = data_dir.join("demo-account");
    // The password is kept first, and each step looks for what an earlier start got done before it was stopped.
    let password = match kept(&file)? {
        Some(kept) => kept.password,
        None => {
            let kept = Kept { password: Alphanumeric.sample_string(&mut rand::rng(), 20) };
            secrets::write_new(&file, &toml::to_string(&kept).context("the demo account cannot be written as text")?)?;
            kept.password
        }
    };
    let owner_id = match commands::accounts::verify(commands, USERNAME, &password).await {
        Ok(account_id) => account_id,
        Err(CommandError::Refused(_)) => register(commands, &password).await?,
        Err(error) => return Err(error).context("the demo account cannot be found"),
    };
    let found = commands::channels::find(commands, HANDLE).await.context("the demo channel cannot be looked for")?;
    let channel_id = match found {
        Some(channel_id) => channel_id,
        None => create(commands, owner_id).await?,
    };
    let stream_key = commands::channels::stream_key(commands, owner_id, channel_id).await;
    Ok(DemoChannel { password, stream_key: stream_key.context("the demo channel's key cannot be read")? })
}

async fn register(commands: &Commands, password: &str) -> anyhow::Result<AccountId> {
    let register = Register {
        username: USERNAME.to_owned(),
        email: "demo@weir.invalid".to_owned(),
        password: Zeroizing::new(password.to_owned()),
        setup_token: None,
        metadata: Metadata::new(Actor::System),
    };
    let registered = commands::accounts::register(commands, register).await;
    Ok(registered
        .context("the demo account cannot be made; Weir starts without it when --demo is left out")?
        .account_id)
}

async fn create(commands: &Commands, owner_id: AccountId) -> anyhow::Result<ChannelId> {
    let create = CreateChannel {
        owner_id,
        handle: HANDLE.to_owned(),
        title: "A test picture, live".to_owned(),
        description: "Made by ffmpeg on this machine: a moving picture with a clock, and a tone.".to_owned(),
        metadata: Metadata::new(Actor::System),
    };
    let created = commands::channels::create(commands, create).await;
    Ok(created.context("the demo channel cannot be made")?.channel_id)
}

#[derive(Serialize, Deserialize)]
struct Kept {
    password: String,
}

fn kept(file: &Path) -> anyhow::Result<Option<Kept>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(toml::from_str(&text).with_context(|| format!("{} is damaged", file.display()))?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
    }
}

#[cfg(test)]
mod tests {
    use commands::{CommandsOptions, MasterKeys};

    use super::*;

    #[tokio::test]
    async fn a_start_that_was_stopped_half_way_is_finished_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let url = embedded::testing::database().await.url;
        commands::migrate(&url).await.unwrap();
        let pool = sqlx::PgPool::connect(&url).await.unwrap();
        let keys = MasterKeys::new([1; 32].into(), [2; 32].into());
        let commands = Commands::start(pool, keys, CommandsOptions::default()).await.unwrap();
        std::fs::write(folder.path().join("demo-account"), "password = \"as kept at first\"").unwrap();
        register(&commands, "as kept at first").await.unwrap();

        let made = channel(&commands, folder.path()).await.unwrap();
        assert_eq!(made.password, "as kept at first");
        let found = channel(&commands, folder.path()).await.unwrap();
        assert_eq!(found.stream_key.expose(), made.stream_key.expose());
    }
}
