//! Profiles: what people show of themselves. Their words are sealed in the log; the files of a picture are the caller's to
//! store before the event, and the process's that follows it to delete.

use std::borrow::Cow;

use domain::{
    Invalid,
    accounts::{Account, AvatarName, Bio, DisplayName, Profile, ProfileCommand, ProfileRefusal, ProfileText},
    ids::AccountId,
    sealed::{Keyring, Opened, Sealed},
};
use thiserror::Error;

use crate::{CommandError, Commands, LoadError, Metadata};

/// What somebody says of themselves anew; `None` leaves it, and an empty text removes it.
#[derive(Debug, Clone)]
pub struct EditProfile {
    /// Whose profile it is.
    pub account_id: AccountId,
    /// The version that the editor saw; refused as `VersionStale` when it is no longer current.
    pub expected_version: Option<i64>,
    /// What the person wants to be called, as typed.
    pub display_name: Option<String>,
    /// What the person tells of themselves, as typed.
    pub bio: Option<String>,
    /// Who and why, for the log.
    pub metadata: Metadata,
}

/// Why a profile was not changed.
#[derive(Debug, Error)]
pub enum ProfilesError {
    /// All fields that break a rule of their own; never empty.
    #[error("some fields are not valid")]
    Invalid(Vec<Invalid>),
    /// Refused, or not carried out.
    #[error(transparent)]
    Command(#[from] CommandError<ProfileRefusal>),
}

/// Changes what a profile says. What it says already changes nothing. Answers a position at which the log shows it.
///
/// # Errors
/// [`ProfilesError`]; refused for a stale version, and where there is no such account any more.
pub async fn edit(commands: &Commands, edit: EditProfile) -> Result<i64, ProfilesError> {
    let EditProfile { account_id, expected_version, display_name, bio, metadata } = edit;
    let (name, told) = match (wanted(display_name, DisplayName::parse), wanted(bio, Bio::parse)) {
        (Ok(name), Ok(told)) => (name, told),
        (name, told) => {
            return Err(ProfilesError::Invalid([name.err(), told.err()].into_iter().flatten().collect()));
        }
    };
    require_account(commands, account_id).await?;
    let profile = load(commands, account_id).await.map_err(CommandError::from)?;
    let name = name.as_ref().map(|name| name.as_ref().map(DisplayName::as_str));
    let display_name = change(commands, account_id, name, profile.display_name()).await?;
    let told = told.as_ref().map(|bio| bio.as_ref().map(Bio::as_str));
    let bio = change(commands, account_id, told, profile.bio()).await?;
    let command = ProfileCommand::Change { account_id, expected_version, display_name, bio };
    Ok(execute(commands, account_id, command, metadata).await?)
}

/// Says that a picture is shown from now on, whose files are stored. Answers a position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] where there is no such account any more; the files are the caller's to delete then, and after
/// any other failure but [`CommandError::OutcomeUnknown`].
pub async fn change_avatar(
    commands: &Commands,
    account_id: AccountId,
    avatar: AvatarName,
    metadata: Metadata,
) -> Result<i64, CommandError<ProfileRefusal>> {
    require_account(commands, account_id).await?;
    execute(commands, account_id, ProfileCommand::ChangeAvatar { account_id, avatar }, metadata).await
}

/// Says that no picture is shown any more; again is fine. Answers a position at which the log shows it.
///
/// # Errors
/// [`CommandError`]; nothing is refused.
pub async fn remove_avatar(
    commands: &Commands,
    account_id: AccountId,
    metadata: Metadata,
) -> Result<i64, CommandError<ProfileRefusal>> {
    execute(commands, account_id, ProfileCommand::RemoveAvatar, metadata).await
}

/// What the files of an account's picture are called; `None` where it shows none, and for an account that was erased or
/// never was.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn avatar(commands: &Commands, account_id: AccountId) -> Result<Option<AvatarName>, LoadError> {
    let avatar = load(commands, account_id).await?.avatar().cloned();
    if avatar.is_none() || super::is_erased(commands, account_id).await? {
        return Ok(None);
    }
    Ok(avatar)
}

/// An account without events has an empty one.
async fn load(commands: &Commands, account_id: AccountId) -> Result<Profile, LoadError> {
    Ok(commands.load::<Profile>(&account_id.to_string()).await?.map(|(profile, _)| profile).unwrap_or_default())
}

/// That somebody can sign in to it. Who is erased after this has sealed what nobody can open, and the process that follows
/// the log deletes the files.
async fn require_account(commands: &Commands, account_id: AccountId) -> Result<(), CommandError<ProfileRefusal>> {
    let account = commands.load::<Account>(&account_id.to_string()).await?;
    match account.is_some_and(|(account, _)| account.is_active()) {
        true => Ok(()),
        false => Err(CommandError::Refused(ProfileRefusal::NoAccount)),
    }
}

/// What somebody wants of a text: `None` leaves it, `Some(None)` removes it.
fn wanted<T>(
    text: Option<String>,
    parse: impl FnOnce(&str) -> Result<T, Invalid>,
) -> Result<Option<Option<T>>, Invalid> {
    match text {
        None => Ok(None),
        Some(text) if text.trim().is_empty() => Ok(Some(None)),
        Some(text) => Ok(Some(Some(parse(&text)?))),
    }
}

/// What is to become of a text: nothing where it says what it said before, which only its key can tell.
async fn change(
    commands: &Commands,
    account_id: AccountId,
    wanted: Option<Option<&str>>,
    present: Option<&Sealed>,
) -> Result<ProfileText, CommandError<ProfileRefusal>> {
    let wanted = match wanted {
        None => return Ok(ProfileText::Leave),
        Some(None) => return Ok(ProfileText::Remove),
        Some(Some(wanted)) => wanted,
    };
    let keys = commands.account_keys();
    if let Some(present) = present {
        let opened = keys.open(vec![Cow::Borrowed(present)]).await?.pop();
        if opened.is_some_and(|opened| opened == Opened::Text(wanted.to_owned())) {
            return Ok(ProfileText::Leave);
        }
    }
    Ok(ProfileText::Set(keys.seal(account_id, wanted).await?))
}

async fn execute(
    commands: &Commands,
    account_id: AccountId,
    command: ProfileCommand,
    metadata: Metadata,
) -> Result<i64, CommandError<ProfileRefusal>> {
    Ok(commands.execute::<Profile>(&account_id.to_string(), command, metadata).await?.position)
}
