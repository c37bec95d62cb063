//! What runs, and waiting for it.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{Duration, Instant},
};

use embedded::Status;
use tempfile::TempDir;
use tokio::sync::watch;

/// Far more than anything should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A data directory that every account can pass through; one as [`tempfile`] makes it, only its owner.
pub(crate) fn data_dir() -> TempDir {
    let folder = tempfile::tempdir_in(embedded::testing::temporary_folder()).unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    folder
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The pids of the processes that have the text on their command line.
pub(crate) fn processes_of(text: &str) -> Vec<u32> {
    let has_text = |pid: &u32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains(text))
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(has_text).collect()
}

/// The pids of the processes of a service, for instance `postgres`, in a data directory.
pub(crate) fn processes_in(data_dir: &Path, service: &str) -> Vec<u32> {
    processes_of(fs::read_to_string(data_dir.join(service).join("instance")).unwrap().trim())
}

/// A field of `/proc/<pid>/stat`, counted as in proc(5) from 1.
pub(crate) fn stat(pid: u32, field: usize) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field, the name in brackets, may hold spaces.
    text.rsplit_once(") ").unwrap().1.split(' ').nth(field - 3).unwrap().to_owned()
}

pub(crate) fn kill_9(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

pub(crate) fn pid_of(status: &watch::Receiver<Status>) -> u32 {
    match *status.borrow() {
        Status::Running { pid } => pid,
        ref other => panic!("not running: {other:?}"),
    }
}

/// Waits until the server runs under another pid.
pub(crate) async fn runs_again(status: &mut watch::Receiver<Status>, old: u32) {
    let again = status.wait_for(|status| matches!(status, Status::Running { pid } if *pid != old));
    tokio::time::timeout(PATIENCE, again).await.expect("started again in time").unwrap();
}

pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let asked = Instant::now();
    while !condition() {
        assert!(asked.elapsed() < PATIENCE, "waited too long: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
