//! A migrated database and its write side.

use std::time::Duration;

use commands::{
    Actor, Commands, CommandsOptions, MasterKeys, Metadata, StartError,
    channels::{self, CreateChannel},
};
use domain::ids::AccountId;
use sqlx::PgPool;
use zeroize::Zeroizing;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Stage {
    pub(crate) url: String,
    pub(crate) pool: PgPool,
    pub(crate) commands: Commands,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let url = embedded::testing::database().await.url;
        commands::migrate(&url).await.unwrap();
        let pool = PgPool::connect(&url).await.unwrap();
        let commands = start(&pool).await;
        Self { url, pool, commands }
    }

    /// Creates some channels; the positions of their events.
    pub(crate) async fn channels(&self, count: usize) -> Vec<i64> {
        let mut positions = Vec::new();
        for _ in 0..count {
            let id = uuid::Uuid::new_v4().simple().to_string();
            let create = CreateChannel {
                owner_id: AccountId::from(uuid::Uuid::now_v7()),
                handle: format!("c{}", &id[..20]),
                title: "A channel".to_owned(),
                description: String::new(),
                metadata: Metadata::new(Actor::System),
            };
            positions.push(channels::create(&self.commands, create).await.unwrap().position);
        }
        positions
    }

    /// Puts an event into the log as another version of Weir would; where it is.
    pub(crate) async fn append_raw(
        &self,
        (aggregate_id, sequence): (String, i64),
        event_type: &str,
        version: &str,
        payload: &serde_json::Value,
        actor: &str,
    ) -> i64 {
        let mut transaction = self.pool.begin().await.unwrap();
        let position: i64 = sqlx::query_scalar("update log.head set position = position + 1 returning position")
            .fetch_one(&mut *transaction)
            .await
            .unwrap();
        sqlx::query(
            "insert into log.events (position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload,
                 metadata)
             values ($1, split_part($4, '.', 1), $2, $3, $4, $5, $6, json_build_object('actor', $7::text))",
        )
        .bind(position)
        .bind(aggregate_id)
        .bind(sequence)
        .bind(event_type)
        .bind(version)
        .bind(sqlx::types::Json(payload))
        .bind(actor)
        .execute(&mut *transaction)
        .await
        .unwrap();
        transaction.commit().await.unwrap();
        position
    }

    /// Says how far a process has come.
    pub(crate) async fn checkpoint(&self, name: &str, position: i64) {
        sqlx::query(
            "insert into log.processes (name, position) values ($1, $2)
             on conflict (name) do update set position = excluded.position",
        )
        .bind(name)
        .bind(position)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Waits until a process has come so far, or further.
    pub(crate) async fn until_checkpoint(&self, name: &str, position: i64) {
        let sql = format!("select count(*) from log.processes where name = '{name}' and position >= {position}");
        self.until_count("the checkpoint", &sql, 1).await;
    }

    pub(crate) async fn until_count(&self, what: &str, sql: &str, expected: i64) {
        until(what, async || count(&self.pool, sql).await == Some(expected)).await;
    }
}

pub(crate) async fn start(pool: &PgPool) -> Commands {
    let starting = async {
        loop {
            let keys = MasterKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
            match Commands::start(pool.clone(), keys, CommandsOptions::default()).await {
                // A Postgres under strain may take longer than it is given to let somebody in.
                Err(StartError::Log(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                started => break started.unwrap(),
            }
        }
    };
    tokio::time::timeout(PATIENCE, starting).await.expect("the log never answers")
}

async fn count(pool: &PgPool, sql: &str) -> Option<i64> {
    sqlx::query_scalar(sql).fetch_optional(pool).await.unwrap()
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let met = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, met).await.is_ok(), "{what} did not come");
}
