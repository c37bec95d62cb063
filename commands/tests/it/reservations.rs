//! Unique names: whatever races, one holds them.

use commands::{CommandError, accounts::AccountsError};
use domain::{
    accounts::AccountRefusal,
    channels::{Channel, ChannelRefusal},
    ids::ChannelId,
};
use uuid::Uuid;

use crate::stage::{Stage, account_id, create_command, metadata, register};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_a_hundred_with_the_same_handle_one_wins() {
    let stage = Stage::new().await;
    let processes = [stage.commands().await, stage.commands().await];
    let mut tasks = Vec::new();
    for number in 0..100 {
        let commands = processes[number % 2].clone();
        tasks.push(tokio::spawn(async move {
            let channel_id = ChannelId::from(Uuid::now_v7());
            // A bystander in each task, which must not suffer from what happens beside it.
            let bystander = ChannelId::from(Uuid::now_v7());
            let (contested, other) = tokio::join!(
                async {
                    let command = create_command(channel_id, account_id(), "wanted");
                    commands.execute::<Channel>(&channel_id.to_string(), command, metadata()).await
                },
                async {
                    let command = create_command(bystander, account_id(), &format!("other_{number}"));
                    commands.execute::<Channel>(&bystander.to_string(), command, metadata()).await
                }
            );
            other.unwrap();
            match contested {
                Ok(_) => Some(channel_id),
                Err(CommandError::Refused(ChannelRefusal::HandleTaken)) => None,
                Err(error) => panic!("{error:?}"),
            }
        }));
    }
    let mut winners = Vec::new();
    for task in tasks {
        winners.extend(task.await.unwrap());
    }
    assert_eq!(winners.len(), 1);
    let holder: String =
        sqlx::query_scalar("select aggregate_id from log.reservations where kind = 'handle' and name = 'wanted'")
            .fetch_one(&stage.pool)
            .await
            .unwrap();
    assert_eq!(holder, winners[0].to_string());
    assert_eq!(stage.positions().await.len(), 101);
    stage.assert_contiguous().await;
}

#[tokio::test]
async fn a_username_is_unique_whatever_its_case() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (left, right) = tokio::join!(
        commands::accounts::register(&commands, register("someone")),
        commands::accounts::register(&commands, register("SomeOne"))
    );
    let taken = |result: &Result<_, AccountsError>| {
        matches!(result, Err(AccountsError::Command(CommandError::Refused(AccountRefusal::UsernameTaken))))
    };
    assert!(left.is_ok() != right.is_ok());
    assert!(taken(&left) || taken(&right));
    let names: Vec<String> =
        sqlx::query_scalar("select name from log.reservations").fetch_all(&stage.pool).await.unwrap();
    assert_eq!(names.len(), 1);
    assert!(!names[0].contains("someone"), "only a digest of the name is kept");
}
