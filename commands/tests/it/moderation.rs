//! Suspended accounts, and reports.

use commands::{
    Actor, CommandError, Commands, Metadata,
    accounts::{
        self, personal_tokens, sessions,
        suspension::{self, Standing, Suspend, SuspensionError},
    },
    channels::{self, PublisherRefusal},
    reports::{self, DecideReport, FileReport, ReportsError},
    setup::{self, SetupToken},
};
use domain::{
    accounts::{AccountRefusal, PersonalTokenName, PersonalTokenScope, SessionRefusal, SuspensionRefusal},
    ids::{AccountId, ReportId},
    reports::{ReportAction, ReportKind, ReportRefusal, ReportTarget, ReportVerdict},
};
use time::{Duration, OffsetDateTime};

use crate::stage::{Stage, create, metadata, register};

pub(crate) async fn administrator(commands: &Commands) -> AccountId {
    let Some(SetupToken::New(token)) = setup::ensure_token(commands).await.unwrap() else { panic!("no set-up token") };
    let mut register = register("keeper");
    register.setup_token = Some(token.as_str().to_owned());
    accounts::register(commands, register).await.unwrap().account_id
}

pub(crate) fn suspend(account_id: AccountId, by: AccountId, until: Option<OffsetDateTime>) -> Suspend {
    let metadata = Metadata::new(Actor::Account(by));
    Suspend { account_id, by, reason: "Two warnings".to_owned(), until, metadata }
}

fn refusal(error: SuspensionError) -> AccountRefusal {
    match error {
        SuspensionError::Command(CommandError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn key_of(commands: &Commands, owner: AccountId, handle: &str) -> String {
    let channel_id = channels::create(commands, create(owner, handle)).await.unwrap().channel_id;
    channels::stream_key(commands, owner, channel_id).await.unwrap().expose().to_owned()
}

pub(crate) fn create_token(account_id: AccountId) -> personal_tokens::CreatePersonalToken {
    personal_tokens::CreatePersonalToken {
        account_id,
        session_id: None,
        name: PersonalTokenName::parse("A program").unwrap(),
        scopes: vec![PersonalTokenScope::Read],
        expires_at: OffsetDateTime::now_utc() + Duration::days(9),
        metadata: metadata(),
    }
}

async fn made_token(commands: &Commands, account_id: AccountId) -> String {
    personal_tokens::create(commands, create_token(account_id)).await.unwrap().token.to_string()
}

#[tokio::test]
async fn a_suspended_person_is_out_everywhere_and_comes_back() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let keeper = administrator(&commands).await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let session = sessions::open(&commands, mira, "A browser", "::1").await.unwrap();
    let token = made_token(&commands, mira).await;
    let key = key_of(&commands, mira, "river").await;
    channels::authorise_publisher(&commands, &key).await.unwrap();

    suspension::suspend(&commands, suspend(mira, keeper, None)).await.unwrap();
    for commands in [&commands, &other] {
        assert_eq!(suspension::standing(commands, mira).await.unwrap(), Standing::Suspended);
        assert!(sessions::refresh(commands, &session.refresh_token).await.is_err());
        assert_eq!(personal_tokens::find(commands, &token).await.unwrap(), None);
        let refused = channels::authorise_publisher(commands, &key).await;
        assert!(matches!(refused, Err(CommandError::Refused(PublisherRefusal::OwnerSuspended))), "{refused:?}");
        let refused = channels::authorise_publisher(commands, "live_unknown").await;
        assert!(matches!(refused, Err(CommandError::Refused(PublisherRefusal::KeyUnknown))), "{refused:?}");
        // The password is right all the same: that is where it is said.
        accounts::verify(commands, "mira", "correct horse").await.unwrap();
        let told = suspension::current(commands, mira).await.unwrap().unwrap();
        assert_eq!((told.reason.as_str(), told.until), ("Two warnings", None));
        let refused = sessions::open(commands, mira, "A browser", "::1").await.err();
        assert!(matches!(refused, Some(CommandError::Refused(SessionRefusal::AccountSuspended))), "{refused:?}");
    }
    assert_eq!(suspension::standing(&commands, keeper).await.unwrap(), Standing::Good);
    assert_eq!(suspension::current(&commands, keeper).await.unwrap(), None);

    suspension::reinstate(&other, mira, keeper, metadata()).await.unwrap();
    suspension::reinstate(&commands, mira, keeper, metadata()).await.unwrap();
    sessions::open(&commands, mira, "A browser", "::1").await.unwrap();
    channels::authorise_publisher(&commands, &key).await.unwrap();
    assert_eq!(personal_tokens::find(&commands, &token).await.unwrap(), None, "tokens are revoked for good");
    let types = stage.event_types().await;
    let count = |name: &str| types.iter().filter(|event_type| *event_type == name).count();
    assert_eq!((count("account.suspended"), count("account.reinstated")), (1, 1));
}

#[tokio::test]
async fn a_suspension_that_is_over_keeps_nobody_out() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let keeper = administrator(&commands).await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let until = loop {
        let until = OffsetDateTime::now_utc() + Duration::seconds(2);
        match suspension::suspend(&commands, suspend(mira, keeper, Some(until))).await {
            Ok(_) => break until,
            // Its time was over before it was looked at.
            Err(error) => assert_eq!(refusal(error), AccountRefusal::Suspension(SuspensionRefusal::AlreadyOver)),
        }
    };
    while suspension::standing(&commands, mira).await.unwrap() == Standing::Suspended {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(OffsetDateTime::now_utc() >= until);
    let session = sessions::open(&commands, mira, "A browser", "::1").await.unwrap();
    // Who follows the log may come to the event only now.
    assert_eq!(suspension::finish(&commands, mira).await.unwrap(), 0);
    sessions::refresh(&commands, &session.refresh_token).await.unwrap();
}

#[tokio::test]
async fn nobody_suspends_themselves_or_the_last_administrator() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let keeper = administrator(&commands).await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let own = suspension::suspend(&commands, suspend(keeper, keeper, None)).await.unwrap_err();
    assert_eq!(refusal(own), AccountRefusal::Suspension(SuspensionRefusal::OwnAccount));
    // Whoever asks: nobody would be left.
    let last = suspension::suspend(&commands, suspend(keeper, mira, None)).await.unwrap_err();
    assert_eq!(refusal(last), AccountRefusal::Suspension(SuspensionRefusal::LastAdministrator));
    let nobody = suspension::suspend(&commands, suspend(crate::stage::account_id(), keeper, None)).await.unwrap_err();
    assert_eq!(refusal(nobody), AccountRefusal::Unknown);
    let empty = Suspend { reason: " ".to_owned(), ..suspend(mira, keeper, None) };
    let Err(SuspensionError::Invalid(invalid)) = suspension::suspend(&commands, empty).await else { panic!("valid") };
    assert_eq!((invalid[0].field, invalid[0].code), ("reason", "too_short"));
    assert_eq!(suspension::standing(&commands, keeper).await.unwrap(), Standing::Good);
    let keys: i64 = sqlx::query_scalar("select count(*) from log.keys").fetch_one(&stage.pool).await.unwrap();
    assert_eq!(keys, 2, "nobody got a key who is nobody");
}

pub(crate) fn file(by: AccountId, target: ReportTarget) -> FileReport {
    let text = "This is my film".to_owned();
    FileReport { by, target, kind: ReportKind::Copyright, text, at_ms: Some(754_000), metadata: metadata() }
}

pub(crate) fn decide(report_id: ReportId, by: AccountId, verdict: ReportVerdict, action: ReportAction) -> DecideReport {
    DecideReport {
        report_id,
        by,
        verdict,
        action,
        answer: "Thank you".to_owned(),
        reason: "Somebody else's film".to_owned(),
        until: None,
        metadata: metadata(),
    }
}

fn refused(error: ReportsError) -> ReportRefusal {
    match error {
        ReportsError::Command(CommandError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_report_is_open_once_and_decided_once() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let keeper = administrator(&commands).await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let noor = accounts::register(&commands, register("noor")).await.unwrap().account_id;
    let river = channels::create(&commands, create(mira, "river")).await.unwrap().channel_id;
    let target = ReportTarget::Channel { id: river };
    let first = reports::file(&commands, file(noor, target)).await.unwrap();
    // Wherever it comes in.
    let again = reports::file(&other, file(noor, target)).await.unwrap_err();
    assert_eq!(refused(again), ReportRefusal::AlreadyReported);
    reports::file(&other, file(keeper, target)).await.unwrap();
    reports::file(&other, file(noor, ReportTarget::Account { account_id: mira })).await.unwrap();
    for nothing in [
        ReportTarget::Account { account_id: crate::stage::account_id() },
        ReportTarget::Stream { id: uuid::Uuid::now_v7().into() },
        ReportTarget::Recording { id: uuid::Uuid::now_v7().into() },
        ReportTarget::Channel { id: uuid::Uuid::now_v7().into() },
    ] {
        let unknown = reports::file(&commands, file(noor, nothing)).await.unwrap_err();
        assert_eq!(refused(unknown), ReportRefusal::TargetUnknown);
    }

    let impossible = decide(first.report_id, keeper, ReportVerdict::Upheld, ReportAction::TakeDown);
    let impossible = reports::decide(&commands, impossible).await.unwrap_err();
    assert_eq!(refused(impossible), ReportRefusal::ActionImpossible);
    let upheld = || decide(first.report_id, keeper, ReportVerdict::Upheld, ReportAction::SuspendAccount);
    reports::decide(&commands, upheld()).await.unwrap();
    let told = suspension::current(&other, mira).await.unwrap().unwrap();
    assert_eq!(told.reason, "Somebody else's film");
    // The same again suspends nobody again.
    suspension::reinstate(&commands, mira, keeper, metadata()).await.unwrap();
    reports::decide(&other, upheld()).await.unwrap();
    assert_eq!(suspension::standing(&commands, mira).await.unwrap(), Standing::Good);
    let otherwise = decide(first.report_id, keeper, ReportVerdict::Dismissed, ReportAction::None);
    assert_eq!(refused(reports::decide(&commands, otherwise).await.unwrap_err()), ReportRefusal::AlreadyDecided);
    // What was decided can be reported anew.
    reports::file(&commands, file(noor, target)).await.unwrap();
}

#[tokio::test]
async fn an_account_that_cannot_be_suspended_leaves_the_report_open() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let keeper = administrator(&commands).await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let target = ReportTarget::Account { account_id: keeper };
    let report_id = reports::file(&commands, file(mira, target)).await.unwrap().report_id;
    let suspending = decide(report_id, keeper, ReportVerdict::Upheld, ReportAction::SuspendAccount);
    let error = reports::decide(&commands, suspending).await.unwrap_err();
    let ReportsError::Suspension(error) = error else { panic!("{error:?}") };
    assert_eq!(refusal(error), AccountRefusal::Suspension(SuspensionRefusal::OwnAccount));
    let dismissed = decide(report_id, keeper, ReportVerdict::Dismissed, ReportAction::None);
    reports::decide(&commands, dismissed).await.unwrap();
}

#[tokio::test]
async fn of_two_administrators_who_decide_at_once_one_does() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let keeper = administrator(&commands).await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let target = ReportTarget::Account { account_id: mira };
    for _ in 0..5 {
        let report_id = reports::file(&commands, file(keeper, target)).await.unwrap().report_id;
        let (one, two) = tokio::join!(
            reports::decide(&commands, decide(report_id, keeper, ReportVerdict::Dismissed, ReportAction::None)),
            reports::decide(&other, decide(report_id, keeper, ReportVerdict::Upheld, ReportAction::None)),
        );
        assert_eq!(usize::from(one.is_ok()) + usize::from(two.is_ok()), 1, "{one:?} {two:?}");
        let loser = one.err().or(two.err()).unwrap();
        assert_eq!(refused(loser), ReportRefusal::AlreadyDecided);
    }
}

#[tokio::test]
async fn what_an_erased_person_reported_is_read_by_nobody() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let keeper = administrator(&commands).await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let sealed = commands.account_keys().seal(mira, "This is my film").await.unwrap();
    let report_id =
        reports::file(&commands, file(mira, ReportTarget::Account { account_id: keeper })).await.unwrap().report_id;
    assert_eq!(reports::open(&commands, vec![&sealed]).await.unwrap(), [Some("This is my film".to_owned())]);
    let erase = accounts::Erase { account_id: mira, by: Some(mira), even_administrator: false, metadata: metadata() };
    accounts::erase(&commands, erase).await.unwrap();
    assert_eq!(reports::open(&commands, vec![&sealed]).await.unwrap(), [None]);
    // It is decided all the same; there is nobody to answer.
    let dismissed = decide(report_id, keeper, ReportVerdict::Dismissed, ReportAction::None);
    reports::decide(&commands, dismissed).await.unwrap();
    let answer: Option<String> =
        sqlx::query_scalar("select payload->'Decided'->>'answer' from log.events where event_type = 'report.decided'")
            .fetch_one(&stage.pool)
            .await
            .unwrap();
    assert_eq!(answer, None);
}
