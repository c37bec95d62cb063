//! What is kept, and how it is had again.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::timeout;

use crate::{Plane, clips, plane::source, platform::LONG, probe};

#[tokio::test]
async fn what_viewers_got_is_kept_and_plays_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(5)).await;
    let stream = plane.platform.started().await;
    plane.until_segments(stream, 3).await;
    let live = plane.get(&format!("live/{stream}/source/s1.m4s")).await.bytes().await.unwrap();
    peer.unpublish("key").await;

    let (id, finished) = plane.archive.published().await;
    assert!((14_500..=15_500).contains(&finished.duration_ms), "{finished:?}");
    assert_eq!((finished.gap_count, finished.cut_short), (0, None));
    let source_of = &finished.renditions[0];
    assert_eq!((source_of.name.as_str(), source_of.width, source_of.height), ("source", 320, 180));

    let master = plane.text(&format!("vod/{id}/index.m3u8")).await;
    assert!(master.contains("RESOLUTION=320x180") && master.contains("\nsource/index.m3u8\n"), "{master}");
    let media = plane.text(&format!("vod/{id}/source/index.m3u8")).await;
    assert!(media.contains("#EXT-X-PLAYLIST-TYPE:VOD") && media.ends_with("#EXT-X-ENDLIST\n"), "{media}");
    assert!(!media.contains("DISCONTINUITY") && media.contains("#EXT-X-PROGRAM-DATE-TIME:"), "{media}");
    let kept = plane.get(&format!("vod/{id}/source/s1.m4s")).await;
    assert_eq!(kept.headers()["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(kept.bytes().await.unwrap(), live);

    for address in ["index.m3u8", "download.mp4"] {
        let (seconds, pictures) = probe(&plane.url(&format!("vod/{id}/{address}"))).await;
        assert!((14.5..=15.5).contains(&seconds), "{address}: {seconds}");
        // The last may wait for a next one that does not come.
        assert!((449..=450).contains(&pictures), "{address}: {pictures}");
    }
    // Every byte is counted: the initialisation segment and the segments, but not the indexes of the file.
    let stored: u64 = std::fs::read_dir(source(folder.path(), id))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.metadata().unwrap().len())
        .sum();
    assert_eq!(u64::try_from(finished.size_bytes).unwrap(), stored);
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn any_part_of_the_file_can_be_had_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    let id = plane.recorded(&clips(5)).await;

    let url = plane.url(&format!("vod/{id}/download.mp4"));
    let whole = reqwest::get(&url).await.unwrap();
    assert_eq!(whole.headers()["content-disposition"], "attachment; filename=\"harbour-2026-11-21.mp4\"");
    assert_eq!(whole.headers()["accept-ranges"], "bytes");
    let length: usize = whole.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let whole = whole.bytes().await.unwrap();
    assert_eq!(whole.len(), length);
    let client = reqwest::Client::new();
    for (first, last) in [(0, 0), (10, 2_000), (700, length / 2), (length - 5, length - 1)] {
        let part = client.get(&url).header("range", format!("bytes={first}-{last}")).send().await.unwrap();
        assert_eq!(part.status(), 206);
        assert_eq!(part.headers()["content-range"], format!("bytes {first}-{last}/{length}"));
        assert_eq!(part.bytes().await.unwrap(), whole[first..=last], "{first} to {last}");
    }
    let beyond = client.get(&url).header("range", format!("bytes={length}-")).send().await.unwrap();
    assert_eq!(beyond.status(), 416);

    // A player that jumps reads the picture of that moment, and not all before it.
    let jump = tokio::process::Command::new("ffmpeg")
        .args(["-v", "error", "-ss", "12", "-i", &url, "-frames:v", "1", "-f", "framecrc", "-"])
        .output()
        .await
        .unwrap();
    assert!(jump.status.success() && jump.stderr.is_empty(), "{}", String::from_utf8_lossy(&jump.stderr));
    assert!(String::from_utf8_lossy(&jump.stdout).lines().any(|line| line.starts_with("0,")), "no picture");
    // The index behind leads to where a segment begins.
    let at = whole.len() - 4;
    let length = u32::from_be_bytes(whole[at..].try_into().unwrap()) as usize;
    let back = &whole[whole.len() - length..];
    assert_eq!(&back[4..8], b"mfra");
    let first = u64::from_be_bytes(back[8 + 24 + 8..8 + 24 + 16].try_into().unwrap()) as usize;
    assert_eq!(&whole[first + 4..first + 8], b"moof");
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn small_pictures_for_seeking_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    let id = plane.recorded(&clips(5)).await;
    let poll = async {
        loop {
            let answer = plane.get(&format!("vod/{id}/sheets/index.vtt")).await;
            if answer.status() == 200 {
                return answer.text().await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let times = timeout(2 * LONG, poll).await.expect("sheets are made");
    assert!(times.starts_with("WEBVTT\n\n00:00:00.000 --> 00:00:10.000\n0.jpg#xywh=0,0,160,90\n"), "{times}");
    assert!(times.contains("0.jpg#xywh=160,0,160,90"), "{times}");
    let sheet = plane.get(&format!("vod/{id}/sheets/0.jpg")).await;
    assert_eq!(sheet.headers()["content-type"], "image/jpeg");
    let sheet = sheet.bytes().await.unwrap();
    let path = folder.path().join("sheet.jpg");
    std::fs::write(&path, sheet).unwrap();
    let size = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-show_entries", "stream=width,height", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&size.stdout).trim(), "1600,900");
    plane.ingest.shutdown().await;
}

#[tokio::test]
async fn a_channel_that_does_not_record_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    plane.archive.is_off.store(true, Ordering::SeqCst);
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&clips(3)).await;
    let stream = plane.platform.started().await;
    plane.until_segments(stream, 2).await;
    peer.unpublish("key").await;
    plane.ingest.shutdown().await;
    assert!(!folder.path().join("recordings").exists());
    assert_eq!(*plane.archive.told.borrow(), []);
}

#[tokio::test]
async fn what_not_everybody_may_watch_takes_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    let id = plane.recorded(&clips(3)).await;
    assert_eq!(plane.get(&format!("kept/{id}/index.m3u8")).await.status(), 404);
    assert_eq!(plane.get(&format!("kept/t/wrong/{id}/index.m3u8")).await.status(), 403);
    let init = plane.get(&format!("kept/t/secret/{id}/source/init0.mp4")).await;
    assert_eq!(init.status(), 200);
    assert_eq!(init.headers()["cache-control"], "private, max-age=31536000, immutable");
    let (seconds, _) = probe(&plane.url(&format!("kept/t/secret/{id}/index.m3u8"))).await;
    assert!((8.5..=9.5).contains(&seconds), "{seconds}");
    plane.ingest.shutdown().await;
}
