//! Commands that share a transaction.

use std::{collections::VecDeque, time::Duration};

use commands::{CommandError, CommandsOptions, Committed};
use domain::{
    accounts::{Account, AccountCommand},
    channels::{Channel, ChannelCommand, ChannelRefusal, Description},
    ids::{ChannelId, NodeId, SecretId, StreamId},
    sealed::Sealed,
    streams::{EndReason, Stream, StreamCommand, StreamRefusal, VideoTrack},
};
use futures::{future::join_all, poll};
use sqlx::Connection;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::stage::{
    Stage, account_id, bare_channel, create_command, hold_the_head, metadata, retitle, wait_until_waiting,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_guilty_fail() {
    let stage = Stage::new().await;
    let (commands, other) = (stage.commands().await, stage.commands().await);
    let owner = account_id();
    let edited = bare_channel(&commands, owner, "edited").await;
    bare_channel(&commands, owner, "taken").await;
    let version_before = 3;
    // What `commands` remembers of the channel goes out of date.
    other.execute::<Channel>(&edited.to_string(), retitle(owner, "Elsewhere"), metadata()).await.unwrap();

    let head = hold_the_head(&stage).await;
    type Answer = Result<Committed, CommandError<ChannelRefusal>>;
    let give = |id: String, command| -> JoinHandle<Answer> {
        let commands = commands.clone();
        tokio::spawn(async move { commands.execute::<Channel>(&id, command, metadata()).await })
    };
    let create = |handle: &str| {
        let channel_id = ChannelId::from(Uuid::now_v7());
        (channel_id.to_string(), create_command(channel_id, owner, handle))
    };
    // The first goes alone; the rest gather behind it and become one batch.
    let (id, command) = create("first");
    let first = give(id, command);
    wait_until_waiting(&stage).await;
    let good: Vec<_> = (0..20)
        .map(|number| {
            let (id, command) = create(&format!("good_{number}"));
            give(id, command)
        })
        .collect();
    let (id, command) = create("taken");
    let held = give(id, command);
    let unstorable = {
        let (commands, account_id) = (commands.clone(), account_id());
        let sealed = Sealed { account_id, ciphertext: vec![0; 40] };
        let command = AccountCommand::Register {
            account_id,
            username: sealed.clone(),
            username_digest: "not\0text".to_owned(),
            email: sealed,
            password: SecretId::from(Uuid::now_v7()),
            setup_token_digest: None,
        };
        tokio::spawn(async move { commands.execute::<Account>(&account_id.to_string(), command, metadata()).await })
    };
    let stale = give(edited.to_string(), retitle(owner, "Here"));
    let twins = [create("twin"), create("twin")].map(|(id, command)| give(id, command));
    // As far as that can be had: what comes later is answered all the same.
    tokio::time::sleep(Duration::from_millis(100)).await;
    head.close().await.unwrap();

    first.await.unwrap().unwrap();
    for good in good {
        good.await.unwrap().unwrap();
    }
    assert!(matches!(held.await.unwrap(), Err(CommandError::Refused(ChannelRefusal::HandleTaken))));
    assert!(matches!(unstorable.await.unwrap(), Err(CommandError::Unexpected(_))));
    let stale = stale.await.unwrap().unwrap();
    assert_eq!(stale.version, 3, "decided again on what the log has");
    let mut twins_created = 0;
    for twin in twins {
        match twin.await.unwrap() {
            Ok(_) => twins_created += 1,
            Err(error) => assert!(matches!(error, CommandError::Refused(ChannelRefusal::HandleTaken)), "{error:?}"),
        }
    }
    assert_eq!(twins_created, 1);
    assert_eq!(stage.positions().await.len(), version_before + 1 + 20 + 1 + 1);
    stage.assert_contiguous().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_given_back_is_free_within_the_batch() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let node_id = NodeId::from(Uuid::now_v7());
    let channel_id = ChannelId::from(Uuid::now_v7());
    let start = |stream_id| StreamCommand::Start {
        stream_id,
        channel_id,
        node_id,
        title: "A title".to_owned(),
        video: Some(VideoTrack { codec: "avc1.64001f".to_owned(), width: 1280, height: 720, frame_rate: 30.0 }),
        audio: None,
        encoder: None,
    };
    let [old, new, late] = [(); 3].map(|()| StreamId::from(Uuid::now_v7()));
    commands.execute::<Stream>(&old.to_string(), start(old), metadata()).await.unwrap();

    let head = hold_the_head(&stage).await;
    let give = |id: StreamId, command| {
        let commands = commands.clone();
        tokio::spawn(async move { commands.execute::<Stream>(&id.to_string(), command, metadata()).await })
    };
    let bystander = StreamId::from(Uuid::now_v7());
    let mut elsewhere = start(bystander);
    if let StreamCommand::Start { channel_id, .. } = &mut elsewhere {
        *channel_id = ChannelId::from(Uuid::now_v7());
    }
    let bystander = give(bystander, elsewhere);
    wait_until_waiting(&stage).await;
    // Remembered, so it is in the queue as soon as it is asked for; the two after it look at the log first.
    let (old, end) = (old.to_string(), StreamCommand::End { node_id, reason: EndReason::Unpublished });
    let mut end = Box::pin(commands.execute::<Stream>(&old, end, metadata()));
    assert!(poll!(&mut end).is_pending());
    let contenders = [give(new, start(new)), give(late, start(late))];
    // So that they come into the batch of the end, as far as that can be had.
    tokio::time::sleep(Duration::from_millis(50)).await;
    head.close().await.unwrap();

    bystander.await.unwrap().unwrap();
    end.await.unwrap();
    let mut winners = Vec::new();
    for (contender, stream_id) in contenders.into_iter().zip([new, late]) {
        match contender.await.unwrap() {
            Ok(_) => winners.push(stream_id.to_string()),
            Err(error) => assert!(matches!(error, CommandError::Refused(StreamRefusal::ChannelLive)), "{error:?}"),
        }
    }
    assert_eq!(winners.len(), 1);
    let holders: Vec<String> = sqlx::query_scalar("select aggregate_id from log.reservations where name = $1")
        .bind(channel_id.to_string())
        .fetch_all(&stage.pool)
        .await
        .unwrap();
    assert_eq!(holders, winners);
    stage.assert_contiguous().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_queue_holds_is_refused() {
    let stage = Stage::new().await;
    let commands = stage.commands_with(CommandsOptions { queue_len: 3, ..CommandsOptions::default() }).await;
    let owner = account_id();
    let head = hold_the_head(&stage).await;
    let names = [0, 1, 2].map(|number| format!("waiting_{number}"));
    let mut waiting = names.each_ref().map(|name| Box::pin(bare_channel(&commands, owner, name)));
    // From here on each has its place.
    for waiting in &mut waiting {
        assert!(poll!(waiting).is_pending());
    }
    let channel_id = ChannelId::from(Uuid::now_v7());
    let command = create_command(channel_id, owner, "one_more");
    let refused = commands.execute::<Channel>(&channel_id.to_string(), command.clone(), metadata()).await;
    assert!(matches!(refused, Err(CommandError::Overloaded)));
    head.close().await.unwrap();
    join_all(waiting).await;
    commands.execute::<Channel>(&channel_id.to_string(), command, metadata()).await.unwrap();
}

#[tokio::test]
async fn those_who_wait_for_their_turn_are_in_the_queue_too() {
    let stage = Stage::new().await;
    let commands = stage.commands_with(CommandsOptions { queue_len: 3, ..CommandsOptions::default() }).await;
    let owner = account_id();
    let id = bare_channel(&commands, owner, "my_channel").await.to_string();
    let give = |title: &str| Box::pin(commands.execute::<Channel>(&id, retitle(owner, title), metadata()));
    let head = hold_the_head(&stage).await;
    let mut waiting = VecDeque::from(["First", "Second", "Third"].map(give));
    for waiting in &mut waiting {
        assert!(poll!(waiting).is_pending());
    }
    let refused = give("One more").await;
    assert!(matches!(refused, Err(CommandError::Overloaded)), "{refused:?}");
    // The place of somebody who gives up is free at once.
    drop(waiting.pop_back());
    waiting.push_back(give("Again"));
    assert!(poll!(waiting.back_mut().unwrap()).is_pending());
    head.close().await.unwrap();
    for (version, committed) in (2..).zip(join_all(waiting).await) {
        assert_eq!(committed.unwrap().version, version, "in the order in which they asked");
    }
    assert_eq!(stage.positions().await.len(), 4);
}

#[tokio::test]
async fn more_bytes_than_the_queue_holds_are_refused() {
    let stage = Stage::new().await;
    // Room for two such events with their metadata, not for three.
    let commands = stage.commands_with(CommandsOptions { queue_bytes: 5_000, ..CommandsOptions::default() }).await;
    let owner = account_id();
    let mut channels = Vec::new();
    for number in 0..3 {
        channels.push(bare_channel(&commands, owner, &format!("channel_{number}")).await.to_string());
    }
    let describe = |id| {
        let command = ChannelCommand::ChangeDetails {
            by: owner,
            expected_version: None,
            title: None,
            description: Some(Description::parse(&"long ".repeat(399)).unwrap()),
            visibility: None,
        };
        Box::pin(commands.execute::<Channel>(id, command, metadata()))
    };
    let head = hold_the_head(&stage).await;
    let mut waiting = [describe(&channels[0]), describe(&channels[1])];
    for waiting in &mut waiting {
        assert!(poll!(waiting).is_pending());
    }
    let refused = describe(&channels[2]).await;
    assert!(matches!(refused, Err(CommandError::Overloaded)), "{refused:?}");
    head.close().await.unwrap();
    for committed in join_all(waiting).await {
        committed.unwrap();
    }
    describe(&channels[2]).await.unwrap();
    assert_eq!(stage.positions().await.len(), 3 + 3);
}

#[tokio::test]
async fn a_process_of_the_version_before_goes_on() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    bare_channel(&commands, account_id(), "my_channel").await;
    let append = |position: i64| {
        sqlx::query_as::<_, (i64, Vec<i32>, Vec<i32>)>(
            "select * from log.append('{1}', '{channel}', '{id}', array[$1], '{channel.created}', '{1}', '{\"{}\"}', \
             '{\"{}\"}', '{}', '{}', '{}', '{}', '{}')",
        )
        .bind(position)
        .fetch_one(&stage.pool)
    };
    assert_eq!(append(1).await.unwrap(), (2, vec![], vec![]));
    assert_eq!(append(1).await.unwrap(), (3, vec![1], vec![]));
    bare_channel(&commands, account_id(), "another").await;
    assert_eq!(stage.positions().await, [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_finishes_what_waits_and_refuses_the_rest() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let owner = account_id();
    let head = hold_the_head(&stage).await;
    let waiting = {
        let commands = commands.clone();
        tokio::spawn(async move { bare_channel(&commands, owner, "waiting").await })
    };
    wait_until_waiting(&stage).await;
    let stopping = {
        let commands = commands.clone();
        tokio::spawn(async move { commands.shutdown().await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    head.close().await.unwrap();
    waiting.await.unwrap();
    stopping.await.unwrap();
    let channel_id = ChannelId::from(Uuid::now_v7());
    let command = create_command(channel_id, owner, "late");
    let refused = commands.execute::<Channel>(&channel_id.to_string(), command, metadata()).await;
    assert!(matches!(refused, Err(CommandError::Unavailable(_))));
    assert_eq!(stage.positions().await, [1]);
}
