use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use embedded::Postgres;
use futures::TryStreamExt;
use sqlx::{PgPool, postgres::PgPoolCopyExt};

use crate::processes::Processes;

/// An event as in the log, with an aggregate for each client.
const INSERT: &str = r#"insert into log.single (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata)
    values (nextval('log.single_position'), 'member', '018f3c5e-7a10-7c3d-9e1f-00000000000' || :client_id,
        nextval('log.single_position'), 'member.said', '1',
        '{"Said":{"text":"What a goal, did you see how he went past all three of them?","said_at":"2026-11-21T10:00:00.123456Z"}}',
        '{"actor":"system","command_id":"018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f","correlation_id":"018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f"}');
"#;

/// The same row by the statement through which one command alone is stored: what the server and the client's waking up leave
/// of [`INSERT`], without any of our processes. It stands below that by what ordered, contiguous positions cost.
const STATEMENT: &str = r#"with head as (update log.head set position = position + 1, recorded_at = greatest(clock_timestamp(), recorded_at)
        returning position, recorded_at)
    insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, metadata, recorded_at)
    select position, 'member', '018f3c5e-7a10-7c3d-9e1f-00000000000' || :client_id, nextval('log.single_position'), 'member.said', '1',
        '{"Said":{"text":"What a goal, did you see how he went past all three of them?","said_at":"2026-11-21T10:00:00.123456Z"}}'::json,
        '{"actor":"system","command_id":"018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f","correlation_id":"018f3c5e-7a10-7c3d-9e1f-0a1b2c3d4e5f"}'::json,
        recorded_at from head
    returning position, pg_notify('weir_log', position::text);
"#;

/// What pgbench runs.
#[derive(Clone, Copy)]
pub(crate) enum Single {
    /// A plain insert.
    Insert,
    /// What a command alone is stored by.
    Statement,
}

/// Other ways to get rows into the same server.
pub(crate) struct Peers {
    pool: PgPool,
    pgbench: PathBuf,
    socket_folder: PathBuf,
    insert: tempfile::NamedTempFile,
    statement: tempfile::NamedTempFile,
}

impl Peers {
    pub(crate) async fn new(pool: &PgPool, postgres: &Postgres, processes: &Processes) -> Self {
        sqlx::raw_sql(
            "create table log.copied (like log.events including all); \
             create table log.single (like log.events including all); \
             create sequence log.single_position",
        )
        .execute(pool)
        .await
        .unwrap();
        let pgbench = processes.server_program().with_file_name("pgbench");
        assert!(pgbench.is_file(), "{} is missing; Debian has it in the package postgresql-15", pgbench.display());
        let script = |text: &str| {
            let script = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(script.path(), text.lines().map(str::trim).collect::<Vec<_>>().join(" ")).unwrap();
            script
        };
        let (insert, statement) = (script(INSERT), script(STATEMENT));
        Self { pool: pool.clone(), pgbench, socket_folder: postgres.socket_folder().to_owned(), insert, statement }
    }

    /// Rows a second by COPY of the whole log from memory, into an empty table with the same indexes, and the server's
    /// processor time for each.
    pub(crate) async fn copy(&self, processes: &Processes) -> (f64, Duration) {
        sqlx::raw_sql("truncate log.copied").execute(&self.pool).await.unwrap();
        let select = "copy (select * from log.events order by position) to stdout";
        let chunks: Vec<_> = self.pool.copy_out_raw(select).await.unwrap().try_collect().await.unwrap();
        // In pieces of a size at which sending costs little.
        let pieces: Vec<_> = chunks.chunks(512).map(|chunks| chunks.concat()).collect();
        let (begin, begun) = (Instant::now(), processes.times());
        let mut copying = self.pool.copy_in_raw("copy log.copied from stdin").await.unwrap();
        for piece in pieces {
            copying.send(piece).await.unwrap();
        }
        let copied = copying.finish().await.unwrap();
        let rate = copied as f64 / begin.elapsed().as_secs_f64();
        (rate, (processes.times().servers - begun.servers) / copied as u32)
    }

    /// Rows a second when each is a transaction of its own.
    pub(crate) fn single(&self, way: Single, clients: u32, measured: Duration) -> f64 {
        let script = match way {
            Single::Insert => &self.insert,
            Single::Statement => &self.statement,
        };
        let output = Command::new(&self.pgbench)
            .args(["-M", "prepared", "-n", "-c", &clients.to_string(), "-j", &clients.min(2).to_string()])
            .args(["-T", &measured.as_secs().to_string(), "-h"])
            .arg(&self.socket_folder)
            .env("PGOPTIONS", "-c plan_cache_mode=force_generic_plan")
            .args(["-U", "weir", "-f"])
            .arg(script.path())
            .arg("weir")
            .output()
            .unwrap();
        let report = String::from_utf8_lossy(&output.stdout);
        let rate = report.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.unwrap_or_else(|| panic!("{report}{}", String::from_utf8_lossy(&output.stderr)))
    }
}
