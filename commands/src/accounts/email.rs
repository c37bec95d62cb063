//! The e-mail address of an account: confirmed by a code that is mailed to it, changed by codes that are mailed to both.
//!
//! An address belongs to whoever confirms it first (docs/adr/0008). Until then, and wherever somebody asks for a mail, nobody is told
//! whether another account has it: the mail itself says so, to whoever reads it.

use domain::{
    Claimed, Invalid,
    accounts::{Account, AccountEmail, Email, EmailCommand, EmailRefusal, Language},
    ids::AccountId,
    sealed::{Keyring, Opened, Sealed},
};
use thiserror::Error;
use time::OffsetDateTime;

use super::mailed_codes::{self, Issued, Purpose};
use crate::{CommandError, Commands, LoadError, Metadata};

/// A code that is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MailedCode {
    /// Until when it is good.
    pub expires_at: OffsetDateTime,
    /// When another may be asked for.
    pub again_at: OffsetDateTime,
    /// Whether a change takes a code from the present address, too; `false` for what is no change.
    pub needs_present_code: bool,
    /// Where the log shows it; 0 where nothing new was mailed.
    pub position: i64,
}

/// Why an address was not confirmed or not changed.
#[derive(Debug, Error)]
pub enum EmailError {
    /// The address breaks a rule.
    #[error("the address is not valid")]
    Invalid(Invalid),
    /// A code is wrong, too old, or was used; which.
    #[error("a code is wrong, too old or was used")]
    CodeWrong {
        /// Of the code for the present address.
        present: bool,
        /// Of the code for the address to be, or to be confirmed.
        wanted: bool,
    },
    /// Too many mails were asked for.
    #[error("too many mails were asked for")]
    TooManyMails,
    /// Refused, or not carried out.
    #[error(transparent)]
    Command(#[from] CommandError<EmailRefusal>),
}

impl From<sqlx::Error> for EmailError {
    fn from(error: sqlx::Error) -> Self {
        Self::Command(error.into())
    }
}

impl From<LoadError> for EmailError {
    fn from(error: LoadError) -> Self {
        Self::Command(error.into())
    }
}

/// Mails a code to the address that an account was registered with. With `language` the account is written to in that from now on.
/// Within a minute of the last one nothing is mailed, and that one is as it was.
///
/// # Errors
/// [`EmailRefusal::AlreadyConfirmed`], [`EmailRefusal::Unknown`], [`EmailError::TooManyMails`].
pub async fn request_confirmation(
    commands: &Commands,
    account_id: AccountId,
    language: Option<Language>,
    metadata: Metadata,
) -> Result<MailedCode, EmailError> {
    let (sealed, email) = registered(commands, account_id).await?;
    let state = load(commands, account_id).await?;
    if state.confirmed().is_some() {
        return Err(CommandError::Refused(EmailRefusal::AlreadyConfirmed).into());
    }
    let digest = mailed_codes::email_digest(commands, &email);
    let (code, expires_at) = match mailed_codes::issue(commands, account_id, Purpose::Confirmation, &digest).await? {
        Issued::New { code, expires_at } => (code, expires_at),
        Issued::TooSoon { expires_at, again_at } => {
            return Ok(MailedCode { expires_at, again_at, needs_present_code: false, position: 0 });
        }
        Issued::TooMany => return Err(EmailError::TooManyMails),
    };
    let mailing = async {
        let code = commands.account_keys().seal(account_id, &code).await?;
        let language = language.or(state.language()).unwrap_or_default();
        let command = EmailCommand::RequestConfirmation { account_id, email: sealed, code, language, expires_at };
        commands.execute::<AccountEmail>(&account_id.to_string(), command, metadata).await
    };
    let mailed = mailing.await;
    let committed = or_take_back(commands, account_id, &[Purpose::Confirmation], mailed).await?;
    let again_at = mailed_codes::again_at(OffsetDateTime::now_utc());
    Ok(MailedCode { expires_at, again_at, needs_present_code: false, position: committed.position })
}

/// Confirms the address of an account by the code that was mailed to it. Answers a position at which the log shows it.
///
/// # Errors
/// [`EmailError::CodeWrong`]; [`EmailRefusal::Taken`] when another account was faster; [`EmailRefusal::AlreadyConfirmed`].
pub async fn confirm(
    commands: &Commands,
    account_id: AccountId,
    code: &str,
    metadata: Metadata,
) -> Result<i64, EmailError> {
    let wrong = || EmailError::CodeWrong { present: false, wanted: true };
    let (sealed, email) = registered(commands, account_id).await?;
    if load(commands, account_id).await?.confirmed().is_some() {
        return Err(CommandError::Refused(EmailRefusal::AlreadyConfirmed).into());
    }
    let digest = mailed_codes::email_digest(commands, &email);
    let is_right = mailed_codes::is_right(commands, account_id, Purpose::Confirmation, &digest, code).await?;
    if !is_right || !mailed_codes::take(commands, account_id, Purpose::Confirmation, &digest, code).await? {
        return Err(wrong());
    }
    let command = EmailCommand::Confirm { account_id, email: sealed, email_digest: digest };
    execute_with_used_code(commands, account_id, command, metadata).await
}

/// Mails a code to the address that an account wants to have, and one to its present address where that is confirmed. Who asks has
/// shown again who they are. Within a minute of the last one nothing is mailed, and that one is as it was.
///
/// # Errors
/// [`EmailError::Invalid`], [`EmailRefusal::Unchanged`], [`EmailError::TooManyMails`].
pub async fn request_change(
    commands: &Commands,
    account_id: AccountId,
    wanted: &str,
    language: Option<Language>,
    metadata: Metadata,
) -> Result<MailedCode, EmailError> {
    let wanted = Email::parse(wanted).map_err(EmailError::Invalid)?;
    let wanted_digest = mailed_codes::email_digest(commands, &wanted);
    let state = load(commands, account_id).await?;
    let needs_present_code = state.confirmed().is_some();
    if state.confirmed().is_some_and(|present| present.digest == wanted_digest) {
        return Err(CommandError::Refused(EmailRefusal::Unchanged).into());
    }
    let (wanted_code, expires_at) =
        match mailed_codes::issue(commands, account_id, Purpose::ChangeTo, &wanted_digest).await? {
            Issued::New { code, expires_at } => (code, expires_at),
            // That of the last request, if it was the same.
            Issued::TooSoon { expires_at, again_at } => match state.wanted() {
                Some(pending) if open(commands, pending).await? == wanted => {
                    return Ok(MailedCode { expires_at, again_at, needs_present_code, position: 0 });
                }
                _ => return Err(EmailError::TooManyMails),
            },
            Issued::TooMany => return Err(EmailError::TooManyMails),
        };
    let present_code = match state.confirmed() {
        Some(present) => {
            let issued = mailed_codes::issue(commands, account_id, Purpose::ChangeFrom, &present.digest).await;
            match or_take_back(commands, account_id, &[Purpose::ChangeTo], issued.map_err(CommandError::from)).await? {
                Issued::New { code, .. } => Some(code),
                Issued::TooSoon { .. } | Issued::TooMany => return Err(EmailError::TooManyMails),
            }
        }
        None => None,
    };
    let mailing = async {
        let keys = commands.account_keys();
        let present_code = match present_code {
            Some(code) => Some(keys.seal(account_id, &code).await?),
            None => None,
        };
        let command = EmailCommand::RequestChange {
            account_id,
            wanted: keys.seal(account_id, wanted.as_str()).await?,
            wanted_code: keys.seal(account_id, &wanted_code).await?,
            wanted_digest,
            present_code,
            language: language.or(state.language()).unwrap_or_default(),
            expires_at,
        };
        commands.execute::<AccountEmail>(&account_id.to_string(), command, metadata).await
    };
    let mailed = mailing.await;
    let committed = or_take_back(commands, account_id, &[Purpose::ChangeTo, Purpose::ChangeFrom], mailed).await?;
    let again_at = mailed_codes::again_at(OffsetDateTime::now_utc());
    Ok(MailedCode { expires_at, again_at, needs_present_code, position: committed.position })
}

/// Gives an account the address that it asked for, by the codes that were mailed there and, where that is confirmed, to the present
/// one. Answers a position at which the log shows it.
///
/// # Errors
/// [`EmailError::CodeWrong`]; [`EmailRefusal::Taken`] when another account was faster; [`EmailRefusal::NotRequested`].
pub async fn change(
    commands: &Commands,
    account_id: AccountId,
    present_code: Option<&str>,
    wanted_code: &str,
    metadata: Metadata,
) -> Result<i64, EmailError> {
    let state = load(commands, account_id).await?;
    let wanted = state.wanted().ok_or(CommandError::Refused(EmailRefusal::NotRequested))?;
    let email = open(commands, wanted).await?;
    let wanted_digest = mailed_codes::email_digest(commands, &email);
    let is_wanted_right =
        mailed_codes::is_right(commands, account_id, Purpose::ChangeTo, &wanted_digest, wanted_code).await?;
    let is_present_right = match state.confirmed() {
        Some(present) => {
            let code = present_code.unwrap_or_default();
            mailed_codes::is_right(commands, account_id, Purpose::ChangeFrom, &present.digest, code).await?
        }
        None => true,
    };
    if !(is_wanted_right && is_present_right) {
        return Err(EmailError::CodeWrong { present: !is_present_right, wanted: !is_wanted_right });
    }
    if !mailed_codes::take(commands, account_id, Purpose::ChangeTo, &wanted_digest, wanted_code).await? {
        return Err(EmailError::CodeWrong { present: false, wanted: true });
    }
    let command = EmailCommand::Change { account_id, email: wanted.clone(), email_digest: wanted_digest };
    let position = execute_with_used_code(commands, account_id, command, metadata).await?;
    // What was mailed to the address of before is bound to it and worth nothing any more; another may be asked for, and is counted.
    let before = [Purpose::ChangeFrom, Purpose::Confirmation, Purpose::PasswordReset];
    if let Err(error) = mailed_codes::void(commands, account_id, &before).await {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            account.id = %account_id,
            "codes for an address of before stay for the sweep"
        );
    }
    Ok(position)
}

/// What became of the mail with codes of these uses, which are taken back where there is none: those of before are worth nothing any
/// more, and another has to be asked for.
async fn or_take_back<T>(
    commands: &Commands,
    account_id: AccountId,
    purposes: &[Purpose],
    mailed: Result<T, CommandError<EmailRefusal>>,
) -> Result<T, CommandError<EmailRefusal>> {
    let Err(error) = mailed else { return mailed };
    if !matches!(error, CommandError::OutcomeUnknown(_)) {
        for purpose in purposes {
            mailed_codes::take_back(commands, account_id, *purpose).await;
        }
    }
    Err(error.after_storing())
}

/// Carries out what took a code that is used up now, so that trying again would not do.
async fn execute_with_used_code(
    commands: &Commands,
    account_id: AccountId,
    command: EmailCommand,
    metadata: Metadata,
) -> Result<i64, EmailError> {
    let committed = commands.execute::<AccountEmail>(&account_id.to_string(), command, metadata).await;
    Ok(committed.map_err(CommandError::after_storing)?.position)
}

/// Lets others have the address of an account that was erased, and forgets its codes; again is fine.
pub(super) async fn release(
    commands: &Commands,
    account_id: AccountId,
    metadata: Metadata,
) -> Result<(), CommandError<EmailRefusal>> {
    let command = EmailCommand::Release { account_id };
    commands.execute::<AccountEmail>(&account_id.to_string(), command, metadata).await?;
    mailed_codes::forget(commands, account_id).await?;
    Ok(())
}

/// Whether another account than this one has confirmed `email`; for mails, which say so to whoever reads them.
///
/// # Errors
/// When the log does not answer.
pub async fn is_anothers(commands: &Commands, account_id: AccountId, email: &str) -> Result<bool, sqlx::Error> {
    let digest = mailed_codes::digest_of_text(commands, email);
    Ok(holder(commands, &digest).await?.is_some_and(|holder| holder != account_id))
}

/// The confirmed address of an account, sealed, and the language that it is written to in; `None` where there is none.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read.
pub async fn of(commands: &Commands, account_id: AccountId) -> Result<Option<(Sealed, Language)>, LoadError> {
    let state = load(commands, account_id).await?;
    let confirmed = state.confirmed().map(|confirmed| confirmed.email.clone());
    Ok(confirmed.map(|email| (email, state.language().unwrap_or_default())))
}

/// The account that has confirmed the address of this digest.
pub(super) async fn holder(commands: &Commands, email_digest: &str) -> Result<Option<AccountId>, sqlx::Error> {
    super::held(commands, Claimed::Email, email_digest).await
}

pub(super) async fn load(commands: &Commands, account_id: AccountId) -> Result<AccountEmail, LoadError> {
    let loaded = commands.load::<AccountEmail>(&account_id.to_string()).await?;
    Ok(loaded.map(|(state, _)| state).unwrap_or_default())
}

/// The address that an account was registered with.
async fn registered(commands: &Commands, account_id: AccountId) -> Result<(Sealed, Email), EmailError> {
    let account = commands.load::<Account>(&account_id.to_string()).await?;
    let sealed = account.and_then(|(account, _)| account.registered_email().cloned());
    let sealed = sealed.ok_or(CommandError::Refused(EmailRefusal::Unknown))?;
    let email = open(commands, &sealed).await?;
    Ok((sealed, email))
}

/// What is sealed as an address.
async fn open(commands: &Commands, sealed: &Sealed) -> Result<Email, EmailError> {
    let keys = commands.account_keys();
    let opened = keys.open(vec![std::borrow::Cow::Borrowed(sealed)]).await.map_err(CommandError::from)?;
    match opened.into_iter().next() {
        Some(Opened::Text(text)) => {
            Email::parse(&text).map_err(|_| CommandError::Unexpected("a stored address is none".into()).into())
        }
        _ => Err(CommandError::Refused(EmailRefusal::Unknown).into()),
    }
}
