//! Channels: creating and editing them, and their stream keys.

use std::fmt;

use domain::{
    Invalid,
    channels::ChannelRefusal,
    ids::{AccountId, ChannelId},
};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{CommandError, Commands, Metadata};

/// A channel to be.
#[derive(Debug, Clone)]
pub struct CreateChannel {
    /// Who will own it.
    pub owner_id: AccountId,
    /// The handle as typed.
    pub handle: String,
    /// The title as typed.
    pub title: String,
    /// The description as typed; empty for none.
    pub description: String,
    /// Who and why, for the log.
    pub metadata: Metadata,
}

/// A new channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedChannel {
    /// The channel.
    pub channel_id: ChannelId,
    /// Where its event is in the log.
    pub position: i64,
}

/// New details of a channel.
#[derive(Debug, Clone)]
pub struct ChangeDetails {
    /// Who asks.
    pub by: AccountId,
    /// Which channel.
    pub channel_id: ChannelId,
    /// The version that the editor saw; refused as `VersionStale` when it is no longer current.
    pub expected_version: Option<i64>,
    /// A new title as typed, or `None` to leave it.
    pub title: Option<String>,
    /// A new description as typed, or `None` to leave it.
    pub description: Option<String>,
    /// Who and why, for the log.
    pub metadata: Metadata,
}

/// Why a channel was not created or edited.
#[derive(Debug, Error)]
pub enum ChannelsError {
    /// All fields that break a rule of their own; never empty.
    #[error("some fields are not valid")]
    Invalid(Vec<Invalid>),
    /// Refused, or not carried out.
    #[error(transparent)]
    Command(#[from] CommandError<ChannelRefusal>),
}

/// The secret by which an encoder publishes to a channel: `live_` and 160 random bits. Wiped when dropped.
pub struct StreamKey(Zeroizing<String>);

impl StreamKey {
    /// The key itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// What a stream key gives the right to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorisedPublisher {
    /// The channel that may be published to.
    pub channel_id: ChannelId,
    /// Its handle.
    pub handle: String,
    /// Its title, for the stream.
    pub title: String,
}

/// No channel has this stream key, or no longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no channel has this stream key")]
pub struct KeyUnknown;

/// Creates a channel with a new stream key.
///
/// # Errors
/// [`ChannelsError`]; `ChannelRefusal::HandleTaken` is the refusal to expect.
pub async fn create(commands: &Commands, create: CreateChannel) -> Result<CreatedChannel, ChannelsError> {
    let _ = (commands, create);
    todo!()
}

/// Changes title and description. Answers the position at which the log shows them.
///
/// # Errors
/// [`ChannelsError`]; refused to anybody but the owner, and for a stale version.
pub async fn change_details(commands: &Commands, change: ChangeDetails) -> Result<i64, ChannelsError> {
    let _ = (commands, change);
    todo!()
}

/// The channel's stream key, for its owner.
///
/// # Errors
/// [`CommandError::Refused`] to anybody else.
pub async fn stream_key(
    commands: &Commands,
    by: AccountId,
    channel_id: ChannelId,
) -> Result<StreamKey, CommandError<ChannelRefusal>> {
    let _ = (commands, by, channel_id);
    todo!()
}

/// Replaces the stream key; the old one is refused from then on. Answers the new key and the position of the event.
///
/// # Errors
/// [`CommandError::Refused`] to anybody but the owner.
pub async fn rotate_stream_key(
    commands: &Commands,
    by: AccountId,
    channel_id: ChannelId,
    metadata: Metadata,
) -> Result<(StreamKey, i64), CommandError<ChannelRefusal>> {
    let _ = (commands, by, channel_id, metadata);
    todo!()
}

/// Which channel an encoder with this key may publish to.
///
/// # Errors
/// [`CommandError::Refused`] for a key that is nobody's, or was replaced.
pub async fn authorise_publisher(
    commands: &Commands,
    key: &str,
) -> Result<AuthorisedPublisher, CommandError<KeyUnknown>> {
    let _ = (commands, key);
    todo!()
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StreamKey(…)")
    }
}
