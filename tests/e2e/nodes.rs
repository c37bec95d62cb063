//! `weir serve`: a process with some roles, in a folder of its own, on servers and secrets that it shares with the others.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Output, Stdio},
    sync::Arc,
};

use rustix::process::Pid;
use serde_json::Value;

use crate::weir::{DataDir, command, eventually};

pub struct Node {
    child: Child,
    log: PathBuf,
    folder: Option<DataDir>,
}

impl Node {
    pub fn serve(roles: &str, servers: &Servers) -> Self {
        Self::serve_with(roles, servers, &[])
    }

    /// With more arguments.
    pub fn serve_with(roles: &str, servers: &Servers, arguments: &[&str]) -> Self {
        Self::serve_on(DataDir::new(), roles, servers, arguments)
    }

    /// With the data directory of before.
    pub fn serve_on(folder: DataDir, roles: &str, servers: &Servers, arguments: &[&str]) -> Self {
        let log = folder.path().join("log");
        let child = command(&folder)
            .args(["serve", "--role", roles, "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--log-format", "json"])
            .args(["--metrics", "127.0.0.1:0"])
            .args(servers.arguments())
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log, folder: Some(folder) }
    }

    /// Where its data directory is.
    pub fn path(&self) -> PathBuf {
        self.folder.as_ref().unwrap().path().to_owned()
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// kill -9; what it leaves on its disk.
    pub fn kill(mut self) -> DataDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.folder.take().unwrap()
    }

    /// What its log says of where it serves, once it does.
    pub async fn serves(&self, field: &str) -> String {
        let line = self.logs("weir serves").await;
        line[field].as_str().unwrap_or_else(|| panic!("no {field}: {line}")).to_owned()
    }

    /// Its log's first line with this message, once there is one.
    pub async fn logs(&self, message: &str) -> Value {
        eventually(&format!("a log line \"{message}\""), async || {
            self.log().into_iter().find(|line| line["message"] == message)
        })
        .await
    }

    /// The lines of its log until now.
    pub fn log(&self) -> Vec<Value> {
        let log = fs::read_to_string(&self.log).unwrap();
        log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("---- a node's log ----\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// What all nodes of an install share.
pub struct Servers {
    pub database: String,
    pub nats: String,
    secrets: Arc<DataDir>,
}

impl Servers {
    pub async fn new() -> Self {
        Self {
            database: ::embedded::testing::database().await.url,
            nats: ::embedded::testing::nats().await,
            secrets: Arc::new(DataDir::new()),
        }
    }

    /// The same, the database of which is reached by another address.
    pub fn by(&self, database: &str) -> Self {
        Self { database: database.to_owned(), nats: self.nats.clone(), secrets: Arc::clone(&self.secrets) }
    }

    pub fn arguments(&self) -> [String; 8] {
        let secrets = self.secrets.path().join("secrets.toml").to_str().unwrap().to_owned();
        // Access tokens are good where the address is the same.
        let public_url = "http://weir.localhost";
        [
            "--database-url",
            &self.database,
            "--nats-url",
            &self.nats,
            "--secrets-file",
            &secrets,
            "--public-url",
            public_url,
        ]
        .map(str::to_owned)
    }

    /// A command of an operator.
    pub fn operate(&self, arguments: &[&str]) -> Output {
        let folder = DataDir::new();
        command(&folder).args(arguments).args(self.arguments()).stdin(Stdio::null()).output().unwrap()
    }

    pub fn setup_token(&self) -> String {
        let token = self.operate(&["setup-token"]);
        assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
        String::from_utf8(token.stdout).unwrap().trim().to_owned()
    }
}
