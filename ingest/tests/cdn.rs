//! Caches in front of an origin, each with the configuration of deploy/cdn: what they add to a part, how often the origin is
//! asked, and that nobody gets what is not his. `cargo test -p ingest --test cdn -- --ignored --nocapture` prints the figures
//! of docs/cdn.md; what is not installed is left out, with the reason.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/addresses.rs"]
mod addresses;
#[path = "support/flv.rs"]
mod flv;
#[path = "support/node.rs"]
mod node;
#[path = "cdn/secrets.rs"]
mod secrets;

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    http::Request,
    middleware::{self, Next},
};
use domain::{
    channels::Visibility,
    ids::{ChannelId, SessionId},
    recordings::RecordingVisibility,
};
use ingest::{
    RecordingUse,
    edge::{Edge, EdgeConfig},
    origin::{self, Broadcasts, recordings},
    rights::{Bearer, Change, RecordingTerms, Rights},
};
use node::{Door, Origin, keys, token};
use reqwest::{Client, StatusCode};
use storage::{Key, Storage};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

const VIEWERS: usize = 100;
const MEASURED: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(120);

/// A cache, ended with the test.
struct Front {
    name: &'static str,
    address: SocketAddr,
    process: Option<Child>,
    _folder: Option<tempfile::TempDir>,
}

impl Drop for Front {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            // Varnish and nginx have children, who go with a parent that is asked.
            let _ = Command::new("kill").arg(process.id().to_string()).status();
            let _ = process.wait();
        }
    }
}

fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The configuration as it is shipped, with what its reader has to put in.
fn shipped(name: &str, changes: &[(&str, String)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/cdn").join(name);
    let mut text = std::fs::read_to_string(path).unwrap();
    for (placeholder, value) in changes {
        assert!(text.contains(placeholder), "{name} has no {placeholder}");
        text = text.replace(placeholder, value);
    }
    text
}

fn program(name: &str) -> Option<PathBuf> {
    let found = ["/usr/sbin", "/usr/bin", "/usr/local/bin"].iter().map(|folder| Path::new(folder).join(name));
    let found = found.into_iter().find(|path| path.exists());
    if found.is_none() {
        println!("{name}: not measured, since it is not installed");
    }
    found
}

async fn started(name: &'static str, address: SocketAddr, mut command: Command, folder: tempfile::TempDir) -> Front {
    let log = std::fs::File::create(folder.path().join("log")).unwrap();
    let process = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
    let mut front = Front { name, address, process: Some(process), _folder: None };
    let began = Instant::now();
    while TcpStream::connect(address).is_err() {
        let ended = front.process.as_mut().unwrap().try_wait().unwrap();
        let said = || std::fs::read_to_string(folder.path().join("log")).unwrap();
        assert!(ended.is_none() && began.elapsed() < LONG, "{name} does not start: {}", said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    front._folder = Some(folder);
    front
}

async fn varnish(origin: SocketAddr, authority: &str) -> Option<Front> {
    let (program, folder, address) = (program("varnishd")?, tempfile::tempdir().unwrap(), free());
    let vcl = shipped(
        "varnish.vcl",
        &[("\"8080\"", format!("\"{}\"", origin.port())), ("PUT-THE-CACHE-TOKEN-HERE", authority.to_owned())],
    );
    std::fs::write(folder.path().join("weir.vcl"), vcl).unwrap();
    let mut command = Command::new(program);
    // As the head of the file says.
    command.args(["-F", "-a", &address.to_string(), "-s", "malloc,256m", "-p", "default_grace=0"]);
    command.args(["-p", "timeout_idle=75"]);
    command.arg("-n").arg(folder.path().join("work")).arg("-f").arg(folder.path().join("weir.vcl"));
    Some(started("Varnish", address, command, folder).await)
}

async fn nginx(origin: SocketAddr, authority: &str) -> Option<Front> {
    let (program, folder, address) = (program("nginx")?, tempfile::tempdir().unwrap(), free());
    let place = folder.path().display().to_string();
    let text = shipped(
        "nginx.conf",
        &[
            ("127.0.0.1:8080", origin.to_string()),
            ("listen 80;", format!("listen {address};")),
            ("/var/cache/nginx", place.clone()),
            ("PUT-THE-CACHE-TOKEN-HERE", authority.to_owned()),
        ],
    );
    std::fs::write(folder.path().join("nginx.conf"), text).unwrap();
    let mut command = Command::new(program);
    command.arg("-p").arg(&place).arg("-c").arg(folder.path().join("nginx.conf"));
    command.args(["-g", "daemon off; user root; error_log stderr; pid nginx.pid;"]);
    Some(started("nginx", address, command, folder).await)
}

async fn caddy(origin: SocketAddr, authority: &str) -> Option<Front> {
    let (program, folder, address) = (program("caddy")?, tempfile::tempdir().unwrap(), free());
    let text = shipped("Caddyfile", &[]);
    std::fs::write(folder.path().join("Caddyfile"), format!("{{\n\tadmin off\n\tauto_https off\n}}\n{text}")).unwrap();
    let mut command = Command::new(program);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.path().join("Caddyfile"));
    command.env("WEIR_SITE", format!("http://{address}")).env("WEIR_ORIGIN", origin.to_string());
    command.env("WEIR_CACHE_TOKEN", authority).env("HOME", folder.path());
    Some(started("Caddy", address, command, folder).await)
}

/// The binary that the environment names, in a process of its own; else in this one, which the viewers share.
async fn edge(origin: SocketAddr) -> Front {
    if let Some(program) = std::env::var_os("WEIR_EDGE_BINARY") {
        let (folder, address) = (tempfile::tempdir().unwrap(), free());
        let secrets = folder.path().join("secrets.toml");
        std::fs::write(&secrets, format!("playback_key = \"{}\"\n", "07".repeat(32))).unwrap();
        std::fs::set_permissions(&secrets, PermissionsExt::from_mode(0o600)).unwrap();
        let mut command = Command::new(program);
        command.args(["serve", "--role", "edge", "--origin", &format!("http://{origin}")]);
        command.args(["--http", &address.to_string(), "--metrics", "127.0.0.1:0", "--data-dir"]).arg(folder.path());
        return started("Weir edge", address, command, folder).await;
    }
    let edge = Edge::start(EdgeConfig::new(vec![format!("http://{origin}")], keys()), CancellationToken::new());
    let router = axum::Router::new().nest_service("/live", edge.service()).nest("/vod", edge.recordings());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Front { name: "Weir edge", address, process: None, _folder: None }
}

/// How far a playlist is: the segment that grows, its parts, and the newest part's name.
fn position(text: &str) -> (u64, u64, Option<String>) {
    let (mut first, mut complete, mut parts, mut newest) = (0, 0, 0, None);
    for line in text.lines() {
        if let Some(number) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
            first = number.parse().unwrap();
        } else if line.starts_with("#EXT-X-PART:") {
            parts += 1;
            newest = line.split("URI=\"").nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned);
        } else if line.starts_with("#EXTINF:") {
            (complete, parts) = (complete + 1, 0);
        }
    }
    (first + complete, parts, newest)
}

/// When each part came about at the origin.
type Made = Arc<Mutex<HashMap<String, Instant>>>;

async fn observe(playlist: String, router: axum::Router, made: Made) {
    let (mut segment, mut part) = (0, 0);
    loop {
        let path = format!("{playlist}?_HLS_msn={segment}&_HLS_part={part}");
        let authority = format!("Bearer {}", token(Bearer::Edge, 0, 600));
        let asked = Request::get(&path).header("authorization", authority).body(Body::empty()).unwrap();
        let (status, _, body) = node::request(&router, asked).await;
        if status != StatusCode::OK {
            return;
        }
        let (next, parts, newest) = position(std::str::from_utf8(&body).unwrap());
        if let Some(newest) = newest {
            made.lock().unwrap().entry(newest).or_insert_with(Instant::now);
        }
        (segment, part) = (next, parts);
    }
}

/// Follows a stream as hls.js does; for each part how long after it was made its last byte was here, and what failed.
async fn watch(base: String, made: Made, until: Instant) -> (Vec<Duration>, Vec<String>) {
    let client = Client::builder().no_proxy().build().unwrap();
    let get = async |path: &str| {
        let answer = client.get(format!("{base}/{path}")).header("accept-encoding", "identity").send().await;
        match answer {
            Ok(answer) if answer.status() == StatusCode::OK => answer.bytes().await.map_err(|error| error.to_string()),
            Ok(answer) => Err(format!("{path}: {}", answer.status())),
            Err(error) => Err(format!("{path}: {error:?}")),
        }
    };
    let (mut delays, mut failures, mut last) = (Vec::new(), Vec::new(), None);
    let mut query = String::new();
    while Instant::now() < until {
        let body = match get(&format!("source/index.m3u8{query}")).await {
            Ok(body) => body,
            Err(failure) => {
                failures.push(failure);
                tokio::time::sleep(Duration::from_millis(100)).await;
                query.clear();
                continue;
            }
        };
        let (segment, part, newest) = position(std::str::from_utf8(&body).unwrap());
        query = format!("?_HLS_msn={segment}&_HLS_part={part}");
        if newest.is_some() && newest != last {
            let name = newest.clone().unwrap();
            match get(&format!("source/{name}")).await {
                Ok(_) => {
                    let made = made.lock().unwrap().get(&name).copied();
                    // What was there before we came says nothing.
                    if let Some(made) = made.filter(|_| last.is_some()) {
                        delays.push(made.elapsed());
                    }
                }
                Err(failure) => failures.push(failure),
            }
            last = newest;
        }
    }
    (delays, failures)
}

fn quantile(sorted: &[Duration], part: f64) -> f64 {
    let index = ((sorted.len() - 1) as f64 * part).round() as usize;
    sorted[index].as_secs_f64() * 1_000.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it takes minutes, and needs Varnish, nginx and Caddy: run it with -- --ignored --nocapture"]
async fn what_caches_cost_and_that_they_keep_secrets() {
    println!(
        "{VIEWERS} viewers, {} s each; added to a part: from when the origin has it to its last byte",
        MEASURED.as_secs()
    );
    println!("| in front | stream | p50 ms | p99 ms | origin: parts | origin: playlists | origin: rights | failures |");
    println!("|---|---|---|---|---|---|---|---|");
    // As in WEIR_CDN=varnish,edge.
    let only = std::env::var("WEIR_CDN").unwrap_or_default();
    for which in ["direct", "edge", "varnish", "nginx", "caddy"] {
        if !only.is_empty() && !only.split(',').any(|name| name == which) {
            continue;
        }
        for visibility in [Visibility::Public, Visibility::Private] {
            let mut origin = Origin::start().await;
            let authority = token(Bearer::Edge, 0, 600);
            let front = match which {
                "direct" => Some(Front { name: "nothing", address: origin.address, process: None, _folder: None }),
                "edge" => Some(edge(origin.address).await),
                "varnish" => varnish(origin.address, &authority).await,
                "nginx" => nginx(origin.address, &authority).await,
                _ => caddy(origin.address, &authority).await,
            };
            let Some(front) = front else { break };
            if visibility == Visibility::Private {
                origin.restrict(visibility, 2);
            }
            measure(&mut origin, &front, visibility).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it needs Varnish, nginx and Caddy: run it with -- --ignored --nocapture"]
async fn recordings_are_kept_for_all_and_shown_to_those_with_a_right() {
    const SEGMENT: &[u8] = b"the bytes of a segment";
    let only = std::env::var("WEIR_CDN").unwrap_or_default();
    for which in ["edge", "varnish", "nginx", "caddy"] {
        if !only.is_empty() && !only.split(',').any(|name| name == which) {
            continue;
        }
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_disk(folder.path()).await.unwrap();
        let rights = Rights::new(keys());
        rights.complete();
        let door = Door::new(rights.clone(), ChannelId::from(Uuid::now_v7()));
        let terms = door.terms;
        let recording_id = terms.recording_id;
        for number in 0..3 {
            let key = Key::new(format!("recordings/{recording_id}/source/s{number}.m4s")).unwrap();
            storage.put(&key, SEGMENT.into()).await.unwrap();
        }
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let count = Arc::clone(&asked);
        let counting = middleware::from_fn(move |request: Request<Body>, next: Next| {
            count.lock().unwrap().push(request.uri().path().to_owned());
            next.run(request)
        });
        let router = axum::Router::new()
            .nest_service("/live", origin::service(Broadcasts::new(rights.clone()), storage.clone()))
            .nest("/vod", recordings::router(storage, Arc::new(door)))
            .layer(counting);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let authority = token(Bearer::Edge, 0, 600);
        let front = match which {
            "edge" => Some(edge(address).await),
            "varnish" => varnish(address, &authority).await,
            "nginx" => nginx(address, &authority).await,
            _ => caddy(address, &authority).await,
        };
        let Some(front) = front else { continue };
        let client = Client::builder().no_proxy().build().unwrap();
        let get = async |path: &str| {
            let answer = client.get(format!("http://{}{path}", front.address)).send().await.unwrap();
            let cache = answer.headers().get("cache-control").map(|cache| cache.to_str().unwrap().to_owned());
            (answer.status(), cache.unwrap_or_default(), answer.bytes().await.unwrap())
        };
        let plain = |number: u32| format!("/vod/{recording_id}/source/s{number}.m4s");
        let began = Instant::now();
        // A relay may need a moment to hear of its origin.
        while get(&plain(0)).await.0 != StatusCode::OK {
            assert!(began.elapsed() < LONG, "{} does not serve the recording", front.name);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        for _ in 0..3 {
            let (status, cache, body) = get(&plain(1)).await;
            assert_eq!((status, &body[..]), (StatusCode::OK, SEGMENT), "{}", front.name);
            assert!(cache.starts_with("public"), "{}: {cache}", front.name);
        }
        let times = |path: &str| asked.lock().unwrap().iter().filter(|asked| asked.ends_with(path)).count();
        assert_eq!(times("s1.m4s"), if which == "caddy" { 3 } else { 1 }, "{}", front.name);

        // From now on only for whoever was given its address; what was kept of it before was never of this segment.
        rights.learn(Change::Recording(RecordingTerms {
            visibility: RecordingVisibility::Unlisted,
            version: 3,
            ..terms
        }));
        let began = Instant::now();
        while get(&plain(2)).await.0 != StatusCode::NOT_FOUND {
            assert!(began.elapsed() < LONG, "{} shows what is not public", front.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let session = SessionId::from(Uuid::from_u128(1_000));
        let given = |visibility| {
            let (session_id, wanted) = (Some(session), RecordingUse::Play);
            let terms = RecordingTerms::digest(visibility, false, Visibility::Public, wanted);
            token(Bearer::Recording { recording_id, session_id, wanted, terms }, 0, 600)
        };
        let good = given(RecordingVisibility::Unlisted);
        let with = |token: &str| format!("/vod/t/{token}/{recording_id}/source/s2.m4s");
        let (status, cache, body) = get(&with(&good)).await;
        assert_eq!((status, &body[..]), (StatusCode::OK, SEGMENT), "{}", front.name);
        assert!(cache.starts_with("private"), "{}: {cache}", front.name);
        assert_eq!(get(&plain(2)).await.0, StatusCode::NOT_FOUND, "{}: it has just been filled", front.name);
        let before = given(RecordingVisibility::Published);
        for wrong in ["nonsense", before.as_str(), &authority[1..]] {
            let (status, _, body) = get(&with(wrong)).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{}", front.name);
            assert_ne!(&body[..], SEGMENT);
        }
        let forged = client.get(format!("http://{}{}", front.address, plain(2)));
        let forged = forged.header("authorization", "Bearer nonsense").header("weir-relay", "nonsense");
        let forged = forged.send().await.unwrap().status();
        assert!(matches!(forged, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN), "{}: {forged}", front.name);
        // No address at the origin has a token of a relay or a cache in it.
        assert!(!asked.lock().unwrap().iter().any(|path| path.contains(&authority)), "{}", front.name);
        if which == "edge" {
            assert_eq!(times("s2.m4s"), 1);
            assert!(
                !asked.lock().unwrap().iter().any(|path| path.contains("/t/")),
                "an edge shows its token in a header"
            );
        }
        rights.learn(Change::Session { session_id: session, until_s: node::now_s() + 60 });
        let began = Instant::now();
        while get(&with(&good)).await.0 != StatusCode::FORBIDDEN {
            assert!(began.elapsed() < LONG, "{} goes on", front.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        println!("| {} | recording | revoked after {} ms |", front.name, began.elapsed().as_millis());
    }
}

async fn measure(origin: &mut Origin, front: &Front, visibility: Visibility) {
    let made: Made = Arc::default();
    let playlist = format!("/live{}", origin.path("source/index.m3u8"));
    let stream_id = origin.broadcast.stream_id();
    let base = |token: Option<String>| match token {
        Some(token) => format!("http://{}/live/t/{token}/{stream_id}", front.address),
        None => format!("http://{}/live/{stream_id}", front.address),
    };
    let channel_id = origin.channel_id;
    let own = move |number: usize| {
        let session = SessionId::from(Uuid::from_u128(secrets::session().uuid().as_u128() + number as u128));
        (visibility == Visibility::Private).then(|| token(Bearer::Session(channel_id, session), 2, 600))
    };
    let client = Client::builder().no_proxy().build().unwrap();
    let began = Instant::now();
    // A relay or a cache may need a moment to hear of the stream.
    while client.get(format!("{}/index.m3u8", base(own(0)))).send().await.unwrap().status() != StatusCode::OK {
        assert!(began.elapsed() < LONG, "{} does not serve the stream", front.name);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let addresses: Vec<String> = (0..VIEWERS).map(|number| base(own(number))).collect();
    let observer = tokio::spawn(observe(playlist, origin.straight.clone(), Arc::clone(&made)));
    origin.asked.lock().unwrap().clear();
    let until = Instant::now() + MEASURED;
    let watching: Vec<_> =
        addresses.into_iter().map(|base| tokio::spawn(watch(base, Arc::clone(&made), until))).collect();
    let parts_before = made.lock().unwrap().len();
    origin.push_in_real_time(5_100, MEASURED + Duration::from_millis(500)).await;
    let (mut delays, mut failures) = (Vec::new(), Vec::new());
    for watched in watching {
        let (some, failed) = watched.await.unwrap();
        delays.extend(some);
        failures.extend(failed);
    }
    delays.sort_unstable();
    let parts = (made.lock().unwrap().len() - parts_before).max(1) as f64;
    let count = |is_it: &dyn Fn(&str) -> bool| origin.asked(is_it).values().sum::<usize>() as f64 / parts;
    let is_part = |path: &str| path.contains("/source/p");
    println!(
        "| {} | {} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} | {} |",
        front.name,
        visibility.as_str(),
        quantile(&delays, 0.5),
        quantile(&delays, 0.99),
        count(&is_part),
        count(&|path| path.contains("index.m3u8")),
        count(&|path| path.contains("/authorise") || path.ends_with("/rights")),
        failures.len(),
    );
    for failure in &failures {
        println!("{} failed: {failure}", front.name);
    }
    observer.abort();
    if visibility == Visibility::Private {
        secrets::keeps(origin, front, &own(0).unwrap()).await;
    }
}
