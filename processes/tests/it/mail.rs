//! Mails, sent to a real SMTP server or into a folder.

mod erased;
mod notices;
mod server;

use std::{
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use commands::{
    Actor, Commands, Metadata,
    accounts::{self, Erase, Register, email},
};
use domain::{accounts::Language, ids::AccountId};
use processes::{
    Following, MailOptions,
    mail::{self, MailWay, Post, SmtpOptions, SmtpTls},
};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use self::server::Server;
use crate::stage::{Stage, until};

const URL: &str = "https://weir.example.org";
const PASSWORD: &str = "correct horse battery";

fn smtp(port: u16) -> MailWay {
    let (host, tls) = ("127.0.0.1".to_owned(), SmtpTls::Off);
    MailWay::Smtp(SmtpOptions { host, port, tls, authorities: None, credentials: None })
}

/// As the settings make them, in less of a hurry to wait.
fn options(way: MailWay) -> MailOptions {
    let post = Post::new(way, Some("Weir <weir@example.org>"), URL).unwrap();
    let options = MailOptions::new(post, URL, Duration::from_secs(3_600));
    MailOptions { first_retry: Duration::from_millis(50), last_retry: Duration::from_millis(200), ..options }
}

/// Those of a node that crashes: what it was at is soon another's.
fn leased(way: MailWay) -> MailOptions {
    MailOptions { lease: Duration::from_secs(3), ..options(way) }
}

/// A node that sends mails; it ends, as by a crash, when it is aborted.
fn node(commands: &Commands, options: MailOptions) -> JoinHandle<()> {
    let commands = commands.clone();
    tokio::spawn(async move {
        let following = Following::new(&commands);
        tokio::join!(following.listen(), mail::run(&commands, &following, &options));
    })
}

async fn crash(node: JoinHandle<()>) {
    node.abort();
    let _ = node.await;
}

async fn register(commands: &Commands, username: &str, address: &str) -> AccountId {
    let register = Register {
        username: username.to_owned(),
        email: address.to_owned(),
        password: Zeroizing::new(PASSWORD.to_owned()),
        setup_token: None,
        metadata: Metadata::new(Actor::System),
    };
    accounts::register(commands, register).await.unwrap().account_id
}

/// Somebody new, to whom a code is mailed.
async fn newcomer(commands: &Commands, username: &str, address: &str, language: Language) -> AccountId {
    let account_id = register(commands, username, address).await;
    let metadata = Metadata::new(Actor::Account(account_id));
    email::request_confirmation(commands, account_id, Some(language), metadata).await.unwrap();
    account_id
}

/// The code in a mail.
fn code_of(text: &str) -> String {
    let is_code = |line: &&str| line.len() == 9 && line.as_bytes()[4] == b'-';
    text.lines().find(is_code).unwrap_or_else(|| panic!("no code in {text}")).to_owned()
}

async fn confirm(commands: &Commands, account_id: AccountId, code: &str) {
    email::confirm(commands, account_id, code, Metadata::new(Actor::Account(account_id))).await.unwrap();
}

async fn outcome(stage: &Stage, outcome: &str) -> i64 {
    sqlx::query_scalar("select count(*) from log.mails where outcome = $1")
        .bind(outcome)
        .fetch_one(&stage.pool)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_mail_is_delivered_once_whole_and_not_again_by_a_restart_or_a_replay() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    newcomer(&stage.commands, "mira", "mira@example.org", Language::En).await;
    let first = node(&stage.commands, options(smtp(server.port)));
    let mail = &server.mails(1).await[0];
    assert_eq!((&*mail.recipients, &*mail.sender), (&["mira@example.org".to_owned()][..], "weir@example.org"));
    assert_eq!((&*mail.kind, mail.header("to")), ("multipart/alternative", "mira@example.org"));
    assert_eq!(mail.header("from"), "Weir <weir@example.org>");
    assert_eq!(mail.header("subject"), "Confirm your e-mail address at weir.example.org");
    assert_eq!((mail.header("auto-submitted"), mail.header("content-language")), ("auto-generated", "en"));
    assert!(mail.header("message-id").ends_with("@example.org>"), "{}", mail.header("message-id"));
    let code = code_of(&mail.text);
    for part in [&mail.text, &mail.html] {
        assert!(part.contains("mira") && part.contains(&code), "{part}");
        assert!(part.contains(&format!("{URL}/confirm-email#{code}")), "{part}");
    }
    until("the note", async || outcome(&stage, "sent").await == 1).await;
    crash(first).await;

    // Followed again from the start, by a node that knows nothing.
    sqlx::query("delete from log.processes where name = 'mail'").execute(&stage.pool).await.unwrap();
    let second = node(&stage.commands, options(smtp(server.port)));
    newcomer(&stage.commands, "noor", "noor@example.org", Language::En).await;
    let mails = server.mails(2).await;
    assert_eq!(mails[1].header("to"), "noor@example.org");
    until("the note", async || outcome(&stage, "sent").await == 2).await;
    assert_ne!(mails[0].header("message-id"), mails[1].header("message-id"));
    crash(second).await;
    assert_eq!(server.kept().len(), 2);
}

#[tokio::test]
async fn what_is_late_is_not_sent_whoever_follows_the_log_again() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    newcomer(&stage.commands, "mira", "mira@example.org", Language::En).await;
    let late = MailOptions { give_up_after: Duration::ZERO, ..options(smtp(server.port)) };
    let late = node(&stage.commands, late);
    stage.until_checkpoint("mail", commands::events::head(&stage.pool).await.unwrap()).await;
    crash(late).await;
    let listed: i64 = sqlx::query_scalar("select count(*) from log.mails").fetch_one(&stage.pool).await.unwrap();
    assert_eq!((listed, server.kept().len()), (0, 0), "nothing is put on the list for which there is no time");
}

#[tokio::test]
async fn a_mail_that_cannot_be_made_is_told_of_and_not_tried_for_ever() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    let mira = register(&stage.commands, "mira", "mira@example.org").await;
    let metadata = Metadata::new(Actor::Account(mira));
    accounts::change_password(&stage.commands, mira, "and then into the sea", None, metadata).await.unwrap();
    // Nobody knows this event, which is in the way of whoever looks for the address.
    sqlx::query(
        "insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
         values (-1, 'email', $1, 1, 'email.unheard_of', '1.0', '{}', '{}')",
    )
    .bind(mira.to_string())
    .execute(&stage.pool)
    .await
    .unwrap();
    let first = node(&stage.commands, leased(smtp(server.port)));
    let failed =
        "select count(*) from log.mails where attempts >= 2 and settled_at is null and failure like '%cannot be read%'";
    stage.until_count("the reason", failed, 1).await;
    crash(first).await;
    let late = MailOptions { give_up_after: Duration::ZERO, ..leased(smtp(server.port)) };
    let late = node(&stage.commands, late);
    until("the note", async || outcome(&stage, "expired").await == 1).await;
    crash(late).await;
    assert_eq!(server.kept().len(), 0);
}

#[tokio::test]
async fn a_code_that_was_superseded_is_not_mailed() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    let port = server.port;
    let mira = newcomer(&stage.commands, "mira", "mira@example.org", Language::En).await;
    sqlx::query("update log.mailed_codes set asked_at = asked_at - interval '2 minutes'")
        .execute(&stage.pool)
        .await
        .unwrap();
    let metadata = Metadata::new(Actor::Account(mira));
    email::request_confirmation(&stage.commands, mira, None, metadata).await.unwrap();
    let node = node(&stage.commands, options(smtp(port)));
    until("the notes", async || outcome(&stage, "sent").await == 1 && outcome(&stage, "dropped").await == 1).await;
    crash(node).await;
    let mails = server.kept();
    assert_eq!(mails.len(), 1);
    confirm(&stage.commands, mira, &code_of(&mails[0].text)).await;
}

#[tokio::test]
async fn nobody_is_flooded_by_accounts_with_their_address() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    // Each is told the same.
    for number in 0..12 {
        newcomer(&stage.commands, &format!("somebody_{number}"), "Mira@example.org", Language::En).await;
    }
    newcomer(&stage.commands, "noor", "noor@example.org", Language::En).await;
    let node = node(&stage.commands, options(smtp(server.port)));
    until("the notes", async || outcome(&stage, "sent").await == 11 && outcome(&stage, "dropped").await == 2).await;
    crash(node).await;
    let mails = server.kept();
    assert_eq!(mails.iter().filter(|mail| mail.header("to") == "Mira@example.org").count(), 10);
    // An hour later there may be more.
    sqlx::query("update log.mailed_codes set asked_since = asked_since - interval '61 minutes'")
        .execute(&stage.pool)
        .await
        .unwrap();
    let again = self::node(&stage.commands, options(smtp(server.port)));
    newcomer(&stage.commands, "another", "mira@example.org", Language::En).await;
    assert_eq!(server.mails(12).await[11].header("to"), "mira@example.org");
    crash(again).await;
}

#[tokio::test]
async fn a_server_that_does_not_take_us_costs_no_mail() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    newcomer(&stage.commands, "mira", "us@example.org", Language::En).await;
    let node = node(&stage.commands, options(smtp(server.port)));
    assert_eq!(server.mails(1).await[0].header("to"), "us@example.org");
    until("the note", async || outcome(&stage, "sent").await == 1).await;
    let attempts: i32 = sqlx::query_scalar("select attempts from log.mails").fetch_one(&stage.pool).await.unwrap();
    assert_eq!(attempts, 3);
    crash(node).await;
}

#[tokio::test]
async fn an_address_that_the_server_cannot_write_to_is_not_tried_again() {
    let stage = Stage::new().await;
    let server = Server::start_ascii_only().await;
    newcomer(&stage.commands, "mira", "мира@example.org", Language::En).await;
    let node = node(&stage.commands, options(smtp(server.port)));
    until("the note", async || outcome(&stage, "undeliverable").await == 1).await;
    let (attempts, failure): (i32, String) =
        sqlx::query_as("select attempts, failure from log.mails").fetch_one(&stage.pool).await.unwrap();
    assert_eq!(attempts, 1);
    assert!(failure.contains("beyond ASCII") && !failure.contains('@'), "{failure}");
    crash(node).await;
}

#[tokio::test]
async fn a_server_that_does_not_take_a_mail_just_now_is_asked_again() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    newcomer(&stage.commands, "mira", "later@example.org", Language::En).await;
    let node = node(&stage.commands, options(smtp(server.port)));
    let mail = &server.mails(1).await[0];
    assert_eq!(mail.header("to"), "later@example.org");
    until("the note", async || outcome(&stage, "sent").await == 1).await;
    let attempts: i32 = sqlx::query_scalar("select attempts from log.mails").fetch_one(&stage.pool).await.unwrap();
    assert_eq!(attempts, 3);
    crash(node).await;
}

#[tokio::test]
async fn a_server_that_is_away_loses_nothing_and_holds_up_nobody_else() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    let port = server.port;
    server.stop().await;
    let (mira, gone) = (
        newcomer(&stage.commands, "mira", "mira@example.org", Language::En).await,
        newcomer(&stage.commands, "gone", "gone@example.org", Language::En).await,
    );
    let node = node(&stage.commands, options(smtp(port)));
    let tried = "select count(*) from log.mails where attempts >= 2 and settled_at is null and failure is not null";
    stage.until_count("two tries of each", tried, 2).await;
    // The process itself has gone on.
    stage.until_checkpoint("mail", commands::events::head(&stage.pool).await.unwrap()).await;
    let erase =
        Erase { account_id: gone, by: Some(gone), even_administrator: false, metadata: Metadata::new(Actor::System) };
    accounts::erase(&stage.commands, erase).await.unwrap();
    let server = Server::start_on(port).await;
    let mails = server.mails(1).await;
    assert_eq!(mails[0].header("to"), "mira@example.org");
    until("the notes", async || outcome(&stage, "sent").await == 1 && outcome(&stage, "dropped").await == 1).await;
    confirm(&stage.commands, mira, &code_of(&mails[0].text)).await;
    crash(node).await;
    assert_eq!(server.kept().len(), 1, "nobody is written to who was erased");
}

#[tokio::test]
async fn a_refusal_for_good_is_noted_without_the_address_and_not_tried_again() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    newcomer(&stage.commands, "mira", "never@example.org", Language::En).await;
    let node = node(&stage.commands, options(smtp(server.port)));
    until("the note", async || outcome(&stage, "refused").await == 1).await;
    let (attempts, failure): (i32, String) =
        sqlx::query_as("select attempts, failure from log.mails").fetch_one(&stage.pool).await.unwrap();
    assert_eq!(attempts, 1);
    assert!(failure.contains("550") && !failure.contains('@'), "{failure}");
    newcomer(&stage.commands, "noor", "noor@example.org", Language::En).await;
    assert_eq!(server.mails(1).await[0].header("to"), "noor@example.org", "others are not held up");
    crash(node).await;
}

#[tokio::test]
async fn a_crash_between_sending_and_noting_sends_the_same_mail_again() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    newcomer(&stage.commands, "mira", "slow@example.org", Language::En).await;
    let first = node(&stage.commands, leased(smtp(server.port)));
    // The server has it, and its word never comes.
    server.mails(1).await;
    crash(first).await;
    let second = node(&stage.commands, leased(smtp(server.port)));
    let mails = server.mails(2).await;
    assert_eq!(mails[0].header("message-id"), mails[1].header("message-id"));
    assert_eq!(mails[0].text, mails[1].text);
    until("the note", async || outcome(&stage, "sent").await == 1).await;
    crash(second).await;
}

#[tokio::test]
async fn everybody_is_written_to_in_their_language() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    let node = node(&stage.commands, options(smtp(server.port)));
    for (count, (language, word)) in [
        (Language::En, "is yours"),
        (Language::Uk, "Код дійсний добу"),
        (Language::Ru, "Код действует сутки"),
        (Language::Fr, "Le code est valable un jour"),
    ]
    .into_iter()
    .enumerate()
    {
        let code = language.code();
        newcomer(&stage.commands, &format!("mira_{code}"), &format!("{code}@example.org"), language).await;
        let mail = server.mails(count + 1).await.pop().unwrap();
        assert_eq!(mail.header("content-language"), code);
        for part in [&mail.text, &mail.html] {
            assert!(part.contains(word), "{part}");
        }
        assert!(mail.html.contains(&format!("<html lang=\"{code}\">")));
    }
    crash(node).await;
}

#[tokio::test]
async fn whoever_must_know_is_told_and_a_taken_address_gets_no_code() {
    let stage = Stage::new().await;
    let server = Server::start().await;
    let commands = &stage.commands;
    let node = node(commands, options(smtp(server.port)));
    let mira = newcomer(commands, "mira", "mira@example.org", Language::En).await;
    confirm(commands, mira, &code_of(&server.mails(1).await[0].text)).await;

    newcomer(commands, "other", "Mira@example.org", Language::En).await;
    let taken = server.mails(2).await.pop().unwrap();
    assert!(taken.header("subject").contains("was given"), "{}", taken.header("subject"));
    assert!(taken.text.contains("the account other") && taken.text.contains(&format!("{URL}/reset-password")));
    assert!(!taken.text.lines().any(|line| line.len() == 9 && line.contains('-')), "{}", taken.text);

    let metadata = || Metadata::new(Actor::Account(mira));
    accounts::password_reset::request(commands, mira, metadata()).await.unwrap();
    let reset = server.mails(3).await.pop().unwrap();
    let code = code_of(&reset.text);
    assert!(reset.html.contains(&format!("{URL}/reset-password#{code}")));
    let wanted = accounts::password_reset::ResetPassword {
        account: "mira",
        code: &code,
        new_password: "and then into the sea",
        second_factor_code: None,
    };
    accounts::password_reset::reset(commands, wanted).await.unwrap();
    let told = server.mails(4).await.pop().unwrap();
    assert_eq!(told.header("subject"), "Your password at weir.example.org has changed");

    email::request_change(commands, mira, "new@example.org", None, metadata()).await.unwrap();
    let both = server.mails(6).await;
    let to = |address: &str| both.iter().skip(4).find(|mail| mail.header("to") == address).unwrap();
    let (present, new) = (code_of(&to("mira@example.org").text), code_of(&to("new@example.org").text));
    email::change(commands, mira, Some(&present), &new, metadata()).await.unwrap();
    let told = server.mails(7).await.pop().unwrap();
    assert_eq!(told.header("to"), "mira@example.org");
    assert!(told.text.contains("another e-mail address now"), "{}", told.text);
    until("the notes", async || outcome(&stage, "sent").await == 7).await;
    crash(node).await;
}

#[tokio::test]
async fn a_server_is_spoken_to_over_tls_and_a_wrong_password_costs_no_mail() {
    let stage = Stage::new().await;
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let server = Server::start_with(0, Some((&certificate, &key))).await;
    let way = |password: &str, authorities: Option<String>| {
        MailWay::Smtp(SmtpOptions {
            host: "localhost".to_owned(),
            port: server.port,
            tls: SmtpTls::StartTls,
            authorities: authorities.map(String::into_bytes),
            credentials: Some(("weir".to_owned(), Zeroizing::new(password.to_owned()))),
        })
    };
    newcomer(&stage.commands, "mira", "mira@example.org", Language::En).await;
    let failed = "select count(*) from log.mails where settled_at is null and failure like '%535%'";
    let wrong = node(&stage.commands, leased(way("wrong", Some(made.cert.pem()))));
    stage.until_count("a refused sign-in", failed, 1).await;
    crash(wrong).await;
    // Nobody whom the system trusts vouches for it.
    let failed = "select count(*) from log.mails where settled_at is null and failure not like '%535%'";
    let stranger = node(&stage.commands, leased(way("hunter2", None)));
    stage.until_count("a refused certificate", failed, 1).await;
    crash(stranger).await;
    assert_eq!(server.kept().len(), 0);
    let right = node(&stage.commands, leased(way("hunter2", Some(made.cert.pem()))));
    let mail = server.mails(1).await.pop().unwrap();
    assert_eq!((mail.is_tls, mail.user.as_deref()), (true, Some("weir")));
    crash(right).await;
}

#[tokio::test]
async fn without_a_server_mails_are_files_that_only_we_may_read() {
    let stage = Stage::new().await;
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("mail");
    newcomer(&stage.commands, "mira", "mira@example.org", Language::Uk).await;
    let node = node(&stage.commands, options(MailWay::Folder(folder.clone())));
    until("the note", async || outcome(&stage, "sent").await == 1).await;
    crash(node).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!((mode(&folder), files.len(), mode(&files[0])), (0o700, 1, 0o600), "{files:?}");
    assert_eq!(files[0].extension().unwrap(), "eml");
    let text = std::fs::read_to_string(&files[0]).unwrap();
    assert!(text.contains("To: mira@example.org\r\n") && text.contains("Message-ID: <"), "{text}");
    // And one of an operator who tries it.
    let post = Post::new(MailWay::Folder(folder.clone()), None, URL).unwrap();
    mail::test(&post, "operator@example.org", URL).await.unwrap();
    assert!(matches!(mail::test(&post, "nowhere", URL).await, Err(mail::SendError::Address)));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
}

#[tokio::test]
async fn files_of_mails_go_after_two_days() {
    let stage = Stage::new().await;
    let data = tempfile::tempdir().unwrap();
    let folder = data.path().join("mail");
    std::fs::create_dir(&folder).unwrap();
    let write = |name: &str, hours: u64| {
        let file = std::fs::File::create(folder.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(hours * 3_600)).unwrap();
    };
    write("000000000001-0.eml", 49);
    write(".000000000002-0.eml.0123456789abcdef.new", 49);
    write("000000000003-0.eml", 47);
    write("notes.txt", 49);
    let node = node(&stage.commands, options(MailWay::Folder(folder.clone())));
    let names = || {
        let entries = std::fs::read_dir(&folder).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    until("the removal", async || names() == ["000000000003-0.eml", "notes.txt"]).await;
    crash(node).await;
}
