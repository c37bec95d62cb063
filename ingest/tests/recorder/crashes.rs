//! What a crash leaves, and what becomes of it.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{ids::StreamId, recordings::CutShort};
use ingest::{OpenRecording, OpenStream};
use storage::DiskWatch;
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::{
    Plane, clips,
    plane::{Archive, source},
    platform::{LONG, Platform},
    probe,
};

/// A recording of so many clips as a crash leaves it: not published, its stream open.
async fn left_by_a_crash(folder: &Path, count: u32) -> (OpenRecording, usize) {
    let plane = Plane::start(folder).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(count)).await;
    let open = plane.archive.begun().await;
    let index = source(folder, open.recording_id).join("index/000000.jsonl");
    // Of a second each; the last one grows.
    let wanted = count as usize * 3 - 1;
    let kept = || std::fs::read_to_string(&index).unwrap_or_default().matches("\"segment\"").count();
    let all = async {
        while kept() < wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, all).await.unwrap_or_else(|_| panic!("{} of {wanted} kept", kept()));
    // The process goes with all that it holds; whatever its tasks still do, the next one reads only what is stored now.
    copy(folder, &folder.with_extension("after"), &["recordings"]);
    let segments = kept();
    plane.ingest.shutdown().await;
    (open, segments)
}

/// Of nothing else: pictures of the stream may be about to be stored, whose files change their names meanwhile.
fn copy(from: &Path, to: &Path, parts: &[&str]) {
    for part in parts {
        let target = to.join(part);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        let copied = std::process::Command::new("cp").arg("-r").arg(from.join(part)).arg(&target).status().unwrap();
        assert!(copied.success(), "{part}");
    }
}

#[tokio::test]
async fn a_recording_is_finished_after_a_crash_from_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (open, segments) = left_by_a_crash(folder.path(), 4).await;
    let after = folder.path().with_extension("after");
    let archive = Arc::<Archive>::default();
    archive.left_open.lock().unwrap().push(open);
    let plane = Plane::start_with(&after, Arc::default(), archive, DiskWatch::default()).await;
    let (id, finished) = plane.archive.published().await;
    assert_eq!(id, open.recording_id);
    assert_eq!((finished.cut_short, finished.gap_count), (Some(CutShort::Crashed), 0));
    // The segment that was growing is lost, and no other.
    assert!((10_500..=12_000).contains(&finished.duration_ms), "{finished:?}");
    let media = plane.text(&format!("vod/{id}/source/index.m3u8")).await;
    assert_eq!(media.matches("#EXTINF").count(), segments, "{media}");
    let (seconds, _) = probe(&plane.url(&format!("vod/{id}/index.m3u8"))).await;
    assert!((seconds * 1_000.0 - finished.duration_ms as f64).abs() < 200.0, "{seconds}");
    plane.ingest.shutdown().await;
    std::fs::remove_dir_all(after).unwrap();
}

#[tokio::test]
async fn a_recording_goes_on_with_its_stream_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let (open, _) = left_by_a_crash(folder.path(), 4).await;
    let after = folder.path().with_extension("after");
    let (archive, platform) = (Arc::<Archive>::default(), Arc::<Platform>::default());
    archive.left_open.lock().unwrap().push(open);
    let channel_id = platform.channel("key");
    let started_at = OffsetDateTime::now_utc() - Duration::from_secs(12);
    platform.leave_open(OpenStream { stream_id: open.stream_id, channel_id, started_at });
    let plane = Plane::start_with(&after, platform, archive, DiskWatch::default()).await;
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(3)).await;
    plane.until_segments(open.stream_id, 2).await;
    peer.unpublish("key").await;
    let (id, finished) = plane.archive.published().await;
    assert_eq!((id, finished.gap_count, finished.cut_short), (open.recording_id, 1, None));
    assert!((19_000..=21_000).contains(&finished.duration_ms), "{finished:?}");
    let media = plane.text(&format!("vod/{id}/source/index.m3u8")).await;
    assert_eq!(media.matches("#EXT-X-DISCONTINUITY\n").count(), 1, "{media}");
    assert_eq!(media.matches("#EXT-X-MAP").count(), 2, "{media}");
    // Times begin anew after the crash; in the file they go on.
    let (seconds, pictures) = probe(&plane.url(&format!("vod/{id}/download.mp4"))).await;
    assert!((seconds * 1_000.0 - finished.duration_ms as f64).abs() < 200.0, "{seconds}");
    assert!((570..=630).contains(&pictures), "{pictures}");
    plane.ingest.shutdown().await;
    std::fs::remove_dir_all(after).unwrap();
}

/// What a viewer has of a stream: its whole segments by number, and how long the parts after the last of them are together.
async fn shown(plane: &Plane, stream: StreamId) -> (BTreeMap<u64, Bytes>, f64) {
    let playlist = plane.text(&format!("live/{stream}/source/index.m3u8")).await;
    let (mut segments, mut grown) = (BTreeMap::new(), 0.0);
    for line in playlist.lines() {
        if let Some(number) = line.strip_prefix('s').and_then(|line| line.strip_suffix(".m4s")?.parse().ok()) {
            let bytes = plane.get(&format!("live/{stream}/source/{line}")).await.bytes().await.unwrap();
            segments.insert(number, bytes);
            grown = 0.0;
        } else if let Some(part) = line.strip_prefix("#EXT-X-PART:DURATION=") {
            grown += part.split(',').next().unwrap().parse::<f64>().unwrap();
        }
    }
    (segments, grown)
}

#[tokio::test]
async fn what_viewers_had_is_kept_although_the_storage_took_nothing_before_the_crash() {
    let folder = tempfile::tempdir().unwrap();
    // A file where the folder should be: nothing can be stored.
    let blocked = folder.path().join("objects/recordings");
    let plane = Plane::start_beside(folder.path(), Arc::default(), Arc::default()).await;
    std::fs::write(&blocked, "in the way").unwrap();
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(4)).await;
    let open = plane.archive.begun().await;
    // Eleven seconds are whole, and some of the twelfth is shown.
    plane.until_segments(open.stream_id, 11).await;
    let (segments, grown) = shown(&plane, open.stream_id).await;
    let beside = folder.path().join(format!("recording/{}", open.recording_id));
    let last = *segments.keys().last().unwrap();
    let growing = beside.join((last + 1).to_string());
    let written = async {
        // More than what comes before the first part.
        while std::fs::metadata(&growing).map_or(0, |file| file.len()) < 5_000 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, written).await.expect("what grows is written");
    // The process goes with all that it holds; whatever its tasks still do, the next one reads only what is there now.
    let after = folder.path().with_extension("after");
    // There is nothing in the storage.
    copy(folder.path(), &after, &["recording"]);
    std::fs::remove_file(&blocked).unwrap();
    plane.ingest.shutdown().await;

    let archive = Arc::<Archive>::default();
    archive.left_open.lock().unwrap().push(open);
    let plane = Plane::start_beside(&after, Arc::default(), archive).await;
    let (id, finished) = plane.archive.published().await;
    assert_eq!((finished.cut_short, finished.gap_count), (Some(CutShort::Crashed), 0));
    for (number, bytes) in &segments {
        let kept = plane.get(&format!("vod/{id}/source/s{number}.m4s")).await;
        assert_eq!(kept.status(), 200, "segment {number}");
        assert!(kept.bytes().await.unwrap() == *bytes, "segment {number}");
    }
    let whole = segments.len() as f64;
    let kept = finished.duration_ms as f64 / 1_000.0;
    assert!((whole + 0.1..=whole + 1.1).contains(&kept), "{kept} s of {whole} s and {grown} s that grew");
    let (seconds, _) = probe(&plane.url(&format!("vod/{id}/index.m3u8"))).await;
    assert!((seconds - kept).abs() < 0.2, "{seconds}");
    // It is not needed any more.
    let gone = async {
        while after.join(format!("recording/{id}")).exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, gone).await.expect("what was beside the storage goes");
    plane.ingest.shutdown().await;
    std::fs::remove_dir_all(after).unwrap();
}
