use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
