//! The optimistic lock, once for each aggregate: two processes decide on the same state, one of them is told so.

use commands::{CommandError, Commands};
use domain::{
    Aggregate,
    accounts::{Account, AccountCommand, AccountRefusal, Session, SessionCommand, SessionEndReason, SessionRefusal},
    channels::{Channel, ChannelCommand, ChannelRefusal},
    ids::{ChannelId, NodeId, SecretId, SessionId, StreamId},
    sealed::Sealed,
    streams::{EndReason, Stream, StreamCommand, StreamRefusal, VideoTrack},
};
use uuid::Uuid;

use crate::stage::{Stage, account_id, bare_channel, create_command, metadata, retitle, title};

/// Both processes give `command` at once; one stores it, the other is refused.
async fn one_of_two<A: Aggregate>(first: &Commands, second: &Commands, id: &str, command: A::Command) -> A::Refusal {
    let (left, right) =
        tokio::join!(first.execute::<A>(id, command.clone(), metadata()), second.execute::<A>(id, command, metadata()));
    match (left, right) {
        (Ok(_), Err(CommandError::Refused(refusal))) | (Err(CommandError::Refused(refusal)), Ok(_)) => refusal,
        (left, right) => panic!("one should win and one be refused: {left:?} {right:?}"),
    }
}

fn sealed(account_id: domain::ids::AccountId) -> Sealed {
    Sealed { account_id, ciphertext: vec![0; 40] }
}

#[tokio::test]
async fn an_account_is_registered_once() {
    let stage = Stage::new().await;
    let (first, second) = (stage.commands().await, stage.commands().await);
    let account_id = account_id();
    let command = AccountCommand::Register {
        account_id,
        username: sealed(account_id),
        username_digest: "digest".to_owned(),
        email: sealed(account_id),
        password: SecretId::from(Uuid::now_v7()),
        setup_token_digest: None,
    };
    let refusal = one_of_two::<Account>(&first, &second, &account_id.to_string(), command).await;
    assert_eq!(refusal, AccountRefusal::AlreadyExists);
    stage.assert_contiguous().await;
}

#[tokio::test]
async fn a_session_ends_once() {
    let stage = Stage::new().await;
    let (first, second) = (stage.commands().await, stage.commands().await);
    let (account_id, session_id) = (account_id(), SessionId::from(Uuid::now_v7()));
    let id = session_id.to_string();
    let open =
        SessionCommand::Open { session_id, account_id, user_agent: sealed(account_id), address: sealed(account_id) };
    first.execute::<Session>(&id, open, metadata()).await.unwrap();
    let end = SessionCommand::End { reason: SessionEndReason::SignedOut };
    assert_eq!(one_of_two::<Session>(&first, &second, &id, end).await, SessionRefusal::AlreadyEnded);
    assert_eq!(stage.event_types().await, ["session.opened", "session.ended"]);
}

#[tokio::test]
async fn a_channel_is_edited_from_its_current_version() {
    let stage = Stage::new().await;
    let (first, second) = (stage.commands().await, stage.commands().await);
    let owner = account_id();
    let channel_id = bare_channel(&first, owner, "my_channel").await;
    let edit = ChannelCommand::ChangeDetails {
        by: owner,
        expected_version: Some(1),
        title: Some(title("Another")),
        description: None,
        visibility: None,
    };
    let refusal = one_of_two::<Channel>(&first, &second, &channel_id.to_string(), edit).await;
    assert_eq!(refusal, ChannelRefusal::VersionStale { current: 2 });
}

#[tokio::test]
async fn a_stream_ends_once() {
    let stage = Stage::new().await;
    let (first, second) = (stage.commands().await, stage.commands().await);
    let (stream_id, node_id) = (StreamId::from(Uuid::now_v7()), NodeId::from(Uuid::now_v7()));
    let start = StreamCommand::Start {
        stream_id,
        channel_id: ChannelId::from(Uuid::now_v7()),
        node_id,
        title: "A title".to_owned(),
        video: Some(VideoTrack { codec: "avc1.64001f".to_owned(), width: 1280, height: 720, frame_rate: 30.0 }),
        audio: None,
        encoder: None,
    };
    let id = stream_id.to_string();
    first.execute::<Stream>(&id, start, metadata()).await.unwrap();
    let end = StreamCommand::End { node_id, reason: EndReason::Unpublished };
    assert_eq!(one_of_two::<Stream>(&first, &second, &id, end).await, StreamRefusal::AlreadyEnded);
}

#[tokio::test]
async fn what_another_process_stored_is_seen_in_spite_of_the_cache() {
    let stage = Stage::new().await;
    let (first, second) = (stage.commands().await, stage.commands().await);
    let owner = account_id();
    let channel_id = bare_channel(&first, owner, "my_channel").await;
    let id = channel_id.to_string();
    // Both remember version 2.
    second.execute::<Channel>(&id, retitle(owner, "Second"), metadata()).await.unwrap();
    first.load::<Channel>(&id).await.unwrap();
    let third = first.execute::<Channel>(&id, retitle(owner, "Third"), metadata()).await.unwrap();
    assert_eq!((third.position, third.version), (3, 3));

    // "Nothing to do" and refusals are never answered from memory alone.
    let again = second.execute::<Channel>(&id, retitle(owner, "Second"), metadata()).await.unwrap();
    assert_eq!((again.position, again.version), (4, 4), "the title is no longer what it remembers");
    let stale = ChannelCommand::ChangeDetails {
        by: owner,
        expected_version: Some(3),
        title: Some(title("Fifth")),
        description: None,
        visibility: None,
    };
    assert!(matches!(
        first.execute::<Channel>(&id, stale, metadata()).await,
        Err(CommandError::Refused(ChannelRefusal::VersionStale { current: 4 }))
    ));
    let (channel, version) = first.load::<Channel>(&id).await.unwrap().unwrap();
    assert_eq!((channel.title().unwrap().as_str(), version), ("Second", 4));

    let nothing = first.execute::<Channel>(&id, retitle(owner, "Second"), metadata()).await.unwrap();
    assert_eq!((nothing.position, nothing.version), (4, 4), "the head, where the log shows it");
}

#[tokio::test]
async fn what_does_not_exist_is_none() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    assert!(commands.load::<Channel>("nothing").await.unwrap().is_none());
    let owner = account_id();
    let refused = commands.execute::<Channel>("nothing", retitle(owner, "Title"), metadata()).await;
    assert!(matches!(refused, Err(CommandError::Refused(ChannelRefusal::Unknown))));
    assert!(stage.positions().await.is_empty());
}

#[tokio::test]
async fn what_is_stored_is_plain_domain_json_with_metadata() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let owner = account_id();
    let channel_id = ChannelId::from(Uuid::now_v7());
    let metadata = metadata();
    let command_id = metadata.command_id.to_string();
    commands
        .execute::<Channel>(&channel_id.to_string(), create_command(channel_id, owner, "my_channel"), metadata)
        .await
        .unwrap();
    let [event] = &commands::events::page(&stage.pool, &commands::events::Filter::default(), 10).await.unwrap()[..]
    else {
        panic!("one event")
    };
    let payload: serde_json::Value = serde_json::from_str(event.payload.get()).unwrap();
    assert_eq!(payload["Created"]["handle"], "my_channel");
    let created_at = payload["Created"]["created_at"].as_str().unwrap();
    assert!(created_at.len() <= "2026-11-21T10:00:00.123456Z".len(), "{created_at}");
    let stored: serde_json::Value = serde_json::from_str(event.metadata.get()).unwrap();
    assert_eq!(stored["actor"], "system");
    assert_eq!(stored["command_id"], command_id);
    assert_eq!((event.sequence, event.event_type.as_str(), event.event_version.as_str()), (1, "channel.created", "1"));
}
