//! The accounts that have a role in a channel.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// What somebody may be to a channel whom its owner trusts: one who keeps order among those who watch (`moderator`); one who
/// keeps what the channel shows, its texts and recordings (`editor`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelRole {
    /// Keeps order among those who watch.
    Moderator,
    /// Keeps what the channel shows.
    Editor,
}

/// What the asker is to a channel: it is theirs (`owner`), or they have a role in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelStanding {
    /// It is theirs.
    Owner,
    /// They keep what it shows.
    Editor,
    /// They keep order among those who watch.
    Moderator,
}

/// An account with a role in a channel.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TeamMember {
    /// The account.
    pub account: TeamAccount,
    /// Its role.
    pub role: ChannelRole,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub given_at: OffsetDateTime,
}

/// Whose role it is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TeamAccount {
    /// The account.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d31")]
    pub id: Uuid,
    /// Its unique name.
    #[schema(example = "noor")]
    pub username: String,
}

/// Everybody with a role in a channel.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TeamList {
    /// By username; 50 at most. The owner is not among them.
    pub items: Vec<TeamMember>,
}

/// A role to be given.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveRoleRequest {
    /// Which one, in place of any that the account had.
    #[schema(example = "moderator")]
    pub role: ChannelRole,
}

/// An account that had a role in a channel.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TeamMemberAsOf {
    /// The account.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d31")]
    pub account_id: Uuid,
    /// Its role.
    pub role: ChannelRole,
}
