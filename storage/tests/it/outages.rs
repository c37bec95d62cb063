//! A server that is slow, refuses, goes and comes back.

use std::{
    fs,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use storage::{Key, Mover, S3Options, Storage, StorageError};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::server::{Server, until};

const LARGE: usize = 17 * 1024 * 1024;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

/// A storage whose objects are being moved until it is dropped, as by a process that is killed.
struct Running {
    storage: Storage,
    moving: JoinHandle<()>,
}

impl Running {
    async fn open(folder: &Path, options: S3Options) -> Self {
        let (storage, mover): (_, Mover) = Storage::open_spooled(folder, options).await.unwrap();
        Self { storage, moving: tokio::spawn(mover.run()) }
    }

    async fn kill(self) {
        self.moving.abort();
        assert!(self.moving.await.unwrap_err().is_cancelled());
    }
}

async fn bytes_of(storage: &Storage, text: &str) -> Option<Bytes> {
    storage.get(&key(text)).await.unwrap().map(|object| object.bytes)
}

fn is_unavailable<T: std::fmt::Debug>(result: Result<T, StorageError>) -> bool {
    let error = result.unwrap_err();
    error.is_retryable() && matches!(error, StorageError::Unavailable { .. })
}

#[tokio::test]
async fn an_absent_server_is_told_apart() {
    let mut server = Server::start().await;
    let storage = Storage::open_s3(server.options()).unwrap();
    storage.put(&key("a"), Bytes::from_static(b"x")).await.unwrap();
    server.stop().await;
    assert!(is_unavailable(storage.put(&key("a"), Bytes::new()).await));
    assert!(is_unavailable(storage.get(&key("a")).await));
    assert!(is_unavailable(storage.stat(&key("a")).await));
    assert!(is_unavailable(storage.delete(&key("a")).await));
    assert!(is_unavailable(storage.list_prefix(&key("a"), None, 1).await));
    assert!(is_unavailable(storage.check().await));
    server.start_again();
    assert_eq!(bytes_of(&storage, "a").await.unwrap(), "x");
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_bucket_are_told_apart() {
    let server = Server::start().await;
    let mut options = server.options();
    options.secret_key = "another".to_owned();
    assert!(!format!("{options:?}").contains("another"), "a secret is never shown");
    let storage = Storage::open_s3(options).unwrap();
    assert!(!format!("{storage:?}").contains("another"), "a secret is never shown");
    for error in [
        storage.check().await.unwrap_err(),
        storage.put(&key("a"), Bytes::new()).await.unwrap_err(),
        storage.get(&key("a")).await.unwrap_err(),
    ] {
        assert!(matches!(error, StorageError::Denied { .. }) && !error.is_retryable(), "{error:?}");
    }
    let mut options = server.options();
    options.bucket = "no-such-bucket".to_owned();
    let storage = Storage::open_s3(options).unwrap();
    let error = storage.check().await.unwrap_err();
    assert!(matches!(error, StorageError::NoBucket { .. }), "{error:?}");
}

#[tokio::test]
async fn options_that_can_never_be_right_are_refused() {
    let error = Storage::open_s3(S3Options::new("weir", "garage")).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("the server's address is missing"), "{cause}");
    assert!(Storage::open_s3(S3Options::new("weir", "eu-central-1")).is_ok(), "a region of AWS has an address");
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = S3Options::new("weir", "us-east-1");
    options.endpoint = Some(format!("http://{}", listener.local_addr().unwrap()));
    options.timeout = Duration::from_millis(100);
    let storage = Storage::open_s3(options).unwrap();
    assert!(is_unavailable(storage.get(&key("a")).await));
}

#[tokio::test]
async fn a_busy_server_is_asked_again() {
    let server = Server::start().await;
    let storage = Storage::open_s3(server.options()).unwrap();
    server.refuse(2);
    storage.put(&key("a"), Bytes::from_static(b"x")).await.unwrap();
    server.refuse(3);
    assert!(is_unavailable(storage.put(&key("a"), Bytes::from_static(b"y")).await));
    assert_eq!(bytes_of(&storage, "a").await.unwrap(), "x");
}

#[tokio::test]
async fn an_upload_that_fails_leaves_no_parts() {
    let server = Server::start().await;
    let storage = Storage::open_s3(server.options()).unwrap();
    let mut writer = storage.writer(&key("a")).await.unwrap();
    writer.write(vec![1; LARGE].into()).await.unwrap();
    assert!(server.unfinished_uploads() > 0, "two parts are there");
    server.refuse(3);
    assert!(is_unavailable(writer.write(vec![1; LARGE].into()).await));
    assert!(writer.finish().await.is_err(), "what is not whole is not stored");
    until("the parts are gone", async || server.unfinished_uploads() == 0).await;
    assert_eq!(bytes_of(&storage, "a").await, None);
}

#[tokio::test]
async fn many_are_deleted_by_few_requests() {
    let server = Server::start().await;
    let storage = Storage::open_s3(server.options()).unwrap();
    for number in 0..30 {
        storage.put(&key(&format!("r/{number}")), Bytes::new()).await.unwrap();
    }
    server.asked();
    assert_eq!(storage.delete_prefix(&key("r")).await.unwrap(), 30);
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn what_is_written_during_an_outage_is_moved_when_it_is_over() {
    let mut server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    server.stop().await;
    let running = Running::open(folder.path(), server.options()).await;
    let storage = &running.storage;
    storage.put(&key("r/1/s0.m4s"), Bytes::from_static(b"first")).await.unwrap();
    let mut writer = storage.writer(&key("r/1/large.mp4")).await.unwrap();
    writer.write(vec![7; LARGE].into()).await.unwrap();
    writer.finish().await.unwrap();
    assert_eq!(bytes_of(storage, "r/1/s0.m4s").await.unwrap(), "first", "it is served from disk");
    let part = storage.get_range(&key("r/1/large.mp4"), 10, 3).await.unwrap().unwrap();
    assert_eq!(part, [7; 3][..]);
    assert_eq!(storage.presign_get(&key("r/1/s0.m4s"), "a", Duration::from_secs(1)).await.unwrap(), None);
    assert!(is_unavailable(storage.get(&key("r/1/other")).await), "nobody can say whether it is there");
    assert!(is_unavailable(storage.list_prefix(&key("r"), None, 10).await));
    assert!(is_unavailable(storage.direct().put(&key("e"), Bytes::new()).await));

    // The process is killed and comes back while the server is still away.
    running.kill().await;
    let running = Running::open(folder.path(), server.options()).await;
    let storage = &running.storage;
    assert_eq!(bytes_of(storage, "r/1/s0.m4s").await.unwrap(), "first");

    server.start_again();
    until("all is moved", async || !folder.path().join("r").exists()).await;
    assert!(server.has("r/1/s0.m4s") && server.has("r/1/large.mp4"));
    assert_eq!(server.unfinished_uploads(), 0);
    assert_eq!(bytes_of(storage, "r/1/s0.m4s").await.unwrap(), "first");
    assert_eq!(bytes_of(storage, "r/1/large.mp4").await.unwrap().len(), LARGE);
    assert!(storage.presign_get(&key("r/1/s0.m4s"), "a", Duration::from_secs(1)).await.unwrap().is_some());
    assert_eq!(storage.usage(&key("r")).await.unwrap().objects, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_in_the_middle_of_a_move_loses_nothing() {
    let mut server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path(), server.options()).await;
    for number in 0..40 {
        let content = format!("{number}").repeat(20_000);
        running.storage.put(&key(&format!("r/{number}")), content.into()).await.unwrap();
    }
    until("some are moved", async || server.has("r/3")).await;
    server.stop().await;
    for number in 40..60 {
        let content = format!("{number}").repeat(20_000);
        running.storage.put(&key(&format!("r/{number}")), content.into()).await.unwrap();
    }
    server.start_again();
    until("all is moved", async || !folder.path().join("r").exists()).await;
    for number in 0..60 {
        let content = format!("{number}").repeat(20_000);
        assert_eq!(bytes_of(&running.storage, &format!("r/{number}")).await.unwrap(), content);
    }
}

#[tokio::test]
async fn what_is_deleted_during_an_outage_is_gone_after_it() {
    let mut server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path(), server.options()).await;
    let storage = &running.storage;
    storage.put(&key("r/1/moved"), Bytes::from_static(b"x")).await.unwrap();
    until("it is moved", async || server.has("r/1/moved") && !folder.path().join("r").exists()).await;
    server.stop().await;
    storage.put(&key("r/1/waits"), Bytes::from_static(b"x")).await.unwrap();
    // Whether S3 has it nobody can say, so whoever deletes has to ask again.
    assert!(is_unavailable(storage.delete_prefix(&key("r/1")).await));
    assert!(is_unavailable(storage.delete(&key("r/1/waits")).await));
    assert!(!folder.path().join("r/1/waits").exists(), "but what is here is gone at once");
    server.start_again();
    assert_eq!(storage.delete_prefix(&key("r/1")).await.unwrap(), 1);
    assert!(!server.has("r/1/moved") && !server.has("r/1/waits"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_of_many_versions_stays_however_they_are_moved() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path(), server.options()).await;
    for number in 0..200 {
        // Some past the folder, as whoever else writes would.
        let storage = if number % 50 == 49 { running.storage.direct() } else { running.storage.clone() };
        storage.put(&key("thumbnails/a.jpg"), format!("version {number}").into()).await.unwrap();
        let found = bytes_of(&running.storage, "thumbnails/a.jpg").await.unwrap();
        assert_eq!(found, format!("version {number}"), "it is read as it was written");
    }
    until("all is moved", async || !folder.path().join("thumbnails").exists()).await;
    assert_eq!(bytes_of(&running.storage, "thumbnails/a.jpg").await.unwrap(), "version 199");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_while_it_is_moved_does_not_come_back() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path(), server.options()).await;
    let storage = &running.storage;
    for round in 0..20 {
        for number in 0..10 {
            storage.put(&key(&format!("r/{round}/{number}")), vec![1; 50_000].into()).await.unwrap();
        }
        assert!(storage.delete(&key(&format!("r/{round}/3"))).await.unwrap());
        assert_eq!(storage.delete_prefix(&key(&format!("r/{round}"))).await.unwrap(), 9);
        assert_eq!(storage.usage(&key("r")).await.unwrap().objects, 0);
    }
    storage.put(&key("last"), Bytes::new()).await.unwrap();
    until("all is moved", async || !folder.path().join("last").exists()).await;
    assert_eq!(storage.usage(&key("r")).await.unwrap().objects, 0);
}

#[tokio::test]
async fn what_lay_on_disk_before_moves_when_s3_is_configured() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let before = Storage::open_disk(folder.path()).await.unwrap();
    before.put(&key("exports/a"), Bytes::from_static(b"old")).await.unwrap();
    fs::write(folder.path().join("exports/.put-0123"), "half").unwrap();
    let running = Running::open(folder.path(), server.options()).await;
    until("all is moved", async || server.has("exports/a") && !folder.path().join("exports").exists()).await;
    assert_eq!(bytes_of(&running.storage, "exports/a").await.unwrap(), "old");
}

#[tokio::test]
async fn one_process_at_a_time_moves_what_is_in_a_folder() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let first = Storage::open_spooled(folder.path(), server.options()).await.unwrap();
    let error = Storage::open_spooled(folder.path(), server.options()).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("another process moves"), "{cause}");
    drop(first);
    Storage::open_spooled(folder.path(), server.options()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_find_an_object_at_every_moment_of_its_move() {
    let server = Server::start().await;
    let folder = tempfile::tempdir().unwrap();
    let running = Running::open(folder.path(), server.options()).await;
    static DONE: AtomicBool = AtomicBool::new(false);
    static READS: AtomicU64 = AtomicU64::new(0);
    let reading = tokio::spawn({
        let storage = running.storage.clone();
        async move {
            while !DONE.load(Ordering::Relaxed) {
                if let Some(object) = storage.get(&key("r/0")).await.unwrap() {
                    assert_eq!(object.bytes, "content");
                    READS.fetch_add(1, Ordering::Relaxed);
                } else {
                    assert_eq!(READS.load(Ordering::Relaxed), 0, "it was there before");
                }
            }
        }
    });
    for _ in 0..50 {
        running.storage.put(&key("r/0"), Bytes::from_static(b"content")).await.unwrap();
        until("it is moved", async || !folder.path().join("r").exists()).await;
    }
    until("it is read", async || READS.load(Ordering::Relaxed) > 0 || reading.is_finished()).await;
    DONE.store(true, Ordering::Relaxed);
    reading.await.unwrap();
}
