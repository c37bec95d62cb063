//! A nats-server, and what a relay does.

use std::time::Duration;

use async_nats::{
    Client, HeaderMap,
    jetstream::{self, context::ContextBuilder},
};
use sqlx::Row;
use tokio::task::JoinHandle;

use crate::stage::{PATIENCE, Stage};

pub(crate) const STREAM: &str = "WEIR_EVENTS";

pub(crate) struct Broker {
    pub(crate) url: String,
    pub(crate) jetstream: jetstream::Context,
}

impl Broker {
    /// A server with the stream.
    pub(crate) async fn new() -> Self {
        let url = embedded::testing::nats().await;
        let broker = Self::at(url).await;
        broker.make_stream().await;
        broker
    }

    /// A server as it is.
    pub(crate) async fn at(url: String) -> Self {
        // Of a context's own limits a machine under strain has none.
        let context = ContextBuilder::new().timeout(PATIENCE).ack_timeout(PATIENCE);
        Self { jetstream: context.build(connect(&url).await), url }
    }

    pub(crate) async fn client(&self) -> Client {
        connect(&self.url).await
    }

    pub(crate) async fn make_stream(&self) {
        let config = jetstream::stream::Config {
            name: STREAM.to_owned(),
            subjects: vec!["weir.events.>".to_owned()],
            storage: jetstream::stream::StorageType::Memory,
            ..Default::default()
        };
        self.jetstream.create_stream(config).await.unwrap();
    }

    /// Publishes events of the log after one position up to another.
    pub(crate) async fn publish(&self, stage: &Stage, after: i64, to: i64) {
        for (subject, headers, body) in messages(stage, after, to).await {
            self.jetstream.publish_with_headers(subject, headers, body.into()).await.unwrap().await.unwrap();
        }
    }

    /// Publishes whatever is appended, until it is aborted.
    pub(crate) fn relay(&self, stage: &Stage) -> JoinHandle<()> {
        let jetstream = self.jetstream.clone();
        let pool = stage.pool.clone();
        tokio::spawn(async move {
            let mut position = 0;
            loop {
                let mut published = Vec::new();
                for (subject, headers, body) in read(&pool, position, i64::MAX).await {
                    published.push(jetstream.publish_with_headers(subject, headers, body.into()).await.unwrap());
                    position += 1;
                }
                for acknowledgement in published {
                    acknowledgement.await.unwrap();
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    }
}

pub(crate) async fn connect(url: &str) -> Client {
    async_nats::ConnectOptions::new()
        .connection_timeout(PATIENCE)
        .reconnect_delay_callback(|_| Duration::from_millis(50))
        .connect(url)
        .await
        .unwrap()
}

async fn messages(stage: &Stage, after: i64, to: i64) -> Vec<(String, HeaderMap, String)> {
    read(&stage.pool, after, to).await
}

/// As the relay sends them.
async fn read(pool: &sqlx::PgPool, after: i64, to: i64) -> Vec<(String, HeaderMap, String)> {
    let rows = sqlx::query(
        "select position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload::text, recorded_at
         from log.events where position > $1 and position <= $2 order by position",
    )
    .bind(after)
    .bind(to)
    .fetch_all(pool)
    .await
    .unwrap();
    let message = |row: sqlx::postgres::PgRow| {
        let position: i64 = row.get(0);
        let event_type: String = row.get(4);
        let recorded_at: time::OffsetDateTime = row.get(7);
        let body = serde_json::json!({
            "position": position,
            "aggregate_type": row.get::<String, _>(1),
            "aggregate_id": row.get::<String, _>(2),
            "sequence": row.get::<i64, _>(3),
            "event_type": event_type,
            "event_version": row.get::<String, _>(5),
            "payload": serde_json::from_str::<serde_json::Value>(row.get(6)).unwrap(),
            "metadata": {"actor": "system"},
            "recorded_at": recorded_at.format(&time::format_description::well_known::Rfc3339).unwrap(),
        });
        let mut headers = HeaderMap::new();
        headers.insert("Weir-Position", position.to_string());
        (format!("weir.events.{event_type}"), headers, body.to_string())
    };
    rows.into_iter().map(message).collect()
}
