//! Renditions of streams in codecs that few players know.

use domain::streams::{Rendition, RenditionsReason};
use ingest::{
    Advice, LadderReason,
    packager::{Tag, TagKind},
};

use crate::{
    encoder::FlvTag,
    enhanced,
    ladder::{has_complete, ladder, media, plane, rendition, rung},
    peer::{AUDIO, Peer, VIDEO},
    platform::Plane,
};

/// Seven seconds of another codec, as an encoder of Enhanced RTMP sends them.
fn enhanced_clip(codec: &str) -> Vec<FlvTag> {
    let source = "-f lavfi -i testsrc2=size=320x180:rate=30:duration=7 -f lavfi -i sine=sample_rate=48000:duration=7";
    let tags = enhanced::encode(&format!("{source} -pix_fmt yuv420p -c:a aac {codec}"));
    let tag = |tag: Tag| FlvTag {
        kind: if tag.kind == TagKind::Video { VIDEO } else { AUDIO },
        timestamp_ms: tag.timestamp_ms,
        body: tag.body.to_vec(),
    };
    tags.into_iter().map(tag).collect()
}

#[tokio::test]
async fn a_codec_that_few_players_know_without_a_budget_is_told_plainly() {
    let mut config = ladder();
    config.cpu_percent = 0;
    let plane = Plane::start_with(|settings| {
        settings.ladder = config;
        settings.packager.takes_hevc = true;
    })
    .await;
    let channel = plane.platform.channel("key");
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    let codec = "-c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params log-level=error:keyint=30:min-keyint=30";
    peer.send_tags(&enhanced_clip(codec)).await;
    let status = plane.status(channel, |status| !status.advice.is_empty() && status.ladder.reason.is_some()).await;
    assert_eq!((status.advice[0], status.ladder.reason), (Advice::HevcAlone, Some(LadderReason::NoBudget)));
    assert!(status.advice[0].message().contains("Choose H.264"));
}

#[tokio::test]
async fn codecs_that_few_players_know_get_a_rendition_of_their_own_size_too() {
    for codec in [
        "-c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params log-level=error:keyint=30:min-keyint=30:scenecut=0",
        "-c:v libaom-av1 -usage realtime -cpu-used 8 -g 30 -b:v 300k",
    ] {
        let mut config = ladder();
        config.rungs = vec![rung("180p", 180), rung("90p", 90)];
        let plane = plane(config).await;
        plane.platform.channel("key");
        let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
        let clip = enhanced_clip(codec);
        let (before, after) = clip.split_at(clip.partition_point(|tag| tag.timestamp_ms < 3_500));
        peer.send_tags(before).await;
        let report = plane.platform.renditions(|_| true).await;
        assert_eq!(report.renditions, [rendition("180p", 320, 180), rendition("90p", 160, 90)], "{codec}");
        peer.send_tags(after).await;
        let playlist = media(&plane, report.stream_id, "180p", has_complete(1)).await;
        let source = media(&plane, report.stream_id, "source", has_complete(1)).await;
        assert_eq!(playlist.findings_beside(&source), [] as [String; 0]);
        let (_, master) = plane.get(&format!("{}/index.m3u8", report.stream_id)).await;
        assert!(master.contains("avc1."), "{master}");
    }
}

#[tokio::test]
async fn a_picture_below_the_smallest_size_of_a_codec_that_few_players_know_can_be_watched() {
    for codec in [
        "-c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params log-level=error:keyint=30:min-keyint=30:scenecut=0",
        "-c:v libaom-av1 -usage realtime -cpu-used 8 -g 30 -b:v 300k",
    ] {
        let mut config = ladder();
        config.rungs = vec![rung("480p", 480), rung("360p", 360)];
        let plane = plane(config).await;
        let channel = plane.platform.channel("key");
        let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
        let clip = enhanced_clip(codec);
        let (before, after) = clip.split_at(clip.partition_point(|tag| tag.timestamp_ms < 3_500));
        peer.send_tags(before).await;
        // The smallest of the settings, as high as the source is.
        let report = plane.platform.renditions(|_| true).await;
        let made = Rendition { bitrate_kbps: 720, ..rendition("180p", 320, 180) };
        assert_eq!((report.renditions, report.reason), (vec![made], RenditionsReason::Started), "{codec}");
        let status = plane.status(channel, |status| !status.ladder.renditions.is_empty()).await;
        assert_eq!(status.ladder.reason, None);
        assert!(!status.advice.iter().any(|advice| matches!(advice, Advice::HevcAlone | Advice::Av1Alone)));
        peer.send_tags(after).await;
        let stream = report.stream_id;
        let playlist = media(&plane, stream, "180p", has_complete(2)).await;
        let segment = playlist.complete().next().unwrap();
        let mut film = plane.bytes(&format!("{stream}/180p/{}", segment.init)).await;
        film.extend(plane.bytes(&format!("{stream}/180p/{}", segment.uri.as_ref().unwrap())).await);
        let (picture, count) = seen(&film);
        assert_eq!(picture, "h264,320,180", "{codec}");
        // A second of it.
        assert!(count >= 25, "{count} pictures");
        let (_, master) = plane.get(&format!("{stream}/index.m3u8")).await;
        assert!(master.contains("RESOLUTION=320x180") && master.contains("avc1."), "{master}");
    }
}

/// Codec and size of the picture that a decoder makes of an MP4, and how many there are.
fn seen(film: &[u8]) -> (String, u32) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), film).unwrap();
    let output = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-select_streams", "v", "-count_frames", "-of", "csv=p=0", "-show_entries"])
        .arg("stream=codec_name,width,height,nb_read_frames")
        .arg(file.path())
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let (picture, count) = said.trim().trim_end_matches(',').rsplit_once(',').unwrap();
    (picture.to_owned(), count.parse().unwrap())
}
