use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Who may watch a channel, and who comes across it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everybody may watch, and it is in every list.
    #[default]
    Public,
    /// Whoever knows its handle may watch, and it is in no list.
    Unlisted,
    /// Its owner, its team and administrators may watch; nobody else learns that it is there.
    Private,
}

impl Visibility {
    /// As it is stored and sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Unlisted => "unlisted",
            Self::Private => "private",
        }
    }

    /// From what [`Visibility::as_str`] says; `None` for any other text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Public, Self::Unlisted, Self::Private].into_iter().find(|visibility| visibility.as_str() == text)
    }

    /// Whether its streams play only with a token.
    #[must_use]
    pub fn needs_token(self) -> bool {
        self != Self::Public
    }
}
