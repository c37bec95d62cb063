//! An ffmpeg that hangs, beside a source that is quiet: the one is replaced, the other makes nobody hung.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use domain::{ids::ChannelId, streams::RenditionsReason};
use ingest::{Encoder as RenditionEncoder, LadderConfig, LadderReason};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::{
    encoder::{self, FlvTag},
    ladder::{count, eventually, has_complete, ladder, media, program, rung},
    peer::Peer,
    platform::{LONG, Plane},
    playlist::MediaPlaylist,
};

/// One rendition. What is sent comes faster than it plays.
fn config() -> LadderConfig {
    let mut config = ladder();
    config.rungs = vec![rung("90p", 90)];
    config.pace.max_lag = 2 * LONG;
    config
}

/// A plane on which a source may be quiet for long.
async fn plane(config: LadderConfig) -> (Plane, ChannelId) {
    let plane = Plane::start_with(|settings| {
        settings.ladder = config;
        settings.timeouts.idle = 4 * LONG;
    })
    .await;
    let channel = plane.platform.channel("key");
    (plane, channel)
}

/// The tags of these milliseconds.
fn between(film: &[FlvTag], from_ms: u32, to_ms: u32) -> &[FlvTag] {
    let at = |time_ms| film.partition_point(|tag| tag.timestamp_ms < time_ms);
    &film[at(from_ms)..at(to_ms)]
}

/// What every start of a program has written, the first first.
fn lines(file: &Path) -> Vec<String> {
    fs::read_to_string(file).unwrap_or_default().lines().map(ToOwned::to_owned).collect()
}

fn kill(signal: &str, pid: &str) -> bool {
    Command::new("kill").args([signal, pid]).status().unwrap().success()
}

/// A process that is stopped, and does not outlive the test.
struct Stopped(String);

impl Stopped {
    fn stop(pid: &str) -> Self {
        assert!(kill("-STOP", pid));
        Self(pid.to_owned())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // By now the number may be another's.
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).unwrap_or_default();
        if stat.contains("(ffmpeg) T ") {
            kill("-KILL", &self.0);
        }
    }
}

/// A real ffmpeg as it runs for a stream, stopped after its first picture; those that follow leave their ids in the file, too.
/// The script starts it, and has the file's name for `$PIDS`.
async fn stopped(script: &str, folder: &Path) -> (Plane, Peer, &'static [FlvTag], PathBuf, Stopped) {
    static FILM: std::sync::OnceLock<Vec<FlvTag>> = std::sync::OnceLock::new();
    let film = FILM.get_or_init(|| encoder::film("320x180", 9));
    let pids = folder.join("pids");
    let mut config = config();
    config.pace.silent_for = Duration::from_secs(3);
    // Those that follow are tried for as long as it takes.
    config.pace.max_failures = usize::MAX;
    config.ffmpeg = Some(program(folder, &format!("PIDS={}; {script}", pids.display())));
    let (plane, _) = plane(config).await;
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    peer.send_tags(between(film, 0, 3_000)).await;
    plane.platform.renditions(|report| report.reason == RenditionsReason::Started).await;
    eventually("it says who it is", || !lines(&pids).is_empty()).await;
    let stopped = Stopped::stop(&lines(&pids)[0]);
    (plane, peer, film, pids, stopped)
}

/// Sends the rest of the film, and sees that the rendition goes on.
async fn assert_goes_on(plane: &Plane, peer: &mut Peer, rest: &[FlvTag]) {
    peer.send_tags(rest).await;
    let stream = plane.platform.started().await;
    // Of a second each. What there was before has an end in the middle of a segment, and goes when there is more.
    let is_after = |playlist: &MediaPlaylist| playlist.complete().any(|segment| segment.number >= 6);
    let playlist = media(plane, stream, "90p", is_after).await;
    let source = media(plane, stream, "source", is_after).await;
    assert_eq!(playlist.findings_beside(&source), [] as [String; 0]);
    assert!(source.segments.iter().all(|segment| !segment.is_after_discontinuity), "{source:?}");
}

#[tokio::test]
async fn an_ffmpeg_that_is_stopped_is_replaced_while_its_source_is_quiet() {
    let folder = tempfile::tempdir().unwrap();
    let (plane, mut peer, film, pids, stopped) = stopped(r#"echo $$ >> $PIDS; exec ffmpeg "$@""#, folder.path()).await;
    eventually("another one is started", || lines(&pids).len() > 1).await;
    let process = PathBuf::from(format!("/proc/{}", stopped.0));
    eventually("it is gone", || !process.exists()).await;
    assert_goes_on(&plane, &mut peer, between(film, 3_000, u32::MAX)).await;
}

#[tokio::test]
async fn an_ffmpeg_that_hangs_is_replaced_when_its_source_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    // What is started is not what hangs, so that nobody sees it stopped.
    let script = r#"exec 9<&0; ffmpeg "$@" <&9 9<&- & echo $! >> $PIDS; exec 9<&-; wait"#;
    let (plane, mut peer, film, pids, _stopped) = stopped(script, folder.path()).await;
    // Less than what a rendition may be behind: all there is to be seen is that nobody reads it.
    peer.send_tags(between(film, 3_000, 4_000)).await;
    eventually("another one is started", || lines(&pids).len() > 1).await;
    assert_goes_on(&plane, &mut peer, between(film, 4_000, u32::MAX)).await;
}

#[tokio::test]
async fn a_source_that_is_quiet_is_no_encoder_that_hangs_or_does_not_start() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    // All tasks of a test are on its thread.
    let _recording = metrics::set_default_local_recorder(&recorder);
    let folder = tempfile::tempdir().unwrap();
    let runs = folder.path().join("runs");
    let mut config = config();
    // It looks ahead for four seconds.
    let arguments = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -x264-params rc-lookahead=120";
    config.encoder = RenditionEncoder::Custom(arguments.split(' ').map(ToOwned::to_owned).collect());
    config.ffmpeg = Some(program(folder.path(), &format!("echo run >> {}; exec ffmpeg \"$@\"", runs.display())));
    config.pace.silent_for = Duration::from_secs(10);
    let longer_than_patience = config.pace.silent_for + Duration::from_secs(3);
    let (plane, channel) = plane(config).await;
    let is_quiet = || plane.status(channel, |status| u128::from(status.silent_ms) >= longer_than_patience.as_millis());
    let film = encoder::film("320x180", 12);
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;

    // Before its first picture.
    peer.send_tags(between(&film, 0, 2_000)).await;
    plane.status(channel, |status| status.ladder.reason == Some(LadderReason::Starting)).await;
    peer.send_tags(between(&film, 2_000, 3_000)).await;
    let status = is_quiet().await;
    assert_eq!(status.ladder.reason, Some(LadderReason::Starting), "all it was given it still looks at");
    // And after it.
    peer.send_tags(between(&film, 3_000, 9_000)).await;
    let stream = plane.platform.renditions(|_| true).await.stream_id;
    is_quiet().await;
    peer.send_tags(between(&film, 9_000, u32::MAX)).await;
    let playlist = media(&plane, stream, "90p", has_complete(4)).await;
    let source = media(&plane, stream, "source", has_complete(4)).await;
    assert_eq!(playlist.findings_beside(&source), [] as [String; 0]);
    assert_eq!(lines(&runs), ["run"]);
    assert_eq!(count(&figures, r#"weir_ladder_fallbacks_total{encoder="custom"}"#), 0);
    assert_eq!(count(&figures, "weir_ladder_restarts_total"), 0);
    let reports = plane.platform.all_renditions();
    assert!(reports.len() == 1 && reports[0].reason == RenditionsReason::Started, "{reports:?}");
}
