//! What is sealed for a while is forgotten when its time is over, wherever there is a copy.

use std::{borrow::Cow, time::Duration};

use commands::{Commands, accounts::sessions};
use domain::{
    accounts::SessionEvent,
    sealed::{Opened, Sealed},
};

use crate::stage::{PATIENCE, Stage, account_id, register};

const DAY: Duration = Duration::from_secs(86_400);
const ADDRESS: &str = "203.0.113.77";
const AGENT: &str = "Mozilla/5.0 (a browser that nobody else has)";

async fn open(commands: &Commands, sealed: &Sealed) -> Opened {
    commands.keyring().open(vec![Cow::Borrowed(sealed)]).await.unwrap().remove(0)
}

/// Makes the keys of days as old as this.
async fn age(stage: &Stage, days: f64) {
    sqlx::query("update log.vault set created_at = created_at - make_interval(secs => $1) where kind = 'day_key'")
        .bind(days * 86_400.0)
        .execute(&stage.pool)
        .await
        .unwrap();
}

async fn day_keys(stage: &Stage) -> i64 {
    sqlx::query_scalar("select count(*) from log.vault where kind = 'day_key'").fetch_one(&stage.pool).await.unwrap()
}

#[tokio::test]
async fn it_opens_until_its_time_is_over_and_then_nowhere() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let account_id = account_id();
    let passing = commands.account_keys().seal_for_a_while(account_id, ADDRESS).await.unwrap();
    let lasting = commands.account_keys().seal(account_id, "mira").await.unwrap();
    assert_eq!(open(&other, &passing).await, Opened::Text(ADDRESS.to_owned()));

    age(&stage, 89.9).await;
    assert_eq!(commands.account_keys().forget_days(90 * DAY).await.unwrap(), 0);
    assert_eq!(open(&commands, &passing).await, Opened::Text(ADDRESS.to_owned()));
    age(&stage, 0.2).await;
    assert_eq!(commands.account_keys().forget_days(90 * DAY).await.unwrap(), 1);
    assert_eq!(day_keys(&stage).await, 0, "the key is gone from the vault");
    assert_eq!(open(&commands, &passing).await, Opened::Erased);
    assert_eq!(open(&stage.commands().await, &passing).await, Opened::Erased, "nor in a new process");
    // The other process hears of it.
    let heard = async {
        while open(&other, &passing).await != Opened::Erased {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, heard).await.expect("the other process forgets it");
    assert_eq!(open(&commands, &lasting).await, Opened::Text("mira".to_owned()), "the rest stays");
    // A new day has a new key.
    let next = commands.account_keys().seal_for_a_while(account_id, ADDRESS).await.unwrap();
    assert_eq!(open(&other, &next).await, Opened::Text(ADDRESS.to_owned()));
    assert_eq!(day_keys(&stage).await, 1);
}

#[tokio::test]
async fn all_accounts_and_processes_share_the_key_of_a_day_and_none_opens_anothers() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let (mira, ann) = (account_id(), account_id());
    let (left, right) = tokio::join!(
        commands.account_keys().seal_for_a_while(mira, "left"),
        other.account_keys().seal_for_a_while(ann, "right"),
    );
    let (left, right) = (left.unwrap(), right.unwrap());
    assert_eq!(day_keys(&stage).await, 1);
    assert_eq!(open(&other, &left).await, Opened::Text("left".to_owned()));
    assert_eq!(open(&commands, &right).await, Opened::Text("right".to_owned()));
    commands.account_keys().destroy(mira).await.unwrap();
    assert_eq!(open(&commands, &left).await, Opened::Erased, "erasure does not wait");
    assert_eq!(open(&commands, &right).await, Opened::Text("right".to_owned()));
}

#[tokio::test]
async fn a_session_holds_address_and_browser_for_a_while_only() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let account_id = commands::accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let session = sessions::open(&commands, account_id, AGENT, ADDRESS).await.unwrap();
    let stored: String = sqlx::query_scalar("select payload::text from log.events where event_type = 'session.opened'")
        .fetch_one(&stage.pool)
        .await
        .unwrap();
    let SessionEvent::Opened { user_agent, address, .. } = domain::decode("session.opened", "1", &stored).unwrap()
    else {
        panic!("{stored}");
    };
    assert_eq!(open(&commands, &address).await, Opened::Text(ADDRESS.to_owned()));
    assert_eq!(open(&commands, &user_agent).await, Opened::Text(AGENT.to_owned()));
    age(&stage, 100.0).await;
    assert_eq!(commands.account_keys().forget_days(90 * DAY).await.unwrap(), 1);
    for sealed in [&user_agent, &address] {
        assert_eq!(open(&commands, sealed).await, Opened::Erased);
    }
    assert!(sessions::is_open(&commands, session.session_id).await.unwrap(), "the session goes on");
    // Neither is in any table in plain text, nor could it ever have been.
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', schemaname, tablename) from pg_tables where schemaname in ('log', 'read')",
    )
    .fetch_all(&stage.pool)
    .await
    .unwrap();
    assert!(tables.len() > 5, "{tables:?}");
    for table in tables {
        let found: i64 = sqlx::query_scalar(&format!(
            "select count(*) from {table} it where position($1 in it::text) > 0 or position($2 in it::text) > 0"
        ))
        .bind(ADDRESS)
        .bind(AGENT)
        .fetch_one(&stage.pool)
        .await
        .unwrap();
        assert_eq!(found, 0, "{table}");
    }
}

#[tokio::test]
async fn the_sweep_leaves_keys_of_days_alone() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let account_id = commands::accounts::register(&commands, register("mira")).await.unwrap().account_id;
    let sealed = commands.account_keys().seal_for_a_while(account_id, ADDRESS).await.unwrap();
    age(&stage, 1.0).await;
    commands::sweep(&commands).await.unwrap();
    commands::sweep(&commands).await.unwrap();
    assert_eq!(open(&stage.commands().await, &sealed).await, Opened::Text(ADDRESS.to_owned()));
}
