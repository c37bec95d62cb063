//! How fast the log is written as a file of each form, how large the file is, and how much memory that takes, beside reading
//! the log alone. Each is done three times in turn; the medians count.
//!
//! `WEIR_BENCH_EVENTS` (1,000,000) is how long the log is, `WEIR_BENCH_KEEP` a folder in which the files are left.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it stands")]

#[path = "exports/log.rs"]
mod log;

use std::{env, fs, fs::File, io::BufWriter, path::Path, time::Instant};

use commands::{
    Commands, CommandsOptions, MasterKeys,
    events::{self, Actors, Envelope, Filter},
    exports::jobs::JobProgress,
};
use domain::exports::ExportFormat;
use futures::TryStreamExt;
use processes::exports::{Wanted, write};
use sqlx::PgPool;
use tokio::sync::watch;
use zeroize::Zeroizing;

const ROUNDS: usize = 3;
const SOURCE: &str = "https://weir.example.org";

#[tokio::main]
async fn main() {
    let total = env::var("WEIR_BENCH_EVENTS").map_or(1_000_000, |total| total.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let (postgres, pool) = log::start(folder.path(), total).await;
    let keys = MasterKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
    let commands = Commands::start(pool.clone(), keys, CommandsOptions::default()).await.unwrap();
    let kept = env::var("WEIR_BENCH_KEEP").map_or_else(|_| folder.path().join("files"), Into::into);
    fs::create_dir_all(&kept).unwrap();

    // So that everything is in memory for everybody.
    read(&pool, total).await;
    let formats = [ExportFormat::Parquet, ExportFormat::Ndjson, ExportFormat::Csv];
    let mut seconds = [const { Vec::new() }; 4];
    let mut sizes = [0; 3];
    let mut memory = [0; 3];
    for _ in 0..ROUNDS {
        seconds[3].push(read(&pool, total).await);
        for (index, format) in formats.into_iter().enumerate() {
            let path = kept.join(format!("events.{}", format.as_str()));
            forget_peak();
            seconds[index].push(export(&commands, format, &path, total).await);
            sizes[index] = fs::metadata(&path).unwrap().len();
            memory[index] = memory[index].max(peak_bytes());
        }
    }
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    println!("exports: {total} events, Postgres {}, {build}, medians of {ROUNDS}", postgres.major());
    println!(
        "{:<12} {:>8} {:>10} {:>9} {:>12} {:>12}",
        "form", "seconds", "events/s", "MB", "bytes/event", "peak memory"
    );
    for (index, format) in formats.into_iter().enumerate() {
        let seconds = median(&mut seconds[index]);
        println!(
            "{:<12} {seconds:>8.2} {:>10.0} {:>9.1} {:>12.1} {:>9.0} MB",
            format.as_str(),
            total as f64 / seconds,
            sizes[index] as f64 / 1e6,
            sizes[index] as f64 / total as f64,
            memory[index] as f64 / 1e6,
        );
    }
    let seconds = median(&mut seconds[3]);
    println!("{:<12} {seconds:>8.2} {:>10.0}", "reading only", total as f64 / seconds);
    commands.shutdown().await;
    pool.close().await;
    postgres.shutdown().await;
}

async fn read(pool: &PgPool, total: i64) -> f64 {
    let begin = Instant::now();
    let batches = events::batches(pool.clone(), Filter::default());
    let found = batches.try_fold(0, |found, batch| std::future::ready(Ok(found + batch.events.len()))).await.unwrap();
    assert_eq!(found as i64, total);
    begin.elapsed().as_secs_f64()
}

async fn export(commands: &Commands, format: ExportFormat, path: &Path, total: i64) -> f64 {
    let envelope = Envelope::new(SOURCE, Actors::Pseudonymous(commands.pseudonyms()));
    let wanted = Wanted { filter: Filter::default(), format, envelope, source: SOURCE.to_owned() };
    let begin = Instant::now();
    let out = BufWriter::with_capacity(256 * 1024, File::create(path).unwrap());
    let progress = watch::Sender::new(JobProgress::default());
    let (out, count) = write(commands.pool().clone(), wanted, out, &progress).await.unwrap();
    out.into_inner().unwrap().sync_all().unwrap();
    assert_eq!(count, total);
    begin.elapsed().as_secs_f64()
}

/// The most that this process had in memory since [`forget_peak`].
fn peak_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
