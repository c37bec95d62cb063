//! Encoders that come back to another node, and streams of which the log says that they are over.

use std::time::Duration;

use domain::{
    ids::{ChannelId, StreamId},
    streams::EndReason,
};
use ingest::{IngestConfig, LetGo, PublishState};
use tokio::time::timeout;
use uuid::Uuid;

use crate::{
    peer::{Peer, chunked},
    platform::{LONG, Plane, Report},
};

/// A plane on which nothing ends by itself.
async fn plane() -> (Plane, ChannelId) {
    plane_with(|_| {}).await
}

async fn plane_with(change: impl FnOnce(&mut IngestConfig)) -> (Plane, ChannelId) {
    let plane = Plane::start_with(|config| {
        config.grace = Duration::from_secs(3_600);
        change(config);
    })
    .await;
    let channel = plane.platform.channel("key");
    (plane, channel)
}

async fn live(plane: &Plane, before: usize) -> (Peer, StreamId) {
    let peer = Peer::on_air(plane.ingest.rtmp_addr(), "key").await;
    let reports = plane.platform.wait_for(before + 1).await;
    let Report::Started(started) = &reports[before] else { panic!("{reports:?}") };
    (peer, started.stream_id)
}

#[tokio::test]
async fn a_stream_that_waits_for_its_encoder_is_let_go_and_players_hear_of_its_end() {
    let (plane, channel) = plane().await;
    let (peer, stream) = live(&plane, 0).await;
    drop(peer);
    plane.state(channel, PublishState::Reconnecting).await;
    let elsewhere = StreamId::from(Uuid::now_v7());
    assert_eq!(plane.ingest.let_go(channel, elsewhere).await, LetGo::Unknown);
    assert_eq!(plane.ingest.let_go(channel, stream).await, LetGo::Ending);
    assert_eq!(plane.platform.wait_for(2).await[1], Report::Ended(stream, EndReason::Moved));
    assert!(plane.playlist(stream).await.contains("#EXT-X-ENDLIST"));
    assert_eq!(plane.ingest.let_go(channel, stream).await, LetGo::Unknown);
    // And back again.
    let (_peer, again) = live(&plane, 2).await;
    assert_ne!(again, stream);
}

#[tokio::test]
async fn a_stream_whose_encoder_speaks_is_kept() {
    // However long this machine stands still, that is no silence of the encoder's.
    let (plane, channel) = plane_with(|config| config.takeover_after = 2 * LONG).await;
    let (mut peer, stream) = live(&plane, 0).await;
    let asked = plane.ingest.let_go(channel, stream);
    tokio::pin!(asked);
    let answer = timeout(LONG, async {
        loop {
            tokio::select! {
                answer = &mut asked => return answer,
                // A ping: it has something to say.
                () = tokio::time::sleep(Duration::from_millis(100)) => {
                    peer.send(&chunked(2, 4, 0, 0, &[0, 6, 0, 0, 0, 1])).await;
                }
            }
        }
    });
    assert_eq!(answer.await.unwrap(), LetGo::Taken);
    plane.state(channel, PublishState::Live).await;
    assert_eq!(plane.platform.reports().len(), 1);
}

#[tokio::test]
async fn a_stream_whose_encoder_has_fallen_silent_is_let_go() {
    let (plane, channel) = plane().await;
    let (mut peer, stream) = live(&plane, 0).await;
    // Half open: nothing comes any more, and nobody has hung up.
    assert_eq!(timeout(LONG, plane.ingest.let_go(channel, stream)).await.unwrap(), LetGo::Ending);
    peer.hear("Another connection of this channel's encoder has taken over").await;
    assert_eq!(plane.platform.wait_for(2).await[1], Report::Ended(stream, EndReason::Moved));
}

#[tokio::test]
async fn a_stream_that_the_log_has_ended_ends_whether_its_encoder_is_there_or_not() {
    let (plane, channel) = plane().await;
    let (mut peer, stream) = live(&plane, 0).await;
    plane.ingest.ended_elsewhere(StreamId::from(Uuid::now_v7()), EndReason::Crashed);
    plane.state(channel, PublishState::Live).await;
    plane.ingest.ended_elsewhere(stream, EndReason::Crashed);
    peer.hear("Please start it again").await;
    assert_eq!(plane.platform.wait_for(2).await[1], Report::Ended(stream, EndReason::Crashed));

    let (peer, second) = live(&plane, 2).await;
    drop(peer);
    plane.state(channel, PublishState::Reconnecting).await;
    plane.ingest.ended_elsewhere(second, EndReason::TakenDown);
    assert_eq!(plane.platform.wait_for(4).await[3], Report::Ended(second, EndReason::TakenDown));
    // Said once more, as it is by its own end.
    plane.ingest.ended_elsewhere(second, EndReason::TakenDown);
    plane.state(channel, PublishState::Waiting).await;
    assert_eq!(plane.platform.reports().len(), 4);
}
