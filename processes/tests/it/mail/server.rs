//! The SMTP server of `scripts/smtp-server`, in a folder of a test's own.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// The first test has to fetch the server.
const PATIENCE: Duration = Duration::from_secs(180);

/// A mail as the server got it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Mail {
    pub(super) recipients: Vec<String>,
    pub(super) sender: String,
    pub(super) headers: HashMap<String, String>,
    pub(super) kind: String,
    pub(super) text: String,
    pub(super) html: String,
    pub(super) is_tls: bool,
    pub(super) user: Option<String>,
}

impl Mail {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// It ends with the test.
pub(super) struct Server {
    pub(super) port: u16,
    folder: TempDir,
    child: Child,
}

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_with(0, None).await
    }

    pub(super) async fn start_on(port: u16) -> Self {
        Self::start_with(port, None).await
    }

    /// One that does not take addresses with letters beyond ASCII.
    pub(super) async fn start_ascii_only() -> Self {
        Self::spawn(0, None, true).await
    }

    /// With a certificate and its key it wants STARTTLS and a sign-in.
    pub(super) async fn start_with(port: u16, certificate: Option<(&Path, &Path)>) -> Self {
        Self::spawn(port, certificate, false).await
    }

    async fn spawn(port: u16, certificate: Option<(&Path, &Path)>, is_ascii_only: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../scripts/smtp-server");
        let mut command = Command::new(script);
        command.arg(folder.path()).arg(port.to_string()).stdin(Stdio::null()).kill_on_drop(true);
        if let Some((certificate, key)) = certificate {
            command.arg(certificate).arg(key);
        }
        if is_ascii_only {
            command.env("SMTP_ASCII_ONLY", "1");
        }
        let mut child = command.spawn().unwrap();
        let told = folder.path().join("port");
        let waited = async {
            while !told.exists() {
                if child.try_wait().unwrap().is_some() {
                    // A port that was its own before may be that of somebody's connection for a while.
                    assert!(port != 0, "the mail server has ended");
                    child = command.spawn().unwrap();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waited).await.expect("the mail server does not start");
        let port = std::fs::read_to_string(&told).unwrap().parse().unwrap();
        Self { port, folder, child }
    }

    pub(super) async fn stop(mut self) {
        self.child.kill().await.unwrap();
    }

    /// What it has got so far, in order.
    pub(super) fn kept(&self) -> Vec<Mail> {
        let mut paths: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|kind| kind == "json"))
            .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
            .collect();
        paths.sort();
        paths.iter().map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()).collect()
    }

    /// Waits until it has got so many.
    pub(super) async fn mails(&self, count: usize) -> Vec<Mail> {
        let waited = async {
            while self.kept().len() < count {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "only {} of {count} mails", self.kept().len());
        self.kept()
    }
}
