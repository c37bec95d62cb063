//! Codes that are mailed and come back: of 40 random bits, bound to the account, the use and the address that they were mailed
//! to, good once, for a while, and for five tries; for 250 where anybody may try.
//!
//! The database has a keyed digest of a code, and the event that leads to its mail has it sealed. How many may be asked for is counted
//! by account and use: one in a minute, five in an hour. And, where nobody has shown yet that an address is theirs, by address, over
//! all accounts: ten in an hour, so that nobody is flooded by what others say of them. Who asks for one more is told as usual, and
//! gets a code that is none: the mail with it is not sent.

use domain::{accounts::Email, ids::AccountId};
use subtle::ConstantTimeEq;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{Commands, random_text};

/// How many may be asked for in an hour.
const MOST_ASKED: i32 = 5;
/// The time after which another may be asked for.
const WAIT_SECONDS: i64 = 60;
/// How many mails go, in an hour, to an address that nobody has confirmed.
const MOST_MAILED: i32 = 10;
/// What the row of an address, which counts them, has for its use. In the place of an account it has a part of the address's digest.
const BY_ADDRESS: &str = "address";

/// What a code is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To show that the address of an account is its owner's.
    Confirmation,
    /// To choose another password.
    PasswordReset,
    /// To agree, at the present address, to a change of it.
    ChangeFrom,
    /// To show that the address to be is the owner's.
    ChangeTo,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::Confirmation => "confirmation",
            Self::PasswordReset => "password_reset",
            Self::ChangeFrom => "change_from",
            Self::ChangeTo => "change_to",
        }
    }

    /// Whether it is mailed to an address of which nobody has shown yet that it is theirs.
    fn is_to_anybody(self) -> bool {
        matches!(self, Self::Confirmation | Self::ChangeTo)
    }

    /// How many wrong ones there may be before a code is worth nothing. Anybody may try one of a reset, without being signed in, and
    /// must not end it for its owner: 250 are more than the limits let one address try in the hour for which it is good (30, and 3 a
    /// minute), and still nothing beside 2^40.
    fn most_failures(self) -> i32 {
        match self {
            Self::PasswordReset => 250,
            Self::Confirmation | Self::ChangeFrom | Self::ChangeTo => 5,
        }
    }

    /// How long a code is good. A mail may take a quarter of an hour where servers first refuse those whom they do not know; and who
    /// confirms an address may do so the next day.
    fn life(self) -> Duration {
        match self {
            Self::PasswordReset => Duration::hours(1),
            Self::Confirmation | Self::ChangeFrom | Self::ChangeTo => Duration::DAY,
        }
    }
}

/// A new code, or that there is none just now.
pub(super) enum Issued {
    /// A new one; the one of before is worth nothing.
    New {
        /// In two groups of four of 32 letters and digits.
        code: Zeroizing<String>,
        /// Until when it is good.
        expires_at: OffsetDateTime,
    },
    /// The last one was asked for less than a minute ago, and is as it was.
    TooSoon {
        /// Until when that is good.
        expires_at: OffsetDateTime,
        /// When another may be asked for.
        again_at: OffsetDateTime,
    },
    /// Too many were asked for.
    TooMany,
}

/// When another code may be asked for, after one at `asked_at`.
pub(super) fn again_at(asked_at: OffsetDateTime) -> OffsetDateTime {
    asked_at + Duration::seconds(WAIT_SECONDS)
}

/// Makes a code for what is mailed to the address of this digest.
pub(super) async fn issue(
    commands: &Commands,
    account_id: AccountId,
    purpose: Purpose,
    email_digest: &str,
) -> Result<Issued, sqlx::Error> {
    // Two groups of four of 32 letters and digits: 40 bits.
    let code = new_code();
    let digest = digest(commands, account_id, purpose, email_digest, &code);
    let expires_at = domain::timestamp::cut(OffsetDateTime::now_utc() + purpose.life());
    let issued = sqlx::query(
        "insert into log.mailed_codes as code (account_id, purpose, digest, expires_at) values ($1, $2, $3, $4) \
         on conflict (account_id, purpose) do update \
             set digest = excluded.digest, expires_at = excluded.expires_at, failures = 0, asked_at = now(), \
                 asked = case when code.asked_since < now() - interval '1 hour' then 1 else code.asked + 1 end, \
                 asked_since = case when code.asked_since < now() - interval '1 hour' then now() else code.asked_since end \
             where code.asked_at <= now() - make_interval(secs => $5) \
                 and (code.asked < $6 or code.asked_since < now() - interval '1 hour')",
    )
    .bind(account_id.uuid())
    .bind(purpose.as_str())
    .bind(digest.as_slice())
    .bind(expires_at)
    .bind(WAIT_SECONDS as f64)
    .bind(MOST_ASKED)
    .execute(commands.pool())
    .await?;
    if issued.rows_affected() == 1 {
        // The digest stays that of a code that nobody has seen.
        let is_enough = match purpose.is_to_anybody() {
            true => match count_mail(commands, email_digest).await {
                Ok(is_counted) => !is_counted,
                Err(error) => {
                    take_back(commands, account_id, purpose).await;
                    return Err(error);
                }
            },
            false => false,
        };
        return Ok(Issued::New { code: if is_enough { new_code() } else { code }, expires_at });
    }
    let former: Option<(OffsetDateTime, OffsetDateTime, bool)> = sqlx::query_as(
        "select expires_at, asked_at, digest is not null and asked_at > now() - make_interval(secs => $3) \
         from log.mailed_codes where account_id = $1 and purpose = $2",
    )
    .bind(account_id.uuid())
    .bind(purpose.as_str())
    .bind(WAIT_SECONDS as f64)
    .fetch_optional(commands.pool())
    .await?;
    Ok(match former {
        Some((expires_at, asked_at, true)) => Issued::TooSoon { expires_at, again_at: again_at(asked_at) },
        _ => Issued::TooMany,
    })
}

/// Has a code be worth nothing that no mail will tell of, as if it had not been asked for: another may be asked for at once.
pub(super) async fn take_back(commands: &Commands, account_id: AccountId, purpose: Purpose) {
    let taken_back = sqlx::query(
        "update log.mailed_codes set digest = null, asked = greatest(asked - 1, 0), \
             asked_at = asked_at - make_interval(secs => $3) \
         where account_id = $1 and purpose = $2",
    )
    .bind(account_id.uuid())
    .bind(purpose.as_str())
    .bind(WAIT_SECONDS as f64)
    .execute(commands.pool())
    .await;
    if let Err(error) = taken_back {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            account.id = %account_id,
            "a code that was not mailed could not be taken back; another may be asked for in a minute"
        );
    }
}

fn new_code() -> Zeroizing<String> {
    let text = random_text::new();
    Zeroizing::new(format!("{}-{}", &text[..4], &text[4..8]))
}

/// Counts a mail to the address of this digest; `false` when that were too many in an hour.
async fn count_mail(commands: &Commands, email_digest: &str) -> Result<bool, sqlx::Error> {
    let digest = commands.keys().digest(&[b"mailed_address", email_digest.as_bytes()]);
    let counted = sqlx::query(
        "insert into log.mailed_codes as code (account_id, purpose, expires_at) values ($1, $2, now()) \
         on conflict (account_id, purpose) do update \
             set asked_at = now(), \
                 asked = case when code.asked_since < now() - interval '1 hour' then 1 else code.asked + 1 end, \
                 asked_since = case when code.asked_since < now() - interval '1 hour' then now() else code.asked_since end \
             where code.asked < $3 or code.asked_since < now() - interval '1 hour'",
    )
    .bind(Uuid::from_slice(&digest[..16]).unwrap_or_default())
    .bind(BY_ADDRESS)
    .bind(MOST_MAILED)
    .execute(commands.pool())
    .await?;
    Ok(counted.rows_affected() == 1)
}

/// Whether a code that is to be mailed to `email` is still good: it was not used, there is no later one, and it was not one too many
/// for the address. Counts nothing; for mails.
///
/// # Errors
/// When the log does not answer.
pub async fn is_current(
    commands: &Commands,
    account_id: AccountId,
    purpose: Purpose,
    email: &str,
    code: &str,
) -> Result<bool, sqlx::Error> {
    let digest = digest(commands, account_id, purpose, &digest_of_text(commands, email), code);
    sqlx::query_scalar(
        "select exists (select from log.mailed_codes \
         where account_id = $1 and purpose = $2 and digest = $3 and expires_at > now() and failures < $4)",
    )
    .bind(account_id.uuid())
    .bind(purpose.as_str())
    .bind(digest.as_slice())
    .bind(purpose.most_failures())
    .fetch_one(commands.pool())
    .await
}

/// Whether this is the code that was mailed to the address of this digest. A wrong one counts; a right one is still good.
pub(super) async fn is_right(
    commands: &Commands,
    account_id: AccountId,
    purpose: Purpose,
    email_digest: &str,
    code: &str,
) -> Result<bool, sqlx::Error> {
    // Counted before it is looked at, so that many at once are counted as well.
    let kept: Option<Vec<u8>> = sqlx::query_scalar(
        "update log.mailed_codes set failures = failures + 1 \
         where account_id = $1 and purpose = $2 and digest is not null and expires_at > now() and failures < $3 \
         returning digest",
    )
    .bind(account_id.uuid())
    .bind(purpose.as_str())
    .bind(purpose.most_failures())
    .fetch_optional(commands.pool())
    .await?;
    let Some(kept) = kept else { return Ok(false) };
    let digest = digest(commands, account_id, purpose, email_digest, code);
    if !bool::from(kept.ct_eq(&digest)) {
        return Ok(false);
    }
    sqlx::query(
        "update log.mailed_codes set failures = failures - 1 where account_id = $1 and purpose = $2 and digest = $3",
    )
    .bind(account_id.uuid())
    .bind(purpose.as_str())
    .bind(digest.as_slice())
    .execute(commands.pool())
    .await?;
    Ok(true)
}

/// Uses a code up that was right; `false` when somebody else was faster.
pub(super) async fn take(
    commands: &Commands,
    account_id: AccountId,
    purpose: Purpose,
    email_digest: &str,
    code: &str,
) -> Result<bool, sqlx::Error> {
    let taken = sqlx::query(
        "update log.mailed_codes set digest = null \
         where account_id = $1 and purpose = $2 and digest = $3 and expires_at > now()",
    )
    .bind(account_id.uuid())
    .bind(purpose.as_str())
    .bind(digest(commands, account_id, purpose, email_digest, code).as_slice())
    .execute(commands.pool())
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Makes the codes of an account for these uses worth nothing.
pub(super) async fn void(commands: &Commands, account_id: AccountId, purposes: &[Purpose]) -> Result<(), sqlx::Error> {
    let purposes: Vec<_> = purposes.iter().map(|purpose| purpose.as_str()).collect();
    sqlx::query("update log.mailed_codes set digest = null where account_id = $1 and purpose = any($2)")
        .bind(account_id.uuid())
        .bind(purposes)
        .execute(commands.pool())
        .await?;
    Ok(())
}

/// Forgets the codes of an account.
pub(super) async fn forget(commands: &Commands, account_id: AccountId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.mailed_codes where account_id = $1")
        .bind(account_id.uuid())
        .execute(commands.pool())
        .await?;
    Ok(())
}

/// Removes codes that are worth nothing and were asked for so long ago that they no longer count; how many. To be called now and
/// then.
///
/// # Errors
/// When the log does not answer.
pub async fn sweep(commands: &Commands) -> Result<u64, sqlx::Error> {
    let swept = sqlx::query(
        "delete from log.mailed_codes where asked_at < now() - interval '1 hour' \
         and (digest is null or expires_at < now())",
    )
    .execute(commands.pool())
    .await?;
    Ok(swept.rows_affected())
}

/// The digest by which a confirmed address is unique, and to which codes are bound: keyed, since it outlives the erasure of the
/// address itself. Upper and lower case are the same, as they are to every mail server that people use.
pub(super) fn email_digest(commands: &Commands, email: &Email) -> String {
    digest_of_text(commands, email.as_str())
}

/// The digest of whatever somebody typed for an address.
pub(super) fn digest_of_text(commands: &Commands, text: &str) -> String {
    hex::encode(commands.keys().digest(&[b"email", text.trim().to_lowercase().as_bytes()]))
}

fn digest(commands: &Commands, account_id: AccountId, purpose: Purpose, email_digest: &str, code: &str) -> [u8; 32] {
    let account = account_id.uuid();
    commands.keys().digest(&[
        b"mailed_code",
        account.as_bytes(),
        purpose.as_str().as_bytes(),
        email_digest.as_bytes(),
        normal(code).as_bytes(),
    ])
}

/// As people type it, without what they put between, and with what is easily taken for something else as it was.
fn normal(code: &str) -> Zeroizing<String> {
    let kept = code.chars().filter(|c| c.is_ascii_alphanumeric()).take(32);
    Zeroizing::new(
        kept.map(|c| match c.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            other => other,
        })
        .collect(),
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_code_is_read_however_it_is_written() {
        assert_eq!(super::normal(" K7QM 2f9x ").as_str(), "k7qm2f9x");
        assert_eq!(super::normal("oil0-1abc").as_str(), "01101abc");
    }
}
