//! One caller who gives one command after the other, who is served in its own task.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use commands::{CommandError, Commands, CommandsOptions, Committed, LoneLimits};
use domain::{channels::Channel, ids::AccountId};
use rand::Rng;

use crate::stage::{PATIENCE, Stage, account_id, bare_channel, hold_the_head, metadata, retitle};

/// How many connections append: one for the thread, and one for callers who are alone once there was one.
async fn appending(stage: &Stage) -> i64 {
    sqlx::query_scalar(
        "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'weir append'",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap()
}

async fn rename(commands: &Commands, id: &str, owner: AccountId, title: &str) -> Committed {
    commands.execute::<Channel>(id, retitle(owner, title), metadata()).await.unwrap()
}

/// A write side to which each command is that of a caller who is alone, however slow the machine is, as long as there is no other.
async fn patient(stage: &Stage) -> Commands {
    const HOUR: Duration = Duration::from_secs(3_600);
    stage
        .commands_with(CommandsOptions {
            lone: LoneLimits { follows: HOUR, stored: HOUR },
            ..CommandsOptions::default()
        })
        .await
}

/// Gives a command or two, so that one was stored in the caller's task; how many events there are.
async fn until_served_alone(stage: &Stage, commands: &Commands, id: &str, owner: AccountId) -> i64 {
    let before = appending(stage).await;
    let begin = Instant::now();
    loop {
        let version = rename(commands, id, owner, &format!("Until {:?}", begin.elapsed())).await.version;
        if appending(stage).await > before {
            return version;
        }
        assert!(begin.elapsed() < PATIENCE, "{version} events, and nobody was served alone");
    }
}

/// What the log says each title was changed to, and where.
async fn titles(stage: &Stage) -> HashMap<String, Vec<i64>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select payload->'DetailsChanged'->>'title', position from log.events where event_type = 'channel.details_changed' \
         order by position",
    )
    .fetch_all(&stage.pool)
    .await
    .unwrap();
    let mut titles = HashMap::<_, Vec<_>>::new();
    for (title, position) in rows {
        titles.entry(title).or_default().push(position);
    }
    titles
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_commands_are_stored_in_order_and_told_to_those_who_follow() {
    let stage = Stage::new().await;
    let commands = patient(&stage).await;
    let owner = account_id();
    let id = bare_channel(&commands, owner, "alone").await.to_string();
    let given = until_served_alone(&stage, &commands, &id, owner).await;
    let last = rename(&commands, &id, owner, "The last").await;
    assert_eq!((last.position, last.version), (given + 1, given + 1));
    assert_eq!(*commands.committed().borrow(), last.position);
    stage.assert_contiguous().await;
    assert_eq!(commands.load::<Channel>(&id).await.unwrap().unwrap().1, last.version);

    commands.shutdown().await;
    let refused = commands.execute::<Channel>(&id, retitle(owner, "Too late"), metadata()).await;
    assert!(matches!(refused, Err(CommandError::Unavailable(_))), "{refused:?}");
    let begin = Instant::now();
    while appending(&stage).await > 0 {
        assert!(begin.elapsed() < PATIENCE, "a connection stays after the end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_in_between_is_noticed() {
    let stage = Stage::new().await;
    let alone = patient(&stage).await;
    let owner = account_id();
    let id = bare_channel(&alone, owner, "between").await.to_string();
    let mut given = until_served_alone(&stage, &alone, &id, owner).await;
    let other = stage.commands().await;
    for round in 0..30 {
        for number in 0..5 {
            given += 1;
            assert_eq!(rename(&alone, &id, owner, &format!("Mine {round} {number}")).await.version, given);
        }
        given += 1;
        assert_eq!(rename(&other, &id, owner, &format!("Theirs {round}")).await.version, given);
    }
    stage.assert_contiguous().await;
}

/// Connections are killed and callers give up at any moment: whatever was acknowledged is in the log, once, where it was
/// said to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_taken_for_another() {
    let stage = Stage::new().await;
    let commands = patient(&stage).await;
    let owner = account_id();
    let id = bare_channel(&commands, owner, "killed").await.to_string();
    until_served_alone(&stage, &commands, &id, owner).await;
    let stored = Arc::new(AtomicU64::new(0));
    let killing = {
        let (pool, stored) = (stage.pool.clone(), Arc::clone(&stored));
        tokio::spawn(async move {
            for _ in 0..20 {
                // Something goes through between two of them.
                let before = stored.load(Ordering::Relaxed);
                while stored.load(Ordering::Relaxed) < before + 3 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                let wait = Duration::from_micros(rand::rng().random_range(0..20_000));
                tokio::time::sleep(wait).await;
                sqlx::query(
                    "select pg_terminate_backend(pid) from pg_stat_activity \
                     where datname = current_database() and application_name = 'weir append'",
                )
                .execute(&pool)
                .await
                .unwrap();
            }
        })
    };
    let (mut acknowledged, mut not_done) = (HashMap::new(), Vec::new());
    let mut number = 0;
    let begin = Instant::now();
    while !killing.is_finished() {
        assert!(begin.elapsed() < PATIENCE, "after {number} commands it is not over");
        number += 1;
        let title = format!("Change {number}");
        let executing = commands.execute::<Channel>(&id, retitle(owner, &title), metadata());
        let patience = match number % 5 {
            0 => Duration::from_micros(rand::rng().random_range(0..2_000)),
            _ => PATIENCE,
        };
        match tokio::time::timeout(patience, executing).await {
            Ok(Ok(committed)) => {
                acknowledged.insert(title, committed.position);
                stored.fetch_add(1, Ordering::Relaxed);
            }
            Ok(Err(CommandError::OutcomeUnknown(_))) | Err(_) => {}
            Ok(Err(CommandError::Unavailable(_) | CommandError::Conflict)) => not_done.push(title),
            Ok(Err(error)) => panic!("{error:?}"),
        }
    }
    killing.await.unwrap();
    let last = loop {
        match commands.execute::<Channel>(&id, retitle(owner, "The last"), metadata()).await {
            Ok(committed) => break committed,
            // It was killed last, and is noticed now.
            Err(error) => assert!(begin.elapsed() < 2 * PATIENCE, "{error}"),
        }
    };
    let titles = titles(&stage).await;
    assert!(!acknowledged.is_empty());
    for (title, position) in acknowledged {
        assert_eq!(titles.get(&title), Some(&vec![position]), "{title}");
    }
    for title in not_done {
        assert_eq!(titles.get(&title), None, "{title} was said not to be done");
    }
    assert!(titles.iter().all(|(title, positions)| title == "The last" || positions.len() == 1), "{titles:?}");
    assert_eq!(titles["The last"].last(), Some(&last.position));
    stage.assert_contiguous().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_too_long_for_the_log_is_told_that_nothing_was_stored() {
    let stage = Stage::new().await;
    let commands = patient(&stage).await;
    let owner = account_id();
    let id = bare_channel(&commands, owner, "waits").await.to_string();
    let given = until_served_alone(&stage, &commands, &id, owner).await;
    let held = hold_the_head(&stage).await;
    let refused = commands.execute::<Channel>(&id, retitle(owner, "Waited"), metadata()).await;
    assert!(matches!(refused, Err(CommandError::Unavailable(_))), "{refused:?}");
    drop(held);
    assert_eq!(rename(&commands, &id, owner, "The next").await.version, given + 1);
    stage.assert_contiguous().await;
}
