//! Figures, not tests: `cargo test -p projections -- --ignored --nocapture rates`.

use std::time::{Duration, Instant};

use domain::ids::{AccountId, ChannelId, StreamId};

use crate::{
    broker::Broker,
    history::{BEGIN, created, details_changed, ended, new, registered, started},
    stage::{Stage, until},
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
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute and prints figures"]
async fn from_append_to_rows() {
    let stage = Stage::new().await;
    let broker = Broker::new().await;
    for (way, nats) in [("log", None), ("JetStream", Some(broker.client().await))] {
        let relay = broker.relay(&stage);
        let workers = stage.start(nats.clone());
        let wanted = if nats.is_some() { projections::Source::Nats } else { projections::Source::Log };
        until("the source", async || workers.projections.source() == wanted).await;
        let head = stage.append(&[registered(new(), "first", BEGIN)]).await;
        assert!(workers.read.wait_for(head, Duration::from_secs(5)).await);
        let mut took: Vec<Duration> = Vec::new();
        for number in 0..1_000 {
            let head = stage.append(&[registered(new(), &format!("n_{number}"), BEGIN)]).await;
            let appended = Instant::now();
            assert!(workers.read.wait_for(head, Duration::from_secs(5)).await);
            took.push(appended.elapsed());
        }
        took.sort_unstable();
        println!("{way}: all three read models {:?} (p50), {:?} (p99) after the append", took[500], took[990]);
        workers.end().await;
        relay.abort();
    }
}
