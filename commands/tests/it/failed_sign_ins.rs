//! Failed sign-ins are told, and nobody can fill the log with them.

use std::time::Duration;

use commands::{
    Commands,
    accounts::failed_sign_ins::{self, FailedSignIn},
};
use domain::accounts::{SignInEvent, SignInFailure};

use crate::stage::{Stage, register};

async fn note(commands: &Commands, username: &str, failure: SignInFailure) {
    let failed = FailedSignIn {
        username: username.to_owned(),
        failure,
        user_agent: "curl/8".to_owned(),
        address: "203.0.113.7".to_owned(),
    };
    failed_sign_ins::note(commands, failed).await.unwrap();
}

/// What was wrong and how often, as the log has it.
async fn told(stage: &Stage) -> Vec<(SignInFailure, u32)> {
    let rows: Vec<String> = sqlx::query_scalar(
        "select payload::text from log.events where event_type = 'sign_in.failed' order by position",
    )
    .fetch_all(&stage.pool)
    .await
    .unwrap();
    let told = rows.iter().map(|payload| {
        let SignInEvent::Failed { failure, count, .. } = domain::decode("sign_in.failed", "1", payload).unwrap();
        (failure, count)
    });
    told.collect()
}

async fn counted(stage: &Stage) -> i64 {
    sqlx::query_scalar("select count(*) from log.failed_sign_ins").fetch_one(&stage.pool).await.unwrap()
}

#[tokio::test]
async fn a_thousand_guesses_are_two_events() {
    use SignInFailure::{WrongCode, WrongPassword};
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    commands::accounts::register(&commands, register("mira")).await.unwrap();
    for _ in 0..40 {
        note(&commands, "Mira", WrongPassword).await;
    }
    note(&commands, "mira", WrongCode).await;
    // Nobody's, and what cannot be anybody's.
    note(&commands, "nobody", WrongPassword).await;
    note(&commands, "no such name!", WrongPassword).await;
    assert_eq!(told(&stage).await, [(WrongPassword, 1), (WrongCode, 1)]);
    // Their hour is not over.
    failed_sign_ins::tell_over(&commands).await.unwrap();
    assert_eq!(told(&stage).await.len(), 2);
    failed_sign_ins::tell_older(&commands, Duration::ZERO).await.unwrap();
    assert_eq!(told(&stage).await, [(WrongPassword, 1), (WrongCode, 1), (WrongPassword, 39)]);
    assert_eq!(counted(&stage).await, 0);
    failed_sign_ins::tell_older(&commands, Duration::ZERO).await.unwrap();
    assert_eq!(told(&stage).await.len(), 3);
    // A new hour begins with the next.
    note(&commands, "mira", WrongPassword).await;
    assert_eq!(told(&stage).await.last(), Some(&(WrongPassword, 1)));
}

#[tokio::test]
async fn what_a_crash_left_untold_is_told() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    commands::accounts::register(&commands, register("mira")).await.unwrap();
    note(&commands, "mira", SignInFailure::WrongPassword).await;
    // As if the process had died between the row and its event: the row is of another hour, and nothing was told of it.
    sqlx::query("update log.failed_sign_ins set first_at = first_at + interval '1 minute', last_at = last_at + interval '1 minute'")
        .execute(&stage.pool)
        .await
        .unwrap();
    sqlx::query("update log.failed_sign_ins set first_at = last_at - interval '2 hours'")
        .execute(&stage.pool)
        .await
        .unwrap();
    failed_sign_ins::tell_over(&commands).await.unwrap();
    assert_eq!(told(&stage).await, [(SignInFailure::WrongPassword, 1), (SignInFailure::WrongPassword, 1)]);
}

#[tokio::test]
async fn an_erased_account_is_told_nothing_of() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let account_id = commands::accounts::register(&commands, register("mira")).await.unwrap().account_id;
    note(&commands, "mira", SignInFailure::WrongPassword).await;
    note(&commands, "mira", SignInFailure::WrongPassword).await;
    let erase = commands::accounts::Erase {
        account_id,
        by: None,
        even_administrator: false,
        metadata: crate::stage::metadata(),
    };
    commands::accounts::erase(&commands, erase).await.unwrap();
    assert_eq!(counted(&stage).await, 0);
    failed_sign_ins::tell_older(&commands, Duration::ZERO).await.unwrap();
    assert_eq!(told(&stage).await.len(), 1);
}
