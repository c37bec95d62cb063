//! The cluster: made, found again, refused, reached.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
};

use embedded::{EmbeddedError, Postgres, PostgresOptions};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

use crate::processes::{data_dir, is_root, pid_of, processes_in, until};

// Quick, where fsync is not what is tested.
fn options(data_dir: &Path) -> PostgresOptions {
    let mut options = PostgresOptions::new(data_dir);
    options.durable = false;
    options
}

async fn ask(url: &str, query: &str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::query_scalar(query).fetch_one(&mut connection).await.unwrap()
}

#[tokio::test]
async fn what_was_stored_is_found_by_the_next_start_and_no_process_is_left() {
    let folder = data_dir();
    let postgres = Postgres::start(PostgresOptions::new(folder.path())).await.unwrap();
    let url = postgres.url();
    assert_eq!(ask(&url, "show fsync").await, "on");
    assert_eq!(ask(&url, "show synchronous_commit").await, "on");
    assert_eq!(ask(&url, "show listen_addresses").await, "");
    assert_eq!(ask(&url, "show server_encoding").await, "UTF8");
    assert_eq!(
        ask(&url, "select lower('ÄÖЖ') || (select usesuper from pg_user where usename = current_user)").await,
        "äöжfalse"
    );
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::query("create table facts as select 'kept' as fact").execute(&mut connection).await.unwrap();
    postgres.shutdown().await;
    assert!(processes_in(folder.path(), "postgres").is_empty());

    let postgres = Postgres::start(PostgresOptions::new(folder.path())).await.unwrap();
    assert_eq!(ask(&postgres.url(), "select fact from facts").await, "kept");
    postgres.shutdown().await;
    assert!(processes_in(folder.path(), "postgres").is_empty());
}

#[tokio::test]
async fn the_cluster_is_private_and_apart_from_our_terminal_and_environment() {
    let folder = data_dir();
    let postgres = Postgres::start(options(folder.path())).await.unwrap();
    let data = fs::metadata(folder.path().join("postgres/data")).unwrap();
    assert_eq!(data.mode() & 0o777, 0o700);
    assert_eq!(postgres.socket_folder().metadata().unwrap().mode() & 0o777, 0o700);
    let pid = pid_of(&postgres.status());
    assert_eq!(crate::processes::stat(pid, 5), pid.to_string(), "a process group of its own");
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("CARGO"));
    if is_root() {
        assert_ne!(data.uid(), 0);
        assert_eq!(fs::metadata(format!("/proc/{pid}")).unwrap().uid(), data.uid());
        assert_ne!(postgres.account(), "root");
    }
    postgres.shutdown().await;
}

#[tokio::test]
async fn an_operators_settings_win() {
    let folder = data_dir();
    let postgres = Postgres::start(options(folder.path())).await.unwrap();
    postgres.shutdown().await;
    fs::write(folder.path().join("postgres/custom.conf"), "work_mem = '9MB'\n").unwrap();
    fs::set_permissions(folder.path().join("postgres/custom.conf"), fs::Permissions::from_mode(0o644)).unwrap();
    let postgres = Postgres::start(options(folder.path())).await.unwrap();
    assert_eq!(ask(&postgres.url(), "show work_mem").await, "9MB");
    postgres.shutdown().await;
}

#[tokio::test]
async fn a_data_directory_where_the_account_cannot_go_works() {
    // Mode 700, as /root has it.
    let folder = tempfile::tempdir().unwrap();
    for value in ["first", "second"] {
        let postgres = Postgres::start(options(folder.path())).await.unwrap();
        assert_eq!(ask(&postgres.url(), &format!("select '{value}'")).await, value);
        postgres.shutdown().await;
        assert!(processes_in(folder.path(), "postgres").is_empty());
    }
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_works() {
    let folder = data_dir();
    let long = folder.path().join("long".repeat(20)).join("longer, 'and' \"odd\"".repeat(5));
    let postgres = Postgres::start(options(&long)).await.unwrap();
    assert_eq!(ask(&postgres.url(), "select 'here'").await, "here");
    let socket_folder = postgres.socket_folder().to_owned();
    assert!(socket_folder.as_os_str().len() < 94 && !socket_folder.starts_with(&long));
    postgres.shutdown().await;
    assert!(!socket_folder.exists());
    // Odd and short: the socket is in the data directory.
    let odd = folder.path().join("a, 'b' \"c\" %d");
    let postgres = Postgres::start(options(&odd)).await.unwrap();
    assert!(postgres.socket_folder().starts_with(&odd));
    postgres.shutdown().await;
}

#[tokio::test]
async fn data_of_another_major_version_is_refused() {
    let folder = data_dir();
    let data = folder.path().join("postgres/data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("PG_VERSION"), "9\n").unwrap();
    let error = Postgres::start(options(folder.path())).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::OtherMajor { data: 9, .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("apt-get install postgresql-9") && text.contains("dump"), "{text}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1, "untouched");
}

#[tokio::test]
async fn other_files_in_the_clusters_place_are_not_touched() {
    let folder = data_dir();
    let data = folder.path().join("postgres/data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("thesis.odt"), "years").unwrap();
    let error = Postgres::start(options(folder.path())).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::NotACluster { .. }), "{error}");
    assert_eq!(fs::read_to_string(data.join("thesis.odt")).unwrap(), "years");
}

#[tokio::test]
async fn missing_programs_are_named_with_the_command_that_installs_them() {
    let (folder, empty) = (data_dir(), data_dir());
    let mut options = options(folder.path());
    options.search_path = Some(empty.path().into());
    let text = Postgres::start(options).await.unwrap_err().to_string();
    assert!(text.contains("apt-get install postgresql") && text.contains("create_main_cluster"), "{text}");
}

#[tokio::test]
async fn a_full_disk_is_refused() {
    let folder = data_dir();
    let mut options = options(folder.path());
    options.min_free_bytes = u64::MAX;
    let error = Postgres::start(options).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("the disk is full"), "{error}");
    assert!(!folder.path().join("postgres/data").exists());
}

/// A file system of its own.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(on: &'a Path) -> Self {
        let mount = ["-t", "tmpfs", "-o", "size=34m,mode=711", "weir-test"];
        let mounted = Command::new("mount").args(mount).arg(on).output().unwrap();
        assert!(
            mounted.status.success(),
            "no disk can be mounted here; run this test as root, in a container with the capability SYS_ADMIN: {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        Self(on)
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[tokio::test]
async fn a_disk_that_fills_while_the_cluster_is_made_leaves_no_half_of_it() {
    let folder = data_dir();
    let _disk = SmallDisk::mount(folder.path());
    let mut options = options(folder.path());
    let error = Postgres::start(options.clone()).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::DiskFull { .. }), "{error}");
    options.min_free_bytes = 0;
    let error = Postgres::start(options).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::NotStarted { program: "initdb", .. }), "{error}");
    assert!(error.to_string().contains("No space left on device"), "{error}");
    let left = fs::read_dir(folder.path().join("postgres")).unwrap().flatten();
    assert!(left.into_iter().all(|entry| !entry.file_name().to_string_lossy().starts_with("data")));
}

/// Programs of Postgres in a folder of their own, of which initdb makes half of a cluster and then nothing more.
fn hanging_initdb() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let initdb = "echo 15 >\"$2/PG_VERSION\"; exec sleep 3600";
    for (name, does) in [("postgres", "echo postgres \\(PostgreSQL\\) 15.0"), ("initdb", initdb)] {
        // By another process: a child that a test beside this one forks meanwhile would hold the file open for writing, and a program
        // that is open for writing cannot be started.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$2\" >\"$1\" && chmod 755 \"$1\"";
        let written =
            Command::new("/bin/sh").args(["-c", write, "sh"]).arg(folder.path().join(name)).arg(does).status();
        assert!(written.unwrap().success());
    }
    folder
}

#[tokio::test]
async fn an_interrupted_initdb_is_done_again() {
    let (folder, programs) = (data_dir(), hanging_initdb());
    let unfinished = || {
        let entries = fs::read_dir(folder.path().join("postgres")).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).find(|path| path.to_string_lossy().contains("/data.new-"))
    };
    let mut hanging = options(folder.path());
    hanging.search_path = Some(programs.path().into());
    let start = tokio::spawn(Postgres::start(hanging));
    until("initdb has begun", || unfinished().is_some_and(|folder| folder.join("PG_VERSION").exists())).await;
    // Dropped with the task, initdb is killed with SIGKILL.
    start.abort();
    assert!(start.await.unwrap_err().is_cancelled());
    assert!(!folder.path().join("postgres/data").exists());

    let postgres = Postgres::start(options(folder.path())).await.unwrap();
    assert_eq!(ask(&postgres.url(), "select 'whole'").await, "whole");
    assert_eq!(unfinished(), None);
    postgres.shutdown().await;
}

#[tokio::test]
async fn a_role_and_database_that_are_missing_are_made() {
    let folder = data_dir();
    let postgres = Postgres::start(options(folder.path())).await.unwrap();
    let superuser = postgres.url().replace("weir@localhost/weir", "postgres@localhost/postgres");
    let mut connection = PgConnection::connect(&superuser).await.unwrap();
    sqlx::query("drop database weir").execute(&mut connection).await.unwrap();
    drop(connection);
    postgres.shutdown().await;
    let postgres = Postgres::start(options(folder.path())).await.unwrap();
    assert_eq!(ask(&postgres.url(), "select 'here'").await, "here");
    postgres.shutdown().await;
}
