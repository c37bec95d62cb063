//! How fast outsiders get the whole log over HTTP, as NDJSON, plain and compressed, beside COPY of the same columns to the
//! client, on one Postgres in one run. Each is done five times in turn; the medians are compared. Server and client share
//! the machine.
//!
//! `WEIR_BENCH_EVENTS` (300,000) is how long the log is.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it stands")]

#[path = "../../commands/benches/filled/log.rs"]
mod log;

use std::{net::SocketAddr, sync::Arc, time::Instant};

use api::{
    AccessTokenKey, Api, BoxFuture, Check, FeedOptions, IngestStatus, LiveStreams, PlaybackPass, PlaybackTokens,
    PortUnavailable, Publishers, Readiness, WebApp,
};
use commands::{
    Actor, Commands, CommandsOptions, MasterKeys, Metadata,
    accounts::{self, Register},
    setup::{self, SetupToken},
};
use domain::ids::ChannelId;
use futures::TryStreamExt;
use log::{event_total, median};
use projections::ReadModels;
use serde_json::{Value, json};
use sqlx::{PgPool, postgres::PgPoolCopyExt};
use storage::Storage;
use zeroize::Zeroizing;

/// What is selected of an event.
const COLUMNS: &str =
    "position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at";
const ROUNDS: usize = 5;
const PASSWORD: &str = "a river runs uphill";

#[tokio::main]
async fn main() {
    let total = event_total(300_000);
    let folder = tempfile::tempdir().unwrap();
    let (postgres, pool) = log::start(folder.path(), total).await;
    projections::migrate(&postgres.url()).await.unwrap();
    let keys = MasterKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
    let commands = Commands::start(pool.clone(), keys, CommandsOptions::default()).await.unwrap();
    let url = serve(&commands, folder.path()).await;
    let token = administrator(&commands, &url).await;

    // So that everything is in memory for everybody.
    copy(&pool, total).await;
    let ways = ["", "zstd", "gzip"];
    let mut rates = [const { Vec::new() }; 4];
    let mut sizes = [0; 4];
    for _ in 0..ROUNDS {
        let (rate, size) = copy(&pool, total).await;
        rates[0].push(rate);
        sizes[0] = size;
        for (number, encoding) in ways.iter().enumerate() {
            let (rate, size) = feed(&url, &token, encoding, total).await;
            rates[number + 1].push(rate);
            sizes[number + 1] = size;
        }
    }
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    println!("feed over HTTP: {total} events, Postgres {}, {build}, medians of {ROUNDS}", postgres.major());
    println!("{:<32} {:>10} {:>8} {:>16}", "way", "events/s", "of COPY", "bytes an event");
    let names = ["COPY to the client", "NDJSON", "NDJSON, zstd", "NDJSON, gzip"];
    let rates = rates.map(median);
    for ((name, rate), size) in names.iter().zip(rates).zip(sizes) {
        println!("{name:<32} {rate:>10.0} {:>8.2} {:>16.0}", rate / rates[0], size as f64 / total as f64);
    }
    commands.shutdown().await;
    pool.close().await;
    postgres.shutdown().await;
}

/// Serves the API; answers its address.
async fn serve(commands: &Commands, folder: &std::path::Path) -> String {
    let nothing = Arc::new(Nothing);
    let api = Api {
        commands: commands.clone(),
        read: ReadModels::new(commands.pool().clone()),
        live: nothing.clone(),
        publishers: nothing.clone(),
        playback_tokens: nothing.clone(),
        readiness: nothing,
        access_token_key: AccessTokenKey::from_seed([3; 32]),
        public_url: "https://weir.example.org".to_owned(),
        public_rtmp_url: "rtmp://weir.example.org".to_owned(),
        public_rtmps_url: None,
        storage: Storage::open_disk(folder.join("objects")).await.unwrap(),
        recording_limits: Default::default(),
        reconnect_grace_seconds: 60,
        erasure_after: Default::default(),
        read_after_write: std::time::Duration::from_secs(2),
        feed: FeedOptions::default(),
        access: Default::default(),
        stopping: Default::default(),
    };
    let router = api::router_with(api, WebApp::from_files([]));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());
    url
}

/// The access token of an administrator. The read models are not made from this log, so the account's row is put there.
async fn administrator(commands: &Commands, url: &str) -> String {
    let Some(SetupToken::New(token)) = setup::ensure_token(commands).await.unwrap() else { panic!("no new token") };
    let register = Register {
        username: "keeper".to_owned(),
        email: "keeper@example.org".to_owned(),
        password: PASSWORD.to_owned().into(),
        setup_token: Some(token.as_str().to_owned()),
        metadata: Metadata::new(Actor::System),
    };
    let account_id = accounts::register(commands, register).await.unwrap().account_id;
    sqlx::query("insert into read.accounts_v1 values ($1, 'keeper', 'keeper@example.org', true, now(), now(), 1, 1)")
        .bind(account_id.uuid())
        .execute(commands.pool())
        .await
        .unwrap();
    let request = reqwest::Client::new().post(format!("{url}/api/v1/auth/login"));
    let answer = request.json(&json!({"username": "keeper", "password": PASSWORD})).send().await.unwrap();
    let answer: Value = answer.error_for_status().unwrap().json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
}

/// Events a second, and how many bytes that was.
async fn copy(pool: &PgPool, total: i64) -> (f64, usize) {
    let begin = Instant::now();
    let statement = format!("copy (select {COLUMNS} from log.events where position <= {total}) to stdout");
    let copied = pool.copy_out_raw(&statement).await.unwrap();
    let size_bytes = copied.try_fold(0, |size, chunk| std::future::ready(Ok(size + chunk.len()))).await.unwrap();
    (total as f64 / begin.elapsed().as_secs_f64(), size_bytes)
}

/// Events a second, and how many bytes went over the connection.
async fn feed(url: &str, token: &str, encoding: &str, total: i64) -> (f64, usize) {
    let begin = Instant::now();
    let request = reqwest::Client::new().get(format!("{url}/api/v1/events?format=ndjson&limit={total}"));
    let mut answer = request.bearer_auth(token).header("accept-encoding", encoding).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let (mut size_bytes, mut lines) = (0, 0);
    while let Some(part) = answer.chunk().await.unwrap() {
        size_bytes += part.len();
        lines += part.iter().filter(|byte| **byte == b'\n').count();
    }
    let rate = total as f64 / begin.elapsed().as_secs_f64();
    assert!(!encoding.is_empty() || lines as i64 == total, "{lines} lines");
    (rate, size_bytes)
}

/// No media plane.
struct Nothing;

impl PlaybackTokens for Nothing {
    fn mint_recording(&self, _: &api::RecordingPass) -> String {
        String::new()
    }

    fn mint(&self, _: &PlaybackPass) -> String {
        String::new()
    }
}

impl LiveStreams for Nothing {
    fn status(&self, _: ChannelId) -> BoxFuture<'_, Result<IngestStatus, PortUnavailable>> {
        Box::pin(async { Err(PortUnavailable) })
    }
}

impl Publishers for Nothing {
    fn cut(&self, _: ChannelId) -> BoxFuture<'_, Result<(), PortUnavailable>> {
        Box::pin(async { Err(PortUnavailable) })
    }
}

impl Readiness for Nothing {
    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        Box::pin(async { Vec::new() })
    }
}
