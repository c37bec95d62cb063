use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use thiserror::Error;
use time::OffsetDateTime;

use crate::{Aggregate, Claimed, Event, Invalid, ids::AccountId, invalid, sealed::Sealed, timestamp};

/// What a person wants to be called: one line of 1 to 50 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayName(String);

impl DisplayName {
    /// A name as typed, trimmed.
    ///
    /// # Errors
    /// What is wrong with it, when it is empty, too long, has control characters, or some that turn the text around it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let name = invalid::text("display_name", text, (1, 50), false)?;
        // Beside other people's words it must not change those.
        if name.chars().any(turns_text) {
            return Err(Invalid::new("display_name", "characters", "Leave out characters that turn text around."));
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The formatting characters by which a text changes its direction, and that of what follows (Unicode Standard Annex 9,
/// sections 2.1 to 2.4).
fn turns_text(character: char) -> bool {
    matches!(character, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// What a person tells of themselves: 1 to 500 characters on any number of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bio(String);

impl Bio {
    /// A text as typed, trimmed.
    ///
    /// # Errors
    /// What is wrong with it, when it is empty, too long or has control characters.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        invalid::text("bio", text, (1, 500), true).map(Self)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a picture's files are called: 40 hexadecimal digits of a digest of the picture and of something random, so that every
/// picture has a name of its own, which tells nothing and cannot be guessed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct AvatarName(String);

impl AvatarName {
    const LEN: usize = 40;

    /// A name from its text; `None` for what is none.
    #[must_use]
    pub fn from_stored(text: &str) -> Option<Self> {
        let is_name = text.len() == Self::LEN && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_name.then(|| Self(text.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for AvatarName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_stored(&text).ok_or_else(|| D::Error::custom("not the name of an avatar"))
    }
}

/// What is to become of one text of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileText {
    /// It stays.
    Leave,
    /// There is none from now on.
    Remove,
    /// It is this from now on.
    Set(Sealed),
}

impl ProfileText {
    fn over(self, present: Option<&Sealed>) -> Option<Sealed> {
        match self {
            Self::Leave => present.cloned(),
            Self::Remove => None,
            Self::Set(text) => Some(text),
        }
    }
}

/// What a profile can be told to do. There is one for each account, under the account's id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProfileCommand {
    /// Say something else of the person.
    Change {
        /// Whose it is.
        account_id: AccountId,
        /// The version that the editor saw; refused when it is no longer current.
        expected_version: Option<i64>,
        /// What the person wants to be called.
        display_name: ProfileText,
        /// What the person tells of themselves.
        bio: ProfileText,
    },
    /// Show this picture.
    ChangeAvatar {
        /// Whose it is.
        account_id: AccountId,
        /// What its files are called.
        avatar: AvatarName,
    },
    /// Show no picture; again is fine.
    RemoveAvatar,
}

/// What can have happened to what a person shows of themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProfileEvent {
    /// What a person is called or tells of themselves is new; both are named.
    Changed {
        /// The account.
        account_id: AccountId,
        /// What the person wants to be called, sealed; `null` for the username.
        display_name: Option<Sealed>,
        /// What the person tells of themselves, sealed; `null` for nothing.
        bio: Option<Sealed>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        changed_at: OffsetDateTime,
    },
    /// A person shows another picture.
    AvatarChanged {
        /// The account.
        account_id: AccountId,
        /// What the picture's files are called.
        avatar: AvatarName,
        /// What those of the one before were called, which go; `null` where there was none.
        former: Option<AvatarName>,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        changed_at: OffsetDateTime,
    },
    /// A person shows no picture any more.
    AvatarRemoved {
        /// The account.
        account_id: AccountId,
        /// What the picture's files were called, which go.
        former: AvatarName,
        /// When.
        #[serde(with = "time::serde::rfc3339")]
        #[schemars(schema_with = "timestamp::schema")]
        removed_at: OffsetDateTime,
    },
}

impl ProfileEvent {
    /// The stored names of all events of a profile.
    pub const TYPES: &[&'static str] = &["profile.changed", "profile.avatar_changed", "profile.avatar_removed"];

    /// Whose it is.
    #[must_use]
    pub fn account_id(&self) -> AccountId {
        match self {
            Self::Changed { account_id, .. }
            | Self::AvatarChanged { account_id, .. }
            | Self::AvatarRemoved { account_id, .. } => *account_id,
        }
    }
}

impl Event for ProfileEvent {
    fn event_type(&self) -> &'static str {
        match self {
            Self::Changed { .. } => "profile.changed",
            Self::AvatarChanged { .. } => "profile.avatar_changed",
            Self::AvatarRemoved { .. } => "profile.avatar_removed",
        }
    }
}

/// Why a profile says no.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProfileRefusal {
    /// There is no such account, or not any more.
    #[error("there is no such account")]
    NoAccount,
    /// Somebody changed the profile in between.
    #[error("the profile was changed in the meantime: it is at version {current}")]
    VersionStale {
        /// The version that it has now.
        current: i64,
    },
}

/// A profile as far as its rules need it. An account that never said anything has an empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    account_id: Option<AccountId>,
    display_name: Option<Sealed>,
    bio: Option<Sealed>,
    avatar: Option<AvatarName>,
    version: i64,
}

impl Profile {
    /// What the person wants to be called, if they said so.
    #[must_use]
    pub fn display_name(&self) -> Option<&Sealed> {
        self.display_name.as_ref()
    }

    /// What the person tells of themselves, if anything.
    #[must_use]
    pub fn bio(&self) -> Option<&Sealed> {
        self.bio.as_ref()
    }

    /// What the files of the picture are called, if there is one.
    #[must_use]
    pub fn avatar(&self) -> Option<&AvatarName> {
        self.avatar.as_ref()
    }

    /// How many events it has had.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.version
    }
}

impl Aggregate for Profile {
    const TYPE: &'static str = "profile";
    type Command = ProfileCommand;
    type Event = ProfileEvent;
    type Refusal = ProfileRefusal;

    fn decide(&self, command: ProfileCommand, now: OffsetDateTime) -> Result<Vec<ProfileEvent>, ProfileRefusal> {
        match command {
            ProfileCommand::Change { account_id, expected_version, display_name, bio } => {
                if expected_version.is_some_and(|expected| expected != self.version) {
                    return Err(ProfileRefusal::VersionStale { current: self.version });
                }
                let display_name = display_name.over(self.display_name.as_ref());
                let bio = bio.over(self.bio.as_ref());
                if display_name == self.display_name && bio == self.bio {
                    return Ok(Vec::new());
                }
                Ok(vec![ProfileEvent::Changed { account_id, display_name, bio, changed_at: now }])
            }
            ProfileCommand::ChangeAvatar { avatar, .. } if self.avatar.as_ref() == Some(&avatar) => Ok(Vec::new()),
            ProfileCommand::ChangeAvatar { account_id, avatar } => {
                let former = self.avatar.clone();
                Ok(vec![ProfileEvent::AvatarChanged { account_id, avatar, former, changed_at: now }])
            }
            ProfileCommand::RemoveAvatar => match (self.account_id, &self.avatar) {
                (Some(account_id), Some(former)) => {
                    Ok(vec![ProfileEvent::AvatarRemoved { account_id, former: former.clone(), removed_at: now }])
                }
                _ => Ok(Vec::new()),
            },
        }
    }

    fn apply(&mut self, event: &ProfileEvent) {
        self.version += 1;
        self.account_id = Some(event.account_id());
        match event {
            ProfileEvent::Changed { display_name, bio, .. } => {
                self.display_name.clone_from(display_name);
                self.bio.clone_from(bio);
            }
            ProfileEvent::AvatarChanged { avatar, .. } => self.avatar = Some(avatar.clone()),
            ProfileEvent::AvatarRemoved { .. } => self.avatar = None,
        }
    }

    fn claimed(_: Claimed) -> ProfileRefusal {
        // It claims nothing.
        ProfileRefusal::NoAccount
    }
}
