//! How late read models are, and how fast they are made anew, on one durable Postgres in one run.
//!
//! - From append to readable row at 500 events a second for 10 s, through the real relay and JetStream and through Postgres alone,
//!   as `weir_projection_lag_seconds` tells it: from `recorded_at`, which is taken before the append commits, to the commit
//!   of the row.
//! - The rebuild of all read models from a log of `WEIR_BENCH_EVENTS` (1,000,000) mixed events, indexes, statistics and the
//!   exchange included, beside reading and decoding the same log only. Five times each, in turn.
#![expect(clippy::unwrap_used, reason = "a benchmark may fail where it stands")]

#[path = "projections/life.rs"]
mod life;
#[path = "projections/recorder.rs"]
mod recorder;

use std::{
    env, fs,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use commands::{
    Actor, Commands, CommandsOptions, MasterKeys, Metadata,
    channels::{self, ChangeDetails, CreateChannel},
};
use domain::{DomainEvent, ids::AccountId};
use embedded::{Nats, NatsOptions, Postgres, PostgresOptions};
use projections::{ALL, Projections, Source, rebuild::Rebuild};
use recorder::Lags;
use sqlx::{Connection, Executor, PgConnection, PgPool, Row, postgres::PgPoolOptions};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use zeroize::Zeroizing;

const ROUNDS: usize = 5;
/// As many as a rebuild reads at once.
const BATCH: i64 = 20_000;
const PER_SECOND: u32 = 500;
const MEASURED: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let lags = recorder::install();
    let total = env::var("WEIR_BENCH_EVENTS").map_or(1_000_000, |total| total.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    // The servers' own account must pass through.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711)).unwrap();
    let postgres = Postgres::start(PostgresOptions::new(folder.path().join("data"))).await.unwrap();
    let build = if cfg!(debug_assertions) { "debug build" } else { "release build" };
    println!("read models: Postgres {}, fsync on, {build}", postgres.major());
    late(&postgres, folder.path(), &lags).await;
    rebuilt(&postgres, total).await;
    postgres.shutdown().await;
}

/// A database of its own with both schemas.
async fn database(postgres: &Postgres, name: &str, is_careless: bool) -> (PgPool, Commands) {
    let mut connection = PgConnection::connect(&postgres.url()).await.unwrap();
    sqlx::raw_sql(&format!("create database {name}")).execute(&mut connection).await.unwrap();
    let url = postgres.database_url(name);
    commands::migrate(&url).await.unwrap();
    projections::migrate(&url).await.unwrap();
    let pool = PgPoolOptions::new()
        .max_connections(20)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if is_careless {
                    connection.execute("set synchronous_commit = off").await?;
                }
                Ok(())
            })
        })
        .connect(&url)
        .await
        .unwrap();
    let keys = MasterKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
    let commands = Commands::start(pool.clone(), keys, CommandsOptions::default()).await.unwrap();
    (pool, commands)
}

async fn late(postgres: &Postgres, folder: &std::path::Path, lags: &Lags) {
    println!("{:<44} {:>9} {:>9} {:>9}  of events", "append to row at 500 events/s", "p50", "p99", "worst");
    let nats = Nats::start(NatsOptions::new(folder.join("data"))).await.unwrap();
    for (way, is_relayed) in [("through the relay and JetStream", true), ("through Postgres alone", false)] {
        let name = if is_relayed { "relayed" } else { "alone" };
        let (pool, commands) = database(postgres, name, false).await;
        let cancel = CancellationToken::new();
        let (mut client, mut relay) = (None, None);
        if is_relayed {
            let options =
                async_nats::ConnectOptions::with_user_and_password(nats.user().to_owned(), nats.password().to_owned());
            client = Some(options.connect(nats.address()).await.unwrap());
            relay = client.clone().map(|client| {
                let hint = commands.committed();
                let cancel = cancel.clone();
                tokio::spawn(commands::relay::run_with_hint(pool.clone(), client, "bench".to_owned(), hint, cancel))
            });
        }
        let projections = Projections::start(pool.clone(), client, commands.keyring(), cancel.clone());
        let wanted = if is_relayed { Source::Nats } else { Source::Log };
        while projections.source() != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        load(&commands, Duration::from_secs(2)).await;
        lags.take();
        let head = load(&commands, MEASURED).await;
        assert!(projections.read_models().wait_for(head, Duration::from_secs(10)).await);
        assert_eq!(projections.source(), wanted);
        for (projection, mut lags) in lags.take() {
            lags.sort_by(f64::total_cmp);
            let at = |share: f64| lags[((lags.len() - 1) as f64 * share) as usize] * 1e3;
            let (p50, p99, worst) = (at(0.5), at(0.99), at(1.0));
            println!("  {way:<31} {projection:<10} {p50:>6.2} ms {p99:>6.2} ms {worst:>6.2} ms  {}", lags.len());
        }
        cancel.cancel();
        projections.ended().await;
        if let Some(relay) = relay {
            relay.await.unwrap();
        }
        commands.shutdown().await;
        pool.close().await;
    }
    nats.shutdown().await;
}

/// Changes channels at the rate; the position of the last change.
async fn load(commands: &Commands, measured: Duration) -> i64 {
    let owner_id = AccountId::from(Uuid::now_v7());
    let metadata = || Metadata::new(Actor::System);
    let mut made = Vec::new();
    for _ in 0..50 {
        let handle = format!("c_{}", &Uuid::now_v7().simple().to_string()[12..]);
        let (title, description) = ("A title".to_owned(), String::new());
        let create = CreateChannel { owner_id, handle, title, description, metadata: metadata() };
        made.push(channels::create(commands, create).await.unwrap().channel_id);
    }
    let mut tick = interval(Duration::from_secs(1) / PER_SECOND);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let began = Instant::now();
    let mut asked = Vec::new();
    for number in 0.. {
        tick.tick().await;
        if began.elapsed() >= measured {
            break;
        }
        let (commands, channel_id) = (commands.clone(), made[number % made.len()]);
        asked.push(tokio::spawn(async move {
            let change = ChangeDetails {
                by: owner_id,
                channel_id,
                expected_version: None,
                title: Some(format!("Title {number}")),
                description: None,
                visibility: None,
                metadata: Metadata::new(Actor::System),
            };
            channels::change_details(&commands, change).await.unwrap()
        }));
    }
    for asked in asked {
        asked.await.unwrap();
    }
    commands::events::head(commands.pool()).await.unwrap()
}

async fn rebuilt(postgres: &Postgres, total: usize) {
    let (pool, commands) = database(postgres, "rebuilt", true).await;
    let began = Instant::now();
    life::live(&pool, commands.account_keys(), total).await;
    println!("{total} mixed events, made in {:.0} s", began.elapsed().as_secs_f64());
    println!("{:<44} {:>10} {:>10} {:>9}", "way", "events/s", "of reading", "peak RSS");
    let (mut read, mut built) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let began = Instant::now();
        read_and_decode(&pool, total).await;
        read.push(total as f64 / began.elapsed().as_secs_f64());
        // From here on the most counts anew.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        let before = peak_mib();
        let began = Instant::now();
        // Keys as a command line that was just started has them.
        let keys = MasterKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
        let fresh = Commands::start(pool.clone(), keys, CommandsOptions::default()).await.unwrap();
        for (name, outcome) in Rebuild::new(pool.clone(), fresh.keyring(), ALL.iter().copied()).exchange().await {
            assert_eq!(outcome.unwrap(), i64::try_from(total).unwrap(), "{name}");
        }
        built.push(total as f64 / began.elapsed().as_secs_f64());
        fresh.shutdown().await;
        let rates = (read[read.len() - 1], built[built.len() - 1]);
        println!(
            "  round: read {:.0}, rebuilt {:.0} ({:.2}), peak RSS {before:.0} MiB before, {:.0} after",
            rates.0,
            rates.1,
            rates.1 / rates.0,
            peak_mib()
        );
    }
    let (read, built) = (median(read), median(built));
    println!("{:<44} {read:>10.0} {:>10.2}", "read and decoded", 1.0);
    let peak = peak_mib();
    println!("{:<44} {built:>10.0} {:>10.2} {peak:>5.0} MiB", "all read models rebuilt", built / read);
    commands.shutdown().await;
    pool.close().await;
}

/// As a rebuild does it: what no projection wants stays in Postgres.
async fn read_and_decode(pool: &PgPool, total: usize) {
    let wanted: Vec<&str> = ALL.iter().flat_map(|projection| projection.events()).copied().flatten().copied().collect();
    let mut connection = pool.acquire().await.unwrap();
    let (mut position, mut count, mut decoded) = (0_i64, 0, 0);
    loop {
        let rows = sqlx::query(
            "select position, aggregate_type, aggregate_id, sequence, event_type, event_version,
                    case when event_type = any($2::text[]) then payload::text end, recorded_at
             from log.events where position > $1 order by position limit $3",
        )
        .bind(position)
        .bind(&wanted)
        .bind(BATCH)
        .fetch_all(&mut *connection)
        .await
        .unwrap();
        let Some(last) = rows.last() else { break };
        position = last.get(0);
        count += rows.len();
        for row in &rows {
            let payload: Option<&str> = row.get(6);
            if let Some(payload) = payload {
                let event = DomainEvent::decode(row.get(1), row.get(4), row.get(5), payload).unwrap();
                decoded += usize::from(std::hint::black_box(event).event_type().is_empty()) + 1;
            }
        }
    }
    assert_eq!(count, total);
    assert!(decoded > 0);
}

/// The most memory that this process has had.
fn peak_mib() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1_024.0
}

/// The one in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
