use domain::ids::{AccountId, ChannelId, StreamId};
use projections::{MAX_LIMIT, channels::ChannelFilter, streams::StreamFilter};

use crate::{
    history::{after_seconds, created, ended, new, started},
    stage::{PATIENCE, Stage, Workers},
};

async fn channel_ids(workers: &Workers, filter: ChannelFilter, limit: usize) -> Vec<Vec<ChannelId>> {
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = workers.read.channels().page(filter, after.as_ref(), limit).await.unwrap();
        pages.push(page.items.iter().map(|row| row.id).collect());
        // Through its text, as a client sends it.
        let Some(next) = page.next else { return pages };
        after = Some(next.to_string().parse().unwrap());
    }
}

async fn stream_ids(workers: &Workers, filter: StreamFilter, limit: usize) -> Vec<StreamId> {
    let mut ids = Vec::new();
    let mut after = None;
    loop {
        let page = workers.read.streams().page(filter, after.as_ref(), limit).await.unwrap();
        ids.extend(page.items.iter().map(|row| row.id));
        after = page.next;
        if after.is_none() {
            return ids;
        }
    }
}

#[tokio::test]
async fn paging_through_channels_meets_each_once_newest_first() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let owners: [AccountId; 2] = [new(), new()];
    // Three at a time were made in the same microsecond.
    let channels: Vec<(ChannelId, i64)> = (0..250).map(|number| (new(), number / 3)).collect();
    let mut events = Vec::new();
    for (number, (id, second)) in channels.iter().enumerate() {
        events.push(created(*id, owners[number % 2], &format!("channel_{number}"), after_seconds(*second)));
        if number % 5 == 0 {
            events.push(started(new(), *id, after_seconds(1_000)));
        }
    }
    let head = stage.append(&events).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);

    let mut expected: Vec<(i64, ChannelId)> = channels.iter().map(|(id, second)| (*second, *id)).collect();
    expected.sort_unstable();
    expected.reverse();
    let expected: Vec<ChannelId> = expected.into_iter().map(|(_, id)| id).collect();

    let pages = channel_ids(&workers, ChannelFilter::default(), 20).await;
    assert_eq!(pages.len(), 13);
    assert_eq!(pages.concat(), expected);
    // The last page is full, and says so.
    assert_eq!(channel_ids(&workers, ChannelFilter::default(), 50).await.len(), 5);
    assert_eq!(channel_ids(&workers, ChannelFilter::default(), 1).await.concat(), expected);
    assert_eq!(channel_ids(&workers, ChannelFilter::default(), 0).await.len(), 250);
    assert_eq!(channel_ids(&workers, ChannelFilter::default(), 10_000).await[0].len(), MAX_LIMIT);

    let index = |id: &ChannelId| channels.iter().position(|(channel, _)| channel == id).unwrap();
    let filtered = |keep: &dyn Fn(usize) -> bool| -> Vec<ChannelId> {
        expected.iter().filter(|id| keep(index(id))).copied().collect()
    };
    let live = ChannelFilter { live: Some(true), ..ChannelFilter::default() };
    assert_eq!(channel_ids(&workers, live, 7).await.concat(), filtered(&|number| number % 5 == 0));
    let offline = ChannelFilter { live: Some(false), owner: Some(owners[1]), ..ChannelFilter::default() };
    assert_eq!(
        channel_ids(&workers, offline, 7).await.concat(),
        filtered(&|number| number % 5 != 0 && number % 2 == 1)
    );
    let nobodys = ChannelFilter { owner: Some(new()), ..ChannelFilter::default() };
    assert_eq!(channel_ids(&workers, nobodys, 7).await, [[]]);
}

#[tokio::test]
async fn paging_through_streams_follows_filters() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let channels: [ChannelId; 3] = [new(), new(), new()];
    let mut events: Vec<_> = channels
        .iter()
        .enumerate()
        .map(|(number, id)| created(*id, new(), &format!("channel_{number}"), after_seconds(0)))
        .collect();
    let mut streams: Vec<(StreamId, ChannelId)> = Vec::new();
    for number in 0..90 {
        let (id, channel) = (new(), channels[number % 3]);
        let at = i64::try_from(number).unwrap();
        events.push(started(id, channel, after_seconds(at)));
        if number < 87 {
            events.push(ended(id, channel, after_seconds(at + 1)));
        }
        streams.push((id, channel));
    }
    let head = stage.append(&events).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    streams.reverse();
    let all: Vec<StreamId> = streams.iter().map(|(id, _)| *id).collect();
    let of = |channel: ChannelId| streams.iter().filter(move |(_, owner)| *owner == channel).map(|(id, _)| *id);

    assert_eq!(stream_ids(&workers, StreamFilter::default(), 20).await, all);
    let filter = |live, channel| StreamFilter { live, channel, owner: None, visibility: None };
    assert_eq!(stream_ids(&workers, filter(Some(true), None), 2).await, all[..3]);
    assert_eq!(stream_ids(&workers, filter(Some(false), None), 20).await, all[3..]);
    let first = channels[0];
    assert_eq!(stream_ids(&workers, filter(None, Some(first)), 7).await, of(first).collect::<Vec<_>>());
    assert_eq!(stream_ids(&workers, filter(Some(true), Some(first)), 7).await, of(first).take(1).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_comes_and_goes_between_pages_neither_repeats_nor_hides_others() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    let old: Vec<ChannelId> = (0..6).map(|_| new()).collect();
    let at = |number: usize| after_seconds(i64::try_from(number).unwrap());
    let mut events = Vec::new();
    for (number, id) in old.iter().enumerate() {
        events.push(created(*id, new(), &format!("channel_{number}"), at(number)));
    }
    let head = stage.append(&events).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let channels = workers.read.channels();
    let first = channels.page(ChannelFilter::default(), None, 3).await.unwrap();
    let head = stage.append(&[created(new(), new(), "newcomer", at(100))]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let second = channels.page(ChannelFilter::default(), first.next.as_ref(), 3).await.unwrap();
    let ids: Vec<ChannelId> = first.items.iter().chain(&second.items).map(|row| row.id).collect();
    assert_eq!(ids, old.into_iter().rev().collect::<Vec<_>>());
    assert_eq!(second.next, None);
}
