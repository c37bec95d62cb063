//! What the workers made, through all of it, is what a fold of the whole log makes at once.

use std::path::Path;

use anyhow::Context;
use commands::{Commands, CommandsOptions, MasterKeys};
use domain::{DomainEvent, RecordedEvent};
use projections::{ALL, Projection};
use sqlx::{Connection, Executor, PgConnection, PgPool};

use super::{Findings, Stored};

const FRESH: &str = "read_fresh";

pub async fn check(pool: &PgPool, secrets: &Path, log: &[Stored], findings: &mut Findings) -> anyhow::Result<()> {
    let failed: Vec<(String, i64, String)> =
        sqlx::query_as("select projection, position, error from read.failed_events").fetch_all(pool).await?;
    for (projection, position, error) in failed {
        findings.add(format!("{projection} failed at {position}: {error}"));
    }
    let events: Vec<RecordedEvent> = log.iter().map(decode).collect::<Result<_, _>>()?;
    let commands = Commands::start(pool.clone(), keys(secrets)?, CommandsOptions::default()).await?;
    let keyring = commands.keyring();
    let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
    let prepare = format!(
        "set client_min_messages = warning; drop schema if exists {FRESH} cascade; create schema {FRESH};
         set search_path = {FRESH}"
    );
    connection.execute(prepare.as_str()).await?;
    for projection in ALL.iter().copied() {
        for table in projection.tables() {
            let make = format!("create table {table} (like read.{table} including all)");
            connection.execute(make.as_str()).await?;
        }
        let wanted: Vec<_> = events.iter().filter(|event| projection.wants(event.event.event_type())).collect();
        for batch in wanted.chunks(5_000) {
            projection.apply(batch, &mut connection, &*keyring).await?;
        }
        compare(projection, pool, findings).await?;
    }
    commands.shutdown().await;
    Ok(())
}

async fn compare(projection: &dyn Projection, pool: &PgPool, findings: &mut Findings) -> sqlx::Result<()> {
    for table in projection.tables() {
        let difference = format!(
            "select count(*), min(row) from (
                 (select live::text as row from read.{table} live except all select fresh::text from {FRESH}.{table} fresh)
                 union all
                 (select fresh::text from {FRESH}.{table} fresh except all select live::text from read.{table} live)
             ) differing"
        );
        let (count, first): (i64, Option<String>) = sqlx::query_as(&difference).fetch_one(pool).await?;
        findings.expect(count == 0, || {
            format!("{count} rows of {table} differ from a fresh fold, {} for example", first.unwrap_or_default())
        });
    }
    Ok(())
}

fn decode(stored: &Stored) -> anyhow::Result<RecordedEvent> {
    let event =
        DomainEvent::decode(&stored.aggregate_type, &stored.event_type, &stored.event_version, &stored.payload)?;
    let Stored { position, sequence, recorded_at, .. } = *stored;
    Ok(RecordedEvent { position, sequence, recorded_at, event })
}

/// The keys of the install, from the file that all nodes share.
fn keys(secrets: &Path) -> anyhow::Result<MasterKeys> {
    let secrets: toml::Table = toml::from_str(&std::fs::read_to_string(secrets)?)?;
    let key = |name: &str| {
        let text = secrets.get(name).and_then(toml::Value::as_str).context("a key is missing in the secrets file")?;
        let mut key = [0; 32];
        hex::decode_to_slice(text, &mut key)?;
        anyhow::Ok(key)
    };
    Ok(MasterKeys::new(key("master_key")?.into(), key("digest_key")?.into()))
}
