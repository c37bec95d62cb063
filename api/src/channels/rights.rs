//! Who may do what to a channel, as handlers ask it. The table is that of [`domain::channels::may`]; what somebody is to a
//! channel is asked of the log and of no read model, so that a role that was taken counts no more.

use commands::{accounts, invites::Admission};
use domain::{
    Principal,
    channels::{Channel, ChannelAct, Visibility, may},
    ids::{AccountId, ChannelId},
};
use projections::channels::ChannelRow;
use time::{Duration, OffsetDateTime};

use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    ports::PlaybackPass,
    server::Server,
};

/// What a right to watch depends on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rights {
    pub(crate) channel_id: ChannelId,
    pub(crate) visibility: Visibility,
}

/// A token that stands in an address.
pub(crate) struct PlaybackToken {
    pub(crate) text: String,
    pub(crate) expires_at: OffsetDateTime,
}

/// Who asks, with what they are to the whole install.
///
/// # Errors
/// When that cannot be said at the moment.
pub(crate) async fn principal(server: &Server, by: &Authenticated) -> ApiResult<Principal> {
    let account_id = by.account_id;
    let is_administrator = accounts::is_administrator(&server.commands, account_id).await?;
    Ok(Principal { account_id, is_administrator })
}

/// Whether `by` may do this to the channel; nobody may where nobody is signed in.
///
/// # Errors
/// When that cannot be said at the moment.
async fn is_allowed(
    server: &Server,
    by: Option<&Authenticated>,
    channel_id: ChannelId,
    act: ChannelAct,
) -> ApiResult<bool> {
    let Some(by) = by else { return Ok(false) };
    match server.commands.load::<Channel>(&channel_id.to_string()).await? {
        Some((channel, _)) => allows(server, &channel, by.account_id, act).await,
        None => Ok(false),
    }
}

/// The same of a channel that is known.
///
/// # Errors
/// When that cannot be said at the moment.
pub(crate) async fn allows(server: &Server, channel: &Channel, by: AccountId, act: ChannelAct) -> ApiResult<bool> {
    let standing = channel.standing(by);
    if may(standing, false, act) {
        return Ok(true);
    }
    Ok(may(standing, true, act) && accounts::is_administrator(&server.commands, by).await?)
}

/// Has everybody refused who may not do this to the channel, but may know of it.
///
/// # Errors
/// `forbidden`.
pub(crate) async fn authorise(
    server: &Server,
    by: &Authenticated,
    channel_id: ChannelId,
    act: ChannelAct,
) -> ApiResult<()> {
    if is_allowed(server, Some(by), channel_id, act).await? { Ok(()) } else { Err(not_allowed()) }
}

/// The refusal of somebody who may know of the channel.
pub(crate) fn not_allowed() -> ApiError {
    ApiError::forbidden("This account may not do this to the channel. Its owner may, or can say who does.")
}

/// Whether `by` may watch the channel, and know of it.
///
/// # Errors
/// When that cannot be said at the moment.
pub(crate) async fn may_watch(server: &Server, by: Option<&Authenticated>, rights: Rights) -> ApiResult<bool> {
    match rights.visibility {
        Visibility::Public | Visibility::Unlisted => Ok(true),
        Visibility::Private => is_allowed(server, by, rights.channel_id, ChannelAct::Watch).await,
    }
}

/// The token for the addresses of a channel that `by` may watch; `None` where it needs none.
///
/// `version` is that of the row that the right was seen in: a later change of who may watch makes the token worthless.
pub(crate) fn playback_token(
    server: &Server,
    channel_id: ChannelId,
    visibility: Visibility,
    version: i64,
    by: Option<&Authenticated>,
) -> Option<PlaybackToken> {
    if !visibility.needs_token() {
        return None;
    }
    let expires_at = expiry(OffsetDateTime::now_utc());
    let session_id = by.map(|by| by.session_id);
    let pass = PlaybackPass { channel_id, version, session_id, invite_id: None, expires_at };
    let text = server.playback_tokens.mint(&pass);
    Some(PlaybackToken { text, expires_at })
}

/// The same for whoever has an invite: it ends with that.
pub(crate) fn invited_token(server: &Server, row: &ChannelRow, admission: &Admission) -> Option<PlaybackToken> {
    if !row.visibility.needs_token() {
        return None;
    }
    let by_itself = expiry(OffsetDateTime::now_utc());
    let expires_at = admission.expires_at.map_or(by_itself, |ends_at| ends_at.min(by_itself));
    let pass = PlaybackPass {
        channel_id: row.id,
        version: row.version,
        session_id: None,
        invite_id: Some(admission.invite_id),
        expires_at,
    };
    Some(PlaybackToken { text: server.playback_tokens.mint(&pass), expires_at })
}

/// Twelve hours from the beginning of this hour: the same for an hour, so that an answer is the same too, and its ETag.
fn expiry(now: OffsetDateTime) -> OffsetDateTime {
    let into_the_hour = Duration::seconds(now.unix_timestamp().rem_euclid(3_600));
    (now - into_the_hour).replace_nanosecond(0).unwrap_or(now) + Duration::hours(12)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::expiry;

    #[test]
    fn a_token_lasts_eleven_to_twelve_hours_and_is_the_same_for_one() {
        assert_eq!(expiry(datetime!(2026-11-21 10:00:00 UTC)), datetime!(2026-11-21 22:00:00 UTC));
        assert_eq!(expiry(datetime!(2026-11-21 10:59:59.999 UTC)), datetime!(2026-11-21 22:00:00 UTC));
        assert_eq!(expiry(datetime!(2026-11-21 11:00:00.001 UTC)), datetime!(2026-11-21 23:00:00 UTC));
    }
}
