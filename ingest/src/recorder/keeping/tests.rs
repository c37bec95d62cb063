use std::{collections::HashMap, sync::Mutex};

use domain::{
    ids::StreamId,
    recordings::{FinishedRecording, RecordingFailure},
};
use futures::{FutureExt, future::BoxFuture};
use storage::{Operation, StorageError};
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::*;
use crate::{
    ports::{RecordError, Recordings},
    recorder::{example::broadcast, finishing::finished},
};

/// A storage like a disk: what was begun to be written is written, whether somebody waits for it or not.
#[derive(Default)]
struct Disk {
    objects: Arc<Mutex<HashMap<String, Bytes>>>,
    /// The first writing of this one takes so long.
    slow: Mutex<Option<(String, Duration)>>,
    /// The next writing of this one is refused, as often as it stands here.
    refused: Mutex<Vec<String>>,
    writings: Mutex<Vec<JoinHandle<()>>>,
}

impl Shelf for Disk {
    fn put<'a>(&'a self, key: &'a Key, bytes: Bytes) -> BoxFuture<'a, Result<(), StorageError>> {
        let mut refused = self.refused.lock().unwrap();
        if let Some(place) = refused.iter().position(|name| *name == key.as_str()) {
            refused.remove(place);
            let (operation, object) = (Operation::Put, key.as_str().to_owned());
            let error = StorageError::Unavailable { operation, object, source: "it is away".into() };
            return async { Err(error) }.boxed();
        }
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

/// A write side that says how large a recording may be, and nothing else.
#[derive(Default)]
struct Side {
    /// The limits that it says, the last one again and again.
    limits: Mutex<Vec<Result<Option<u64>, RecordError>>>,
}

impl Recordings for Side {
    fn begin(&self, _: StreamId, _: ChannelId) -> BoxFuture<'_, Result<Option<OpenRecording>, RecordError>> {
        async { Ok(None) }.boxed()
    }

    fn open(&self) -> BoxFuture<'_, Result<Vec<OpenRecording>, RecordError>> {
        async { Ok(Vec::new()) }.boxed()
    }

    fn size_limit(&self, _: ChannelId) -> BoxFuture<'_, Result<Option<u64>, RecordError>> {
        let mut limits = self.limits.lock().unwrap();
        let said = if limits.len() > 1 { limits.remove(0) } else { limits.first().copied().unwrap_or(Ok(None)) };
        async move { said }.boxed()
    }

    fn published(&self, _: RecordingId, _: FinishedRecording) -> BoxFuture<'_, Result<(), RecordError>> {
        async { Ok(()) }.boxed()
    }

    fn failed(&self, _: RecordingId, _: RecordingFailure) -> BoxFuture<'_, Result<(), RecordError>> {
        async { Ok(()) }.boxed()
    }
}

fn keeping(recording_id: RecordingId, disk: &Arc<Disk>) -> Keeping {
    Keeping::new(recording_id, Arc::clone(disk) as Arc<dyn Shelf>, Index::new(recording_id))
}

async fn follow(keeping: &mut Keeping, broadcast: &Broadcast, side: &Side) -> Outcome {
    let need = broadcast.source().holds().need();
    let mut limit = SizeLimit::new(side, Uuid::now_v7().into());
    keeping.follow(broadcast, &DiskWatch::default(), &need, &mut limit).await
}

#[tokio::test]
async fn a_slow_writing_of_the_index_does_not_come_after_a_newer_one() {
    let (broadcast, disk) = (broadcast(8), Arc::new(Disk::default()));
    let recording_id = RecordingId::from(Uuid::now_v7());
    let index = key(recording_id, "source/index/000000.jsonl").unwrap();
    // Longer than the recorder once waited before it began again.
    *disk.slow.lock().unwrap() = Some((index.as_str().to_owned(), 3 * TRY_AGAIN));
    let mut keeping = keeping(recording_id, &disk);
    keeping.store_within = Duration::from_millis(20);
    let outcome = follow(&mut keeping, &broadcast, &Side::default()).await;
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
    let mut keeping = keeping(recording_id, &disk);
    let outcome = follow(&mut keeping, &broadcast, &Side::default()).await.with(&keeping.index);
    assert_eq!((outcome, outcome.label()), (Outcome::WithGaps, "gaps"));
    let finished = finished(&keeping.index, outcome).unwrap();
    assert_eq!((finished.gap_count, finished.cut_short), (1, None));
    assert!(finished.duration_ms < 60_000, "{finished:?}");
}

#[tokio::test]
async fn an_index_that_cannot_be_stored_at_first_names_each_segment_once() {
    let (broadcast, disk) = (broadcast(8), Arc::new(Disk::default()));
    let recording_id = RecordingId::from(Uuid::now_v7());
    let name = |name: &str| key(recording_id, &format!("source/{name}")).unwrap().as_str().to_owned();
    *disk.refused.lock().unwrap() = vec![name("index/000000.jsonl"), name("index/000000.jsonl"), name("s3.m4s")];
    let mut keeping = keeping(recording_id, &disk);
    let outcome = follow(&mut keeping, &broadcast, &Side::default()).await;
    assert_eq!(outcome.with(&keeping.index), Outcome::Whole);
    assert!(disk.refused.lock().unwrap().is_empty());
    let kept = Index::load(recording_id, &*disk).await.unwrap();
    assert_eq!(kept.segments, keeping.index.segments);
    let numbers: Vec<_> = kept.segments.iter().map(|segment| segment.number).collect();
    assert_eq!(numbers, Vec::from_iter(0..8));
}

#[tokio::test]
async fn a_segment_beyond_one_that_is_not_named_yet_comes_after_it() {
    let (broadcast, disk) = (broadcast(8), Arc::new(Disk::default()));
    let recording_id = RecordingId::from(Uuid::now_v7());
    let view = broadcast.source().view().unwrap();
    let taken = |number| Taken::of(view.segment(number).unwrap());
    let name = |name: &str| key(recording_id, &format!("source/{name}")).unwrap().as_str().to_owned();
    let is_stored = |segment: &str| disk.objects.lock().unwrap().contains_key(&name(segment));
    let refuse_index = || disk.refused.lock().unwrap().push(name("index/000000.jsonl"));
    let mut keeping = keeping(recording_id, &disk);
    keeping.keep(&taken(0)).await.unwrap();

    // It is stored, and what would name it is not.
    refuse_index();
    keeping.keep(&taken(1)).await.unwrap_err();
    assert!(is_stored("s1.m4s"));
    assert_eq!((keeping.unnamed, keeping.next), (Some(1), Some(1)));
    // By now the window begins later. Nothing else is kept before that one is named.
    refuse_index();
    keeping.keep(&taken(4)).await.unwrap_err();
    assert!(!is_stored("s4.m4s"));
    keeping.keep(&taken(4)).await.unwrap();

    // The same with one that follows at once: nothing is missing there.
    refuse_index();
    keeping.keep(&taken(5)).await.unwrap_err();
    keeping.keep(&taken(6)).await.unwrap();

    let kept = Index::load(recording_id, &*disk).await.unwrap();
    let kept_so: Vec<_> = kept.segments.iter().map(|segment| (segment.number, segment.is_gap)).collect();
    assert_eq!(kept_so, [(0, false), (1, false), (4, true), (5, false), (6, false)]);

    // One that is never named is no part of the recording.
    refuse_index();
    keeping.keep(&taken(7)).await.unwrap_err();
    assert_eq!(keeping.into_index().segments, kept.segments);
}

#[tokio::test]
async fn a_recording_ends_where_its_channel_allows_no_more() {
    let broadcast = broadcast(8);
    let view = broadcast.source().view().unwrap();
    let init_bytes = view.facts.init.media.bytes.len() as u64;
    let upto = |count: usize| {
        init_bytes + view.facts.segments[..count].iter().map(|segment| segment.bytes.len() as u64).sum::<u64>()
    };
    for (limits, kept, outcome) in [
        (vec![Ok(Some(upto(3)))], 3, Outcome::Short(CutShort::Quota)),
        (vec![Ok(Some(upto(3) - 1))], 2, Outcome::Short(CutShort::Quota)),
        // Something is kept, so that it can be said why there is no more.
        (vec![Ok(Some(1))], 1, Outcome::Short(CutShort::Quota)),
        (vec![Ok(Some(upto(8)))], 8, Outcome::Whole),
        (vec![Ok(None)], 8, Outcome::Whole),
        // Who cannot be asked keeps nobody from recording.
        (vec![Err(RecordError::Unavailable)], 8, Outcome::Whole),
    ] {
        let (recording_id, disk) = (RecordingId::from(Uuid::now_v7()), Arc::new(Disk::default()));
        let mut keeping = keeping(recording_id, &disk);
        let said = format!("{limits:?}");
        let came = follow(&mut keeping, &broadcast, &Side { limits: Mutex::new(limits) }).await;
        assert_eq!((came, keeping.index.segments.len()), (outcome, kept), "{said}");
        let finished = finished(&keeping.into_index(), outcome).unwrap();
        assert_eq!(finished.size_bytes, i64::try_from(upto(kept)).unwrap());
    }
}

#[tokio::test]
async fn a_limit_is_asked_for_anew_while_the_stream_is_on() {
    let limits = vec![Ok(Some(10)), Ok(Some(20)), Err(RecordError::Unavailable), Ok(None)];
    let side = Side { limits: Mutex::new(limits) };
    let mut limit = SizeLimit::new(&side, Uuid::now_v7().into());
    assert!(limit.allows(10).await);
    // It is believed for a while, and then asked for each time.
    limit.believed_for = Duration::ZERO;
    assert!(!limit.allows(11).await);
    limit.ask_at = Instant::now();
    assert!(limit.allows(20).await);
    // While nobody says anything, what was said counts.
    assert!(!limit.allows(21).await);
    assert!(limit.allows(u64::MAX).await);
}
