//! How fast the log takes events: through `Commands::execute` with 1, 32, 256 and 2,048 tasks, beside COPY of the very rows
//! that this wrote into an empty table of the same shape, and beside `pgbench` (Postgres's own, from the folder of the server)
//! with one such row a transaction. All on one durable Postgres, in turns, round after round; what counts are the ratios
//! within a round, and their medians.
//!
//! `WEIR_BENCH_SECONDS` (3) is how long each way is measured in a round, `WEIR_BENCH_ROUNDS` (5) how often, `--quick` one
//! round of one second. `WEIR_BENCH_TASKS` (1,32,256,2048) measures other numbers of tasks.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it stands")]

#[path = "append/member.rs"]
mod member;
#[path = "append/peers.rs"]
mod peers;
#[path = "append/processes.rs"]
mod processes;

use std::{
    env,
    os::unix::fs::PermissionsExt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use commands::{Actor, Commands, CommandsOptions, MasterKeys, Metadata};
use embedded::{Postgres, PostgresOptions};
use sqlx::{PgPool, postgres::PgPoolOptions};
use uuid::Uuid;
use zeroize::Zeroizing;

use self::{
    member::{Member, Say},
    peers::{Peers, Single},
    processes::Processes,
};

/// Streams are closed and continued under a new id after so many events.
const STREAM_LEN: i64 = 1_000;
/// How many clients the one-row transactions have, besides one alone.
const CLIENTS: u32 = 32;

/// What one way to append did in one round.
#[derive(Clone, Copy, Default)]
struct Measured {
    /// Events a second.
    rate: f64,
    /// The median and the 99th percentile of how long a command took.
    latencies: [Duration; 2],
    /// Processor time for each event, of this process and of the server's.
    ours: Duration,
    servers: Duration,
}

#[tokio::main]
async fn main() {
    let number = |name: &str, default: u64| env::var(name).map_or(default, |number| number.parse().unwrap());
    let is_quick = env::args().any(|argument| argument == "--quick");
    let measured = Duration::from_secs(if is_quick { 1 } else { number("WEIR_BENCH_SECONDS", 3) });
    let rounds = if is_quick { 1 } else { number("WEIR_BENCH_ROUNDS", 5) };
    let tasks: Vec<usize> = env::var("WEIR_BENCH_TASKS")
        .map_or(vec![1, 32, 256, 2_048], |tasks| tasks.split(',').map(|tasks| tasks.parse().unwrap()).collect());

    let folder = tempfile::tempdir().unwrap();
    // The server's own account must pass through.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let postgres = Postgres::start(PostgresOptions::new(folder.path().join("data"))).await.unwrap();
    commands::migrate(&postgres.url()).await.unwrap();
    let pool = PgPoolOptions::new().max_connections(4).connect(&postgres.url()).await.unwrap();
    let processes = Processes::find();
    let peers = Peers::new(&pool, &postgres, &processes).await;
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    println!(
        "append: Postgres {}, fsync on, {build}, {rounds} rounds of {} s each",
        postgres.major(),
        measured.as_secs()
    );

    // So that the first round finds the server's files as the others do.
    append(&pool, &processes, 256, measured).await;
    let mut runs = vec![Vec::new(); tasks.len()];
    let (mut copies, mut singles) = (vec![Vec::new(); tasks.len()], [Vec::new(), Vec::new()]);
    let mut statements = Vec::new();
    for _ in 0..rounds {
        for (index, tasks) in tasks.iter().enumerate() {
            runs[index].push(append(&pool, &processes, *tasks, measured).await);
            copies[index].push(peers.copy(&processes).await);
        }
        for (clients, rates) in [1, CLIENTS].into_iter().zip(&mut singles) {
            rates.push(peers.single(Single::Insert, clients, measured));
        }
        statements.push(peers.single(Single::Statement, 1, measured));
    }

    println!(
        "{:<28} {:>9} {:>8} {:>9}  {:<18} processor, ours + server's",
        "way", "events/s", "of COPY", "of pgbench", "p50 / p99"
    );
    for (index, tasks) in tasks.iter().enumerate() {
        let runs = &runs[index];
        let of = |peer: &[f64]| median(runs.iter().zip(peer).map(|(run, peer)| run.rate / peer));
        let copied: Vec<_> = copies[index].iter().map(|(rate, _)| *rate).collect();
        let single = if *tasks == 1 { &singles[0] } else { &singles[1] };
        let millis = |at: usize| median(runs.iter().map(|run| run.latencies[at].as_secs_f64() * 1e3));
        let micros = |of: fn(&Measured) -> Duration| median(runs.iter().map(|run| of(run).as_secs_f64() * 1e6));
        println!(
            "{:<28} {:>9.0} {:>8.2} {:>9.2}  {:<18} {:.1} + {:.1} µs",
            format!("Commands::execute, {tasks} tasks"),
            median(runs.iter().map(|run| run.rate)),
            of(&copied),
            of(single),
            format!("{:.2} / {:.2} ms", millis(0), millis(1)),
            micros(|run| run.ours),
            micros(|run| run.servers),
        );
    }
    for (index, tasks) in tasks.iter().enumerate() {
        println!(
            "{:<28} {:>9.0} {:>37} server's {:.1} µs",
            format!("COPY of the rows of {tasks}"),
            median(copies[index].iter().map(|(rate, _)| *rate)),
            "",
            median(copies[index].iter().map(|(_, servers)| servers.as_secs_f64() * 1e6)),
        );
    }
    for (clients, rates) in [1, CLIENTS].into_iter().zip(&singles) {
        println!("{:<28} {:>9.0}", format!("pgbench, {clients} clients"), median(rates.iter().copied()));
    }
    println!(
        "{:<28} {:>9.0} {:>8} {:>9.2}",
        "the append, by pgbench, 1",
        median(statements.iter().copied()),
        "",
        median(statements.iter().zip(&singles[0]).map(|(statement, insert)| statement / insert)),
    );
    pool.close().await;
    postgres.shutdown().await;
}

/// Appends to an empty log with so many tasks, each of which gives the next command when the one before is answered.
async fn append(pool: &PgPool, processes: &Processes, tasks: usize, measured: Duration) -> Measured {
    sqlx::raw_sql(
        "alter table log.events disable trigger events_are_kept; truncate log.events; \
         alter table log.events enable trigger events_are_kept; update log.head set position = 0",
    )
    .execute(pool)
    .await
    .unwrap();
    let keys = MasterKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
    let commands = Commands::start(pool.clone(), keys, CommandsOptions::default()).await.unwrap();
    let is_over = Arc::new(AtomicBool::new(false));
    let (begin, begun) = (Instant::now(), processes.times());
    let running: Vec<_> = (0..tasks)
        .map(|_| {
            let (commands, is_over) = (commands.clone(), Arc::clone(&is_over));
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                let mut id = Uuid::now_v7().to_string();
                while !is_over.load(Ordering::Relaxed) {
                    let metadata = Metadata::new(Actor::System);
                    let say = Say("What a goal, did you see how he went past all three of them?".to_owned());
                    let asked = Instant::now();
                    let committed = commands.execute::<Member>(&id, say, metadata).await.unwrap();
                    latencies.push(asked.elapsed());
                    if committed.version == STREAM_LEN {
                        id = Uuid::now_v7().to_string();
                    }
                }
                latencies
            })
        })
        .collect();
    tokio::time::sleep(measured).await;
    is_over.store(true, Ordering::Relaxed);
    let mut latencies = Vec::new();
    for task in running {
        latencies.extend(task.await.unwrap());
    }
    let (took, ended) = (begin.elapsed(), processes.times());
    commands.shutdown().await;
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    let total = latencies.len() as u32;
    Measured {
        rate: f64::from(total) / took.as_secs_f64(),
        latencies: [at(0.5), at(0.99)],
        ours: (ended.ours - begun.ours) / total,
        servers: (ended.servers - begun.servers) / total,
    }
}

fn median(numbers: impl Iterator<Item = f64>) -> f64 {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}
