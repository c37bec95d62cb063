use domain::{
    ids::{AccountId, ChannelId, StreamId},
    streams::{EndReason, RenditionsReason},
};

use crate::{
    history::{
        after_seconds, audio, created, details_changed, ended, new, renditions, renditions_changed, started,
        tracks_changed, video,
    },
    stage::{PATIENCE, Stage},
};

#[tokio::test]
async fn a_stream_shows_its_course_and_its_channel_as_it_is_now() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (owner, channel, id): (AccountId, ChannelId, StreamId) = (new(), new(), new());
    let head = stage
        .append(&[created(channel, owner, "harbour", after_seconds(0)), started(id, channel, after_seconds(1))])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = workers.read.streams().by_id(id).await.unwrap().unwrap();
    assert!(row.is_live());
    assert_eq!(row.encoder.as_ref().map(|encoder| encoder.as_str()), Some("obs-output module"));
    assert_eq!(
        (row.channel_id, &*row.channel_handle, &*row.channel_title),
        (channel, "harbour", "The channel harbour")
    );
    assert_eq!((row.video, row.audio, &*row.title), (Some(video()), Some(audio()), "On the water"));
    assert_eq!((row.started_at, row.ended_at, row.end_reason, row.duration_ms), (after_seconds(1), None, None, None));

    let head = stage
        .append(&[details_changed(channel, "At sea", after_seconds(2)), ended(id, channel, after_seconds(62))])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = workers.read.streams().by_id(id).await.unwrap().unwrap();
    assert!(!row.is_live());
    assert_eq!((&*row.channel_title, &*row.title), ("At sea", "On the water"));
    assert_eq!((row.ended_at, row.end_reason), (Some(after_seconds(62)), Some(EndReason::ConnectionLost)));
    assert_eq!((row.duration_ms, row.updated_at, row.version), (Some(61_000), after_seconds(62), 2));
    assert_eq!(workers.read.streams().by_id(new()).await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_shows_the_renditions_that_it_has() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (owner, channel, id): (AccountId, ChannelId, StreamId) = (new(), new(), new());
    let head = stage
        .append(&[created(channel, owner, "harbour", after_seconds(0)), started(id, channel, after_seconds(1))])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = workers.read.streams().by_id(id).await.unwrap().unwrap();
    assert_eq!((row.renditions, row.renditions_reason), (Vec::new(), None));

    let head = stage.append(&[renditions_changed(id, channel, renditions(), after_seconds(5))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = workers.read.streams().by_id(id).await.unwrap().unwrap();
    assert_eq!((row.renditions, row.renditions_reason), (renditions(), Some(RenditionsReason::Started)));
    assert_eq!((row.updated_at, row.version), (after_seconds(5), 2));

    let head = stage
        .append(&[renditions_changed(id, channel, Vec::new(), after_seconds(9)), ended(id, channel, after_seconds(62))])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = workers.read.streams().by_id(id).await.unwrap().unwrap();
    assert_eq!((row.renditions, row.renditions_reason), (Vec::new(), Some(RenditionsReason::TooSlow)));
    assert_eq!((row.updated_at, row.version), (after_seconds(62), 4));
}

#[tokio::test]
async fn a_stream_shows_what_its_encoder_sends_now() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (owner, channel, id): (AccountId, ChannelId, StreamId) = (new(), new(), new());
    let mut sound = started(id, channel, after_seconds(1));
    if let domain::DomainEvent::Stream(domain::streams::StreamEvent::Started { video, .. }) = &mut sound {
        *video = None;
    }
    let head = stage.append(&[created(channel, owner, "harbour", after_seconds(0)), sound]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert_eq!(workers.read.streams().by_id(id).await.unwrap().unwrap().video, None);

    let head = stage.append(&[tracks_changed(id, channel, Some(video()), after_seconds(7))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = workers.read.streams().by_id(id).await.unwrap().unwrap();
    assert_eq!((row.video, row.audio, row.started_at), (Some(video()), Some(audio()), after_seconds(1)));
    assert_eq!((row.updated_at, row.version), (after_seconds(7), 2));
}

#[tokio::test]
async fn every_reason_and_a_silent_stream_come_back() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (owner, channel): (AccountId, ChannelId) = (new(), new());
    stage.append(&[created(channel, owner, "harbour", after_seconds(0))]).await;
    for reason in [
        EndReason::Unpublished,
        EndReason::ConnectionLost,
        EndReason::Shutdown,
        EndReason::Crashed,
        EndReason::Moved,
        EndReason::KeyRotated,
        EndReason::ChannelClosed,
        EndReason::Error,
    ] {
        let id: StreamId = new();
        let (mut start, mut end) = (started(id, channel, after_seconds(1)), ended(id, channel, after_seconds(2)));
        if let domain::DomainEvent::Stream(domain::streams::StreamEvent::Started { audio, .. }) = &mut start {
            *audio = None;
        }
        if let domain::DomainEvent::Stream(domain::streams::StreamEvent::Ended { reason: why, .. }) = &mut end {
            *why = reason;
        }
        let head = stage.append(&[start, end]).await;
        assert!(workers.read.wait_for(head, PATIENCE).await);
        let row = workers.read.streams().by_id(id).await.unwrap().unwrap();
        assert_eq!((row.end_reason, row.audio), (Some(reason), None));
    }
}
