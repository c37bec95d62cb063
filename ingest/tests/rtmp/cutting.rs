//! Streams that are ended from outside, and what is left of them after.

use std::time::Duration;

use domain::{ids::StreamId, streams::EndReason};
use ingest::PublishState;

use crate::{
    peer::Peer,
    platform::{LONG, Plane, Report},
};

/// A stream that its encoder has ended, and that is still shown.
async fn lingering(plane: &Plane, key: &str) -> StreamId {
    let before = plane.platform.reports().len();
    let peer = Peer::on_air(plane.ingest.rtmp_addr(), key).await;
    let reports = plane.platform.wait_for(before + 1).await;
    let Report::Started(started) = &reports[before] else { panic!("{reports:?}") };
    peer.unpublish(key).await;
    plane.platform.wait_for(before + 2).await;
    assert!(plane.playlist(started.stream_id).await.contains("#EXT-X-ENDLIST"));
    started.stream_id
}

#[tokio::test]
async fn what_is_left_of_a_stream_goes_at_once_when_it_is_taken_down() {
    // So long that nothing goes by itself.
    let plane = Plane::start_with(|config| config.linger = Duration::from_secs(3_600)).await;
    plane.platform.channel("key");
    let (first, second) = (lingering(&plane, "key").await, lingering(&plane, "key").await);
    plane.ingest.take_down(first);
    assert_eq!(plane.get(&format!("{first}/source/index.m3u8")).await.0, 404);
    assert_eq!(plane.get(&format!("{first}/source/s0.m4s")).await.0, 404);
    // The other one is nobody's fault, until its recording is taken down.
    plane.playlist(second).await;
    plane.ingest.withdraw(second);
    assert_eq!(plane.get(&format!("{second}/source/index.m3u8")).await.0, 404);
}

#[tokio::test]
async fn what_is_left_of_streams_goes_at_once_when_their_owner_is_kept_out() {
    let plane = Plane::start_with(|config| config.linger = Duration::from_secs(3_600)).await;
    let channel = plane.platform.channel("key");
    plane.platform.channel("other");
    let (first, second) = (lingering(&plane, "key").await, lingering(&plane, "key").await);
    let elsewhere = lingering(&plane, "other").await;
    plane.ingest.cut(channel, EndReason::AccountSuspended);
    for stream in [first, second] {
        assert_eq!(plane.get(&format!("{stream}/source/index.m3u8")).await.0, 404);
    }
    plane.playlist(elsewhere).await;
}

#[tokio::test]
async fn a_live_stream_is_taken_down_and_its_recording_alone_does_not_end_it() {
    let plane = Plane::start_with(|config| config.linger = Duration::from_secs(3_600)).await;
    let channel = plane.platform.channel("key");
    let mut peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let stream = plane.platform.started().await;
    plane.state(channel, PublishState::Live).await;
    plane.ingest.withdraw(stream);
    plane.playlist(stream).await;
    plane.ingest.take_down(stream);
    peer.hear("This stream was taken down").await;
    assert_eq!(plane.platform.wait_for(2).await[1], Report::Ended(stream, EndReason::TakenDown));
    plane.gone(stream).await;
}

#[tokio::test]
async fn a_stream_that_waits_for_its_encoder_is_taken_down_and_not_resumed() {
    let plane = Plane::start_with(|config| config.grace = Duration::from_secs(3_600)).await;
    let channel = plane.platform.channel("key");
    let peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let stream = plane.platform.started().await;
    drop(peer);
    plane.state(channel, PublishState::Reconnecting).await;
    plane.ingest.take_down(stream);
    assert_eq!(plane.platform.wait_for(2).await[1], Report::Ended(stream, EndReason::TakenDown));
    plane.gone(stream).await;
    // Whoever comes back begins another.
    let _peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let reports = plane.platform.wait_for(3).await;
    assert!(matches!(&reports[2], Report::Started(started) if started.stream_id != stream), "{reports:?}");
}

#[tokio::test]
async fn a_rotated_key_sends_away_who_has_the_old_one_however_often_it_is_heard() {
    let plane = Plane::start().await;
    let channel = plane.platform.channel("old");
    let mut peer = Peer::on_air(plane.ingest.rtmp_addr(), "old").await;
    let first = plane.platform.started().await;
    plane.state(channel, PublishState::Live).await;
    plane.platform.rotate("old", "new");
    plane.ingest.key_rotated(channel, 1);
    peer.hear("The stream key was changed.").await;
    assert_eq!(plane.platform.wait_for(2).await[1], Report::Ended(first, EndReason::KeyRotated));

    // The same is read again after a restart, of which whoever has the new key notices nothing.
    let peer = Peer::on_air(plane.ingest.rtmp_addr(), "new").await;
    let Report::Started(second) = &plane.platform.wait_for(3).await[2] else { panic!("no second stream") };
    plane.ingest.key_rotated(channel, 1);
    peer.unpublish("new").await;
    assert_eq!(plane.platform.wait_for(4).await[3], Report::Ended(second.stream_id, EndReason::Unpublished));
}

#[tokio::test]
async fn a_key_asked_for_before_a_rotation_was_heard_of_is_asked_for_again() {
    let plane = Plane::start_with(|config| config.takeover_after = 2 * LONG).await;
    let channel = plane.platform.channel("old");
    let mut holder = Peer::publishing(plane.ingest.rtmp_addr(), "old").await;
    let mut newcomer = Peer::asking(plane.ingest.rtmp_addr(), "old").await;
    plane.platform.asked_for_keys(2).await;
    plane.platform.rotate("old", "new");
    plane.ingest.key_rotated(channel, 1);
    holder.hear("The stream key was changed.").await;
    newcomer.hear("This stream key is not known or no longer valid.").await;
}

#[tokio::test]
async fn an_encoder_that_is_lost_as_it_is_sent_away_leaves_no_stream_that_waits_for_it() {
    // Whichever the node hears of first, the stream ends, and as it was told to.
    let plane = Plane::start_with(|config| config.grace = Duration::from_secs(3_600)).await;
    plane.platform.channel("key");
    for round in 0..10 {
        let peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
        let reports = plane.platform.wait_for(2 * round + 1).await;
        let Report::Started(started) = &reports[2 * round] else { panic!("{reports:?}") };
        drop(peer);
        plane.ingest.take_down(started.stream_id);
        let reports = plane.platform.wait_for(2 * round + 2).await;
        assert_eq!(reports[2 * round + 1], Report::Ended(started.stream_id, EndReason::TakenDown));
    }
}
