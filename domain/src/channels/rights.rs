//! Who may do what to a channel and to what belongs to it, decided here and nowhere else.
//!
//! An editor does what can be undone; what cannot, and what lets others in, is the owner's. To add an act: a variant of
//! [`ChannelAct`], its name, who may in [`may`], and a row in docs/roles.md, which a test holds against all this.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What somebody may be to a channel whom its owner trusts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChannelRole {
    /// Keeps order among those who watch.
    Moderator,
    /// Keeps what the channel shows: its texts and recordings.
    Editor,
}

impl ChannelRole {
    /// As it is stored and sent.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Moderator => "moderator",
            Self::Editor => "editor",
        }
    }

    /// From what [`ChannelRole::as_str`] says; `None` for any other text.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        [Self::Moderator, Self::Editor].into_iter().find(|role| role.as_str() == text)
    }
}

/// What an account is to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It owns it.
    Owner,
    /// It was given a role.
    Member(ChannelRole),
    /// Nothing; so is everybody to a channel that was closed.
    Stranger,
}

/// What can be done to a channel and to what belongs to it, where not everybody may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelAct {
    /// Know of it and watch it while it is private.
    Watch,
    /// See what comes from the encoder.
    SeeHealth,
    /// See who has which role.
    SeeTeam,
    /// Change title and description.
    EditDetails,
    /// See all recordings and how they are kept, also those that are not shown.
    SeeRecordings,
    /// Name recordings, publish and archive them, allow downloads.
    EditRecordings,
    /// Download recordings, also where viewers may not.
    DownloadRecordings,
    /// Say whether streams are recorded.
    SwitchRecording,
    /// Say how much of the recordings is kept: it deletes what is over.
    LimitRecordings,
    /// Delete recordings.
    DeleteRecordings,
    /// Say who may watch.
    ChangeVisibility,
    /// Make, see and take back invites.
    ManageInvites,
    /// See the stream key and replace it.
    UseStreamKey,
    /// Read and export the events of the channel.
    ReadEvents,
    /// See how it was.
    SeeHistory,
    /// Give roles and take them.
    ManageTeam,
    /// Close it for good.
    Close,
}

impl ChannelAct {
    /// All of them.
    pub const ALL: [Self; 17] = [
        Self::Watch,
        Self::SeeHealth,
        Self::SeeTeam,
        Self::EditDetails,
        Self::SeeRecordings,
        Self::EditRecordings,
        Self::DownloadRecordings,
        Self::SwitchRecording,
        Self::LimitRecordings,
        Self::DeleteRecordings,
        Self::ChangeVisibility,
        Self::ManageInvites,
        Self::UseStreamKey,
        Self::ReadEvents,
        Self::SeeHistory,
        Self::ManageTeam,
        Self::Close,
    ];

    /// Its name, in documents and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Watch => "watch",
            Self::SeeHealth => "see_health",
            Self::SeeTeam => "see_team",
            Self::EditDetails => "edit_details",
            Self::SeeRecordings => "see_recordings",
            Self::EditRecordings => "edit_recordings",
            Self::DownloadRecordings => "download_recordings",
            Self::SwitchRecording => "switch_recording",
            Self::LimitRecordings => "limit_recordings",
            Self::DeleteRecordings => "delete_recordings",
            Self::ChangeVisibility => "change_visibility",
            Self::ManageInvites => "manage_invites",
            Self::UseStreamKey => "use_stream_key",
            Self::ReadEvents => "read_events",
            Self::SeeHistory => "see_history",
            Self::ManageTeam => "manage_team",
            Self::Close => "close",
        }
    }
}

/// Whether somebody of this standing may do this.
#[must_use]
pub fn may(standing: Standing, is_administrator: bool, act: ChannelAct) -> bool {
    let (of_members, of_administrators): (&[ChannelRole], bool) = match act {
        ChannelAct::Watch | ChannelAct::SeeTeam => (&[ChannelRole::Moderator, ChannelRole::Editor], true),
        ChannelAct::SeeHealth => (&[ChannelRole::Moderator, ChannelRole::Editor], false),
        ChannelAct::SeeRecordings | ChannelAct::DownloadRecordings => (&[ChannelRole::Editor], true),
        ChannelAct::EditDetails | ChannelAct::EditRecordings | ChannelAct::SwitchRecording => {
            (&[ChannelRole::Editor], false)
        }
        ChannelAct::ReadEvents | ChannelAct::SeeHistory | ChannelAct::ManageTeam => (&[], true),
        ChannelAct::LimitRecordings
        | ChannelAct::DeleteRecordings
        | ChannelAct::ChangeVisibility
        | ChannelAct::ManageInvites
        | ChannelAct::UseStreamKey
        | ChannelAct::Close => (&[], false),
    };
    match standing {
        Standing::Owner => true,
        Standing::Member(role) if of_members.contains(&role) => true,
        Standing::Member(_) | Standing::Stranger => is_administrator && of_administrators,
    }
}
