//! Invites: links that let their bearer into a private channel, with or without an account.
//!
//! The link itself is in no event: whoever has the keys of the install can make it of the invite's id, and nobody else.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{
    Aggregate, Claimed, Event,
    ids::{AccountId, ChannelId, InviteId},
    timestamp,
};

/// What an invite can be told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InviteCommand {
    /// Make it.
    Create {
        /// The new invite.
        invite_id: InviteId,
        /// The channel that it lets in.
        channel_id: ChannelId,
        /// The channel's owner.
        by: AccountId,
        /// When it ends by itself; `None` for never.
        expires_at: Option<OffsetDateTime>,
    },
    /// Take it back, and with it every right that it gave; again is fine.
    Revoke {
        /// Who asks.
        by: AccountId,
    },
}

/// What can have happened to an invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum InviteEvent {
    /// There is a new link into a channel.
    Created {
        /// The invite.
        invite_id: InviteId,
        /// The channel that it lets in.
        channel_id: ChannelId,
        /// The channel's owner, who made it.
        by: AccountId,
        /// When it ends by itself; `null` for never.
        #[serde(with = "time::serde::rfc3339::option")]
        #[schemars(schema_with = "timestamp::optional_schema")]
        expires_at: Option<OffsetDateTime>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        created_at: OffsetDateTime,
    },
    /// The link lets nobody in any more, and whoever came by it is sent away.
    Revoked {
        /// The invite.
        invite_id: InviteId,
        /// The channel that it let in.
        channel_id: ChannelId,
        /// Who took it back.
        by: AccountId,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        revoked_at: OffsetDateTime,
    },
}

impl InviteEvent {
    /// The stored names of all events of an invite.
    pub const TYPES: &[&'static str] = &["invite.created", "invite.revoked"];

    /// The invite that it happened to.
    #[must_use]
    pub fn invite_id(&self) -> InviteId {
        match self {
            Self::Created { invite_id, .. } | Self::Revoked { invite_id, .. } => *invite_id,
        }
    }
}

impl Event for InviteEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Created { .. } => "invite.created",
            Self::Revoked { .. } => "invite.revoked",
        }
    }
}

/// Why an invite says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InviteRefusal {
    /// There is no such invite, or its channel was closed.
    #[error("there is no such invite")]
    Unknown,
    /// It was made before.
    #[error("the invite already exists")]
    AlreadyExists,
    /// Only the channel's owner may make and take back its invites.
    #[error("the channel belongs to somebody else")]
    NotOwner,
    /// It would end before it begins.
    #[error("the invite would be over at once")]
    AlreadyOver,
}

/// An invite as far as its rules need it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    created: Option<Created>,
    is_revoked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Created {
    invite_id: InviteId,
    channel_id: ChannelId,
    by: AccountId,
    expires_at: Option<OffsetDateTime>,
}

impl Invite {
    /// The channel that it was made for, good or not; `None` before it was made.
    #[must_use]
    pub fn channel_id(&self) -> Option<ChannelId> {
        self.created.map(|created| created.channel_id)
    }

    /// The channel that it lets in at `now`, and until when; `None` when it lets nobody in.
    #[must_use]
    pub fn lets_into(&self, now: OffsetDateTime) -> Option<(ChannelId, Option<OffsetDateTime>)> {
        let created = self.created.filter(|_| !self.is_revoked)?;
        let is_over = created.expires_at.is_some_and(|expires_at| expires_at <= now);
        (!is_over).then_some((created.channel_id, created.expires_at))
    }
}

impl Aggregate for Invite {
    const TYPE: &'static str = "invite";
    type Command = InviteCommand;
    type Event = InviteEvent;
    type Refusal = InviteRefusal;

    fn decide(&self, command: InviteCommand, now: OffsetDateTime) -> Result<Vec<InviteEvent>, InviteRefusal> {
        match (command, self.created) {
            (InviteCommand::Create { .. }, Some(_)) => Err(InviteRefusal::AlreadyExists),
            (InviteCommand::Create { expires_at: Some(expires_at), .. }, None) if expires_at <= now => {
                Err(InviteRefusal::AlreadyOver)
            }
            (InviteCommand::Create { invite_id, channel_id, by, expires_at }, None) => {
                Ok(vec![InviteEvent::Created { invite_id, channel_id, by, expires_at, created_at: now }])
            }
            (InviteCommand::Revoke { .. }, None) => Err(InviteRefusal::Unknown),
            (InviteCommand::Revoke { by }, Some(created)) if by != created.by => Err(InviteRefusal::NotOwner),
            (InviteCommand::Revoke { .. }, Some(_)) if self.is_revoked => Ok(Vec::new()),
            (InviteCommand::Revoke { by }, Some(Created { invite_id, channel_id, .. })) => {
                Ok(vec![InviteEvent::Revoked { invite_id, channel_id, by, revoked_at: now }])
            }
        }
    }

    fn apply(&mut self, event: &InviteEvent) {
        match event {
            InviteEvent::Created { invite_id, channel_id, by, expires_at, .. } => {
                self.created =
                    Some(Created { invite_id: *invite_id, channel_id: *channel_id, by: *by, expires_at: *expires_at });
            }
            InviteEvent::Revoked { .. } => self.is_revoked = true,
        }
    }

    fn claimed(_: Claimed) -> InviteRefusal {
        InviteRefusal::AlreadyExists
    }
}
