//! Recordings of streams without a picture.

use crate::{Plane, encoder, platform::Report};

#[tokio::test]
async fn sound_alone_is_kept_and_can_be_had_as_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let plane = Plane::start(folder.path()).await;
    plane.platform.channel("key");
    let mut peer = plane.peer().await;
    peer.send_tags(&encoder::tone(12)).await;
    let reports = plane.platform.wait_for(1).await;
    assert!(matches!(&reports[0], Report::Started(started) if started.video.is_none()), "{reports:?}");
    peer.unpublish("key").await;

    let (id, finished) = plane.archive.published().await;
    // The first two seconds are those in which a picture was waited for.
    assert!((9_900..=10_100).contains(&finished.duration_ms), "{finished:?}");
    let rendition = &finished.renditions[0];
    assert_eq!((rendition.width, rendition.height, rendition.codecs.as_str()), (0, 0, "mp4a.40.2"));
    let master = plane.text(&format!("vod/{id}/index.m3u8")).await;
    assert!(master.contains("CODECS=\"mp4a.40.2\"\nsource/index.m3u8"), "{master}");
    for address in ["index.m3u8", "download.mp4"] {
        let (seconds, streams) = probe(&plane.url(&format!("vod/{id}/{address}"))).await;
        assert!((9.8..=10.2).contains(&seconds), "{address}: {seconds}");
        assert_eq!(streams, ["audio"], "{address}");
    }
    plane.ingest.shutdown().await;
}

/// What ffprobe says of something: its duration in seconds, and what there is in it.
async fn probe(input: &str) -> (f64, Vec<String>) {
    let output = tokio::process::Command::new("ffprobe")
        .args(["-v", "error", "-of", "json", "-show_entries", "format=duration:stream=codec_type", input])
        .output()
        .await
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let said: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let streams = said["streams"].as_array().unwrap().iter();
    let kinds = streams.map(|stream| stream["codec_type"].as_str().unwrap().to_owned()).collect();
    (said["format"]["duration"].as_str().unwrap().parse().unwrap(), kinds)
}
