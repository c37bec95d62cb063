//! JetStream may lose everything at any time, and nothing is lost: neither what was promised nor what is shown.

use std::fs;

use async_nats::jetstream;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    api::{Caller, check_events},
    faults::Load,
    nodes::{Node, Servers},
    weir::{DataDir, Weir, eventually},
};

const STREAM: &str = commands::relay::STREAM;

/// The position of the stream's last message, if there is one.
async fn end_of_stream(jetstream: &jetstream::Context) -> Option<i64> {
    let mut stream = jetstream.get_stream(STREAM).await.ok()?;
    let last = stream.info().await.ok()?.state.last_sequence;
    position(&stream, last).await
}

async fn position(stream: &jetstream::stream::Stream, sequence: u64) -> Option<i64> {
    let message = stream.get_raw_message(sequence).await.ok()?;
    message.headers.get(commands::relay::POSITION_HEADER)?.as_str().parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_deleted_is_filled_again() {
    let servers = Servers::new().await;
    let node = Node::serve("api,relay,projections", &servers);
    let http = format!("http://{}", node.serves("http").await);
    let keeper = Caller::register(&http, "keeper", Some(&servers.setup_token())).await;
    let jetstream = jetstream::new(async_nats::connect(&servers.nats).await.unwrap());
    let load = Load::start(keeper.clone());
    for _ in 0..3 {
        load.goes_on(15).await;
        let end = eventually("there is a stream", async || end_of_stream(&jetstream).await).await;
        jetstream.delete_stream(STREAM).await.unwrap();
        // Nobody waits for it: the answers come when the read models have the rows.
        load.goes_on(15).await;
        eventually("the stream is back", async || {
            end_of_stream(&jetstream).await.is_some_and(|again| again > end).then_some(())
        })
        .await;
    }
    let told = load.stop().await;
    crate::faults::check_channels(&keeper, &told).await;
    // The command that was under way when the load was stopped may have come since.
    let head = eventually("the stream is at the head", async || {
        let head = keeper.events().await.len() as i64;
        (end_of_stream(&jetstream).await == Some(head)).then_some(head)
    })
    .await;
    // What is in it follows on each other.
    let mut stream = jetstream.get_stream(STREAM).await.unwrap();
    let state = stream.info().await.unwrap().state.clone();
    for sequence in state.first_sequence..=state.last_sequence {
        let expected = head - i64::try_from(state.last_sequence - sequence).unwrap();
        assert_eq!(position(&stream, sequence).await, Some(expected), "message {sequence}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_folder_is_filled_again() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let keeper = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let load = Load::start(keeper.clone());
    load.goes_on(15).await;
    let server = Pid::from_raw(folder.child("nats-server")).unwrap();
    // Stopped first, so that it is not started again on what is about to go.
    kill_process(server, Signal::STOP).unwrap();
    let store = folder.path().join("data/nats/jetstream");
    let mut removed = 0;
    for entry in fs::read_dir(&store).unwrap().flatten() {
        fs::remove_dir_all(entry.path()).unwrap();
        removed += 1;
    }
    assert!(removed > 0, "there was something to lose");
    kill_process(server, Signal::KILL).unwrap();
    load.goes_on(30).await;
    eventually("there is a store again", async || {
        let is_other = folder.child_if_any("nats-server").is_some_and(|pid| pid != server.as_raw_nonzero().get());
        let is_filled = fs::read_dir(&store).is_ok_and(|mut entries| entries.next().is_some());
        (is_other && is_filled).then_some(())
    })
    .await;
    let told = load.stop().await;
    crate::faults::check_channels(&keeper, &told).await;
    check_events(&keeper.events().await);
}
