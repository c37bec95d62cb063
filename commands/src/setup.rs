//! The set-up token: what makes the first administrator of an install.

use zeroize::Zeroizing;

use crate::Commands;

/// The set-up token of an install that has no administrator yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetupToken {
    /// Just made; it cannot be read again.
    New(Zeroizing<String>),
    /// Made before, and not used yet.
    AlreadyGivenOut,
}

/// Makes the set-up token when there is none yet. `None` once an administrator exists. Of several processes that ask at
/// once, one gets it.
///
/// # Errors
/// When the log does not answer.
pub async fn ensure_token(commands: &Commands) -> Result<Option<SetupToken>, sqlx::Error> {
    let _ = commands;
    todo!()
}
