use std::time::Duration;

use commands::{
    Actor, Commands, Metadata,
    accounts::{self, Register, sessions},
};
use sqlx::PgPool;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::stage::{PATIENCE, start};

const EVERY: Duration = Duration::from_millis(50);

async fn begin() -> (Commands, PgPool) {
    let url = embedded::testing::database().await.url;
    commands::migrate(&url).await.unwrap();
    let pool = PgPool::connect(&url).await.unwrap();
    (start(&pool).await, pool)
}

fn keep_house(commands: &Commands) -> JoinHandle<()> {
    tokio::spawn(processes::housekeeping::run(commands.clone(), EVERY, Duration::from_secs(90 * 86_400)))
}

async fn count(pool: &PgPool, sql: &str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

async fn until(pool: &PgPool, what: &str, sql: &str, expected: i64) {
    let met = async {
        while count(pool, sql).await != expected {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, met).await.is_ok(), "{what}");
}

const LOCKS: &str = "select count(*) from pg_locks where locktype = 'advisory' and granted
    and database = (select oid from pg_database where datname = current_database())";

#[tokio::test]
async fn sessions_that_ran_out_end_and_others_stay() {
    let (commands, pool) = begin().await;
    let register = Register {
        username: "ann".to_owned(),
        email: "ann@example.org".to_owned(),
        password: Zeroizing::new("correct horse battery".to_owned()),
        setup_token: None,
        metadata: Metadata::new(Actor::System),
    };
    let account = accounts::register(&commands, register).await.unwrap();
    let old = sessions::open(&commands, account.account_id, "Firefox", "::1").await.unwrap();
    let new = sessions::open(&commands, account.account_id, "Firefox", "::1").await.unwrap();
    sqlx::query("update log.sessions set expires_at = now() - interval '1 second' where session_id = $1")
        .bind(old.session_id.uuid())
        .execute(&pool)
        .await
        .unwrap();
    let house = keep_house(&commands);
    let ended = "select count(*) from log.events where event_type = 'session.ended' and payload::text like '%expired%'";
    until(&pool, "the end of a session", ended, 1).await;
    assert!(!sessions::is_open(&commands, old.session_id).await.unwrap());
    assert!(sessions::is_open(&commands, new.session_id).await.unwrap());
    house.abort();
}

#[tokio::test]
async fn secrets_that_nothing_needs_are_destroyed() {
    let (commands, pool) = begin().await;
    sqlx::query(
        "insert into log.vault (id, kind, aggregate_id, sealed, created_at)
         select gen_random_uuid(), 'password', gen_random_uuid()::text, 'x', now() - age
         from unnest(array[interval '2 hours', interval '1 minute']) age",
    )
    .execute(&pool)
    .await
    .unwrap();
    let house = keep_house(&commands);
    until(&pool, "the sweep", "select count(*) from log.vault", 1).await;
    assert_eq!(count(&pool, "select count(*) from log.vault where created_at < now() - interval '1 hour'").await, 0);
    house.abort();
}

#[tokio::test]
async fn one_node_keeps_house_and_another_takes_over() {
    let (first, pool) = begin().await;
    let second = start(&pool).await;
    let house = keep_house(&first);
    until(&pool, "a leader", LOCKS, 1).await;
    let other = keep_house(&second);
    for _ in 0..10 {
        tokio::time::sleep(EVERY).await;
        // For a moment nobody may: whoever leads tries its connection anew when Postgres was slow to answer.
        assert!(count(&pool, LOCKS).await <= 1, "two lead");
    }
    house.abort();
    let _ = house.await;
    until(&pool, "another leader", LOCKS, 1).await;
    // Its connection lost, somebody leads again.
    // Between the former leader's end and the next one's lock there is none.
    let ended = LOCKS.replace("count(*)", "count(pg_terminate_backend(pid, 30000))");
    until(&pool, "the end of its connection", &ended, 1).await;
    until(&pool, "a leader again", LOCKS, 1).await;
    other.abort();
}

#[tokio::test]
async fn addresses_are_forgotten_when_their_time_is_over() {
    let (commands, pool) = begin().await;
    let register = Register {
        username: "ann".to_owned(),
        email: "ann@example.org".to_owned(),
        password: Zeroizing::new("correct horse battery".to_owned()),
        setup_token: None,
        metadata: Metadata::new(Actor::System),
    };
    let account = accounts::register(&commands, register).await.unwrap();
    sessions::open(&commands, account.account_id, "Firefox", "::1").await.unwrap();
    let keys = "select count(*) from log.vault where kind = 'day_key'";
    let house = keep_house(&commands);
    until(&pool, "a leader", LOCKS, 1).await;
    assert_eq!(count(&pool, keys).await, 1);
    sqlx::query("update log.vault set created_at = created_at - interval '91 days' where kind = 'day_key'")
        .execute(&pool)
        .await
        .unwrap();
    until(&pool, "the end of the day's key", keys, 0).await;
    house.abort();
}
