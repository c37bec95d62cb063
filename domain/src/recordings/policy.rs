use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a channel's streams are recorded, and how much of that is kept. Each limit is the owner's own; the server's are
/// looked at beside them, and the lower one counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RecordingPolicy {
    /// Whether streams are recorded that start from now on.
    pub is_on: bool,
    /// A recording is deleted so many days after its stream; `null` for the server's limit.
    pub keep_days: Option<u32>,
    /// The oldest are deleted when all together are larger, in bytes, and one that is being made ends when it is so large;
    /// `null` for the server's limit.
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
