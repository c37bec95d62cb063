//! Postgres that goes away between what a command has stored and what comes after it: nobody is told that nothing was done.

use commands::{
    CommandError, Commands,
    accounts::{self, administrators, due_erasures, email, personal_tokens, second_factor, sessions, suspension},
};
use domain::accounts::SessionEndReason;

use crate::{
    moderation::{administrator, create_token, suspend},
    second_factor::with_second_factor,
    stage::{Stage, account_id, hold_the_head, metadata, register, wait_until_waiting},
};

/// What `work` comes to when all connections are gone, but the one that appends, once its first event waits to be stored.
async fn cut_off<T: Send + 'static, F>(stage: &Stage, work: impl FnOnce(Commands) -> F) -> T
where
    F: Future<Output = T> + Send + 'static,
{
    let commands = stage.commands().await;
    let head = hold_the_head(stage).await;
    let working = tokio::spawn(work(commands.clone()));
    wait_until_waiting(stage).await;
    commands.pool().close().await;
    drop(head);
    working.await.unwrap()
}

fn assert_unknown<T, R: std::fmt::Debug>(answer: Result<T, CommandError<R>>) {
    match answer {
        Err(CommandError::OutcomeUnknown(_)) => {}
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it was not cut off"),
    }
}

async fn assert_last(stage: &Stage, event_type: &str) {
    assert_eq!(stage.event_types().await.last().map(String::as_str), Some(event_type));
}

#[tokio::test]
async fn a_session_that_was_opened_or_ended_is_not_said_to_be_as_before() {
    let stage = Stage::new().await;
    let account_id = account_id();
    let opened = cut_off(&stage, async move |commands: Commands| {
        sessions::open(&commands, account_id, "A browser", "203.0.113.7").await
    });
    assert_unknown(opened.await);
    assert_last(&stage, "session.opened").await;

    let commands = stage.commands().await;
    let session_id = sessions::open(&commands, account_id, "A browser", "203.0.113.7").await.unwrap().session_id;
    let ended =
        cut_off(&stage, async move |commands: Commands| sessions::end_one(&commands, account_id, session_id).await);
    assert_unknown(ended.await);
    assert_last(&stage, "session.ended").await;
    assert_eq!(sessions::end_expired(&commands).await.unwrap(), 1, "the row that stayed is swept");

    let mut opened = Vec::new();
    for _ in 0..3 {
        opened.push(sessions::open(&commands, account_id, "A browser", "203.0.113.7").await.unwrap().session_id);
    }
    let kept = opened[0];
    let others = cut_off(&stage, async move |commands: Commands| {
        sessions::end_others(&commands, account_id, kept, SessionEndReason::EndedByOwner).await
    });
    assert_unknown(others.await);
    let mut open = Vec::new();
    for session_id in opened {
        open.push(sessions::is_open(&commands, session_id).await.unwrap());
    }
    assert_eq!(open, [true, false, false], "none goes on of which that is not known");
}

#[tokio::test]
async fn a_personal_token_that_was_made_is_not_said_to_be_none() {
    let stage = Stage::new().await;
    let create = create_token(account_id());
    let created =
        cut_off(&stage, async move |commands: Commands| personal_tokens::create(&commands, create).await).await;
    assert_unknown(created);
    assert_last(&stage, "personal_token.created").await;
}

#[tokio::test]
async fn an_administrator_or_a_suspension_may_stand() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let keeper = administrator(&commands).await;
    let mira = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let noor = accounts::register(&commands, register("noor")).await.unwrap().account_id;
    let granted = cut_off(&stage, async move |commands: Commands| {
        administrators::grant(&commands, mira, Some(keeper), metadata()).await
    });
    assert_unknown(granted.await);
    assert_last(&stage, "account.administrator_granted").await;

    let suspended = cut_off(&stage, async move |commands: Commands| {
        match suspension::suspend(&commands, suspend(mira, keeper, None)).await {
            Err(suspension::SuspensionError::Command(error)) => Err(error),
            other => panic!("{other:?}"),
        }
    });
    assert_unknown::<(), _>(suspended.await);
    assert_last(&stage, "account.suspended").await;
    suspension::reinstate(&commands, mira, keeper, metadata()).await.unwrap();

    let revoked = cut_off(&stage, async move |commands: Commands| {
        administrators::revoke(&commands, mira, Some(keeper), metadata()).await
    });
    assert_unknown(revoked.await);
    assert_last(&stage, "account.administrator_revoked").await;

    let to_be_erased = cut_off(&stage, async move |commands: Commands| {
        due_erasures::request(&commands, noor, std::time::Duration::from_secs(60), metadata()).await
    });
    assert_unknown(to_be_erased.await);
    assert_last(&stage, "account.erasure_requested").await;
}

#[tokio::test]
async fn a_second_factor_that_was_taken_off_is_off() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (account_id, _) = with_second_factor(&commands).await;
    let disabled = cut_off(&stage, async move |commands: Commands| {
        second_factor::disable(&commands, account_id, metadata()).await
    });
    disabled.await.unwrap();
    assert_last(&stage, "account.second_factor_disabled").await;
    second_factor::check(&commands, account_id, None).await.unwrap();
    let left = second_factor::recovery_codes_left(&commands, account_id).await.unwrap();
    assert_eq!(left, 0, "they must not be good with the next");
}

#[tokio::test]
async fn a_mail_that_there_is_none_of_may_be_asked_for_again_at_once() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let account_id = accounts::register(&commands, register("mira")).await.unwrap().account_id;
    sqlx::raw_sql(
        "create function log.refuse() returns trigger language plpgsql as $$ begin raise 'no room'; end $$; \
         create trigger refuse before insert on log.events for each row \
         when (new.aggregate_type = 'email') execute function log.refuse()",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
    let ask = async || email::request_confirmation(&commands, account_id, None, metadata()).await;
    assert!(ask().await.is_err());
    assert!(ask().await.is_err(), "it is not said to be on its way");
    sqlx::raw_sql("drop trigger refuse on log.events").execute(&stage.pool).await.unwrap();
    let mailed = ask().await.unwrap();
    assert!(mailed.position > 0, "a mail goes out");
    assert_eq!(ask().await.unwrap().position, 0, "and is on its way");
}
