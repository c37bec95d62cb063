//! Encoders that are not the processor: what ffmpeg is told, and what becomes of a stream where they do not start. No machine
//! that runs these tests need have one.

use std::{fs, path::Path, time::Duration};

use domain::streams::RenditionsReason;
use ingest::{Encoder as RenditionEncoder, IngestStatus, LadderReason};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::{
    encoder::Encoder,
    ladder::{alone, eventually, has_complete, ladder, media, plane, program, rendition},
};

/// With what words ffmpeg was started each time, the first time first.
fn runs(log: &Path) -> Vec<String> {
    fs::read_to_string(log).unwrap_or_default().lines().map(ToOwned::to_owned).collect()
}

#[tokio::test]
async fn the_processor_takes_over_from_an_encoder_that_does_not_start() {
    let vaapi = RenditionEncoder::H264Vaapi { device: "/nonexistent/renderD128".into() };
    for (encoder, name, told, reason) in [
        (
            RenditionEncoder::H264Nvenc,
            "h264_nvenc",
            "-c:v h264_nvenc -preset ultrafast -tune ll",
            LadderReason::NvencFailed,
        ),
        (vaapi, "h264_vaapi", "-vaapi_device /nonexistent/renderD128 ", LadderReason::VaapiFailed),
    ] {
        let recorder = PrometheusBuilder::new().build_recorder();
        let figures = recorder.handle();
        // All tasks of a test are on its thread.
        let recording = metrics::set_default_local_recorder(&recorder);
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut config = ladder();
        config.encoder = encoder;
        // Where there is a card after all, it is not seen.
        let script = format!("echo \"$*\" >> {}; CUDA_VISIBLE_DEVICES= exec ffmpeg \"$@\"", log.display());
        config.ffmpeg = Some(program(folder.path(), &script));
        let plane = plane(config).await;
        let channel = plane.platform.channel("key");
        let _encoder = Encoder::publish(&plane.url("key"));
        let report = plane.platform.renditions(|_| true).await;
        let both = vec![rendition("120p", 214, 120), rendition("90p", 160, 90)];
        assert_eq!((report.renditions, report.reason), (both, RenditionsReason::Started), "{name}");
        let status = plane.status(channel, |status| status.ladder.renditions.len() == 2).await;
        assert_eq!(status.ladder.reason, Some(reason));
        assert!(reason.message().contains(name), "{}", reason.message());
        let runs = runs(&log);
        assert_eq!(runs.len(), 2, "it is not tried in vain: {runs:?}");
        assert!(runs[0].contains(told) && runs[0].contains(&format!("-c:v {name} ")), "{}", runs[0]);
        assert!(runs[1].contains("-c:v libx264 -preset superfast") && !runs[1].contains(name), "{}", runs[1]);
        let playlist = media(&plane, report.stream_id, "90p", has_complete(2)).await;
        let source = media(&plane, report.stream_id, "source", has_complete(2)).await;
        assert_eq!(playlist.findings_beside(&source), [] as [String; 0]);
        assert!(source.segments.iter().all(|segment| !segment.is_after_discontinuity), "{source:?}");
        let figures = figures.render();
        let counted = format!("weir_ladder_fallbacks_total{{encoder=\"{name}\"}} 1");
        assert!(figures.lines().any(|line| line == counted), "{counted} is not in\n{figures}");
        assert!(figures.lines().any(|line| line == "weir_ladder_restarts_total 0"), "{figures}");
        drop(recording);
    }
}

#[tokio::test]
async fn an_encoder_that_works_again_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let (log, flag) = (folder.path().join("log"), folder.path().join("works"));
    let mut config = ladder();
    let arguments = "-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p";
    config.encoder = RenditionEncoder::Custom(arguments.split(' ').map(ToOwned::to_owned).collect());
    (config.pace.again_after, config.pace.again_at_most) = (Duration::from_millis(200), Duration::from_secs(1));
    // The tune stands for hardware, which only its own words ask for.
    let script = format!(
        "echo \"$*\" >> {}; case \"$*\" in *zerolatency*) [ -e {} ] || exit 1;; esac; exec ffmpeg \"$@\"",
        log.display(),
        flag.display()
    );
    config.ffmpeg = Some(program(folder.path(), &script));
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let _encoder = Encoder::publish(&plane.url("key"));
    plane.status(channel, |status| status.ladder.reason == Some(LadderReason::CustomFailed)).await;
    let stream = plane.platform.renditions(|_| true).await.stream_id;
    // It is tried with one picture of one rendition, beside what runs.
    let is_try = |run: &&String| run.contains("zerolatency") && !run.contains("pipe:4");
    eventually("two tries", || runs(&log).iter().filter(is_try).count() >= 2).await;
    let before = runs(&log).iter().filter(|run| run.contains("pipe:4")).count();
    assert_eq!(before, 2, "what runs is left alone: {:?}", runs(&log));
    fs::write(&flag, "").unwrap();
    plane.status(channel, |status| status.ladder.reason.is_none() && status.ladder.renditions.len() == 2).await;
    let last = || runs(&log).into_iter().rfind(|run| run.contains("pipe:4"));
    eventually("it encodes", || last().is_some_and(|run| run.contains("zerolatency"))).await;
    media(&plane, stream, "120p", has_complete(2)).await;
    assert_eq!(plane.platform.all_renditions().len(), 1, "the same sizes are no news");
}

#[tokio::test]
async fn the_processor_takes_over_from_an_encoder_that_hangs_at_its_first_picture() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = ladder();
    config.encoder = RenditionEncoder::Custom(["-tune".to_owned(), "zerolatency".to_owned()].into());
    config.pace.silent_for = Duration::from_secs(3);
    // What it is about to write it says, as ffmpeg does when an encoder could be opened: a message without a picture.
    const BEGINS: &str = r"FLV\001\005\0\0\0\011\0\0\0\0\011\0\0\002\0\0\0\0\0\0\0\127\0\0\0\0\015";
    let script = format!(
        "case \"$*\" in *zerolatency*) printf '{BEGINS}' >&3; printf '{BEGINS}' >&4; exec sleep 600;; esac; exec ffmpeg \"$@\""
    );
    config.ffmpeg = Some(program(folder.path(), &script));
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let _encoder = Encoder::publish(&plane.url("key"));
    let is_replaced = |status: &IngestStatus| status.ladder.reason == Some(LadderReason::CustomFailed);
    let status = plane.status(channel, is_replaced).await;
    let stream = status.stream_id.unwrap();
    media(&plane, stream, "90p", has_complete(2)).await;
    media(&plane, stream, "120p", has_complete(2)).await;
}

#[tokio::test]
async fn where_the_processor_cannot_either_there_is_the_source() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let mut config = ladder();
    (config.encoder, config.pace.max_failures) = (RenditionEncoder::H264Qsv, 1);
    config.ffmpeg = Some(program(folder.path(), &format!("echo \"$*\" >> {}; exit 1", log.display())));
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let _encoder = Encoder::publish(&plane.url("key"));
    let report = plane.platform.renditions(|_| true).await;
    assert_eq!((report.renditions, report.reason), (vec![], RenditionsReason::FfmpegFailed));
    alone(&plane, channel, LadderReason::FfmpegFailed).await;
    let with_qsv: Vec<_> = runs(&log).iter().map(|run| run.contains("h264_qsv")).collect();
    assert_eq!(with_qsv, [true, false, false]);
}
