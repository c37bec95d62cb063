//! Accounts: registering, and checking who signs in.

pub mod administrators;
pub mod due_erasures;
pub mod email;
mod erasure;
pub mod failed_sign_ins;
pub mod mailed_codes;
mod password_change;
mod password_cost;
mod password_renewal;
pub mod password_reset;
mod passwords;
pub mod personal_exports;
pub mod personal_tokens;
pub mod profile;
pub mod proofs;
pub mod second_factor;
pub mod sessions;
pub mod suspension;

use domain::{
    Claimed, Invalid,
    accounts::{Account, AccountCommand, AccountRefusal, Email, Password, Username},
    ids::{AccountId, SecretId, SessionId},
    sealed::KeyringError,
};
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

pub use self::erasure::{Erase, by_username, erase, exports_of, finish as finish_erasure, is_erased, verify_password};
pub use self::password_change::{change as change_password, finish as finish_password_change};
pub(crate) use self::passwords::Passwords;
pub use self::{password_cost::PasswordCost, passwords::hashed_at_once};
use crate::{
    CommandError, Commands, LoadError, Metadata, setup,
    vault::{self, Kind, VaultError},
};

/// A person who wants an account.
pub struct Register {
    /// The username as typed.
    pub username: String,
    /// The e-mail address as typed.
    pub email: String,
    /// The password as typed.
    pub password: Zeroizing<String>,
    /// The set-up token, which makes an administrator.
    pub setup_token: Option<String>,
    /// Who and why, for the log.
    pub metadata: Metadata,
}

/// A new account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registered {
    /// The account.
    pub account_id: AccountId,
    /// Where its event is in the log.
    pub position: i64,
}

/// Why there is no new account.
#[derive(Debug, Error)]
pub enum AccountsError {
    /// All fields that break a rule of their own; never empty.
    #[error("some fields are not valid")]
    Invalid(Vec<Invalid>),
    /// The set-up token is not the one that was given out, or was used before, or somebody administers the install without it.
    #[error("the set-up token is wrong or was already used")]
    SetupTokenWrong,
    /// Refused, or not carried out.
    #[error(transparent)]
    Command(#[from] CommandError<AccountRefusal>),
}

/// Username and password do not belong together; which of them is wrong is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the username or the password is wrong")]
pub struct CredentialsWrong;

/// Makes an account; with the set-up token, an administrator's.
///
/// # Errors
/// [`AccountsError`]; `AccountRefusal::UsernameTaken` is the refusal to expect.
pub async fn register(commands: &Commands, register: Register) -> Result<Registered, AccountsError> {
    register_as(commands, AccountId::from(Uuid::now_v7()), register).await
}

/// The same under an id that was chosen before.
pub(crate) async fn register_as(
    commands: &Commands,
    account_id: AccountId,
    register: Register,
) -> Result<Registered, AccountsError> {
    let Register { username, email, password, setup_token, metadata } = register;
    let (username, email, password) =
        match (Username::parse(&username), Email::parse(&email), Password::parse(&password)) {
            (Ok(username), Ok(email), Ok(password)) => (username, email, password),
            (username, email, password) => {
                return Err(AccountsError::Invalid(
                    [username.err(), email.err(), password.err()].into_iter().flatten().collect(),
                ));
            }
        };
    let setup_token_digest = match setup_token {
        Some(token) => {
            if setup::is_used(commands).await.map_err(CommandError::from)? {
                return Err(AccountsError::SetupTokenWrong);
            }
            let digest = setup::digest_if_given_out(commands, &token).await.map_err(CommandError::from)?;
            Some(digest.ok_or(AccountsError::SetupTokenWrong)?)
        }
        None => None,
    };
    let username_digest = username_digest(commands, &username);
    // Only the log decides; this spares the work of a hash where it is known how that will end.
    if find(commands, &username_digest).await.map_err(CommandError::from)?.is_some() {
        return Err(CommandError::Refused(AccountRefusal::UsernameTaken).into());
    }
    let account = account_id.to_string();
    let hash = commands.passwords().hash(Zeroizing::new(password.expose().to_owned())).await?;
    let account_keys = commands.account_keys();
    let sealed_username = account_keys.seal(account_id, username.as_str()).await.map_err(CommandError::from)?;
    let sealed_email = account_keys.seal(account_id, email.as_str()).await.map_err(CommandError::from)?;
    let password = vault::put(commands.pool(), commands.keys(), Kind::Password, &account, hash.as_bytes(), None)
        .await
        .map_err(CommandError::from)?;
    let command = AccountCommand::Register {
        account_id,
        username: sealed_username,
        username_digest,
        email: sealed_email,
        password,
        setup_token_digest,
    };
    match commands.execute::<Account>(&account, command, metadata).await {
        Ok(committed) => Ok(Registered { account_id, position: committed.position }),
        Err(CommandError::Refused(AccountRefusal::SetupTokenUsed)) => Err(AccountsError::SetupTokenWrong),
        Err(error) => Err(error.into()),
    }
}

/// Keeps the hash of a password for an account that is about to refer to it.
async fn put_password<R>(commands: &Commands, account: &str, password: &Password) -> Result<SecretId, CommandError<R>> {
    let hash = commands.passwords().hash(Zeroizing::new(password.expose().to_owned())).await?;
    Ok(vault::put(commands.pool(), commands.keys(), Kind::Password, account, hash.as_bytes(), None).await?)
}

/// Destroys the hash of a password that was replaced. Where this fails, the sweep does it, and whatever follows goes on.
async fn destroy_former(commands: &Commands, account_id: AccountId, former: SecretId) {
    if let Err(error) = vault::destroy(commands.pool(), former).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            account.id = %account_id,
            "the hash of a password that was replaced could not be destroyed; the sweep does it"
        );
    }
}

/// Whose username and password these are, as [`authenticate`] finds out.
///
/// # Errors
/// The same.
pub async fn verify(
    commands: &Commands,
    username: &str,
    password: &str,
) -> Result<AccountId, CommandError<CredentialsWrong>> {
    Ok(authenticate(commands, username, password).await?.account_id)
}

/// Somebody whose username and password were right a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    /// Whose they are.
    pub account_id: AccountId,
    /// The password that was right.
    password: SecretId,
}

/// Whose username and password these are. Takes the same work and asks the database the same for a username that nobody has.
///
/// # Errors
/// [`CommandError::Refused`] when they are wrong, [`CommandError::Overloaded`] when too many sign in at once.
pub async fn authenticate(
    commands: &Commands,
    username: &str,
    password: &str,
) -> Result<Verified, CommandError<CredentialsWrong>> {
    let account_id = match Username::parse(username) {
        Ok(username) => find(commands, &username_digest(commands, &username)).await?,
        Err(_) => None,
    };
    let nobody = || AccountId::from(Uuid::nil());
    let kept = kept_password(commands, account_id.unwrap_or_else(nobody)).await?;
    let (secret, hash) = kept.unzip();
    let password = checkable(password);
    let checked = commands.passwords().check(Zeroizing::new(password.to_owned()), hash).await?;
    let verified = account_id.zip(secret).filter(|_| checked.is_right);
    if let (Some((account_id, secret)), true) = (verified, checked.is_outdated) {
        password_renewal::renew(commands, account_id, secret, password).await;
    }
    let verified = verified.map(|(account_id, password)| Verified { account_id, password });
    verified.ok_or(CommandError::Refused(CredentialsWrong))
}

/// Whether the account may administer the platform; `false` when it does not exist.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn is_administrator(commands: &Commands, account_id: AccountId) -> Result<bool, LoadError> {
    let account = commands.load::<Account>(&account_id.to_string()).await?;
    Ok(account.is_some_and(|(account, _)| account.is_administrator()))
}

/// Whether a session goes on, or a personal token that stands in its place is good.
///
/// # Errors
/// When the log does not answer.
pub async fn is_open(commands: &Commands, session_id: SessionId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from log.sessions \
             where session_id = $1 and end_reason is null and expires_at > now()) \
         or exists (select from log.personal_tokens \
             where token_id = $1 and revoke_reason is null and expires_at > now())",
    )
    .bind(session_id.uuid())
    .fetch_one(commands.pool())
    .await
}

/// Whose session this is that goes on, or personal token that is good; `None` where it has ended or never was.
///
/// # Errors
/// When the log does not answer.
pub async fn holder(commands: &Commands, session_id: SessionId) -> Result<Option<AccountId>, sqlx::Error> {
    let holder: Option<Uuid> = sqlx::query_scalar(
        "select account_id from log.sessions where session_id = $1 and end_reason is null and expires_at > now() \
         union all select account_id from log.personal_tokens \
             where token_id = $1 and revoke_reason is null and expires_at > now()",
    )
    .bind(session_id.uuid())
    .fetch_optional(commands.pool())
    .await?;
    Ok(holder.map(AccountId::from))
}

/// Sessions and personal tokens whose end has begun and is not in the log, perhaps because who began it was interrupted; their ids.
/// They are worth nothing any more, and housekeeping finishes them.
///
/// # Errors
/// When the log does not answer.
pub async fn ending(commands: &Commands) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar(
        "select session_id from log.sessions where end_reason is not null \
         union all select token_id from log.personal_tokens where revoke_reason is not null",
    )
    .fetch_all(commands.pool())
    .await
}

/// Nothing, for what is longer than any password that was ever accepted: it is not worth hashing megabytes.
fn checkable(password: &str) -> &str {
    if password.len() <= 4 * 128 { password } else { "" }
}

/// The digest by which a username is unique: keyed, since it outlives the erasure of the name itself.
fn username_digest(commands: &Commands, username: &Username) -> String {
    hex::encode(commands.keys().digest(&[b"username", username.as_str().as_bytes()]))
}

async fn find(commands: &Commands, username_digest: &str) -> Result<Option<AccountId>, sqlx::Error> {
    held(commands, Claimed::Username, username_digest).await
}

/// The account that holds a name of a kind that accounts hold.
async fn held(commands: &Commands, kind: Claimed, name: &str) -> Result<Option<AccountId>, sqlx::Error> {
    let held: Option<String> =
        sqlx::query_scalar("select aggregate_id from log.reservations where kind = $1 and name = $2")
            .bind(kind.as_str())
            .bind(name)
            .fetch_optional(commands.pool())
            .await?;
    held.map(|id| id.parse()).transpose().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

async fn hash_of<R>(commands: &Commands, account_id: AccountId) -> Result<Option<Zeroizing<String>>, CommandError<R>> {
    Ok(kept_password(commands, account_id).await?.map(|(_, hash)| hash))
}

/// Where the password of an account is kept, and its hash. The vault is asked even where there is no account, so that the time
/// tells nobody.
async fn kept_password<R>(
    commands: &Commands,
    account_id: AccountId,
) -> Result<Option<(SecretId, Zeroizing<String>)>, CommandError<R>> {
    let account = commands.load::<Account>(&account_id.to_string()).await?;
    let secret = account.and_then(|(account, _)| account.password());
    let asked_for = secret.unwrap_or(SecretId::from(Uuid::nil()));
    let hash = match vault::get(commands.pool(), commands.keys(), Kind::Password, asked_for).await {
        Err(VaultError::Missing(_)) if secret.is_none() => return Ok(None),
        hash => hash?,
    };
    let hash = std::str::from_utf8(&hash).map_err(|error| CommandError::Unexpected(error.into()))?;
    Ok(secret.map(|secret| (secret, Zeroizing::new(hash.to_owned()))))
}

impl<R> From<KeyringError> for CommandError<R> {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Unavailable(source) => Self::Unavailable(source),
            KeyringError::Corrupt(_) => Self::Unexpected(error.into()),
        }
    }
}
