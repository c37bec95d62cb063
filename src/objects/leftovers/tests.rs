use std::future::Future;

use bytes::Bytes;
use commands::{
    Actor, CommandsOptions, MasterKeys, Metadata,
    channels::{self, CreateChannel},
};
use domain::{
    ids::{AccountId, ChannelId, StreamId},
    recordings::{FinishedRecording, RecordingDeletedReason, RecordingPolicy},
};
use tokio::time::timeout;
use uuid::Uuid;

use super::*;

#[expect(dead_code, reason = "other tests need more of it")]
#[path = "../../../storage/tests/it/server.rs"]
mod server;

const LONG: Duration = Duration::from_secs(120);

async fn write_side() -> Commands {
    let url = embedded::testing::database().await.url;
    commands::migrate(&url).await.unwrap();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let keys = MasterKeys::new([1; 32].into(), [2; 32].into());
    Commands::start(pool, keys, CommandsOptions::default()).await.unwrap()
}

async fn channel(commands: &Commands) -> ChannelId {
    let owner_id = AccountId::from(Uuid::now_v7());
    let metadata = || Metadata::new(Actor::Account(owner_id));
    let (handle, title, description) = ("river".to_owned(), "A channel".to_owned(), String::new());
    let create = CreateChannel { owner_id, handle, title, description, metadata: metadata() };
    let channel_id = channels::create(commands, create).await.unwrap().channel_id;
    let policy = RecordingPolicy { is_on: true, ..RecordingPolicy::default() };
    recordings::change_policy(commands, channel_id, owner_id, policy, metadata()).await.unwrap();
    channel_id
}

/// A recording that is complete, of which an object waits in the folder of its node.
async fn recorded(commands: &Commands, channel_id: ChannelId, node_id: NodeId, storage: &Storage) -> Key {
    let stream_id = StreamId::from(Uuid::now_v7());
    let id = recordings::start(commands, stream_id, channel_id, node_id).await.unwrap().unwrap().recording_id;
    let key = Key::new(format!("recordings/{id}/source/s0.m4s")).unwrap();
    storage.put(&key, Bytes::from_static(b"pictures")).await.unwrap();
    let (renditions, gap_count, cut_short) = (Vec::new(), 0, None);
    let finished = FinishedRecording { duration_ms: 1_000, size_bytes: 8, renditions, gap_count, cut_short };
    recordings::publish(commands, id, node_id, finished).await.unwrap();
    key
}

/// What the node that leads does: its own folder has nothing of it, and neither has the bucket.
async fn delete(commands: &Commands, bucket: &Storage, key: &Key) {
    let id = recording_of(key).unwrap();
    let metadata = Metadata::new(Actor::System);
    recordings::delete(commands, id, None, RecordingDeletedReason::Retention, metadata).await.unwrap();
    bucket.delete_prefix(&ingest::recorder::folder(id).unwrap()).await.unwrap();
}

async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let poll = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, poll).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn what_waits_on_another_node_does_not_come_back_after_its_recording_was_deleted() {
    let server = server::Server::start().await;
    let (commands, folder, node_id) = (write_side().await, tempfile::tempdir().unwrap(), Uuid::from_u128(8).into());
    let channel_id = channel(&commands).await;
    let bucket = Storage::open_s3(server.options()).unwrap();
    let recordings = Key::new("recordings").unwrap();

    // The node was away while one of its recordings was deleted, and starts again.
    let (storage, mover) = Storage::open_spooled(folder.path(), server.options()).await.unwrap();
    let before = recorded(&commands, channel_id, node_id, &storage).await;
    delete(&commands, &bucket, &before).await;
    drop((storage, mover));
    let (storage, mover) = Storage::open_spooled(folder.path(), server.options()).await.unwrap();
    let found = storage.waiting(&recordings);
    assert_eq!(found, std::slice::from_ref(&before));
    let [stays, goes] = [
        recorded(&commands, channel_id, node_id, &storage).await,
        recorded(&commands, channel_id, node_id, &storage).await,
    ];
    let dropping = tokio::spawn(drop_deleted(commands.clone(), storage.clone(), node_id, found));
    let (waiting, folder_of_all) = (&storage, &recordings);
    until("what was deleted meanwhile goes", || async { !waiting.waiting(folder_of_all).contains(&before) }).await;

    // And it follows the log: the node that leads knows nothing of its folder.
    delete(&commands, &bucket, &goes).await;
    until("what is deleted goes", || async { !waiting.waiting(folder_of_all).contains(&goes) }).await;
    assert_eq!(storage.waiting(&recordings), std::slice::from_ref(&stays));
    let moving = tokio::spawn(mover.run());
    until("what stays is moved", || async { server.has(stays.as_str()) }).await;
    assert!(!server.has(before.as_str()) && !server.has(goes.as_str()));
    dropping.abort();
    moving.abort();
}

#[test]
fn a_key_tells_its_recording() {
    const ID: &str = "0192f0aa-7c55-7b3e-8c1f-3c9f2d6a0b11";
    let of = |key: &str| recording_of(&Key::new(key).unwrap());
    assert_eq!(of(&format!("recordings/{ID}/source/s1.m4s")), ID.parse().ok());
    assert_eq!(of(&format!("thumbnails/{ID}.jpg")), None);
    assert_eq!(of("recordings/x/s1.m4s"), None);
}
