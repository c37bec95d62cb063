//! Who may watch what, as the media plane of this node knows it: read from the read models once, and from the log as it grows.
//!
//! The log is what all nodes follow, not a message beside it: a node that starts, or that was cut off, goes on where it was,
//! and nothing that was taken away is missed. An append wakes every node by a notification of Postgres; where one is lost,
//! the log is looked at a second later at the latest.

mod unread;

use std::time::Duration;

use api::{PlaybackPass, PlaybackTokens, RecordingPass};
use commands::{
    Commands,
    events::{self, Filter, StoredEvent},
};
use domain::{
    DomainEvent,
    accounts::{PersonalTokenEvent, SessionEvent},
    channels::{ChannelEvent, ChannelRole, Visibility},
    ids::{ChannelId, StreamId},
    invites::InviteEvent,
    recordings::{RecordingEvent, RecordingVisibility},
    streams::StreamEvent,
};
use ingest::{
    RecordingUse,
    rights::{Bearer, Change, ChannelRights, LONGEST_S, Pass, PlaybackKeys, RecordingTerms, Rights},
};
use projections::ReadModels;
use time::OffsetDateTime;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

pub use self::unread::Unread;
use super::{kept_out, withdrawn};
use crate::secrets::Secrets;

/// What takes rights away, or says what belongs to whom.
const TYPES: &[&str] = &[
    "channel.visibility_changed",
    "channel.role_given",
    "channel.role_taken",
    "channel.closed",
    "session.ended",
    "personal_token.revoked",
    "invite.revoked",
    "stream.started",
    "recording.started",
    "recording.edited",
    "recording.deleted",
    "account.suspended",
    "account.reinstated",
    "report.decided",
];
/// Those of them that are read from the log at the start, as far back as there may be tokens: no read model has them.
const ONE_BY_ONE: &[&str] = &[
    "session.ended",
    "personal_token.revoked",
    "invite.revoked",
    "channel.role_given",
    "channel.role_taken",
    "account.suspended",
    "report.decided",
];
const READ_LEN: i64 = 1_000;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// For so long at most the log is read on at a time, once all of before is known: a server that vanished without a word would be
/// waited for for ever.
const LOOK_WITHIN: Duration = Duration::from_secs(20);
/// How long after its tokens an ended session is remembered: clocks differ.
const CLOCKS_DIFFER_S: u64 = 5 * 60;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The keys of tokens, of a secrets file.
pub fn playback_keys(secrets: &Secrets) -> PlaybackKeys {
    let (current, former) = secrets.playback_keys();
    PlaybackKeys::new(current.0, former.into_iter().map(|key| key.0))
}

/// Makes tokens with the keys of this install.
pub struct Tokens(pub PlaybackKeys);

impl PlaybackTokens for Tokens {
    fn mint(&self, pass: &PlaybackPass) -> String {
        let PlaybackPass { channel_id, version, session_id, invite_id, expires_at } = *pass;
        let bearer = match (session_id, invite_id) {
            (_, Some(invite_id)) => Bearer::Invited(channel_id, invite_id),
            (Some(session_id), None) => Bearer::Session(channel_id, session_id),
            (None, None) => Bearer::Anybody(channel_id),
        };
        let expires_at_s = u64::try_from(expires_at.unix_timestamp()).unwrap_or_default();
        self.0.mint(&Pass { bearer, version, expires_at_s }).expect("the keys of an install are never none")
    }

    fn mint_recording(&self, pass: &RecordingPass) -> String {
        let RecordingPass { recording_id, visibility, is_download_allowed, channel_visibility, .. } = *pass;
        let wanted = if pass.is_download { RecordingUse::Download } else { RecordingUse::Play };
        let terms = RecordingTerms::digest(visibility, is_download_allowed, channel_visibility, wanted);
        let takes_role = RecordingTerms::takes_role(visibility, is_download_allowed, channel_visibility, wanted);
        // An address that nobody needs a role for stays the same when the channel gets another title.
        let version = if takes_role { pass.channel_version } else { 0 };
        let bearer = Bearer::Recording { recording_id, session_id: pass.session_id, wanted, terms };
        let expires_at_s = u64::try_from(pass.expires_at.unix_timestamp()).unwrap_or_default();
        self.0.mint(&Pass { bearer, version, expires_at_s }).expect("the keys of an install are never none")
    }
}

/// Tells `rights` all there is to know, and goes on to, until `cancel`. What of it cannot be read `unread` is told.
pub async fn follow_rights(
    commands: Commands,
    read: ReadModels,
    rights: Rights,
    unread: Unread,
    cancel: CancellationToken,
) {
    let following = async {
        let follower = Follower { commands, read, rights, unread };
        let mut growth = follower.commands.growth();
        let mut position = None;
        let mut retry = FIRST_RETRY;
        loop {
            let advanced = match position {
                // That takes as long as it takes.
                None => follower.advance(&mut position).await,
                Some(_) => {
                    let advanced = timeout(LOOK_WITHIN, follower.advance(&mut position)).await;
                    advanced.unwrap_or_else(|_| Err("Postgres does not answer".into()))
                }
            };
            match advanced {
                Ok(()) => {
                    retry = FIRST_RETRY;
                    growth.wait().await;
                }
                Err(error) => {
                    if retry == FIRST_RETRY {
                        warn!(
                            error = &*error as &(dyn std::error::Error + 'static),
                            "rights to watch wait for the log"
                        );
                    }
                    tokio::time::sleep(retry).await;
                    retry = LAST_RETRY.min(retry * 2);
                }
            }
        }
    };
    cancel.run_until_cancelled(following).await;
}

struct Follower {
    commands: Commands,
    read: ReadModels,
    rights: Rights,
    unread: Unread,
}

impl Follower {
    /// Goes on to the head of the log; from nothing, when there is no position yet. Cancel safe: it goes on where it was.
    async fn advance(&self, position: &mut Option<i64>) -> Result<(), BoxError> {
        let mut after = match *position {
            Some(position) => position,
            None => self.load().await?,
        };
        // Positions commit in order, so all that is at or before the head can be seen.
        let head = events::head(self.commands.pool()).await?;
        while after < head {
            let types = TYPES.iter().map(|name| (*name).to_owned()).collect();
            let filter = Filter { after, until: Some(head), types, ..Filter::default() };
            let found = events::page(self.commands.pool(), &filter, READ_LEN).await?;
            for stored in &found {
                self.take(stored).await?;
                *position = Some(stored.position);
            }
            let is_whole = (found.len() as i64) < READ_LEN;
            after = if is_whole { head } else { found.last().map_or(head, |last| last.position) };
        }
        *position = Some(after);
        if !self.rights.is_complete() {
            self.rights.complete();
            info!(position = after, "it is known who may watch what");
        }
        Ok(())
    }

    /// What the read models know, and what was taken away one by one while tokens for it may be about; the position from which
    /// the log is to be read.
    async fn load(&self) -> Result<i64, BoxError> {
        let (position, channels) = self.read.channels().restricted().await?;
        for channel in channels {
            let rights = ChannelRights {
                channel_id: channel.id,
                visibility: channel.visibility,
                version: channel.version,
                is_closed: channel.is_closed,
            };
            self.restrict(rights).await?;
        }
        let mut kept_out = kept_out::Last::until(position);
        while let Some(last) = kept_out.next(&self.commands).await? {
            for stored in &last {
                self.take(stored).await?;
            }
        }
        let mut after = 0;
        let from = OffsetDateTime::now_utc() - Duration::from_secs(LONGEST_S + CLOCKS_DIFFER_S);
        loop {
            let types = ONE_BY_ONE.iter().map(|name| (*name).to_owned()).collect();
            let filter = Filter { after, until: Some(position), from: Some(from), types, ..Filter::default() };
            let found = events::page(self.commands.pool(), &filter, READ_LEN).await?;
            for stored in &found {
                self.take(stored).await?;
            }
            match found.last() {
                Some(last) if found.len() as i64 == READ_LEN => after = last.position,
                _ => return Ok(position),
            }
        }
    }

    async fn take_known(&self, stored: &StoredEvent) -> Result<(), BoxError> {
        let StoredEvent { aggregate_type, event_type, event_version, payload, .. } = stored;
        match DomainEvent::decode(aggregate_type, event_type, event_version, payload.get())? {
            DomainEvent::Channel(ChannelEvent::VisibilityChanged { channel_id, visibility, .. }) => {
                self.restrict(ChannelRights { channel_id, visibility, version: stored.sequence, is_closed: false })
                    .await?;
            }
            DomainEvent::Channel(ChannelEvent::Closed { channel_id, .. }) => {
                self.close(channel_id, stored);
            }
            // Who had a role may have tokens, and nobody keeps a list of them: all are worth nothing, and whoever still may asks
            // for another.
            DomainEvent::Channel(ChannelEvent::RoleTaken { channel_id, .. }) => {
                self.take_role_and_renew(channel_id, stored);
            }
            // In place of more than that, it may be; nothing tells.
            DomainEvent::Channel(ChannelEvent::RoleGiven { channel_id, role: ChannelRole::Moderator, .. }) => {
                self.take_role(channel_id, stored);
            }
            DomainEvent::Session(SessionEvent::Ended { session_id, .. }) => {
                self.rights.learn(Change::Session { session_id, until_s: known_until_s(stored) });
            }
            // What a personal token may watch carries its id in the place of a session's.
            DomainEvent::PersonalToken(PersonalTokenEvent::Revoked { token_id, .. }) => {
                let until_s = known_until_s(stored);
                self.rights.learn(Change::Session { session_id: token_id.uuid().into(), until_s });
            }
            DomainEvent::Invite(InviteEvent::Revoked { invite_id, .. }) => {
                self.rights.learn(Change::Invite { invite_id, until_s: known_until_s(stored) });
            }
            DomainEvent::Stream(StreamEvent::Started { stream_id, channel_id, .. })
                if self.is_restricted(channel_id) =>
            {
                self.rights.belongs(stream_id.uuid(), channel_id);
            }
            DomainEvent::Recording(RecordingEvent::Started { recording_id, channel_id, .. })
                if self.is_restricted(channel_id) =>
            {
                self.rights.belongs(recording_id.uuid(), channel_id);
            }
            DomainEvent::Recording(event) => {
                if let Some(terms) = terms_after(&event, stored.sequence) {
                    self.rights.learn(Change::Recording(terms));
                }
            }
            event => {
                // First what the event says by itself.
                for change in kept_out::by(&self.commands, &event, stored.sequence).await? {
                    self.rights.learn(change);
                }
                self.withdraw(&self.withdrawn_by(&event, stored).await?);
            }
        }
        Ok(())
    }

    fn close(&self, channel_id: ChannelId, stored: &StoredEvent) {
        let visibility = self.rights.of_channel(channel_id).visibility;
        let version = stored.sequence;
        self.rights.learn(Change::Channel(ChannelRights { channel_id, visibility, version, is_closed: true }));
    }

    fn withdraw(&self, streams: &[StreamId]) {
        let until = OffsetDateTime::now_utc() + withdrawn::KNOWN_FOR;
        let until_s = u64::try_from(until.unix_timestamp()).unwrap_or_default();
        for stream_id in streams {
            self.rights.learn(Change::Withdrawn { stream_id: *stream_id, until_s });
        }
    }

    fn take_role_and_renew(&self, channel_id: ChannelId, stored: &StoredEvent) {
        self.take_role(channel_id, stored);
        let rights = self.rights.of_channel(channel_id);
        if rights.visibility == Visibility::Private && !rights.is_closed {
            self.rights.learn(Change::Renewed(ChannelRights { version: stored.sequence, ..rights }));
        }
    }

    fn take_role(&self, channel_id: ChannelId, stored: &StoredEvent) {
        let (version, until_s) = (stored.sequence, known_until_s(stored));
        self.rights.learn(Change::RoleTaken { channel_id, version, until_s });
    }

    fn is_restricted(&self, channel_id: ChannelId) -> bool {
        self.rights.of_channel(channel_id).visibility != Visibility::Public
    }

    /// What the channel has comes before its rights, so that there is no moment at which it is nobody's.
    async fn restrict(&self, rights: ChannelRights) -> Result<(), BoxError> {
        let channel_id = rights.channel_id;
        if rights.visibility != Visibility::Public {
            for stream_id in commands::streams::of_channel(&self.commands, channel_id).await? {
                self.rights.belongs(stream_id.uuid(), channel_id);
            }
            // Their ids alone: one with an event that cannot be read belongs to the channel, too.
            for recording_id in commands::recordings::ids_of_channel(&self.commands, channel_id).await? {
                self.rights.belongs(recording_id.uuid(), channel_id);
            }
        }
        self.rights.learn(Change::Channel(rights));
        Ok(())
    }
}

/// Until when it must be known what an event has taken away: there may be tokens for it, given out just before.
fn known_until_s(stored: &StoredEvent) -> u64 {
    u64::try_from(stored.recorded_at.unix_timestamp()).unwrap_or_default() + LONGEST_S + CLOCKS_DIFFER_S
}

/// The terms of a recording after an event that changes them.
fn terms_after(event: &RecordingEvent, version: i64) -> Option<RecordingTerms> {
    let terms = |recording_id, channel_id, visibility, is_download_allowed, is_deleted| RecordingTerms {
        recording_id,
        channel_id,
        visibility,
        is_download_allowed,
        is_deleted,
        version,
    };
    match *event {
        RecordingEvent::Edited { recording_id, channel_id, visibility, is_download_allowed, .. } => {
            Some(terms(recording_id, channel_id, visibility, is_download_allowed, false))
        }
        RecordingEvent::Deleted { recording_id, channel_id, .. } => {
            Some(terms(recording_id, channel_id, RecordingVisibility::Archived, false, true))
        }
        RecordingEvent::Started { .. } | RecordingEvent::Published { .. } | RecordingEvent::Failed { .. } => None,
    }
}
