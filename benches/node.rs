//! What one `weir up` costs and how fast it is there: start-up cold and warm, memory and processor time at rest, from
//! an encoder's connection to the first playable segment. Prints one line a figure, medians of five.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]
#![expect(unreachable_pub, reason = "it shares modules with the end-to-end tests")]

#[path = "../tests/e2e/api.rs"]
#[expect(dead_code, reason = "a part of it is for tests")]
mod api;
#[path = "../tests/e2e/encoder.rs"]
#[expect(dead_code, reason = "a part of it is for tests")]
mod encoder;
#[path = "../tests/e2e/weir.rs"]
#[expect(dead_code, reason = "a part of it is for tests")]
mod weir;

use std::{
    fs,
    time::{Duration, Instant},
};

use api::Caller;
use encoder::Encoder;
use weir::{DataDir, Weir};

const ROUNDS: usize = 5;
const AT_REST: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() {
    println!("{:<44} {:>10}", "start, new data directory", seconds(median(|| start(&DataDir::new()).0)));
    let folder = DataDir::new();
    drop(start(&folder).1);
    println!("{:<44} {:>10}", "start, warm", seconds(median(|| start(&folder).0)));

    let (_, weir) = start(&folder);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = processor_ticks(&folder, &weir);
    tokio::time::sleep(AT_REST).await;
    let ticks = processor_ticks(&folder, &weir);
    let own = weir.pid().as_raw_nonzero().get();
    for (name, is_ours) in [("weir", true), ("its Postgres and NATS", false)] {
        let of = |figures: &[(i32, f64)]| -> f64 {
            figures.iter().filter(|(pid, _)| (*pid == own) == is_ours).map(|(_, value)| value).sum()
        };
        let percent =
            (of(&ticks) - of(&before)) / rustix::param::clock_ticks_per_second() as f64 / AT_REST.as_secs_f64() * 100.0;
        let memory: Vec<(i32, f64)> = ticks.iter().map(|(pid, _)| (*pid, proportional_set_mib(*pid))).collect();
        println!("{:<44} {:>8.1} %", format!("at rest, {name}: of one core"), percent);
        println!("{:<44} {:>6.1} MiB", format!("at rest, {name}: memory (PSS)"), of(&memory));
    }

    let streamer = Caller::register(&weir.http, "streamer", None).await;
    answers(&streamer).await;
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        let handle = format!("river_{round}");
        let key = streamer.channel(&handle).await;
        let address =
            streamer.get(&format!("channels/{handle}")).await["playback"]["hls_url"].as_str().unwrap().to_owned();
        let began = Instant::now();
        let encoder = Encoder::publish(&weir.rtmp, &key);
        while !is_playable(&address).await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        rounds.push(began.elapsed());
        encoder.stop();
    }
    rounds.sort_unstable();
    println!("{:<44} {:>10}", "ffmpeg started to first segment (1 s GOP)", seconds(rounds[ROUNDS / 2]));
}

/// How long the API takes, with eight callers at once: reads, and writes that answer once they can be read.
async fn answers(caller: &Caller) {
    caller.channel("brook").await;
    let reads = timed(8, 500, async |_| {
        caller.get("channels/brook").await;
    });
    report("GET a channel, 8 at once", &mut reads.await);
    let writes = timed(8, 50, async |number| {
        let body = serde_json::json!({ "handle": format!("brook_{number}"), "title": "A brook" });
        let (status, answer) = caller.call(reqwest::Method::POST, "channels", Some(body)).await;
        assert_eq!(status, reqwest::StatusCode::CREATED, "{answer}");
    });
    report("POST a channel and read it, 8 at once", &mut writes.await);
}

/// The times that `each` takes, called `rounds` times by each of `callers`.
async fn timed(callers: usize, rounds: usize, each: impl AsyncFn(usize)) -> Vec<Duration> {
    let each = &each;
    let calls = (0..callers).map(|caller| async move {
        let mut times = Vec::with_capacity(rounds);
        for round in 0..rounds {
            let began = Instant::now();
            each(caller * rounds + round).await;
            times.push(began.elapsed());
        }
        times
    });
    futures::future::join_all(calls).await.concat()
}

fn report(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    for (name, place) in [("p50", times.len() / 2), ("p95", times.len() * 95 / 100)] {
        println!("{:<44} {:>7.2} ms", format!("{what}: {name}"), times[place].as_secs_f64() * 1_000.0);
    }
}

/// Whether the channel's address leads to a playlist with a segment in it.
async fn is_playable(address: &str) -> bool {
    let Ok(master) = reqwest::get(address).await else { return false };
    if !master.status().is_success() {
        return false;
    }
    let base = master.url().clone();
    let text = master.text().await.unwrap_or_default();
    let Some(media) = text.lines().find(|line| !line.is_empty() && !line.starts_with('#')) else { return false };
    let Ok(playlist) = reqwest::get(base.join(media).unwrap()).await else { return false };
    playlist.status().is_success() && playlist.text().await.unwrap_or_default().contains("#EXTINF")
}

fn start(folder: &DataDir) -> (Duration, Weir) {
    let began = Instant::now();
    let weir = Weir::up(folder);
    // `Weir::up` listens 300 ms longer for what else is printed.
    (began.elapsed().saturating_sub(Duration::from_millis(300)), weir)
}

fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    let mut rounds: Vec<Duration> = (0..ROUNDS).map(|_| measure()).collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}

fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

fn processes(folder: &DataDir, weir: &Weir) -> Vec<i32> {
    let own = weir.pid().as_raw_nonzero().get();
    folder.processes().into_iter().map(|(pid, _)| pid).filter(|pid| *pid != own).chain([own]).collect()
}

/// Ticks of processor time that each process has used.
fn processor_ticks(folder: &DataDir, weir: &Weir) -> Vec<(i32, f64)> {
    let ticks = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The program's name may hold spaces; what follows its bracket does not.
        let fields: Vec<f64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .map(|field| field.parse().unwrap_or(0.0))
            .collect();
        fields.get(11).copied().unwrap_or(0.0) + fields.get(12).copied().unwrap_or(0.0)
    };
    processes(folder, weir).into_iter().map(|pid| (pid, ticks(pid))).collect()
}

/// Memory in MiB, what processes share divided among them.
fn proportional_set_mib(pid: i32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}
