use domain::{
    channels::Visibility,
    ids::{AccountId, ChannelId, StreamId},
};

use projections::{
    Projection,
    channels::{ChannelFilter, ChannelsV1},
    streams::StreamFilter,
};

use crate::{
    history::{
        after_seconds, closed, created, details_changed, ended, key_rotated, new, registered, started,
        visibility_changed,
    },
    stage::{PATIENCE, Stage},
};

#[tokio::test]
async fn a_channel_shows_what_happened_to_it() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (owner, id): (AccountId, ChannelId) = (new(), new());
    let head = stage
        .append(&[registered(owner, "ann", after_seconds(0)), created(id, owner, "Harbour", after_seconds(1))])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let channels = workers.read.channels();
    let row = channels.by_handle("HARBOUR").await.unwrap().unwrap();
    assert_eq!((row.id, row.owner_id, &*row.owner_username, &*row.handle), (id, owner, "ann", "harbour"));
    assert_eq!((&*row.title, &*row.description), ("The channel Harbour", "Ships\nand harbours"));
    assert_eq!((row.created_at, row.updated_at, row.version), (after_seconds(1), after_seconds(1), 1));
    assert!(!row.is_live());

    let head =
        stage.append(&[details_changed(id, "At sea", after_seconds(2)), key_rotated(id, after_seconds(3))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let row = channels.by_id(id).await.unwrap().unwrap();
    assert_eq!((&*row.title, &*row.description, row.version), ("At sea", "", 3));
    assert_eq!((row.created_at, row.updated_at), (after_seconds(1), after_seconds(3)));
    assert_eq!(channels.by_handle("nobody").await.unwrap(), None);
}

#[tokio::test]
async fn a_channel_is_live_from_start_to_end_of_its_latest_stream() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (owner, id): (AccountId, ChannelId) = (new(), new());
    let (first, second): (StreamId, StreamId) = (new(), new());
    let at = after_seconds;
    let events = [
        (created(id, owner, "harbour", at(0)), None),
        (started(first, id, at(1)), Some(first)),
        (ended(first, id, at(2)), None),
        (started(second, id, at(3)), Some(second)),
        // Late news of the first.
        (ended(first, id, at(4)), Some(second)),
        (ended(second, id, at(5)), None),
    ];
    for (event, live) in events {
        let head = stage.append(&[event]).await;
        assert!(workers.read.wait_for(head, PATIENCE).await);
        let row = workers.read.channels().by_id(id).await.unwrap().unwrap();
        assert_eq!(row.live_stream_id, live);
        assert_eq!(row.version, 1, "an editor's version does not change with streams");
    }
}

#[tokio::test]
async fn a_closed_channel_is_not_shown_nor_are_its_streams() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (owner, gone, kept): (AccountId, ChannelId, ChannelId) = (new(), new(), new());
    let (past, live, elsewhere): (StreamId, StreamId, StreamId) = (new(), new(), new());
    let at = after_seconds;
    let before = [
        created(gone, owner, "harbour", at(0)),
        created(kept, owner, "river", at(1)),
        started(past, gone, at(2)),
        ended(past, gone, at(3)),
        started(live, gone, at(4)),
        started(elsewhere, kept, at(4)),
    ];
    let head = stage.append(&before).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert!(workers.read.channels().by_handle("harbour").await.unwrap().unwrap().is_live());
    // The stream ends after its channel, which is nothing to stop at.
    for event in [closed(gone, "harbour", at(5)), ended(live, gone, at(6))] {
        let head = stage.append(&[event]).await;
        assert!(workers.read.wait_for(head, PATIENCE).await);
        let (channels, streams) = (workers.read.channels(), workers.read.streams());
        assert_eq!(channels.by_handle("harbour").await.unwrap(), None);
        assert_eq!(channels.by_id(gone).await.unwrap(), None);
        let page = channels.page(ChannelFilter::default(), None, 10).await.unwrap();
        assert_eq!(page.items.iter().map(|row| row.id).collect::<Vec<_>>(), [kept]);
        for stream in [past, live] {
            assert_eq!(streams.by_id(stream).await.unwrap(), None);
        }
        let page = streams.page(StreamFilter::default(), None, 10).await.unwrap();
        assert_eq!(page.items.iter().map(|row| row.id).collect::<Vec<_>>(), [elsewhere]);
        let page =
            streams.page(StreamFilter { channel: Some(gone), ..StreamFilter::default() }, None, 10).await.unwrap();
        assert_eq!(page.items, []);
    }
    let texts = "select count(*) from read.channels_v1 where id = $1 and (title <> '' or description <> '')";
    let texts: i64 = sqlx::query_scalar(texts).bind(gone.uuid()).fetch_one(&stage.pool).await.unwrap();
    assert_eq!(texts, 0);
}

#[tokio::test]
async fn only_public_channels_and_their_streams_are_where_only_those_are_asked_for() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let (owner, open, hidden): (AccountId, ChannelId, ChannelId) = (new(), new(), new());
    let (shown, unseen): (StreamId, StreamId) = (new(), new());
    let at = after_seconds;
    let events = [
        created(open, owner, "river", at(0)),
        created(hidden, owner, "spring", at(1)),
        started(shown, open, at(2)),
        visibility_changed(hidden, Visibility::Unlisted, at(3)),
        started(unseen, hidden, at(4)),
    ];
    let head = stage.append(&events).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let (channels, streams) = (workers.read.channels(), workers.read.streams());
    let listed = async |visibility| {
        let channels = channels.page(ChannelFilter { visibility, ..ChannelFilter::default() }, None, 10).await.unwrap();
        let streams = streams.page(StreamFilter { visibility, ..StreamFilter::default() }, None, 10).await.unwrap();
        let channels: Vec<_> = channels.items.iter().map(|row| row.id).collect();
        (channels, streams.items.iter().map(|row| row.id).collect::<Vec<_>>())
    };
    assert_eq!(listed(None).await, (vec![hidden, open], vec![unseen, shown]));
    assert_eq!(listed(Some(Visibility::Public)).await, (vec![open], vec![shown]));
    assert_eq!(listed(Some(Visibility::Unlisted)).await, (vec![hidden], vec![unseen]));
    let row = channels.by_handle("spring").await.unwrap().unwrap();
    assert_eq!((row.visibility, row.version, row.updated_at), (Visibility::Unlisted, 2, at(3)));
    assert_eq!(&*row.title, "The channel spring");
    assert_eq!(streams.by_id(unseen).await.unwrap().unwrap().visibility, Visibility::Unlisted);

    let head = stage
        .append(&[
            visibility_changed(hidden, Visibility::Private, at(5)),
            visibility_changed(open, Visibility::Unlisted, at(6)),
            visibility_changed(open, Visibility::Public, at(7)),
        ])
        .await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert_eq!(listed(Some(Visibility::Public)).await, (vec![open], vec![shown]));
    assert_eq!(listed(Some(Visibility::Private)).await, (vec![hidden], vec![unseen]));
}

#[tokio::test]
async fn what_is_restricted_is_known_from_where_channels_and_recordings_are() {
    const CHANNELS: &[&dyn Projection] = &[&ChannelsV1];
    let stage = Stage::new().await;
    let (owner, id): (AccountId, ChannelId) = (new(), new());
    let head = stage
        .append(&[
            created(id, owner, "harbour", after_seconds(0)),
            visibility_changed(id, Visibility::Private, after_seconds(1)),
        ])
        .await;
    let channels = stage.start_some(CHANNELS, None);
    assert!(channels.read.wait_for_some(CHANNELS, head, PATIENCE).await);
    let (position, found) = channels.read.channels().restricted().await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].id, found[0].visibility, found[0].version), (id, Visibility::Private, 2));
    assert_eq!(position, 0, "nothing of recordings was read yet: their terms are in the log alone");
    channels.end().await;
    let all = stage.start(None);
    assert!(all.read.wait_for(head, PATIENCE).await);
    assert_eq!(all.read.channels().restricted().await.unwrap().0, head);
}
