//! Processes that a test stops, kills and starts again.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use sqlx::PgConnection;
use tokio::time::{sleep, timeout};

use crate::stage::{PATIENCE, Stage};

/// A relay in a process of its own, which can be stopped and continued.
pub(super) struct Process(Child);

impl Process {
    pub(super) fn start(stage: &Stage, nats: &str) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "relay::in_another_process", "--ignored", "--nocapture"])
            .env("WEIR_TEST_POSTGRES", &stage.url)
            .env("WEIR_TEST_NATS", nats)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    pub(super) fn signal(&self, signal: &str) {
        assert!(signal_process(i32::try_from(self.0.id()).unwrap(), signal));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether there is such a process.
pub(super) fn signal_process(id: i32, signal: &str) -> bool {
    Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status().unwrap().success()
}

/// Stops all but this one of the database's sessions, two at least, while they do nothing: one that is stopped within a statement
/// may hold a lock for ever.
pub(super) async fn stop_idle_backends(connection: &mut PgConnection) -> Vec<i32> {
    let stopping = async {
        loop {
            let backends: Vec<i32> = sqlx::query_scalar(
                "select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() \
                 and backend_type = 'client backend' and state = 'idle'",
            )
            .fetch_all(&mut *connection)
            .await
            .unwrap();
            for backend in &backends {
                signal_process(*backend, "STOP");
            }
            for backend in &backends {
                while !is_stopped(*backend) {
                    sleep(Duration::from_millis(1)).await;
                }
            }
            // One may have begun a statement just before it was stopped, or have ended.
            let still: i64 =
                sqlx::query_scalar("select count(*) from pg_stat_activity where pid = any($1) and state = 'idle'")
                    .bind(&backends)
                    .fetch_one(&mut *connection)
                    .await
                    .unwrap();
            if backends.len() >= 2 && usize::try_from(still) == Ok(backends.len()) {
                return backends;
            }
            for backend in &backends {
                signal_process(*backend, "CONT");
            }
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, stopping).await.expect("there are never two sessions that are idle")
}

/// As Linux tells it (proc_pid_stat(5)): the letter after the name, which is in parentheses.
fn is_stopped(id: i32) -> bool {
    // One that has ended does nothing either.
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { return true };
    stat.rsplit(')').next().unwrap().trim_start().starts_with(['T', 'Z'])
}

/// A nats-server that can be ended and started again on the same port and folder.
pub(super) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Server {
    pub(super) async fn start() -> Self {
        let starting = async {
            loop {
                let (folder, port) = (tempfile::tempdir().unwrap(), port());
                let mut server = Self { child: Self::spawn(folder.path(), port), folder, port };
                if server.is_up().await {
                    break server;
                }
            }
        };
        timeout(PATIENCE, starting).await.expect("nats-server does not start")
    }

    /// Waits until it lets somebody in; `false` when it has ended, because the port was somebody else's after all.
    async fn is_up(&mut self) -> bool {
        loop {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            // Whoever has the port may be a nats-server, too.
            if let Ok(client) = async_nats::connect(self.url()).await
                && client.server_info().server_name == name(self.port)
            {
                return true;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn spawn(folder: &Path, port: u16) -> Child {
        Command::new("nats-server")
            .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-n", &name(port), "-sd"])
            .arg(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// As if the disk had been replaced.
    pub(super) fn lose_everything(&mut self) {
        self.kill();
        std::fs::remove_dir_all(self.folder.path().join("jetstream")).unwrap();
    }

    pub(super) fn restart(&mut self) {
        self.child = Self::spawn(self.folder.path(), self.port);
    }

    pub(super) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }
}

/// A port that was free just now, below those that the system gives to others' connections, and no other test's: a server that is
/// away for a while needs its own again.
fn port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(61);
    loop {
        let next = first.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + u16::try_from(next % 12_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What the server on a port is called.
fn name(port: u16) -> String {
    format!("weir-test-{}-{port}", std::process::id())
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
