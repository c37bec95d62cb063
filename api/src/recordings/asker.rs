//! Whoever asks for recordings of a channel: what they may there, and the addresses that they get.

use domain::{
    channels::{Channel, ChannelAct, Visibility},
    recordings::{RecordingState, RecordingVisibility},
};
use projections::recordings::RecordingRow;
use time::{Duration, OffsetDateTime};

use crate::{
    authentication::Authenticated,
    channels::{Rights, allows},
    error::ApiResult,
    ports::RecordingPass,
    server::Server,
};

/// How long an address with a token is good at least; it is the same for an hour, so that answers and their ETags are.
const ADDRESS_FOR: Duration = Duration::hours(11);

/// What somebody is to a channel. All of it comes from one look at the log: a token says of which version of the channel that
/// was, and a role that is taken later ends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    by: Option<&'a Authenticated>,
    /// Whether they see all recordings. Whoever does may download them, too.
    pub(super) is_keeper: bool,
    /// Whether they may watch the channel, and know of it.
    pub(super) may_watch: bool,
    channel_version: i64,
}

impl<'a> Asker<'a> {
    /// Looks at what `by` is to a channel.
    ///
    /// # Errors
    /// When that cannot be said at the moment.
    pub(super) async fn look(server: &Server, by: Option<&'a Authenticated>, rights: Rights) -> ApiResult<Self> {
        let may_watch = rights.visibility != Visibility::Private;
        let stranger = Self { by, is_keeper: false, may_watch, channel_version: 0 };
        let Some(who) = by else { return Ok(stranger) };
        let found = server.commands.load::<Channel>(&rights.channel_id.to_string()).await?;
        let Some((channel, channel_version)) = found else { return Ok(stranger) };
        let is_keeper = allows(server, &channel, who.account_id, ChannelAct::SeeRecordings).await?;
        let may_watch = may_watch || allows(server, &channel, who.account_id, ChannelAct::Watch).await?;
        Ok(Self { by, is_keeper, may_watch, channel_version })
    }

    /// Where a recording is played from, without a slash at the end; `None` before it is ready.
    pub(super) fn folder(&self, server: &Server, row: &RecordingRow) -> Option<String> {
        let is_ready = row.state == RecordingState::Published;
        is_ready.then(|| {
            let token = self.token(server, row, false);
            server.addresses.page(&format!("/vod/{token}{}", row.id))
        })
    }

    /// Where the file is, for whoever may have it.
    pub(super) fn download_url(&self, server: &Server, row: &RecordingRow) -> Option<String> {
        if row.state != RecordingState::Published || !(self.is_keeper || row.is_download_allowed) {
            return None;
        }
        let token = self.token(server, row, true);
        Some(server.addresses.page(&format!("/vod/{token}{}/download.mp4", row.id)))
    }

    /// The part of an address that says who may: nothing where everybody may.
    fn token(&self, server: &Server, row: &RecordingRow, is_download: bool) -> String {
        let is_listed = row.visibility == RecordingVisibility::Published;
        let is_given = !is_download || row.is_download_allowed;
        if is_listed && row.channel_visibility == Visibility::Public && is_given {
            return String::new();
        }
        let now = OffsetDateTime::now_utc();
        let into_the_hour = Duration::seconds(now.unix_timestamp().rem_euclid(3_600));
        let expires_at = now - into_the_hour + Duration::hours(1) + ADDRESS_FOR;
        let token = server.playback_tokens.mint_recording(&RecordingPass {
            recording_id: row.id,
            visibility: row.visibility,
            is_download_allowed: row.is_download_allowed,
            channel_visibility: row.channel_visibility,
            channel_version: self.channel_version,
            is_download,
            session_id: self.by.map(|by| by.session_id),
            expires_at: expires_at.replace_nanosecond(0).unwrap_or(expires_at),
        });
        format!("t/{token}/")
    }
}
