//! Processes that a test stops, kills and starts again.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::timeout;

use super::PATIENCE;
use crate::stage::Stage;

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
        signal_process(i32::try_from(self.0.id()).unwrap(), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn signal_process(id: i32, signal: &str) {
    let status = Command::new("kill").args([&format!("-{signal}"), &id.to_string()]).status().unwrap();
    assert!(status.success(), "{signal} {id}");
}

/// A nats-server that can be ended and started again on the same port and folder.
pub(super) struct Server {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Server {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Below the ports that the system gives to others' connections.
        let port = (20_000..32_000)
            .step_by(7)
            .map(|port| port + (std::process::id() % 7) as u16)
            .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
            .unwrap();
        let child = Self::spawn(folder.path(), port);
        Self { folder, port, child }
    }

    fn spawn(folder: &Path, port: u16) -> Child {
        Command::new("nats-server")
            .args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"])
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

    pub(super) async fn url(&self) -> String {
        let url = format!("nats://127.0.0.1:{}", self.port);
        timeout(PATIENCE, async {
            while async_nats::connect(&url).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
        .unwrap();
        url
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
