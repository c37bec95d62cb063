//! Recordings: streams that are kept for later watching, from `recording.started` until they are deleted.
//!
//! A recording is made while its stream is on ([`RecordingState::Recording`]), is there to be watched once the stream is over
//! and all of it is stored, and goes when its owner, its channel's end or the channel's limits say so. What it is made of
//! lies in the storage; the log knows how much it is.

mod commands;
mod events;
mod outcome;
mod policy;
mod visibility;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

pub use commands::RecordingCommand;
pub use events::RecordingEvent;
pub use outcome::{CutShort, FinishedRecording, RecordedRendition, RecordingDeletedReason, RecordingFailure};
pub use policy::{RecordingLimits, RecordingPolicy};
pub use visibility::RecordingVisibility;

use crate::{
    Aggregate, Claimed,
    channels::Title,
    ids::{ChannelId, NodeId, RecordingId, StreamId},
};

/// Why a recording says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RecordingRefusal {
    /// The stream has a recording.
    #[error("the stream is already recorded")]
    StreamRecorded,
    /// This recording was started before.
    #[error("the recording already exists")]
    AlreadyExists,
    /// There is no such recording.
    #[error("there is no such recording")]
    Unknown,
    /// It is still being made.
    #[error("the recording is not complete yet")]
    NotFinished,
    /// It was published or failed before.
    #[error("the recording has already ended")]
    AlreadyFinished,
    /// It was deleted.
    #[error("the recording was deleted")]
    Deleted,
    /// Someone changed it in between.
    #[error("the recording was changed in the meantime: it is at version {current}")]
    VersionStale {
        /// The version that it has now.
        current: i64,
    },
}

/// How far a recording is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    /// Its stream is on, or was until just now.
    #[default]
    Recording,
    /// It can be watched.
    Published,
    /// There is nothing of it.
    Failed,
    /// It is gone.
    Deleted,
}

impl RecordingState {
    /// As stored and sent, `recording` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Published => "published",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
        }
    }
}

/// A recording as far as its rules, and whoever looks after it, need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    started: Option<RecordingOrigin>,
    state: RecordingState,
    /// Whether it failed because its node was gone.
    #[serde(default)]
    is_lost: bool,
    details: Option<Details>,
    size_bytes: i64,
    version: i64,
}

/// Where a recording comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordingOrigin {
    /// The recording.
    pub recording_id: RecordingId,
    /// The stream that it keeps.
    pub stream_id: StreamId,
    /// Whose broadcast that is.
    pub channel_id: ChannelId,
    /// The node that keeps it.
    pub node_id: NodeId,
    /// When.
    pub started_at: OffsetDateTime,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Details {
    title: Title,
    visibility: RecordingVisibility,
    is_download_allowed: bool,
}

impl Recording {
    /// Where it comes from; `None` before it exists.
    #[must_use]
    pub fn origin(&self) -> Option<RecordingOrigin> {
        self.started
    }

    /// How far it is; `None` before it exists.
    #[must_use]
    pub fn state(&self) -> Option<RecordingState> {
        self.started.map(|_| self.state)
    }

    /// Whether its node has something left to do about it: it is being made, or was given up because the node was gone.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.started.is_some() && (self.state == RecordingState::Recording || self.is_lost)
    }

    /// All that is stored of it, in bytes; 0 until it is published.
    #[must_use]
    pub fn size_bytes(&self) -> i64 {
        self.size_bytes
    }

    fn existing(&self) -> Result<RecordingOrigin, RecordingRefusal> {
        let started = self.started.ok_or(RecordingRefusal::Unknown)?;
        if self.state == RecordingState::Deleted { Err(RecordingRefusal::Deleted) } else { Ok(started) }
    }

    fn under_way(&self) -> Result<RecordingOrigin, RecordingRefusal> {
        let started = self.existing()?;
        if self.state == RecordingState::Recording { Ok(started) } else { Err(RecordingRefusal::AlreadyFinished) }
    }

    fn edit(
        &self,
        expected_version: Option<i64>,
        change: impl FnOnce(&mut Details),
        now: OffsetDateTime,
    ) -> Result<Vec<RecordingEvent>, RecordingRefusal> {
        let RecordingOrigin { recording_id, channel_id, .. } = self.existing()?;
        let details = self.details.as_ref().ok_or(RecordingRefusal::Unknown)?;
        if expected_version.is_some_and(|expected| expected != self.version) {
            return Err(RecordingRefusal::VersionStale { current: self.version });
        }
        let mut new = details.clone();
        change(&mut new);
        if new == *details {
            return Ok(Vec::new());
        }
        let Details { title, visibility, is_download_allowed } = new;
        Ok(vec![RecordingEvent::Edited {
            recording_id,
            channel_id,
            title,
            visibility,
            is_download_allowed,
            edited_at: now,
        }])
    }
}

impl Aggregate for Recording {
    const TYPE: &'static str = "recording";
    type Command = RecordingCommand;
    type Event = RecordingEvent;
    type Refusal = RecordingRefusal;

    fn decide(&self, command: RecordingCommand, now: OffsetDateTime) -> Result<Vec<RecordingEvent>, RecordingRefusal> {
        let event = match command {
            RecordingCommand::Start { .. } if self.started.is_some() => return Err(RecordingRefusal::AlreadyExists),
            RecordingCommand::Start { recording_id, stream_id, channel_id, node_id, title } => {
                RecordingEvent::Started { recording_id, stream_id, channel_id, node_id, title, started_at: now }
            }
            RecordingCommand::Publish { finished } => {
                let RecordingOrigin { recording_id, channel_id, .. } =
                    if self.is_lost { self.existing()? } else { self.under_way()? };
                let FinishedRecording { duration_ms, size_bytes, renditions, gap_count, cut_short } = finished;
                RecordingEvent::Published {
                    recording_id,
                    channel_id,
                    duration_ms,
                    size_bytes,
                    renditions,
                    gap_count,
                    cut_short,
                    published_at: now,
                }
            }
            RecordingCommand::Fail { reason } => {
                let RecordingOrigin { recording_id, channel_id, .. } = self.under_way()?;
                RecordingEvent::Failed { recording_id, channel_id, reason, failed_at: now }
            }
            RecordingCommand::Edit { expected_version, title, visibility, is_download_allowed } => {
                let change = |details: &mut Details| {
                    details.title = title.unwrap_or_else(|| details.title.clone());
                    details.visibility = visibility.unwrap_or(details.visibility);
                    details.is_download_allowed = is_download_allowed.unwrap_or(details.is_download_allowed);
                };
                return self.edit(expected_version, change, now);
            }
            RecordingCommand::Delete { by, reason } => {
                let RecordingOrigin { recording_id, channel_id, stream_id, .. } = self.existing()?;
                // Whoever makes it would go on. What a closed channel leaves goes all the same: its node may never come
                // back to finish it.
                let is_wanted = by.is_some() || matches!(reason, RecordingDeletedReason::Owner);
                if is_wanted && self.state == RecordingState::Recording {
                    return Err(RecordingRefusal::NotFinished);
                }
                RecordingEvent::Deleted { recording_id, channel_id, stream_id, by, reason, deleted_at: now }
            }
        };
        Ok(vec![event])
    }

    fn apply(&mut self, event: &RecordingEvent) {
        self.version += 1;
        match event {
            RecordingEvent::Started { recording_id, stream_id, channel_id, node_id, title, started_at } => {
                self.started = Some(RecordingOrigin {
                    recording_id: *recording_id,
                    stream_id: *stream_id,
                    channel_id: *channel_id,
                    node_id: *node_id,
                    started_at: *started_at,
                });
                self.details = Some(Details {
                    title: title.clone(),
                    visibility: RecordingVisibility::default(),
                    is_download_allowed: false,
                });
            }
            RecordingEvent::Published { size_bytes, .. } => {
                (self.state, self.is_lost) = (RecordingState::Published, false);
                self.size_bytes = *size_bytes;
            }
            RecordingEvent::Failed { reason, .. } => {
                (self.state, self.is_lost) = (RecordingState::Failed, *reason == RecordingFailure::NodeLost);
            }
            RecordingEvent::Edited { title, visibility, is_download_allowed, .. } => {
                self.details = Some(Details {
                    title: title.clone(),
                    visibility: *visibility,
                    is_download_allowed: *is_download_allowed,
                });
            }
            RecordingEvent::Deleted { .. } => (self.state, self.is_lost) = (RecordingState::Deleted, false),
        }
    }

    fn claimed(_: Claimed) -> RecordingRefusal {
        RecordingRefusal::StreamRecorded
    }
}
