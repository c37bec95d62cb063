//! Registration: who may make an account, and the invites for it.
//!
//! As with invites to channels, nothing is kept of a link's secret: it is the invite's id and a keyed digest of it.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    Aggregate, Invalid, Principal,
    accounts::{Account, AccountRefusal, Email, Password, Username},
    ids::{AccountId, RegistrationInviteId},
    registrations::{
        Install, InstallCommand, InstallRefusal, RegistrationInvite, RegistrationInviteCommand,
        RegistrationInviteRefusal, RegistrationMode,
    },
};
use subtle::ConstantTimeEq;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use tracing::Instrument as _;
use uuid::Uuid;

use crate::{
    CommandError, Commands, LoadError, Metadata,
    accounts::{self, AccountsError, Register, Registered},
};

const ID_LEN: usize = 16;
/// 160 bits, as a stream key has.
const DIGEST_LEN: usize = 20;
const LEN: usize = ID_LEN + DIGEST_LEN;
/// For how long an account may be on its way that an invite was used for. What is older was interrupted.
const ON_THE_WAY: Duration = Duration::minutes(10);

/// A new registration invite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreatedRegistrationInvite {
    /// The invite.
    pub invite_id: RegistrationInviteId,
    /// Where its event is in the log.
    pub position: i64,
}

/// Why nobody was registered.
#[derive(Debug, Error)]
pub enum RegistrationError {
    /// Nobody may make an account.
    #[error("registration is closed")]
    Closed,
    /// Only whoever has an invite may.
    #[error("registration takes an invite")]
    InviteNeeded,
    /// The invite is none of ours, was taken back, is over or used up.
    #[error("the registration invite lets nobody in")]
    InviteNotGood,
    /// As without an invite.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
}

/// Who may make an account.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn mode(commands: &Commands) -> Result<RegistrationMode, LoadError> {
    let install = commands.load::<Install>(&install_id()).await?;
    Ok(install.map(|(install, _)| install.registration()).unwrap_or_default())
}

/// Says who may make an account from now on; the same again is fine. Every node goes by it at once.
///
/// # Errors
/// [`CommandError::Refused`] to anybody but an administrator.
pub async fn change_mode(
    commands: &Commands,
    by: Principal,
    mode: RegistrationMode,
    metadata: Metadata,
) -> Result<i64, CommandError<InstallRefusal>> {
    let command = InstallCommand::ChangeRegistration { by, mode };
    Ok(commands.execute::<Install>(&install_id(), command, metadata).await?.position)
}

/// Makes a link by which `max_uses` accounts can be made, until `expires_at` or it is taken back.
///
/// # Errors
/// [`CommandError::Refused`] to anybody but an administrator, and for a link that would be over at once.
pub async fn create_invite(
    commands: &Commands,
    by: Principal,
    max_uses: u32,
    expires_at: Option<OffsetDateTime>,
    metadata: Metadata,
) -> Result<CreatedRegistrationInvite, CommandError<RegistrationInviteRefusal>> {
    let invite_id = RegistrationInviteId::from(Uuid::now_v7());
    let expires_at = expires_at.map(domain::timestamp::cut);
    let command = RegistrationInviteCommand::Create { invite_id, by, max_uses, expires_at };
    let position = commands.execute::<RegistrationInvite>(&invite_id.to_string(), command, metadata).await?.position;
    Ok(CreatedRegistrationInvite { invite_id, position })
}

/// Takes a link back; the same again is fine. Answers a position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] to anybody but an administrator, and when there is no such invite.
pub async fn revoke_invite(
    commands: &Commands,
    invite_id: RegistrationInviteId,
    by: Principal,
    metadata: Metadata,
) -> Result<i64, CommandError<RegistrationInviteRefusal>> {
    let command = RegistrationInviteCommand::Revoke { by };
    Ok(commands.execute::<RegistrationInvite>(&invite_id.to_string(), command, metadata).await?.position)
}

/// What stands in the link of an invite: 48 letters, digits, `-` and `_`.
#[must_use]
pub fn invite_secret(commands: &Commands, invite_id: RegistrationInviteId) -> String {
    let mut secret = [0; LEN];
    secret[..ID_LEN].copy_from_slice(invite_id.uuid().as_bytes());
    secret[ID_LEN..].copy_from_slice(&digest(commands, invite_id));
    URL_SAFE_NO_PAD.encode(secret)
}

/// Makes an account, if whoever asks may: everybody while registration is open, with an invite while it takes one, and with
/// the set-up token at any time.
///
/// A use of an invite comes into the log before the account, under the id that the account will have, so that of two who want
/// the last one, one gets it. Where no account comes of it, it is given back; what a crash has left of that, is given back
/// when the invite is next found used up. With an invite it goes on when whoever asked has hung up and the future is dropped.
///
/// # Errors
/// [`RegistrationError`].
pub async fn register(
    commands: &Commands,
    register: Register,
    invite: Option<&str>,
) -> Result<Registered, RegistrationError> {
    if register.setup_token.is_some() {
        return Ok(accounts::register(commands, register).await?);
    }
    match mode(commands).await.map_err(failed)? {
        RegistrationMode::Open => return Ok(accounts::register(commands, register).await?),
        RegistrationMode::Closed => return Err(RegistrationError::Closed),
        RegistrationMode::Invite => {}
    }
    let secret = invite.ok_or(RegistrationError::InviteNeeded)?;
    let invite_id = read(commands, secret).ok_or(RegistrationError::InviteNotGood)?;
    check(commands, &register).await?;
    // Between the use and what comes of it nobody may be gone.
    let using = register_by(commands.clone(), invite_id, register).in_current_span();
    let used = tokio::spawn(using).await;
    used.unwrap_or_else(|error| Err(AccountsError::from(CommandError::Unexpected(error.into())).into()))
}

async fn register_by(
    commands: Commands,
    invite_id: RegistrationInviteId,
    register: Register,
) -> Result<Registered, RegistrationError> {
    let commands = &commands;
    let account_id = AccountId::from(Uuid::now_v7());
    let metadata = register.metadata.clone();
    match take(commands, invite_id, account_id, &metadata).await {
        Ok(()) => {}
        Err(CommandError::Refused(_)) => return Err(RegistrationError::InviteNotGood),
        Err(error) => return Err(AccountsError::from(error.map_refused(|_| AccountRefusal::Unknown)).into()),
    }
    let registered = accounts::register_as(commands, account_id, register).await;
    if let Err(error) = &registered
        && !matches!(error, AccountsError::Command(CommandError::OutcomeUnknown(_)))
        && let Err(error) = give_back(commands, invite_id, account_id, metadata.follow_up()).await
    {
        tracing::debug!(error = &error as &dyn std::error::Error, "the use of an invite is given back later");
        // Until then it lets nobody in, so that something was changed.
        return Err(match registered {
            Err(AccountsError::Command(error)) => AccountsError::from(error.after_storing()).into(),
            Err(error) => error.into(),
            Ok(registered) => return Ok(registered),
        });
    }
    Ok(registered?)
}

/// What can be seen without using the invite, so that a mistake of typing does not come into the log.
async fn check(commands: &Commands, register: &Register) -> Result<(), AccountsError> {
    let username = Username::parse(&register.username).err();
    let (email, password) = (Email::parse(&register.email).err(), Password::parse(&register.password).err());
    let invalid: Vec<Invalid> = [username, email, password].into_iter().flatten().collect();
    if !invalid.is_empty() {
        return Err(AccountsError::Invalid(invalid));
    }
    match accounts::by_username(commands, &register.username).await.map_err(CommandError::from)? {
        Some(_) => Err(CommandError::Refused(AccountRefusal::UsernameTaken).into()),
        None => Ok(()),
    }
}

async fn take(
    commands: &Commands,
    invite_id: RegistrationInviteId,
    account_id: AccountId,
    metadata: &Metadata,
) -> Result<(), CommandError<RegistrationInviteRefusal>> {
    let command = RegistrationInviteCommand::Use { account_id };
    let id = invite_id.to_string();
    match commands.execute::<RegistrationInvite>(&id, command.clone(), metadata.clone()).await {
        Err(CommandError::Refused(RegistrationInviteRefusal::UsedUp))
            if give_back_interrupted(commands, invite_id, metadata).await? =>
        {
            commands.execute::<RegistrationInvite>(&id, command, metadata.clone()).await.map(|_| ())
        }
        other => other.map(|_| ()),
    }
}

/// Gives back uses for accounts that never came to be; whether there were any.
async fn give_back_interrupted(
    commands: &Commands,
    invite_id: RegistrationInviteId,
    metadata: &Metadata,
) -> Result<bool, CommandError<RegistrationInviteRefusal>> {
    let invite = commands.load::<RegistrationInvite>(&invite_id.to_string()).await?;
    let since = OffsetDateTime::now_utc() - ON_THE_WAY;
    let old = invite.iter().flat_map(|(invite, _)| invite.uses()).filter(|(_, used_at)| *used_at < since);
    let old: Vec<String> = old.map(|(account_id, _)| account_id.to_string()).collect();
    if old.is_empty() {
        return Ok(false);
    }
    // One question for all: whoever has a used-up link may ask as often as they like.
    let interrupted: Vec<String> = sqlx::query_scalar(
        "select used.id from unnest($1::text[]) used (id) where not exists ( \
             select from log.events where aggregate_type = $2 and aggregate_id = used.id)",
    )
    .bind(&old)
    .bind(Account::TYPE)
    .fetch_all(commands.pool())
    .await?;
    for account_id in &interrupted {
        let account_id = account_id.parse::<AccountId>().map_err(|error| CommandError::Unexpected(Box::new(error)))?;
        give_back(commands, invite_id, account_id, metadata.follow_up()).await?;
    }
    Ok(!interrupted.is_empty())
}

async fn give_back(
    commands: &Commands,
    invite_id: RegistrationInviteId,
    account_id: AccountId,
    metadata: Metadata,
) -> Result<(), CommandError<RegistrationInviteRefusal>> {
    let command = RegistrationInviteCommand::GiveBack { account_id };
    commands.execute::<RegistrationInvite>(&invite_id.to_string(), command, metadata).await.map(|_| ())
}

fn failed(error: LoadError) -> AccountsError {
    CommandError::from(error).into()
}

/// There is one install, and this is its id.
fn install_id() -> String {
    Uuid::nil().to_string()
}

fn read(commands: &Commands, secret: &str) -> Option<RegistrationInviteId> {
    let mut bytes = [0; LEN];
    // Its letters are counted first: what is longer is not decoded at all.
    if secret.len() != LEN / 3 * 4 || URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()? != LEN {
        return None;
    }
    let (id, signed) = bytes.split_first_chunk::<ID_LEN>()?;
    let invite_id = RegistrationInviteId::from(Uuid::from_bytes(*id));
    bool::from(digest(commands, invite_id).as_slice().ct_eq(signed)).then_some(invite_id)
}

fn digest(commands: &Commands, invite_id: RegistrationInviteId) -> [u8; DIGEST_LEN] {
    let uuid = invite_id.uuid();
    let digest = commands.keys().digest(&[b"registration_invite".as_slice(), uuid.as_bytes()]);
    let mut short = [0; DIGEST_LEN];
    short.copy_from_slice(&digest[..DIGEST_LEN]);
    short
}
