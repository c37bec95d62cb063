use commands::{
    Actor, CommandError, Metadata,
    streams::{self, OpenStream, StartStream},
};
use domain::{
    ids::{ChannelId, NodeId, StreamId},
    streams::{AudioTrack, EndReason, Rendition, RenditionsReason, StreamRefusal, VideoTrack},
};
use uuid::Uuid;

use crate::stage::Stage;

fn start(channel_id: ChannelId, node_id: NodeId) -> StartStream {
    StartStream {
        stream_id: StreamId::from(Uuid::now_v7()),
        channel_id,
        node_id,
        title: "A title".to_owned(),
        video: Some(VideoTrack { codec: "avc1.64001f".to_owned(), width: 1920, height: 1080, frame_rate: 29.97 }),
        audio: Some(AudioTrack { codec: "mp4a.40.2".to_owned(), sample_rate: 48_000, channels: 2 }),
        encoder: None,
    }
}

#[tokio::test]
async fn a_stream_starts_and_ends_once_however_often_it_is_said() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let (channel_id, node_id) = (ChannelId::from(Uuid::now_v7()), NodeId::from(Uuid::now_v7()));
    let stream = start(channel_id, node_id);
    assert_eq!(streams::start(&commands, stream.clone()).await.unwrap(), 1);
    assert_eq!(streams::start(&commands, stream.clone()).await.unwrap(), 1);
    let end = |node_id, reason| streams::end(&commands, stream.stream_id, node_id, reason);
    let elsewhere = end(NodeId::from(Uuid::now_v7()), EndReason::Crashed).await;
    assert!(matches!(elsewhere, Err(CommandError::Refused(StreamRefusal::OtherNode))));
    assert_eq!(end(node_id, EndReason::Unpublished).await.unwrap(), 2);
    assert_eq!(end(node_id, EndReason::Shutdown).await.unwrap(), 2);
    assert_eq!(stage.event_types().await, ["stream.started", "stream.ended"]);
    let unknown = streams::end(&commands, StreamId::from(Uuid::now_v7()), node_id, EndReason::Error).await;
    assert!(matches!(unknown, Err(CommandError::Refused(StreamRefusal::Unknown))));
}

#[tokio::test]
async fn renditions_are_stored_when_they_change_and_only_then() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let node_id = NodeId::from(Uuid::now_v7());
    let stream = start(ChannelId::from(Uuid::now_v7()), node_id);
    let change = |node_id, renditions, reason| {
        streams::change_renditions(&commands, stream.stream_id, node_id, renditions, reason)
    };
    let made = || vec![Rendition { name: "480p".to_owned(), width: 854, height: 480, bitrate_kbps: 1_000 }];
    let early = change(node_id, made(), RenditionsReason::Started).await;
    assert!(matches!(early, Err(CommandError::Refused(StreamRefusal::Unknown))));
    streams::start(&commands, stream.clone()).await.unwrap();
    assert_eq!(change(node_id, made(), RenditionsReason::Started).await.unwrap(), 2);
    assert_eq!(change(node_id, made(), RenditionsReason::Started).await.unwrap(), 2);
    assert_eq!(change(node_id, Vec::new(), RenditionsReason::TooSlow).await.unwrap(), 3);
    let elsewhere = change(NodeId::from(Uuid::now_v7()), made(), RenditionsReason::Started).await;
    assert!(matches!(elsewhere, Err(CommandError::Refused(StreamRefusal::OtherNode))));
    streams::end(&commands, stream.stream_id, node_id, EndReason::Unpublished).await.unwrap();
    let late = change(node_id, made(), RenditionsReason::Recovered).await;
    assert!(matches!(late, Err(CommandError::Refused(StreamRefusal::AlreadyEnded))));
    assert_eq!(
        stage.event_types().await,
        ["stream.started", "stream.renditions_changed", "stream.renditions_changed", "stream.ended"]
    );
}

#[tokio::test]
async fn tracks_are_stored_when_they_change_and_only_then() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let node_id = NodeId::from(Uuid::now_v7());
    let stream = StartStream { video: None, ..start(ChannelId::from(Uuid::now_v7()), node_id) };
    streams::start(&commands, stream.clone()).await.unwrap();
    let picture = || Some(VideoTrack { codec: "avc1.64001f".to_owned(), width: 1280, height: 720, frame_rate: 30.0 });
    let change =
        |node_id, video| streams::change_tracks(&commands, stream.stream_id, node_id, video, stream.audio.clone());
    assert_eq!(change(node_id, None).await.unwrap(), 1);
    assert_eq!(change(node_id, picture()).await.unwrap(), 2);
    assert_eq!(change(node_id, picture()).await.unwrap(), 2);
    let elsewhere = change(NodeId::from(Uuid::now_v7()), None).await;
    assert!(matches!(elsewhere, Err(CommandError::Refused(StreamRefusal::OtherNode))));
    assert_eq!(stage.event_types().await, ["stream.started", "stream.tracks_changed"]);
}

#[tokio::test]
async fn a_channel_has_one_live_stream_and_a_node_finds_its_own() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let [here, there] = [(); 2].map(|()| NodeId::from(Uuid::now_v7()));
    let [first, second, third] = [(); 3].map(|()| ChannelId::from(Uuid::now_v7()));
    let stream = start(first, here);
    streams::start(&commands, stream.clone()).await.unwrap();
    let refused = streams::start(&commands, start(first, here)).await;
    assert!(matches!(refused, Err(CommandError::Refused(StreamRefusal::ChannelLive))));
    let other = start(second, here);
    streams::start(&commands, other.clone()).await.unwrap();
    streams::start(&commands, start(third, there)).await.unwrap();

    let ids = |open: Vec<OpenStream>| open.into_iter().map(|open| open.stream_id).collect::<Vec<_>>();
    assert_eq!(ids(streams::open_streams(&commands, here).await.unwrap()), [stream.stream_id, other.stream_id]);
    streams::end(&commands, stream.stream_id, here, EndReason::Unpublished).await.unwrap();
    assert_eq!(ids(streams::open_streams(&commands, here).await.unwrap()), [other.stream_id]);
    streams::start(&commands, start(first, there)).await.unwrap();
    assert_eq!(streams::open_streams(&commands, there).await.unwrap().len(), 2);
    assert_eq!(ids(streams::all_open(&commands).await.unwrap())[0], other.stream_id);
    let found = streams::open_of_channel(&commands, second).await.unwrap().unwrap();
    assert_eq!((found.stream_id, found.channel_id, found.node_id), (other.stream_id, second, here));
    assert_eq!(streams::open_of_channel(&commands, ChannelId::from(Uuid::now_v7())).await.unwrap(), None);
}

#[tokio::test]
async fn a_stream_is_given_up_for_a_node_that_is_gone_and_the_channel_is_free() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    let [gone, here] = [(); 2].map(|()| NodeId::from(Uuid::now_v7()));
    let channel_id = ChannelId::from(Uuid::now_v7());
    let stream = start(channel_id, gone);
    streams::start(&commands, stream.clone()).await.unwrap();
    let give_up = || streams::give_up(&commands, stream.stream_id, EndReason::Crashed, Metadata::new(Actor::System));
    assert_eq!(give_up().await.unwrap(), 2);
    assert_eq!(give_up().await.unwrap(), 2);
    assert_eq!(streams::open_of_channel(&commands, channel_id).await.unwrap(), None);
    streams::start(&commands, start(channel_id, here)).await.unwrap();
    // The node is back, and says what it knows.
    streams::end(&commands, stream.stream_id, gone, EndReason::ConnectionLost).await.unwrap();
    assert!(streams::is_live(&commands, channel_id).await.unwrap());
    assert_eq!(stage.event_types().await, ["stream.started", "stream.ended", "stream.started"]);
    let unknown = StreamId::from(Uuid::now_v7());
    let unknown = streams::give_up(&commands, unknown, EndReason::Crashed, Metadata::new(Actor::System)).await;
    assert!(matches!(unknown, Err(CommandError::Refused(StreamRefusal::Unknown))));
}

#[tokio::test]
async fn an_open_stream_that_cannot_be_read_keeps_no_others_from_being_found() {
    let stage = Stage::new().await;
    let commands = stage.commands().await;
    assert_eq!(streams::oldest_open(&commands).await.unwrap(), None);
    let node_id = NodeId::from(Uuid::now_v7());
    let [unread, read] = [(); 2].map(|()| start(ChannelId::from(Uuid::now_v7()), node_id));
    let first = streams::start(&commands, unread.clone()).await.unwrap();
    streams::start(&commands, read.clone()).await.unwrap();
    // As a newer Weir would have written it.
    let newer = format!(
        "alter table log.events disable trigger events_are_kept;
         update log.events set event_version = '9' where aggregate_id = '{}';
         alter table log.events enable trigger events_are_kept",
        unread.stream_id
    );
    sqlx::raw_sql(&newer).execute(&stage.pool).await.unwrap();
    let open = streams::open_streams(&commands, node_id).await.unwrap();
    assert_eq!(open.iter().map(|open| open.stream_id).collect::<Vec<_>>(), [read.stream_id]);
    assert_eq!(streams::oldest_open(&commands).await.unwrap(), Some(first));
}
