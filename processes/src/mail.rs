//! Mail: what people are written to because of what happened.
//!
//! What leads to a mail goes on a list in the database as it is followed (`log.mails`: the event and nothing else), and the nodes take
//! from it. So a mail server that is away holds up its mails alone, and a mail is sent again only when a node dies between the
//! server's word and the note of it: then with the same Message-ID, by which mail programs show it once. The checkpoint is the
//! process's own; making read models anew sends nothing, and neither does a log that is followed again, since what is late is not
//! sent and what was sent is known for two weeks.
//!
//! Of an erased person no file of a mail stays, and nothing that a server has said.
//!
//! What is in a mail, and to whom it goes, is made of the event when it is sent: codes and addresses are sealed there, and nowhere else.
//!
//! To add a mail: the event in `PROCESS`, `count` and `draft`, and a kind in `letter`.

mod folder;
mod letter;
mod post;

use std::{
    borrow::Cow,
    collections::HashSet,
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use commands::{
    Commands, LoadError,
    accounts::{
        self, email,
        mailed_codes::{self, Purpose},
        suspension::{self, Standing},
    },
    events::{self, Filter, StoredEvent},
    mails::{self, MailId, MailOutcome, WaitingMail},
};
use domain::{
    DomainEvent,
    accounts::{Account, AccountEvent, AccountSuspended, EmailEvent, Language, PasswordResetEvent},
    ids::AccountId,
    sealed::{KeyringError, Opened, Sealed},
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use self::letter::{Kind, Words};
pub use self::post::{MailWay, Post, PostError, SendError, SmtpOptions, SmtpTls};
use crate::following::{Begin, BoxError, Followed, Following, Handler, Process};

const PROCESS: Process = Process {
    name: "mail",
    types: &[
        "email.confirmation_requested",
        "email.change_requested",
        "email.changed",
        "password_reset.requested",
        "account.password_changed",
        "account.second_factor_disabled",
        "account.recovery_code_used",
        "account.erasure_requested",
        "account.suspended",
        // What was mailed to an erased person goes.
        "account.erased",
    ],
    begin: Begin::Start,
};
/// How often the list is looked at when nothing wakes the worker.
const POLLED_EVERY: Duration = Duration::from_secs(1);
/// How often it is tidied, and how often it is counted.
const TIDIED_EVERY: Duration = Duration::from_secs(300);
const COUNTED_EVERY: Duration = Duration::from_secs(10);
/// How many are sent at once on a node.
const AT_ONCE: usize = 2;

/// How mails are sent.
#[derive(Debug, Clone)]
pub struct MailOptions {
    /// By which they leave.
    pub post: Arc<Post>,
    /// The install's public address, for what mails lead to.
    pub public_url: String,
    /// For how long a mail is tried; codes end that earlier.
    pub give_up_after: Duration,
    /// How long after the first failure it is tried again; twice that after the next, and so on.
    pub first_retry: Duration,
    /// How long at most it is waited.
    pub last_retry: Duration,
    /// For how long whoever sends a mail is left alone with it.
    pub lease: Duration,
}

impl MailOptions {
    /// With the times that do for a server of any kind.
    #[must_use]
    pub fn new(post: Post, public_url: &str, give_up_after: Duration) -> Self {
        Self {
            post: Arc::new(post),
            public_url: public_url.trim_end_matches('/').to_owned(),
            give_up_after,
            first_retry: Duration::from_secs(5),
            last_retry: Duration::from_secs(900),
            lease: Duration::from_secs(120),
        }
    }

    fn wait(&self, attempts: i32) -> Duration {
        let doubled = self.first_retry.saturating_mul(2_u32.saturating_pow(attempts.max(1).unsigned_abs() - 1));
        doubled.min(self.last_retry)
    }
}

/// Sends mails, for ever. Several nodes may. Cancel safe: what was under way is done again by whoever is next.
pub async fn run(commands: &Commands, following: &Following, options: &MailOptions) {
    tell_metrics();
    options.post.tell();
    let woken = Notify::new();
    let list = List { commands, woken: &woken, post: &options.post, give_up_after: options.give_up_after };
    let office = Office { commands, options, is_in_trouble: AtomicBool::new(false) };
    let workers = (0..AT_ONCE).map(|_| office.work(&woken));
    tokio::join!(
        following.follow(PROCESS, &list),
        futures::future::join_all(workers),
        count_waiting(commands),
        tidy(commands, &options.post),
    );
}

/// Sends one mail to `to` at once, for an operator who tries the settings.
///
/// # Errors
/// [`SendError`] with what the server says.
pub async fn test(post: &Post, to: &str, public_url: &str) -> Result<(), SendError> {
    let words = Words { username: "", site: post.site(), code: "", link: public_url };
    let letter = letter::write(Kind::Test, Language::En, words);
    let id = format!("test.{}", uuid::Uuid::now_v7().simple());
    post.send(post::Parcel { to, letter, language: Language::En.code(), id: &id, file_name: &id }).await
}

/// Keeps the list of what is to be sent as the events say.
struct List<'a> {
    commands: &'a Commands,
    woken: &'a Notify,
    post: &'a Post,
    give_up_after: Duration,
}

impl Handler for List<'_> {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        if let DomainEvent::Account(AccountEvent::Erased { account_id, .. }) = &followed.event {
            let mails = mails::forget(self.commands.pool(), *account_id).await?;
            return Ok(self.post.remove(mails.into_iter().map(file_name).collect()).await?);
        }
        if is_over(&followed.stored, self.give_up_after) {
            // A log that is followed again from the start: each of its mails would be in the way of new ones, for nothing.
            return Ok(());
        }
        for part in 0..count(&followed.event) {
            mails::enqueue(self.commands.pool(), MailId { position: followed.stored.position, part }).await?;
            self.woken.notify_one();
        }
        Ok(())
    }
}

/// Whether there is no time left for the mails of an event.
fn is_over(stored: &StoredEvent, give_up_after: Duration) -> bool {
    stored.recorded_at + give_up_after <= OffsetDateTime::now_utc()
}

/// How many mails an event leads to.
fn count(event: &DomainEvent) -> i16 {
    match event {
        DomainEvent::Email(EmailEvent::ChangeRequested { present: Some(_), .. }) => 2,
        DomainEvent::Email(EmailEvent::ConfirmationRequested { .. } | EmailEvent::ChangeRequested { .. })
        | DomainEvent::Email(EmailEvent::Changed { former: Some(_), .. })
        | DomainEvent::PasswordReset(PasswordResetEvent::Requested { .. })
        | DomainEvent::Account(
            AccountEvent::PasswordChanged { .. }
            | AccountEvent::SecondFactorDisabled { .. }
            | AccountEvent::RecoveryCodeUsed { .. }
            | AccountEvent::ErasureRequested { .. }
            | AccountEvent::Suspended(_),
        ) => 1,
        _ => 0,
    }
}

/// Who sends.
struct Office<'a> {
    commands: &'a Commands,
    options: &'a MailOptions,
    /// Whether the last attempt failed for a reason that is not the mail's own: that is said once.
    is_in_trouble: AtomicBool,
}

/// What a mail is made from.
struct Draft<'a> {
    account_id: AccountId,
    kind: Kind,
    to: Cow<'a, Sealed>,
    code: Option<&'a Sealed>,
    language: Language,
    /// When it is of no use any more, beside the time that every mail has.
    expires_at: Option<OffsetDateTime>,
}

/// Why a mail is not sent now.
enum Unsent {
    /// It never will be.
    Settled(MailOutcome, String),
    /// It may be another time.
    Later(String),
    /// What it is made from cannot be read: the database does not answer, or an event or a key is broken.
    Unmade(BoxError),
}

impl From<sqlx::Error> for Unsent {
    fn from(error: sqlx::Error) -> Self {
        Self::Unmade(error.into())
    }
}

impl From<LoadError> for Unsent {
    fn from(error: LoadError) -> Self {
        Self::Unmade(error.into())
    }
}

impl From<KeyringError> for Unsent {
    fn from(error: KeyringError) -> Self {
        Self::Unmade(error.into())
    }
}

impl Office<'_> {
    /// Sends one mail after the other.
    async fn work(&self, woken: &Notify) {
        loop {
            match mails::claim(self.commands.pool(), self.options.lease).await {
                Ok(Some(mail)) => self.deliver(mail).await,
                Ok(None) => {
                    let _ = timeout(POLLED_EVERY, woken.notified()).await;
                }
                Err(error) => {
                    tracing::debug!(error = &error as &dyn Error, "the list of mails cannot be read");
                    sleep(POLLED_EVERY).await;
                }
            }
        }
    }

    async fn deliver(&self, mail: WaitingMail) {
        let WaitingMail { id, attempts, .. } = mail;
        let pool = self.commands.pool();
        let noted = match self.send(id).await {
            Ok(()) => {
                metrics::counter!("weir_mails_total", "outcome" => MailOutcome::Sent.as_str()).increment(1);
                if self.is_in_trouble.swap(false, Ordering::Relaxed) {
                    tracing::info!("mails can be sent again");
                }
                mails::settle(pool, id, MailOutcome::Sent, None).await
            }
            Err(Unsent::Settled(outcome, failure)) => {
                metrics::counter!("weir_mails_total", "outcome" => outcome.as_str()).increment(1);
                if outcome != MailOutcome::Dropped {
                    tracing::warn!(
                        event.position = id.position,
                        mail.part = id.part,
                        mail.outcome = outcome.as_str(),
                        attempts,
                        failure,
                        "a mail was not sent and will not be"
                    );
                }
                mails::settle(pool, id, outcome, Some(&failure)).await
            }
            Err(Unsent::Later(failure)) => {
                metrics::counter!("weir_mail_failures_total").increment(1);
                if !self.is_in_trouble.swap(true, Ordering::Relaxed) {
                    tracing::warn!(failure, "a mail cannot be sent just now; it is tried again");
                }
                mails::retry(pool, id, self.options.wait(attempts), &failure).await
            }
            Err(Unsent::Unmade(error)) => {
                let failure = post::said(&*error, None);
                metrics::counter!("weir_mail_failures_total").increment(1);
                if !self.is_in_trouble.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        event.position = id.position,
                        failure,
                        "a mail cannot be made just now; it is tried again"
                    );
                }
                mails::retry(pool, id, self.options.wait(attempts), &failure).await
            }
        };
        if let Err(error) = noted {
            // It is tried again once the lease is over, with the same Message-ID.
            tracing::debug!(error = &error as &dyn Error, "what became of a mail could not be noted");
        }
    }

    async fn send(&self, id: MailId) -> Result<(), Unsent> {
        let filter = Filter { after: id.position - 1, until: Some(id.position), ..Filter::default() };
        let stored = events::page(self.commands.pool(), &filter, 1).await?.into_iter().next();
        let stored =
            stored.ok_or_else(|| Unsent::Settled(MailOutcome::Undeliverable, "there is no such event".to_owned()))?;
        let StoredEvent { aggregate_type, event_type, event_version, payload, .. } = &stored;
        let event = DomainEvent::decode(aggregate_type, event_type, event_version, payload.get())
            .map_err(|error| Unsent::Settled(MailOutcome::Undeliverable, error.to_string()))?;
        // Before anything else is read: what cannot be read is not tried for ever.
        if is_over(&stored, self.options.give_up_after) {
            return Err(late());
        }
        let Some(draft) = self.draft(&event, id.part).await? else {
            return Err(Unsent::Settled(MailOutcome::Dropped, "nobody is to be written to any more".to_owned()));
        };
        if draft.expires_at.is_some_and(|expires_at| expires_at <= OffsetDateTime::now_utc()) {
            return Err(late());
        }
        let (to, username, code) = self.open(&draft).await?;
        if let (Some(purpose), Some(code)) = (purpose(draft.kind), &code)
            && !mailed_codes::is_current(self.commands, draft.account_id, purpose, &to, code).await?
        {
            let failure = "its code was used, or there is a later one".to_owned();
            return Err(Unsent::Settled(MailOutcome::Dropped, failure));
        }
        let kind = match draft.kind {
            Kind::Confirmation | Kind::ChangeTo if email::is_anothers(self.commands, draft.account_id, &to).await? => {
                Kind::AddressTaken
            }
            kind => kind,
        };
        let link = self.link(kind, code.as_deref().unwrap_or_default());
        let site = self.options.post.site();
        let words = Words { username: &username, site, code: code.as_deref().unwrap_or_default(), link: &link };
        let letter = letter::write(kind, draft.language, words);
        let (message_id, file_name) = (message_id(&stored, id.part), file_name(id));
        let language = draft.language.code();
        let parcel = post::Parcel { to: &to, letter, language, id: &message_id, file_name: &file_name };
        self.options.post.send(parcel).await.map_err(|error| match error {
            SendError::Later(failure) => Unsent::Later(failure),
            SendError::Refused(failure) => Unsent::Settled(MailOutcome::Refused, failure),
            error @ (SendError::Address | SendError::Letters | SendError::Unwritten(_)) => {
                Unsent::Settled(MailOutcome::Undeliverable, error.to_string())
            }
        })?;
        // Whoever was erased while it was written: that may have been looked for before the file was there.
        if self.options.post.is_folder() && accounts::is_erased(self.commands, draft.account_id).await? {
            let removed = self.options.post.remove(HashSet::from([file_name])).await;
            removed.map_err(|error| Unsent::Unmade(error.into()))?;
        }
        Ok(())
    }

    /// What a mail of an event is made from; `None` when there is nobody to be written to.
    async fn draft<'a>(&self, event: &'a DomainEvent, part: i16) -> Result<Option<Draft<'a>>, LoadError> {
        let draft = |account_id: &AccountId, kind, to: &'a Sealed, code, language, expires_at| Draft {
            account_id: *account_id,
            kind,
            to: Cow::Borrowed(to),
            code,
            language,
            expires_at,
        };
        Ok(match event {
            DomainEvent::Email(EmailEvent::ConfirmationRequested {
                account_id,
                email,
                code,
                language,
                expires_at,
                ..
            }) => Some(draft(account_id, Kind::Confirmation, email, Some(code), *language, Some(*expires_at))),
            DomainEvent::Email(EmailEvent::ChangeRequested {
                account_id,
                wanted,
                wanted_code,
                present,
                present_code,
                language,
                expires_at,
                ..
            }) => match (part, present, present_code) {
                (0, ..) => {
                    Some(draft(account_id, Kind::ChangeTo, wanted, Some(wanted_code), *language, Some(*expires_at)))
                }
                (_, Some(present), Some(code)) => {
                    Some(draft(account_id, Kind::ChangeFrom, present, Some(code), *language, Some(*expires_at)))
                }
                _ => None,
            },
            DomainEvent::PasswordReset(PasswordResetEvent::Requested {
                account_id,
                email,
                code,
                language,
                expires_at,
                ..
            }) => Some(draft(account_id, Kind::PasswordReset, email, Some(code), *language, Some(*expires_at))),
            DomainEvent::Email(EmailEvent::Changed { account_id, former: Some(former), .. }) => {
                let language = email::of(self.commands, *account_id).await?.map(|(_, language)| language);
                Some(draft(account_id, Kind::EmailChanged, former, None, language.unwrap_or_default(), None))
            }
            DomainEvent::Account(AccountEvent::PasswordChanged { account_id, .. }) => {
                self.notice(*account_id, Kind::PasswordChanged).await?
            }
            DomainEvent::Account(AccountEvent::SecondFactorDisabled { account_id, .. }) => {
                self.notice(*account_id, Kind::SecondFactorDisabled).await?
            }
            DomainEvent::Account(AccountEvent::RecoveryCodeUsed { account_id, .. }) => {
                self.notice(*account_id, Kind::RecoveryCodeUsed).await?
            }
            DomainEvent::Account(AccountEvent::ErasureRequested { account_id, .. }) => {
                self.notice(*account_id, Kind::ErasureRequested).await?
            }
            // By now it may be over.
            DomainEvent::Account(AccountEvent::Suspended(AccountSuspended { account_id, .. })) => {
                match suspension::standing(self.commands, *account_id).await? {
                    Standing::Suspended => self.notice(*account_id, Kind::Suspended).await?,
                    Standing::Good | Standing::Erased => None,
                }
            }
            _ => None,
        })
    }

    /// What tells an owner of something that has happened to the account, by the address that is confirmed; `None` where none is.
    async fn notice(&self, account_id: AccountId, kind: Kind) -> Result<Option<Draft<'static>>, LoadError> {
        let known = email::of(self.commands, account_id).await?;
        Ok(known.map(|(to, language)| {
            let (to, code, expires_at) = (Cow::Owned(to), None, None);
            Draft { account_id, kind, to, code, language, expires_at }
        }))
    }

    /// Address, username and code, in plain text.
    async fn open(&self, draft: &Draft<'_>) -> Result<(String, String, Option<String>), Unsent> {
        let dropped = || Unsent::Settled(MailOutcome::Dropped, "its reader was erased".to_owned());
        let account = self.commands.load::<Account>(&draft.account_id.to_string()).await?;
        let username = account.and_then(|(account, _)| account.username().cloned()).ok_or_else(dropped)?;
        let mut sealed = vec![Cow::Borrowed(&*draft.to), Cow::Owned(username)];
        sealed.extend(draft.code.map(Cow::Borrowed));
        let mut opened = self.commands.keyring().open(sealed).await?.into_iter().map(|opened| match opened {
            Opened::Text(text) => Ok(text),
            Opened::Erased => Err(dropped()),
        });
        let mut next = || opened.next().unwrap_or_else(|| Err(dropped()));
        let (to, username) = (next()?, next()?);
        let code = if draft.code.is_some() { Some(next()?) } else { None };
        Ok((to, username, code))
    }

    /// Where a mail leads. What comes after the # is sent to no server, and stands in no log.
    fn link(&self, kind: Kind, code: &str) -> String {
        let url = &self.options.public_url;
        match kind {
            Kind::Confirmation => format!("{url}/confirm-email#{code}"),
            Kind::PasswordReset => format!("{url}/reset-password#{code}"),
            Kind::AddressTaken | Kind::PasswordChanged | Kind::SecondFactorDisabled | Kind::RecoveryCodeUsed => {
                format!("{url}/reset-password")
            }
            Kind::ErasureRequested | Kind::Suspended => format!("{url}/sign-in"),
            Kind::ChangeFrom | Kind::ChangeTo | Kind::EmailChanged => format!("{url}/settings"),
            Kind::Test => url.clone(),
        }
    }
}

/// What nobody can use any more is not sent, however often it was tried.
fn late() -> Unsent {
    Unsent::Settled(MailOutcome::Expired, "its time was over before it could be sent".to_owned())
}

/// What the code in a mail is for, where there is one.
fn purpose(kind: Kind) -> Option<Purpose> {
    match kind {
        Kind::Confirmation => Some(Purpose::Confirmation),
        Kind::ChangeTo => Some(Purpose::ChangeTo),
        Kind::ChangeFrom => Some(Purpose::ChangeFrom),
        Kind::PasswordReset => Some(Purpose::PasswordReset),
        Kind::AddressTaken
        | Kind::EmailChanged
        | Kind::PasswordChanged
        | Kind::SecondFactorDisabled
        | Kind::RecoveryCodeUsed
        | Kind::ErasureRequested
        | Kind::Suspended
        | Kind::Test => None,
    }
}

/// What the file of a mail is called in a folder.
fn file_name(id: MailId) -> String {
    format!("{:012}-{}", id.position, id.part)
}

/// The event whose mail has this name.
fn position(file_name: &str) -> Option<i64> {
    file_name.split_once('-')?.0.parse().ok()
}

/// Of the same mail always the same, of others another; it says nothing of what it is about.
fn message_id(stored: &StoredEvent, part: i16) -> String {
    let StoredEvent { aggregate_type, aggregate_id, sequence, recorded_at, .. } = stored;
    let event =
        format!("weir mail {aggregate_type}/{aggregate_id}/{sequence}/{part} {}", recorded_at.unix_timestamp_nanos());
    let digest = Sha256::digest(event);
    digest[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Tells how many wait.
async fn count_waiting(commands: &Commands) {
    let mut rounds = interval(COUNTED_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        if let Ok((count, oldest)) = mails::waiting(commands.pool()).await {
            metrics::gauge!("weir_mails_waiting").set(count as f64);
            metrics::gauge!("weir_mail_oldest_seconds").set(oldest.as_secs_f64());
        }
    }
}

/// Removes what is of no use any more. Every node does: whoever comes second finds nothing.
async fn tidy(commands: &Commands, post: &Post) {
    let mut rounds = interval(TIDIED_EVERY);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        for swept in [mails::sweep(commands.pool()).await, mailed_codes::sweep(commands).await] {
            if let Err(error) = swept {
                tracing::warn!(error = &error as &dyn Error, "mails and codes of before could not be removed");
            }
        }
        if let Err(error) = remove_of_erased(commands, post).await {
            tracing::warn!(error = &*error as &dyn Error, "files of mails to erased people could not be removed");
        }
        if let Err(error) = post.sweep().await {
            tracing::warn!(error = &error as &dyn Error, "files of mails of before could not be removed");
        }
    }
}

/// Removes files of mails to people who were erased. The node that follows the erasure removes its own at once; those of other
/// nodes are in folders of theirs.
async fn remove_of_erased(commands: &Commands, post: &Post) -> Result<(), BoxError> {
    let kept = post.kept().await?;
    if kept.is_empty() {
        return Ok(());
    }
    let positions: Vec<i64> = kept.iter().filter_map(|name| position(name)).collect();
    let erased = mails::of_erased(commands.pool(), &positions).await?;
    let of_erased = kept.into_iter().filter(|name| position(name).is_some_and(|position| erased.contains(&position)));
    Ok(post.remove(of_erased.collect()).await?)
}

/// So that the metrics are there from the start.
fn tell_metrics() {
    metrics::describe_counter!("weir_mails_total", "Mails, by what became of them.");
    for outcome in MailOutcome::ALL {
        metrics::counter!("weir_mails_total", "outcome" => outcome.as_str()).increment(0);
    }
    metrics::describe_counter!("weir_mail_failures_total", "Attempts to send a mail that failed and are repeated.");
    metrics::counter!("weir_mail_failures_total").increment(0);
    metrics::describe_gauge!("weir_mails_waiting", "Mails that are not sent yet.");
    metrics::gauge!("weir_mails_waiting").set(0.0);
    metrics::describe_gauge!("weir_mail_oldest_seconds", "For how long the oldest mail has waited.");
    metrics::gauge!("weir_mail_oldest_seconds").set(0.0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_a_bound() {
        let post = Post::new(MailWay::Folder("/nowhere".into()), None, "https://weir.example.org").unwrap();
        let options = MailOptions::new(post, "https://weir.example.org/", Duration::from_secs(60));
        let waits: Vec<_> = [0, 1, 2, 3, 8, 9, 60, i32::MAX].map(|attempts| options.wait(attempts).as_secs()).into();
        assert_eq!(waits, [5, 5, 10, 20, 640, 900, 900, 900]);
        assert_eq!(options.public_url, "https://weir.example.org");
    }
}
