//! How fast the log takes events: through `Commands::execute` with 1, 32, 256 and 2,048 tasks, beside COPY of the same
//! rows into a table of the same shape, and one row a transaction, all on one durable Postgres in one run.
//!
//! `WEIR_BENCH_SECONDS` (3) is how long each way is measured.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it stands")]

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
use domain::{Aggregate, Claimed, Event};
use embedded::{Postgres, PostgresOptions};
use futures::TryStreamExt;
use serde::{Deserialize, Serialize};
use sqlx::{
    PgPool,
    postgres::{PgPoolCopyExt, PgPoolOptions},
};
use thiserror::Error;
use time::OffsetDateTime;
use uuid::Uuid;
use zeroize::Zeroizing;

const TASKS: [usize; 4] = [1, 32, 256, 2_048];
const CLIENTS: usize = 32;
/// Streams are closed and continued under a new id after so many events.
const STREAM_LEN: i64 = 1_000;

/// A member in a chat, as it will be: what they say is an event, of about the size of a message.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Member {
    said: i64,
}

#[derive(Debug, Clone)]
struct Say(String);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum MemberEvent {
    Said {
        text: String,
        #[serde(with = "time::serde::rfc3339")]
        said_at: OffsetDateTime,
    },
}

#[derive(Debug, Error)]
#[error("never")]
struct Never;

impl Event for MemberEvent {
    fn event_type(&self) -> &'static str {
        "member.said"
    }
}

impl Aggregate for Member {
    const TYPE: &'static str = "member";
    type Command = Say;
    type Event = MemberEvent;
    type Refusal = Never;

    fn decide(&self, Say(text): Say, now: OffsetDateTime) -> Result<Vec<MemberEvent>, Never> {
        Ok(vec![MemberEvent::Said { text, said_at: now }])
    }

    fn apply(&mut self, _: &MemberEvent) {
        self.said += 1;
    }

    fn claimed(_: Claimed) -> Never {
        Never
    }
}

#[tokio::main]
async fn main() {
    let seconds = env::var("WEIR_BENCH_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    let measured = Duration::from_secs(seconds);
    let folder = tempfile::tempdir().unwrap();
    // The server's own account must pass through.
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).unwrap();
    let postgres = Postgres::start(PostgresOptions::new(folder.path().join("data"))).await.unwrap();
    commands::migrate(&postgres.url()).await.unwrap();
    let pool = PgPoolOptions::new()
        .min_connections(CLIENTS as u32)
        .max_connections(CLIENTS as u32 + 4)
        .connect(&postgres.url())
        .await
        .unwrap();
    let keys = MasterKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
    let commands = Commands::start(pool.clone(), keys, CommandsOptions::default()).await.unwrap();

    append(&commands, 32, Duration::from_secs(1)).await;
    let mut results = Vec::new();
    for tasks in TASKS {
        let (rate, latency) = append(&commands, tasks, measured).await;
        results.push((format!("Commands::execute, {tasks} tasks"), rate, Some(latency)));
    }
    commands.shutdown().await;
    let rows = i64::try_from((results[2].1 * measured.as_secs_f64()) as u64).unwrap();
    let copied = copy(&pool, rows).await;
    results.push((format!("COPY of {rows} of the same rows"), copied, None));
    let single = one_row_a_transaction(&pool, measured).await;
    results.push((format!("one row a transaction, {CLIENTS} clients"), single, None));

    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    println!("append: Postgres {}, fsync on, {build}, {seconds} s each", postgres.major());
    println!("{:<40} {:>10} {:>8}  p50 / p99", "way", "events/s", "of COPY");
    for (way, rate, latency) in results {
        let latency = latency.map_or(String::new(), |[p50, p99]| {
            format!("{:.2} / {:.2} ms", p50.as_secs_f64() * 1e3, p99.as_secs_f64() * 1e3)
        });
        println!("{way:<40} {rate:>10.0} {:>8.2}  {latency}", rate / copied);
    }
    pool.close().await;
    postgres.shutdown().await;
}

/// Events a second, and the median and 99th percentile of how long a command takes.
async fn append(commands: &Commands, tasks: usize, measured: Duration) -> (f64, [Duration; 2]) {
    let is_over = Arc::new(AtomicBool::new(false));
    let begin = Instant::now();
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
    let rate = latencies.len() as f64 / begin.elapsed().as_secs_f64();
    latencies.sort_unstable();
    let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize];
    (rate, [at(0.5), at(0.99)])
}

/// Rows a second by COPY from memory, into a table with the same indexes.
async fn copy(pool: &PgPool, rows: i64) -> f64 {
    sqlx::raw_sql("create table log.copied (like log.events including all)").execute(pool).await.unwrap();
    let select = format!("copy (select * from log.events order by position limit {rows}) to stdout");
    let chunks: Vec<_> = pool.copy_out_raw(&select).await.unwrap().try_collect().await.unwrap();
    let begin = Instant::now();
    let mut copying = pool.copy_in_raw("copy log.copied from stdin").await.unwrap();
    // In pieces of a size at which sending costs little.
    for chunks in chunks.chunks(512) {
        copying.send(chunks.concat()).await.unwrap();
    }
    let copied = copying.finish().await.unwrap();
    copied as f64 / begin.elapsed().as_secs_f64()
}

/// Rows a second when each is a transaction of its own.
async fn one_row_a_transaction(pool: &PgPool, measured: Duration) -> f64 {
    sqlx::raw_sql("create table log.single (like log.events including all); create sequence log.single_position")
        .execute(pool)
        .await
        .unwrap();
    let begin = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut connection = pool.acquire().await.unwrap();
                let id = Uuid::now_v7().to_string();
                let mut sequence = 0_i64;
                while begin.elapsed() < measured {
                    sequence += 1;
                    sqlx::query(
                        "insert into log.single (position, aggregate_type, aggregate_id, sequence, event_type, \
                             event_version, payload, metadata) \
                         values (nextval('log.single_position'), 'member', $1, $2, 'member.said', '1', $3::json, $4::json)",
                    )
                    .bind(&id)
                    .bind(sequence)
                    .bind(r#"{"Said":{"text":"What a goal, did you see how he went past all three of them?","said_at":"2026-11-21T10:00:00.123456Z"}}"#)
                    .bind(r#"{"actor":"system","command_id":"018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f","correlation_id":"018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f"}"#)
                    .execute(&mut *connection)
                    .await
                    .unwrap();
                }
                sequence
            })
        })
        .collect();
    let mut total = 0;
    for client in clients {
        total += client.await.unwrap();
    }
    total as f64 / begin.elapsed().as_secs_f64()
}
