//! The demo: an account with a channel, and a test picture for it.

mod picture;

use std::path::Path;

use anyhow::Context;
use commands::{
    Actor, Commands, Metadata,
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
    if let Some(kept) = kept(&file)? {
        let stream_key = commands::channels::stream_key(commands, kept.account_id, kept.channel_id).await;
        let stream_key = stream_key.context("the demo channel's key cannot be read")?;
        return Ok(DemoChannel { password: kept.password, stream_key });
    }
    let password = Alphanumeric.sample_string(&mut rand::rng(), 20);
    let registered = commands::accounts::register(
        commands,
        Register {
            username: USERNAME.to_owned(),
            email: "demo@weir.invalid".to_owned(),
            password: Zeroizing::new(password.clone()),
            setup_token: None,
            metadata: Metadata::new(Actor::System),
        },
    )
    .await
    .context("the demo account cannot be made")?;
    let created = commands::channels::create(
        commands,
        CreateChannel {
            owner_id: registered.account_id,
            handle: HANDLE.to_owned(),
            title: "A test picture, live".to_owned(),
            description: "Made by ffmpeg on this machine: a moving picture with a clock, and a tone.".to_owned(),
            metadata: Metadata::new(Actor::System),
        },
    )
    .await
    .context("the demo channel cannot be made")?;
    let kept = Kept { password, account_id: registered.account_id, channel_id: created.channel_id };
    secrets::write_new(&file, &toml::to_string(&kept).context("the demo account cannot be written as text")?)?;
    let stream_key = commands::channels::stream_key(commands, kept.account_id, kept.channel_id).await;
    Ok(DemoChannel {
        password: kept.password,
        stream_key: stream_key.context("the demo channel's key cannot be read")?,
    })
}

#[derive(Serialize, Deserialize)]
struct Kept {
    password: String,
    account_id: AccountId,
    channel_id: ChannelId,
}

fn kept(file: &Path) -> anyhow::Result<Option<Kept>> {
    match std::fs::read_to_string(file) {
        Ok(text) => Ok(Some(toml::from_str(&text).with_context(|| format!("{} is damaged", file.display()))?)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{} cannot be read", file.display())),
    }
}
