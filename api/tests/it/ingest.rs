use api::{Advice, IngestRefusal, IngestRendition, IngestSample, IngestState, IngestStatus};
use domain::streams::{AudioTrack, VideoTrack};
use insta::assert_json_snapshot;
use time::macros::datetime;
use uuid::Uuid;

use crate::{redact::redact, site::Site};

const PATH: &str = "/api/v1/channels/river/ingest";

#[tokio::test]
async fn the_owner_sees_the_encoder() {
    let site = Site::start().await;
    let (mira, noor) = (site.register("mira").await, site.register("noor").await);
    site.channel(&mira, "river").await;
    let waiting = site.send(site.get(PATH).bearer_auth(&mira.token)).await;
    assert_eq!(waiting.status, 200);
    assert_json_snapshot!("ingest_waiting", redact(waiting.json()));
    *site.media.status.lock().unwrap() = Some(IngestStatus {
        state: IngestState::Live,
        stream_id: Some(Uuid::now_v7().into()),
        connected_since: Some(datetime!(2026-11-21 10:00 UTC)),
        video: Some(VideoTrack { codec: "avc1.64001f".to_owned(), width: 1280, height: 720, frame_rate: 29.97 }),
        audio: Some(AudioTrack { codec: "mp4a.40.2".to_owned(), sample_rate: 48_000, channels: 2 }),
        encoder: domain::streams::EncoderName::from_sent("Lavf61.1.100"),
        bitrate_kbps: Some(4_500),
        keyframe_interval_ms: Some(8_000),
        frame_rate: Some(29.8),
        jitter_ms: Some(40),
        missing_frames: Some(1),
        sound_ahead_ms: Some(-20),
        silent_ms: Some(15),
        waits_ms: None,
        history: vec![IngestSample { bitrate_kbps: 4_400, frame_rate: 30.0, jitter_ms: 12, missing_frames: 0 }],
        renditions: vec![IngestRendition {
            name: "480p".to_owned(),
            width: 854,
            height: 480,
            frame_rate: 29.97,
            bitrate_kbps: 1_200,
            lag_ms: 600,
        }],
        renditions_remark: Some(Advice { code: "no_budget".into(), message: "The processors are busy.".into() }),
        advice: vec![Advice { code: "keyframes_far_apart".into(), message: "Set it to 2 seconds.".into() }],
        last_refusal: Some(IngestRefusal {
            code: "codec_unsupported".into(),
            message: "Use H.264.".into(),
            at: datetime!(2026-11-21 09:00 UTC),
        }),
    });
    let live = site.send(site.get(PATH).bearer_auth(&mira.token)).await;
    assert_json_snapshot!("ingest_live", redact(live.json()));
    let refused = site.send(site.get(PATH).bearer_auth(&noor.token)).await;
    assert_eq!(refused.problem(), (403, "forbidden".to_owned()));
    let unknown = site.send(site.get("/api/v1/channels/sea/ingest").bearer_auth(&mira.token)).await;
    assert_eq!(unknown.problem(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn a_media_plane_that_is_away_is_503() {
    let site = Site::start().await;
    let mira = site.register("mira").await;
    site.channel(&mira, "river").await;
    *site.media.is_away.lock().unwrap() = true;
    let answer = site.send(site.get(PATH).bearer_auth(&mira.token)).await;
    assert_eq!(answer.problem(), (503, "unavailable".to_owned()));
    assert_eq!(answer.header("retry-after"), "1");
}
