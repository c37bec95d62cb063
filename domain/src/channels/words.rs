use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Invalid, invalid};

/// A channel's title: 1 to 140 characters on one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Title(String);

impl Title {
    /// A title from what somebody typed, trimmed.
    ///
    /// # Errors
    /// What is wrong with it, when it is empty, too long or has control characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        invalid::text("title", text, (1, 140), false).map(Self)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A channel's description: up to 2,000 characters on any number of lines, possibly none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Description(String);

impl Description {
    /// A description from what somebody typed, trimmed.
    ///
    /// # Errors
    /// What is wrong with it, when it is too long or has control characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        invalid::text("description", text, (0, 2_000), true).map(Self)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
