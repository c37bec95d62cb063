//! Publishers with a key that misbehave: clocks that jump, far too many bits, and silence. Each
//! is survived or refused with a reason, and others notice nothing.

use std::time::Duration;

use ingest::{Advice, IngestStatus, PublishState, packager::PackagerConfig};

use crate::{
    encoder::{self, Encoder, FlvTag},
    enhanced,
    guard::{MEMORY, resident_bytes},
    peer::{self, COMMAND, Peer, VIDEO, chunked, number, object, text},
    platform::{LONG, Plane},
};

/// How long a clip lasts.
const CLIP_MS: u32 = 3_000;

/// A message in one chunk with a timestamp of 32 bits: RTMP 1.0 section 5.3.1.3.
fn extended(tag: &FlvTag) -> Vec<u8> {
    let mut bytes = peer::header(6, tag.kind, 0xff_ffff, 1, tag.body.len());
    bytes.extend(tag.timestamp_ms.to_be_bytes());
    bytes.extend(&tag.body);
    bytes
}

/// Sends tags whatever their times, and says first that each is one chunk.
async fn send_extended(peer: &mut Peer, tags: &[FlvTag]) {
    peer.push(&chunked(2, 1, 0, 0, &0x00ff_ffff_u32.to_be_bytes())).await;
    for tag in tags {
        peer.push(&extended(tag)).await;
    }
}

fn shifted(tags: &[FlvTag], by_ms: u32) -> Vec<FlvTag> {
    tags.iter().map(|tag| FlvTag { timestamp_ms: tag.timestamp_ms.wrapping_add(by_ms), ..tag.clone() }).collect()
}

/// The clip so many times, one after the other.
fn clips(count: u32, from_ms: u32) -> Vec<FlvTag> {
    (0..count).flat_map(|round| shifted(encoder::clip(), from_ms.wrapping_add(round * CLIP_MS))).collect()
}

async fn playlist_with(plane: &Plane, what: &str) -> String {
    let stream = plane.platform.started().await;
    let path = format!("{stream}/source/index.m3u8");
    let poll = async {
        loop {
            let (status, playlist) = plane.get(&path).await;
            if status == 200 && playlist.contains(what) {
                return playlist;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, poll).await.unwrap_or_else(|_| panic!("no {what}"))
}

#[tokio::test]
async fn a_clock_that_jumps_by_hours_is_a_discontinuity_and_one_that_never_stops_is_refused() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let other = plane.platform.channel("other");
    let others = Encoder::publish(&plane.url("other"));
    plane.state(other, PublishState::Live).await;
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    let hours = 5 * 3_600_000;
    send_extended(&mut peer, &[clips(1, 0), clips(1, hours), clips(1, 0)].concat()).await;
    plane.state(channel, PublishState::Live).await;
    for round in 0..20_u32 {
        send_extended(&mut peer, &shifted(&encoder::clip()[..30], round.wrapping_mul(900_000_000))).await;
    }
    peer.hear("timestamps jump or stand still").await;
    peer.closed().await;
    let status = plane.status(channel, |status| status.last_refusal.is_some()).await;
    assert_eq!(status.last_refusal.unwrap().code, "erratic_timestamps");
    // What was good of it can be watched, and it may come back.
    assert_eq!(status.state, PublishState::Reconnecting);
    let _peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    plane.state(channel, PublishState::Live).await;
    assert_eq!(plane.ingest.status(other).state, PublishState::Live);
    assert!(plane.ingest.status(other).last_refusal.is_none());
    others.stop().await;
}

#[tokio::test]
async fn hundreds_of_megabits_are_refused_in_bounded_memory_and_others_go_on() {
    let _alone = MEMORY.lock().await;
    let plane = Plane::start_with(|config| config.packager = PackagerConfig::default()).await;
    let channel = plane.platform.channel("key");
    let other = plane.platform.channel("other");
    let others = Encoder::publish(&plane.url("other"));
    plane.state(other, PublishState::Live).await;
    let before = resident_bytes();
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    send_extended(&mut peer, &encoder::clip()[..2]).await;
    // A key frame of 4 MB every 40 ms: 800 Mbit/s, as one length-prefixed slice.
    let mut body = vec![0x17, 1, 0, 0, 0];
    body.extend((4_u32 << 20).to_be_bytes());
    body.push(0x65);
    body.resize(9 + (4 << 20), 0);
    for picture in 0..200_u32 {
        let tag = FlvTag { kind: VIDEO, timestamp_ms: 40 * picture, body: body.clone() };
        peer.push(&extended(&tag)).await;
    }
    let status = plane.status(channel, |status| status.last_refusal.is_some()).await;
    assert_eq!(status.last_refusal.unwrap().code, "bitrate_too_high");
    peer.closed().await;
    let used = resident_bytes().saturating_sub(before);
    // A segment of 4.4 s at half as much again as 100 Mbit/s are 83 MB, held once in parts and once on the way.
    assert!(used < 400 << 20, "{used} bytes");
    let health = plane.status(other, |status| status.health.is_some_and(|health| health.bitrate_kbps > 100)).await;
    assert_eq!(health.state, PublishState::Live);
    others.stop().await;
}

#[tokio::test]
async fn a_publisher_that_falls_silent_is_said_and_goes_on() {
    let plane = Plane::start_with(|config| config.timeouts.idle = 2 * LONG).await;
    let channel = plane.platform.channel("key");
    let mut peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    plane.state(channel, PublishState::Live).await;
    let silent = plane.status(channel, |status| status.advice.contains(&Advice::Silent)).await;
    assert!(silent.silent_ms > 3_000, "{}", silent.silent_ms);
    // It speaks on: what was said once is soon long ago on a machine that stands still.
    let goes_on = |status: &IngestStatus| status.silent_ms < 1_000 && !status.advice.contains(&Advice::Silent);
    let speaking = async {
        for round in 1.. {
            peer.send_tags(&clips(1, round * CLIP_MS)).await;
            tokio::time::sleep(Duration::from_millis(CLIP_MS.into())).await;
        }
    };
    tokio::select! {
        _ = plane.status(channel, goes_on) => {}
        () = speaking => {}
    }
    assert_eq!(plane.platform.reports().len(), 1);
}

#[tokio::test]
async fn capabilities_are_told_to_those_that_ask() {
    let plane = Plane::start().await;
    let connect = |more: &[(&str, Vec<u8>)]| {
        let properties = [&[("app", text("live")), ("flashVer", text("FMLE"))], more].concat();
        [text("connect"), number(7.0), object(&properties)].concat()
    };
    let list = [&[10, 0, 0, 0, 2][..], &text("av01"), &text("hvc1")].concat();
    let mut peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
    peer.command(0, &connect(&[("fourCcList", list), ("capsEx", number(0.0))])).await;
    peer.hear("NetConnection.Connect.Success").await;
    for word in ["fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "av01", "avc1", "mp4a", "capsEx"] {
        assert!(peer.has_heard(word), "{word}");
    }
    // The answer is to the transaction, and the conversation goes on after it.
    let result = [text("_result"), number(7.0)].concat();
    assert!(peer.heard.windows(result.len()).any(|window| window == result));
    peer.send(&chunked(3, COMMAND, 0, 0, &[text("createStream"), number(8.0), peer::null()].concat())).await;
    let result = [text("_result"), number(8.0)].concat();
    peer.hear(std::str::from_utf8(&result[..10]).unwrap()).await;

    let mut peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
    peer.command(0, &connect(&[])).await;
    peer.hear("NetConnection.Connect.Success").await;
    assert!(!peer.has_heard("fourCcList"));
}

#[tokio::test]
async fn av1_is_published_and_hevc_is_refused_without_a_ladder() {
    let plane = Plane::start_with(|config| config.ladder.is_enabled = false).await;
    let source = "-f lavfi -i testsrc2=size=320x180:rate=30:duration=4 -pix_fmt yuv420p";
    let sent = |tags: Vec<ingest::packager::Tag>| -> Vec<FlvTag> {
        tags.into_iter()
            .map(|tag| FlvTag { kind: VIDEO, timestamp_ms: tag.timestamp_ms, body: tag.body.to_vec() })
            .collect()
    };
    let channel = plane.platform.channel("av1");
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "av1").await;
    let av1 = enhanced::encode(&format!("{source} -c:v libsvtav1 -preset 12 -g 30"));
    send_extended(&mut peer, &sent(av1)).await;
    let status = plane.state(channel, PublishState::Live).await;
    assert_eq!(status.tracks.unwrap().video.unwrap().codec, "av01.0.00M.08");
    playlist_with(&plane, "EXTINF").await;

    let channel = plane.platform.channel("hevc");
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "hevc").await;
    let hevc =
        enhanced::encode(&format!("{source} -c:v libx265 -preset ultrafast -tag:v hvc1 -x265-params log-level=error"));
    send_extended(&mut peer, &sent(hevc)).await;
    peer.hear("this server makes no other quality of it").await;
    let status = plane.status(channel, |status| status.last_refusal.is_some()).await;
    assert_eq!(status.last_refusal.unwrap().code, "hevc_not_transcoded");
}
