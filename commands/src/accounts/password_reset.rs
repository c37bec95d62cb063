//! Another password for who has lost theirs: by a code that is mailed to the confirmed address of the account and, where there is one,
//! the second factor, which a reset does not go around.
//!
//! Whoever asks is told the same whether or not there is such an account, and after the same time: what is looked up is one name, and
//! the rest is done when they have their answer.

use domain::{
    Claimed, Invalid,
    accounts::{
        Account, AccountCommand, AccountRefusal, Password, PasswordChangedReason, PasswordReset, PasswordResetCommand,
        PasswordResetRefusal, PersonalTokenRevokedReason, SessionEndReason, Username,
    },
    ids::AccountId,
};
use thiserror::Error;

use super::{
    destroy_former, email,
    mailed_codes::{self, Issued, Purpose},
    personal_tokens, put_password,
    second_factor::{self, SecondFactorRefusal},
    sessions,
};
use crate::{Actor, CommandError, Commands, Metadata};

/// Somebody who has the code of a reset.
pub struct ResetPassword<'a> {
    /// The username or the confirmed address, as typed.
    pub account: &'a str,
    /// What was mailed.
    pub code: &'a str,
    /// The password to be.
    pub new_password: &'a str,
    /// A code of the authenticator, or a recovery code, where the account has a second factor.
    pub second_factor_code: Option<&'a str>,
}

/// Why a password was not reset.
#[derive(Debug, Error)]
pub enum PasswordResetError {
    /// The password to be breaks a rule.
    #[error("the password is not valid")]
    Invalid(Invalid),
    /// There is no such account, or the code is wrong, too old or was used.
    #[error("the code is wrong, too old or was used")]
    CodeWrong,
    /// The code is right, the second factor is not.
    #[error(transparent)]
    SecondFactor(SecondFactorRefusal),
    /// Not carried out.
    #[error(transparent)]
    Command(CommandError<AccountRefusal>),
}

impl From<sqlx::Error> for PasswordResetError {
    fn from(error: sqlx::Error) -> Self {
        Self::Command(error.into())
    }
}

/// The account of this username or confirmed address, if there is one.
///
/// # Errors
/// When the log does not answer.
pub async fn find(commands: &Commands, account: &str) -> Result<Option<AccountId>, sqlx::Error> {
    // One look at one index in all cases.
    if account.contains('@') {
        return email::holder(commands, &mailed_codes::digest_of_text(commands, account)).await;
    }
    let digest = match Username::parse(account) {
        Ok(username) => super::username_digest(commands, &username),
        // Nobody can have it.
        Err(_) => String::new(),
    };
    super::held(commands, Claimed::Username, &digest).await
}

/// Mails a code to the confirmed address of an account, at most one a minute and five an hour; `false` when it has no such address, or
/// there were too many.
///
/// # Errors
/// [`CommandError`]; never refused.
pub async fn request(
    commands: &Commands,
    account_id: AccountId,
    metadata: Metadata,
) -> Result<bool, CommandError<PasswordResetRefusal>> {
    let state = email::load(commands, account_id).await?;
    let Some(confirmed) = state.confirmed() else { return Ok(false) };
    let issued = mailed_codes::issue(commands, account_id, Purpose::PasswordReset, &confirmed.digest).await?;
    let Issued::New { code, expires_at } = issued else { return Ok(false) };
    let mailing = async {
        let command = PasswordResetCommand::Request {
            account_id,
            email: confirmed.email.clone(),
            code: commands.account_keys().seal(account_id, &code).await?,
            language: state.language().unwrap_or_default(),
            expires_at,
        };
        commands.execute::<PasswordReset>(&account_id.to_string(), command, metadata).await
    };
    match mailing.await {
        Ok(_) => Ok(true),
        Err(error) => {
            if !matches!(error, CommandError::OutcomeUnknown(_)) {
                mailed_codes::take_back(commands, account_id, Purpose::PasswordReset).await;
            }
            Err(error)
        }
    }
}

/// Gives an account another password, ends all its sessions and revokes all its personal tokens; the process that follows the log
/// does what is interrupted. Answers whose it is and a position at which the log shows it.
///
/// # Errors
/// [`PasswordResetError`]. With [`PasswordResetError::SecondFactor`] the code that was mailed is still good.
pub async fn reset(commands: &Commands, reset: ResetPassword<'_>) -> Result<(AccountId, i64), PasswordResetError> {
    let ResetPassword { account, code, new_password, second_factor_code } = reset;
    let password = Password::parse(new_password).map_err(PasswordResetError::Invalid)?;
    let account_id = find(commands, account).await?.ok_or(PasswordResetError::CodeWrong)?;
    let state = email::load(commands, account_id).await.map_err(|error| PasswordResetError::Command(error.into()))?;
    let digest = &state.confirmed().ok_or(PasswordResetError::CodeWrong)?.digest;
    if !mailed_codes::is_right(commands, account_id, Purpose::PasswordReset, digest, code).await? {
        return Err(PasswordResetError::CodeWrong);
    }
    let key = account_id.to_string();
    let former = commands.load::<Account>(&key).await.map_err(|error| PasswordResetError::Command(error.into()))?;
    let former = former.and_then(|(account, _)| account.password());
    // The hash first: when there is no time for one, both codes are still good. One that is not used is swept.
    let password = put_password(commands, &key, &password).await.map_err(PasswordResetError::Command)?;
    let is_used =
        second_factor::check(commands, account_id, second_factor_code).await.map_err(|error| match error {
            CommandError::Refused(refusal) => PasswordResetError::SecondFactor(refusal),
            error => PasswordResetError::Command(error.map_refused(|_| AccountRefusal::Unknown)),
        })?;
    let taken = mailed_codes::take(commands, account_id, Purpose::PasswordReset, digest, code).await;
    let taken = taken.map_err(|error| {
        let error = CommandError::from(error);
        PasswordResetError::Command(if is_used { error.after_storing() } else { error })
    });
    if !taken? {
        return Err(PasswordResetError::CodeWrong);
    }
    let reason = PasswordChangedReason::Reset;
    let command = AccountCommand::ChangePassword { password, reason, ends_all_but: None };
    let metadata = Metadata::new(Actor::Account(account_id));
    // The codes are used up, and trying again would not do.
    let committed = commands.execute::<Account>(&key, command, metadata).await.map_err(CommandError::after_storing);
    let committed = committed.map_err(PasswordResetError::Command)?;
    if let Err(error) = end_all(commands, account_id).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            account.id = %account_id,
            "a password was reset, and not all ways in are closed; the process that follows the log closes them"
        );
    }
    if let Some(former) = former {
        destroy_former(commands, account_id, former).await;
    }
    Ok((account_id, committed.position))
}

async fn end_all(commands: &Commands, account_id: AccountId) -> Result<(), CommandError<AccountRefusal>> {
    let (reason, actor) = (SessionEndReason::PasswordChanged, Actor::Account(account_id));
    sessions::end_all(commands, account_id, None, reason, actor)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))?;
    personal_tokens::revoke_all(commands, account_id, PersonalTokenRevokedReason::PasswordChanged)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))
}

/// Ends the sessions and revokes the personal tokens that were there before the event at `position` told of a reset, all of them
/// or the rest.
///
/// # Errors
/// [`CommandError`]; to be called again then.
pub async fn finish(
    commands: &Commands,
    account_id: AccountId,
    position: i64,
) -> Result<(), CommandError<AccountRefusal>> {
    let (reason, owner) = (SessionEndReason::PasswordChanged, Actor::Account(account_id));
    sessions::end_before(commands, account_id, position, None, reason, owner)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))?;
    personal_tokens::revoke_before(commands, account_id, position, PersonalTokenRevokedReason::PasswordChanged)
        .await
        .map_err(|error| error.map_refused(|_| AccountRefusal::Unknown))
}
