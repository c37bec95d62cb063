//! The relay against a real nats-server: every event once and in order, whatever dies.

mod servers;

use std::time::Duration;

use async_nats::jetstream;
use commands::relay::{self, POSITION_HEADER, STREAM};
use futures::StreamExt;
use sqlx::PgPool;
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use self::servers::{Process, Server, signal_process, stop_idle_backends};
use crate::stage::{PATIENCE, Stage, account_id, bare_channel};

/// How long an answer of NATS is waited for before it is asked again: one that is killed answers nothing.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Appends `total` small events without a write side.
async fn fill(pool: &PgPool, total: i32) {
    fill_with(pool, total, "channel.created", r#"{"Created":{}}"#).await;
}

async fn fill_with(pool: &PgPool, total: i32, event_type: &str, payload: &str) {
    sqlx::query(
        "with head as (update log.head set position = position + $1 returning position - $1 as position), \
         event as (insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, \
                 payload, metadata) \
             select position + n, 'channel', gen_random_uuid()::text, 1, $2, '1', $3::json, '{}' \
                 from head, generate_series(1, $1) n) \
         select pg_notify('weir_log', position::text) from head",
    )
    .bind(total)
    .bind(event_type)
    .bind(payload)
    .execute(pool)
    .await
    .unwrap();
}

struct Running {
    cancel: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    async fn start(stage: &Stage, nats: &str) -> Self {
        let client = connect(nats).await;
        let cancel = CancellationToken::new();
        let pool = PgPool::connect(&stage.url).await.unwrap();
        let task = tokio::spawn(relay::run(pool, client, "test".to_owned(), cancel.clone()));
        Self { cancel, task }
    }

    async fn stop(self) {
        self.cancel.cancel();
        self.task.await.unwrap();
    }

    /// As a crash would: nothing is given up, nothing waited for.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

async fn connect(nats: &str) -> async_nats::Client {
    let connected = timeout(PATIENCE, async {
        loop {
            match async_nats::connect(nats).await {
                Ok(client) => break client,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    connected.await.expect("nats-server never let anybody in")
}

async fn context(nats: &str) -> jetstream::Context {
    let mut context = jetstream::new(connect(nats).await);
    context.set_timeout(PATIENCE);
    context
}

/// Waits until the last event of the stream is the one at `last`, or later.
async fn arrived(context: &jetstream::Context, last: i64) -> jetstream::stream::Stream {
    let arrived = timeout(PATIENCE, async {
        loop {
            if let Ok(Ok(stream)) = timeout(ANSWERED_WITHIN, context.get_stream(STREAM)).await {
                let state = &stream.cached_info().state;
                if state.messages > 0
                    && let Some(message) = message(&stream, state.last_sequence).await
                    && position(&message) >= last
                {
                    break stream;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    arrived.await.expect("the stream never got there")
}

/// The positions in the stream, in its order, once the last of them is `last`.
async fn positions_until(context: &jetstream::Context, last: i64) -> Vec<i64> {
    let stream = arrived(context, last).await;
    let state = &stream.cached_info().state;
    read(&stream, state.first_sequence, state.last_sequence).await
}

async fn read(stream: &jetstream::stream::Stream, first: u64, last: u64) -> Vec<i64> {
    let mut positions = Vec::new();
    for sequence in first..=last {
        positions.push(position(&message_at(stream, sequence).await));
    }
    positions
}

/// `None` also when nobody has answered in time.
async fn message(stream: &jetstream::stream::Stream, sequence: u64) -> Option<jetstream::message::StreamMessage> {
    timeout(ANSWERED_WITHIN, stream.get_raw_message(sequence)).await.ok()?.ok()
}

/// The message, which is there.
async fn message_at(stream: &jetstream::stream::Stream, sequence: u64) -> jetstream::message::StreamMessage {
    let found = timeout(PATIENCE, async {
        loop {
            if let Some(message) = message(stream, sequence).await {
                break message;
            }
        }
    });
    found.await.unwrap_or_else(|_| panic!("message {sequence} was never given out"))
}

fn position(message: &jetstream::message::StreamMessage) -> i64 {
    message.headers.get(POSITION_HEADER).unwrap().as_str().parse().unwrap()
}

#[track_caller]
fn assert_each_once(positions: &[i64], total: i64) {
    assert!(positions.iter().copied().eq(1..=total), "{positions:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_arrive_once_in_order_and_whole() {
    let (stage, nats) = (Stage::new().await, embedded::testing::nats().await);
    fill(&stage.pool, 2_500).await;
    let relay = Running::start(&stage, &nats).await;
    let context = context(&nats).await;
    assert_each_once(&positions_until(&context, 2_500).await, 2_500);

    // And what is appended while it waits.
    let commands = stage.commands().await;
    bare_channel(&commands, account_id(), "my_channel").await;
    assert_each_once(&positions_until(&context, 2_501).await, 2_501);
    let stream = context.get_stream(STREAM).await.unwrap();
    let message = message_at(&stream, 2_501).await;
    assert_eq!(message.subject.as_str(), "weir.events.channel.created");
    let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    assert_eq!(body["position"], 2_501);
    assert_eq!(body["payload"]["Created"]["handle"], "my_channel");
    assert_eq!(body["metadata"]["actor"], "system");
    for field in ["aggregate_type", "aggregate_id", "sequence", "event_type", "event_version", "recorded_at"] {
        assert!(!body[field].is_null(), "{field}");
    }
    assert_eq!(stream.cached_info().config.max_age, Duration::from_secs(7 * 24 * 60 * 60));
    // The next may begin at once. That the lease is given up is waited for a second, which need not do on a machine under strain:
    // then another relay leads and is stopped.
    let mut relay = relay;
    let given_up = async {
        loop {
            relay.stop().await;
            let left = holder(&stage.pool).await;
            if left.is_none() {
                break;
            }
            relay = Running::start(&stage, &nats).await;
            while holder(&stage.pool).await == left {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    assert!(timeout(PATIENCE, given_up).await.is_ok(), "no relay gives its lease up");
}

/// Who holds the lease, or held it last.
async fn holder(pool: &PgPool) -> Option<String> {
    sqlx::query_scalar("select holder from log.lease").fetch_optional(pool).await.unwrap()
}

/// And what was not answered counts as published all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_answer_holds_for_many_messages() {
    const TOTAL: i64 = 2_500;
    let (stage, nats) = (Stage::new().await, embedded::testing::nats().await);
    fill(&stage.pool, TOTAL as i32).await;
    let listener = connect(&nats).await;
    let mut answers = listener.subscribe("_INBOX.>").await.unwrap();
    listener.flush().await.unwrap();
    let relay = Running::start(&stage, &nats).await;
    let mut answered = Vec::new();
    timeout(PATIENCE, async {
        while answered.last() != Some(&TOTAL) {
            let answer: serde_json::Value =
                serde_json::from_slice(&answers.next().await.unwrap().payload).unwrap_or_default();
            // Of a publication; others are answers of the API.
            if answer["type"].is_null() {
                answered.extend(answer["seq"].as_i64());
            }
        }
    })
    .await
    .expect("the last message was never answered");
    assert!(answered.len() < 100, "{answered:?}");
    assert_each_once(&positions_until(&context(&nats).await, TOTAL).await, TOTAL);
    relay.stop().await;
}

/// Both believe that they lead: the lease is taken away over and over.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_relays_at_once_and_killed_in_between_repeat_nothing() {
    const TOTAL: i64 = 6_000;
    let (stage, nats) = (Stage::new().await, embedded::testing::nats().await);
    let thief = {
        let pool = stage.pool.clone();
        tokio::spawn(async move {
            loop {
                sqlx::query("delete from log.lease").execute(&pool).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    let writer = {
        let pool = stage.pool.clone();
        tokio::spawn(async move {
            for _ in 0..TOTAL / 60 {
                fill(&pool, 60).await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
    };
    let mut relays = [Running::start(&stage, &nats).await, Running::start(&stage, &nats).await];
    for round in 0..30_u64 {
        tokio::time::sleep(Duration::from_millis(20 + round * 11 % 60)).await;
        let killed = std::mem::replace(&mut relays[round as usize % 2], Running::start(&stage, &nats).await);
        killed.kill().await;
    }
    writer.await.unwrap();
    assert_each_once(&positions_until(&context(&nats).await, TOTAL).await, TOTAL);
    thief.abort();
    for relay in relays {
        relay.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_of_before_the_clock_was_set_back_does_not_count() {
    let (stage, nats) = (Stage::new().await, embedded::testing::nats().await);
    sqlx::query(
        "insert into log.lease (name, holder, expires_at) values ('relay', 'killed', now() + interval '1 hour')",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
    let relay = Running::start(&stage, &nats).await;
    fill(&stage.pool, 10).await;
    assert_each_once(&positions_until(&context(&nats).await, 10).await, 10);
    relay.stop().await;
}

/// How long the lease still lasts.
async fn held_for(stage: &Stage) -> Duration {
    let seconds: f64 =
        sqlx::query_scalar("select extract(epoch from expires_at - clock_timestamp())::float8 from log.lease")
            .fetch_one(&stage.pool)
            .await
            .unwrap();
    Duration::from_secs_f64(seconds.max(0.0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_waits_takes_over_when_the_other_is_killed() {
    let (stage, nats) = (Stage::new().await, embedded::testing::nats().await);
    let first = Running::start(&stage, &nats).await;
    fill(&stage.pool, 10).await;
    let context = context(&nats).await;
    positions_until(&context, 10).await;
    let second = Running::start(&stage, &nats).await;
    first.kill().await;
    // With the half second in which a relay tries again, that is well below five.
    assert!(held_for(&stage).await <= Duration::from_secs(3));
    let killed_at = Instant::now();
    fill(&stage.pool, 10).await;
    arrived(&context, 20).await;
    println!("the next relay took over after {:.1} s", killed_at.elapsed().as_secs_f64());
    assert_each_once(&positions_until(&context, 20).await, 20);
    second.stop().await;
}

#[tokio::test]
#[ignore = "is started by the test below, in a process that it can stop"]
async fn in_another_process() {
    let pool = PgPool::connect(&std::env::var("WEIR_TEST_POSTGRES").unwrap()).await.unwrap();
    let client = connect(&std::env::var("WEIR_TEST_NATS").unwrap()).await;
    relay::run(pool, client, "other".to_owned(), CancellationToken::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_stopped_loses_the_lead_and_does_no_harm_when_it_is_continued() {
    let (stage, nats) = (Stage::new().await, embedded::testing::nats().await);
    let context = context(&nats).await;
    let mut total = 0;
    let mut append = async || {
        fill(&stage.pool, 700).await;
        total += 700;
        total
    };
    let processes = [Process::start(&stage, &nats), Process::start(&stage, &nats)];
    positions_until(&context, append().await).await;
    for round in 0..4 {
        // Whoever leads is one of them: the other publishes while the one is stopped.
        let stopped = &processes[round % 2];
        // In the middle of its work, as far as that can be had.
        append().await;
        stopped.signal("STOP");
        let stopped_at = Instant::now();
        let last = append().await;
        arrived(&context, last).await;
        println!("all was published {:.1} s after the stop", stopped_at.elapsed().as_secs_f64());
        assert_each_once(&positions_until(&context, last).await, last);
        append().await;
        stopped.signal("CONT");
        let last = append().await;
        assert_each_once(&positions_until(&context, last).await, last);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_may_go_and_come_back() {
    let stage = Stage::new().await;
    let mut server = Server::start().await;
    let url = server.url();
    let relay = Running::start(&stage, &url).await;
    let context = context(&url).await;
    let mut total = 0;
    for _ in 0..3 {
        fill(&stage.pool, 700).await;
        server.kill();
        fill(&stage.pool, 700).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        server.restart();
        total += 1_400;
        assert_each_once(&positions_until(&context, total).await, total);
    }
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_deleted_begins_where_the_slowest_projection_stands() {
    let (stage, nats) = (Stage::new().await, embedded::testing::nats().await);
    fill(&stage.pool, 100).await;
    let relay = Running::start(&stage, &nats).await;
    let context = context(&nats).await;
    positions_until(&context, 100).await;
    // No projections: from the beginning.
    context.delete_stream(STREAM).await.unwrap();
    fill(&stage.pool, 10).await;
    assert_each_once(&positions_until(&context, 110).await, 110);

    sqlx::raw_sql(
        "create schema read; create table read.checkpoints (projection text, position bigint); \
         insert into read.checkpoints values ('fast', 100), ('slow', 42)",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
    context.delete_stream(STREAM).await.unwrap();
    fill(&stage.pool, 10).await;
    assert!(positions_until(&context, 120).await.into_iter().eq(43..=120));

    // Emptied, but numbered on.
    context.get_stream(STREAM).await.unwrap().purge().await.unwrap();
    relay.kill().await;
    fill(&stage.pool, 5).await;
    let relay = Running::start(&stage, &nats).await;
    assert!(positions_until(&context, 125).await.into_iter().eq(43..=125));
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jetstream_may_lose_everything_while_it_is_in_use() {
    let stage = Stage::new().await;
    sqlx::raw_sql(
        "create schema read; create table read.checkpoints (projection text, position bigint); \
         insert into read.checkpoints values ('fast', 0), ('slow', 0)",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
    let mut server = Server::start().await;
    let url = server.url();
    let relay = Running::start(&stage, &url).await;
    let context = context(&url).await;
    fill(&stage.pool, 2_000).await;
    positions_until(&context, 2_000).await;
    let mut last = 2_000;
    for _ in 0..3 {
        let slowest = last - 500;
        sqlx::query("update read.checkpoints set position = case projection when 'slow' then $1 else $2 end")
            .bind(slowest)
            .bind(last)
            .execute(&stage.pool)
            .await
            .unwrap();
        // Some of it is on its way when the server is killed.
        fill(&stage.pool, 1_000).await;
        server.lose_everything();
        fill(&stage.pool, 1_000).await;
        server.restart();
        last += 2_000;
        assert!(positions_until(&context, last).await.into_iter().eq(slowest + 1..=last));
    }
    relay.stop().await;
}

/// Its backends say nothing more, and nobody closes their connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_may_vanish_without_a_word() {
    let (stage, nats) = (Stage::new().await, embedded::testing::nats().await);
    let relay = Running::start(&stage, &nats).await;
    fill(&stage.pool, 100).await;
    let context = context(&nats).await;
    positions_until(&context, 100).await;
    let mut connection = stage.pool.acquire().await.unwrap();
    let backends = stop_idle_backends(&mut connection).await;
    let last = {
        let other = PgPool::connect(&stage.url).await.unwrap();
        fill(&other, 100).await;
        positions_until(&context, 200).await
    };
    for backend in &backends {
        signal_process(*backend, "CONT");
    }
    assert_each_once(&last, 200);
    relay.stop().await;
}

/// Damage and what a later build may write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_stops_what_comes_after_it() {
    let (stage, nats) = (Stage::new().await, embedded::testing::nats().await);
    let large = format!(r#"{{"Said":{{"text":"{}"}}}}"#, "x".repeat(1_200_000));
    for (event_type, payload) in [
        ("not a subject", "{}"),
        ("", "{}"),
        ("weir.>", "null"),
        ("two\r\nlines", "\"Unit\""),
        (".", "[ 1 ]"),
        ("member.said", &large),
        ("channel.created", r#"{"Created":{}}"#),
    ] {
        fill_with(&stage.pool, 1, event_type, payload).await;
    }
    let relay = Running::start(&stage, &nats).await;
    let context = context(&nats).await;
    assert_each_once(&positions_until(&context, 7).await, 7);
    let stream = context.get_stream(STREAM).await.unwrap();
    let first = message_at(&stream, 1).await;
    assert_eq!(first.subject.as_str(), "weir.events.unnamed");
    let body: serde_json::Value = serde_json::from_slice(&first.payload).unwrap();
    assert_eq!(body["event_type"], "not a subject");
    assert!(message_at(&stream, 6).await.payload.is_empty());
    relay.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_may_drop_every_connection() {
    let (stage, nats) = (Stage::new().await, embedded::testing::nats().await);
    let relay = Running::start(&stage, &nats).await;
    for _ in 0..20 {
        fill(&stage.pool, 100).await;
        // Waits until they are gone: the pool of the test may have had two, and one that is dying still answers.
        sqlx::query(
            "select pg_terminate_backend(pid, 30000) from pg_stat_activity \
             where pid <> pg_backend_pid() and datname = current_database()",
        )
        .execute(&stage.pool)
        .await
        .unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_each_once(&positions_until(&context(&nats).await, 2_000).await, 2_000);
    relay.stop().await;
}
