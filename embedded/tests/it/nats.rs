//! nats-server: JetStream that is kept, a password that stays private.

use std::{fs, os::unix::fs::MetadataExt, path::Path};

use async_nats::{ConnectOptions, jetstream};
use embedded::{EmbeddedError, Nats, NatsOptions};

use crate::processes::{data_dir, pid_of, processes_in, stat};

pub(crate) async fn connect(nats: &Nats) -> jetstream::Context {
    let options = ConnectOptions::with_user_and_password(nats.user().to_owned(), nats.password().to_owned());
    jetstream::new(options.connect(nats.address()).await.unwrap())
}

async fn keeps_its_streams(data_dir: &Path) {
    let nats = Nats::start(NatsOptions::new(data_dir)).await.unwrap();
    let config = jetstream::stream::Config {
        name: "FACTS".to_owned(),
        subjects: vec!["facts".to_owned()],
        ..Default::default()
    };
    let context = connect(&nats).await;
    context.create_stream(config).await.unwrap();
    context.publish("facts", "kept".into()).await.unwrap().await.unwrap();
    nats.shutdown().await;
    assert!(processes_in(data_dir, "nats").is_empty());

    let nats = Nats::start(NatsOptions::new(data_dir)).await.unwrap();
    let stream = connect(&nats).await.get_stream("FACTS").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 1);
    nats.shutdown().await;
    assert!(processes_in(data_dir, "nats").is_empty());
}

#[tokio::test]
async fn what_was_published_is_found_by_the_next_start_and_no_process_is_left() {
    keeps_its_streams(data_dir().path()).await;
}

#[tokio::test]
async fn a_data_directory_where_the_account_cannot_go_works() {
    keeps_its_streams(tempfile::tempdir().unwrap().path()).await;
}

#[tokio::test]
async fn without_the_password_nobody_gets_in_and_it_is_on_no_command_line() {
    let folder = data_dir();
    let nats = Nats::start(NatsOptions::new(folder.path())).await.unwrap();
    assert_eq!(nats.url(), format!("nats://weir:{}@{}", nats.password(), nats.address()));
    async_nats::connect(nats.address()).await.unwrap_err();
    let pid = pid_of(&nats.status());
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(!String::from_utf8_lossy(&line).contains(nats.password()));
    assert_eq!(fs::metadata(folder.path().join("nats/nats.conf")).unwrap().mode() & 0o777, 0o600);
    assert!(!format!("{nats:?}").contains(nats.password()));
    assert_eq!(stat(pid, 5), pid.to_string(), "a process group of its own");
    nats.shutdown().await;
}

#[tokio::test]
async fn a_missing_program_is_named_with_the_command_that_installs_it() {
    let (folder, empty) = (data_dir(), data_dir());
    let mut options = NatsOptions::new(folder.path());
    options.search_path = Some(empty.path().into());
    let text = Nats::start(options).await.unwrap_err().to_string();
    assert!(text.contains("apt-get install nats-server"), "{text}");
}

#[tokio::test]
async fn a_full_disk_is_refused() {
    let folder = data_dir();
    let mut options = NatsOptions::new(folder.path());
    options.min_free_bytes = u64::MAX;
    let error = Nats::start(options).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::DiskFull { .. }), "{error}");
}
