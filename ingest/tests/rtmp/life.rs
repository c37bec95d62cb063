//! The life of a stream while the write side is away, says no, or remembers streams from before a crash.

use std::{sync::Arc, time::Duration};

use domain::{ids::StreamId, streams::EndReason};
use ingest::{OpenStream, PublishError, PublishState};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::{
    encoder,
    peer::{Peer, VIDEO, chunked},
    platform::{LONG, Plane, Platform, Report},
};

#[tokio::test]
async fn nothing_is_reported_before_the_first_key_frame() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    let is_key_frame = |tag: &&encoder::FlvTag| tag.kind == VIDEO && tag.body[..2] == [0x17, 1];
    let before = encoder::clip().iter().take_while(|tag| !is_key_frame(tag)).cloned().collect::<Vec<_>>();
    peer.send_tags(&before).await;
    plane.state(channel, PublishState::Receiving).await;
    peer.unpublish("key").await;
    plane.state(channel, PublishState::Waiting).await;
    assert_eq!(plane.platform.reports(), []);
}

#[tokio::test]
async fn the_write_side_is_away_when_a_stream_ends() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let stream = plane.platform.started().await;
    plane.platform.set_away(true);
    peer.unpublish("key").await;
    plane.state(channel, PublishState::Waiting).await;
    plane.platform.turned_away(3).await;
    plane.platform.set_away(false);
    // The next stream starts only once the end of the last is stored.
    let _peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let reports = plane.platform.wait_for(3).await;
    assert_eq!(reports[1], Report::Ended(stream, EndReason::Unpublished));
    assert!(matches!(reports[2], Report::Started(_)));
    plane.state(channel, PublishState::Live).await;
}

#[tokio::test]
async fn the_write_side_is_away_for_a_moment_when_a_stream_starts() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    plane.platform.set_away(true);
    peer.send_tags(encoder::clip()).await;
    plane.platform.turned_away(2).await;
    assert_eq!(plane.ingest.status(channel).state, PublishState::Receiving);
    plane.platform.set_away(false);
    plane.state(channel, PublishState::Live).await;
    assert_eq!(plane.platform.reports().len(), 1);
}

#[tokio::test]
async fn the_write_side_stays_away_when_a_stream_starts() {
    let plane = Plane::start_with(|config| config.patience.publish = Duration::from_millis(500)).await;
    let channel = plane.platform.channel("key");
    let mut peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    plane.platform.set_away(true);
    peer.send_tags(encoder::clip()).await;
    peer.hear("Please try again.").await;
    peer.closed().await;
    let status = plane.state(channel, PublishState::Waiting).await;
    assert_eq!(status.last_refusal.unwrap().code, "unavailable");
    // The start may have been stored, so it is undone when the write side is back.
    plane.platform.set_away(false);
    assert!(matches!(plane.platform.wait_for(1).await[..], [Report::Ended(_, EndReason::Error)]));
}

#[tokio::test]
async fn the_write_side_is_away_when_a_key_is_shown() {
    let plane = Plane::start_with(|config| config.patience.publish = Duration::from_millis(300)).await;
    plane.platform.channel("key");
    // Started by now: what follows is about the key.
    Peer::publishing(plane.ingest.rtmp_addr(), "key").await.unpublish("key").await;
    plane.platform.set_away(true);
    let mut peer = Peer::asking(plane.ingest.rtmp_addr(), "key").await;
    // The publish is accepted and broken off, after which OBS tries again by itself.
    peer.hear("NetStream.Publish.Start").await;
    peer.hear("Please try again.").await;
    peer.closed().await;
    plane.platform.set_away(false);
    Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
}

#[tokio::test]
async fn a_start_that_is_refused() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    *plane.platform.start_refusal.lock().unwrap() = Some(PublishError::AlreadyLive);
    let mut peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    peer.hear("NetStream.Publish.BadName").await;
    peer.closed().await;
    let status = plane.state(channel, PublishState::Waiting).await;
    assert_eq!(status.last_refusal.unwrap().code, "already_live");
    assert_eq!(plane.platform.reports(), []);
    // Nothing is left of it.
    let _peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    plane.state(channel, PublishState::Live).await;
}

/// The number in a line of a playlist.
fn number(playlist: &str, line: &str) -> u64 {
    playlist
        .lines()
        .find_map(|text| text.strip_prefix(line))
        .unwrap_or_else(|| panic!("{line}: {playlist}"))
        .parse()
        .unwrap()
}

fn open(platform: &Platform, key: &str) -> OpenStream {
    let stream = OpenStream {
        stream_id: StreamId::from(Uuid::now_v7()),
        channel_id: platform.channel(key),
        started_at: OffsetDateTime::now_utc() - time::Duration::seconds(100),
    };
    platform.leave_open(stream.clone());
    stream
}

#[tokio::test]
async fn an_encoder_comes_back_after_a_crash() {
    let platform = Arc::new(Platform::default());
    let stream = open(&platform, "key");
    let plane = Plane::start_on(platform, |_| {}).await;
    let status = plane.state(stream.channel_id, PublishState::Reconnecting).await;
    assert_eq!(status.stream_id, Some(stream.stream_id));
    // A player that asks meanwhile is not told that there is no such stream.
    let address = format!("{}/index.m3u8", stream.stream_id);
    let waiting = async {
        loop {
            // It waits, and asks again when it has waited for so long as nothing takes by itself.
            match plane.get(&address).await.0 {
                503 => {}
                status => return status,
            }
        }
    };
    let encoder = async {
        sleep(Duration::from_millis(300)).await;
        Peer::on_air(plane.ingest.rtmp_addr(), "key").await
    };
    let (status, peer) = tokio::join!(waiting, encoder);
    assert_eq!(status, 200);
    let status = plane.state(stream.channel_id, PublishState::Live).await;
    assert_eq!(status.stream_id, Some(stream.stream_id));
    // Numbering is ahead of whatever the crashed process can have used in 100 s.
    let playlist = plane.playlist(stream.stream_id).await;
    assert!(number(&playlist, "#EXT-X-MEDIA-SEQUENCE:") >= 300, "{playlist}");
    assert!(number(&playlist, "#EXT-X-DISCONTINUITY-SEQUENCE:") >= 100, "{playlist}");
    peer.unpublish("key").await;
    let reports = plane.platform.wait_for(1).await;
    assert_eq!(reports, [Report::Ended(stream.stream_id, EndReason::Unpublished)]);
}

#[tokio::test]
async fn an_encoder_does_not_come_back_after_a_crash() {
    let platform = Arc::new(Platform::default());
    let stream = open(&platform, "key");
    let plane = Plane::start_on(platform, |config| config.grace = Duration::from_millis(200)).await;
    let reports = plane.platform.wait_for(1).await;
    assert_eq!(reports, [Report::Ended(stream.stream_id, EndReason::Crashed)]);
    plane.state(stream.channel_id, PublishState::Waiting).await;
}

#[tokio::test]
async fn the_write_side_is_away_at_the_start() {
    let platform = Arc::new(Platform::default());
    let stream = open(&platform, "key");
    platform.set_away(true);
    let plane = Plane::start_on(platform, |_| {}).await;
    // Nobody is admitted before the open streams are known.
    let mut peer = Peer::asking(plane.ingest.rtmp_addr(), "key").await;
    plane.platform.turned_away(2).await;
    assert!(!peer.has_heard("NetStream.Publish.Start"));
    plane.platform.set_away(false);
    peer.hear("NetStream.Publish.Start").await;
    peer.send_tags(encoder::clip()).await;
    let status = plane.state(stream.channel_id, PublishState::Live).await;
    assert_eq!(status.stream_id, Some(stream.stream_id));
}

#[tokio::test]
async fn a_connection_that_falls_silent_is_lost() {
    let plane = Plane::start_with(|config| config.timeouts.idle = Duration::from_millis(300)).await;
    let channel = plane.platform.channel("key");
    let mut peer = said_at_once(&plane).await;
    plane.state(channel, PublishState::Reconnecting).await;
    peer.closed().await;
}

/// An encoder that has sent the clip before it heard that it may: it is there by the time that silence is counted from.
async fn said_at_once(plane: &Plane) -> Peer {
    let clip = encoder::clip();
    let mut peer = Peer::asking(plane.ingest.rtmp_addr(), "key").await;
    peer.send_tags(clip).await;
    peer
}

#[tokio::test]
async fn a_connection_that_talks_of_other_things_is_lost() {
    let plane = Plane::start_with(|config| config.timeouts.idle = Duration::from_millis(300)).await;
    let channel = plane.platform.channel("key");
    let mut peer = said_at_once(&plane).await;
    let ping = chunked(2, 4, 0, 0, &[0, 6, 0, 0, 0, 1]);
    let began = Instant::now();
    while plane.ingest.status(channel).state != PublishState::Reconnecting {
        assert!(began.elapsed() < LONG);
        peer.push(&ping).await;
        sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn a_publisher_without_a_key_frame_does_not_lengthen_the_grace_time() {
    let plane = Plane::start_with(|config| config.grace = Duration::from_millis(600)).await;
    let channel = plane.platform.channel("key");
    let peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let stream = plane.platform.started().await;
    drop(peer);
    plane.state(channel, PublishState::Reconnecting).await;
    let lost = Instant::now();
    while plane.platform.reports().len() < 2 {
        assert!(lost.elapsed() < LONG);
        let peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
        drop(peer);
    }
    assert_eq!(plane.platform.reports()[1], Report::Ended(stream, EndReason::ConnectionLost));
}

#[tokio::test]
async fn a_key_asked_for_before_a_cut_is_asked_for_again() {
    let plane = Plane::start_with(|config| config.takeover_after = 2 * LONG).await;
    let channel = plane.platform.channel("old");
    let mut holder = Peer::publishing(plane.ingest.rtmp_addr(), "old").await;
    // Waits to see whether the holder is silent: its key was found good before the rotation.
    let mut newcomer = Peer::asking(plane.ingest.rtmp_addr(), "old").await;
    plane.platform.asked_for_keys(2).await;
    plane.platform.rotate("old", "new");
    plane.ingest.cut(channel, EndReason::KeyRotated);
    holder.hear("The stream key was changed.").await;
    newcomer.hear("This stream key is not known or no longer valid.").await;
}

#[tokio::test]
async fn a_stream_on_a_grace_time_can_be_cut_and_stopped() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let stream = plane.platform.started().await;
    drop(peer);
    plane.state(channel, PublishState::Reconnecting).await;
    plane.ingest.cut(channel, EndReason::KeyRotated);
    assert_eq!(plane.platform.wait_for(2).await[1], Report::Ended(stream, EndReason::KeyRotated));

    let peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    plane.platform.wait_for(3).await;
    drop(peer);
    plane.state(channel, PublishState::Reconnecting).await;
    // Back, and stopped before a key frame.
    let peer = Peer::publishing(plane.ingest.rtmp_addr(), "key").await;
    peer.unpublish("key").await;
    let reports = plane.platform.wait_for(4).await;
    assert!(matches!(reports[3], Report::Ended(_, EndReason::Unpublished)));
}

#[tokio::test]
async fn a_broadcast_goes_on_over_a_lost_connection_and_stays_after_its_end() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let stream = plane.platform.started().await;
    let before = plane.playlist(stream).await;
    assert!(!before.contains("#EXT-X-DISCONTINUITY\n"), "{before}");
    drop(peer);
    plane.state(channel, PublishState::Reconnecting).await;
    assert!(!plane.playlist(stream).await.contains("#EXT-X-ENDLIST"));

    let peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    plane.state(channel, PublishState::Live).await;
    let (status, _) = plane.get(&format!("channels/{channel}/index.m3u8")).await;
    assert_eq!(status, 200);
    let after = plane.playlist(stream).await;
    assert!(after.contains("#EXT-X-DISCONTINUITY\n"), "{after}");
    peer.unpublish("key").await;
    plane.platform.wait_for(2).await;
    assert!(plane.playlist(stream).await.contains("#EXT-X-ENDLIST"));
    let (status, _) = plane.get(&format!("channels/{channel}/index.m3u8")).await;
    assert_eq!(status, 404);
}

#[tokio::test]
async fn what_is_left_of_a_stream_goes_after_a_while() {
    let plane = Plane::start_with(|config| config.linger = Duration::from_millis(100)).await;
    plane.platform.channel("key");
    let peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let stream = plane.platform.started().await;
    plane.playlist(stream).await;
    peer.unpublish("key").await;
    plane.platform.wait_for(2).await;
    plane.gone(stream).await;
}

/// What is in no codec that is known here.
fn rubbish() -> encoder::FlvTag {
    encoder::FlvTag { kind: VIDEO, timestamp_ms: 4_000, body: b"\x90vvc1\x01\0\0\0".to_vec() }
}

#[tokio::test]
async fn an_encoder_that_sends_rubbish_may_come_back_and_do_better() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("key");
    let mut peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let stream = plane.platform.started().await;
    peer.send_tag(&rubbish()).await;
    peer.hear("NetStream.Publish.Rejected").await;
    peer.closed().await;
    let status = plane.state(channel, PublishState::Reconnecting).await;
    assert_eq!(status.last_refusal.unwrap().code, "video_codec_unsupported");

    let _peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let status = plane.state(channel, PublishState::Live).await;
    assert_eq!(status.stream_id, Some(stream));
    assert_eq!(plane.platform.reports().len(), 1);
}

#[tokio::test]
async fn an_encoder_that_sends_rubbish_and_does_not_come_back_ends_its_stream_as_an_error() {
    let plane = Plane::start_with(|config| config.grace = Duration::from_millis(100)).await;
    plane.platform.channel("key");
    let mut peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let stream = plane.platform.started().await;
    peer.send_tag(&rubbish()).await;
    peer.closed().await;
    let reports = plane.platform.wait_for(2).await;
    assert_eq!(reports[1..], [Report::Ended(stream, EndReason::Error)]);
}

#[tokio::test]
async fn a_publisher_is_not_silent_because_this_process_stood_still() {
    const SILENCE: Duration = Duration::from_secs(1);
    let mut rounds = 0;
    let began = Instant::now();
    while rounds < 3 {
        assert!(began.elapsed() < LONG);
        let plane = Plane::start_with(|config| config.takeover_after = SILENCE).await;
        let channel = plane.platform.channel("key");
        encoder::clip();
        let connects = Instant::now();
        let mut holder = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
        plane.state(channel, PublishState::Live).await;
        let mut newcomer = Peer::asking(plane.ingest.rtmp_addr(), "key").await;
        plane.platform.asked_for_keys(2).await;
        // It has spoken, and nobody reads that before it is later than last words come.
        holder.push(&chunked(2, 4, 0, 0, &[0, 6, 0, 0, 0, 1])).await;
        if connects.elapsed() > SILENCE {
            // The machine stood still already.
            continue;
        }
        std::thread::sleep(SILENCE + Duration::from_millis(300));
        newcomer.hear("This channel is already live.").await;
        assert_eq!(plane.ingest.status(channel).state, PublishState::Live);
        rounds += 1;
    }
}

#[tokio::test]
async fn an_encoder_that_is_back_before_its_last_words_have_come_is_let_in() {
    // For as long as last words may come. Where this machine stood still for longer, it is tried again.
    const LAST_WORDS: Duration = Duration::from_secs(1);
    let tried = async { while !is_let_in_after_last_words(LAST_WORDS).await {} };
    timeout(LONG, tried).await.expect("last words come in time");
}

/// `false` when these took too long.
async fn is_let_in_after_last_words(limit: Duration) -> bool {
    let plane = Plane::start_with(|config| config.takeover_after = 2 * LONG).await;
    let channel = plane.platform.channel("key");
    let mut before = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let stream = plane.platform.started().await;
    let began = Instant::now();
    let mut after = Peer::asking(plane.ingest.rtmp_addr(), "key").await;
    plane.platform.asked_for_keys(2).await;
    for _ in 0..10 {
        sleep(Duration::from_millis(30)).await;
        before.push(&chunked(2, 3, 0, 0, &[0, 0, 0, 1])).await;
    }
    before.unpublish("key").await;
    if after.hear_one_of(&["NetStream.Publish.Start", "This channel is already live."]).await > 0 {
        assert!(began.elapsed() > limit, "it is refused after {:?}", began.elapsed());
        return false;
    }
    assert_eq!(plane.platform.wait_for(2).await[1], Report::Ended(stream, EndReason::Unpublished));
    assert_eq!(plane.ingest.status(channel).last_refusal, None);
    true
}
