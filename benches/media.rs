//! The media plane at its limit, beside its peers in the same run. docs/benchmarks.md says what each figure means.
//!
//! | part | what |
//! |---|---|
//! | `origin` | requests of a playlist and bytes of parts, beside nginx with the same bytes |
//! | `pace` | how many viewers get each part of a 2.5 Mbit/s stream in time |
//! | `crowd` | 10,000 viewers of a small stream, held, and what a connection takes |
//! | `edge` | the same crowd at an edge in front of it |
//! | `held` | 5,000 blocked reloads held, dropped, and the memory after that |
//! | `streams` | 20 streams taken in and packaged, beside nginx-rtmp |
//! | `start` | from an encoder's connection to the first part |
//!
//! `WEIR_BENCH_MEDIA=origin,pace` runs some of them; `WEIR_BENCH_SECONDS` (30) is how long a crowd is held.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]
#![expect(unreachable_pub, reason = "it shares modules with the end-to-end tests")]

#[path = "../tests/e2e/api.rs"]
#[expect(dead_code, reason = "a part of it is for tests")]
mod api;
#[path = "media/load.rs"]
mod load;
#[path = "media/peers.rs"]
mod peers;
#[path = "media/process.rs"]
mod process;
#[path = "media/publisher.rs"]
mod publisher;
#[path = "media/relay.rs"]
mod relay;
#[path = "media/viewers.rs"]
mod viewers;
#[path = "../tests/e2e/weir.rs"]
#[expect(dead_code, reason = "a part of it is for tests")]
mod weir;

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use api::Caller;
use peers::Nginx;
use process::{load_average, own_memory_kib, processor, processor_of, processor_of_ended_children};
use publisher::{Picture, Publisher, SMALL, USUAL};
use relay::Relay;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use viewers::Viewers;
use weir::{DataDir, Weir, eventually};

/// What only this file needs to start Weir for a benchmark: nothing but the source is packaged, streams outlast a pause.
const ARGUMENTS: [&str; 10] = [
    "--http",
    "127.0.0.1:0",
    "--rtmp",
    "127.0.0.1:0",
    "--metrics",
    "127.0.0.1:0",
    "--reconnect-grace-seconds",
    "600",
    "--ladder-enabled",
    "false",
];

#[tokio::main]
async fn main() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map(|maximum| maximum.max(100_000));
    // A privileged user may raise it beyond what it was given.
    if setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most }).is_err() {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    println!("machine: {}; the load generator runs on the same cores", process::machine());
    let chosen = std::env::var("WEIR_BENCH_MEDIA").unwrap_or_default();
    let is_chosen = |name: &str| chosen.is_empty() || chosen.split(',').any(|part| part == name);
    let files = tempfile::Builder::new().prefix("weir-bench-").tempdir_in("/tmp").unwrap();
    if is_chosen("origin") {
        origin(files.path()).await;
    }
    if is_chosen("pace") {
        pace(files.path()).await;
    }
    if is_chosen("crowd") {
        crowd(files.path(), false).await;
    }
    if is_chosen("edge") {
        crowd(files.path(), true).await;
    }
    if is_chosen("held") {
        held(files.path()).await;
    }
    if is_chosen("streams") {
        streams(files.path()).await;
    }
    if is_chosen("start") {
        start(files.path()).await;
    }
}

fn say(what: &str, figure: &str) {
    println!("{what:<74} {figure:>18}   load {}", load_average());
}

/// A running Weir with streams on the air.
struct Stage {
    weir: Weir,
    streamer: Caller,
    publishers: Vec<Publisher>,
    /// Of the first stream's source.
    playlist: String,
    folder: DataDir,
}

impl Stage {
    async fn set(files: &Path, picture: Picture, streams: usize, part_ms: &str) -> Self {
        let file = picture.encode(files);
        let mut stage = Self::empty(&["--part-ms", part_ms]).await;
        for index in 0..streams {
            let handle = format!("river_{index}");
            let key = stage.streamer.channel(&handle).await;
            stage.publishers.push(Publisher::start(&file, &format!("{}/{key}", stage.weir.rtmp)));
        }
        for index in 0..streams {
            let stream = stage.stream_of(&format!("river_{index}")).await;
            let playlist = format!("/live/{stream}/source/index.m3u8");
            let address = stage.address();
            eventually("a playlist", async || {
                let (head, _) = load::fetch(address, &playlist);
                head.starts_with("HTTP/1.1 200 ").then_some(())
            })
            .await;
            if index == 0 {
                stage.playlist = playlist;
            }
        }
        stage
    }

    async fn empty(arguments: &[&str]) -> Self {
        let folder = DataDir::new();
        let arguments: Vec<&str> = ARGUMENTS.iter().chain(arguments).copied().collect();
        let weir = Weir::up_with(&folder, &arguments);
        let streamer = Caller::register(&weir.http, "streamer", None).await;
        Self { weir, streamer, publishers: Vec::new(), playlist: String::new(), folder }
    }

    fn address(&self) -> SocketAddr {
        self.weir.http.trim_start_matches("http://").parse().unwrap()
    }

    fn pid(&self) -> u32 {
        self.weir.pid().as_raw_nonzero().get().cast_unsigned()
    }

    async fn stream_of(&self, handle: &str) -> String {
        eventually("the stream is live", async || {
            let channel = self.streamer.get(&format!("channels/{handle}")).await;
            channel["live_stream_id"].as_str().map(str::to_owned)
        })
        .await
    }
}

/// (a) The same bytes from Weir's memory and from nginx's files.
async fn origin(files: &Path) {
    const EACH: Duration = Duration::from_secs(4);
    const ROUNDS: usize = 3;
    let stage = Stage::set(files, USUAL, 1, "500").await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    // Nothing moves any more, and the stream waits for its encoder: the same bytes for as long as this takes. After 15 s of silence the encoder
    // is taken for gone, and what it had sent of a part becomes one.
    stage.publishers[0].hold();
    tokio::time::sleep(Duration::from_secs(17)).await;
    let (_, playlist) = load::fetch(stage.address(), &stage.playlist);
    let text = String::from_utf8_lossy(&playlist);
    let parts: Vec<&str> = text.lines().filter(|line| line.starts_with("#EXT-X-PART:")).collect();
    let names = parts.iter().filter_map(|line| line.split("URI=\"").nth(1)?.split('"').next());
    let folder = stage.playlist.rsplit_once('/').unwrap().0;
    let bodies =
        names.map(|name| (format!("{folder}/{name}"), load::fetch(stage.address(), &format!("{folder}/{name}")).1));
    // The one that is nearest to half a second of 2.5 Mbit/s.
    let (part, body) = bodies.min_by_key(|(_, body)| body.len().abs_diff(158_000)).unwrap();
    let root = files.join("nginx");
    for (path, bytes) in [(&stage.playlist, &playlist), (&part, &body)] {
        let file = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    let nginx = Nginx::of_files(&root);
    println!("origin: a playlist of {} bytes, a part of {} bytes, {ROUNDS} rounds in turn", playlist.len(), body.len());
    for (what, path) in [("playlist", &stage.playlist), ("part", &part)] {
        for connections in [64, 1_000] {
            let mut rounds = Vec::new();
            for _ in 0..ROUNDS {
                let ours = timed(stage.address(), path, connections, EACH, &[stage.pid()]);
                let theirs =
                    nginx.as_ref().map(|nginx| timed(nginx.address, path, connections, EACH, &nginx.processes()));
                rounds.push((ours, theirs));
            }
            let figure = |rate: &load::Rate| if what == "part" { rate.gigabits } else { rate.requests };
            let unit = if what == "part" { "Gbit/s" } else { "requests/s" };
            let ours = median(rounds.iter().map(|(ours, _)| figure(&ours.0)).collect());
            let cost = median(rounds.iter().map(|(ours, _)| ours.1).collect());
            say(&format!("{what}, {connections} connections: Weir"), &format!("{ours:.1} {unit}"));
            say(
                &format!("{what}, {connections} connections: Weir's processor time a request"),
                &format!("{cost:.1} µs"),
            );
            let theirs: Vec<_> = rounds.iter().filter_map(|(_, theirs)| theirs.as_ref()).collect();
            if !theirs.is_empty() {
                let rate = median(theirs.iter().map(|theirs| figure(&theirs.0)).collect());
                let cost = median(theirs.iter().map(|theirs| theirs.1).collect());
                let ratios =
                    rounds.iter().filter_map(|(ours, theirs)| Some(figure(&ours.0) / figure(&theirs.as_ref()?.0)));
                let ratio = median(ratios.collect());
                say(&format!("{what}, {connections} connections: nginx"), &format!("{rate:.1} {unit}"));
                say(
                    &format!("{what}, {connections} connections: nginx's processor time a request"),
                    &format!("{cost:.1} µs"),
                );
                say(&format!("{what}, {connections} connections: Weir against nginx"), &format!("{ratio:.2}"));
            }
        }
    }
    stage.publishers[0].go_on();
}

/// What was reached, and the server's processor time for a request in microseconds.
fn timed(address: SocketAddr, path: &str, connections: usize, each: Duration, pids: &[u32]) -> (load::Rate, f64) {
    let before = processor_of(pids);
    let began = Instant::now();
    let rate = load::run(address, path, connections, each);
    let used = processor_of(pids).saturating_sub(before);
    let requests = rate.requests * began.elapsed().as_secs_f64();
    (rate, used.as_secs_f64() * 1e6 / requests)
}

/// (b) More and more viewers until one in a hundred parts comes later than a part lasts.
async fn pace(files: &Path) {
    const PART_MS: f32 = 500.0;
    const EACH: Duration = Duration::from_secs(8);
    let stage = Stage::set(files, USUAL, 1, "500").await;
    let viewers = Viewers::start(vec![stage.address()], stage.playlist.clone());
    let mut reached = 0;
    for count in [250, 500, 1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000, 8_000] {
        viewers.grow_to(count);
        tokio::time::sleep(Duration::from_secs(3)).await;
        let (before, own) = (processor(stage.pid()), viewers.processor());
        let delivered = viewers.watch(EACH);
        let cores = (processor(stage.pid()) - before).as_secs_f64() / EACH.as_secs_f64();
        let own = (viewers.processor() - own).as_secs_f64() / EACH.as_secs_f64();
        let p99 = delivered.at(0.99);
        let expected = count as f64 * EACH.as_secs_f64() * 1_000.0 / f64::from(PART_MS);
        say(
            &format!("{count} viewers of 2.5 Mbit/s: a part after p50 / p99 / most"),
            &format!("{:.0} / {p99:.0} / {:.0} ms", delivered.at(0.5), delivered.at(1.0)),
        );
        say(
            "  server's cores for 1,000 of them; the load's cores; Gbit/s",
            &format!(
                "{:.3}; {own:.2}; {:.1}",
                cores * 1_000.0 / count as f64,
                delivered.bytes as f64 * 8.0 / 1e9 / EACH.as_secs_f64()
            ),
        );
        let share = delivered.parts as f64 / expected;
        say(
            "  parts missed; errors; parts for those expected",
            &format!("{}; {}; {share:.3}", delivered.missed, delivered.errors),
        );
        if !delivered.last_error.is_empty() {
            println!("  last error: {}", delivered.last_error);
        }
        if p99 > PART_MS || share < 0.9 {
            break;
        }
        reached = count;
    }
    say("viewers of 2.5 Mbit/s with p99 below one part", &reached.to_string());
}

/// (c) Many viewers of little, at the node that has the stream or at an edge in front of it.
async fn crowd(files: &Path, is_at_edge: bool) {
    let count = 10_000;
    let seconds: u64 = std::env::var("WEIR_BENCH_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(30);
    let stage = Stage::set(files, SMALL, 1, "1000").await;
    let relay = is_at_edge.then(|| Relay::before(&stage.weir.http, &stage.folder));
    let (address, pid) = relay.as_ref().map_or((stage.address(), stage.pid()), |relay| (relay.address, relay.pid()));
    eventually("a playlist", async || {
        let (head, _) = TcpStream::connect(address).ok().map(|_| load::fetch(address, &stage.playlist))?;
        head.starts_with("HTTP/1.1 200 ").then_some(())
    })
    .await;
    let memory = own_memory_kib(pid);
    let viewers = Viewers::start(vec![address], stage.playlist.clone());
    viewers.grow_to(count);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (before, before_origin) = (processor(pid), processor(stage.pid()));
    let delivered = viewers.watch(Duration::from_secs(seconds));
    let cores = (processor(pid) - before).as_secs_f64() / seconds as f64;
    let cores_of_origin = (processor(stage.pid()) - before_origin).as_secs_f64() / seconds as f64;
    let grown = (own_memory_kib(pid) - memory) / count as f64;
    let where_to = if is_at_edge { " at an edge" } else { "" };
    say(
        &format!("{count} viewers of 100 kbit/s{where_to} for {seconds} s: a part after p50 / p99 / most"),
        &format!("{:.0} / {:.0} / {:.0} ms", delivered.at(0.5), delivered.at(0.99), delivered.at(1.0)),
    );
    say(
        "  parts delivered; missed; errors",
        &format!("{}; {}; {}", delivered.parts, delivered.missed, delivered.errors),
    );
    if !delivered.last_error.is_empty() {
        println!("  last error: {}", delivered.last_error);
    }
    say("  server's cores", &format!("{cores:.2}"));
    if is_at_edge {
        say("  cores of the origin behind it", &format!("{cores_of_origin:.3}"));
    }
    say("  memory a connection", &format!("{grown:.1} KiB"));
}

/// 5,000 reloads that wait for what is far off, and what is left of them.
async fn held(files: &Path) {
    const HELD: usize = 5_000;
    let stage = Stage::set(files, USUAL, 1, "500").await;
    stage.publishers[0].hold();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (_, playlist) = load::fetch(stage.address(), &stage.playlist);
    let next = viewers::position(&playlist);
    let memory = own_memory_kib(stage.pid());
    let request =
        load::request(stage.address(), &format!("{}?_HLS_msn={}&_HLS_part={}", stage.playlist, next.0, next.1));
    let mut sockets = Vec::new();
    for _ in 0..HELD {
        let mut socket = TcpStream::connect(stage.address()).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        sockets.push(socket);
    }
    let gauge = async |at_least: f64, at_most: f64| {
        eventually("reloads in the gauge", async || {
            let now = stage.weir.metric("weir_http_reloads_held", "").await?;
            (now >= at_least && now <= at_most).then_some(now)
        })
        .await
    };
    gauge(HELD as f64, f64::MAX).await;
    let with = own_memory_kib(stage.pid());
    say(&format!("{HELD} blocked reloads: memory of each"), &format!("{:.1} KiB", (with - memory) / HELD as f64));
    drop(sockets);
    gauge(0.0, 0.0).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = own_memory_kib(stage.pid());
    say(
        "  before, with them, after they were dropped",
        &format!("{:.1} / {:.1} / {:.1} MiB", memory / 1024.0, with / 1024.0, after / 1024.0),
    );
    stage.publishers[0].go_on();
}

/// (d) Streams that are only passed through.
async fn streams(files: &Path) {
    const STREAMS: usize = 20;
    const SPAN: Duration = Duration::from_secs(20);
    let stage = Stage::empty(&["--part-ms", "500"]).await;
    let memory = own_memory_kib(stage.pid());
    drop(stage);
    let stage = Stage::set(files, USUAL, STREAMS, "500").await;
    // Windows are full after some segments.
    tokio::time::sleep(Duration::from_secs(25)).await;
    let (before, pictures) = (processor(stage.pid()), processor_of_ended_children(stage.pid()));
    tokio::time::sleep(SPAN).await;
    let ours = (processor(stage.pid()) - before).as_secs_f64() / SPAN.as_secs_f64() / STREAMS as f64;
    let pictures = processor_of_ended_children(stage.pid()).saturating_sub(pictures).as_secs_f64();
    let pictures = pictures / SPAN.as_secs_f64() / STREAMS as f64;
    let mib = (own_memory_kib(stage.pid()) - memory) / 1024.0 / STREAMS as f64;
    say("20 streams of 2.5 Mbit/s, Weir: processor seconds a stream and second", &format!("{ours:.5}"));
    say("  memory a stream", &format!("{mib:.1} MiB"));
    say("  not counted: ffmpeg for a picture of each stream every 20 s", &format!("{pictures:.5}"));
    drop(stage);

    let file = USUAL.encode(files);
    let Some(nginx) = Nginx::of_rtmp(&files.join("rtmp")) else { return };
    let processes = nginx.processes();
    let memory: f64 = processes.iter().map(|pid| own_memory_kib(*pid)).sum();
    let publishers: Vec<_> =
        (0..STREAMS).map(|index| Publisher::start(&file, &format!("rtmp://{}/live/s{index}", nginx.address))).collect();
    tokio::time::sleep(Duration::from_secs(25)).await;
    let written = fs::read_dir(files.join("rtmp/hls")).map_or(0, |files| {
        files.flatten().filter(|file| file.path().extension().is_some_and(|kind| kind == "m3u8")).count()
    });
    assert_eq!(written, STREAMS, "nginx-rtmp packages every stream");
    let before = processor_of(&processes);
    tokio::time::sleep(SPAN).await;
    let theirs = (processor_of(&processes) - before).as_secs_f64() / SPAN.as_secs_f64() / STREAMS as f64;
    let mib = (processes.iter().map(|pid| own_memory_kib(*pid)).sum::<f64>() - memory) / 1024.0 / STREAMS as f64;
    say("20 streams of 2.5 Mbit/s, nginx-rtmp with HLS: processor seconds", &format!("{theirs:.5}"));
    say("  memory a stream (segments are on disk)", &format!("{mib:.1} MiB"));
    say("Weir against nginx-rtmp, processor time", &format!("{:.2}", ours / theirs));
    drop(publishers);
}

/// (e) How long a viewer waits for a stream that begins.
async fn start(files: &Path) {
    const ROUNDS: usize = 3;
    let stage = Stage::empty(&[]).await;
    let rtmp: SocketAddr = stage.weir.rtmp.trim_start_matches("rtmp://").trim_end_matches("/live").parse().unwrap();
    for key_frame_every_s in [1, 2, 4] {
        let name = ["", "gop1", "gop2", "", "gop4"][key_frame_every_s as usize];
        let file: PathBuf = Picture { name, key_frame_every_s, ..USUAL }.encode(files);
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            let handle = format!("spring_{key_frame_every_s}_{round}");
            let key = stage.streamer.channel(&handle).await;
            let channel = stage.streamer.get(&format!("channels/{handle}")).await;
            let id = channel["id"].as_str().unwrap().to_owned();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let through = listener.local_addr().unwrap();
            let connected = std::thread::spawn(move || {
                let (encoder, _) = listener.accept().unwrap();
                let at = Instant::now();
                relay(encoder, TcpStream::connect(rtmp).unwrap());
                at
            });
            let publisher = Publisher::start(&file, &format!("rtmp://{through}/live/{key}"));
            let at = tokio::task::spawn_blocking(|| connected.join().unwrap()).await.unwrap();
            let address = stage.address();
            loop {
                let (head, _) = load::fetch(address, &format!("/live/channels/{id}/index.m3u8"));
                let place = head.lines().find_map(|line| line.strip_prefix("location: "));
                if let Some(stream) = place.and_then(|place| place.trim_start_matches("../").split('/').next()) {
                    let (head, text) = load::fetch(address, &format!("/live/{stream}/source/index.m3u8"));
                    if head.starts_with("HTTP/1.1 200 ") && String::from_utf8_lossy(&text).contains("#EXT-X-PART:") {
                        break;
                    }
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            rounds.push(at.elapsed().as_secs_f64());
            drop(publisher);
        }
        say(
            &format!("connected to first part, a key frame every {key_frame_every_s} s (median of {ROUNDS})"),
            &format!("{:.2} s", median(rounds)),
        );
    }
}

/// Both ways, until one end is gone.
fn relay(one: TcpStream, other: TcpStream) {
    for (mut from, mut to) in
        [(one.try_clone().unwrap(), other.try_clone().unwrap()), (other.try_clone().unwrap(), one.try_clone().unwrap())]
    {
        std::thread::spawn(move || {
            let mut piece = [0; 65_536];
            while let Ok(read @ 1..) = from.read(&mut piece) {
                if to.write_all(&piece[..read]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(std::net::Shutdown::Both);
        });
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}
