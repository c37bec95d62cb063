//! The second factor: codes of an authenticator (TOTP, RFC 6238: SHA-1, six digits, steps of 30 seconds), and ten recovery
//! codes for when it is lost.
//!
//! The seed is in the vault. A code works once: the step of the last one is kept, and none at or before it is taken again.
//! Ten wrong ones within a quarter of an hour are all there are; who is signed in has ten of their own, so that somebody who
//! knows the password does not keep them from changing it.
//!
//! Recovery codes are exchanged in an order in which no code is good that the log calls replaced, wherever it is cut off: the old
//! ones go, then the event, then the new ones come, unless another event has replaced those in between.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::{
    Aggregate,
    accounts::{Account, AccountCommand, AccountRefusal},
    ids::{AccountId, SecretId},
};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use thiserror::Error;
use tracing::Instrument;
use zeroize::Zeroizing;

use crate::{
    Actor, CommandError, Commands, Metadata,
    master_keys::random,
    random_text,
    vault::{self, Kind},
};

/// How many recovery codes there are.
const RECOVERY_CODES: usize = 10;
/// A clock may be this many steps off.
const STEPS_OFF: i64 = 1;
const STEP_SECONDS: u64 = 30;
/// How many wrong codes there may be, and the time after which they are forgotten.
const MOST_FAILURES: i32 = 10;

/// Who tries codes: each has a count of wrong ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Somebody who has the password.
    SigningIn,
    /// Somebody who has a session, too.
    SignedIn,
}

impl Who {
    fn as_str(self) -> &'static str {
        match self {
            Self::SigningIn => "signing_in",
            Self::SignedIn => "signed_in",
        }
    }
}

/// A seed that is not in use yet.
pub struct PreparedSecondFactor {
    /// By which it is enabled; it is forgotten after an hour.
    pub seed_id: SecretId,
    /// What goes into the authenticator.
    pub seed: Zeroizing<Vec<u8>>,
}

/// Why a second factor was not accepted or not changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SecondFactorRefusal {
    /// The account asks for a code, and there was none.
    #[error("a code of the second factor is needed")]
    CodeMissing,
    /// The code is wrong, too old, or was used before.
    #[error("the code is wrong or was used before")]
    CodeWrong,
    /// Too many codes were wrong.
    #[error("too many codes were wrong; wait a quarter of an hour")]
    TooManyAttempts,
    /// The account has a second factor already.
    #[error("the account has a second factor already")]
    AlreadyThere,
    /// The account has no second factor.
    #[error("the account has no second factor")]
    NotThere,
    /// There is no such seed for this account, or not any more.
    #[error("there is no such seed; begin again")]
    SeedUnknown,
}

/// The log has what was to change, or may have, and there are no recovery codes: the source of an outcome that is unknown.
#[derive(Debug, Error)]
#[error("the recovery codes could not be made")]
pub struct CodesNotMade(#[source] CommandError<SecondFactorRefusal>);

/// Makes a seed for an authenticator. Nothing changes until a code of it comes back to [`enable`].
///
/// # Errors
/// [`CommandError::Refused`] when the account has a second factor already.
pub async fn prepare(
    commands: &Commands,
    account_id: AccountId,
) -> Result<PreparedSecondFactor, CommandError<SecondFactorRefusal>> {
    if in_use(commands, account_id).await?.is_some() {
        return Err(CommandError::Refused(SecondFactorRefusal::AlreadyThere));
    }
    // 160 bits, as RFC 4226, section 4, recommends.
    let seed = Zeroizing::new(random::<20>().to_vec());
    let account = account_id.to_string();
    let seed_id = vault::put(commands.pool(), commands.keys(), Kind::TotpSeed, &account, &seed, None).await?;
    Ok(PreparedSecondFactor { seed_id, seed })
}

/// Asks for codes of this seed from now on. Answers the recovery codes, which are not to be had again, and a position at which
/// the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] when the code is not the seed's, or there is a second factor already;
/// [`CommandError::OutcomeUnknown`] of [`CodesNotMade`] when it is enabled and has no recovery codes.
pub async fn enable(
    commands: &Commands,
    account_id: AccountId,
    seed_id: SecretId,
    code: &str,
    metadata: Metadata,
) -> Result<(Vec<Zeroizing<String>>, i64), CommandError<SecondFactorRefusal>> {
    let account = account_id.to_string();
    if in_use(commands, account_id).await?.is_some() {
        return Err(CommandError::Refused(SecondFactorRefusal::AlreadyThere));
    }
    // For an hour from now on no sweep takes it from under the event.
    if !vault::take_up(commands.pool(), Kind::TotpSeed, seed_id, &account).await? {
        return Err(CommandError::Refused(SecondFactorRefusal::SeedUnknown));
    }
    count_attempt(commands, account_id, Who::SignedIn).await?;
    take_code(commands, account_id, seed_id, &normal(code), Who::SignedIn).await?;
    let command = AccountCommand::EnableSecondFactor { seed: seed_id };
    // Of two devices at once one is refused here, before it has touched the codes of the other.
    to_the_end(commands, move |commands| async move {
        let enabled = commands.execute::<Account>(&account, command, metadata).await.map_err(refused);
        // The code is used up, and would be wrong if it came again.
        let committed = enabled.map_err(CommandError::after_storing)?;
        let codes = put_codes(&commands, account_id, committed.position).await;
        Ok((codes.map_err(|error| CommandError::OutcomeUnknown(CodesNotMade(error).into()))?, committed.position))
    })
    .await
}

/// Asks for the password alone from now on. Answers a position at which the log shows it.
///
/// # Errors
/// [`CommandError::Refused`] when there is no such account.
pub async fn disable(
    commands: &Commands,
    account_id: AccountId,
    metadata: Metadata,
) -> Result<i64, CommandError<SecondFactorRefusal>> {
    let seed = in_use(commands, account_id).await?;
    to_the_end(commands, move |commands| async move {
        // First: they must not be good with the next second factor because something was cut off.
        forget_recovery_codes(&commands, account_id).await?;
        let command = AccountCommand::DisableSecondFactor;
        let disabled = commands.execute::<Account>(&account_id.to_string(), command, metadata).await.map_err(refused);
        let committed = disabled.map_err(CommandError::after_storing)?;
        let forgotten = async {
            forget(&commands, account_id).await?;
            match seed {
                Some(seed) => vault::destroy(commands.pool(), seed).await,
                None => Ok(()),
            }
        };
        if let Err(error) = forgotten.await {
            // Nobody is asked for it any more, and it goes with the account at the latest.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                account.id = %account_id,
                "a second factor was disabled, and not all that was kept of it is gone"
            );
        }
        Ok(committed.position)
    })
    .await
}

/// Makes the recovery codes of before worthless. Answers the new ones, which are not to be had again.
///
/// # Errors
/// [`CommandError::Refused`] when there is no second factor; [`CommandError::Conflict`] when another device replaced the codes at
/// the same moment: those that it was shown are good; [`CommandError::OutcomeUnknown`] of [`CodesNotMade`] for whatever else comes
/// in between: the codes of before are not good any more.
pub async fn replace_recovery_codes(
    commands: &Commands,
    account_id: AccountId,
    metadata: Metadata,
) -> Result<Vec<Zeroizing<String>>, CommandError<SecondFactorRefusal>> {
    if in_use(commands, account_id).await?.is_none() {
        return Err(CommandError::Refused(SecondFactorRefusal::NotThere));
    }
    let replaced = to_the_end(commands, move |commands| async move {
        // First: what the log says was replaced must not be good because something was cut off.
        forget_recovery_codes(&commands, account_id).await?;
        let command = AccountCommand::ReplaceRecoveryCodes;
        let committed =
            commands.execute::<Account>(&account_id.to_string(), command, metadata).await.map_err(refused)?;
        put_codes(&commands, account_id, committed.position).await
    })
    .await;
    replaced.map_err(|error| match error {
        CommandError::Refused(_) | CommandError::Conflict => error,
        error => CommandError::OutcomeUnknown(CodesNotMade(error).into()),
    })
}

/// How many recovery codes are left.
///
/// # Errors
/// When the log does not answer.
pub async fn recovery_codes_left(commands: &Commands, account_id: AccountId) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar("select count(*) from log.recovery_codes where account_id = $1")
        .bind(account_id.uuid())
        .fetch_one(commands.pool())
        .await
}

/// Takes a code of the authenticator or a recovery code, once, where the account asks for one, of somebody who wants to sign in
/// or has forgotten the password. Whether a code is used up by it.
///
/// # Errors
/// [`CommandError::Refused`] when it is missing or wrong, or too many were.
pub async fn check(
    commands: &Commands,
    account_id: AccountId,
    code: Option<&str>,
) -> Result<bool, CommandError<SecondFactorRefusal>> {
    check_of(commands, account_id, code, Who::SigningIn).await
}

/// The same of somebody who is signed in, however many wrong codes came from those who are not.
///
/// # Errors
/// [`CommandError::Refused`] when it is missing or wrong, or too many were.
pub async fn check_again(
    commands: &Commands,
    account_id: AccountId,
    code: Option<&str>,
) -> Result<bool, CommandError<SecondFactorRefusal>> {
    check_of(commands, account_id, code, Who::SignedIn).await
}

async fn check_of(
    commands: &Commands,
    account_id: AccountId,
    code: Option<&str>,
    who: Who,
) -> Result<bool, CommandError<SecondFactorRefusal>> {
    let Some(seed) = in_use(commands, account_id).await? else { return Ok(false) };
    let code = normal(code.unwrap_or_default());
    if code.is_empty() {
        return Err(CommandError::Refused(SecondFactorRefusal::CodeMissing));
    }
    count_attempt(commands, account_id, who).await?;
    if code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()) {
        return take_code(commands, account_id, seed, &code, who).await.map(|()| true);
    }
    let taken = sqlx::query("delete from log.recovery_codes where account_id = $1 and digest = $2")
        .bind(account_id.uuid())
        .bind(digest(commands, account_id, &code))
        .execute(commands.pool())
        .await?;
    if taken.rows_affected() == 0 {
        return Err(CommandError::Refused(SecondFactorRefusal::CodeWrong));
    }
    // It is used up from here on, whatever comes.
    tell_of_used(commands, account_id, who).await.map_err(CommandError::after_storing)?;
    Ok(true)
}

/// Stores that a recovery code was used.
async fn tell_of_used(
    commands: &Commands,
    account_id: AccountId,
    who: Who,
) -> Result<(), CommandError<SecondFactorRefusal>> {
    forgive(commands, account_id, who).await?;
    let left = recovery_codes_left(commands, account_id).await?;
    let command = AccountCommand::UseRecoveryCode { left: u32::try_from(left).unwrap_or_default() };
    let metadata = Metadata::new(Actor::Account(account_id));
    commands.execute::<Account>(&account_id.to_string(), command, metadata).await.map_err(refused)?;
    Ok(())
}

async fn forget_recovery_codes(commands: &Commands, account_id: AccountId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.recovery_codes where account_id = $1")
        .bind(account_id.uuid())
        .execute(commands.pool())
        .await?;
    Ok(())
}

/// Forgets what is kept beside the log.
pub(super) async fn forget(commands: &Commands, account_id: AccountId) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with codes as (delete from log.recovery_codes where account_id = $1), \
             attempts as (delete from log.code_attempts where account_id = $1) \
         delete from log.second_factors where account_id = $1",
    )
    .bind(account_id.uuid())
    .execute(commands.pool())
    .await?;
    Ok(())
}

async fn in_use<R>(commands: &Commands, account_id: AccountId) -> Result<Option<SecretId>, CommandError<R>> {
    let account = commands.load::<Account>(&account_id.to_string()).await?;
    Ok(account.and_then(|(account, _)| account.second_factor()))
}

/// Counts before it is looked, so that many at once are counted as well.
async fn count_attempt(
    commands: &Commands,
    account_id: AccountId,
    who: Who,
) -> Result<(), CommandError<SecondFactorRefusal>> {
    let counted = sqlx::query(
        "insert into log.code_attempts as attempts (account_id, who, failures, failed_at) values ($1, $2, 1, now()) \
         on conflict (account_id, who) do update set failed_at = now(), failures = \
             case when attempts.failed_at < now() - interval '15 minutes' then 1 else attempts.failures + 1 end \
         where attempts.failures < $3 or attempts.failed_at < now() - interval '15 minutes'",
    )
    .bind(account_id.uuid())
    .bind(who.as_str())
    .bind(MOST_FAILURES)
    .execute(commands.pool())
    .await?;
    if counted.rows_affected() == 1 {
        return Ok(());
    }
    Err(CommandError::Refused(SecondFactorRefusal::TooManyAttempts))
}

async fn forgive(commands: &Commands, account_id: AccountId, who: Who) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.code_attempts where account_id = $1 and who = $2")
        .bind(account_id.uuid())
        .bind(who.as_str())
        .execute(commands.pool())
        .await?;
    Ok(())
}

/// Takes a code of the authenticator, unless it or a later one was taken before.
async fn take_code(
    commands: &Commands,
    account_id: AccountId,
    seed: SecretId,
    code: &str,
    who: Who,
) -> Result<(), CommandError<SecondFactorRefusal>> {
    let seed = vault::get(commands.pool(), commands.keys(), Kind::TotpSeed, seed).await?;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let now = i64::try_from(since_epoch / STEP_SECONDS).unwrap_or_default();
    let step = (now - STEPS_OFF..=now + STEPS_OFF).find(|step| {
        let right = totp(&seed, u64::try_from(*step).unwrap_or_default());
        right.as_bytes().ct_eq(code.as_bytes()).into()
    });
    let Some(step) = step else { return Err(CommandError::Refused(SecondFactorRefusal::CodeWrong)) };
    let taken = sqlx::query(
        "insert into log.second_factors as factor (account_id, last_step) values ($1, $2) \
         on conflict (account_id) do update set last_step = $2 where factor.last_step < $2",
    )
    .bind(account_id.uuid())
    .bind(step)
    .execute(commands.pool())
    .await?;
    if taken.rows_affected() == 0 {
        return Err(CommandError::Refused(SecondFactorRefusal::CodeWrong));
    }
    // It is used up from here on.
    if let Err(error) = forgive(commands, account_id, who).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            account.id = %account_id,
            "a right code was taken, and the wrong ones before it still count for a while"
        );
    }
    Ok(())
}

/// Does the whole of something, whoever hangs up meanwhile.
async fn to_the_end<T: Send + 'static, F>(
    commands: &Commands,
    work: impl FnOnce(Commands) -> F,
) -> Result<T, CommandError<SecondFactorRefusal>>
where
    F: Future<Output = Result<T, CommandError<SecondFactorRefusal>>> + Send + 'static,
{
    let work = work(commands.clone()).in_current_span();
    tokio::spawn(work).await.unwrap_or_else(|ended| Err(CommandError::Unexpected(ended.into())))
}

/// Makes codes that hold from the event at `position` on.
async fn put_codes(
    commands: &Commands,
    account_id: AccountId,
    position: i64,
) -> Result<Vec<Zeroizing<String>>, CommandError<SecondFactorRefusal>> {
    // Two groups of five of 32 letters and digits: 50 bits.
    let codes: Vec<_> = (0..RECOVERY_CODES)
        .map(|_| {
            let text = random_text::new();
            Zeroizing::new(format!("{}-{}", &text[..5], &text[5..10]))
        })
        .collect();
    let digests: Vec<_> = codes.iter().map(|code| digest(commands, account_id, &normal(code))).collect();
    let mut transaction = commands.pool().begin().await?;
    // One after the other, so that nobody comes between the look and what is done by it.
    sqlx::query("select from log.second_factors where account_id = $1 for update")
        .bind(account_id.uuid())
        .execute(&mut *transaction)
        .await?;
    let has_changed: bool = sqlx::query_scalar(
        "select exists (select from log.events where aggregate_type = $1 and aggregate_id = $2 and position > $3 \
             and event_type in ('account.second_factor_enabled', 'account.second_factor_disabled', \
                 'account.recovery_codes_replaced'))",
    )
    .bind(Account::TYPE)
    .bind(account_id.to_string())
    .bind(position)
    .fetch_one(&mut *transaction)
    .await?;
    if has_changed {
        return Err(CommandError::Conflict);
    }
    sqlx::query("delete from log.recovery_codes where account_id = $1")
        .bind(account_id.uuid())
        .execute(&mut *transaction)
        .await?;
    sqlx::query("insert into log.recovery_codes (account_id, digest) select $1, unnest($2::text[])")
        .bind(account_id.uuid())
        .bind(digests)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(codes)
}

/// As people type it, without what they put between.
fn normal(code: &str) -> String {
    let kept = code.chars().filter(|c| c.is_ascii_alphanumeric()).take(64);
    kept.map(|c| c.to_ascii_lowercase()).collect()
}

/// Keyed, so that the database alone tells nobody a code.
fn digest(commands: &Commands, account_id: AccountId, code: &str) -> String {
    hex::encode(commands.keys().digest(&[b"recovery_code", account_id.uuid().as_bytes(), code.as_bytes()]))
}

/// The code of a step (RFC 4226, section 5.3).
fn totp(seed: &[u8], step: u64) -> String {
    let mut mac = <Hmac<Sha1> as Mac>::new_from_slice(seed).expect("HMAC takes keys of any length");
    mac.update(&step.to_be_bytes());
    let hash = mac.finalize().into_bytes();
    let offset = usize::from(hash[19] & 0x0f);
    let bytes = [hash[offset] & 0x7f, hash[offset + 1], hash[offset + 2], hash[offset + 3]];
    format!("{:06}", u32::from_be_bytes(bytes) % 1_000_000)
}

fn refused(error: CommandError<AccountRefusal>) -> CommandError<SecondFactorRefusal> {
    error.map_refused(|refusal| match refusal {
        AccountRefusal::SecondFactorThere => SecondFactorRefusal::AlreadyThere,
        _ => SecondFactorRefusal::NotThere,
    })
}

impl std::fmt::Debug for PreparedSecondFactor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("PreparedSecondFactor").field("seed_id", &self.seed_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_rfc() {
        // RFC 6238, appendix B, of the eight digits there the last six.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(totp(b"12345678901234567890", seconds / STEP_SECONDS), code);
        }
    }

    #[test]
    fn a_code_is_read_however_it_is_written() {
        assert_eq!(normal(" 123 456 "), "123456");
        assert_eq!(normal("AB3DE-fgh12"), "ab3defgh12");
    }
}
