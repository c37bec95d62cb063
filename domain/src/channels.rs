//! Channels: what people watch and follow. An account may own several; a handle is unique.

mod rights;
mod team;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use time::OffsetDateTime;

pub use rights::{ChannelAct, ChannelRole, Standing, may};
pub use team::{RoleTakenReason, TEAM_AT_MOST};

use crate::{
    Aggregate, Claim, Claimed, Event, Invalid, Principal,
    ids::{AccountId, ChannelId, SecretId},
    invalid,
    recordings::RecordingPolicy,
    timestamp,
};

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

/// Why a channel was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelClosedReason {
    /// Its owner closed it.
    Owner,
    /// Its owner was erased.
    OwnerErased,
}

/// What a channel can be told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelCommand {
    /// Make it.
    Create {
        /// The new channel.
        channel_id: ChannelId,
        /// Who will own it.
        owner_id: AccountId,
        /// Its unique name.
        handle: Handle,
        /// Its title.
        title: Title,
        /// Its description.
        description: Description,
        /// Its first stream key, in the vault.
        stream_key: SecretId,
    },
    /// Edit what viewers read, and who may watch.
    ChangeDetails {
        /// Who asks.
        by: AccountId,
        /// The version that the editor saw; refused when it is no longer current.
        expected_version: Option<i64>,
        /// A new title, or `None` to leave it.
        title: Option<Title>,
        /// A new description, or `None` to leave it.
        description: Option<Description>,
        /// Who may watch from now on, or `None` to leave it.
        visibility: Option<Visibility>,
    },
    /// Replace the stream key; the old one is refused from then on.
    RotateStreamKey {
        /// Who asks.
        by: AccountId,
        /// The new key, in the vault.
        stream_key: SecretId,
    },
    /// Say whether its streams are recorded, and how much of that is kept.
    ChangeRecording {
        /// Who asks.
        by: AccountId,
        /// What holds from now on.
        recording: RecordingPolicy,
    },
    /// Make an account a moderator or an editor, or the one instead of the other; again is fine.
    GiveRole {
        /// Who asks.
        by: Principal,
        /// Who gets it.
        account_id: AccountId,
        /// Which one.
        role: ChannelRole,
    },
    /// Take the role of an account, or leave; again is fine.
    TakeRole {
        /// Who asks; `None` for Weir itself, because the account was erased.
        by: Option<Principal>,
        /// Who has it.
        account_id: AccountId,
    },
    /// Take it away for good; again is fine. Its handle stays taken, so that nobody can pass for it.
    Close {
        /// Who asks; `None` for Weir itself.
        by: Option<AccountId>,
        /// Why.
        reason: ChannelClosedReason,
    },
}

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
