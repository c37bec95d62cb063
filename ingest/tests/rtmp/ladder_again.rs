//! Renditions that were not made, and are when there is room for them again.

use std::{num::NonZero, thread, time::Duration};

use domain::streams::{Rendition, RenditionsReason};
use ingest::{LadderReason, Rung};
use metrics_exporter_prometheus::PrometheusBuilder;
use tokio::time::timeout;

use crate::{
    encoder::Encoder,
    ladder::{count, eventually, has_complete, ladder, media, plane, program, rendition, rung},
    platform::{LONG, Plane, ReportedRenditions},
};

#[tokio::test]
async fn what_was_too_slow_is_tried_again_and_stays_once_it_keeps_up() {
    const DROPPED: &str = r#"weir_ladder_dropped_total{reason="too_slow"}"#;
    const RETRIED: &str = "weir_ladder_retried_total";
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    // All tasks of a test are on its thread.
    let _recording = metrics::set_default_local_recorder(&recorder);
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("has-time");
    let mut config = ladder();
    (config.pace.max_lag, config.pace.late_for) = (Duration::from_secs(2), Duration::from_secs(1));
    (config.pace.again_after, config.pace.again_at_most) = (Duration::from_millis(500), Duration::from_secs(1));
    // Two renditions are made at a fifth of the speed at which they are needed, for as long as the machine has no time.
    let script = format!(
        "case \"$*\" in *pipe:4*) [ -e {} ] || exec ffmpeg -readrate 0.2 \"$@\";; esac; exec ffmpeg \"$@\"",
        flag.display()
    );
    config.ffmpeg = Some(program(folder.path(), &script));
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    assert_eq!((count(&figures, DROPPED), count(&figures, RETRIED)), (0, 0));
    let _encoder = Encoder::publish(&plane.url("key"));
    let report = plane.platform.renditions(|report| report.reason == RenditionsReason::TooSlow).await;
    assert_eq!(report.renditions, [rendition("90p", 160, 90)]);
    let status = plane.status(channel, |status| status.ladder.renditions.len() == 1).await;
    assert_eq!(status.ladder.reason, Some(LadderReason::TooSlow));
    // It is tried, and is too slow again.
    eventually("a try that failed", || count(&figures, RETRIED) >= 1 && count(&figures, DROPPED) >= 2).await;
    std::fs::write(&flag, "").unwrap();
    plane.status(channel, |status| status.ladder.renditions.len() == 2 && status.ladder.reason.is_none()).await;
    let playlist = media(&plane, report.stream_id, "120p", has_complete(3)).await;
    let source = media(&plane, report.stream_id, "source", has_complete(3)).await;
    assert_eq!(playlist.findings_beside(&source), [] as [String; 0]);
    plane.platform.renditions(|report| report.reason == RenditionsReason::Recovered).await;
    let both = [rendition("120p", 214, 120), rendition("90p", 160, 90)];
    let are_both = |report: &ReportedRenditions| report.renditions == both;
    eventually("both are reported", || plane.platform.all_renditions().last().is_some_and(are_both)).await;
}

/// Waits for a report of so many renditions among those from this one on, with more patience than one try needs.
async fn after(plane: &Plane, first: usize, count: usize) -> ReportedRenditions {
    let poll = async {
        loop {
            let reports = plane.platform.all_renditions();
            let found = reports.iter().skip(first).find(|report| report.renditions.len() == count);
            if let Some(report) = found {
                return report.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(4 * LONG, poll).await.unwrap_or_else(|_| panic!("not reported: {:?}", plane.platform.all_renditions()))
}

#[tokio::test]
async fn a_stream_without_any_gets_them_back_one_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("has-time");
    let mut config = ladder();
    (config.pace.max_lag, config.pace.late_for) = (Duration::from_secs(2), Duration::from_secs(1));
    // Much longer than it takes to see that the other one is too slow, too.
    (config.pace.again_after, config.pace.again_at_most) = (Duration::from_secs(20), Duration::from_secs(20));
    let script = format!("[ -e {} ] || exec ffmpeg -readrate 0.2 \"$@\"; exec ffmpeg \"$@\"", flag.display());
    config.ffmpeg = Some(program(folder.path(), &script));
    let plane = plane(config).await;
    let channel = plane.platform.channel("key");
    let _encoder = Encoder::publish(&plane.url("key"));
    let report = after(&plane, 0, 0).await;
    assert_eq!(report.reason, RenditionsReason::TooSlow);
    std::fs::write(&flag, "").unwrap();
    // The smallest is there before there are two.
    let none_at = plane.platform.all_renditions().iter().rposition(|report| report.renditions.is_empty()).unwrap();
    after(&plane, none_at, 1).await;
    after(&plane, none_at, 2).await;
    let reports = plane.platform.all_renditions();
    let counts: Vec<_> = reports[none_at..].iter().map(|report| report.renditions.len()).collect();
    assert_eq!(counts, [0, 1, 2], "{reports:?}");
    plane.status(channel, |status| status.ladder.renditions.len() == 2 && status.ladder.reason.is_none()).await;
    media(&plane, report.stream_id, "120p", has_complete(2)).await;
}

#[tokio::test]
async fn what_another_stream_leaves_goes_to_the_one_that_was_refused() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let figures = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let folder = tempfile::tempdir().unwrap();
    let mut config = ladder();
    // Expected to take 0.21 of a core, as the slowest preset does; made with the fastest.
    config.rungs = vec![Rung { preset: Some("placebo".to_owned()), ..rung("170p", 170) }];
    let script = r#"for word in "$@"; do [ "$word" = placebo ] && word=ultrafast; set -- "$@" "$word"; shift; done
exec ffmpeg "$@""#;
    config.ffmpeg = Some(program(folder.path(), script));
    // Room for one of them, on up to 20 cores.
    let cores = thread::available_parallelism().map_or(1, NonZero::get) as u32;
    config.cpu_percent = 220_u32.div_ceil(10 * cores);
    let plane = plane(config).await;
    let (first, second) = (plane.platform.channel("first"), plane.platform.channel("second"));
    let made = [Rendition { bitrate_kbps: 340, ..rendition("170p", 302, 170) }];

    let encoder = Encoder::publish(&plane.url("first"));
    plane.status(first, |status| status.ladder.renditions.len() == 1).await;
    let _encoder = Encoder::publish(&plane.url("second"));
    let status = plane.status(second, |status| status.ladder.reason == Some(LadderReason::NoBudget)).await;
    let stream = status.stream_id.unwrap();
    let report = plane.platform.renditions(|report| report.stream_id == stream).await;
    assert_eq!((report.renditions, report.reason), (vec![], RenditionsReason::NoBudget));
    assert_eq!(count(&figures, r#"weir_ladder_dropped_total{reason="no_budget"}"#), 1);

    encoder.stop().await;
    let is_freed = |report: &ReportedRenditions| report.reason == RenditionsReason::BudgetFreed;
    let report = plane.platform.renditions(is_freed).await;
    assert_eq!((report.stream_id, report.renditions.as_slice()), (stream, made.as_slice()));
    let status = plane.status(second, |status| status.ladder.renditions.len() == 1).await;
    assert_eq!(status.ladder.reason, None);
    media(&plane, stream, "170p", has_complete(2)).await;
}
