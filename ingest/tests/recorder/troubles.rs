//! A disk that is full, a storage that is away, and a recording that is deleted while it is made.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::recordings::{CutShort, RecordingFailure};
use storage::{DiskSpace, DiskThresholds, DiskWatch, Storage};
use tokio::time::timeout;

use crate::{
    Plane, clips,
    plane::{Told, source},
    platform::LONG,
    probe, server,
};

#[tokio::test]
async fn a_full_disk_ends_the_recording_and_not_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let is_full = Arc::new(AtomicBool::new(false));
    let probe_full = Arc::clone(&is_full);
    let space = move || {
        let free_bytes = if probe_full.load(Ordering::SeqCst) { 0 } else { 90 << 30 };
        Ok(DiskSpace { free_bytes, used_bytes: (100 << 30) - free_bytes, size_bytes: 100 << 30 })
    };
    let (disk, watcher) = DiskWatch::with_probe(space, DiskThresholds::default());
    tokio::spawn(watcher.run());
    let plane = Plane::start_with(folder.path(), Arc::default(), Arc::default(), disk.clone()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    let tags = clips(12);
    let (first, rest) = tags.split_at(tags.len() / 3);
    peer.send_tags(first).await;
    let id = plane.archive.begun().await.recording_id;
    let index = source(folder.path(), id).join("index/000000.jsonl");
    let kept = async {
        while !index.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, kept).await.unwrap();
    is_full.store(true, Ordering::SeqCst);
    let mut state = disk.subscribe();
    timeout(LONG, state.wait_for(|_| !disk.may_record())).await.unwrap().unwrap();
    peer.send_tags(rest).await;
    let (_, finished) = plane.archive.published().await;
    assert_eq!(finished.cut_short, Some(CutShort::StorageFull));
    assert!((2_000..20_000).contains(&finished.duration_ms), "{finished:?}");
    // The stream does not know.
    let stream = plane.platform.started().await;
    assert_eq!(plane.get(&format!("live/{stream}/index.m3u8")).await.status(), 200);
    assert!(!plane.text(&format!("live/{stream}/source/index.m3u8")).await.contains("ENDLIST"));
    peer.unpublish("key").await;
    let (seconds, _) = probe(&plane.url(&format!("vod/{id}/index.m3u8"))).await;
    assert!(seconds * 1_000.0 <= finished.duration_ms as f64 + 100.0, "{seconds}");
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn a_disk_that_is_full_from_the_start_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let space = || Ok(DiskSpace { free_bytes: 0, used_bytes: 100 << 30, size_bytes: 100 << 30 });
    let (disk, _watcher) = DiskWatch::with_probe(space, DiskThresholds::default());
    let plane = Plane::start_with(folder.path(), Arc::default(), Arc::default(), disk).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(3)).await;
    let failed = plane.archive.until(|told| matches!(told, Told::Failed(..))).await;
    assert!(matches!(failed, Told::Failed(_, RecordingFailure::StorageFull)), "{failed:?}");
    let stream = plane.platform.started().await;
    assert_eq!(plane.get(&format!("live/{stream}/index.m3u8")).await.status(), 200);
    peer.unpublish("key").await;
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn a_channel_that_allows_no_more_ends_the_recording_and_not_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    // A second of the clip has some 40 kB.
    *plane.archive.size_limit.lock().unwrap() = Some(200_000);
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(6)).await;
    let (id, finished) = plane.archive.published().await;
    assert_eq!((finished.cut_short, finished.gap_count), (Some(CutShort::Quota), 0));
    assert!((1..=200_000).contains(&finished.size_bytes), "{finished:?}");
    // The stream does not know, and the recording plays meanwhile.
    let stream = plane.platform.started().await;
    assert!(!plane.text(&format!("live/{stream}/source/index.m3u8")).await.contains("ENDLIST"));
    let (seconds, _) = probe(&plane.url(&format!("vod/{id}/index.m3u8"))).await;
    assert!((seconds * 1_000.0 - finished.duration_ms as f64).abs() < 200.0, "{seconds}");
    peer.unpublish("key").await;
    plane.ingest.shutdown().await;
    assert_eq!(plane.archive.told.borrow().len(), 2, "begun and published, once");
}

#[tokio::test]
async fn a_storage_that_takes_nothing_for_a_while_costs_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    // A file where the folder should be: nothing can be stored.
    let blocked = folder.path().join("recordings");
    std::fs::write(&blocked, "in the way").unwrap();
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(4)).await;
    let stream = plane.platform.started().await;
    plane.until_segments(stream, 3).await;
    plane.archive.begun().await;
    tokio::fs::remove_file(&blocked).await.unwrap();
    peer.unpublish("key").await;
    let (_, finished) = plane.archive.published().await;
    assert_eq!((finished.gap_count, finished.cut_short), (0, None));
    assert!((11_500..=12_500).contains(&finished.duration_ms), "{finished:?}");
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn s3_that_is_away_for_a_while_costs_nothing() {
    let mut server = server::Server::start().await;
    let storage = Storage::open_s3(server.options()).unwrap();
    server.stop().await;
    let plane = Plane::start_on(storage.clone(), Arc::default(), Arc::default(), DiskWatch::default()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(4)).await;
    let stream = plane.platform.started().await;
    // The stream does not wait for it.
    plane.until_segments(stream, 3).await;
    plane.archive.begun().await;
    server.start_again();
    peer.unpublish("key").await;
    let (id, finished) = plane.archive.published().await;
    assert_eq!((finished.gap_count, finished.cut_short), (0, None));
    assert!((11_500..=12_500).contains(&finished.duration_ms), "{finished:?}");
    for address in ["index.m3u8", "download.mp4"] {
        let (seconds, _) = probe(&plane.url(&format!("vod/{id}/{address}"))).await;
        assert!((11.5..=12.5).contains(&seconds), "{address}: {seconds}");
    }
    // Away again, it says so, and does not play nothing.
    server.stop().await;
    assert_eq!(plane.get(&format!("vod/{id}/source/s0.m4s")).await.status(), 503);
    server.start_again();
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn what_is_deleted_while_it_is_made_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(3)).await;
    let id = plane.archive.begun().await.recording_id;
    plane.archive.forgets.store(true, Ordering::SeqCst);
    peer.unpublish("key").await;
    plane.archive.published().await;
    let gone = async {
        while folder.path().join(format!("recordings/{id}")).exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, gone).await.expect("what was stored goes");
    plane.ingest.shutdown().await;
}
