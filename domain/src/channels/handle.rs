use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Invalid, invalid};

/// A channel's unique name in addresses: 3 to 25 of a–z, 0–9 and `_`, lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Handle(String);

/// Handles that the web app's own addresses use, so that no channel can.
pub const RESERVED_HANDLES: &[&str] = &[
    "about",
    "account",
    "accounts",
    "admin",
    "api",
    "assets",
    "auth",
    "browse",
    "categories",
    "channel",
    "channels",
    "create",
    "dashboard",
    "docs",
    "documents",
    "embed",
    "favicon",
    "healthz",
    "help",
    "home",
    "invite",
    "invites",
    "live",
    "login",
    "logout",
    "media",
    "metrics",
    "moderation",
    "new",
    "notifications",
    "oauth",
    "payments",
    "privacy",
    "readyz",
    "recordings",
    "register",
    "robots",
    "rules",
    "search",
    "settings",
    "setup",
    "static",
    "streams",
    "terms",
    "videos",
    "vod",
    "watch",
    "webhooks",
    "weir",
];

impl Handle {
    /// A handle from what somebody typed, in any case.
    ///
    /// # Errors
    /// What is wrong with it, when it is too short, too long, has other characters or is one of [`RESERVED_HANDLES`].
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let handle = invalid::name("handle", text)?;
        if RESERVED_HANDLES.contains(&handle.as_str()) {
            return Err(Invalid::new(
                "handle",
                "reserved",
                "This handle is kept for Weir's own pages; choose another.",
            ));
        }
        Ok(Self(handle))
    }

    /// In lower case.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
