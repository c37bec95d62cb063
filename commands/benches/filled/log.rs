//! A log with events in it, of the kinds and sizes that Weir writes.

use std::{env, fs, os::unix::fs::PermissionsExt, path::Path};

use embedded::{Postgres, PostgresOptions};
use sqlx::PgPool;

/// `WEIR_BENCH_EVENTS` or `default`.
pub(crate) fn event_total(default: i64) -> i64 {
    env::var("WEIR_BENCH_EVENTS").map_or(default, |total| total.parse().unwrap())
}

/// A Postgres in `folder` with `total` events in its log: the golden ones in turn, each of an aggregate of its own.
pub(crate) async fn start(folder: &Path, total: i64) -> (Postgres, PgPool) {
    // The server's own account must pass through.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).unwrap();
    let postgres = Postgres::start(PostgresOptions::new(folder.join("data"))).await.unwrap();
    commands::migrate(&postgres.url()).await.unwrap();
    let pool = PgPool::connect(&postgres.url()).await.unwrap();
    let (event_types, payloads): (Vec<_>, Vec<_>) = golden().into_iter().unzip();
    sqlx::query(
        "with golden as (select * from unnest($1::text[], $2::text[]) with ordinality as golden(event_type, payload, place)) \
         insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
             metadata) \
         select n, split_part(event_type, '.', 1), md5(n::text)::uuid::text, 1, event_type, '1', \
             replace(payload, '018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f', account)::json, \
             json_build_object('actor', 'account:' || account, 'command_id', account, 'correlation_id', account) \
         from generate_series(1, $3) n \
         cross join lateral (select n % $4 + 1 as place, md5((n / 20)::text)::uuid::text as account) made \
         join golden using (place) order by n",
    )
    .bind(&event_types)
    .bind(&payloads)
    .bind(total)
    .bind(i64::try_from(payloads.len()).unwrap())
    .execute(&pool)
    .await
    .unwrap();
    sqlx::query("update log.head set position = $1").bind(total).execute(&pool).await.unwrap();
    sqlx::raw_sql("vacuum analyze log.events").execute(&pool).await.unwrap();
    (postgres, pool)
}

/// Types and payloads.
fn golden() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../domain/tests/events");
    let mut golden: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let payload: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap();
            let (event_type, _) = name.split_once(".v").unwrap();
            (event_type.to_owned(), payload.to_string())
        })
        .collect();
    golden.sort();
    golden
}

/// The one in the middle.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
