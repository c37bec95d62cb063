//! One caller who gives one command after the other, who is served in its own task.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use commands::{CommandError, Commands, Committed};
use domain::{channels::Channel, ids::AccountId};
use rand::Rng;

use crate::stage::{PATIENCE, Stage, account_id, bare_channel, metadata, retitle};

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

/// Gives commands until one was stored in the caller's task; how many that were.
async fn until_served_alone(stage: &Stage, commands: &Commands, id: &str, owner: AccountId) -> i64 {
    let begin = Instant::now();
    let mut given = 0;
    while appending(stage).await < 2 {
        // How soon one comes after the other is up to the machine.
        for _ in 0..50 {
            given += 1;
            rename(commands, id, owner, &format!("Until {given}")).await;
        }
        assert!(begin.elapsed() < PATIENCE, "{given} commands, and none was its caller's next");
    }
    given
}

/// What the log says each title was changed to, and where.
async fn titles(stage: &Stage) -> HashMap<String, Vec<i64>> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "select payload->'DetailsChanged'->>'title', position from log.events where event_type = 'channel.details_changed'",
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
    let commands = stage.commands().await;
    let owner = account_id();
    let id = bare_channel(&commands, owner, "alone").await.to_string();
    let given = until_served_alone(&stage, &commands, &id, owner).await;
    let last = rename(&commands, &id, owner, "The last").await;
    assert_eq!((last.position, last.version), (given + 2, given + 2));
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
    let (alone, other) = (stage.commands().await, stage.commands().await);
    let owner = account_id();
    let id = bare_channel(&alone, owner, "between").await.to_string();
    let mut given = 1 + until_served_alone(&stage, &alone, &id, owner).await;
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
    let commands = stage.commands().await;
    let owner = account_id();
    let id = bare_channel(&commands, owner, "killed").await.to_string();
    until_served_alone(&stage, &commands, &id, owner).await;
    let killing = {
        let pool = stage.pool.clone();
        tokio::spawn(async move {
            for _ in 0..30 {
                tokio::time::sleep(Duration::from_millis(30)).await;
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
    while !killing.is_finished() {
        number += 1;
        let title = format!("Change {number}");
        let executing = commands.execute::<Channel>(&id, retitle(owner, &title), metadata());
        let patience = match number % 5 {
            0 => Duration::from_micros(rand::rng().random_range(0..2_000)),
            _ => PATIENCE,
        };
        match tokio::time::timeout(patience, executing).await {
            Ok(Ok(committed)) => _ = acknowledged.insert(title, committed.position),
            Ok(Err(CommandError::OutcomeUnknown(_))) | Err(_) => {}
            Ok(Err(CommandError::Unavailable(_) | CommandError::Conflict)) => not_done.push(title),
            Ok(Err(error)) => panic!("{error:?}"),
        }
    }
    killing.await.unwrap();
    // The next one is after all that.
    let last = loop {
        match commands.execute::<Channel>(&id, retitle(owner, "The last"), metadata()).await {
            Ok(committed) => break committed,
            Err(error) => println!("not yet: {error}"),
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
