use std::{
    fs,
    sync::{Arc, atomic::AtomicU64},
};

use domain::{
    ids::{ChannelId, StreamId},
    recordings::{FinishedRecording, RecordingFailure},
};
use futures::{FutureExt, future::BoxFuture};
use storage::DiskWatch;
use uuid::Uuid;

use super::*;
use crate::{
    ports::{OpenRecording, RecordError, Recordings},
    recorder::{Recorder, example},
};

/// What is shown of a stream at this moment is written.
async fn write(tails: &Tails, recording_id: RecordingId, broadcast: &Broadcast, stored_before: u64) {
    let stop = CancellationToken::new();
    stop.cancel();
    tails.write(recording_id, broadcast, &AtomicU64::new(stored_before), &stop).await;
}

fn numbers_of(left: &[Taken]) -> Vec<u64> {
    left.iter().map(|taken| taken.number).collect()
}

#[tokio::test]
async fn what_viewers_are_shown_is_there_after_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let tails = Tails::new(folder.path().join("recording"));
    let recording_id = RecordingId::from(Uuid::now_v7());
    // Three seconds, and most of the fourth.
    let (broadcast, _packager) = example::growing(3 * 30 + 25);
    write(&tails, recording_id, &broadcast, 1).await;

    let view = broadcast.source().view().unwrap();
    let left = tails.left(recording_id, Some(0)).await;
    // The first is stored; the last one grows.
    assert_eq!(numbers_of(&left), [1, 2, 3]);
    let open = view.facts.open.as_ref().unwrap();
    assert!(open.number == 3 && !open.parts.is_empty());
    for (taken, segment) in left.iter().zip([view.segment(1).unwrap(), view.segment(2).unwrap(), open]) {
        let bytes: Vec<u8> = segment.parts.iter().flat_map(|part| part.bytes.to_vec()).collect();
        assert!(taken.bytes == bytes, "segment {}", taken.number);
        assert_eq!(taken.duration_ms, segment.parts.iter().map(|part| part.duration_ms).sum::<u32>());
        assert_eq!(taken.starts_at, segment.starts_at);
        assert_eq!(taken.key_frame_bytes, segment.parts[0].bytes.len() as u64);
        assert_eq!(taken.init, KeptInit::of(&segment.init));
        assert_eq!(taken.init_bytes, segment.init.media.bytes);
    }
    assert_eq!(numbers_of(&tails.left(recording_id, Some(2)).await), [3]);
    assert!(tails.left(Uuid::now_v7().into(), None).await.is_empty());
}

#[tokio::test]
async fn what_is_stored_goes_and_what_grows_stays() {
    let folder = tempfile::tempdir().unwrap();
    let tails = Tails::new(folder.path().to_owned());
    let recording_id = RecordingId::from(Uuid::now_v7());
    let (broadcast, mut packager) = example::growing(4 * 30);
    let (stored_before, stop) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
    let writing = {
        let (tails, broadcast, stored_before) = (tails.clone(), Arc::clone(&broadcast), Arc::clone(&stored_before));
        let stop = stop.clone();
        tokio::spawn(async move { tails.write(recording_id, &broadcast, &stored_before, &stop).await })
    };
    let there = || numbers(&folder.path().join(recording_id.to_string()));
    let until = async |wanted: &[u64]| {
        let poll = async {
            while there() != wanted {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let wait = std::time::Duration::from_secs(120);
        tokio::time::timeout(wait, poll).await.unwrap_or_else(|_| panic!("{:?}, not {wanted:?}", there()));
    };
    until(&[0, 1, 2, 3]).await;
    stored_before.store(3, Ordering::Relaxed);
    packager.finish();
    until(&[3]).await;
    broadcast.end();
    writing.await.unwrap();
    tails.drop(recording_id).await;
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none());
}

#[tokio::test]
async fn what_was_being_written_ends_the_file_and_harms_nothing_before() {
    let folder = tempfile::tempdir().unwrap();
    let tails = Tails::new(folder.path().to_owned());
    let recording_id = RecordingId::from(Uuid::now_v7());
    write(&tails, recording_id, &example::broadcast(1), 0).await;
    let path = folder.path().join(recording_id.to_string()).join("0");
    let whole = fs::read(&path).unwrap();
    let taken = tails.left(recording_id, None).await.remove(0);
    let mut lengths = Vec::new();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let left = tails.left(recording_id, None).await;
        assert!(left.iter().all(|left| taken.bytes.starts_with(&left.bytes)), "{length} bytes of {}", whole.len());
        lengths.push(left.first().map_or(0, |left| left.bytes.len()));
    }
    lengths.dedup();
    // Part by part: of the last one no byte is there before all are.
    assert!(lengths.is_sorted() && (2..=4).contains(&lengths.len()), "{lengths:?}");
    // What the disk has not kept although it says so.
    let mut damaged = whole.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    fs::write(&path, &damaged).unwrap();
    assert_eq!(Some(&tails.left(recording_id, None).await[0].bytes.len()), lengths.last());
    fs::write(&path, vec![0; whole.len()]).unwrap();
    assert!(tails.left(recording_id, None).await.is_empty());
}

/// A write side that has one open recording, and knows of one that is over.
struct Side {
    open: RecordingId,
    over: RecordingId,
    unreadable: RecordingId,
}

impl Recordings for Side {
    fn begin(&self, _: StreamId, _: ChannelId) -> BoxFuture<'_, Result<Option<OpenRecording>, RecordError>> {
        async { Ok(None) }.boxed()
    }

    fn open(&self) -> BoxFuture<'_, Result<Vec<OpenRecording>, RecordError>> {
        let (stream_id, channel_id) = (Uuid::now_v7().into(), Uuid::now_v7().into());
        let open = OpenRecording { recording_id: self.open, stream_id, channel_id };
        async move { Ok(vec![open]) }.boxed()
    }

    fn is_over(&self, recording_id: RecordingId) -> BoxFuture<'_, Result<bool, RecordError>> {
        let answer =
            if recording_id == self.unreadable { Err(RecordError::Unavailable) } else { Ok(recording_id == self.over) };
        async move { answer }.boxed()
    }

    fn published(&self, _: RecordingId, _: FinishedRecording) -> BoxFuture<'_, Result<(), RecordError>> {
        async { Ok(()) }.boxed()
    }

    fn failed(&self, _: RecordingId, _: RecordingFailure) -> BoxFuture<'_, Result<(), RecordError>> {
        async { Ok(()) }.boxed()
    }
}

#[tokio::test]
async fn what_is_left_of_recordings_that_are_over_goes_and_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let tails = Tails::new(folder.path().to_owned());
    let [open, over, unreadable, unknown] = [(); 4].map(|()| RecordingId::from(Uuid::now_v7()));
    let broadcast = example::broadcast(2);
    for recording_id in [open, over, unreadable, unknown] {
        write(&tails, recording_id, &broadcast, 0).await;
    }
    fs::write(folder.path().join("not-ours"), "").unwrap();
    let side = Arc::new(Side { open, over, unreadable });
    let recorder = Recorder::new(Arc::clone(&side) as _, DiskWatch::default());
    let found = recorder.clone().with_folder(folder.path().to_owned()).open(&CancellationToken::new()).await;
    assert_eq!(found.iter().map(|open| open.recording_id).collect::<Vec<_>>(), [open]);
    let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    let mut expected = [open, unreadable, unknown].map(|left| std::ffi::OsString::from(left.to_string())).to_vec();
    expected.push("not-ours".into());
    expected.sort();
    assert_eq!(names, expected);
    // Where nothing ever was there is nothing to do.
    recorder.with_folder(folder.path().join("nothing")).open(&CancellationToken::new()).await;
}
