//! Deaths of servers, and what earlier runs left.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Child, Command},
    sync::{Arc, Mutex},
};

use embedded::{Nats, NatsOptions, Postgres, PostgresOptions, Status};
use sqlx::PgPool;

use crate::{
    nats::connect,
    processes::{PATIENCE, data_dir, is_root, kill_9, pid_of, processes_in, runs_again, until},
};

fn options(data_dir: &Path) -> PostgresOptions {
    let mut options = PostgresOptions::new(data_dir);
    options.durable = false;
    options
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_killed_postgres_is_logged_and_comes_back_to_the_pools_that_use_it() {
    let log = Log::default();
    let writer = log.clone();
    // For the whole process: one for this thread alone misses what other threads have found nobody to be interested in.
    tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).init();
    let folder = data_dir();
    let postgres = Postgres::start(options(folder.path())).await.unwrap();
    let pool = PgPool::connect(&postgres.url()).await.unwrap();
    sqlx::query("create table facts as select 1 as fact").execute(&pool).await.unwrap();
    // A backend that is busy, and does not notice that its postmaster is gone. It keeps little: one series as long would fill the disk
    // until it is ended.
    let busy = tokio::spawn({
        let pool = pool.clone();
        let count = "select count(*) from generate_series(1, 100000) one, generate_series(1, 1000000) other";
        async move { sqlx::query(count).execute(&pool).await }
    });
    while sqlx::query("select 1 from pg_stat_activity where query like '%generate_series%' and pid <> pg_backend_pid()")
        .fetch_optional(&pool)
        .await
        .unwrap()
        .is_none()
    {}

    let mut status = postgres.status();
    for _ in 0..3 {
        let pid = pid_of(&status);
        kill_9(pid);
        runs_again(&mut status, pid).await;
        let fact: i32 = sqlx::query_scalar("select fact from facts").fetch_one(&pool).await.unwrap();
        assert_eq!(fact, 1);
    }
    busy.await.unwrap().unwrap_err();
    let text = log.text();
    let log_file = folder.path().join("postgres/postgres.log").display().to_string();
    let ends = text.lines().filter(|line| line.contains("signal: 9") && line.contains(&log_file)).count();
    assert_eq!(ends, 3, "{text}");
    assert!(text.contains(&format!("running again program=\"postgres\" pid={}", pid_of(&status))), "{text}");
    postgres.shutdown().await;
    assert_eq!(*status.borrow_and_update(), Status::Stopped);
    assert!(processes_in(folder.path(), "postgres").is_empty());
}

#[tokio::test]
async fn a_killed_nats_comes_back_to_the_clients_that_use_it() {
    let folder = data_dir();
    let nats = Nats::start(NatsOptions::new(folder.path())).await.unwrap();
    let context = connect(&nats).await;
    let config = async_nats::jetstream::stream::Config { name: "FACTS".to_owned(), ..Default::default() };
    context.create_stream(config).await.unwrap();
    let mut status = nats.status();
    let pid = pid_of(&status);
    kill_9(pid);
    runs_again(&mut status, pid).await;
    let found = async { while context.get_stream("FACTS").await.is_err() {} };
    tokio::time::timeout(PATIENCE, found).await.expect("the client reconnects");
    nats.shutdown().await;
    assert!(processes_in(folder.path(), "nats").is_empty());
}

#[tokio::test]
async fn a_server_that_cannot_start_counts_as_failed_and_is_tried_on() {
    let folder = data_dir();
    let postgres = Postgres::start(options(folder.path())).await.unwrap();
    let mut status = postgres.status();
    let (data, away) = (folder.path().join("postgres/data"), folder.path().join("postgres/away"));
    fs::rename(&data, &away).unwrap();
    let pid = pid_of(&status);
    kill_9(pid);
    let failed = status.wait_for(|status| matches!(status, Status::Failed { .. }));
    tokio::time::timeout(PATIENCE, failed).await.expect("failed in time").unwrap();
    fs::rename(&away, &data).unwrap();
    runs_again(&mut status, pid).await;
    postgres.shutdown().await;
    assert!(processes_in(folder.path(), "postgres").is_empty());
}

/// Has another process start both servers and kill itself, as it happens to a Weir.
fn leak(data_dir: &Path) -> (u32, u32) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "supervision::killed_weir", "--nocapture", "--ignored"])
        .env("WEIR_TEST_DATA_DIR", data_dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let pid = |name| text.lines().find_map(|line| line.strip_prefix(name)?.parse().ok()).unwrap();
    (pid("POSTGRES "), pid("NATS "))
}

#[tokio::test]
#[ignore = "the child of other tests"]
async fn killed_weir() {
    let Some(data_dir) = std::env::var_os("WEIR_TEST_DATA_DIR") else { return };
    let data_dir = Path::new(&data_dir);
    let postgres = Postgres::start(options(data_dir)).await.unwrap();
    let nats = Nats::start(NatsOptions::new(data_dir)).await.unwrap();
    println!("\nPOSTGRES {}\nNATS {}", pid_of(&postgres.status()), pid_of(&nats.status()));
    kill_9(std::process::id());
}

#[tokio::test]
async fn servers_left_by_a_killed_weir_are_stopped_before_the_start() {
    let folder = data_dir();
    let (postgres_pid, nats_pid) = leak(folder.path());
    assert!(processes_in(folder.path(), "postgres").contains(&postgres_pid));
    assert!(processes_in(folder.path(), "nats").contains(&nats_pid));
    let (postgres, nats) =
        tokio::try_join!(Postgres::start(options(folder.path())), Nats::start(NatsOptions::new(folder.path())))
            .unwrap();
    assert!(!processes_in(folder.path(), "postgres").contains(&postgres_pid));
    assert!(!processes_in(folder.path(), "nats").contains(&nats_pid));
    PgPool::connect(&postgres.url()).await.unwrap().close().await;
    connect(&nats).await;
    postgres.shutdown().await;
    nats.shutdown().await;
}

#[tokio::test]
async fn backends_left_by_a_killed_postmaster_are_stopped_before_the_start() {
    let folder = data_dir();
    let (postgres_pid, nats_pid) = leak(folder.path());
    kill_9(postgres_pid);
    kill_9(nats_pid);
    let postgres = Postgres::start(options(folder.path())).await.unwrap();
    PgPool::connect(&postgres.url()).await.unwrap().close().await;
    postgres.shutdown().await;
    assert!(processes_in(folder.path(), "postgres").is_empty());
}

/// An innocent process of the account that the servers run under.
struct Stranger(Child);

impl Stranger {
    fn of(account: &str) -> Self {
        let mut command = Command::new("sleep");
        if is_root() {
            command = Command::new("setpriv");
            command.args(["--reuid", account, "--clear-groups", "sleep"]);
        }
        Self(command.arg("600").spawn().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_stranger_who_has_the_pid_of_an_earlier_server_lives_on() {
    let folder = data_dir();
    let postgres = Postgres::start(options(folder.path())).await.unwrap();
    let account = postgres.account().to_owned();
    let pid_file = folder.path().join("postgres/data/postmaster.pid");
    let lines = fs::read_to_string(&pid_file).unwrap();
    postgres.shutdown().await;
    let mut stranger = Stranger::of(&account);
    let (_, rest) = lines.split_once('\n').unwrap();
    fs::write(&pid_file, format!("{}\n{rest}", stranger.0.id())).unwrap();

    let postgres = Postgres::start(options(folder.path())).await.unwrap();
    assert_eq!(stranger.0.try_wait().unwrap(), None, "not killed");
    postgres.shutdown().await;
    assert_eq!(stranger.0.try_wait().unwrap(), None, "not killed");
}

#[tokio::test]
async fn a_server_whose_runtime_ends_is_stopped() {
    let folder = data_dir();
    let data_dir = folder.path().to_owned();
    let run = async move {
        let running = (
            Postgres::start(options(&data_dir)).await.unwrap(),
            Nats::start(NatsOptions::new(&data_dir)).await.unwrap(),
        );
        std::mem::forget(running);
    };
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run);
    std::thread::spawn(runtime).join().unwrap();
    let is_gone =
        || processes_in(folder.path(), "postgres").is_empty() && processes_in(folder.path(), "nats").is_empty();
    until("both end", is_gone).await;
}

#[tokio::test]
async fn a_dropped_server_is_stopped() {
    let folder = data_dir();
    let postgres = Postgres::start(options(folder.path())).await.unwrap();
    let mut status = postgres.status();
    drop(postgres);
    status.wait_for(|status| *status == Status::Stopped).await.unwrap();
    assert!(processes_in(folder.path(), "postgres").is_empty());
}
