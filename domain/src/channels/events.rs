use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::{ChannelRole, Description, Handle, RoleTakenReason, Title, Visibility};
use crate::{
    Claim, Claimed, Event,
    ids::{AccountId, ChannelId, SecretId},
    recordings::RecordingPolicy,
    timestamp,
};

/// What can have happened to a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChannelEvent {
    /// There is a new channel.
    Created {
        /// The channel.
        channel_id: ChannelId,
        /// Its owner.
        owner_id: AccountId,
        /// Its unique name.
        handle: Handle,
        /// Its title.
        title: Title,
        /// Its description.
        description: Description,
        /// Its stream key, in the vault.
        stream_key: SecretId,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        created_at: OffsetDateTime,
    },
    /// Title or description are new; both are named.
    DetailsChanged {
        /// The channel.
        channel_id: ChannelId,
        /// Its title from now on.
        title: Title,
        /// Its description from now on.
        description: Description,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        changed_at: OffsetDateTime,
    },
    /// Others may watch than before. Tokens from before are worth nothing any more.
    VisibilityChanged {
        /// The channel.
        channel_id: ChannelId,
        /// Who may watch from now on.
        visibility: Visibility,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        changed_at: OffsetDateTime,
    },
    /// The stream key is another one.
    StreamKeyRotated {
        /// The channel.
        channel_id: ChannelId,
        /// The new key, in the vault.
        stream_key: SecretId,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        rotated_at: OffsetDateTime,
    },
    /// Whether its streams are recorded, or how much of that is kept, is new; all of it is named.
    RecordingChanged {
        /// The channel.
        channel_id: ChannelId,
        /// What holds from now on.
        recording: RecordingPolicy,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        changed_at: OffsetDateTime,
    },
    /// An account has a role in the channel, in place of any that it had.
    RoleGiven {
        /// The channel.
        channel_id: ChannelId,
        /// Who has it.
        account_id: AccountId,
        /// Which one.
        role: ChannelRole,
        /// Who gave it.
        by: AccountId,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        given_at: OffsetDateTime,
    },
    /// An account has no role in the channel any more.
    RoleTaken {
        /// The channel.
        channel_id: ChannelId,
        /// Who had it.
        account_id: AccountId,
        /// Which one.
        role: ChannelRole,
        /// Who took it; `null` for Weir itself.
        by: Option<AccountId>,
        /// Why.
        reason: RoleTakenReason,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        taken_at: OffsetDateTime,
    },
    /// The channel is gone for good.
    Closed {
        /// The channel.
        channel_id: ChannelId,
        /// Its unique name, which stays taken.
        handle: Handle,
        /// Why.
        reason: ChannelClosedReason,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        closed_at: OffsetDateTime,
    },
}

impl ChannelEvent {
    /// The stored names of all events of a channel.
    pub const TYPES: &[&'static str] = &[
        "channel.created",
        "channel.details_changed",
        "channel.visibility_changed",
        "channel.stream_key_rotated",
        "channel.recording_changed",
        "channel.role_given",
        "channel.role_taken",
        "channel.closed",
    ];
}

impl Event for ChannelEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Created { .. } => "channel.created",
            Self::DetailsChanged { .. } => "channel.details_changed",
            Self::VisibilityChanged { .. } => "channel.visibility_changed",
            Self::StreamKeyRotated { .. } => "channel.stream_key_rotated",
            Self::RecordingChanged { .. } => "channel.recording_changed",
            Self::RoleGiven { .. } => "channel.role_given",
            Self::RoleTaken { .. } => "channel.role_taken",
            Self::Closed { .. } => "channel.closed",
        }
    }

    fn claims(&self) -> Vec<Claim> {
        match self {
            Self::Created { handle, .. } => {
                vec![Claim::Take { kind: Claimed::Handle, name: handle.as_str().to_owned() }]
            }
            Self::DetailsChanged { .. }
            | Self::VisibilityChanged { .. }
            | Self::StreamKeyRotated { .. }
            | Self::RecordingChanged { .. }
            | Self::RoleGiven { .. }
            | Self::RoleTaken { .. }
            | Self::Closed { .. } => Vec::new(),
        }
    }
}

/// Why a channel was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelClosedReason {
    /// Its owner closed it.
    Owner,
    /// Its owner was erased.
    OwnerErased,
}
