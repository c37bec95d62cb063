//! Who may have which recording: by its own terms, which the log tells, and by the rights of its channel.

use std::collections::{HashMap, VecDeque};

use domain::{
    channels::Visibility,
    ids::{ChannelId, RecordingId},
    recordings::RecordingVisibility,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Bearer, Change, ChannelRights, LONGEST_S, Pass, Rights, now_s};
use crate::ports::RecordingUse;

/// How many recordings are remembered whose terms have changed. What a read model does not know yet is the newest of them.
const KEPT: usize = 10_000;

/// Under which terms a recording may be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingTerms {
    /// The recording.
    pub recording_id: RecordingId,
    /// Whose it is.
    pub channel_id: ChannelId,
    /// Who finds it.
    pub visibility: RecordingVisibility,
    /// Whether viewers may download it.
    pub is_download_allowed: bool,
    /// Whether it is gone.
    pub is_deleted: bool,
    /// How many events the recording had had by then.
    pub version: i64,
}

impl RecordingTerms {
    /// Whether only who owns the channel, has a role in it or administers the install has it under these terms: what was given to
    /// them for it is worth nothing once somebody has less of a role there than before.
    #[must_use]
    pub fn takes_role(
        visibility: RecordingVisibility,
        is_download_allowed: bool,
        channel: Visibility,
        wanted: RecordingUse,
    ) -> bool {
        let is_kept_back = wanted == RecordingUse::Download && !is_download_allowed;
        channel == Visibility::Private || visibility == RecordingVisibility::Archived || is_kept_back
    }

    /// What stands in a token for these terms: one that was given out under others is worth nothing.
    #[must_use]
    pub fn digest(
        visibility: RecordingVisibility,
        is_download_allowed: bool,
        channel: Visibility,
        wanted: RecordingUse,
    ) -> u16 {
        let downloads = match wanted {
            RecordingUse::Play => "play",
            RecordingUse::Download if is_download_allowed => "download",
            RecordingUse::Download => "download by the owner",
        };
        let terms = format!("{}/{}/{downloads}", channel.as_str(), visibility.as_str());
        let digest = Sha256::digest(terms.as_bytes());
        digest.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes))
    }
}

/// What a relay is told of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownRecording {
    /// Its own terms.
    pub terms: RecordingTerms,
    /// Who may watch its channel.
    pub channel: ChannelRights,
}

/// Whether somebody may have a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordingDecision {
    /// There is nothing for them to know of.
    Unknown,
    /// It takes a token, and this is none or not a good one.
    Refused,
    /// It may be had.
    Granted {
        /// Whether everybody may have it, so that shared caches may keep it.
        is_public: bool,
    },
}

/// The terms that are known, in the order in which they were learned.
#[derive(Default)]
pub(super) struct Terms {
    known: HashMap<RecordingId, RecordingTerms>,
    order: VecDeque<RecordingId>,
}

impl Terms {
    /// Whether that was news.
    pub(super) fn learn(&mut self, terms: RecordingTerms) -> bool {
        if let Some(known) = self.known.get_mut(&terms.recording_id) {
            let is_news = known.version < terms.version;
            if is_news {
                *known = terms;
            }
            return is_news;
        }
        self.known.insert(terms.recording_id, terms);
        self.order.push_back(terms.recording_id);
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }

    pub(super) fn all(&self) -> impl Iterator<Item = RecordingTerms> {
        self.order.iter().filter_map(|id| self.known.get(id)).copied()
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Rights {
    /// The newest terms of a recording that are known here: these, or what the log has said since.
    #[must_use]
    pub fn newest(&self, terms: RecordingTerms) -> RecordingTerms {
        let known = self.read().recordings.known.get(&terms.recording_id).copied();
        known.filter(|known| known.version > terms.version).unwrap_or(terms)
    }

    /// Whether a recording may be had by whoever has `token`, by these terms or newer ones.
    #[must_use]
    pub fn decide_recording(
        &self,
        terms: RecordingTerms,
        wanted: RecordingUse,
        token: Option<&str>,
    ) -> RecordingDecision {
        let terms = self.newest(terms);
        let channel = self.of_channel(terms.channel_id);
        if terms.is_deleted || channel.is_closed || self.is_kept_out(terms.channel_id) {
            return RecordingDecision::Unknown;
        }
        let is_listed = terms.visibility == RecordingVisibility::Published;
        let is_public = is_listed && channel.visibility == Visibility::Public;
        let is_given = wanted == RecordingUse::Play || terms.is_download_allowed;
        if is_public && is_given {
            return RecordingDecision::Granted { is_public: true };
        }
        let Some(token) = token else {
            // Whoever may have it is given an address with a token; to everybody else it is none.
            return if is_public { RecordingDecision::Refused } else { RecordingDecision::Unknown };
        };
        let pass = self.keys().check(token);
        // What a channel shows goes by the channel's own tokens, too.
        let is_good = pass.is_some_and(|pass| match pass.bearer {
            Bearer::Recording { .. } => self.is_good_for(&pass, &terms, &channel, wanted),
            Bearer::Edge => pass.expires_at_s > now_s(),
            _ => is_listed && is_given && channel.visibility.needs_token() && self.is_good(&pass, &channel),
        });
        if is_good { RecordingDecision::Granted { is_public: false } } else { RecordingDecision::Refused }
    }

    fn is_good_for(&self, pass: &Pass, terms: &RecordingTerms, channel: &ChannelRights, wanted: RecordingUse) -> bool {
        let Bearer::Recording { recording_id, session_id, wanted: given, terms: signed } = pass.bearer else {
            return false;
        };
        let (visibility, is_download_allowed) = (terms.visibility, terms.is_download_allowed);
        let now = now_s();
        let digest = RecordingTerms::digest(visibility, is_download_allowed, channel.visibility, wanted);
        let takes_role = RecordingTerms::takes_role(visibility, is_download_allowed, channel.visibility, wanted);
        let table = self.read();
        recording_id == terms.recording_id
            && given == wanted
            && signed == digest
            && pass.expires_at_s > now
            && pass.expires_at_s <= now + LONGEST_S
            && session_id.is_none_or(|session_id| !table.ended.contains_key(&session_id.uuid()))
            && (!takes_role || table.roles.get(&terms.channel_id).is_none_or(|taken| pass.version >= taken.version))
    }

    /// Whether nothing that was recorded of a channel is shown now.
    fn is_kept_out(&self, channel_id: ChannelId) -> bool {
        self.read().kept_out.get(&channel_id).is_some_and(|(_, until_s)| *until_s > now_s())
    }

    /// Returns once a recording may not be had any more by whoever has `token`. Cancel safe.
    pub async fn recording_lost(&self, terms: RecordingTerms, wanted: RecordingUse, token: Option<&str>) {
        let mut last = self.0.last_change.subscribe();
        loop {
            last.borrow_and_update();
            if !matches!(self.decide_recording(terms, wanted, token), RecordingDecision::Granted { .. }) {
                return;
            }
            // The sender lives as long as we do.
            let _ = last.changed().await;
        }
    }

    /// The recordings among what was told that are gone.
    pub(crate) fn gone(changes: &[Change]) -> impl Iterator<Item = RecordingId> {
        changes.iter().filter_map(|change| match change {
            Change::Recording(terms) if terms.is_deleted => Some(terms.recording_id),
            _ => None,
        })
    }
}
