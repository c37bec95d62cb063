//! Recordings: streams that are kept for later watching, from `recording.started` until they are deleted.
//!
//! A recording is made while its stream is on ([`RecordingState::Recording`]), is there to be watched once the stream is over
//! and all of it is stored, and goes when its owner, its channel's end or the channel's limits say so. What it is made of
//! lies in the storage; the log knows how much it is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{
    Aggregate, Claim, Claimed, Event,
    channels::Title,
    ids::{AccountId, ChannelId, NodeId, RecordingId, StreamId},
    timestamp,
};

/// Whether a channel's streams are recorded, and how much of that is kept. Each limit is the owner's own; the server's are
/// looked at beside them, and the lower one counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingPolicy {
    /// Whether streams are recorded that start from now on.
    pub is_on: bool,
    /// A recording is deleted so many days after its stream; `null` for the server's limit.
    pub keep_days: Option<u32>,
    /// The oldest are deleted when all together are larger, in bytes; `null` for the server's limit.
    pub max_size_bytes: Option<i64>,
    /// The oldest are deleted when there are more; `null` for the server's limit.
    pub max_count: Option<u32>,
}

impl RecordingPolicy {
    /// What of this policy and of the server's limits is lower; `is_on` is this one's.
    #[must_use]
    pub fn within(self, limits: RecordingLimits) -> RecordingLimits {
        fn lower<T: Ord>(own: Option<T>, limit: Option<T>) -> Option<T> {
            match (own, limit) {
                (Some(own), Some(limit)) => Some(own.min(limit)),
                (own, limit) => own.or(limit),
            }
        }
        RecordingLimits {
            keep_days: lower(self.keep_days, limits.keep_days),
            max_size_bytes: lower(self.max_size_bytes, limits.max_size_bytes),
            max_count: lower(self.max_count, limits.max_count),
        }
    }
}

/// How much of a channel's recordings is kept; `None` for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordingLimits {
    /// So many days after its stream a recording goes.
    pub keep_days: Option<u32>,
    /// So many bytes all recordings together may have.
    pub max_size_bytes: Option<i64>,
    /// So many recordings there may be.
    pub max_count: Option<u32>,
}

/// Who finds a recording.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingVisibility {
    /// Everybody who sees the channel.
    #[default]
    Published,
    /// Whoever has its address.
    Unlisted,
    /// Its owner alone.
    Archived,
}

impl RecordingVisibility {
    /// As stored and sent, `unlisted` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Unlisted => "unlisted",
            Self::Archived => "archived",
        }
    }
}

/// Why a recording is shorter than its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CutShort {
    /// There was no room left in the storage.
    StorageFull,
    /// The storage took nothing for so long that the rest of the stream was lost.
    StorageUnavailable,
    /// The node crashed, and the stream was over when it came back.
    Crashed,
}

impl CutShort {
    /// As stored and sent, `storage_full` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StorageFull => "storage_full",
            Self::StorageUnavailable => "storage_unavailable",
            Self::Crashed => "crashed",
        }
    }
}

/// Why there is nothing of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingFailure {
    /// The stream was over before anything of it could be kept.
    Empty,
    /// There was no room left in the storage.
    StorageFull,
    /// The storage took nothing.
    StorageUnavailable,
}

impl RecordingFailure {
    /// As stored and sent, `storage_full` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::StorageFull => "storage_full",
            Self::StorageUnavailable => "storage_unavailable",
        }
    }
}

/// Why a recording was deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordingDeletedReason {
    /// Its owner wanted it.
    Owner,
    /// It was kept for as long as the channel's recordings are.
    Retention,
    /// The channel's recordings were too many, or too large together, and it was the oldest.
    Quota,
    /// Its channel was closed.
    ChannelClosed,
    /// Its channel's owner was erased.
    AccountErased,
    /// An administrator took it down.
    TakenDown,
}

/// One quality that a recording can be watched in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordedRendition {
    /// `source`, or a height such as `720p`.
    pub name: String,
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
    /// As in RFC 6381, picture and sound, `avc1.64001f,mp4a.40.2` for example.
    pub codecs: String,
    /// Bits a second on average.
    pub bitrate_bps: i64,
}

/// What has come of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct FinishedRecording {
    /// How long it plays, in milliseconds.
    pub duration_ms: i64,
    /// All that is stored of it, in bytes.
    pub size_bytes: i64,
    /// The qualities that it can be watched in, `source` first.
    pub renditions: Vec<RecordedRendition>,
    /// How often something of the stream is missing in between.
    pub gap_count: i64,
    /// Why it is shorter than its stream; `None` when it is not.
    pub cut_short: Option<CutShort>,
}

/// What a recording can be told to do.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordingCommand {
    /// The first of its stream is being kept.
    Start {
        /// The new recording.
        recording_id: RecordingId,
        /// The stream that it keeps.
        stream_id: StreamId,
        /// Whose broadcast that is.
        channel_id: ChannelId,
        /// The node that takes the stream in, and keeps it.
        node_id: NodeId,
        /// The channel's title at this moment.
        title: Title,
    },
    /// All of it is stored.
    Publish {
        /// What has come of it.
        finished: FinishedRecording,
    },
    /// There is nothing of it.
    Fail {
        /// Why.
        reason: RecordingFailure,
    },
    /// Change what is said of it and who finds it.
    Edit {
        /// The version that the editor saw; refused when it is no longer current.
        expected_version: Option<i64>,
        /// A new title, or `None` to leave it.
        title: Option<Title>,
        /// Who finds it, or `None` to leave it.
        visibility: Option<RecordingVisibility>,
        /// Whether viewers may download it, or `None` to leave it.
        is_download_allowed: Option<bool>,
    },
    /// It is not to be had any more.
    Delete {
        /// Who wants it; `None` for Weir itself.
        by: Option<AccountId>,
        /// Why.
        reason: RecordingDeletedReason,
    },
}

/// What can have happened to a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum RecordingEvent {
    /// A stream is being kept.
    Started {
        /// The recording.
        recording_id: RecordingId,
        /// The stream that it keeps.
        stream_id: StreamId,
        /// Whose broadcast that is.
        channel_id: ChannelId,
        /// The node that takes the stream in, and keeps it.
        node_id: NodeId,
        /// The channel's title at the time.
        title: Title,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        started_at: OffsetDateTime,
    },
    /// The recording is complete and can be watched.
    Published {
        /// The recording.
        recording_id: RecordingId,
        /// Whose it is.
        channel_id: ChannelId,
        /// How long it plays, in milliseconds.
        duration_ms: i64,
        /// All that is stored of it, in bytes.
        size_bytes: i64,
        /// The qualities that it can be watched in, `source` first.
        renditions: Vec<RecordedRendition>,
        /// How often something of the stream is missing in between; 0 when it is whole.
        gap_count: i64,
        /// Why it is shorter than its stream; `null` when it is not.
        cut_short: Option<CutShort>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        published_at: OffsetDateTime,
    },
    /// Nothing of the stream could be kept.
    Failed {
        /// The recording.
        recording_id: RecordingId,
        /// Whose it is.
        channel_id: ChannelId,
        /// Why.
        reason: RecordingFailure,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        failed_at: OffsetDateTime,
    },
    /// What is said of it, or who finds it, is new; all of it is named.
    Edited {
        /// The recording.
        recording_id: RecordingId,
        /// Whose it is.
        channel_id: ChannelId,
        /// Its title from now on.
        title: Title,
        /// Who finds it from now on.
        visibility: RecordingVisibility,
        /// Whether viewers may download it from now on; its owner always may.
        is_download_allowed: bool,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        edited_at: OffsetDateTime,
    },
    /// The recording is not to be had any more; what is stored of it goes soon after.
    Deleted {
        /// The recording.
        recording_id: RecordingId,
        /// Whose it was.
        channel_id: ChannelId,
        /// The stream that it kept.
        stream_id: StreamId,
        /// Who wanted it; `null` for Weir itself.
        by: Option<AccountId>,
        /// Why.
        reason: RecordingDeletedReason,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        deleted_at: OffsetDateTime,
    },
}

impl RecordingEvent {
    /// The stored names of all events of a recording.
    pub const TYPES: &[&'static str] =
        &["recording.started", "recording.published", "recording.failed", "recording.edited", "recording.deleted"];

    /// The recording that it happened to.
    #[must_use]
    pub fn recording_id(&self) -> RecordingId {
        match self {
            Self::Started { recording_id, .. }
            | Self::Published { recording_id, .. }
            | Self::Failed { recording_id, .. }
            | Self::Edited { recording_id, .. }
            | Self::Deleted { recording_id, .. } => *recording_id,
        }
    }
}

impl Event for RecordingEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Started { .. } => "recording.started",
            Self::Published { .. } => "recording.published",
            Self::Failed { .. } => "recording.failed",
            Self::Edited { .. } => "recording.edited",
            Self::Deleted { .. } => "recording.deleted",
        }
    }

    fn claims(&self) -> Vec<Claim> {
        match self {
            // For ever: a stream that was recorded once is not recorded a second time when its node comes back.
            Self::Started { stream_id, .. } => {
                vec![Claim::Take { kind: Claimed::RecordedStream, name: stream_id.to_string() }]
            }
            Self::Published { .. } | Self::Failed { .. } | Self::Edited { .. } | Self::Deleted { .. } => Vec::new(),
        }
    }
}

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
                let RecordingOrigin { recording_id, channel_id, .. } = self.under_way()?;
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
                self.state = RecordingState::Published;
                self.size_bytes = *size_bytes;
            }
            RecordingEvent::Failed { .. } => self.state = RecordingState::Failed,
            RecordingEvent::Edited { title, visibility, is_download_allowed, .. } => {
                self.details = Some(Details {
                    title: title.clone(),
                    visibility: *visibility,
                    is_download_allowed: *is_download_allowed,
                });
            }
            RecordingEvent::Deleted { .. } => self.state = RecordingState::Deleted,
        }
    }

    fn claimed(_: Claimed) -> RecordingRefusal {
        RecordingRefusal::StreamRecorded
    }
}
