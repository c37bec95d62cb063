//! Encoders that send a picture only when something changes: a real ffmpeg publishes, and each picture is there at the end.

use std::time::Duration;

use domain::streams::RenditionsReason;
use ingest::{LadderRendition, PublishState, packager::MediaRefusal};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::{process::Command, time::timeout};

use crate::{
    encoder::{Encoder, FlvTag, encode},
    fragments::{self, AUDIO, VIDEO},
    ladder::{count, has_complete, ladder, media, plane, rung},
    peer::Peer,
    platform::{LONG, Plane, Report},
    playlist::MediaPlaylist,
};

/// What an encoder of a screen does that changes for a second of five: the second of these is a hole of four seconds.
const STILL: &str = "select='lt(mod(t,5),1)'";
const CODECS: &str = "-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 250 -c:a aac -b:a 64k";

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(ToOwned::to_owned).collect()
}

fn source(seconds: u32) -> Vec<String> {
    source_of(seconds, seconds)
}

fn source_of(picture_s: u32, sound_s: u32) -> Vec<String> {
    words(&format!(
        "-f lavfi -i testsrc2=size=320x180:rate=30:duration={picture_s} \
         -f lavfi -i sine=frequency=440:sample_rate=48000:duration={sound_s}"
    ))
}

/// Reads all of a stream that is over, by the playlist's rules, and lets ffmpeg decode it: how many pictures and frames of
/// sound there are.
async fn decoded(plane: &Plane, stream: domain::ids::StreamId) -> (usize, usize) {
    let poll = async {
        loop {
            let playlist = plane.playlist(stream).await;
            if playlist.contains("EXT-X-ENDLIST") {
                return playlist;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let text = timeout(LONG, poll).await.expect("the stream ends");
    let playlist = MediaPlaylist::parse(&text).unwrap();
    assert_eq!(playlist.findings(), [] as [String; 0], "{text}");
    assert_eq!(playlist.media_sequence, 0, "the beginning is still listed");
    assert!(playlist.segments.iter().all(|segment| !segment.is_after_discontinuity), "{text}");
    let mut file = plane.bytes(&format!("{stream}/source/{}", playlist.segments[0].init)).await;
    let mut runs = Vec::new();
    for segment in playlist.complete() {
        let bytes = plane.bytes(&format!("{stream}/source/{}", segment.uri.as_ref().unwrap())).await;
        runs.extend(fragments::runs(&bytes));
        file.extend(bytes);
    }
    assert_eq!(fragments::findings(&runs), [] as [String; 0]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.mp4");
    std::fs::write(&path, file).unwrap();
    let output = Command::new("ffmpeg")
        .args(["-v", "warning", "-nostdin", "-xerror", "-i"])
        .arg(&path)
        .args(["-map", "0", "-fps_mode", "passthrough", "-f", "framemd5", "-"])
        .output()
        .await
        .unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.trim().is_empty(), "{complaints}");
    let frames = String::from_utf8(output.stdout).unwrap();
    let of = |track: &str| frames.lines().filter(|line| line.starts_with(track)).count();
    assert_eq!(of("0,"), fragments::track(&runs, VIDEO).len());
    let silent = fragments::track(&runs, AUDIO).iter().filter(|(_, frame)| frame.data.len() < 10).count();
    assert_eq!(silent, 0, "no silence is put in");
    (of("0,"), of("1,"))
}

#[tokio::test]
async fn a_real_encoder_of_a_still_screen() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    // It ends by itself, after two holes.
    let screen = words(&format!("-vf {STILL} -fps_mode vfr {CODECS}"));
    let screen: Vec<&str> = screen.iter().map(String::as_str).collect();
    let mut encoder = Encoder::start_with(&plane.url("key"), &source(11), &screen);
    let (status, printed) = encoder.exit().await;
    assert!(status.success(), "{printed}");
    let reports = plane.platform.wait_for(2).await;
    let Report::Started(started) = &reports[0] else { panic!("{reports:?}") };
    let (pictures, sounds) = decoded(&plane, started.stream_id).await;
    assert_eq!(pictures, 90, "a second each at 0, 5 and 10 s");
    // Sound that is later than the last picture is not shown; ffmpeg's first frame is what it begins with.
    assert!(sounds >= 11 * 46, "{sounds} frames of sound");
    assert_eq!(plane.ingest.status(channel).last_refusal, None);
}

#[tokio::test]
async fn pictures_that_repeat_are_left_out_by_the_encoder() {
    // As capturing a screen with ffmpeg does it: what is like the one before is not sent, whatever its time.
    let screen = "-vf tpad=stop_mode=clone:stop_duration=5,mpdecimate -fps_mode vfr -t 8";
    let tags = encode(&[source_of(2, 8), words(screen), words(CODECS)].concat());
    let again: Vec<FlvTag> =
        tags.iter().map(|tag| FlvTag { timestamp_ms: tag.timestamp_ms + 8_000, ..tag.clone() }).collect();
    let is_picture = |tag: &&FlvTag| tag.kind == crate::peer::VIDEO && tag.body[1] == 1;
    let (count, last_ms) =
        (tags.iter().filter(is_picture).count(), tags.iter().rfind(is_picture).unwrap().timestamp_ms);
    assert!(count <= 70 && last_ms < 3_000, "{count} pictures, the last at {last_ms} ms");
    let plane = Plane::start().await;
    plane.platform.channel("key");
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    peer.send_tags(&tags).await;
    peer.send_tags(&again).await;
    peer.unpublish("key").await;
    let reports = plane.platform.wait_for(2).await;
    let Report::Started(started) = &reports[0] else { panic!("{reports:?}") };
    assert_eq!(decoded(&plane, started.stream_id).await.0, 2 * count);
}

#[tokio::test]
async fn a_screen_on_which_nothing_changes_for_too_long_is_refused_with_what_to_do() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let tags = encode(&[source(12), words(&format!("-vf select='lt(t,1)' -fps_mode vfr {CODECS}"))].concat());
    // The last picture comes at the end of the first second, and sound goes on for 8 s more.
    let until = tags.partition_point(|tag| tag.timestamp_ms <= 9_050);
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    peer.send_tags(&tags[..until]).await;
    peer.hear("No picture has come for 8 s").await;
    let status = plane.status(channel, |status| status.last_refusal.is_some()).await;
    let refusal = status.last_refusal.unwrap();
    assert!(refusal.message.contains("set the encoder to a constant frame rate"), "{refusal:?}");
    assert_eq!((refusal.code, refusal.message), ("video_stopped", MediaRefusal::VideoStopped.to_string()));
    assert_eq!(status.state, PublishState::Reconnecting);
}

#[tokio::test]
async fn a_picture_every_three_seconds_is_neither_late_nor_silent() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    // All tasks of a test are on its thread.
    let _recording = metrics::set_default_local_recorder(&recorder);
    let mut config = ladder();
    config.rungs = vec![rung("90p", 90)];
    // Less than lies between two pictures, of which ffmpeg has several under way.
    (config.pace.max_lag, config.pace.late_for) = (Duration::from_secs(2), Duration::from_secs(1));
    config.pace.silent_for = Duration::from_secs(10);
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let screen = words(&format!("-vf select='not(mod(n,90))' -fps_mode vfr {CODECS} -g 2"));
    let screen: Vec<&str> = screen.iter().map(String::as_str).collect();
    // It comes in real time.
    let _encoder = Encoder::start_with(&plane.url("key"), &source(300), &screen);
    let stream = plane.platform.renditions(|_| true).await.stream_id;
    media(&plane, stream, "90p", has_complete(2)).await;
    let playlist = media(&plane, stream, "90p", has_complete(5)).await;
    let source = media(&plane, stream, "source", has_complete(5)).await;
    assert_eq!(playlist.findings_beside(&source), [] as [String; 0]);
    let reports = plane.platform.all_renditions();
    assert!(reports.len() == 1 && reports[0].reason == RenditionsReason::Started, "{reports:?}");
    assert_eq!(count(&figures, r#"weir_ladder_dropped_total{reason="too_slow"}"#), 0);
    assert_eq!((count(&figures, "weir_ladder_restarts_total"), count(&figures, "weir_ladder_retried_total")), (0, 0));
    // The latest picture of the source alone is shown for longer than that.
    let is_in_time = |shown: &LadderRendition| shown.lag_ms < 3_000;
    let status = plane.status(channel, |status| status.ladder.renditions.first().is_some_and(is_in_time)).await;
    assert_eq!((status.ladder.reason, status.last_refusal), (None, None));
}
