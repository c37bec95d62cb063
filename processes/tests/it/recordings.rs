//! Recordings go when a rule says so, and what is stored of them goes after them, whatever happens in between.

use bytes::Bytes;
use commands::{
    Actor, Commands, Metadata,
    channels::{self, CreateChannel},
    recordings,
};
use domain::{
    channels::ChannelClosedReason,
    ids::{AccountId, ChannelId, NodeId, RecordingId, StreamId},
    recordings::{FinishedRecording, Recording, RecordingLimits, RecordingPolicy, RecordingState},
};
use processes::{Following, RecordingsOptions, Troubles};
use storage::{Key, Storage};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::stage::{Stage, until};

fn node() -> NodeId {
    Uuid::from_u128(7).into()
}

fn follow(commands: &Commands, storage: &Storage, limits: RecordingLimits) -> JoinHandle<()> {
    follow_telling(commands, storage, limits, &Troubles::default())
}

fn follow_telling(
    commands: &Commands,
    storage: &Storage,
    limits: RecordingLimits,
    troubles: &Troubles,
) -> JoinHandle<()> {
    let (commands, options) = (commands.clone(), RecordingsOptions { storage: storage.clone(), limits });
    let following = Following::new(&commands).telling(troubles.clone());
    tokio::spawn(async move {
        tokio::join!(following.listen(), processes::recordings::run(&commands, &following, &options));
    })
}

/// A channel that records, and its owner.
async fn channel(commands: &Commands) -> (ChannelId, AccountId) {
    let owner_id = AccountId::from(Uuid::now_v7());
    let handle = format!("c{}", &Uuid::new_v4().simple().to_string()[..20]);
    let metadata = Metadata::new(Actor::Account(owner_id));
    let (title, description) = ("A channel".to_owned(), String::new());
    let create = CreateChannel { owner_id, handle, title, description, metadata };
    let channel_id = channels::create(commands, create).await.unwrap().channel_id;
    policy(commands, channel_id, owner_id, RecordingPolicy { is_on: true, ..RecordingPolicy::default() }).await;
    (channel_id, owner_id)
}

async fn policy(commands: &Commands, channel_id: ChannelId, owner_id: AccountId, policy: RecordingPolicy) {
    let metadata = Metadata::new(Actor::Account(owner_id));
    recordings::change_policy(commands, channel_id, owner_id, policy, metadata).await.unwrap();
}

/// A recording with an object in the storage; it is being made.
async fn begun(commands: &Commands, storage: &Storage, channel_id: ChannelId) -> RecordingId {
    let stream_id = StreamId::from(Uuid::now_v7());
    let begun = recordings::start(commands, stream_id, channel_id, node()).await.unwrap().unwrap();
    let key = Key::new(format!("recordings/{}/source/s0.m4s", begun.recording_id)).unwrap();
    storage.put(&key, Bytes::from_static(b"pictures")).await.unwrap();
    begun.recording_id
}

async fn publish(commands: &Commands, recording_id: RecordingId) {
    let (renditions, gap_count, cut_short) = (Vec::new(), 0, None);
    let finished = FinishedRecording { duration_ms: 1_000, size_bytes: 100, renditions, gap_count, cut_short };
    recordings::publish(commands, recording_id, node(), finished).await.unwrap();
}

async fn published(commands: &Commands, storage: &Storage, channel_id: ChannelId) -> RecordingId {
    let recording_id = begun(commands, storage, channel_id).await;
    publish(commands, recording_id).await;
    recording_id
}

async fn state(commands: &Commands, recording_id: RecordingId) -> RecordingState {
    let (recording, _) = commands.load::<Recording>(&recording_id.to_string()).await.unwrap().unwrap();
    recording.state().unwrap()
}

async fn is_stored(storage: &Storage, recording_id: RecordingId) -> bool {
    let folder = Key::new(format!("recordings/{recording_id}")).unwrap();
    storage.usage(&folder).await.unwrap().objects > 0
}

async fn until_gone(commands: &Commands, storage: &Storage, recording_id: RecordingId) {
    until("the recording's end", async || state(commands, recording_id).await == RecordingState::Deleted).await;
    until("the end of its objects", async || !is_stored(storage, recording_id).await).await;
}

#[tokio::test]
async fn the_oldest_go_where_there_are_too_many_or_too_much() {
    let (stage, folder) = (Stage::new().await, tempfile::tempdir().unwrap());
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    let commands = &stage.commands;
    let limits = RecordingLimits { max_count: Some(2), ..RecordingLimits::default() };
    let following = follow(commands, &storage, limits);
    let (channel_id, owner_id) = channel(commands).await;
    let (other, _) = channel(commands).await;
    let others = published(commands, &storage, other).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(published(commands, &storage, channel_id).await);
    }
    until_gone(commands, &storage, ids[0]).await;
    assert_eq!(state(commands, ids[1]).await, RecordingState::Published);

    // The owner wants less; the newest stays, whatever its size.
    let less = RecordingPolicy { is_on: true, max_size_bytes: Some(1), ..RecordingPolicy::default() };
    policy(commands, channel_id, owner_id, less).await;
    until_gone(commands, &storage, ids[1]).await;
    assert_eq!(state(commands, ids[2]).await, RecordingState::Published);
    assert_eq!(state(commands, others).await, RecordingState::Published);
    assert!(is_stored(&storage, ids[2]).await && is_stored(&storage, others).await);
    following.abort();
}

#[tokio::test]
async fn a_closed_channel_takes_its_recordings_with_it_also_those_that_come_late() {
    let (stage, folder) = (Stage::new().await, tempfile::tempdir().unwrap());
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    let commands = &stage.commands;
    let (channel_id, _) = channel(commands).await;
    let ready = published(commands, &storage, channel_id).await;
    let making = begun(commands, &storage, channel_id).await;
    let metadata = Metadata::new(Actor::System);
    channels::close(commands, channel_id, None, ChannelClosedReason::OwnerErased, metadata).await.unwrap();
    let following = follow(commands, &storage, RecordingLimits::default());
    until_gone(commands, &storage, ready).await;
    until_gone(commands, &storage, making).await;
    // Whoever makes it learns so when it is done.
    let finished =
        FinishedRecording { duration_ms: 1, size_bytes: 1, renditions: Vec::new(), gap_count: 0, cut_short: None };
    assert!(recordings::publish(commands, making, node(), finished).await.is_err());
    let reasons: Vec<String> = sqlx::query_scalar(
        "select payload->'Deleted'->>'reason' from log.events where event_type = 'recording.deleted'",
    )
    .fetch_all(&stage.pool)
    .await
    .unwrap();
    assert_eq!(reasons, ["account_erased", "account_erased"]);
    following.abort();
}

#[tokio::test]
async fn objects_go_once_the_storage_lets_them_and_rules_do_not_wait_for_it() {
    let (stage, folder) = (Stage::new().await, tempfile::tempdir().unwrap());
    let storage = Storage::open_disk(folder.path().join("objects")).await.unwrap();
    let commands = &stage.commands;
    let (channel_id, _) = channel(commands).await;
    let first = published(commands, &storage, channel_id).await;
    let second = published(commands, &storage, channel_id).await;
    // What points to itself cannot be looked into.
    let objects = folder.path().join("objects/recordings");
    let aside = folder.path().join("aside");
    std::fs::rename(&objects, &aside).unwrap();
    std::os::unix::fs::symlink(&objects, &objects).unwrap();
    let limits = RecordingLimits { max_count: Some(1), ..RecordingLimits::default() };
    let troubles = Troubles::default();
    let following = follow_telling(commands, &storage, limits, &troubles);
    until("the rule", async || state(commands, first).await == RecordingState::Deleted).await;
    until("the trouble", async || troubles.told().iter().any(|(name, _)| *name == "recording_objects")).await;
    // A node goes, and the next one finds the storage mended.
    following.abort();
    // Until it is gone, it could find no folder where the symlink is taken away, and think that all is done.
    assert!(following.await.is_err_and(|error| error.is_cancelled()));
    std::fs::remove_file(&objects).unwrap();
    std::fs::rename(&aside, &objects).unwrap();
    let following = follow(commands, &storage, limits);
    until_gone(commands, &storage, first).await;
    assert!(is_stored(&storage, second).await);
    following.abort();
}

#[tokio::test]
async fn what_is_being_made_takes_room_from_what_is_there() {
    let (stage, folder) = (Stage::new().await, tempfile::tempdir().unwrap());
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    let commands = &stage.commands;
    let (channel_id, _) = channel(commands).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        ids.push(published(commands, &storage, channel_id).await);
    }
    // Of 100 bytes each, and 8 of this one.
    let making = begun(commands, &storage, channel_id).await;
    let limits =
        |max_size_bytes| RecordingLimits { max_size_bytes: Some(max_size_bytes), ..RecordingLimits::default() };
    let following = follow(commands, &storage, limits(207));
    until_gone(commands, &storage, ids[0]).await;
    assert_eq!(state(commands, ids[1]).await, RecordingState::Published);
    assert_eq!(state(commands, making).await, RecordingState::Recording);
    following.abort();
}

#[tokio::test]
async fn copies_for_downloads_go_before_any_recording_does() {
    let (stage, folder) = (Stage::new().await, tempfile::tempdir().unwrap());
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    let commands = &stage.commands;
    let (channel_id, _) = channel(commands).await;
    let mut copies = Vec::new();
    let mut ids = Vec::new();
    for _ in 0..3 {
        let id = published(commands, &storage, channel_id).await;
        let copy = Key::new(format!("recordings/{id}/files/1.mp4")).unwrap();
        storage.put(&copy, vec![1; 100].into()).await.unwrap();
        ids.push(id);
        copies.push(copy);
    }
    // 600 bytes with the copies, of which the oldest has to go.
    let limits = RecordingLimits { max_size_bytes: Some(500), ..RecordingLimits::default() };
    let following = follow(commands, &storage, limits);
    until("the end of a copy", async || !storage.exists(&copies[0]).await.unwrap()).await;
    for id in &ids {
        assert_eq!(state(commands, *id).await, RecordingState::Published);
    }
    assert!(storage.exists(&copies[1]).await.unwrap() && storage.exists(&copies[2]).await.unwrap());
    following.abort();
}
