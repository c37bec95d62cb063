//! A log with events of all kinds, with ids, times and sealed texts that differ as they do in a real one.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use embedded::{Postgres, PostgresOptions};
use sqlx::PgPool;

/// A Postgres in `folder` with `total` events in its log: the golden ones in turn, a tenth of a second apart; twenty events in a
/// row are of one person, and ten of one stream.
pub(crate) async fn start(folder: &Path, total: i64) -> (Postgres, PgPool) {
    // The server's own account must pass through.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o711)).unwrap();
    let postgres = Postgres::start(PostgresOptions::new(folder.join("data"))).await.unwrap();
    commands::migrate(&postgres.url()).await.unwrap();
    let pool = PgPool::connect(&postgres.url()).await.unwrap();
    let golden = golden();
    let column = |part: fn(&Golden) -> &str| golden.iter().map(|event| part(event).to_owned()).collect::<Vec<_>>();
    sqlx::query(
        r#"with golden as (
            select * from unnest($1::text[], $2::text[], $3::text[]) with ordinality
                as golden(event_type, event_version, payload, place)
        )
        insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
            metadata, recorded_at)
        select n, split_part(event_type, '.', 1), aggregate, 1, event_type, event_version,
            regexp_replace(
                replace(replace(replace(replace(payload,
                    '018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f', account),
                    '018f3c5e-7a12-7c3d-9e1f-0a1b2c3d4e5f', channel),
                    '018f3c5e-7a13-7c3d-9e1f-0a1b2c3d4e5f', stream),
                    '2026-11-21T10:00:00.123456Z', to_char(at, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')),
                '"ciphertext":"[^"]*"',
                '"ciphertext":"' || replace(encode(sha512(n::text::bytea), 'base64'), E'\n', '') || '"', 'g')::json,
            json_build_object('actor', 'account:' || account, 'command_id', command, 'correlation_id', command), at
        from generate_series(1, $4) n
        cross join lateral (
            select n % $5 + 1 as place,
                md5('account' || n / 20)::uuid::text as account,
                md5('channel' || n / 20)::uuid::text as channel,
                md5('stream' || n / 10)::uuid::text as stream,
                md5('aggregate' || n)::uuid::text as aggregate,
                md5('command' || n)::uuid::text as command,
                timestamptz '2026-01-01T00:00:00Z' + n * interval '0.1 seconds' as at
        ) made
        join golden using (place)
        order by n"#,
    )
    .bind(column(|event| &event.event_type))
    .bind(column(|event| &event.version))
    .bind(column(|event| &event.payload))
    .bind(total)
    .bind(i64::try_from(golden.len()).unwrap())
    .execute(&pool)
    .await
    .unwrap();
    sqlx::query("update log.head set position = $1").bind(total).execute(&pool).await.unwrap();
    sqlx::raw_sql("vacuum analyze log.events").execute(&pool).await.unwrap();
    (postgres, pool)
}

struct Golden {
    event_type: String,
    version: String,
    payload: String,
}

fn golden() -> Vec<Golden> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../domain/tests/events");
    let mut golden: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let payload: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap();
            let (event_type, version) = name.split_once(".v").unwrap();
            Golden { event_type: event_type.to_owned(), version: version.to_owned(), payload: payload.to_string() }
        })
        .collect();
    golden.sort_by(|one, other| (&one.event_type, &one.version).cmp(&(&other.event_type, &other.version)));
    golden
}
