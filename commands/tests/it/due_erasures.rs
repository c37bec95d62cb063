//! Erasures that wait for their time.

use std::time::Duration;

use commands::accounts::{due_erasures, sessions};
use domain::accounts::{Account, ErasureCancelledReason};

use crate::stage::{Stage, metadata, register};

const DAYS: Duration = Duration::from_secs(14 * 86_400);

#[tokio::test]
async fn asking_signs_out_everywhere_and_signing_in_keeps_the_account() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let id = commands::accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let session = sessions::open(&commands, id, "Firefox", "::1").await.unwrap();
    let requested = due_erasures::request(&commands, id, DAYS, metadata()).await.unwrap();
    assert!(!sessions::is_open(&commands, session.session_id).await.unwrap());
    assert!(sessions::refresh(&commands, &session.refresh_token).await.is_err());
    // Again it stays as it is.
    let again = due_erasures::request(&commands, id, 2 * DAYS, metadata()).await.unwrap();
    assert_eq!(again.due_at, requested.due_at);
    let reason = ErasureCancelledReason::SignedIn;
    assert!(due_erasures::cancel(&commands, id, reason, metadata()).await.unwrap());
    assert!(!due_erasures::cancel(&commands, id, reason, metadata()).await.unwrap(), "there is nothing any more");
    let (account, _) = commands.load::<Account>(&id.to_string()).await.unwrap().unwrap();
    assert!(account.is_active() && account.erasure_due_at().is_none());
    assert_eq!(
        stage.event_types().await,
        [
            "account.registered",
            "session.opened",
            "account.erasure_requested",
            "session.ended",
            "account.erasure_cancelled"
        ]
    );
}

#[tokio::test]
async fn what_is_due_is_carried_out_and_nothing_else() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let mut ids = Vec::new();
    for name in ["due", "later", "kept"] {
        ids.push(commands::accounts::register(&commands, register(name)).await.unwrap().account_id);
    }
    for (id, cooling_off) in ids.iter().zip([Duration::ZERO, DAYS, Duration::ZERO]) {
        let requested = due_erasures::request(&commands, *id, cooling_off, metadata()).await.unwrap();
        due_erasures::note(&stage.pool, *id, requested.due_at).await.unwrap();
    }
    // Its row is there still: the account decides.
    due_erasures::cancel(&commands, ids[2], ErasureCancelledReason::SignedIn, metadata()).await.unwrap();
    assert_eq!(due_erasures::carry_out(&commands).await.unwrap(), 1);
    let mut erased = Vec::new();
    for id in &ids {
        erased.push(commands::accounts::is_erased(&commands, *id).await.unwrap());
    }
    assert_eq!(erased, [true, false, false]);
    let left: Vec<uuid::Uuid> =
        sqlx::query_scalar("select account_id from log.due_erasures").fetch_all(&stage.pool).await.unwrap();
    assert_eq!(left, [ids[1].uuid()]);
    let next = due_erasures::next_in(&stage.pool).await.unwrap().unwrap();
    assert!(next > DAYS / 2 && next <= DAYS, "{next:?}");
    assert_eq!(due_erasures::carry_out(&commands).await.unwrap(), 0);
    let keys: i64 = sqlx::query_scalar("select count(*) from log.keys where account_id = $1 and wrapped is not null")
        .bind(ids[0].uuid())
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    assert_eq!(keys, 0, "its key is destroyed");
}

#[tokio::test]
async fn one_that_cannot_be_erased_holds_up_nobody() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let mut ids = Vec::new();
    for name in ["stuck", "due"] {
        let id = commands::accounts::register(&commands, register(name)).await.unwrap().account_id;
        due_erasures::request(&commands, id, Duration::ZERO, metadata()).await.unwrap();
        ids.push(id);
    }
    let [stuck, due] = ids[..] else { unreachable!() };
    // Before them as many that lead to nothing as are looked at between two statements.
    sqlx::raw_sql(
        "insert into log.due_erasures select gen_random_uuid(), '2026-01-01T00:00:00Z' from generate_series(1, 100)",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
    for (id, seconds) in [(stuck, 2), (due, 1)] {
        let due_at = time::OffsetDateTime::now_utc() - Duration::from_secs(seconds);
        due_erasures::note(&stage.pool, id, due_at).await.unwrap();
    }
    let refuse = format!(
        "create function log.refuse() returns trigger language plpgsql as $$ begin raise 'not this one'; end $$; \
         create trigger refuse before insert on log.events for each row \
         when (new.event_type = 'account.erased' and new.aggregate_id = '{stuck}') execute function log.refuse()"
    );
    sqlx::raw_sql(&refuse).execute(&stage.pool).await.unwrap();
    assert!(due_erasures::carry_out(&commands).await.is_err(), "whoever called knows");
    assert!(commands::accounts::is_erased(&commands, due).await.unwrap());
    assert!(!commands::accounts::is_erased(&commands, stuck).await.unwrap());
    sqlx::raw_sql("drop trigger refuse on log.events").execute(&stage.pool).await.unwrap();
    assert_eq!(due_erasures::carry_out(&commands).await.unwrap(), 1);
    assert!(commands::accounts::is_erased(&commands, stuck).await.unwrap());
}
