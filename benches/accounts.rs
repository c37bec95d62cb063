//! What it costs to know who asks, and what signing in tells and takes. docs/benchmarks.md says what each figure means.
//!
//! | part | what |
//! |---|---|
//! | `read` | the same read signed in and not, in turn |
//! | `timing` | wrong passwords of usernames that there are and that there are not |
//! | `storm` | 200 who sign in at once, the memory for it, and others' reads meanwhile |
//!
//! `WEIR_BENCH_ACCOUNTS=read,timing` runs some of them; `WEIR_BENCH_SECONDS` (3) is how long a round of `read` takes, and a fifth of the
//! storm; `WEIR_BENCH_TRIES` (1,000) how many wrong passwords there are of each kind. Rate limits are off.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on panics")]
#![expect(unreachable_pub, reason = "it shares modules with the end-to-end tests")]

#[path = "../tests/e2e/api.rs"]
#[expect(dead_code, reason = "a part of it is for tests")]
mod api;
#[path = "accounts/calls.rs"]
mod calls;
#[path = "media/process.rs"]
#[expect(dead_code, reason = "a part of it is for the media plane")]
mod process;
#[path = "accounts/statistics.rs"]
mod statistics;
#[path = "../tests/e2e/weir.rs"]
#[expect(dead_code, reason = "a part of it is for tests")]
mod weir;

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use api::{Caller, PASSWORD};
use calls::{Call, Connection};
use process::{load_average, machine, own_memory_kib};
use statistics::{Sample, median};
use weir::{DataDir, Weir};

const ROUNDS: usize = 5;
/// As many as a few busy pages.
const CONNECTIONS: usize = 8;
const KNOWN: usize = 20;
const SIGNING_IN: usize = 200;
/// How often each reader asks in the storm.
const READ_EVERY: Duration = Duration::from_millis(20);

#[tokio::main]
async fn main() {
    println!("machine: {}; the callers run on the same cores", machine());
    let chosen = std::env::var("WEIR_BENCH_ACCOUNTS").unwrap_or_default();
    let is_chosen = |name: &str| chosen.is_empty() || chosen.split(',').any(|part| part == name);
    let number = |name: &str, usual: u64| std::env::var(name).map_or(usual, |text| text.parse().unwrap());
    let round = Duration::from_secs(number("WEIR_BENCH_SECONDS", 3));

    let folder = DataDir::new();
    let weir = Weir::up_with(&folder, &[&Weir::ANYWHERE[..], &["--ladder-enabled", "false"]].concat());
    let address: SocketAddr = weir.http.trim_start_matches("http://").parse().unwrap();
    let streamer = Caller::register(&weir.http, "streamer", None).await;
    streamer.channel("brook").await;
    let signed_in = Call::get(address, "/api/v1/channels/brook", Some(streamer.token()));
    if is_chosen("read") {
        read(address, streamer.token(), round);
    }
    if is_chosen("timing") || is_chosen("storm") {
        for known in 0..KNOWN {
            Caller::register(&weir.http, &known_name(known), None).await;
        }
    }
    if is_chosen("timing") {
        timing(address, usize::try_from(number("WEIR_BENCH_TRIES", 1_000)).unwrap());
    }
    if is_chosen("storm") {
        storm(address, &signed_in, weir.pid().as_raw_nonzero().get().cast_unsigned(), round * 5);
    }
}

fn known_name(number: usize) -> String {
    format!("known_{number:04}")
}

fn say(what: &str, figure: &str) {
    println!("{what:<74} {figure:>18}   load {}", load_average());
}

fn ms(duration: f64) -> String {
    format!("{:.2} ms", duration * 1_000.0)
}

/// The same handler signed in and not, and one that is only for who is signed in, in turn.
fn read(address: SocketAddr, token: &str, round: Duration) {
    let ways = [
        ("GET a channel, signed out", Call::get(address, "/api/v1/channels/brook", None)),
        ("GET a channel, signed in", Call::get(address, "/api/v1/channels/brook", Some(token))),
        ("GET me", Call::get(address, "/api/v1/auth/me", Some(token))),
    ];
    let mut rates = [const { Vec::new() }; 3];
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for ((rates, times), (_, call)) in rates.iter_mut().zip(&mut times).zip(&ways) {
            let (rate, sample) = as_fast_as_it_goes(address, call, round);
            rates.push(rate);
            times.push(sample);
        }
    }
    for ((rates, times), (name, _)) in rates.iter().zip(&times).zip(&ways) {
        say(&format!("{name}, {CONNECTIONS} at once"), &format!("{:.0} requests/s", median(rates.clone())));
        for (what, place) in [("p50", 0.5), ("p95", 0.95)] {
            say(
                &format!("{name}: {what}"),
                &ms(median(times.iter().map(|sample: &Sample| sample.quantile(place)).collect())),
            );
        }
    }
    let of = |values: Vec<f64>| {
        let (least, most) = values.iter().fold((f64::MAX, 0.0_f64), |(l, m), value| (l.min(*value), m.max(*value)));
        format!("{:.2} ({least:.2} to {most:.2})", median(values))
    };
    let ratios = |of_round: &dyn Fn(usize) -> f64| of((0..ROUNDS).map(of_round).collect());
    say("signed in against signed out: requests/s", &ratios(&|round| rates[1][round] / rates[0][round]));
    let p95 = |way: usize, round: usize| times[way][round].quantile(0.95);
    say("signed in against signed out: p95", &ratios(&|round| p95(1, round) / p95(0, round)));
}

fn as_fast_as_it_goes(address: SocketAddr, call: &Call, round: Duration) -> (f64, Sample) {
    let mut all = Vec::new();
    let began = Instant::now();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection::open(address);
                    let mut times = Vec::new();
                    while began.elapsed() < round {
                        let (status, time) = connection.timed(call);
                        assert_eq!(status, 200);
                        times.push(time.as_secs_f64());
                    }
                    times
                })
            })
            .collect();
        all.extend(callers.into_iter().flat_map(|caller| caller.join().unwrap()));
    });
    (all.len() as f64 / began.elapsed().as_secs_f64(), Sample::new(all))
}

/// Wrong passwords one after the other, of one kind and the other in an order that chance decides.
fn timing(address: SocketAddr, tries: usize) {
    let mut connection = Connection::open(address);
    let mut samples = [Vec::new(), Vec::new()];
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    // The first ones warm what there is to warm.
    for number in 0..tries + 50 {
        let known = Call::sign_in(address, &known_name(number % KNOWN), "a wrong password");
        let unknown = Call::sign_in(address, &format!("ghost_{number:04}"), "a wrong password");
        let mut pair = [(0, known), (1, unknown)];
        // xorshift64
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        if dice >> 63 == 1 {
            pair.reverse();
        }
        for (kind, call) in pair {
            let (status, time) = connection.timed(&call);
            assert_eq!(status, 401);
            if number >= 50 {
                samples[kind].push(time.as_secs_f64());
            }
        }
    }
    let [known, unknown] = samples.map(Sample::new);
    for (name, sample) in [("known", &known), ("unknown", &unknown)] {
        say(
            &format!("{tries} wrong passwords, username {name}: mean, median"),
            &format!("{}, {}", ms(sample.mean()), ms(sample.quantile(0.5))),
        );
        let deviation = format!("{}, {}", ms(sample.variance().sqrt()), ms(sample.quantile(0.95)));
        say("    standard deviation, p95", &deviation);
    }
    let (t, p) = statistics::welch(&known, &unknown);
    say("known against unknown: Welch's t, p", &format!("{t:.2}, {p:.2}"));
    let (z, p) = statistics::mann_whitney(&known, &unknown);
    say("known against unknown: Mann-Whitney z, p", &format!("{z:.2}, {p:.2}"));
    say("difference of the means", &ms(known.mean() - unknown.mean()));
    say("what would have been seen (3 standard errors)", &ms(3.0 * statistics::standard_error(&known, &unknown)));
}

/// Many who sign in at once and again, others who read meanwhile, and the memory of it.
fn storm(address: SocketAddr, reading: &Call, pid: u32, duration: Duration) {
    let before = read_at_a_beat(address, reading, duration / 3, &AtomicBool::new(false));
    report("reads before", &before);
    let rest = own_memory_kib(pid) / 1_024.0;
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    let (mut most, mut during, mut answers) = (rest, Sample::new(Vec::new()), Vec::new());
    std::thread::scope(|scope| {
        let readers = scope.spawn(|| read_at_a_beat(address, reading, duration, &is_over));
        let memory = scope.spawn(|| {
            let mut most = 0.0_f64;
            while !is_over.load(Ordering::Relaxed) {
                most = most.max(own_memory_kib(pid) / 1_024.0);
                std::thread::sleep(Duration::from_millis(10));
            }
            most
        });
        let callers: Vec<_> = (0..SIGNING_IN)
            .map(|caller| {
                let call = Call::sign_in(address, &known_name(caller % KNOWN), PASSWORD);
                scope.spawn(move || {
                    let mut connection = Connection::open(address);
                    let mut answers = Vec::new();
                    while began.elapsed() < duration {
                        let (status, time) = connection.timed(&call);
                        answers.push((status, time.as_secs_f64()));
                    }
                    answers
                })
            })
            .collect();
        answers.extend(callers.into_iter().flat_map(|caller| caller.join().unwrap()));
        is_over.store(true, Ordering::Relaxed);
        most = most.max(memory.join().unwrap());
        during = readers.join().unwrap();
    });
    let of = |status: u16| answers.iter().filter(move |(answer, _)| *answer == status).map(|(_, time)| *time);
    let took = began.elapsed().as_secs_f64();
    assert_eq!(of(200).count() + of(503).count(), answers.len(), "signed in, or told to come back");
    say(
        &format!("{SIGNING_IN} at once: signed in; told to come back"),
        &format!("{:.1}/s; {:.1}/s", of(200).count() as f64 / took, of(503).count() as f64 / took),
    );
    let times = Sample::new(of(200).collect());
    say("    a sign-in: p50, most", &format!("{}, {}", ms(times.quantile(0.5)), ms(times.quantile(1.0))));
    report("reads meanwhile", &during);
    say("memory before, at most", &format!("{rest:.0} MiB, {most:.0} MiB"));
    std::thread::sleep(Duration::from_secs(5));
    say("memory 5 s after", &format!("{:.0} MiB", own_memory_kib(pid) / 1_024.0));
}

fn report(what: &str, sample: &Sample) {
    let figures = [0.5, 0.95, 0.99].map(|place| ms(sample.quantile(place))).join(", ");
    say(&format!("{what}: p50, p95, p99"), &figures);
}

/// Reads of some callers that ask so often, whatever the last took, for `duration` or until `is_over`.
fn read_at_a_beat(address: SocketAddr, call: &Call, duration: Duration, is_over: &AtomicBool) -> Sample {
    let began = Instant::now();
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CONNECTIONS)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection::open(address);
                    let mut times = Vec::new();
                    let mut next = Instant::now();
                    while began.elapsed() < duration && !is_over.load(Ordering::Relaxed) {
                        std::thread::sleep(next.saturating_duration_since(Instant::now()));
                        connection.timed(call);
                        // From when it should have been asked, so that what had to wait behind a slow one counts.
                        times.push(next.elapsed().as_secs_f64());
                        next += READ_EVERY;
                    }
                    times
                })
            })
            .collect();
        all.extend(callers.into_iter().flat_map(|caller| caller.join().unwrap()));
    });
    Sample::new(all)
}
