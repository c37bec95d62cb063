use commands::{
    CommandError, Commands,
    accounts::{self, sessions},
};
use domain::ids::AccountId;
use time::{Duration, OffsetDateTime};

use crate::stage::{Stage, account_id, metadata, register};

async fn age(stage: &Stage, interval: &str) {
    sqlx::query(
        "update log.sessions set rotated_at = rotated_at - $1::interval, expires_at = expires_at - $1::interval",
    )
    .bind(interval)
    .execute(&stage.pool)
    .await
    .unwrap();
}

async fn open(commands: &Commands) -> (AccountId, sessions::OpenedSession) {
    let account_id = account_id();
    (account_id, sessions::open(commands, account_id, "A browser", "203.0.113.7").await.unwrap())
}

#[tokio::test]
async fn each_refresh_replaces_the_token() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (account_id, first) = open(&commands).await;
    let second = sessions::refresh(&commands, &first.refresh_token).await.unwrap();
    assert_eq!((second.session_id, second.account_id), (first.session_id, account_id));
    assert_ne!(second.refresh_token, first.refresh_token);
    let third = sessions::refresh(&commands, &second.refresh_token).await.unwrap();
    assert_ne!(third.refresh_token, second.refresh_token);
    assert!(sessions::is_open(&commands, first.session_id).await.unwrap());

    sessions::end(&commands, &third.refresh_token).await.unwrap();
    assert!(!sessions::is_open(&commands, first.session_id).await.unwrap());
    let refused = sessions::refresh(&commands, &third.refresh_token).await;
    assert!(matches!(refused, Err(CommandError::Refused(_))));
    sessions::end(&commands, &third.refresh_token).await.unwrap();
    assert_eq!(stage.event_types().await, ["session.opened", "session.ended"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tabs_that_refresh_at_once_get_the_same_successor() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (_, first) = open(&commands).await;
    let tabs: Vec<_> = (0..8)
        .map(|_| {
            let (commands, token) = (commands.clone(), first.refresh_token.clone());
            tokio::spawn(async move { sessions::refresh(&commands, &token).await.unwrap().refresh_token })
        })
        .collect();
    let mut successors = Vec::new();
    for tab in tabs {
        successors.push(tab.await.unwrap());
    }
    successors.dedup();
    assert_eq!(successors.len(), 1);
    sessions::refresh(&commands, &successors[0]).await.unwrap();
}

#[tokio::test]
async fn a_replaced_token_that_comes_back_ends_the_session() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (_, first) = open(&commands).await;
    let second = sessions::refresh(&commands, &first.refresh_token).await.unwrap();
    age(&stage, "11 seconds").await;
    let refused = sessions::refresh(&commands, &first.refresh_token).await;
    assert!(matches!(refused, Err(CommandError::Refused(_))));
    let refused = sessions::refresh(&commands, &second.refresh_token).await;
    assert!(matches!(refused, Err(CommandError::Refused(_))), "the whole family is over");
    let reason: String = sqlx::query_scalar("select payload->'Ended'->>'reason' from log.events where sequence = 2")
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert_eq!(reason, "token_reused");
}

#[tokio::test]
async fn the_grace_is_for_the_direct_predecessor_only() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (_, first) = open(&commands).await;
    let second = sessions::refresh(&commands, &first.refresh_token).await.unwrap();
    sessions::refresh(&commands, &second.refresh_token).await.unwrap();
    assert!(sessions::refresh(&commands, &first.refresh_token).await.is_err());
    assert!(!sessions::is_open(&commands, first.session_id).await.unwrap());
}

#[tokio::test]
async fn made_up_tokens_harm_nobody() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (_, session) = open(&commands).await;
    let second = sessions::refresh(&commands, &session.refresh_token).await.unwrap();
    let mut forged = second.refresh_token.to_string();
    forged.replace_range(60..61, if &forged[60..61] == "A" { "B" } else { "A" });
    for token in ["", "not base64!", "AAAA", &forged, &"A".repeat(10_000)] {
        assert!(matches!(sessions::refresh(&commands, token).await, Err(CommandError::Refused(_))), "{token}");
        sessions::end(&commands, token).await.unwrap();
    }
    sessions::refresh(&commands, &second.refresh_token).await.unwrap();
}

#[tokio::test]
async fn unused_sessions_expire() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (_, unused) = open(&commands).await;
    age(&stage, "29 days 23 hours").await;
    assert!(sessions::is_open(&commands, unused.session_id).await.unwrap());
    assert_eq!(sessions::end_expired(&commands).await.unwrap(), 0);
    age(&stage, "2 hours").await;
    assert!(!sessions::is_open(&commands, unused.session_id).await.unwrap());
    assert!(sessions::refresh(&commands, &unused.refresh_token).await.is_err());
    let (_, used) = open(&commands).await;
    assert_eq!(sessions::end_expired(&commands).await.unwrap(), 1);
    assert_eq!(sessions::end_expired(&commands).await.unwrap(), 0);
    assert!(sessions::is_open(&commands, used.session_id).await.unwrap());
    assert_eq!(stage.event_types().await, ["session.opened", "session.opened", "session.ended"]);
}

#[tokio::test]
async fn a_session_that_is_used_ends_half_a_year_after_it_was_opened() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (_, first) = open(&commands).await;
    let age_to = async |days: i32| {
        sqlx::query("update log.sessions set opened_at = now() - make_interval(days => $1)")
            .bind(days)
            .execute(&stage.pool)
            .await
            .unwrap();
    };
    age_to(149).await;
    let second = sessions::refresh(&commands, &first.refresh_token).await.unwrap();
    let left = second.expires_at - OffsetDateTime::now_utc();
    assert!(left > Duration::days(29) && left <= Duration::days(30) + Duration::MINUTE, "{left}");
    age_to(178).await;
    let third = sessions::refresh(&commands, &second.refresh_token).await.unwrap();
    let left = third.expires_at - OffsetDateTime::now_utc();
    assert!(left > Duration::days(1) && left <= Duration::days(2) + Duration::MINUTE, "{left}");
}

#[tokio::test]
async fn a_sign_in_under_way_does_not_outlive_a_change_of_the_password() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let account = accounts::register(&commands, register("someone")).await.unwrap().account_id;
    let kept = sessions::open(&commands, account, "A browser", "203.0.113.7").await.unwrap().session_id;
    let under_way = accounts::authenticate(&commands, "someone", "correct horse").await.unwrap();
    accounts::change_password(&commands, account, "another correct horse", Some(kept), metadata()).await.unwrap();
    let late = sessions::open_for(&commands, under_way, "Another", "203.0.113.8").await;
    assert!(matches!(late, Err(CommandError::Refused(accounts::CredentialsWrong))));
    let open: Vec<uuid::Uuid> =
        sqlx::query_scalar("select session_id from log.sessions").fetch_all(&stage.pool).await.unwrap();
    assert_eq!(open, [kept.uuid()]);
    // With the new one it is as ever.
    let verified = accounts::authenticate(&commands, "someone", "another correct horse").await.unwrap();
    sessions::open_for(&commands, verified, "Another", "203.0.113.8").await.unwrap();
}

#[tokio::test]
async fn what_is_ending_is_known_before_it_is_in_the_log() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (_, session) = open(&commands).await;
    let (_, other) = open(&commands).await;
    assert!(accounts::ending(&commands).await.unwrap().is_empty());
    sqlx::query("update log.sessions set end_reason = 'signed_out' where session_id = $1")
        .bind(session.session_id.uuid())
        .execute(&stage.pool)
        .await
        .unwrap();
    assert_eq!(accounts::ending(&commands).await.unwrap(), [session.session_id.uuid()]);
    sessions::end_expired(&commands).await.unwrap();
    assert!(accounts::ending(&commands).await.unwrap().is_empty());
    assert!(sessions::is_open(&commands, other.session_id).await.unwrap());
}

#[tokio::test]
async fn an_interrupted_end_is_finished() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (_, session) = open(&commands).await;
    sqlx::query("update log.sessions set end_reason = 'signed_out'").execute(&stage.pool).await.unwrap();
    assert!(sessions::refresh(&commands, &session.refresh_token).await.is_err());
    assert_eq!(sessions::end_expired(&commands).await.unwrap(), 1);
    assert_eq!(stage.event_types().await, ["session.opened", "session.ended"]);
}
