//! Channels: creating and editing them, and their stream keys.

pub mod as_of;
pub mod team;

use std::fmt;

use domain::{
    Claimed, Invalid,
    channels::{Channel, ChannelClosedReason, ChannelCommand, ChannelRefusal, Description, Handle, Title, Visibility},
    ids::{AccountId, ChannelId, SecretId},
};
use sha2::{Digest, Sha256};
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    CommandError, Commands, LoadError, Metadata,
    accounts::{
        self,
        suspension::{self, Standing},
    },
    random_text,
    vault::{self, Kind, VaultError},
};

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
    /// Who may watch from now on, or `None` to leave it.
    pub visibility: Option<Visibility>,
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
    /// Who may watch it.
    pub visibility: Visibility,
    /// How many events the channel has had: whose visibility is newer is told by this.
    pub version: i64,
}

/// Why a stream key gives no right to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PublisherRefusal {
    /// No channel has it, or no longer.
    #[error("no channel has this stream key")]
    KeyUnknown,
    /// The account of the channel's owner is suspended.
    #[error("the account of the channel's owner is suspended")]
    OwnerSuspended,
}

/// Creates a channel with a new stream key.
///
/// # Errors
/// [`ChannelsError`]; `ChannelRefusal::HandleTaken` is the refusal to expect.
pub async fn create(commands: &Commands, create: CreateChannel) -> Result<CreatedChannel, ChannelsError> {
    let CreateChannel { owner_id, handle, title, description, metadata } = create;
    let (handle, title, description) =
        match (Handle::parse(&handle), Title::parse(&title), Description::parse(&description)) {
            (Ok(handle), Ok(title), Ok(description)) => (handle, title, description),
            (handle, title, description) => {
                return Err(ChannelsError::Invalid(
                    [handle.err(), title.err(), description.err()].into_iter().flatten().collect(),
                ));
            }
        };
    // One that is erased in this moment may still get a channel, which the process that follows the erasure closes.
    if accounts::is_erased(commands, owner_id).await.map_err(CommandError::from)? {
        return Err(CommandError::Refused(ChannelRefusal::NoAccount).into());
    }
    let channel_id = ChannelId::from(Uuid::now_v7());
    let (stream_key, _) = keep_new_key(commands, channel_id).await.map_err(CommandError::from)?;
    let command = ChannelCommand::Create { channel_id, owner_id, handle, title, description, stream_key };
    let committed = commands.execute::<Channel>(&channel_id.to_string(), command, metadata).await?;
    Ok(CreatedChannel { channel_id, position: committed.position })
}

/// The channel that holds this handle, in any case, if one does.
///
/// # Errors
/// When the log does not answer.
pub async fn find(commands: &Commands, handle: &str) -> Result<Option<ChannelId>, sqlx::Error> {
    let held: Option<String> =
        sqlx::query_scalar("select aggregate_id from log.reservations where kind = $1 and name = $2")
            .bind(Claimed::Handle.as_str())
            .bind(handle.to_ascii_lowercase())
            .fetch_optional(commands.pool())
            .await?;
    held.map(|id| id.parse()).transpose().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// Changes title, description and visibility. Answers the position at which the log shows them.
///
/// # Errors
/// [`ChannelsError`]; refused to whoever may not, and for a stale version.
pub async fn change_details(commands: &Commands, change: ChangeDetails) -> Result<i64, ChannelsError> {
    let ChangeDetails { by, channel_id, expected_version, title, description, visibility, metadata } = change;
    let title = title.as_deref().map(Title::parse).transpose();
    let description = description.as_deref().map(Description::parse).transpose();
    let (title, description) = match (title, description) {
        (Ok(title), Ok(description)) => (title, description),
        (title, description) => {
            let invalid = [title.err(), description.err()];
            return Err(ChannelsError::Invalid(invalid.into_iter().flatten().collect()));
        }
    };
    let command = ChannelCommand::ChangeDetails { by, expected_version, title, description, visibility };
    let committed = commands.execute::<Channel>(&channel_id.to_string(), command, metadata).await?;
    Ok(committed.position)
}

/// Closes a channel for good; the same again is fine. Its stream key is gone with it, its handle stays taken. `by` is
/// `None` when Weir itself does it. Answers a position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] to anybody but the owner, and when there is no such channel.
pub async fn close(
    commands: &Commands,
    channel_id: ChannelId,
    by: Option<AccountId>,
    reason: ChannelClosedReason,
    metadata: Metadata,
) -> Result<i64, CommandError<ChannelRefusal>> {
    let command = ChannelCommand::Close { by, reason };
    let committed = commands.execute::<Channel>(&channel_id.to_string(), command, metadata).await?;
    if let Err(error) = finish_closing(commands, channel_id).await {
        // It opens nothing any more, and the process that follows the event takes it.
        tracing::debug!(error = &error as &dyn std::error::Error, "a closed channel's stream key stays for now");
    }
    Ok(committed.position)
}

/// Destroys the secrets of a channel that was closed.
///
/// # Errors
/// When the log does not answer; to be called again then.
pub async fn finish_closing(commands: &Commands, channel_id: ChannelId) -> Result<(), sqlx::Error> {
    vault::destroy_all(commands.pool(), &channel_id.to_string()).await
}

/// The channels that an account has created, closed or not, in the order in which it did.
///
/// # Errors
/// When the log does not answer.
pub async fn of_owner(commands: &Commands, owner_id: AccountId) -> Result<Vec<ChannelId>, sqlx::Error> {
    let ids: Vec<String> = sqlx::query_scalar(
        "select aggregate_id from log.events where event_type = 'channel.created' and aggregate_type = $2 \
         and substring(payload::text from '\"owner_id\": *\"([0-9a-f-]{36})\"') = $1 order by position",
    )
    .bind(owner_id.to_string())
    .bind(<Channel as domain::Aggregate>::TYPE)
    .fetch_all(commands.pool())
    .await?;
    ids.iter().map(|id| id.parse()).collect::<Result<_, _>>().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

/// That an account may create another channel where it may have `at_most` that are not closed. Two that are created at the same moment
/// may be one too many.
///
/// # Errors
/// [`CommandError::Refused`] with [`ChannelRefusal::TooMany`].
pub async fn need_room(
    commands: &Commands,
    owner_id: AccountId,
    at_most: u32,
) -> Result<(), CommandError<ChannelRefusal>> {
    let open: i64 = sqlx::query_scalar(
        "select count(*) from log.events created where event_type = 'channel.created' and aggregate_type = $2 \
         and substring(payload::text from '\"owner_id\": *\"([0-9a-f-]{36})\"') = $1 and not exists ( \
             select from log.events closed where closed.aggregate_type = created.aggregate_type \
                 and closed.aggregate_id = created.aggregate_id and closed.event_type = 'channel.closed')",
    )
    .bind(owner_id.to_string())
    .bind(<Channel as domain::Aggregate>::TYPE)
    .fetch_one(commands.pool())
    .await?;
    if open < i64::from(at_most) { Ok(()) } else { Err(CommandError::Refused(ChannelRefusal::TooMany { at_most })) }
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
    let id = stream_key_id(commands, by, channel_id).await?;
    let key = vault::get(commands.pool(), commands.keys(), Kind::StreamKey, id).await?;
    let key = std::str::from_utf8(&key).map_err(|error| CommandError::Unexpected(error.into()))?;
    Ok(StreamKey(Zeroizing::new(key.to_owned())))
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
    let replaced = stream_key_id(commands, by, channel_id).await?;
    let (stream_key, key) = keep_new_key(commands, channel_id).await?;
    let command = ChannelCommand::RotateStreamKey { by, stream_key };
    let committed = commands.execute::<Channel>(&channel_id.to_string(), command, metadata).await?;
    if let Err(error) = vault::destroy(commands.pool(), replaced).await {
        // It opens nothing any more, and the sweep takes it.
        tracing::debug!(error = &error as &dyn std::error::Error, "a replaced stream key stays for the sweep");
    }
    Ok((key, committed.position))
}

/// Which channel an encoder with this key may publish to.
///
/// # Errors
/// [`CommandError::Refused`] for a key that is nobody's or was replaced, and while the channel's owner is suspended.
pub async fn authorise_publisher(
    commands: &Commands,
    key: &str,
) -> Result<AuthorisedPublisher, CommandError<PublisherRefusal>> {
    let unknown = || CommandError::Refused(PublisherRefusal::KeyUnknown);
    let (stream_key, channel) =
        vault::find(commands.pool(), Kind::StreamKey, lookup(key)).await?.ok_or_else(unknown)?;
    let channel_id = channel.parse::<ChannelId>().map_err(|error| CommandError::Unexpected(error.into()))?;
    // The vault may hold keys that were replaced or never taken into use; the channel knows the one.
    let (channel, _) = commands.load::<Channel>(&channel).await?.ok_or_else(unknown)?;
    if channel.is_published_with(stream_key) && is_owner_suspended(commands, &channel).await? {
        return Err(CommandError::Refused(PublisherRefusal::OwnerSuspended));
    }
    match (channel.handle(), channel.title(), channel.visibility()) {
        (Some(handle), Some(title), Some(visibility)) if channel.is_published_with(stream_key) => {
            Ok(AuthorisedPublisher {
                channel_id,
                handle: handle.as_str().to_owned(),
                title: title.as_str().to_owned(),
                visibility,
                version: channel.version(),
            })
        }
        _ => Err(unknown()),
    }
}

/// Whether nothing may be published to a channel because its owner is suspended.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn is_owner_suspended(commands: &Commands, channel: &Channel) -> Result<bool, LoadError> {
    let Some(owner_id) = channel.owner_id() else { return Ok(false) };
    Ok(suspension::standing(commands, owner_id).await? == Standing::Suspended)
}

async fn stream_key_id(
    commands: &Commands,
    by: AccountId,
    channel_id: ChannelId,
) -> Result<SecretId, CommandError<ChannelRefusal>> {
    let (channel, _) = commands
        .load::<Channel>(&channel_id.to_string())
        .await?
        .ok_or(CommandError::Refused(ChannelRefusal::Unknown))?;
    channel.stream_key(by).map_err(CommandError::Refused)
}

async fn keep_new_key(commands: &Commands, channel_id: ChannelId) -> Result<(SecretId, StreamKey), VaultError> {
    let key = Zeroizing::new(format!("live_{}", random_text::new().as_str()));
    let channel = channel_id.to_string();
    let lookup = Some(lookup(&key));
    let id = vault::put(commands.pool(), commands.keys(), Kind::StreamKey, &channel, key.as_bytes(), lookup).await?;
    Ok((id, StreamKey(key)))
}

/// By what a key is found: it is random enough to need neither salt nor key.
fn lookup(key: &str) -> [u8; 32] {
    Sha256::digest(key.as_bytes()).into()
}

impl fmt::Debug for StreamKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("StreamKey(…)")
    }
}
