//! `weir serve`: one process per role, on servers that exist, as `compose.yaml` runs it and finer.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Stdio},
};

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::{
    api::{Caller, check_events},
    encoder::Encoder,
    thread::channel_when,
    weir::{DataDir, command, eventually},
};

/// A process with some roles, in a folder of its own, with secrets that it shares with the others.
struct Role {
    child: Child,
    log: PathBuf,
    _folder: DataDir,
}

impl Role {
    fn serve(roles: &str, servers: &Servers) -> Self {
        let folder = DataDir::new();
        let log = folder.path().join("log");
        let child = command(&folder)
            .args(["serve", "--role", roles, "--http", "127.0.0.1:0", "--rtmp", "127.0.0.1:0", "--log-format", "json"])
            .args(servers.arguments())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log, _folder: folder }
    }

    /// What its log says of where it serves, once it does.
    async fn serves(&self, field: &str) -> String {
        eventually(&format!("{field} is served"), async || {
            let log = fs::read_to_string(&self.log).unwrap();
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let line = lines.into_iter().find(|line| line["message"] == "weir serves")?;
            Some(line[field].as_str().unwrap_or_else(|| panic!("no {field}: {line}")).to_owned())
        })
        .await
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            eprintln!("---- a role's log ----\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

struct Servers {
    database: String,
    nats: String,
    secrets: DataDir,
}

impl Servers {
    fn arguments(&self) -> [String; 6] {
        let secrets = self.secrets.path().join("secrets.toml").to_str().unwrap().to_owned();
        ["--database-url", &self.database, "--nats-url", &self.nats, "--secrets-file", &secrets].map(str::to_owned)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_per_role_is_one_weir() {
    let servers = Servers {
        database: ::embedded::testing::database().await.url,
        nats: ::embedded::testing::nats().await,
        secrets: DataDir::new(),
    };
    let folder = DataDir::new();
    let migrated = command(&folder).arg("migrate").args(servers.arguments()).output().unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    let api = Role::serve("api", &servers);
    let ingest = Role::serve("ingest", &servers);
    let workers = Role::serve("relay,projections,processes", &servers);
    let http = format!("http://{}", api.serves("http").await);
    let origin = format!("http://{}", ingest.serves("http").await);
    let rtmp = format!("rtmp://{}/live", ingest.serves("rtmp").await);
    workers.serves("roles").await;

    let token = command(&folder).arg("setup-token").args(servers.arguments()).output().unwrap();
    assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
    let token = String::from_utf8(token.stdout).unwrap();
    let keeper = Caller::register(&http, "keeper", Some(token.trim())).await;
    let again = command(&folder).arg("setup-token").args(servers.arguments()).output().unwrap();
    assert!(!again.status.success(), "there is an administrator");

    let key = keeper.channel("river").await;
    let encoder = Encoder::publish(&rtmp, &key);
    let live = channel_when(&keeper, "river", true).await;
    // The API asks the other node how the encoder does, and tells it to cut the encoder of a rotated key.
    assert_eq!(keeper.get("channels/river/ingest").await["state"], "live");
    let stream_id = live["live_stream_id"].as_str().unwrap();
    crate::playlist::check_live(&format!("{origin}/live/{stream_id}/index.m3u8"), 3).await;
    let (status, _) = keeper.call(Method::POST, "channels/river/stream-key/rotate", None).await;
    assert_eq!(status, StatusCode::OK);
    channel_when(&keeper, "river", false).await;
    encoder.refused();
    assert_eq!(keeper.get("channels/river/ingest").await["state"], "waiting");
    check_events(&keeper.events().await);
}
