//! Connections that die, and a log that holds what it should not.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use commands::{CommandError, LoadError};
use domain::channels::Channel;

use crate::stage::{PATIENCE, Stage, account_id, bare_channel, metadata, retitle};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Acknowledged,
    Unknown,
    NotDone,
}

async fn kill_the_appenders(stage: &Stage) {
    // The server is shared with other tests. Waits until they are gone: what meets one that is just dying is not known.
    sqlx::query(
        "select pg_terminate_backend(pid, 30000) from pg_stat_activity \
         where datname = current_database() and application_name = 'weir append'",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn killing_the_connection_loses_nothing_acknowledged_and_repeats_nothing() {
    const TASKS: usize = 16;
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let owner = account_id();
    let mut channels = Vec::new();
    for number in 0..TASKS {
        channels.push(bare_channel(&commands, owner, &format!("channel_{number}")).await.to_string());
    }
    let is_over = Arc::new(AtomicBool::new(false));
    let [acknowledged, unknown] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let tasks: Vec<_> = channels
        .iter()
        .cloned()
        .enumerate()
        .map(|(task, id)| {
            let (commands, is_over) = (commands.clone(), Arc::clone(&is_over));
            let (acknowledged, unknown) = (Arc::clone(&acknowledged), Arc::clone(&unknown));
            tokio::spawn(async move {
                let mut outcomes = Vec::new();
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        break;
                    }
                    let title = format!("{task} {number}");
                    let outcome = match commands.execute::<Channel>(&id, retitle(owner, &title), metadata()).await {
                        Ok(_) => Outcome::Acknowledged,
                        Err(CommandError::OutcomeUnknown(_)) => Outcome::Unknown,
                        Err(CommandError::Unavailable(_)) => Outcome::NotDone,
                        Err(error) => panic!("{error:?}"),
                    };
                    match outcome {
                        Outcome::Acknowledged => _ = acknowledged.fetch_add(1, Ordering::Relaxed),
                        Outcome::Unknown => _ = unknown.fetch_add(1, Ordering::Relaxed),
                        Outcome::NotDone => {}
                    }
                    outcomes.push((title, outcome));
                }
                outcomes
            })
        })
        .collect();
    let mut round = 0;
    let killing = async {
        // In the midst of the work, however long it takes to connect anew.
        while round < 100 || unknown.load(Ordering::Relaxed) == 0 {
            let before = acknowledged.load(Ordering::Relaxed);
            while acknowledged.load(Ordering::Relaxed) == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            tokio::time::sleep(Duration::from_millis(round * 7 % 13)).await;
            kill_the_appenders(&stage).await;
            round += 1;
        }
    };
    assert!(tokio::time::timeout(PATIENCE * 5, killing).await.is_ok(), "nothing was acknowledged after kill {round}");
    is_over.store(true, Ordering::Relaxed);
    let mut outcomes = Vec::new();
    for task in tasks {
        outcomes.extend(task.await.unwrap());
    }

    let stored: Vec<(String, i64)> = sqlx::query_as(
        "select payload->'DetailsChanged'->>'title', count(*) from log.events \
         where event_type = 'channel.details_changed' group by 1",
    )
    .fetch_all(&stage.pool)
    .await
    .unwrap();
    let stored: HashMap<String, i64> = stored.into_iter().collect();
    let count = |wanted| outcomes.iter().filter(|(_, outcome)| *outcome == wanted).count();
    println!(
        "{} acknowledged, {} unknown, {} not done",
        count(Outcome::Acknowledged),
        count(Outcome::Unknown),
        count(Outcome::NotDone)
    );
    assert!(count(Outcome::Acknowledged) > 0 && count(Outcome::Unknown) > 0);
    for (title, outcome) in &outcomes {
        let times = stored.get(title).copied().unwrap_or(0);
        match outcome {
            Outcome::Acknowledged => assert_eq!(times, 1, "{title} was acknowledged"),
            Outcome::Unknown => assert!(times <= 1, "{title} was stored {times} times"),
            Outcome::NotDone => assert_eq!(times, 0, "{title} was said not to be done"),
        }
    }
    stage.assert_contiguous().await;
    // What the process remembers agrees with the log, also after outcomes that it did not know.
    for id in &channels {
        let remembered = commands.load::<Channel>(id).await.unwrap().unwrap().1;
        let (changed, of_log): (i64, i64) =
            sqlx::query_as("select count(*), max(sequence) from log.events where aggregate_id = $1")
                .bind(id)
                .fetch_one(&stage.pool)
                .await
                .unwrap();
        assert_eq!((changed, remembered), (of_log, of_log));
        let committed = commands.execute::<Channel>(id, retitle(owner, "The last"), metadata()).await.unwrap();
        assert_eq!(committed.version, of_log + 1);
    }
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_replaced_unnoticed() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    bare_channel(&commands, account_id(), "before").await;
    kill_the_appenders(&stage).await;
    // That the server hung up is known here once the runtime has heard of it.
    tokio::time::sleep(Duration::from_millis(300)).await;
    bare_channel(&commands, account_id(), "after").await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_stops_its_aggregate_alone() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let owner = account_id();
    let (poisoned, sane) =
        (bare_channel(&commands, owner, "poisoned").await, bare_channel(&commands, owner, "sane").await);
    let poison = |sequence: i64, payload: &'static str| {
        sqlx::query(
            "with head as (update log.head set position = position + 1 returning position) \
             insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, \
                 payload, metadata) \
             select position, 'channel', $1, $2, 'channel.details_changed', '1', $3::json, '{}' from head",
        )
        .bind(poisoned.to_string())
        .bind(sequence)
        .bind(payload)
        .execute(&stage.pool)
    };
    poison(2, r#"{"DetailsChanged":{"title":17}}"#).await.unwrap();
    let error = commands.load::<Channel>(&poisoned.to_string()).await.unwrap_err();
    assert!(matches!(error, LoadError::Unreadable { sequence: 2, .. }), "{error:?}");
    // Decided from memory, refused by the log, and then it cannot be read.
    let error = commands.execute::<Channel>(&poisoned.to_string(), retitle(owner, "Title"), metadata()).await;
    assert!(matches!(error, Err(CommandError::Unexpected(_))), "{error:?}");
    commands.execute::<Channel>(&sane.to_string(), retitle(owner, "Title"), metadata()).await.unwrap();

    let fresh = stage.commands().await;
    sqlx::raw_sql("alter table log.events disable trigger events_are_kept").execute(&stage.pool).await.unwrap();
    sqlx::query("delete from log.events where aggregate_id = $1 and sequence = 1")
        .bind(sane.to_string())
        .execute(&stage.pool)
        .await
        .unwrap();
    let error = fresh.load::<Channel>(&sane.to_string()).await.unwrap_err();
    assert!(matches!(error, LoadError::Gap { expected: 1, found: 2, .. }), "{error:?}");
}

#[tokio::test]
async fn nobody_changes_or_deletes_an_event() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    bare_channel(&commands, account_id(), "my_channel").await;
    for statement in ["update log.events set position = 9", "delete from log.events", "truncate log.events"] {
        let error = sqlx::raw_sql(statement).execute(&stage.pool).await.unwrap_err();
        assert!(error.to_string().contains("never changed"), "{statement}: {error}");
    }
    assert_eq!(stage.positions().await, [1]);
}

#[tokio::test]
async fn migrating_again_and_at_once_is_fine() {
    let url = embedded::testing::database().await.url;
    let (first, second) = tokio::join!(commands::migrate(&url), commands::migrate(&url));
    first.unwrap();
    second.unwrap();
    commands::migrate(&url).await.unwrap();
}
