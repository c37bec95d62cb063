//! Two processes append to the same aggregates at once.

use std::{collections::HashSet, time::Duration};

use commands::{CommandError, Commands, events::Filter};
use domain::{channels::Channel, ids::ChannelId};
use sqlx::PgPool;

use crate::stage::{Stage, account_id, bare_channel, metadata, retitle};

const CHANNELS: usize = 5;
const TASKS: usize = 16;
const COMMANDS: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_acknowledged_event_is_stored_once_and_in_order() {
    let stage = Stage::new().await;
    let processes = [stage.commands().await, stage.commands().await];
    let owner = account_id();
    let mut channels = Vec::new();
    for number in 0..CHANNELS {
        channels.push(bare_channel(&processes[0], owner, &format!("channel_{number}")).await);
    }
    let reader = tokio::spawn(read_along(stage.pool.clone(), CHANNELS + 2 * TASKS * COMMANDS));

    let mut tasks = Vec::new();
    for (process, commands) in processes.iter().enumerate() {
        for task in 0..TASKS {
            let (commands, channels) = (commands.clone(), channels.clone());
            tasks.push(tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                for number in 0..COMMANDS {
                    let title = format!("{process} {task} {number}");
                    let channel_id = channels[(task + number) % CHANNELS];
                    acknowledged.push((insist(&commands, channel_id, owner, &title).await, title));
                }
                acknowledged
            }));
        }
    }
    let mut acknowledged = Vec::new();
    for task in tasks {
        acknowledged.extend(task.await.unwrap());
    }

    assert_eq!(acknowledged.len(), 2 * TASKS * COMMANDS);
    stage.assert_contiguous().await;
    let stored: HashSet<(i64, String)> = sqlx::query_as(
        "select position, payload->'DetailsChanged'->>'title' from log.events where event_type = 'channel.details_changed'",
    )
    .fetch_all(&stage.pool)
    .await
    .unwrap()
    .into_iter()
    .collect();
    let acknowledged: HashSet<(i64, String)> = acknowledged.into_iter().collect();
    assert_eq!(stored, acknowledged);
    assert!(reader.await.unwrap(), "a reader by position saw every event, in order");
    let backwards: i64 = sqlx::query_scalar(
        "select count(*) from (select recorded_at < lag(recorded_at) over (order by position) as is_before \
         from log.events) event where is_before",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    assert_eq!(backwards, 0, "times follow positions");
}

async fn insist(commands: &Commands, channel_id: ChannelId, owner: domain::ids::AccountId, title: &str) -> i64 {
    loop {
        match commands.execute::<Channel>(&channel_id.to_string(), retitle(owner, title), metadata()).await {
            Ok(committed) => return committed.position,
            // Of neither anything was stored.
            Err(CommandError::Conflict | CommandError::Unavailable(_)) => {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
}

/// Reads `position > N` as the relay does; `false` when what comes is not the next.
async fn read_along(pool: PgPool, total: usize) -> bool {
    let mut seen = 0;
    while seen < total as i64 {
        for event in commands::events::page(&pool, &Filter { after: seen, ..Filter::default() }, 100).await.unwrap() {
            if event.position != seen + 1 {
                return false;
            }
            seen = event.position;
        }
    }
    true
}
