//! Where events come from: JetStream, the log, and what goes wrong between them.

use std::{sync::Arc, time::Duration};

use domain::DomainEvent;
use projections::{ALL, Source};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions, PgSslMode},
};

use crate::{
    broker::{Broker, STREAM, connect},
    fallible::{Counting, Fault},
    history::{BEGIN, Dice, details_changed, new, registered},
    stage::{PATIENCE, Stage, Workers, until},
    wire::{End, Wire},
};

fn somebody(number: usize) -> DomainEvent {
    registered(new(), &format!("person_{number}"), BEGIN)
}

async fn on(workers: &Workers, source: Source) {
    until(&format!("following {source:?}"), async || workers.projections.source() == source).await;
}

/// The log cannot be read, so that only what comes from JetStream can be applied.
async fn hide_log(stage: &Stage) {
    sqlx::query("alter table log.events rename to hidden_events").execute(&stage.pool).await.unwrap();
}

#[tokio::test]
async fn without_nats_the_log_is_followed() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    for number in 0..20 {
        let head = stage.append(&[somebody(number)]).await;
        assert!(workers.read.wait_for(head, PATIENCE).await);
    }
    assert_eq!(workers.projections.source(), Source::Log);
}

#[tokio::test]
async fn what_jetstream_brings_is_applied_without_the_log() {
    let stage = Stage::new().await;
    let broker = Broker::new().await;
    stage.append(&[somebody(0)]).await;
    let workers = stage.start(Some(broker.client().await));
    on(&workers, Source::Nats).await;
    assert!(workers.read.wait_for(1, PATIENCE).await);
    // The message tells the same as the row that is hidden once it was read from there.
    let relayed = Stage::new().await;
    relayed.append(&[somebody(0), somebody(1), somebody(2)]).await;
    hide_log(&stage).await;
    // Again where JetStream was not listened to just then, as after a pause of many seconds.
    until("what was published", async || {
        broker.publish(&relayed, 1, 3).await;
        workers.read.wait_for(3, Duration::from_secs(1)).await
    })
    .await;
    assert_eq!(stage.count("select count(*) from read.accounts_v1").await, 3);
}

#[tokio::test]
async fn what_jetstream_lacks_is_read_from_the_log() {
    let stage = Stage::new().await;
    let broker = Broker::new().await;
    let workers = stage.start(Some(broker.client().await));
    on(&workers, Source::Nats).await;
    let head = stage.append(&(0..10).map(somebody).collect::<Vec<_>>()).await;
    // Twice the same, then a hole, then out of order.
    broker.publish(&stage, 0, 2).await;
    broker.publish(&stage, 0, 2).await;
    broker.publish(&stage, 7, 8).await;
    broker.publish(&stage, 4, 6).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert_eq!(stage.count("select count(*) from read.accounts_v1").await, 10);
}

#[tokio::test]
async fn messages_that_are_no_events_do_no_harm() {
    let stage = Stage::new().await;
    let broker = Broker::new().await;
    let workers = stage.start(Some(broker.client().await));
    on(&workers, Source::Nats).await;
    for body in ["", "null", "{}", r#"{"position": "one"}"#, "\u{0}"] {
        broker.jetstream.publish("weir.events.junk", body.into()).await.unwrap().await.unwrap();
    }
    stage.append(&[somebody(0)]).await;
    broker.publish(&stage, 0, 1).await;
    assert!(workers.read.wait_for(1, PATIENCE).await);
}

#[tokio::test]
async fn a_silent_relay_is_made_up_for_by_the_log_until_it_speaks() {
    let stage = Stage::new().await;
    let broker = Broker::new().await;
    let workers = stage.start(Some(broker.client().await));
    on(&workers, Source::Nats).await;
    // The first may still be part of what is read when JetStream is opened.
    let mut head = 0;
    while head < 2 || workers.projections.source() != Source::Log {
        head = stage.append(&[somebody(usize::try_from(head).unwrap())]).await;
        assert!(workers.read.wait_for(head, PATIENCE).await);
    }
    // What is known already makes no difference, and what comes after it does.
    broker.publish(&stage, 0, head - 1).await;
    assert_eq!(workers.projections.source(), Source::Log);
    broker.publish(&stage, head - 1, head).await;
    on(&workers, Source::Nats).await;
}

#[tokio::test]
async fn nats_may_go_and_come_back() {
    let stage = Stage::new().await;
    let broker = Broker::new().await;
    let wire = Wire::new(End::Tcp(broker.url.strip_prefix("nats://").unwrap().to_owned())).await;
    let relay = broker.relay(&stage);
    let (_, counting) = Counting::new(&stage, Fault::Refused, false).await;
    let workers = stage.start_some(counting, Some(connect(&format!("nats://{}", wire.address)).await));
    on(&workers, Source::Nats).await;
    let titled = |title: &str| details_changed(new(), title, BEGIN);
    let mut head = 0;
    for round in 0..3 {
        for _ in 0..30 {
            head = stage.append(&[titled("with")]).await;
        }
        wire.cut();
        for _ in 0..30 {
            head = stage.append(&[titled("without")]).await;
        }
        assert!(workers.read.wait_for_some(counting, head, PATIENCE).await, "round {round}");
        on(&workers, Source::Log).await;
        wire.mend();
        on(&workers, Source::Nats).await;
    }
    head = head.max(stage.append(&[titled("with")]).await);
    assert!(workers.read.wait_for_some(counting, head, PATIENCE).await);
    assert_eq!(stage.count("select count(*) from read.counting_v1").await, head);
    relay.abort();
}

#[tokio::test]
async fn a_stream_may_be_lost_and_begin_anew() {
    let stage = Stage::new().await;
    let broker = Broker::new().await;
    let (_, counting) = Counting::new(&stage, Fault::Refused, false).await;
    let workers = stage.start_some(counting, Some(broker.client().await));
    on(&workers, Source::Nats).await;
    let titled = |count: usize| vec![details_changed(new(), "title", BEGIN); count];
    let first = stage.append(&titled(40)).await;
    broker.publish(&stage, 0, first).await;
    assert!(workers.read.wait_for_some(counting, first, PATIENCE).await);

    broker.jetstream.delete_stream(STREAM).await.unwrap();
    let second = stage.append(&titled(5)).await;
    assert!(workers.read.wait_for_some(counting, second, PATIENCE).await);
    on(&workers, Source::Log).await;

    // Its sequences begin at 1 again, far below the positions.
    broker.make_stream().await;
    on(&workers, Source::Nats).await;
    let third = stage.append(&titled(5)).await;
    broker.publish(&stage, first, third).await;
    assert!(workers.read.wait_for_some(counting, third, PATIENCE).await);

    // Made anew at once, and filled before anybody looks.
    broker.jetstream.delete_stream(STREAM).await.unwrap();
    broker.make_stream().await;
    let last = stage.append(&titled(5)).await;
    broker.publish(&stage, 0, last).await;
    assert!(workers.read.wait_for_some(counting, last, PATIENCE).await);
    assert_eq!(stage.count("select count(*) from read.counting_v1").await, last);
    on(&workers, Source::Nats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_be_deleted_and_made_again_under_a_load() {
    let stage = Arc::new(Stage::new().await);
    let broker = Broker::new().await;
    let (_, counting) = Counting::new(&stage, Fault::Refused, false).await;
    let workers = stage.start_some(counting, Some(broker.client().await));
    on(&workers, Source::Nats).await;
    let writer = {
        let stage = stage.clone();
        tokio::spawn(async move {
            let mut head = 0;
            for number in 0..400 {
                let titled = |_| details_changed(new(), "title", BEGIN);
                head = stage.append(&(0..1 + number % 5).map(titled).collect::<Vec<_>>()).await;
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            head
        })
    };
    let mut dice = Dice(12);
    let mut published = 0;
    let mut round = 0;
    while !writer.is_finished() {
        round += 1;
        let head = stage.count("select position from log.head").await;
        broker.publish(&stage, published, head).await;
        published = head;
        if round % 3 == 0 {
            broker.jetstream.delete_stream(STREAM).await.unwrap();
            if dice.roll(2) == 0 {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            broker.make_stream().await;
            // A relay begins an empty stream where the slowest projection stands, or further back.
            let slowest = stage.count("select min(position) from read.checkpoints").await;
            published = (slowest - i64::try_from(dice.roll(50)).unwrap()).max(0);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let head = writer.await.unwrap();
    assert!(workers.read.wait_for_some(counting, head, PATIENCE).await);
    assert_eq!(stage.count("select count(*) from read.counting_v1").await, head);
    broker.publish(&stage, published, head).await;
    on(&workers, Source::Nats).await;
}

#[tokio::test]
async fn nats_that_comes_later_is_followed_then() {
    let stage = Stage::new().await;
    let broker = Broker::at(embedded::testing::nats().await).await;
    let workers = stage.start(Some(broker.client().await));
    let head = stage.append(&[somebody(0)]).await;
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert_eq!(workers.projections.source(), Source::Log);
    broker.make_stream().await;
    on(&workers, Source::Nats).await;
}

/// A pool over a wire.
fn pool_over(wire: &Wire, url: &str) -> PgPool {
    let server: PgConnectOptions = url.parse().unwrap();
    let options = PgConnectOptions::new_without_pgpass()
        .host("127.0.0.1")
        .port(wire.address.port())
        .ssl_mode(PgSslMode::Disable)
        .username(server.get_username())
        .database(server.get_database().unwrap());
    PgPoolOptions::new().acquire_timeout(std::time::Duration::from_secs(2)).connect_lazy_with(options)
}

#[tokio::test]
async fn postgres_may_go_and_come_back() {
    let stage = Stage::new().await;
    let server: PgConnectOptions = stage.url.parse().unwrap();
    let socket = server.get_socket().unwrap().join(format!(".s.PGSQL.{}", server.get_port()));
    let wire = Wire::new(End::Socket(socket)).await;
    let (_, counting) = Counting::new(&stage, Fault::Refused, false).await;
    // Away at the start, too.
    wire.cut();
    let workers = stage.start_with(pool_over(&wire, &stage.url), counting, None);
    let mut head = 0;
    for round in 0..3 {
        for _ in 0..20 {
            head = stage.append(&[details_changed(new(), "title", BEGIN)]).await;
        }
        wire.mend();
        assert!(workers.read.wait_for_some(counting, head, PATIENCE).await, "round {round}");
        for _ in 0..20 {
            head = stage.append(&[details_changed(new(), "title", BEGIN)]).await;
        }
        wire.cut();
    }
    wire.mend();
    assert!(workers.read.wait_for_some(counting, head, PATIENCE).await);
    assert_eq!(stage.count("select count(*) from read.counting_v1").await, head);
    assert_eq!(stage.count("select count(*) from read.failed_events").await, 0);
}

#[tokio::test]
async fn workers_end_when_they_are_told_to() {
    let stage = Stage::new().await;
    let broker = Broker::new().await;
    let workers = stage.start_some(ALL, Some(broker.client().await));
    on(&workers, Source::Nats).await;
    assert!(tokio::time::timeout(PATIENCE, workers.end()).await.is_ok());
}
