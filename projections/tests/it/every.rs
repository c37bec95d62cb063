//! What holds for every projection. A new one is tested here by being in `ALL`.

use std::collections::BTreeSet;

use domain::RecordedEvent;
use projections::{ALL, Projection};
use sqlx::{Connection, Executor, PgConnection};

use crate::{
    broker::Broker,
    history::{Dice, history},
    stage::{PATIENCE, Stage},
};

/// The log as projections meet it.
pub(crate) async fn log(stage: &Stage) -> Vec<RecordedEvent> {
    let rows: Vec<(i64, i64, time::OffsetDateTime, String, String, String, String)> = sqlx::query_as(
        "select position, sequence, recorded_at, aggregate_type, event_type, event_version, payload::text
         from log.events order by position",
    )
    .fetch_all(&stage.pool)
    .await
    .unwrap();
    let decode = |(position, sequence, recorded_at, aggregate, event_type, version, payload): (
        _,
        _,
        _,
        String,
        String,
        String,
        String,
    )| {
        let event = domain::DomainEvent::decode(&aggregate, &event_type, &version, &payload).unwrap();
        RecordedEvent { position, sequence, recorded_at, event }
    };
    rows.into_iter().map(decode).collect()
}

/// Tables of one projection in a schema of their own, to fold into.
pub(crate) struct Fresh<'a> {
    stage: &'a Stage,
    projection: &'static dyn Projection,
    schema: String,
    connection: PgConnection,
}

impl<'a> Fresh<'a> {
    pub(crate) async fn new(stage: &'a Stage, projection: &'static dyn Projection, schema: &str) -> Self {
        let schema = format!("{schema}_{}", projection.name());
        let mut connection = PgConnection::connect(&stage.url).await.unwrap();
        let prepare =
            format!("drop schema if exists {schema} cascade; create schema {schema}; set search_path = {schema}");
        connection.execute(&*format!("set client_min_messages = warning; {prepare}")).await.unwrap();
        for table in projection.tables() {
            let sql = format!("create table {table} (like read.{table} including all)");
            connection.execute(&*sql).await.unwrap();
        }
        Self { stage, projection, schema, connection }
    }

    pub(crate) async fn apply(&mut self, events: &[RecordedEvent]) {
        let wanted: Vec<_> =
            events.iter().filter(|recorded| self.projection.wants(recorded.event.event_type())).collect();
        self.projection.apply(&wanted, &mut self.connection, &*self.stage.keys).await.unwrap();
    }

    pub(crate) async fn rows(&self) -> Vec<Vec<String>> {
        rows(self.stage, self.projection, &self.schema).await
    }
}

pub(crate) async fn rows(stage: &Stage, projection: &dyn Projection, schema: &str) -> Vec<Vec<String>> {
    let mut tables = Vec::new();
    for table in projection.tables() {
        tables.push(stage.rows(&format!("{schema}.{table}")).await);
    }
    tables
}

#[tokio::test]
async fn batches_of_any_cut_and_repetitions_lead_to_the_same_rows() {
    let stage = Stage::new().await;
    let mut dice = Dice(1);
    stage.append(&history(&mut dice, 400)).await;
    let log = log(&stage).await;
    let types: BTreeSet<&str> = log.iter().map(|event| event.event.event_type()).collect();
    for projection in ALL.iter().copied() {
        let wanted: BTreeSet<&str> = projection.events().iter().flat_map(|types| types.iter().copied()).collect();
        let missing: Vec<_> = wanted.difference(&types).collect();
        assert!(missing.is_empty(), "{}: {missing:?} are not in the history", projection.name());
        let mut whole = Fresh::new(&stage, projection, "whole").await;
        whole.apply(&log).await;
        let expected = whole.rows().await;
        assert!(expected.iter().all(|table| !table.is_empty()), "{}: the history does not fill it", projection.name());
        whole.apply(&log).await;
        assert_eq!(whole.rows().await, expected, "{}: applied twice", projection.name());
        for start in [0, 1, 50, 399] {
            whole.apply(&log[start..]).await;
            assert_eq!(whole.rows().await, expected, "{}: applied again from {start}", projection.name());
        }
        whole.apply(&log[..200]).await;
        assert_eq!(whole.rows().await, expected, "{}: an old part applied again", projection.name());

        let mut singly = Fresh::new(&stage, projection, "singly").await;
        for event in &log {
            singly.apply(std::slice::from_ref(event)).await;
        }
        assert_eq!(singly.rows().await, expected, "{}: event by event", projection.name());

        for round in 0..5 {
            let mut cut = Fresh::new(&stage, projection, "cut").await;
            let mut position = 0;
            while position < log.len() {
                let end = (position + 1 + dice.roll(60)).min(log.len());
                // Some batches begin with what the one before ended with.
                let begin = position.saturating_sub(dice.roll(2) * dice.roll(30));
                cut.apply(&log[begin..end]).await;
                position = end;
            }
            assert_eq!(cut.rows().await, expected, "{}: round {round}", projection.name());
        }
    }
}

#[tokio::test]
async fn live_tables_equal_a_fresh_fold_of_the_log() {
    let stage = Stage::new().await;
    let broker = Broker::new().await;
    let relay = broker.relay(&stage);
    let workers = stage.start(Some(broker.client().await));
    let mut dice = Dice(2);
    let events = history(&mut dice, 600);
    let mut head = 0;
    let mut rest = &events[..];
    while !rest.is_empty() {
        let (now, later) = rest.split_at((1 + dice.roll(20)).min(rest.len()));
        head = stage.append(now).await;
        rest = later;
    }
    assert!(workers.read.wait_for(head, PATIENCE).await);
    relay.abort();
    let log = log(&stage).await;
    for projection in ALL.iter().copied() {
        let mut fresh = Fresh::new(&stage, projection, "fresh").await;
        fresh.apply(&log).await;
        assert_eq!(rows(&stage, projection, "read").await, fresh.rows().await, "{}", projection.name());
    }
}

#[tokio::test]
async fn every_table_is_made_by_a_migration_and_has_one_owner() {
    let stage = Stage::new().await;
    let mut owned: Vec<String> =
        ALL.iter().flat_map(|projection| projection.tables()).map(|table| (*table).to_owned()).collect();
    owned.extend(["checkpoints", "failed_events", "_sqlx_migrations"].map(str::to_owned));
    owned.sort();
    let tables: Vec<String> =
        sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'read' order by 1")
            .fetch_all(&stage.pool)
            .await
            .unwrap();
    let mut tables = tables;
    tables.sort();
    assert_eq!(owned, tables);
    let foreign_keys =
        stage.count("select count(*) from pg_constraint where contype = 'f' and connamespace = 'read'::regnamespace");
    assert_eq!(foreign_keys.await, 0);
}

#[tokio::test]
async fn migrating_again_or_at_once_changes_nothing() {
    let url = embedded::testing::database().await.url;
    let (one, two) = tokio::join!(projections::migrate(&url), projections::migrate(&url));
    one.unwrap();
    two.unwrap();
    projections::migrate(&url).await.unwrap();
}
