//! Peers that do what no encoder does: they are left, the others go on, and the log says it once.

use std::time::{Duration, Instant};

use ingest::PublishState;
use tracing::Level;

use crate::{
    encoder::{self, Encoder},
    log,
    peer::{self, COMMAND, DATA, Peer, VIDEO, chunked, connect, header, null, number, text},
    platform::{LONG, Plane},
};

/// Waits for the one debug line about a peer that was left.
async fn one_debug_line(peer: std::net::SocketAddr) -> String {
    let start = Instant::now();
    while log::about(peer).is_empty() {
        assert!(start.elapsed() < LONG, "no line about {peer}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let lines = log::about(peer);
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert_eq!(lines[0].0, Level::DEBUG, "{lines:?}");
    lines[0].1.clone()
}

/// The server closes the connection, says why in one line, and takes the next encoder.
async fn is_left(plane: &Plane, mut peer: Peer, because: &str) {
    peer.closed().await;
    let line = one_debug_line(peer.addr()).await;
    assert!(line.contains(because), "{line}");
    plane.platform.channel("afterwards");
    Peer::publishing_at_last(plane.ingest.rtmp_addr(), "afterwards").await.unpublish("afterwards").await;
}

#[tokio::test]
async fn amf0_nested_20_000_deep() {
    let plane = Plane::start().await;
    for level in [&b"\x03\x00\x01a"[..], b"\x0a\x00\x00\x00\x01", b"\x08\x00\x00\x00\x01\x00\x01a"] {
        // 16 levels are left of it when it is cut to what a peer without a key may send.
        for levels in [20_000, 10_000] {
            let mut peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
            let body = [text("connect"), number(1.0), level.repeat(levels)].concat();
            peer.push(&chunked(3, COMMAND, 0, 0, &body)).await;
            let too_long = body.len() > 64 * 1024;
            is_left(&plane, peer, if too_long { "above the limit" } else { "nested deeper than 16" }).await;
        }
    }
}

#[tokio::test]
async fn a_lone_set_data_frame() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let lone = text("@setDataFrame");
    // Before the key.
    let mut peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
    peer.send(&chunked(3, DATA, 0, 0, &lone)).await;
    peer.command(0, &connect("live")).await;
    peer.hear("NetConnection.Connect.Success").await;
    // And in mid-stream.
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    peer.send(&chunked(3, DATA, 0, 1, &lone)).await;
    peer.send_tags(encoder::clip()).await;
    plane.state(channel, PublishState::Live).await;
}

#[tokio::test]
async fn interleaved_chunks_of_two_chunk_streams() {
    let plane = Plane::start().await;
    let mut peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
    let padding = "x".repeat(200);
    let connect = [text("connect"), number(1.0), peer::object(&[("app", text("live")), ("flashVer", text(&padding))])];
    let (connect, other) = (connect.concat(), [text("FCPublish"), number(2.0), null(), text(&padding)].concat());
    let bytes = [
        &header(3, COMMAND, 0, 0, connect.len())[..],
        &connect[..128],
        &header(4, COMMAND, 0, 0, other.len()),
        &other[..128],
        &[0xc3],
        &connect[128..],
        &[0xc4],
        &other[128..],
    ]
    .concat();
    peer.send(&bytes).await;
    peer.hear("NetConnection.Connect.Success").await;
}

#[tokio::test]
async fn a_length_of_16_megabytes() {
    let plane = Plane::start().await;
    plane.platform.channel("key");
    for type_id in [VIDEO, COMMAND, DATA] {
        let mut peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
        peer.send(&header(3, type_id, 0, 0, 0xff_ffff)).await;
        is_left(&plane, peer, "a message of 16777215 bytes").await;
    }
    // With a key: 8 MB of picture are the most.
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    peer.send(&header(6, VIDEO, 0, 1, (8 << 20) + 1)).await;
    peer.closed().await;
}

#[tokio::test]
async fn commands_of_fewer_than_three_values() {
    let plane = Plane::start().await;
    for body in [text("connect"), [text("connect"), number(1.0)].concat(), Vec::new(), null()] {
        let mut peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
        peer.command(0, &body).await;
        is_left(&plane, peer, "a malformed command").await;
    }
}

#[tokio::test]
async fn handshakes_that_are_none() {
    let plane = Plane::start_with(|config| config.timeouts.handshake = Duration::from_millis(300)).await;
    for (bytes, because) in [
        (b"GET / HTTP/1.1\r\nHost: weir\r\n\r\n".to_vec(), "a handshake that is none"),
        (vec![6], "a handshake that is none"),
        (vec![3], "no handshake within"),
        (vec![3; 1000], "no handshake within"),
        ([&[3][..], &[7; 1536], &[8; 1000]].concat(), "no handshake within"),
    ] {
        let mut peer = Peer::connect(plane.ingest.rtmp_addr()).await;
        peer.send(&bytes).await;
        is_left(&plane, peer, because).await;
    }
    // One that hangs up in the middle.
    let mut peer = Peer::connect(plane.ingest.rtmp_addr()).await;
    peer.send(&[3; 700]).await;
    let addr = peer.addr();
    drop(peer);
    one_debug_line(addr).await;
}

#[tokio::test]
async fn chunks_that_are_none() {
    let plane = Plane::start_with(|config| config.timeouts.publish = Duration::from_millis(500)).await;
    let truncated = chunked(3, COMMAND, 0, 0, &connect("live"));
    for (bytes, because) in [
        (vec![0xc4; 10], "shortened header"),
        ([header(2, 1, 0, 0, 4), vec![0; 4]].concat(), "a chunk size of 0"),
        ([header(3, COMMAND, 0, 0, 300), vec![2; 128], header(3, COMMAND, 0, 0, 300)].concat(), "a new message"),
        (truncated[..truncated.len() - 1].to_vec(), "no publish request within"),
    ] {
        let mut peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
        peer.send(&bytes).await;
        is_left(&plane, peer, because).await;
    }
}

#[tokio::test]
async fn a_talkative_peer_without_a_key() {
    let plane = Plane::start().await;
    let mut peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
    peer.push(&chunked(4, DATA, 0, 0, &[5; 30_000]).repeat(10)).await;
    is_left(&plane, peer, "without a stream key").await;
}

#[tokio::test]
async fn a_peer_that_says_nothing() {
    let plane = Plane::start_with(|config| {
        config.timeouts.handshake = Duration::from_millis(200);
        config.timeouts.publish = Duration::from_millis(200);
    })
    .await;
    let peer = Peer::connect(plane.ingest.rtmp_addr()).await;
    is_left(&plane, peer, "no handshake within").await;
    let peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
    is_left(&plane, peer, "no publish request within").await;
}

#[tokio::test]
async fn a_player_and_another_application() {
    let plane = Plane::start().await;
    let mut peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
    peer.command(0, &connect("vod")).await;
    peer.hear("NetConnection.Connect.InvalidApp").await;
    is_left(&plane, peer, "another application").await;

    let mut peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
    peer.command(0, &connect("live/")).await;
    peer.command(0, &[text("createStream"), number(2.0), null()].concat()).await;
    peer.command(1, &[text("play"), number(3.0), null(), text("key")].concat()).await;
    peer.hear("NetStream.Play.Failed").await;
    is_left(&plane, peer, "play").await;
}

#[tokio::test]
async fn limits_of_connections() {
    let plane = Plane::start_with(|config| config.limits.connections_per_address = 3).await;
    plane.platform.channel("key");
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(Peer::shaken(plane.ingest.rtmp_addr()).await);
    }
    let mut fourth = Peer::connect(plane.ingest.rtmp_addr()).await;
    fourth.closed().await;
    assert!(one_debug_line(fourth.addr()).await.contains("too many connections"));
    let gone = held.pop().unwrap();
    let addr = gone.addr();
    drop(gone);
    one_debug_line(addr).await;
    Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
}

/// Who looks at the memory of the process, and who fills it, run one after the other.
pub static MEMORY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The memory of this process that is in use.
pub fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test]
async fn idle_connections_beside_a_publisher() {
    let _alone = MEMORY.lock().await;
    // They are as patient as the test is slow.
    let plane = Plane::start_with(|config| config.timeouts.handshake = 10 * LONG).await;
    let channel = plane.platform.channel("key");
    let encoder = Encoder::publish(&plane.url("key"));
    plane.state(channel, PublishState::Live).await;
    let before = resident_bytes();
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(Peer::connect(plane.ingest.rtmp_addr()).await);
    }
    // The publisher's figures go on being renewed while all of them are there.
    let status = plane.status(channel, |status| status.health.is_some_and(|health| health.bitrate_kbps > 100)).await;
    assert_eq!(status.state, PublishState::Live);
    let used = resident_bytes().saturating_sub(before);
    // Other tests run in this process; 16 MB for 200 connections would still be far too much.
    assert!(used < 48 << 20, "{used} bytes for 200 idle connections");
    assert_eq!(plane.platform.reports().len(), 1);
    let addrs = idle.iter().map(Peer::addr).collect::<Vec<_>>();
    drop(idle);
    for addr in addrs {
        assert!(one_debug_line(addr).await.contains("hung up"));
    }
    encoder.stop().await;
}

#[tokio::test]
async fn a_panic_ends_its_connection_alone() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let mut publisher = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    let mut peer = Peer::asking(plane.ingest.rtmp_addr(), "a key that panics").await;
    peer.closed().await;
    let lines = log::about(peer.addr());
    assert!(matches!(&lines[..], [(Level::ERROR, line)] if line.contains("panicked")), "{lines:?}");
    publisher.send_tags(encoder::clip()).await;
    plane.state(channel, PublishState::Live).await;
}

#[tokio::test]
async fn pings_and_acknowledgements() {
    let plane = Plane::start().await;
    plane.platform.channel("key");
    let mut peer = Peer::shaken(plane.ingest.rtmp_addr()).await;
    let ping = |time: &[u8]| chunked(2, 4, 0, 0, &[&[0, 6][..], time].concat());
    peer.send(&ping(b"one!")).await;
    peer.hear("\0\x07one!").await;
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    peer.send(&ping(b"two!")).await;
    peer.hear("\0\x07two!").await;
    // The smallest window: something every 64 kB.
    peer.send(&chunked(2, 5, 0, 0, &1_u32.to_be_bytes())).await;
    peer.send(&chunked(4, DATA, 0, 1, &[5; 60_000]).repeat(2)).await;
    // An acknowledgement is 4 bytes, type 3, on no stream.
    peer.hear("\0\0\x04\x03\0\0\0\0").await;
}
