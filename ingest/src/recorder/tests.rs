use std::{collections::HashMap, sync::Mutex};

use bytes::Bytes;
use futures::FutureExt;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::*;
use crate::packager::{FirstNumbers, Packager, PackagerConfig, Tag, TagKind};

/// The parameter sets of x264 for 1920x1080.
const CONFIG: &[u8] = &[
    1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 27, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44,
    0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58, 1, 0, 4, 0x68, 0xeb, 0xe3,
    0xcb,
];

/// A stream of so many seconds with a key frame in each, which has ended.
fn broadcast(seconds: u32) -> Arc<Broadcast> {
    let config = PackagerConfig { max_ahead_ms: u32::MAX, ..PackagerConfig::default() };
    let broadcast = Broadcast::new(Uuid::now_v7().into(), config, FirstNumbers::default());
    let mut packager = Packager::new(Arc::clone(&broadcast));
    let mut push = |timestamp_ms, body: Vec<u8>| {
        packager.push(Tag { kind: TagKind::Video, timestamp_ms, body: body.into() }).unwrap();
    };
    push(0, [&[0x17, 0, 0, 0, 0], CONFIG].concat());
    for picture in 0..30 * seconds {
        let (kind, slice) = if picture.is_multiple_of(30) { (0x17, 0x65) } else { (0x27, 0x41) };
        push(picture * 100 / 3, vec![kind, 1, 0, 0, 0, 0, 0, 0, 2, slice, 9]);
    }
    packager.finish();
    broadcast.end();
    broadcast
}

/// A storage like a disk: what was begun to be written is written, whether somebody waits for it or not.
#[derive(Default)]
struct Disk {
    objects: Arc<Mutex<HashMap<String, Bytes>>>,
    /// The first writing of this one takes so long.
    slow: Mutex<Option<(String, Duration)>>,
    writings: Mutex<Vec<JoinHandle<()>>>,
}

impl Shelf for Disk {
    fn put<'a>(&'a self, key: &'a Key, bytes: Bytes) -> BoxFuture<'a, Result<(), StorageError>> {
        let mut slow = self.slow.lock().unwrap();
        let takes = slow.take_if(|(of, _)| *of == key.as_str()).map(|(_, takes)| takes);
        let (objects, name) = (Arc::clone(&self.objects), key.as_str().to_owned());
        let (done, is_done) = tokio::sync::oneshot::channel();
        let writing = tokio::spawn(async move {
            if let Some(takes) = takes {
                sleep(takes).await;
            }
            objects.lock().unwrap().insert(name, bytes);
            let _ = done.send(());
        });
        self.writings.lock().unwrap().push(writing);
        async move {
            is_done.await.unwrap();
            Ok(())
        }
        .boxed()
    }

    fn get<'a>(&'a self, key: &'a Key) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>> {
        let found = self.objects.lock().unwrap().get(key.as_str()).cloned();
        async move { Ok(found) }.boxed()
    }

    fn beginning<'a>(&'a self, key: &'a Key, _: u64) -> BoxFuture<'a, Result<Option<Bytes>, StorageError>> {
        self.get(key)
    }

    fn delete_below<'a>(&'a self, folder: &'a Key) -> BoxFuture<'a, Result<(), StorageError>> {
        let folder = format!("{}/", folder.as_str());
        self.objects.lock().unwrap().retain(|key, _| !key.starts_with(&folder));
        async { Ok(()) }.boxed()
    }
}

#[tokio::test]
async fn a_slow_writing_of_the_index_does_not_come_after_a_newer_one() {
    let (broadcast, disk) = (broadcast(8), Arc::new(Disk::default()));
    let recording_id = RecordingId::from(Uuid::now_v7());
    let index = key(recording_id, "source/index/000000.jsonl").unwrap();
    // Longer than the recorder once waited before it began again.
    *disk.slow.lock().unwrap() = Some((index.as_str().to_owned(), 3 * TRY_AGAIN));
    let mut keeping = Keeping {
        recording_id,
        shelf: Arc::clone(&disk) as Arc<dyn Shelf>,
        index: Index::new(recording_id),
        next: None,
        store_within: Duration::from_millis(20),
    };
    let need = broadcast.source().holds().need();
    let outcome = keeping.follow(&broadcast, &DiskWatch::default(), &need).await;
    assert_eq!(outcome.with(&keeping.index), Outcome::Whole);
    let writings = std::mem::take(&mut *disk.writings.lock().unwrap());
    for writing in writings {
        writing.await.unwrap();
    }
    let kept = Index::load(recording_id, &*disk).await.unwrap();
    assert_eq!(kept.segments, keeping.index.segments);
    assert_eq!(kept.segments.len(), 8);
}

#[tokio::test]
async fn what_has_left_the_window_is_a_gap_and_the_recording_is_not_whole() {
    // The recorder comes so late that the beginning is no longer in memory.
    let (broadcast, disk) = (broadcast(90), Arc::new(Disk::default()));
    let recording_id = RecordingId::from(Uuid::now_v7());
    let mut keeping = Keeping {
        recording_id,
        shelf: Arc::clone(&disk) as Arc<dyn Shelf>,
        index: Index::new(recording_id),
        next: None,
        store_within: STORE_WITHIN,
    };
    let need = broadcast.source().holds().need();
    let outcome = keeping.follow(&broadcast, &DiskWatch::default(), &need).await.with(&keeping.index);
    assert_eq!((outcome, outcome.label()), (Outcome::WithGaps, "gaps"));
    let finished = finished(&keeping.index, outcome).unwrap();
    assert_eq!((finished.gap_count, finished.cut_short), (1, None));
    assert!(finished.duration_ms < 60_000, "{finished:?}");
}
