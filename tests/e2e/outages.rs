//! Postgres goes, hangs and comes back under load: commands succeed or fail cleanly, never both, and none hangs.

use std::{
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    api::{Caller, check_events},
    weir::{DataDir, Weir, command, eventually},
};

const PEOPLE: usize = 8;

/// What became of a channel that somebody wanted.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Acknowledged,
    Refused,
    Unknown,
}

/// Several people who create channels, and book what they were told.
struct Crowd {
    is_over: Arc<AtomicBool>,
    book: Arc<Mutex<Book>>,
    people: JoinSet<()>,
}

type Book = Vec<(String, Outcome)>;

impl Crowd {
    fn start(caller: &Caller) -> Self {
        let mut crowd = Self { is_over: Arc::default(), book: Arc::default(), people: JoinSet::new() };
        for person in 0..PEOPLE {
            let (caller, is_over, book) = (caller.clone(), Arc::clone(&crowd.is_over), Arc::clone(&crowd.book));
            crowd.people.spawn(async move {
                for number in 0.. {
                    if is_over.load(Ordering::Relaxed) {
                        return;
                    }
                    let handle = format!("brook_{person}_{number}");
                    let outcome = create(&caller, &handle).await;
                    book.lock().unwrap().push((handle, outcome));
                }
            });
        }
        crowd
    }

    /// Waits until somebody more was told this.
    async fn is_told(&self, outcome: Outcome) {
        let count = || self.book.lock().unwrap().iter().filter(|(_, found)| *found == outcome).count();
        let before = count();
        eventually(&format!("{outcome:?} is told"), async || {
            assert_eq!(self.people.len(), PEOPLE, "somebody failed; why is above");
            (count() > before).then_some(())
        })
        .await;
    }

    /// Waits until everybody was told something since: what they ask for hangs for nobody.
    async fn everybody_is_told(&self) {
        let counts = || -> Vec<usize> {
            let book = self.book.lock().unwrap();
            let of = |person| book.iter().filter(|(handle, _)| handle.starts_with(&format!("brook_{person}_"))).count();
            (0..PEOPLE).map(of).collect()
        };
        let before = counts();
        eventually("everybody is told something", async || {
            counts().iter().zip(&before).all(|(now, before)| now > before).then_some(())
        })
        .await;
    }

    async fn stop(mut self) -> Book {
        self.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.people.join_next().await {
            ended.unwrap();
        }
        std::mem::take(&mut self.book.lock().unwrap())
    }
}

async fn create(caller: &Caller, handle: &str) -> Outcome {
    let body = json!({ "handle": handle, "title": "A brook" });
    let (status, answer) = caller.try_call(Method::POST, "channels", Some(body)).await.unwrap();
    match status {
        StatusCode::CREATED | StatusCode::ACCEPTED => Outcome::Acknowledged,
        StatusCode::SERVICE_UNAVAILABLE if answer["code"] == "outcome_unknown" => Outcome::Unknown,
        StatusCode::SERVICE_UNAVAILABLE => {
            assert_eq!(answer["code"], "unavailable", "{answer}");
            Outcome::Refused
        }
        _ => panic!("nothing but a clean refusal: {status} {answer}"),
    }
}

/// What was acknowledged is in the log once, what was refused is not, of what is unknown there is one or none.
fn check(events: &[Value], book: &[(String, Outcome)]) {
    check_events(events);
    let mut created = std::collections::HashMap::<&str, u32>::new();
    for event in events.iter().filter(|event| event["type"] == "channel.created") {
        *created.entry(event["data"]["handle"].as_str().unwrap()).or_default() += 1;
    }
    for (handle, outcome) in book {
        let count = created.get(handle.as_str()).copied().unwrap_or_default();
        let is_right = match outcome {
            Outcome::Acknowledged => count == 1,
            Outcome::Refused => count == 0,
            Outcome::Unknown => count <= 1,
        };
        assert!(is_right, "{handle} is {outcome:?} and in the log {count} times");
    }
}

async fn is_ready(weir: &Weir) -> bool {
    reqwest::get(format!("{}/readyz", weir.http)).await.is_ok_and(|answer| answer.status().is_success())
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_restarted_under_load() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let administrator = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let crowd = Crowd::start(&administrator);
    // Postgres's “fast” and “immediate” shutdown.
    for signal in [Signal::INT, Signal::QUIT, Signal::INT] {
        crowd.is_told(Outcome::Acknowledged).await;
        let before = folder.child("postgres");
        kill_process(Pid::from_raw(before).unwrap(), signal).unwrap();
        eventually("Postgres is back", async || {
            let is_other = folder.child_if_any("postgres").is_some_and(|pid| pid != before);
            (is_other && is_ready(&weir).await).then_some(())
        })
        .await;
    }
    crowd.is_told(Outcome::Acknowledged).await;
    let book = crowd.stop().await;
    check(&administrator.events().await, &book);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgres_that_hangs_hangs_nobody() {
    let folder = DataDir::new();
    let weir = Weir::up(&folder);
    let administrator = Caller::register(&weir.http, "keeper", Some(&weir.setup_token())).await;
    let crowd = Crowd::start(&administrator);
    crowd.is_told(Outcome::Acknowledged).await;
    // Caught in the midst of an append, of which nobody can know then what became of it.
    let mut other = PgConnection::connect(&folder.database_url()).await.unwrap();
    let mut holding = other.begin().await.unwrap();
    sqlx::query("select from log.head for update").execute(&mut *holding).await.unwrap();
    eventually("an append waits", async || {
        let waits = "select exists (select from pg_stat_activity where application_name = 'weir append'
                         and wait_event_type = 'Lock')";
        sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut *holding).await.unwrap().then_some(())
    })
    .await;
    let stopped = folder.suspend("postgres");
    let look = async {
        loop {
            let lives = reqwest::get(format!("{}/healthz", weir.http)).await.unwrap();
            assert_eq!(lives.status(), StatusCode::OK, "the process lives");
            assert!(!is_ready(&weir).await, "but it cannot serve");
            sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::select! {
        () = async {
            tokio::join!(
                crowd.is_told(Outcome::Unknown),
                crowd.is_told(Outcome::Refused),
                crowd.everybody_is_told()
            );
        } => {}
        () = look => {}
    }
    drop(stopped);
    holding.rollback().await.unwrap();
    eventually("it can serve again", async || is_ready(&weir).await.then_some(())).await;
    crowd.is_told(Outcome::Acknowledged).await;
    let book = crowd.stop().await;
    check(&administrator.events().await, &book);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_connections_and_says_nothing_is_given_up() {
    let folder = DataDir::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgres://weir@{}/weir", silent.local_addr().unwrap());
    let migrating = command(&folder).args(["migrate", "--database-url", &url]).stdin(Stdio::null()).output().unwrap();
    assert!(!migrating.status.success());
    let said = String::from_utf8_lossy(&migrating.stderr);
    assert!(said.contains("could not be reached") && said.contains("timed out"), "{said}");
}
