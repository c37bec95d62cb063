//! Channels: what people watch and follow. An account may own several; a handle is unique.

mod commands;
mod events;
mod handle;
mod rights;
mod team;
mod visibility;
mod words;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

pub use commands::ChannelCommand;
pub use events::{ChannelClosedReason, ChannelEvent};
pub use handle::{Handle, RESERVED_HANDLES};
pub use rights::{ChannelAct, ChannelRole, Standing, may};
pub use team::{RoleTakenReason, TEAM_AT_MOST};
pub use visibility::Visibility;
pub use words::{Description, Title};

use crate::{
    Aggregate, Claimed,
    ids::{AccountId, ChannelId, SecretId},
    recordings::RecordingPolicy,
};

/// Why a channel says no.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ChannelRefusal {
    /// Somebody else's channel has this handle.
    #[error("the handle is taken; choose another")]
    HandleTaken,
    /// This channel was created before.
    #[error("the channel already exists")]
    AlreadyExists,
    /// There is no such channel, or not any more.
    #[error("there is no such channel")]
    Unknown,
    /// Neither as its owner, nor by a role, nor as an administrator.
    #[error("this account may not do this to the channel")]
    NotAllowed,
    /// The owner may do everything already.
    #[error("the channel's owner needs no role")]
    OwnerNeedsNoRole,
    /// As many accounts have a role as may.
    #[error("the channel's team is full; take somebody's role first")]
    TeamFull,
    /// Its owner has as many channels as they may.
    #[error("the account has {at_most} channels, and may have no more")]
    TooMany {
        /// How many that is.
        at_most: u32,
    },
    /// Who would own it was erased.
    #[error("the account no longer exists")]
    NoAccount,
    /// Someone changed the channel in between.
    #[error("the channel was changed in the meantime: it is at version {current}")]
    VersionStale {
        /// The version that it has now.
        current: i64,
    },
}

/// A channel as far as its rules need it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    created: Option<Created>,
    is_closed: bool,
    #[serde(default)]
    team: BTreeMap<AccountId, ChannelRole>,
    version: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Created {
    channel_id: ChannelId,
    owner_id: AccountId,
    handle: Handle,
    title: Title,
    description: Description,
    #[serde(default)]
    visibility: Visibility,
    stream_key: SecretId,
    #[serde(default)]
    recording: RecordingPolicy,
}

impl Channel {
    /// Its stream key, in the vault, for `by`.
    ///
    /// # Errors
    /// [`ChannelRefusal::Unknown`], or [`ChannelRefusal::NotAllowed`] for whoever may not have it.
    pub fn stream_key(&self, by: AccountId) -> Result<SecretId, ChannelRefusal> {
        self.allowed(by, ChannelAct::UseStreamKey).map(|created| created.stream_key)
    }

    /// Whether `stream_key` is its current one. A closed channel has none.
    #[must_use]
    pub fn is_published_with(&self, stream_key: SecretId) -> bool {
        self.open().is_some_and(|created| created.stream_key == stream_key)
    }

    /// Its title, for the streams that it starts; `None` before it exists and after it was closed.
    #[must_use]
    pub fn title(&self) -> Option<&Title> {
        self.open().map(|created| &created.title)
    }

    /// Its unique name; `None` before it exists and after it was closed.
    #[must_use]
    pub fn handle(&self) -> Option<&Handle> {
        self.open().map(|created| &created.handle)
    }

    /// Its description; `None` before it exists and after it was closed.
    #[must_use]
    pub fn description(&self) -> Option<&Description> {
        self.open().map(|created| &created.description)
    }

    /// Who may watch it; `None` before it exists and after it was closed.
    #[must_use]
    pub fn visibility(&self) -> Option<Visibility> {
        self.open().map(|created| created.visibility)
    }

    /// Whether its streams are recorded, and how much of that is kept; `None` before it exists and after it was closed.
    #[must_use]
    pub fn recording(&self) -> Option<RecordingPolicy> {
        self.open().map(|created| created.recording)
    }

    /// How many events it has had.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }

    /// Who owns it; `None` before it exists and after it was closed.
    #[must_use]
    pub fn owner_id(&self) -> Option<AccountId> {
        self.open().map(|created| created.owner_id)
    }

    /// Whether it was taken away for good.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed
    }

    fn open(&self) -> Option<&Created> {
        self.created.as_ref().filter(|_| !self.is_closed)
    }
}

impl Aggregate for Channel {
    const TYPE: &'static str = "channel";
    type Command = ChannelCommand;
    type Event = ChannelEvent;
    type Refusal = ChannelRefusal;

    fn decide(&self, command: ChannelCommand, now: OffsetDateTime) -> Result<Vec<ChannelEvent>, ChannelRefusal> {
        match command {
            ChannelCommand::Create { .. } if self.created.is_some() => Err(ChannelRefusal::AlreadyExists),
            ChannelCommand::Create { channel_id, owner_id, handle, title, description, stream_key } => {
                Ok(vec![ChannelEvent::Created {
                    channel_id,
                    owner_id,
                    handle,
                    title,
                    description,
                    stream_key,
                    created_at: now,
                }])
            }
            ChannelCommand::ChangeDetails { by, expected_version, title, description, visibility } => {
                let created = self.allowed(by, ChannelAct::EditDetails)?;
                let visibility = visibility.filter(|visibility| *visibility != created.visibility);
                if visibility.is_some() {
                    self.allowed(by, ChannelAct::ChangeVisibility)?;
                }
                if expected_version.is_some_and(|expected| expected != self.version) {
                    return Err(ChannelRefusal::VersionStale { current: self.version });
                }
                let title = title.unwrap_or_else(|| created.title.clone());
                let description = description.unwrap_or_else(|| created.description.clone());
                let channel_id = created.channel_id;
                let mut events = Vec::new();
                if title != created.title || description != created.description {
                    events.push(ChannelEvent::DetailsChanged { channel_id, title, description, changed_at: now });
                }
                if let Some(visibility) = visibility {
                    events.push(ChannelEvent::VisibilityChanged { channel_id, visibility, changed_at: now });
                }
                Ok(events)
            }
            ChannelCommand::RotateStreamKey { by, stream_key } => {
                let channel_id = self.allowed(by, ChannelAct::UseStreamKey)?.channel_id;
                Ok(vec![ChannelEvent::StreamKeyRotated { channel_id, stream_key, rotated_at: now }])
            }
            ChannelCommand::ChangeRecording { by, recording } => {
                let created = self.allowed(by, ChannelAct::SwitchRecording)?;
                if created.recording == recording {
                    return Ok(Vec::new());
                }
                // Lower limits delete what is over.
                if created.recording != (RecordingPolicy { is_on: created.recording.is_on, ..recording }) {
                    self.allowed(by, ChannelAct::LimitRecordings)?;
                }
                let channel_id = created.channel_id;
                Ok(vec![ChannelEvent::RecordingChanged { channel_id, recording, changed_at: now }])
            }
            ChannelCommand::GiveRole { by, account_id, role } => self.give_role(by, account_id, role, now),
            ChannelCommand::TakeRole { by, account_id } => self.take_role(by, account_id, now),
            ChannelCommand::Close { by, reason } => {
                let created = self.created.as_ref().ok_or(ChannelRefusal::Unknown)?;
                if self.is_closed {
                    let is_owner = by.is_none_or(|by| by == created.owner_id);
                    return if is_owner { Ok(Vec::new()) } else { Err(ChannelRefusal::NotAllowed) };
                }
                if let Some(by) = by {
                    self.allowed(by, ChannelAct::Close)?;
                }
                let (channel_id, handle) = (created.channel_id, created.handle.clone());
                Ok(vec![ChannelEvent::Closed { channel_id, handle, reason, closed_at: now }])
            }
        }
    }

    fn apply(&mut self, event: &ChannelEvent) {
        self.version += 1;
        match event {
            ChannelEvent::Created { channel_id, owner_id, handle, title, description, stream_key, .. } => {
                self.created = Some(Created {
                    channel_id: *channel_id,
                    owner_id: *owner_id,
                    handle: handle.clone(),
                    title: title.clone(),
                    description: description.clone(),
                    visibility: Visibility::default(),
                    stream_key: *stream_key,
                    recording: RecordingPolicy::default(),
                });
            }
            ChannelEvent::DetailsChanged { title, description, .. } => {
                if let Some(created) = &mut self.created {
                    created.title = title.clone();
                    created.description = description.clone();
                }
            }
            ChannelEvent::VisibilityChanged { visibility, .. } => {
                if let Some(created) = &mut self.created {
                    created.visibility = *visibility;
                }
            }
            ChannelEvent::StreamKeyRotated { stream_key, .. } => {
                if let Some(created) = &mut self.created {
                    created.stream_key = *stream_key;
                }
            }
            ChannelEvent::RecordingChanged { recording, .. } => {
                if let Some(created) = &mut self.created {
                    created.recording = *recording;
                }
            }
            ChannelEvent::RoleGiven { account_id, role, .. } => _ = self.team.insert(*account_id, *role),
            ChannelEvent::RoleTaken { account_id, .. } => _ = self.team.remove(account_id),
            ChannelEvent::Closed { .. } => self.is_closed = true,
        }
    }

    fn claimed(_: Claimed) -> ChannelRefusal {
        ChannelRefusal::HandleTaken
    }
}
