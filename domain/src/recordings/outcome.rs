use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// It had become as large as all of the channel's recordings together may be.
    Quota,
}

impl CutShort {
    /// As stored and sent, `storage_full` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::StorageFull => "storage_full",
            Self::StorageUnavailable => "storage_unavailable",
            Self::Crashed => "crashed",
            Self::Quota => "quota",
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
    /// Nothing is heard any more of the node that made it, and nothing of it is where others find it. It is published after all
    /// if the node comes back with it.
    NodeLost,
}

impl RecordingFailure {
    /// As stored and sent, `storage_full` for example.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::StorageFull => "storage_full",
            Self::StorageUnavailable => "storage_unavailable",
            Self::NodeLost => "node_lost",
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
