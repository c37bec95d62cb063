//! Hashes of passwords that were made when they cost less are made anew as their owner signs in: only then the password is at hand.

use domain::ids::{AccountId, SecretId};
use zeroize::Zeroizing;

use super::CredentialsWrong;
use crate::{
    CommandError, Commands,
    vault::{self, Kind},
};

/// Puts a hash at the cost of today in place of the one that is kept as `secret`. No event: the password is the same. Where it fails,
/// the next sign-in tries again.
pub(super) async fn renew(commands: &Commands, account_id: AccountId, secret: SecretId, password: &str) {
    match try_renew(commands, secret, password).await {
        Ok(true) => {
            tracing::debug!(account.id = %account_id, "the hash of a password was made anew at the cost of today");
        }
        // It was replaced meanwhile.
        Ok(false) => {}
        // There are more urgent passwords.
        Err(CommandError::Overloaded) => {}
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            account.id = %account_id,
            "the hash of a password could not be made anew; the next sign-in tries again"
        ),
    }
}

async fn try_renew(
    commands: &Commands,
    secret: SecretId,
    password: &str,
) -> Result<bool, CommandError<CredentialsWrong>> {
    let hash = commands.passwords().hash(Zeroizing::new(password.to_owned())).await?;
    Ok(vault::replace(commands.pool(), commands.keys(), Kind::Password, secret, hash.as_bytes()).await?)
}
