use std::{
    future,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use domain::DomainEvent;
use processes::{Begin, Followed, Following, Handler, Process, following::BoxError};
use sqlx::{Connection, PgConnection};
use tokio::task::JoinHandle;

use crate::stage::{self, Stage};

const CHANNELS: Process = Process { name: "test", types: &["channel.created"], begin: Begin::Start };

/// Who waits for a lock.
const WAITING: &str =
    "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";

/// Keeps what it was called for, and does as it is told.
#[derive(Clone, Default)]
struct Notes {
    positions: Arc<Mutex<Vec<i64>>>,
    fails: Arc<AtomicBool>,
    panics: Arc<AtomicBool>,
    hangs: Arc<AtomicBool>,
}

impl Notes {
    fn positions(&self) -> Vec<i64> {
        self.positions.lock().unwrap().clone()
    }
}

impl Handler for Notes {
    async fn handle(&self, followed: &Followed) -> Result<(), BoxError> {
        assert!(matches!(followed.event, DomainEvent::Channel(_)));
        self.positions.lock().unwrap().push(followed.stored.position);
        if self.hangs.load(Ordering::SeqCst) {
            future::pending::<()>().await;
        }
        assert!(!self.panics.load(Ordering::SeqCst), "for the test");
        if self.fails.load(Ordering::SeqCst) { Err("for the test".into()) } else { Ok(()) }
    }
}

/// A node that follows; it ends, as by a crash, when it is aborted.
fn node(stage: &Stage, process: Process, notes: &Notes) -> JoinHandle<()> {
    let (commands, notes) = (stage.commands.clone(), notes.clone());
    tokio::spawn(async move {
        let following = Following::new(&commands);
        tokio::join!(following.listen(), following.follow(process, &notes));
    })
}

async fn crash(node: JoinHandle<()>) {
    node.abort();
    let _ = node.await;
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    stage::until(what, async || condition()).await;
}

#[tokio::test]
async fn every_event_of_the_type_is_handed_on_in_order_and_a_restart_goes_on() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    let mut expected = stage.channels(3).await;
    let first = node(&stage, CHANNELS, &notes);
    until("what was there", || notes.positions() == expected).await;
    expected.extend(stage.channels(2).await);
    until("what came", || notes.positions() == expected).await;
    stage.until_checkpoint("test", *expected.last().unwrap()).await;
    crash(first).await;
    expected.extend(stage.channels(2).await);
    let _second = node(&stage, CHANNELS, &notes);
    until("what came meanwhile", || notes.positions() == expected).await;
}

#[tokio::test]
async fn a_crash_between_handler_and_checkpoint_calls_it_again() {
    let stage = Stage::new().await;
    let expected = stage.channels(3).await;
    let notes = Notes::default();
    // The checkpoint cannot be written while somebody holds its row.
    stage.checkpoint("test", 0).await;
    let mut other = PgConnection::connect(&stage.url).await.unwrap();
    let mut lock = other.begin().await.unwrap();
    sqlx::query("select 1 from log.processes for update").execute(&mut *lock).await.unwrap();
    let first = node(&stage, CHANNELS, &notes);
    until("the first event", || !notes.positions().is_empty()).await;
    stage.until_count("a checkpoint that waits", WAITING, 1).await;
    crash(first).await;
    lock.rollback().await.unwrap();
    // What the dead node had sent may yet be carried out by Postgres; it must not be counted as done for the test.
    stage.until_count("the dead node's connections", WAITING, 0).await;
    stage.checkpoint("test", 0).await;
    assert_eq!(notes.positions(), expected[..1]);
    let second = Notes::default();
    let _second = node(&stage, CHANNELS, &second);
    until("all of them", || second.positions() == expected).await;
}

#[tokio::test]
async fn a_crash_in_the_handler_calls_it_again() {
    let stage = Stage::new().await;
    let expected = stage.channels(2).await;
    let notes = Notes::default();
    notes.hangs.store(true, Ordering::SeqCst);
    let first = node(&stage, CHANNELS, &notes);
    until("the first event", || notes.positions() == expected[..1]).await;
    crash(first).await;
    notes.hangs.store(false, Ordering::SeqCst);
    let _second = node(&stage, CHANNELS, &notes);
    until("it again and the next", || notes.positions() == [expected[0], expected[0], expected[1]]).await;
}

#[tokio::test]
async fn of_two_nodes_one_works_and_the_other_takes_over() {
    let stage = Stage::new().await;
    let (one, two) = (Notes::default(), Notes::default());
    let first = node(&stage, CHANNELS, &one);
    let mut expected = stage.channels(1).await;
    until("a leader", || one.positions() == expected).await;
    let _second = node(&stage, CHANNELS, &two);
    expected.extend(stage.channels(5).await);
    until("the leader's work", || one.positions() == expected).await;
    assert!(two.positions().is_empty());
    stage.until_checkpoint("test", *expected.last().unwrap()).await;
    crash(first).await;
    let later = stage.channels(2).await;
    until("the other's work", || two.positions() == later).await;
}

#[tokio::test]
async fn a_handler_that_fails_or_panics_is_called_again_and_holds_up_nobody_else() {
    let stage = Stage::new().await;
    let (bad, worse, good) = (Notes::default(), Notes::default(), Notes::default());
    bad.fails.store(true, Ordering::SeqCst);
    worse.panics.store(true, Ordering::SeqCst);
    let (commands, handlers) = (stage.commands.clone(), (bad.clone(), worse.clone(), good.clone()));
    let _node = tokio::spawn(async move {
        let following = Following::new(&commands);
        let named = |name| Process { name, ..CHANNELS };
        tokio::join!(
            following.listen(),
            following.follow(named("bad"), &handlers.0),
            following.follow(named("worse"), &handlers.1),
            following.follow(named("good"), &handlers.2),
        );
    });
    let expected = stage.channels(2).await;
    until("who does not fail", || good.positions() == expected).await;
    until("repeats", || bad.positions().len() > 1 && worse.positions().len() > 1).await;
    assert!(bad.positions().iter().chain(&worse.positions()).all(|position| *position == expected[0]));
    bad.fails.store(false, Ordering::SeqCst);
    worse.panics.store(false, Ordering::SeqCst);
    until("the rest", || bad.positions().ends_with(&expected) && worse.positions().ends_with(&expected)).await;
}

#[tokio::test]
async fn a_new_process_begins_where_it_says() {
    let stage = Stage::new().await;
    let old = stage.channels(2).await;
    let (all, new) = (Notes::default(), Notes::default());
    let head = Process { name: "from head", begin: Begin::Head, ..CHANNELS };
    let _one = node(&stage, Process { name: "from start", ..CHANNELS }, &all);
    let first = node(&stage, head, &new);
    stage.until_count("checkpoints", "select count(*) from log.processes", 2).await;
    crash(first).await;
    // It is new once only: what comes while it is away is its own.
    let young = stage.channels(2).await;
    let _second = node(&stage, head, &new);
    until("the new", || new.positions() == young).await;
    until("all", || all.positions() == [&old[..], &young].concat()).await;
}

#[tokio::test]
async fn it_polls_when_notifications_do_not_come() {
    let stage = Stage::new().await;
    let notes = Notes::default();
    let (commands, handler) = (stage.commands.clone(), notes.clone());
    let _node = tokio::spawn(async move { Following::new(&commands).follow(CHANNELS, &handler).await });
    stage.until_count("the process", "select count(*) from log.processes", 1).await;
    let expected = stage.channels(1).await;
    until("the event", || notes.positions() == expected).await;
    // And it outlives its connections. Not that of the write side, which does not know what became of an event when its
    // connection dies under it; and what is dying still answers.
    sqlx::query(
        "select pg_terminate_backend(pid, 30000) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid() and application_name <> 'weir append'",
    )
    .execute(&stage.pool)
    .await
    .unwrap();
    let expected = [expected, stage.channels(1).await].concat();
    until("the next", || notes.positions().ends_with(&expected[1..])).await;
}
