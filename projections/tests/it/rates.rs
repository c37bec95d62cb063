//! Figures, not tests: `cargo test -p projections -- --ignored --nocapture rates`. How late read models are, and how fast they
//! are rebuilt, `benches/projections.rs` of the root package measures through the real relay.

use std::time::{Duration, Instant};

use domain::ids::{AccountId, ChannelId, StreamId};
use projections::{ReadModels, channels::ChannelFilter, streams::StreamFilter};

use crate::{
    history::{BEGIN, created, details_changed, ended, new, registered, started},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute and prints figures"]
async fn catching_up() {
    const ROUNDS: usize = 20_000;
    let stage = Stage::new().await;
    let mut head = 0;
    for round in 0..ROUNDS / 500 {
        let mut events = Vec::new();
        for number in 0..500 {
            let (account, channel, stream): (AccountId, ChannelId, StreamId) = (new(), new(), new());
            let name = format!("n_{}", round * 500 + number);
            events.push(registered(account, &name, BEGIN));
            events.push(created(channel, account, &name, BEGIN));
            events.push(details_changed(channel, "A title of some length, as titles are", BEGIN));
            events.push(started(stream, channel, BEGIN));
            events.push(ended(stream, channel, BEGIN));
        }
        head = stage.append(&events).await;
    }
    let begun = Instant::now();
    let workers = stage.start(None);
    let mut done = Vec::new();
    while done.len() < 3 {
        for status in workers.projections.status() {
            if status.position == head && done.iter().all(|(name, _)| *name != status.name) {
                done.push((status.name, begun.elapsed()));
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for (name, took) in done {
        #[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
        let rate = head as f64 / took.as_secs_f64();
        println!("{name}: {head} events in {took:?}, {rate:.0} a second");
    }
    pages(&workers.read).await;
}

/// Pages out of many rows, the first and one after 10,000 of them.
async fn pages(read: &ReadModels) {
    let (channels, streams) = (read.channels(), read.streams());
    let mut after = None;
    for _ in 0..100 {
        after = channels.page(ChannelFilter::default(), after.as_ref(), 100).await.unwrap().next;
    }
    let owner = channels.page(ChannelFilter::default(), None, 1).await.unwrap().items[0].owner_id;
    let owned = ChannelFilter { owner: Some(owner), ..ChannelFilter::default() };
    let live = StreamFilter { live: Some(true), ..StreamFilter::default() };
    let mut took = [Duration::ZERO; 5];
    for _ in 0..100 {
        let mut begun = Instant::now();
        let mut lap = |index: usize| {
            took[index] += begun.elapsed() / 100;
            begun = Instant::now();
        };
        channels.page(ChannelFilter::default(), None, 20).await.unwrap();
        lap(0);
        channels.page(ChannelFilter::default(), after.as_ref(), 20).await.unwrap();
        lap(1);
        channels.page(owned, None, 20).await.unwrap();
        lap(2);
        streams.page(StreamFilter::default(), None, 20).await.unwrap();
        lap(3);
        streams.page(live, None, 20).await.unwrap();
        lap(4);
    }
    let [first, deep, owned, streams, live] = took;
    println!(
        "20 of all channels: first {first:?}, deep {deep:?}, of one owner {owned:?}; streams: {streams:?}, live {live:?}"
    );
}
