//! Invites: made, shown and taken back by a channel's owner, and shown by whoever has one.
//!
//! The secret of a link is the invite's id and a keyed digest of it: nothing is kept of it, so it can be shown again, and
//! nobody can make one without the keys of the install.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    channels::{Channel, ChannelAct, ChannelRefusal},
    ids::{AccountId, ChannelId, InviteId},
    invites::{Invite, InviteCommand, InviteRefusal},
};
use subtle::ConstantTimeEq;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{CommandError, Commands, LoadError, Metadata};

const ID_LEN: usize = 16;
/// 160 bits, as a stream key has.
const DIGEST_LEN: usize = 20;
const LEN: usize = ID_LEN + DIGEST_LEN;

/// A new invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedInvite {
    /// The invite.
    pub invite_id: InviteId,
    /// Where its event is in the log.
    pub position: i64,
}

/// What an invite that is good lets its bearer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// The invite.
    pub invite_id: InviteId,
    /// The channel that it lets in.
    pub channel_id: ChannelId,
    /// How many events the channel has had.
    pub channel_version: i64,
    /// When it ends by itself; `None` for never.
    pub expires_at: Option<OffsetDateTime>,
}

/// Makes a link into a channel.
///
/// # Errors
/// [`CommandError::Refused`] to anybody but the channel's owner, when there is no such channel, or the link would be over at
/// once.
pub async fn create(
    commands: &Commands,
    channel_id: ChannelId,
    by: AccountId,
    expires_at: Option<OffsetDateTime>,
    metadata: Metadata,
) -> Result<CreatedInvite, CommandError<InviteRefusal>> {
    let channel = commands.load::<Channel>(&channel_id.to_string()).await?.map(|(channel, _)| channel);
    let channel = channel.ok_or(CommandError::Refused(InviteRefusal::Unknown))?;
    channel.authorise(by, ChannelAct::ManageInvites).map_err(|refusal| {
        CommandError::Refused(match refusal {
            ChannelRefusal::NotAllowed => InviteRefusal::NotOwner,
            _ => InviteRefusal::Unknown,
        })
    })?;
    let invite_id = InviteId::from(Uuid::now_v7());
    let expires_at = expires_at.map(domain::timestamp::cut);
    let command = InviteCommand::Create { invite_id, channel_id, by, expires_at };
    let position = commands.execute::<Invite>(&invite_id.to_string(), command, metadata).await?.position;
    Ok(CreatedInvite { invite_id, position })
}

/// Takes a link back; the same again is fine. Answers the position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] to anybody but the channel's owner, and when there is no such invite.
pub async fn revoke(
    commands: &Commands,
    invite_id: InviteId,
    by: AccountId,
    metadata: Metadata,
) -> Result<i64, CommandError<InviteRefusal>> {
    Ok(commands.execute::<Invite>(&invite_id.to_string(), InviteCommand::Revoke { by }, metadata).await?.position)
}

/// The channel that an invite was made for; `None` when there is no such invite.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn channel_of(commands: &Commands, invite_id: InviteId) -> Result<Option<ChannelId>, LoadError> {
    let invite = commands.load::<Invite>(&invite_id.to_string()).await?;
    Ok(invite.and_then(|(invite, _)| invite.channel_id()))
}

/// What stands in the link of an invite: 48 letters, digits, `-` and `_`.
#[must_use]
pub fn secret(commands: &Commands, invite_id: InviteId) -> String {
    let mut secret = [0; LEN];
    secret[..ID_LEN].copy_from_slice(invite_id.uuid().as_bytes());
    secret[ID_LEN..].copy_from_slice(&digest(commands, invite_id));
    URL_SAFE_NO_PAD.encode(secret)
}

/// What a link gives the right to at `now`; `None` when it is none of ours, was taken back, is over, or its channel is closed.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn admit(commands: &Commands, secret: &str, now: OffsetDateTime) -> Result<Option<Admission>, LoadError> {
    let Some(invite_id) = read(commands, secret) else { return Ok(None) };
    let invite = commands.load::<Invite>(&invite_id.to_string()).await?;
    let Some((channel_id, expires_at)) = invite.and_then(|(invite, _)| invite.lets_into(now)) else { return Ok(None) };
    let channel = commands.load::<Channel>(&channel_id.to_string()).await?.map(|(channel, _)| channel);
    let Some(channel) = channel.filter(|channel| !channel.is_closed()) else { return Ok(None) };
    Ok(Some(Admission { invite_id, channel_id, channel_version: channel.version(), expires_at }))
}

fn read(commands: &Commands, secret: &str) -> Option<InviteId> {
    let mut bytes = [0; LEN];
    // Its letters are counted first: what is longer is not decoded at all.
    if secret.len() != LEN / 3 * 4 || URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()? != LEN {
        return None;
    }
    let (id, signed) = bytes.split_first_chunk::<ID_LEN>()?;
    let invite_id = InviteId::from(Uuid::from_bytes(*id));
    bool::from(digest(commands, invite_id).as_slice().ct_eq(signed)).then_some(invite_id)
}

fn digest(commands: &Commands, invite_id: InviteId) -> [u8; DIGEST_LEN] {
    let uuid = invite_id.uuid();
    let digest = commands.keys().digest(&[b"invite".as_slice(), uuid.as_bytes()]);
    let mut short = [0; DIGEST_LEN];
    short.copy_from_slice(&digest[..DIGEST_LEN]);
    short
}
