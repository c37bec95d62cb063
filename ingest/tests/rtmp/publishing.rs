//! A real ffmpeg publishes, stops, is killed, frozen and refused.

use std::time::Duration;

use domain::streams::EndReason;
use ingest::{Advice, PublishState};

use crate::{
    encoder::{Encoder, clip},
    log,
    peer::{DATA, FLASH_VERSION, Peer, chunked, number, object, text},
    platform::{LONG, Plane, Report},
};

#[tokio::test]
async fn from_the_first_key_frame_to_a_clean_stop() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key-of-a-clean-stop");
    assert_eq!(plane.ingest.status(channel).state, PublishState::Waiting);
    let encoder = Encoder::publish(&plane.url("key-of-a-clean-stop"));
    let status = plane.status(channel, |status| status.tracks.is_some()).await;
    assert!(matches!(status.state, PublishState::Receiving | PublishState::Live));
    let status = plane.state(channel, PublishState::Live).await;
    let stream = plane.platform.started().await;
    assert_eq!(status.stream_id, Some(stream));
    assert!(status.connected_since.is_some());
    let tracks = status.tracks.unwrap();
    assert_eq!(tracks.video.as_ref().map(|video| (video.width, video.height)), Some((320, 180)));
    assert_eq!(tracks.audio.as_ref().map(|audio| audio.sample_rate), Some(48_000));
    assert!(matches!(&plane.platform.reports()[..], [Report::Started(started)]
        if started.channel_id == channel && started.video == tracks.video && started.audio == tracks.audio
            && started.encoder == status.encoder));
    // Its metadata says more than its greeting.
    let encoder_name = status.encoder.unwrap();
    assert!(encoder_name.as_str().starts_with("Lavf"), "{encoder_name:?}");

    encoder.stop().await;
    let reports = plane.platform.wait_for(2).await;
    assert_eq!(reports[1], Report::Ended(stream, EndReason::Unpublished));
    let status = plane.state(channel, PublishState::Waiting).await;
    assert_eq!((status.stream_id, status.last_refusal), (None, None));
    assert_eq!(log::with("key-of-a-clean-stop"), []);
}

#[tokio::test]
async fn the_key_may_carry_a_query() {
    let plane = Plane::start().await;
    plane.platform.channel("key");
    let encoder = Encoder::publish(&plane.url("key?bandwidth=1"));
    plane.platform.started().await;
    encoder.stop().await;
    plane.platform.wait_for(2).await;
}

#[tokio::test]
async fn killed_and_back_within_the_grace_time() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let encoder = Encoder::publish(&plane.url("key"));
    let stream = plane.platform.started().await;
    plane.state(channel, PublishState::Live).await;
    encoder.kill().await;
    let status = plane.state(channel, PublishState::Reconnecting).await;
    assert_eq!(status.stream_id, Some(stream));
    assert_eq!(status.connected_since, None);
    let waits_ms = status.waits_ms.expect("it waits");
    assert!(waits_ms <= 60_000, "{waits_ms} ms");
    plane.status(channel, |status| status.waits_ms.is_some_and(|later_ms| later_ms < waits_ms)).await;

    let encoder = Encoder::publish(&plane.url("key"));
    let status = plane.state(channel, PublishState::Live).await;
    assert_eq!((status.stream_id, status.waits_ms), (Some(stream), None));
    encoder.stop().await;
    let reports = plane.platform.wait_for(2).await;
    assert_eq!(reports[1..], [Report::Ended(stream, EndReason::Unpublished)]);
}

#[tokio::test]
async fn killed_and_not_back_within_the_grace_time() {
    let plane = Plane::start_with(|config| config.grace = Duration::from_millis(500)).await;
    let channel = plane.platform.channel("key");
    let encoder = Encoder::publish(&plane.url("key"));
    let stream = plane.platform.started().await;
    plane.state(channel, PublishState::Live).await;
    encoder.kill().await;
    let reports = plane.platform.wait_for(2).await;
    assert_eq!(reports[1], Report::Ended(stream, EndReason::ConnectionLost));
    plane.state(channel, PublishState::Waiting).await;

    // The next one is a stream of its own.
    let encoder = Encoder::publish(&plane.url("key"));
    let status = plane.state(channel, PublishState::Live).await;
    assert_ne!(status.stream_id, Some(stream));
    encoder.stop().await;
    plane.platform.wait_for(4).await;
}

#[tokio::test]
async fn a_silent_publisher_is_taken_over() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let frozen = Encoder::publish(&plane.url("key"));
    let stream = plane.platform.started().await;
    let first = plane.state(channel, PublishState::Live).await.connected_since;
    frozen.freeze();
    let encoder = Encoder::publish(&plane.url("key"));
    let status =
        plane.status(channel, |status| status.state == PublishState::Live && status.connected_since != first).await;
    assert_eq!(status.stream_id, Some(stream));
    assert_eq!(status.last_refusal, None);
    encoder.stop().await;
    let reports = plane.platform.wait_for(2).await;
    assert_eq!(reports[1..], [Report::Ended(stream, EndReason::Unpublished)]);
    frozen.kill().await;
}

#[tokio::test]
async fn a_second_publisher_beside_a_live_one() {
    // However long this machine stands still, that is no silence of the first.
    let plane = Plane::start_with(|config| config.takeover_after = 2 * LONG).await;
    let channel = plane.platform.channel("key");
    let encoder = Encoder::publish(&plane.url("key"));
    plane.state(channel, PublishState::Live).await;
    let mut second = Encoder::publish(&plane.url("key"));
    let (status, printed) = second.exit().await;
    assert!(!status.success());
    assert!(printed.contains("This channel is already live. Stop the other encoder first."), "{printed}");
    let status = plane.ingest.status(channel);
    assert_eq!(status.state, PublishState::Live);
    assert_eq!(status.last_refusal.unwrap().code, "already_live");
    encoder.stop().await;
    assert_eq!(plane.platform.wait_for(2).await.len(), 2);
}

#[tokio::test]
async fn a_wrong_key() {
    let plane = Plane::start().await;
    let mut encoder = Encoder::publish(&plane.url("a-wrong-key"));
    let (status, printed) = encoder.exit().await;
    assert!(!status.success());
    assert!(printed.contains("This stream key is not known or no longer valid."), "{printed}");
    assert_eq!(plane.platform.reports(), []);
    assert_eq!(log::with("a-wrong-key"), []);
}

#[tokio::test]
async fn no_key() {
    let plane = Plane::start().await;
    let mut encoder = Encoder::publish(&plane.url(""));
    let (status, printed) = encoder.exit().await;
    assert!(!status.success());
    assert!(printed.contains("No stream key was given."), "{printed}");
}

#[tokio::test]
async fn a_rotated_key() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("old");
    let mut encoder = Encoder::publish(&plane.url("old"));
    let stream = plane.platform.started().await;
    plane.state(channel, PublishState::Live).await;
    plane.platform.rotate("old", "new");
    plane.ingest.cut(channel, EndReason::KeyRotated);
    let (status, _) = encoder.exit().await;
    assert!(!status.success());
    let reports = plane.platform.wait_for(2).await;
    assert_eq!(reports[1], Report::Ended(stream, EndReason::KeyRotated));

    let (_, printed) = Encoder::publish(&plane.url("old")).exit().await;
    assert!(printed.contains("This stream key is not known or no longer valid."), "{printed}");
    let encoder = Encoder::publish(&plane.url("new"));
    plane.state(channel, PublishState::Live).await;
    encoder.stop().await;
    plane.platform.wait_for(4).await;
}

#[tokio::test]
async fn codecs_that_are_not_taken() {
    let plane = Plane::start_with(|config| config.grace = Duration::from_millis(100)).await;
    let channel = plane.platform.channel("key");
    for (codecs, code, text) in [
        (&["-c:v", "flv1", "-c:a", "aac"], "video_codec_unsupported", "choose H.264"),
        (&["-c:v", "libx264", "-c:a", "libmp3lame"], "audio_codec_unsupported", "choose AAC"),
    ] {
        let common = ["-pix_fmt", "yuv420p", "-g", "30", "-ar", "44100"];
        let codecs = codecs.iter().chain(&common).copied().collect::<Vec<_>>();
        let (status, printed) = Encoder::publish_as(&plane.url("key"), &codecs).exit().await;
        assert!(!status.success());
        assert!(printed.contains(text), "{printed}");
        let refusal = plane.state(channel, PublishState::Waiting).await.last_refusal.unwrap();
        assert_eq!(refusal.code, code);
        assert!(refusal.message.contains(text));
    }
    // mp3 is told by its first message, which may come after the first key frame: then the stream was one.
    let reports = plane.platform.reports();
    let ended = reports.iter().filter(|report| matches!(report, Report::Ended(_, EndReason::Error))).count();
    assert_eq!(reports.len(), 2 * ended);
}

#[tokio::test]
async fn a_stream_without_sound_gets_advice() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let encoder =
        Encoder::publish_as(&plane.url("key"), &["-an", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "30"]);
    // Where this machine is slow, there may be more.
    plane.status(channel, |status| status.advice.contains(&Advice::NoAudio)).await;
    encoder.stop().await;
    plane.platform.wait_for(2).await;
}

#[tokio::test]
async fn shutdown_ends_all_streams() {
    let plane = Plane::start().await;
    let channels = ["one", "two"].map(|key| plane.platform.channel(key));
    let mut one = Encoder::publish(&plane.url("one"));
    let two = Encoder::publish(&plane.url("two"));
    for channel in channels {
        plane.state(channel, PublishState::Live).await;
    }
    // One of them waits for its encoder.
    two.kill().await;
    plane.state(channels[1], PublishState::Reconnecting).await;
    plane.ingest.shutdown().await;
    let reports = plane.platform.reports();
    let ended = reports.iter().filter(|report| matches!(report, Report::Ended(_, EndReason::Shutdown))).count();
    assert_eq!((reports.len(), ended), (4, 2));
    let (status, _) = one.exit().await;
    assert!(!status.success());
    assert!(tokio::net::TcpStream::connect(plane.ingest.rtmp_addr()).await.is_err());
}

#[tokio::test]
async fn an_encoder_is_called_what_it_said_last() {
    let plane = Plane::start().await;
    let cases: [(&str, Option<&str>, &str); 3] = [
        ("key-of-greeting", None, FLASH_VERSION),
        ("key-of-metadata", Some("  obs-output module\r\n\0"), "obs-output module"),
        ("key-of-nothing-printable", Some("\u{7}\r\n"), FLASH_VERSION),
    ];
    for (key, said, expected) in cases {
        let channel = plane.platform.channel(key);
        let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), key).await;
        if let Some(said) = said {
            let metadata = object(&[("width", number(320.0)), ("encoder", text(said))]);
            let body = [text("@setDataFrame"), text("onMetaData"), metadata].concat();
            peer.send(&chunked(5, DATA, 0, 1, &body)).await;
        }
        // Neither is worth an end.
        peer.send(&chunked(5, DATA, 0, 1, b"\x02\x00\x0aonMetaData\x08\x00")).await;
        peer.send_tags(clip()).await;
        let status = plane.state(channel, PublishState::Live).await;
        assert_eq!(status.encoder.unwrap().as_str(), expected);
        let started = plane.platform.reports().into_iter().find_map(|report| match report {
            Report::Started(started) if started.channel_id == channel => started.encoder,
            _ => None,
        });
        assert_eq!(started.unwrap().as_str(), expected);
        peer.unpublish(key).await;
    }
}
