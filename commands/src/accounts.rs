//! Accounts: registering, and checking who signs in.

pub mod sessions;

use domain::{Invalid, accounts::AccountRefusal, ids::AccountId};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{CommandError, Commands, LoadError, Metadata};

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
    /// The set-up token is not the one that was given out, or was used before.
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
    let _ = (commands, register);
    todo!()
}

/// Whose username and password these are. Takes the same work for a username that nobody has.
///
/// # Errors
/// [`CommandError::Refused`] when they are wrong, [`CommandError::Overloaded`] when too many sign in at once.
pub async fn verify(
    commands: &Commands,
    username: &str,
    password: &str,
) -> Result<AccountId, CommandError<CredentialsWrong>> {
    let _ = (commands, username, password);
    todo!()
}

/// Whether the account may administer the platform; `false` when it does not exist.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn is_administrator(commands: &Commands, account_id: AccountId) -> Result<bool, LoadError> {
    let _ = (commands, account_id);
    todo!()
}
