//! Objects on a real disk, a full one too.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, path::Path, process::Command, time::SystemTime};

use bytes::Bytes;
use storage::{DiskLevel, DiskThresholds, DiskWatch, Key, Operation, Storage, StorageError};
use tokio::io::AsyncReadExt;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn an_object_is_put_read_replaced_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_disk(folder.path().join("made/on/opening")).await.unwrap();
    let key = key("thumbnails/a.jpg");
    assert_eq!(storage.get(&key).await.unwrap(), None);
    assert_eq!(storage.stat(&key).await.unwrap(), None);
    assert!(!storage.delete(&key).await.unwrap());

    let before = SystemTime::now() - std::time::Duration::from_secs(2);
    storage.put(&key, Bytes::from_static(b"first")).await.unwrap();
    storage.put(&key, Bytes::from_static(b"second")).await.unwrap();
    let object = storage.get(&key).await.unwrap().unwrap();
    assert_eq!(object.bytes, "second");
    assert!(object.modified > before);
    let info = storage.stat(&key).await.unwrap().unwrap();
    assert_eq!((info.size_bytes, info.modified), (6, object.modified));

    // Another process, or this one after a restart, sees the same.
    let again = Storage::open_disk(folder.path().join("made/on/opening")).await.unwrap();
    assert_eq!(again.get(&key).await.unwrap().unwrap().bytes, "second");
    assert!(again.delete(&key).await.unwrap());
    assert!(!storage.delete(&key).await.unwrap());
    assert_eq!(storage.get(&key).await.unwrap(), None);
}

#[tokio::test]
async fn empty_and_large_objects_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    for size in [0, 1, 5_000_000] {
        let bytes = Bytes::from(vec![7; size]);
        storage.put(&key("o"), bytes.clone()).await.unwrap();
        assert_eq!(storage.get(&key("o")).await.unwrap().unwrap().bytes, bytes);
    }
}

#[tokio::test]
async fn a_reader_sees_whole_objects_only() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    let key = key("a/b");
    storage.put(&key, vec![0; 100_000].into()).await.unwrap();
    let writers = (1..=4_u8).map(|number| {
        let (storage, key) = (storage.clone(), key.clone());
        tokio::spawn(async move {
            for _ in 0..20 {
                storage.put(&key, vec![number; 100_000].into()).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for _ in 0..200 {
        let bytes = storage.get(&key).await.unwrap().unwrap().bytes;
        assert_eq!(bytes.len(), 100_000);
        assert!(bytes.iter().all(|byte| *byte == bytes[0]));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(names_in(&folder.path().join("a")), ["b"], "nothing is left behind");
}

#[tokio::test]
async fn what_a_crash_left_is_swept_on_opening() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    storage.put(&key("a/b"), Bytes::from_static(b"kept")).await.unwrap();
    fs::write(folder.path().join("a/.put-0123"), "half").unwrap();
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    assert_eq!(names_in(&folder.path().join("a")), ["b"]);
    assert_eq!(storage.get(&key("a/b")).await.unwrap().unwrap().bytes, "kept");
}

#[tokio::test]
async fn what_is_still_being_written_is_not_swept() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    let mut writer = storage.create(&key("a/b")).await.unwrap();
    writer.write_all(b"first ").unwrap();
    // Another node that shares the folder comes up.
    let other = Storage::open_disk(folder.path()).await.unwrap();
    assert_eq!(other.stat(&key("a/b")).await.unwrap(), None, "nobody sees a half");
    writer.write_all(b"second").unwrap();
    assert_eq!(writer.finish().unwrap(), 12);
    assert_eq!(other.get(&key("a/b")).await.unwrap().unwrap().bytes, "first second");
    let mode = fs::metadata(folder.path().join("a/b")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "for nobody else on the machine");
    let mut dropped = storage.create(&key("a/b")).await.unwrap();
    dropped.write_all(b"never").unwrap();
    drop(dropped);
    assert_eq!(storage.get(&key("a/b")).await.unwrap().unwrap().bytes, "first second");
    assert_eq!(names_in(&folder.path().join("a")), ["b"], "nothing is left behind");
}

#[tokio::test]
async fn a_part_of_an_object_is_read_and_stays_when_the_object_goes() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    let key = key("a/b");
    assert!(storage.read(&key, 0, 1).await.unwrap().is_none());
    storage.put(&key, Bytes::from_static(b"0123456789")).await.unwrap();
    for (start, length, expected) in
        [(0, u64::MAX, "0123456789"), (3, 4, "3456"), (8, 10, "89"), (10, 1, ""), (99, 1, "")]
    {
        let mut reader = storage.read(&key, start, length).await.unwrap().unwrap();
        storage.delete(&key).await.unwrap();
        let mut text = String::new();
        reader.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, expected, "{start} {length}");
        storage.put(&key, Bytes::from_static(b"0123456789")).await.unwrap();
    }
}

#[tokio::test]
async fn folders_are_no_objects() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    storage.put(&key("a/b"), Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(storage.get(&key("a")).await.unwrap(), None);
    assert_eq!(storage.stat(&key("a")).await.unwrap(), None);
    assert!(!storage.delete(&key("a")).await.unwrap());
    // Below an object there is nothing, and nothing can be put there.
    assert_eq!(storage.get(&key("a/b/c")).await.unwrap(), None);
    let error = storage.put(&key("a/b/c"), Bytes::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "storage cannot put a/b/c");
    assert!(storage.put(&key("a"), Bytes::new()).await.is_err());
    assert_eq!(storage.get(&key("a/b")).await.unwrap().unwrap().bytes, "x");
}

#[tokio::test]
async fn a_root_that_cannot_be_made_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Storage::open_disk(file.path().join("below")).await.unwrap_err();
    assert!(matches!(error, StorageError::Io { operation: Operation::Open, .. }), "{error}");
    assert!(!error.is_disk_full());
}

/// A file system of a few pages, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mount = ["-t", "tmpfs", "-o", "size=64k", "tmpfs"];
        let mounted = Command::new("mount").args(mount).arg(folder.path()).output().unwrap();
        assert!(
            mounted.status.success(),
            "no disk can be mounted here; run this test as root, in a container with the capability SYS_ADMIN: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self(folder)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_is_told_apart_and_corrupts_nothing() {
    let disk = SmallDisk::mount();
    let storage = Storage::open_disk(disk.0.path()).await.unwrap();
    storage.put(&key("a"), vec![1; 20_000].into()).await.unwrap();
    let error = storage.put(&key("a"), vec![2; 200_000].into()).await.unwrap_err();
    assert!(error.is_disk_full(), "{error:?}");
    assert_eq!(error.to_string(), "storage is full: cannot put a");
    let object = storage.get(&key("a")).await.unwrap().unwrap();
    assert_eq!(object.bytes, vec![1; 20_000]);
    assert_eq!(names_in(disk.0.path()), ["a"], "the half that fitted is gone");
    storage.put(&key("b"), vec![3; 20_000].into()).await.unwrap();
}

#[tokio::test]
async fn a_disk_that_fills_refuses_recordings_until_there_is_room() {
    let disk = SmallDisk::mount();
    let (watch, mut watcher) = DiskWatch::new(disk.0.path(), DiskThresholds::default());
    assert!(watch.may_record());
    let space = watch.state().space.unwrap();
    assert_eq!((space.size_bytes, space.free_bytes + space.used_bytes), (64 * 1024, 64 * 1024));
    fs::write(disk.0.path().join("a"), vec![1; 60 * 1024]).unwrap();
    watcher.look();
    assert!(!watch.may_record(), "{:?}", watch.state());
    fs::remove_file(disk.0.path().join("a")).unwrap();
    watcher.look();
    assert_eq!(watch.state().level, DiskLevel::Enough);
}

#[tokio::test]
async fn what_cannot_be_looked_into_is_not_taken_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open_disk(folder.path()).await.unwrap();
    let (key, below) = (key("recordings/1/s0.m4s"), key("recordings/1"));
    storage.put(&key, Bytes::from_static(b"x")).await.unwrap();
    // What points to itself cannot be looked into.
    let (objects, aside) = (folder.path().join("recordings"), folder.path().join("aside"));
    fs::rename(&objects, &aside).unwrap();
    std::os::unix::fs::symlink(&objects, &objects).unwrap();
    assert!(storage.delete_prefix(&below).await.is_err());
    assert!(storage.usage(&below).await.is_err());
    assert!(storage.get(&key).await.is_err());
    assert!(storage.delete(&key).await.is_err());
    fs::remove_file(&objects).unwrap();
    fs::rename(&aside, &objects).unwrap();
    assert_eq!(storage.delete_prefix(&below).await.unwrap(), 1);
}
