//! Everything again as an ordinary user, where the tests run as root.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown},
    path::Path,
    process::Command,
};

use embedded::{EmbeddedError, Postgres, PostgresOptions};
use tempfile::TempDir;

use crate::processes::{data_dir, is_root};

const NOBODY: u32 = 65534;

/// This test program as `nobody`; a copy, as that user may have no way to the target folder.
fn as_nobody(folder: &TempDir) -> Command {
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let tests = folder.path().join("tests");
    // By another process: a child that a test beside this one forks meanwhile would hold our copy open for writing, and
    // a program that is open for writing cannot be started.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&tests).status().unwrap();
    assert!(copied.success());
    let mut command = Command::new("setpriv");
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(tests).current_dir("/");
    command
}

fn must_succeed(command: &mut Command) {
    let output = command.output().expect("there is no setpriv here; it comes with util-linux");
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{text}");
}

#[test]
fn everything_holds_for_an_ordinary_user_too() {
    // Where the tests do not run as root, the other tests are that already.
    if is_root() {
        let folder = tempfile::tempdir().unwrap();
        // Who may mount no disk.
        let left_out = ["--skip", "ordinary_user::", "--skip", "a_disk_that_fills"];
        must_succeed(as_nobody(&folder).args(left_out).args(["--test-threads", "2"]));
    }
}

#[test]
fn data_of_another_user_is_refused() {
    if is_root() {
        let folder = tempfile::tempdir().unwrap();
        let data_dir = folder.path().join("weir");
        fs::create_dir_all(data_dir.join("postgres/data")).unwrap();
        for path in [&data_dir, &data_dir.join("postgres")] {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let mut command = as_nobody(&folder);
        must_succeed(
            command
                .args(["--exact", "ordinary_user::with_data_of_root", "--ignored"])
                .env("WEIR_TEST_DATA_DIR", data_dir),
        );
    }
}

#[tokio::test]
#[ignore = "the child of another test"]
async fn with_data_of_root() {
    let Some(data_dir) = std::env::var_os("WEIR_TEST_DATA_DIR") else { return };
    let error = Postgres::start(PostgresOptions::new(data_dir)).await.unwrap_err();
    assert!(matches!(&error, EmbeddedError::ForeignOwner { owner, .. } if owner == "root"), "{error}");
}

#[tokio::test]
async fn root_leaves_data_to_the_user_who_has_it() {
    if !is_root() {
        return;
    }
    let folder = data_dir();
    let data = folder.path().join("postgres/data");
    fs::create_dir_all(&data).unwrap();
    chown(&data, Some(NOBODY), Some(NOBODY)).unwrap();
    let options = || {
        let mut options = PostgresOptions::new(folder.path());
        options.durable = false;
        options
    };
    let postgres = Postgres::start(options()).await.unwrap();
    assert_eq!(postgres.account(), "nobody");
    assert_eq!(fs::metadata(data.join("PG_VERSION")).unwrap().uid(), NOBODY);
    postgres.shutdown().await;

    // As after a restore that did not keep owners.
    chown_all(&folder.path().join("postgres"), 0);
    let postgres = Postgres::start(options()).await.unwrap();
    assert_ne!(fs::metadata(data.join("PG_VERSION")).unwrap().uid(), 0);
    postgres.shutdown().await;
}

fn chown_all(path: &Path, uid: u32) {
    chown(path, Some(uid), Some(uid)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| chown_all(&entry.unwrap().path(), uid));
    }
}
