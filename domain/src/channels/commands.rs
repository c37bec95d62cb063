use super::{ChannelClosedReason, ChannelRole, Description, Handle, Title, Visibility};
use crate::{
    Principal,
    ids::{AccountId, ChannelId, SecretId},
    recordings::RecordingPolicy,
};

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
