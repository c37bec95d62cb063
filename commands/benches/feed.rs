//! How fast the whole log is written as NDJSON of CloudEvents, beside COPY of the same columns to the client, on one
//! Postgres in one run. Each is done five times in turn; the medians are compared.
//!
//! `WEIR_BENCH_EVENTS` (300,000) is how long the log is.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it stands")]

#[path = "filled/log.rs"]
mod log;

use std::time::Instant;

use commands::{
    Commands, CommandsOptions, MasterKeys,
    events::{self, Actors, Envelope, Filter},
};
use futures::TryStreamExt;
use log::{event_total, median};
use sqlx::{PgPool, postgres::PgPoolCopyExt};
use zeroize::Zeroizing;

/// What is selected of an event.
const COLUMNS: &str = "position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
                                  metadata, recorded_at";
const ROUNDS: usize = 5;

#[tokio::main]
async fn main() {
    let total = event_total(300_000);
    let folder = tempfile::tempdir().unwrap();
    let (postgres, pool) = log::start(folder.path(), total).await;
    let keys = MasterKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
    let commands = Commands::start(pool.clone(), keys, CommandsOptions::default()).await.unwrap();
    let plain = || Envelope::new("https://weir.example.org", Actors::Plain);
    let pseudonymous = || Envelope::new("https://weir.example.org", Actors::Pseudonymous(commands.pseudonyms()));

    // So that everything is in memory for everybody.
    copy(&pool, total).await;
    let mut rates = [const { Vec::new() }; 4];
    let mut size_bytes = [0; 2];
    for _ in 0..ROUNDS {
        let copied;
        (copied, size_bytes[0]) = copy(&pool, total).await;
        rates[0].push(copied);
        rates[1].push(batches(&pool, total).await);
        rates[2].push(feed(&pool, total, plain()).await.0);
        let fed;
        (fed, size_bytes[1]) = feed(&pool, total, pseudonymous()).await;
        rates[3].push(fed);
    }
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    println!("feed: {total} events, Postgres {}, {build}, medians of {ROUNDS}", postgres.major());
    println!("{:<48} {:>10} {:>8}  bytes an event", "way", "events/s", "of COPY");
    let ways =
        ["COPY to the client", "batches only", "NDJSON, accounts by their ids", "NDJSON, accounts by pseudonyms"];
    let sizes = [Some(size_bytes[0]), None, None, Some(size_bytes[1])];
    let rates = rates.map(median);
    for ((way, rate), size) in ways.iter().zip(rates).zip(sizes) {
        let size = size.map_or(String::new(), |size: usize| format!("{:.0}", size as f64 / total as f64));
        println!("{way:<48} {rate:>10.0} {:>8.2}  {size}", rate / rates[0]);
    }
    commands.shutdown().await;
    pool.close().await;
    postgres.shutdown().await;
}

/// Events a second, and how many bytes that was.
async fn copy(pool: &PgPool, total: i64) -> (f64, usize) {
    let begin = Instant::now();
    let copied = pool.copy_out_raw(&format!("copy (select {COLUMNS} from log.events) to stdout")).await.unwrap();
    let size_bytes = copied.try_fold(0, |size, chunk| std::future::ready(Ok(size + chunk.len()))).await.unwrap();
    (total as f64 / begin.elapsed().as_secs_f64(), size_bytes)
}

async fn batches(pool: &PgPool, total: i64) -> f64 {
    let begin = Instant::now();
    let batches = events::batches(pool.clone(), Filter::default());
    let found = batches.try_fold(0, |found, batch| std::future::ready(Ok(found + batch.events.len()))).await.unwrap();
    assert_eq!(found as i64, total);
    total as f64 / begin.elapsed().as_secs_f64()
}

async fn feed(pool: &PgPool, total: i64, mut envelope: Envelope) -> (f64, usize) {
    let begin = Instant::now();
    let mut batches = std::pin::pin!(events::batches(pool.clone(), Filter::default()));
    let mut size_bytes = 0;
    let mut lines = Vec::new();
    while let Some(batch) = batches.try_next().await.unwrap() {
        lines.clear();
        for event in &batch.events {
            envelope.write(event, &mut lines);
            lines.push(b'\n');
        }
        size_bytes += std::hint::black_box(&lines).len();
    }
    (total as f64 / begin.elapsed().as_secs_f64(), size_bytes)
}
