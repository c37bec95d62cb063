//! Who may watch what, as far as it must be known without asking a database: which channels are not public, what belongs to
//! them, and which rights were taken away before their tokens expire.
//!
//! Whoever knows the log, or an origin that does, tells a [`Rights`] what has happened; it never forgets what it would need
//! to refuse. To be told twice, or in another order, changes nothing: of two things said of a channel that of the higher
//! version counts.

mod recordings;
mod token;
mod told;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    future::pending,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use domain::{
    channels::Visibility,
    ids::{ChannelId, InviteId, SessionId, StreamId},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use uuid::Uuid;

pub use recordings::{KnownRecording, RecordingDecision, RecordingTerms};
pub(crate) use token::now_s;
pub use token::{Bearer, LONGEST_S, Pass, PlaybackKeys};
pub use told::Told;

use crate::bell::Bell;

/// How many changes are kept for relays that follow; one that comes later is told everything.
const KEPT_CHANGES: usize = 4_096;

/// Who may watch a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelRights {
    /// The channel.
    pub channel_id: ChannelId,
    /// Who may watch it.
    pub visibility: Visibility,
    /// How many events the channel had had by then. Tokens of a lower version are worth nothing.
    pub version: i64,
    /// Whether it was closed: then nobody may.
    pub is_closed: bool,
}

impl ChannelRights {
    /// Of a channel of which nothing else is known: everybody may.
    #[must_use]
    pub fn public(channel_id: ChannelId) -> Self {
        Self { channel_id, visibility: Visibility::Public, version: 0, is_closed: false }
    }
}

/// Something that has happened to rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Change {
    /// Others may watch a channel than before, or nobody.
    Channel(ChannelRights),
    /// Somebody may watch a channel no more, and nobody knows by which tokens: all of before are worth nothing.
    Renewed(ChannelRights),
    /// A session is over, and all that was given to it.
    Session {
        /// The session.
        session_id: SessionId,
        /// Until when that must be known, in seconds since 1970.
        until_s: u64,
    },
    /// A link was taken back that let its bearer into a channel.
    Invite {
        /// The link.
        invite_id: InviteId,
        /// Until when that must be known, in seconds since 1970.
        until_s: u64,
    },
    /// A recording may be had under other terms than before, or is gone.
    Recording(RecordingTerms),
    /// A stream was taken down, or its owner is kept out: nobody may watch what is left of it.
    Withdrawn {
        /// The stream.
        stream_id: StreamId,
        /// Until when that must be known, in seconds since 1970: by then nobody has anything of it.
        until_s: u64,
    },
    /// The owner of a channel is kept out, and nothing that was recorded of it is shown; or not any more.
    KeptOut {
        /// The channel.
        channel_id: ChannelId,
        /// How many events the owner's account had had by then.
        version: i64,
        /// Until when, in seconds since 1970; 0 once they are let in again.
        until_s: u64,
    },
    /// Somebody has less of a role in a channel than before. Nobody keeps a list of what was given to them for it, so all tokens of
    /// before that took one are worth nothing, and whoever still may asks for others.
    RoleTaken {
        /// The channel.
        channel_id: ChannelId,
        /// How many events it had had by then.
        version: i64,
        /// Until when that must be known, in seconds since 1970.
        until_s: u64,
    },
}

impl Change {
    /// What is over with it, and until when that must be known.
    fn ended(self) -> Option<(Uuid, u64)> {
        match self {
            Self::Session { session_id, until_s } => Some((session_id.uuid(), until_s)),
            Self::Invite { invite_id, until_s } => Some((invite_id.uuid(), until_s)),
            Self::Withdrawn { stream_id, until_s } => Some((stream_id.uuid(), until_s)),
            Self::Channel(_)
            | Self::Renewed(_)
            | Self::Recording(_)
            | Self::KeptOut { .. }
            | Self::RoleTaken { .. } => None,
        }
    }
}

/// Why something is not shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no token where one is needed.
    TokenMissing,
    /// The token is none of ours, is for something else, has expired, or was taken back.
    TokenWrong,
}

/// What is known of rights. Cheap to clone: clones share it.
#[derive(Clone)]
pub struct Rights(Arc<Shared>);

struct Shared {
    keys: PlaybackKeys,
    table: RwLock<Table>,
    /// Rings when a channel's rights change: every request that is held looks again.
    channels: Bell<()>,
    /// Rings when a session ends: requests with a token look again.
    sessions: Bell<()>,
    is_complete: watch::Sender<bool>,
    /// The number of the last change that is kept.
    last_change: watch::Sender<u64>,
    /// Another one is another memory: numbers of changes mean nothing in it.
    epoch: Uuid,
}

#[derive(Default)]
struct Table {
    channels: HashMap<ChannelId, ChannelRights>,
    /// What belongs to channels: streams, recordings.
    owned: HashMap<Uuid, ChannelId>,
    /// Sessions and invites that are over and streams that are withdrawn, and until when that matters.
    ended: HashMap<Uuid, u64>,
    invites: HashSet<Uuid>,
    withdrawn: HashSet<Uuid>,
    recordings: recordings::Terms,
    /// Of channels in which somebody had more of a role before.
    roles: HashMap<ChannelId, RoleTaken>,
    /// Of channels whose owner was kept out: by which version of the account, and until when.
    kept_out: HashMap<ChannelId, (i64, u64)>,
    /// The number of the first of `changes`.
    first: u64,
    changes: VecDeque<Change>,
}

/// When somebody last had more of a role in a channel than after.
#[derive(Clone, Copy)]
struct RoleTaken {
    /// How many events the channel had had by then.
    version: i64,
    until_s: u64,
}

impl Rights {
    /// Knows nothing yet: see [`Rights::complete`].
    #[must_use]
    pub fn new(keys: PlaybackKeys) -> Self {
        Self(Arc::new(Shared {
            keys,
            table: RwLock::default(),
            channels: Bell::new(()),
            sessions: Bell::new(()),
            is_complete: watch::Sender::new(false),
            last_change: watch::Sender::new(0),
            epoch: Uuid::new_v4(),
        }))
    }

    /// With which tokens are made.
    #[must_use]
    pub fn keys(&self) -> &PlaybackKeys {
        &self.0.keys
    }

    /// All that was ever restricted has been told: what is not known from now on is public.
    pub fn complete(&self) {
        self.0.is_complete.send_replace(true);
    }

    /// Whether [`Rights::complete`] was said.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        *self.0.is_complete.borrow()
    }

    /// Takes in what has happened.
    pub fn learn(&self, change: Change) {
        {
            let mut table = self.write();
            match change {
                Change::Channel(rights) | Change::Renewed(rights) => {
                    if !table.is_news(&rights, matches!(change, Change::Renewed(_))) {
                        return;
                    }
                    table.channels.insert(rights.channel_id, rights);
                }
                Change::Recording(terms) => {
                    if !table.recordings.learn(terms) {
                        return;
                    }
                }
                Change::KeptOut { channel_id, version, until_s } => {
                    if !table.keep_out(channel_id, version, until_s) {
                        return;
                    }
                }
                Change::RoleTaken { channel_id, version, until_s } => {
                    if !table.take_role(channel_id, RoleTaken { version, until_s }) {
                        return;
                    }
                }
                Change::Session { .. } | Change::Invite { .. } | Change::Withdrawn { .. } => {
                    let Some((id, until_s)) = change.ended() else { return };
                    if table.ended.insert(id, until_s).is_some() {
                        return;
                    }
                    if matches!(change, Change::Invite { .. }) {
                        table.invites.insert(id);
                    }
                    if matches!(change, Change::Withdrawn { .. }) {
                        table.withdrawn.insert(id);
                    }
                    table.forget_expired();
                }
            }
            table.changes.push_back(change);
            if table.changes.len() > KEPT_CHANGES {
                table.changes.pop_front();
                table.first += 1;
            }
            let last = table.first + table.changes.len() as u64;
            self.0.last_change.send_replace(last);
        }
        match change {
            Change::Channel(_) | Change::Renewed(_) => self.0.channels.ring(()),
            Change::Session { .. } | Change::Invite { .. } => self.0.sessions.ring(()),
            // Whoever has a recording waits for any change.
            Change::Recording(_) | Change::KeptOut { .. } | Change::RoleTaken { .. } => {}
            // What is waited for of a stream comes to its end with it.
            Change::Withdrawn { .. } => {}
        }
    }

    /// A stream or a recording belongs to a channel.
    pub fn belongs(&self, id: impl Into<Uuid>, channel_id: ChannelId) {
        self.write().owned.insert(id.into(), channel_id);
    }

    /// What belongs to a channel that everybody may watch need not be known any more.
    pub fn forget_public(&self, id: impl Into<Uuid>) {
        let id = id.into();
        let mut table = self.write();
        let is_restricted = |rights: &ChannelRights| rights.is_closed || rights.visibility.needs_token();
        if table
            .owned
            .get(&id)
            .and_then(|channel_id| table.channels.get(channel_id))
            .is_none_or(|rights| !is_restricted(rights))
        {
            table.owned.remove(&id);
        }
    }

    /// The channel that something belongs to, as far as it is known.
    #[must_use]
    pub fn channel_of(&self, id: Uuid) -> Option<ChannelId> {
        self.read().owned.get(&id).copied()
    }

    /// Whether nobody may watch what is left of this stream.
    #[must_use]
    pub fn is_withdrawn(&self, stream_id: Uuid) -> bool {
        self.read().withdrawn.contains(&stream_id)
    }

    /// Who may watch a channel.
    #[must_use]
    pub fn of_channel(&self, channel_id: ChannelId) -> ChannelRights {
        let known = self.read().channels.get(&channel_id).copied();
        known.unwrap_or_else(|| ChannelRights::public(channel_id))
    }

    /// Whether something of this channel may be shown to whoever has `token`; `Ok(None)` where none is needed.
    ///
    /// # Errors
    /// Why not.
    pub fn decide(&self, channel_id: ChannelId, token: Option<&str>) -> Result<Option<Pass>, Refusal> {
        self.decide_by(&self.of_channel(channel_id), token)
    }

    /// As [`Rights::decide`], by what [`Rights::of_channel`] said.
    pub(crate) fn decide_by(&self, rights: &ChannelRights, token: Option<&str>) -> Result<Option<Pass>, Refusal> {
        if !rights.is_closed && !rights.visibility.needs_token() {
            return Ok(None);
        }
        let token = token.ok_or(Refusal::TokenMissing)?;
        let pass = self.0.keys.check(token).ok_or(Refusal::TokenWrong)?;
        if self.is_good(&pass, rights) { Ok(Some(pass)) } else { Err(Refusal::TokenWrong) }
    }

    /// Whether a token is one of a relay of ours.
    #[must_use]
    pub fn is_edge(&self, token: &str) -> bool {
        self.edge(token).is_some()
    }

    /// What a relay of ours shows.
    pub(crate) fn edge(&self, token: &str) -> Option<Pass> {
        let pass = self.0.keys.check(token);
        pass.filter(|pass| pass.bearer == Bearer::Edge && pass.expires_at_s > now_s())
    }

    fn is_good(&self, pass: &Pass, rights: &ChannelRights) -> bool {
        let now = now_s();
        // What was taken away is remembered no longer; from an edge nothing is.
        let is_too_long = pass.expires_at_s > now + LONGEST_S && pass.bearer != Bearer::Edge;
        if pass.expires_at_s <= now || is_too_long {
            return false;
        }
        match pass.bearer {
            Bearer::Edge => true,
            Bearer::Anybody(channel_id) => {
                rights.channel_id == channel_id
                    && !rights.is_closed
                    && pass.version >= rights.version
                    && rights.visibility != Visibility::Private
            }
            Bearer::Session(channel_id, session_id) => {
                rights.channel_id == channel_id
                    && !rights.is_closed
                    && pass.version >= rights.version
                    && !self.read().ended.contains_key(&session_id.uuid())
            }
            Bearer::Invited(channel_id, invite_id) => {
                rights.channel_id == channel_id
                    && !rights.is_closed
                    && pass.version >= rights.version
                    && !self.read().ended.contains_key(&invite_id.uuid())
            }
            // It is for a recording, not for what its channel shows.
            Bearer::Recording { .. } => false,
        }
    }

    /// Returns once what was shown with `pass` (or without any) may be shown no more. Cancel safe.
    pub async fn lost(&self, channel_id: ChannelId, pass: Option<Pass>) {
        let mut channels = self.0.channels.subscribe_here();
        let mut sessions = pass.is_some().then(|| self.0.sessions.subscribe_here());
        loop {
            let rights = self.of_channel(channel_id);
            let still_may = match &pass {
                _ if rights.is_closed && pass.is_none_or(|pass| pass.bearer != Bearer::Edge) => false,
                Some(pass) => !rights.visibility.needs_token() || self.is_good(pass, &rights),
                None => !rights.visibility.needs_token(),
            };
            if !still_may {
                return;
            }
            let session_over = async {
                match &mut sessions {
                    Some(sessions) => drop(sessions.changed().await),
                    None => pending().await,
                }
            };
            // The bells live as long as we do, so there is always a next time.
            tokio::select! {
                _ = channels.changed() => {}
                () = session_over => {}
            }
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.table.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Whether these are other rights than those that are known, and newer. What changes nothing of them does not take the
    /// tokens of before away, unless it is meant to.
    fn is_news(&self, rights: &ChannelRights, is_renewed: bool) -> bool {
        self.channels.get(&rights.channel_id).is_none_or(|known| {
            let is_other = (known.visibility, known.is_closed) != (rights.visibility, rights.is_closed);
            (is_other || is_renewed) && known.version < rights.version
        })
    }

    /// Whether that was news.
    fn keep_out(&mut self, channel_id: ChannelId, version: i64, until_s: u64) -> bool {
        let is_news = self.kept_out.get(&channel_id).is_none_or(|(known, _)| *known < version);
        if is_news {
            self.kept_out.insert(channel_id, (version, until_s));
        }
        is_news
    }

    /// Whether that was news.
    fn take_role(&mut self, channel_id: ChannelId, taken: RoleTaken) -> bool {
        let is_news = self.roles.get(&channel_id).is_none_or(|known| known.version < taken.version);
        if is_news {
            self.roles.insert(channel_id, taken);
            if self.roles.len().is_power_of_two() {
                let now = now_s();
                self.roles.retain(|_, taken| taken.until_s > now);
            }
        }
        is_news
    }

    /// Now and then: when twice as many are known as there were left the last time would be better, and is not needed.
    fn forget_expired(&mut self) {
        if self.ended.len().is_power_of_two() {
            let now = now_s();
            self.ended.retain(|_, until_s| *until_s > now);
            let ended = &self.ended;
            self.invites.retain(|id| ended.contains_key(id));
            self.withdrawn.retain(|id| ended.contains_key(id));
        }
    }
}

impl Default for Rights {
    /// Everything is public, and no token is worth anything.
    fn default() -> Self {
        let rights = Self::new(PlaybackKeys::default());
        rights.complete();
        rights
    }
}

impl PartialEq for Rights {
    /// Whether it is the same memory.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Rights {}

impl std::fmt::Debug for Rights {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let table = self.read();
        formatter
            .debug_struct("Rights")
            .field("keys", &self.0.keys)
            .field("channels", &table.channels.len())
            .field("owned", &table.owned.len())
            .field("ended", &table.ended.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
