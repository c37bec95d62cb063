//! Renditions of streams, by a real ffmpeg and by programs that only look like one.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use domain::{
    ids::{ChannelId, StreamId},
    streams::{Rendition, RenditionsReason},
};
use ingest::{LadderConfig, LadderReason, PublishState, Rung};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tokio::time::timeout;

use crate::{
    encoder::{self, Encoder, FlvTag},
    fragments::{self, VIDEO},
    peer::{Peer, VIDEO as VIDEO_MESSAGE},
    platform::{LONG, Plane},
    playlist::{MediaPlaylist, Segment},
};

/// Small sizes, made as fast as can be. A machine that is short of time makes nothing too slow or hung.
pub fn ladder() -> LadderConfig {
    let mut config =
        LadderConfig { rungs: vec![rung("120p", 120), rung("90p", 90)], cpu_percent: 100, ..LadderConfig::default() };
    config.pace.restart_after = Duration::from_millis(20);
    (config.pace.late_for, config.pace.silent_for) = (4 * LONG, 4 * LONG);
    config
}

pub fn rung(name: &str, height: u32) -> Rung {
    Rung {
        name: name.to_owned(),
        height,
        max_frame_rate: 30,
        bitrate_kbps: height * 2,
        preset: Some("ultrafast".to_owned()),
    }
}

pub fn rendition(name: &str, width: u32, height: u32) -> Rendition {
    Rendition { name: name.to_owned(), width, height, bitrate_kbps: height * 2 }
}

pub async fn plane(config: LadderConfig) -> Plane {
    Plane::start_with(|settings| settings.ladder = config).await
}

/// A program beside which ffmpeg is found by its name.
pub fn program(folder: &Path, script: &str) -> PathBuf {
    let program = folder.join("ffmpeg-of-a-test");
    // By another process: a child that a test beside this one forks meanwhile would hold our file open for writing, and
    // a program that is open for writing cannot be started.
    let written = std::process::Command::new("sh")
        .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod 755 "$2""#, "sh", script])
        .arg(&program)
        .status()
        .unwrap();
    assert!(written.success());
    program
}

/// A counter without what its name does not say; 0 where it was not counted.
pub fn count(figures: &PrometheusHandle, name: &str) -> u32 {
    let figures = figures.render();
    let value = figures.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name} is not in\n{figures}")).parse().unwrap()
}

/// Waits until something has come about.
pub async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let poll = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, poll).await.unwrap_or_else(|_| panic!("not so: {what}"));
}

/// The media playlist of a rendition, once it is as wanted.
pub async fn media(
    plane: &Plane,
    stream: StreamId,
    rendition: &str,
    is_wanted: impl Fn(&MediaPlaylist) -> bool,
) -> MediaPlaylist {
    let poll = async {
        loop {
            let (status, text) = plane.get(&format!("{stream}/{rendition}/index.m3u8")).await;
            if status == 200 {
                let playlist = MediaPlaylist::parse(&text).unwrap();
                if is_wanted(&playlist) {
                    return playlist;
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, poll).await.unwrap_or_else(|_| panic!("{rendition} is not as wanted"))
}

pub fn has_complete(count: usize) -> impl Fn(&MediaPlaylist) -> bool {
    move |playlist| playlist.complete().count() >= count
}

/// When the first picture of a segment is presented, in ticks of 1/90000 s, and whether it is a key frame.
async fn begins(plane: &Plane, stream: StreamId, rendition: &str, segment: &Segment) -> (i64, bool) {
    let bytes = plane.bytes(&format!("{stream}/{rendition}/{}", segment.uri.as_ref().unwrap())).await;
    let pictures = fragments::track(&fragments::runs(&bytes), VIDEO);
    let (time, first) = &pictures[0];
    (i64::try_from(*time).unwrap() + first.composition, first.is_sync)
}

/// Waits for a stream without renditions that says why.
pub async fn alone(plane: &Plane, channel: ChannelId, reason: LadderReason) {
    let status = plane.status(channel, |status| status.ladder.reason == Some(reason)).await;
    assert_eq!(status.ladder.renditions, []);
    assert_ne!(reason.message(), "");
    let stream = status.stream_id.unwrap();
    let (_, master) = plane.get(&format!("{stream}/index.m3u8")).await;
    assert_eq!(master.matches("RESOLUTION=").count(), 1, "{master}");
    assert!(plane.playlist(stream).await.contains("#EXT-X-PART"));
}

#[tokio::test]
async fn a_rendition_has_the_segments_of_its_source() {
    let mut config = ladder();
    config.rungs = vec![rung("480p", 480), rung("720p", 720)];
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let _encoder = Encoder::publish_picture(&plane.url("key"), "1280x720");
    let report = plane.platform.renditions(|_| true).await;
    assert_eq!((report.renditions, report.reason), (vec![rendition("480p", 854, 480)], RenditionsReason::Started));
    let stream = report.stream_id;
    let playlist = media(&plane, stream, "480p", has_complete(3)).await;
    let source = media(&plane, stream, "source", has_complete(3)).await;
    assert_eq!(playlist.findings(), [] as [String; 0]);
    assert_eq!(playlist.findings_beside(&source), [] as [String; 0]);

    let mut compared = 0;
    for segment in playlist.complete() {
        let Some(twin) = source.complete().find(|twin| twin.number == segment.number) else { continue };
        let (time, is_key) = begins(&plane, stream, "480p", segment).await;
        let (source_time, is_source_key) = begins(&plane, stream, "source", twin).await;
        assert!((time - source_time).abs() <= 90_000 / 30, "segment {}: {time} and {source_time}", segment.number);
        assert!(is_key && is_source_key, "segment {}", segment.number);
        compared += 1;
    }
    assert!(compared >= 3, "{playlist:?} {source:?}");
    let (_, master) = plane.get(&format!("{stream}/index.m3u8")).await;
    assert!(master.contains("RESOLUTION=854x480") && master.contains("\n480p/index.m3u8"), "{master}");
    let status = plane.status(channel, |status| !status.ladder.renditions.is_empty()).await;
    assert_eq!((status.ladder.renditions[0].name.as_str(), status.ladder.reason), ("480p", None));
}

/// Field 19 of a `stat` of proc(5); the name, field 2, is in brackets and may have spaces in it.
fn niceness(stat: &str) -> i32 {
    let (_, after_name) = stat.rsplit_once(')').unwrap();
    after_name.split_whitespace().nth(16).unwrap().parse().unwrap()
}

#[tokio::test]
async fn renditions_come_back_when_ffmpeg_is_killed_and_the_source_never_stops() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let mut config = ladder();
    config.ffmpeg = Some(program(folder.path(), &format!("echo $$ > {}; exec ffmpeg \"$@\"", pid_file.display())));
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let _encoder = Encoder::publish(&plane.url("key"));
    let stream = plane.platform.renditions(|_| true).await.stream_id;
    let before = media(&plane, stream, "90p", has_complete(2)).await;
    let pid = std::fs::read_to_string(&pid_file).unwrap();
    // All its threads give way to what takes streams in and serves them.
    let threads: Vec<_> = std::fs::read_dir(format!("/proc/{}/task", pid.trim())).unwrap().flatten().collect();
    assert!(!threads.is_empty());
    for thread in threads {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        assert!(stat.is_empty() || niceness(&stat) >= 5, "{stat}");
    }
    assert!(std::process::Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());

    let last = before.complete().next_back().unwrap().number;
    let is_after = |playlist: &MediaPlaylist| playlist.complete().any(|segment| segment.number > last + 1);
    let after = media(&plane, stream, "90p", is_after).await;
    let source = media(&plane, stream, "source", is_after).await;
    assert_ne!(std::fs::read_to_string(&pid_file).unwrap(), pid);
    assert_eq!(after.findings_beside(&source), [] as [String; 0]);
    assert!(source.segments.iter().all(|segment| !segment.is_after_discontinuity), "{source:?}");
    plane.status(channel, |status| status.ladder.renditions.len() == 2).await;
    // For a moment without them: that is no news.
    assert_eq!(plane.platform.all_renditions().len(), 1, "{:?}", plane.platform.all_renditions());
}

#[tokio::test]
async fn without_ffmpeg_there_is_the_source() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    // All tasks of a test are on its thread.
    let _recording = metrics::set_default_local_recorder(&recorder);
    let mut config = ladder();
    config.ffmpeg = Some("/nonexistent/ffmpeg".into());
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let _encoder = Encoder::publish(&plane.url("key"));
    let report = plane.platform.renditions(|_| true).await;
    assert_eq!((report.renditions, report.reason), (vec![], RenditionsReason::FfmpegMissing));
    alone(&plane, channel, LadderReason::FfmpegMissing).await;
    assert_eq!(count(&figures, r#"weir_ladder_dropped_total{reason="ffmpeg_missing"}"#), 2);
}

#[tokio::test]
async fn an_ffmpeg_that_ends_at_once_is_given_up_and_tried_again_later() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    // All tasks of a test are on its thread.
    let _recording = metrics::set_default_local_recorder(&recorder);
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let mut config = ladder();
    config.pace.max_failures = 2;
    let script = format!("echo run >> {}; echo 'no such codec' >&2; exit 1", runs.display());
    config.ffmpeg = Some(program(folder.path(), &script));
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let _encoder = Encoder::publish(&plane.url("key"));
    let report = plane.platform.renditions(|_| true).await;
    assert_eq!((report.renditions, report.reason), (vec![], RenditionsReason::FfmpegFailed));
    assert_eq!(std::fs::read_to_string(&runs).unwrap().lines().count(), 3);
    alone(&plane, channel, LadderReason::FfmpegFailed).await;
    assert_eq!(count(&figures, r#"weir_ladder_dropped_total{reason="ffmpeg_failed"}"#), 2);
    assert_eq!(count(&figures, "weir_ladder_restarts_total"), 2);
}

#[tokio::test]
async fn an_ffmpeg_that_works_again_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("works");
    let mut config = ladder();
    (config.pace.max_failures, config.pace.retry_after) = (0, Duration::from_millis(100));
    let script = format!("[ -e {} ] && exec ffmpeg \"$@\"; exit 1", flag.display());
    config.ffmpeg = Some(program(folder.path(), &script));
    let plane = plane(config).await;
    plane.platform.channel("key");
    let _encoder = Encoder::publish(&plane.url("key"));
    plane.platform.renditions(|report| report.reason == RenditionsReason::FfmpegFailed).await;
    std::fs::write(&flag, "").unwrap();
    let report = plane.platform.renditions(|report| report.reason == RenditionsReason::Recovered).await;
    assert_eq!(report.renditions, [rendition("120p", 214, 120), rendition("90p", 160, 90)]);
}

#[tokio::test]
async fn an_ffmpeg_that_hangs_is_ended() {
    let folder = tempfile::tempdir().unwrap();
    let pid_file = folder.path().join("pid");
    let mut config = ladder();
    (config.pace.max_failures, config.pace.silent_for) = (0, Duration::from_millis(300));
    config.ffmpeg = Some(program(folder.path(), &format!("echo $$ > {}; exec sleep 600", pid_file.display())));
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let _encoder = Encoder::publish(&plane.url("key"));
    let report = plane.platform.renditions(|_| true).await;
    assert_eq!((report.renditions, report.reason), (vec![], RenditionsReason::FfmpegFailed));
    alone(&plane, channel, LadderReason::FfmpegFailed).await;
    let process = format!("/proc/{}/comm", std::fs::read_to_string(pid_file).unwrap().trim());
    let gone = async {
        while Path::new(&process).exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, gone).await.expect("it is ended");
}

#[tokio::test]
async fn what_is_no_flv_is_not_packaged() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = ladder();
    config.pace.max_failures = 0;
    config.ffmpeg = Some(program(folder.path(), "echo 'what is this' >&3; exec cat > /dev/null"));
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let _encoder = Encoder::publish(&plane.url("key"));
    plane.platform.renditions(|report| report.reason == RenditionsReason::FfmpegFailed).await;
    alone(&plane, channel, LadderReason::FfmpegFailed).await;
}

#[tokio::test]
async fn without_a_budget_there_is_the_source() {
    let mut config = ladder();
    config.cpu_percent = 0;
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let _encoder = Encoder::publish(&plane.url("key"));
    let report = plane.platform.renditions(|_| true).await;
    assert_eq!((report.renditions, report.reason), (vec![], RenditionsReason::NoBudget));
    alone(&plane, channel, LadderReason::NoBudget).await;
}

#[tokio::test]
async fn a_small_source_and_a_ladder_that_is_off_make_no_events() {
    for (change, reason) in [
        ((|config| config.rungs.retain(|rung| rung.height > 200)) as fn(&mut LadderConfig), LadderReason::SourceSmall),
        (|config| config.is_enabled = false, LadderReason::Disabled),
    ] {
        let mut config = ladder();
        change(&mut config);
        let plane = plane(config).await;
        let channel = plane.platform.channel("key");
        let encoder = Encoder::publish(&plane.url("key"));
        alone(&plane, channel, reason).await;
        encoder.stop().await;
        plane.state(channel, PublishState::Waiting).await;
        assert_eq!(plane.platform.all_renditions(), []);
    }
}

#[tokio::test]
async fn the_most_expensive_rendition_is_dropped_when_they_are_too_slow() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = ladder();
    // Less than that one of them alone is behind, where the machine is short of time.
    (config.pace.max_lag, config.pace.late_for) = (Duration::from_secs(5), Duration::from_secs(5));
    // Two renditions are made at a fifth of the speed at which they are needed, one as fast as can be.
    let script = r#"case "$*" in *pipe:4*) exec ffmpeg -readrate 0.2 "$@";; esac; exec ffmpeg "$@""#;
    config.ffmpeg = Some(program(folder.path(), script));
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let _encoder = Encoder::publish(&plane.url("key"));
    let report = plane.platform.renditions(|report| report.reason == RenditionsReason::TooSlow).await;
    assert_eq!(report.renditions, [rendition("90p", 160, 90)]);
    let status = plane.status(channel, |status| status.ladder.renditions.len() == 1).await;
    assert_eq!(status.ladder.reason, Some(LadderReason::TooSlow));
    media(&plane, report.stream_id, "90p", has_complete(2)).await;
    let (status, _) = plane.get(&format!("{}/120p/index.m3u8", report.stream_id)).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn another_picture_gets_other_renditions_after_a_discontinuity() {
    let mut config = ladder();
    config.rungs.push(rung("240p", 240));
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let encoder = Encoder::publish(&plane.url("key"));
    let stream = plane.platform.renditions(|report| report.renditions.len() == 2).await.stream_id;
    media(&plane, stream, "90p", has_complete(2)).await;
    encoder.kill().await;
    plane.state(channel, PublishState::Reconnecting).await;
    let _encoder = Encoder::publish_picture(&plane.url("key"), "480x270");
    let report = plane.platform.renditions(|report| report.reason == RenditionsReason::SourceChanged).await;
    let names: Vec<_> = report.renditions.iter().map(|rendition| rendition.name.as_str()).collect();
    assert_eq!(names, ["240p", "120p", "90p"]);
    let is_after = |playlist: &MediaPlaylist| {
        let mut segments = playlist.complete().skip_while(|segment| !segment.is_after_discontinuity);
        segments.nth(1).is_some()
    };
    let playlist = media(&plane, stream, "90p", is_after).await;
    let source = media(&plane, stream, "source", is_after).await;
    assert_eq!(playlist.findings_beside(&source), [] as [String; 0]);
}

#[tokio::test]
async fn a_rate_that_varies_with_pictures_out_of_order_is_cut_where_the_source_is() {
    let mut config = ladder();
    config.rungs = vec![Rung { max_frame_rate: 60, ..rung("90p", 90) }];
    // It is sent faster than it plays.
    config.pace.max_lag = 2 * LONG;
    let plane = plane(config).await;
    plane.platform.channel("key");
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    let film = encoder::uneven_film("320x180", 14);
    let is_reordered = |tag: &&FlvTag| tag.kind == VIDEO_MESSAGE && tag.body[1] == 1 && tag.body[2..5] != [0, 0, 0];
    assert!(film.iter().filter(is_reordered).count() > 50, "pictures lean on later ones");
    let (before, after) = film.split_at(film.partition_point(|tag| tag.timestamp_ms < 4_000));
    peer.send_tags(before).await;
    let report = plane.platform.renditions(|_| true).await;
    peer.send_tags(after).await;
    let stream = report.stream_id;
    let playlist = media(&plane, stream, "90p", has_complete(6)).await;
    let source = media(&plane, stream, "source", has_complete(6)).await;
    assert_eq!(playlist.findings_beside(&source), [] as [String; 0]);
    assert_eq!(playlist.findings(), [] as [String; 0]);
    let presented = |runs: &[fragments::Run]| -> Vec<i64> {
        let pictures = fragments::track(runs, VIDEO);
        let mut times: Vec<i64> = pictures.iter().map(|(time, sample)| *time as i64 + sample.composition).collect();
        times.sort_unstable();
        times
    };
    let (mut segments, mut all) = (Vec::new(), Vec::new());
    for segment in playlist.complete() {
        let file = |rendition: &str| format!("{stream}/{rendition}/{}", segment.uri.as_ref().unwrap());
        let own = fragments::runs(&plane.bytes(&file("90p")).await);
        let twin = fragments::runs(&plane.bytes(&file("source")).await);
        let begins_with_key = fragments::track(&twin, VIDEO)[0].1.is_sync;
        segments.push((segment.number, begins_with_key, presented(&own), presented(&twin)));
        all.extend(own);
    }
    assert_eq!(fragments::findings(&all), [] as [String; 0], "no hole and no overlap from segment to segment");
    assert!(segments.len() >= 6);
    // Between two cuts at key frames the same pictures are shown; at other cuts some are decoded after what is shown later.
    let whole = segments.windows(2).filter(|pair| pair[0].1 && pair[1].1).map(|pair| &pair[0]);
    let mut compared = 0;
    for (number, _, own, source) in whole {
        assert_eq!(own.len(), source.len(), "pictures of segment {number}");
        for (own, source) in own.iter().zip(source) {
            // A millisecond's rounding either way.
            assert!((own - source).abs() <= 180, "segment {number}: {own} and {source}");
        }
        compared += 1;
    }
    assert!(compared >= 2, "{compared} of {}", segments.len());
}
