//! The servers for tests: usable at once and together, gone with the process.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use embedded::testing;
use sqlx::{Connection, PgConnection};

use crate::processes::{processes_of, until};

#[tokio::test]
async fn each_call_has_a_database_of_its_own() {
    let (one, other) = tokio::join!(testing::database(), testing::database());
    assert_ne!(one.url, other.url);
    let mut connection = PgConnection::connect(&one.url).await.unwrap();
    sqlx::query("create table facts (id int8 primary key)").execute(&mut connection).await.unwrap();
    let mut connection = PgConnection::connect(&other.url).await.unwrap();
    sqlx::query("select * from facts").execute(&mut connection).await.unwrap_err();
}

// A runtime of its own, as each test has.
#[tokio::test]
async fn the_servers_outlive_the_runtime_of_the_first_test() {
    let url = std::thread::spawn(|| {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(testing::database()).url
    })
    .join()
    .unwrap();
    PgConnection::connect(&url).await.unwrap();
}

#[tokio::test]
async fn each_call_has_a_nats_of_its_own() {
    let (one, other) = tokio::join!(testing::nats(), testing::nats());
    let client = async_nats::connect(&one).await.unwrap();
    let jetstream = async_nats::jetstream::new(client);
    jetstream
        .create_stream(async_nats::jetstream::stream::Config { name: "WEIR_EVENTS".to_owned(), ..Default::default() })
        .await
        .unwrap();
    let client = async_nats::connect(&other).await.unwrap();
    async_nats::jetstream::new(client).get_stream("WEIR_EVENTS").await.unwrap_err();
}

/// Runs this test program again as another process, which starts both servers and then ends in its own way.
async fn gone_after(end: &str) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "testing::child", "--nocapture", "--ignored"])
        .env("WEIR_TEST_END", end)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&child.stdout);
    let folder =
        out.lines().find_map(|line| line.strip_prefix("FOLDER ")).expect("the child says where its servers are");
    let servers: Vec<&str> = out.lines().filter_map(|line| line.strip_prefix("SERVER ")).collect();
    assert_eq!(servers.len(), 2, "{out}");
    until(end, || servers.iter().all(|server| processes_of(server).is_empty()) && !Path::new(folder).exists()).await;
}

#[tokio::test]
#[ignore = "the child of the other tests"]
async fn child() {
    let Ok(end) = std::env::var("WEIR_TEST_END") else { return };
    let url = testing::database().await.url;
    testing::nats().await;
    let socket = url.split_once("host=").unwrap().1.replace("%2F", "/");
    let folder = Path::new(&socket).parent().unwrap().parent().unwrap();
    println!("\nFOLDER {}", folder.display());
    for service in ["postgres", "nats-0/nats"] {
        let instance = std::fs::read_to_string(folder.join(service).join("instance")).unwrap();
        assert!(!processes_of(instance.trim()).is_empty());
        println!("SERVER {}", instance.trim());
    }
    match end.as_str() {
        "exit" => std::process::exit(0),
        "panic" => panic!("as asked"),
        "kill" => rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).unwrap(),
        _ => {}
    }
}

#[tokio::test]
async fn nothing_is_left_after_a_return() {
    gone_after("return").await;
}

#[tokio::test]
async fn nothing_is_left_after_a_panic() {
    gone_after("panic").await;
}

#[tokio::test]
async fn nothing_is_left_after_an_exit() {
    gone_after("exit").await;
}

#[tokio::test]
async fn nothing_is_left_after_kill_9() {
    gone_after("kill").await;
}
