//! How fast the relay hands the log to JetStream, beside publishing the same messages from memory: the same bytes, headers
//! and number in flight, on one nats-server with its files on the disk, in one run. From memory they are published as
//! everybody does, with an answer to each, and as the relay does, with one to every 128th. Each is done five times in turn; the
//! medians are compared.
//!
//! `WEIR_BENCH_EVENTS` (100,000) is how long the log is.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it stands")]

#[path = "filled/log.rs"]
mod log;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use async_nats::{
    ConnectOptions, Subject,
    jetstream::{
        self,
        context::ContextBuilder,
        message::PublishMessage,
        stream::{Config, Stream},
    },
};
use bytes::Bytes;
use commands::{
    events::{self, Filter},
    relay::{self, POSITION_HEADER, STREAM},
};
use embedded::{Nats, NatsOptions};
use futures::TryStreamExt;
use log::{event_total, median};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

const ROUNDS: usize = 5;
/// As many as the relay has.
const IN_FLIGHT: usize = 512;
/// As often as the relay asks for one.
const ANSWERED_EVERY: u64 = 128;

struct Message {
    position: i64,
    subject: Subject,
    body: Bytes,
}

#[tokio::main]
async fn main() {
    let total = event_total(100_000);
    let folder = tempfile::tempdir().unwrap();
    let (postgres, pool) = log::start(folder.path(), total).await;
    let nats = Nats::start(NatsOptions::new(folder.path().join("data"))).await.unwrap();
    let options = ConnectOptions::with_user_and_password(nats.user().to_owned(), nats.password().to_owned());
    let client = options.connect(nats.address()).await.unwrap();

    // What the relay writes is what it left behind.
    let _ = relayed(&pool, &client, total).await;
    let messages = messages(&pool).await;
    let mut rates = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        rates[0].push(published(&client, &messages, 1).await);
        rates[1].push(published(&client, &messages, ANSWERED_EVERY).await);
        rates[2].push(relayed(&pool, &client, total).await);
    }
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    let size_bytes: usize = messages.iter().map(|message| message.body.len()).sum();
    println!(
        "relay: {total} events of {} bytes, Postgres {}, {build}, medians of {ROUNDS}",
        size_bytes / messages.len(),
        postgres.major()
    );
    println!("{:<40} {:>10} {:>9}", "way", "events/s", "of memory");
    let rates = rates.map(median);
    let ways = ["published from memory", "the same, an answer to every 128th", "relayed from the log"];
    for (way, rate) in ways.iter().zip(rates) {
        println!("{way:<40} {rate:>10.0} {:>9.2}", rate / rates[0]);
    }
    nats.shutdown().await;
    pool.close().await;
    postgres.shutdown().await;
}

async fn empty(client: &async_nats::Client) -> jetstream::Context {
    let context = ContextBuilder::new().max_ack_inflight(4 * IN_FLIGHT).build(client.clone());
    let _ = context.delete_stream(STREAM).await;
    context
}

/// Events a second, from the start of a relay until the stream has them all.
async fn relayed(pool: &PgPool, client: &async_nats::Client, total: i64) -> f64 {
    let context = empty(client).await;
    let cancel = CancellationToken::new();
    let begin = Instant::now();
    let task = tokio::spawn(relay::run(pool.clone(), client.clone(), "bench".to_owned(), cancel.clone()));
    let total_messages = u64::try_from(total).unwrap();
    while last_sequence(&context).await != Some(total_messages) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rate = total as f64 / begin.elapsed().as_secs_f64();
    cancel.cancel();
    task.await.unwrap();
    rate
}

async fn last_sequence(context: &jetstream::Context) -> Option<u64> {
    let stream: Stream = context.get_stream(STREAM).await.ok()?;
    Some(stream.cached_info().state.last_sequence)
}

async fn messages(pool: &PgPool) -> Vec<Message> {
    let batches: Vec<_> = events::batches(pool.clone(), Filter::default()).try_collect().await.unwrap();
    let events = batches.into_iter().flat_map(|batch| batch.events);
    let message = |event: events::StoredEvent| Message {
        position: event.position,
        subject: Subject::from(format!("{}.{}", relay::SUBJECT_PREFIX, event.event_type)),
        body: Bytes::from(serde_json::to_vec(&event).unwrap()),
    };
    events.map(message).collect()
}

/// Events a second, with nothing to do but to publish them; the server answers every so many.
async fn published(client: &async_nats::Client, messages: &[Message], answered_every: u64) -> f64 {
    let context = empty(client).await;
    let begin = Instant::now();
    let config = Config {
        name: STREAM.to_owned(),
        subjects: vec![format!("{}.>", relay::SUBJECT_PREFIX)],
        max_age: Duration::from_secs(7 * 24 * 60 * 60),
        ..Config::default()
    };
    context.create_stream(config).await.unwrap();
    let mut in_flight = VecDeque::with_capacity(IN_FLIGHT);
    let answers = IN_FLIGHT / usize::try_from(answered_every).unwrap();
    for (sequence, message) in (0_u64..).zip(messages) {
        if in_flight.len() == answers {
            let first: jetstream::context::PublishAckFuture = in_flight.pop_front().unwrap();
            first.await.unwrap();
        }
        let publish = PublishMessage::build()
            .payload(message.body.clone())
            .header(POSITION_HEADER, message.position.to_string())
            .expected_last_sequence(sequence);
        if (sequence + 1).is_multiple_of(answered_every) || sequence + 1 == messages.len() as u64 {
            in_flight.push_back(context.send_publish(message.subject.clone(), publish).await.unwrap());
        } else {
            let message = publish.outbound_message(message.subject.clone());
            client.publish_with_headers(message.subject, message.headers.unwrap(), message.payload).await.unwrap();
        }
    }
    for sent in in_flight {
        sent.await.unwrap();
    }
    messages.len() as f64 / begin.elapsed().as_secs_f64()
}
