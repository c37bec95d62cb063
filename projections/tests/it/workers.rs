//! Several workers, events that cannot be applied, and waiting for rows.

use std::{sync::atomic::Ordering, time::Duration};

use domain::{DomainEvent, ids::ChannelId};
use projections::{ReadModels, State};

use crate::{
    fallible::{Counting, Fault, POISON},
    history::{BEGIN, created, details_changed, new, registered},
    stage::{PATIENCE, Stage, Workers, until},
};

fn titled(title: &str) -> DomainEvent {
    details_changed(ChannelId::from(uuid::Uuid::nil()), title, BEGIN)
}

fn state(workers: &Workers) -> State {
    workers.projections.status()[0].state.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_one_applies_and_the_other_takes_over() {
    let stage = Stage::new().await;
    let (_, counting) = Counting::new(&stage, Fault::Refused, false).await;
    let one = stage.start_some(counting, None);
    let two = stage.start_some(counting, None);
    let mut total = 0;
    for number in 0..300 {
        let events: Vec<_> = (0..=number % 7).map(|_| titled("more")).collect();
        total += i64::try_from(events.len()).unwrap();
        stage.append(&events).await;
    }
    until("all events", async || stage.count("select count(*) from read.counting_v1").await >= total).await;
    assert_eq!(stage.count("select count(*) from read.counting_v1").await, total);
    // Whoever stands by may take over just when there is nothing left to apply: then both believe until the next event that they
    // are at work.
    until("one worker at work, one standing by", async || {
        let states = [state(&one), state(&two)];
        let is_so = states.contains(&State::Following) && states.contains(&State::StandingBy);
        if !is_so {
            total = stage.append(&[titled("more")]).await;
        }
        is_so
    })
    .await;
    until("the rest", async || stage.count("select count(*) from read.counting_v1").await >= total).await;
    assert!(one.projections.status()[0].is_healthy() && two.projections.status()[0].is_healthy());

    let (at_work, other) = if state(&one) == State::Following { (&one, &two) } else { (&two, &one) };
    at_work.end().await;
    let head = stage.append(&[titled("after the end of one")]).await;
    assert!(other.read.wait_for_some(counting, head, PATIENCE).await);
    until("the other at work", async || state(other) == State::Following).await;
    assert_eq!(stage.count("select count(*) from read.counting_v1").await, total + 1);
}

async fn a_poison_event_stops_the_projection(fault: Fault, error: &str) {
    let stage = Stage::new().await;
    let (projection, counting) = Counting::new(&stage, fault, false).await;
    let workers = stage.start_some(counting, None);
    stage.append(&[titled("one"), titled("two"), titled(POISON), titled("four")]).await;
    until("the stop", async || matches!(state(&workers), State::Stopped { position: 3, .. })).await;
    assert!(!workers.projections.status()[0].is_healthy());
    let attempts = projection.failures.load(Ordering::SeqCst);
    assert!((3..=4).contains(&attempts), "tried {attempts} times");
    // What came before it is there.
    assert_eq!(stage.count("select count(*) from read.counting_v1").await, 2);
    assert_eq!(stage.count("select position from read.checkpoints where projection = 'counting_v1'").await, 2);
    let kept: (i64, String, String, i64, bool) = sqlx::query_as(
        "select position, event_type, error, attempts, resolved_at is null from read.failed_events
         where projection = 'counting_v1' and not is_skipped",
    )
    .fetch_one(&stage.pool)
    .await
    .unwrap();
    assert_eq!((kept.0, &*kept.1, kept.3, kept.4), (3, "channel.details_changed", 3, true));
    assert!(kept.2.contains(error), "{}", kept.2);
    assert!(!workers.read.wait_for_some(counting, 4, Duration::from_millis(100)).await);
    workers.end().await;

    // Started again without a cure, it tries again and stops again.
    let workers = stage.start_some(counting, None);
    until("the second stop", async || matches!(state(&workers), State::Stopped { position: 3, .. })).await;
    assert_eq!(stage.count("select attempts from read.failed_events").await, 6);
    workers.end().await;

    projection.cure(&stage).await;
    let workers = stage.start_some(counting, None);
    assert!(workers.read.wait_for_some(counting, 4, PATIENCE).await);
    assert_eq!(stage.count("select count(*) from read.counting_v1").await, 4);
    assert_eq!(stage.count("select count(*) from read.failed_events where resolved_at is not null").await, 1);
    until("back at work", async || state(&workers) == State::Following).await;
}

#[tokio::test]
async fn an_event_whose_rows_are_refused_stops_the_projection_until_it_is_cured() {
    a_poison_event_stops_the_projection(Fault::Refused, "counting_v1_title_check").await;
}

#[tokio::test]
async fn an_event_on_which_the_code_panics_does_so_too() {
    a_poison_event_stops_the_projection(Fault::Panic, "this event is too much").await;
}

#[tokio::test]
async fn a_worker_that_panics_is_noticed() {
    let stage = Stage::new().await;
    let (_, counting) = Counting::new(&stage, Fault::Bug, false).await;
    let workers = stage.start_some(counting, None);
    let head = stage.append(&[titled("one")]).await;
    assert!(workers.read.wait_for_some(counting, head, PATIENCE).await);
    assert!(!workers.projections.has_failed());
    stage.append(&[titled(POISON)]).await;
    let panicked = async {
        while !workers.projections.has_failed() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, panicked).await.unwrap();
    workers.end().await;
    assert!(!workers.projections.has_failed(), "what was told to end has not failed");
}

#[tokio::test]
async fn a_skippable_event_is_kept_and_passed_over() {
    let stage = Stage::new().await;
    let (_, counting) = Counting::new(&stage, Fault::Refused, true).await;
    let workers = stage.start_some(counting, None);
    stage.append(&[titled("one"), titled(POISON), titled("three"), titled(POISON)]).await;
    let head = stage.append(&[titled("five")]).await;
    assert!(workers.read.wait_for_some(counting, head, PATIENCE).await);
    assert_eq!(stage.rows("read.counting_v1").await, ["(five)", "(one)", "(three)"]);
    assert_eq!(stage.count("select count(*) from read.failed_events where is_skipped").await, 2);
    until("at work", async || state(&workers) == State::Following).await;
}

#[tokio::test]
async fn a_damaged_event_stops_only_those_who_want_it_and_an_unknown_one_nobody() {
    let stage = Stage::new().await;
    let (_, counting) = Counting::new(&stage, Fault::Refused, false).await;
    let workers = stage.start(None);
    let some = stage.start_some(counting, None);
    stage.append_raw("rocket", "rocket.launched", "{}").await;
    stage.append_raw("channel", "channel.imagined", r#"{"Imagined": {}}"#).await;
    let head = stage.append(&[registered(new(), "ann", BEGIN)]).await;
    // Unknown to this Weir, but not what the others asked for.
    assert!(workers.read.wait_for(head, PATIENCE).await);
    until("the stop", async || matches!(state(&some), State::Stopped { position: 2, .. })).await;
    let error: String =
        sqlx::query_scalar("select error from read.failed_events").fetch_one(&stage.pool).await.unwrap();
    assert!(error.contains("channel.imagined"), "{error}");
}

#[tokio::test]
async fn an_event_about_something_unknown_is_not_passed_over_in_silence() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    stage.append(&[titled("of no channel")]).await;
    until("the stop", async || {
        let status = workers.projections.status();
        status.iter().any(|status| status.name == "channels_v1" && matches!(status.state, State::Stopped { .. }))
    })
    .await;
    // The others go on.
    let head = stage.append(&[registered(new(), "ann", BEGIN)]).await;
    let accounts: &[&dyn projections::Projection] = &[&projections::accounts::AccountsV1];
    assert!(workers.read.wait_for_some(accounts, head, PATIENCE).await);
    assert!(!workers.read.wait_for(head, Duration::from_millis(50)).await);
}

#[tokio::test]
async fn keys_that_are_away_are_waited_for() {
    let stage = Stage::new().await;
    let workers = stage.start(None);
    stage.keys.are_away.store(true, Ordering::SeqCst);
    let id = new();
    let head = stage.append(&[registered(id, "ann", BEGIN)]).await;
    until("waiting", async || matches!(state(&workers), State::Waiting { .. })).await;
    stage.keys.are_away.store(false, Ordering::SeqCst);
    assert!(workers.read.wait_for(head, PATIENCE).await);
    assert!(workers.read.accounts().by_id(id).await.unwrap().is_some());
    assert_eq!(stage.count("select count(*) from read.failed_events").await, 0);
    until("back at work", async || state(&workers) == State::Following).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_waits_for_rows_too() {
    let stage = Stage::new().await;
    let read = ReadModels::new(stage.pool.clone());
    assert!(read.wait_for(0, Duration::ZERO).await, "nothing to wait for");
    let head = stage.append(&[registered(new(), "ann", BEGIN)]).await;
    assert!(!read.wait_for(head, Duration::from_millis(100)).await, "nobody applies it");
    let _workers = stage.start(None);
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let read = read.clone();
            tokio::spawn(async move { read.wait_for(head, PATIENCE).await })
        })
        .collect();
    for waiting in waiting {
        assert!(waiting.await.unwrap());
    }
    assert!(!read.wait_for(head + 1, Duration::from_millis(100)).await);
    assert!(read.wait_for(head, Duration::from_millis(1)).await, "what is known needs no asking");
}

#[tokio::test]
async fn status_tells_position_and_lag() {
    let stage = Stage::new().await;
    let head = stage.append(&[registered(new(), "ann", BEGIN), created(new(), new(), "harbour", BEGIN)]).await;
    let workers = stage.start(None);
    assert!(workers.read.wait_for(head, PATIENCE).await);
    let status = workers.projections.status();
    let names: Vec<_> = status.iter().map(|status| status.name).collect();
    let all: Vec<_> = projections::ALL.iter().map(|projection| projection.name()).collect();
    assert_eq!(names, all);
    for status in status {
        assert_eq!((status.position, status.lag), (head, 0));
    }
    // The rows may be there a moment before the worker has heard that they are.
    until("all at work", async || workers.projections.status().iter().all(|status| status.state == State::Following))
        .await;
}

#[tokio::test]
async fn a_read_model_ahead_of_its_log_does_not_pretend() {
    let stage = Stage::new().await;
    // As after the log was restored from an older backup.
    sqlx::query("insert into read.checkpoints (projection, position) values ('accounts_v1', 5)")
        .execute(&stage.pool)
        .await
        .unwrap();
    let workers = stage.start(None);
    until("the stop", async || matches!(state(&workers), State::Stopped { position: 5, .. })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_start_at_once_all_migrate() {
    for _ in 0..10 {
        let url = embedded::testing::database().await.url;
        let all = futures::future::join_all((0..8).map(|_| projections::migrate(&url)));
        for migrated in all.await {
            migrated.unwrap();
        }
    }
}
