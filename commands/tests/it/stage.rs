//! A database with the log in it, and short ways to what most tests need.

use std::time::Duration;

use commands::{Actor, Commands, CommandsOptions, MasterKeys, Metadata, StartError, accounts, channels};
use domain::{
    channels::{Channel, ChannelCommand, Description, Handle, Title},
    ids::{AccountId, ChannelId, SecretId},
};
use sqlx::{Connection, PgConnection, PgPool, postgres::PgPoolOptions};
use uuid::Uuid;
use zeroize::Zeroizing;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Stage {
    pub(crate) url: String,
    pub(crate) pool: PgPool,
}

impl Stage {
    pub(crate) async fn new() -> Self {
        let url = embedded::testing::database().await.url;
        commands::migrate(&url).await.unwrap();
        let pool = PgPoolOptions::new().max_connections(10).connect(&url).await.unwrap();
        Self { url, pool }
    }

    /// A write side of its own, as if in a process of its own.
    pub(crate) async fn commands(&self) -> Commands {
        self.commands_with(CommandsOptions::default()).await
    }

    pub(crate) async fn commands_with(&self, options: CommandsOptions) -> Commands {
        let pool = PgPoolOptions::new().max_connections(10).connect(&self.url).await.unwrap();
        let starting = async {
            loop {
                match Commands::start(pool.clone(), keys(), options.clone()).await {
                    // A Postgres under strain may take longer than it is given to let somebody in.
                    Err(StartError::Log(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                    started => break started.unwrap(),
                }
            }
        };
        tokio::time::timeout(PATIENCE, starting).await.expect("the log never answers")
    }

    pub(crate) async fn positions(&self) -> Vec<i64> {
        sqlx::query_scalar("select position from log.events order by position").fetch_all(&self.pool).await.unwrap()
    }

    pub(crate) async fn event_types(&self) -> Vec<String> {
        sqlx::query_scalar("select event_type from log.events order by position").fetch_all(&self.pool).await.unwrap()
    }

    /// Every position from 1 to the head, once.
    pub(crate) async fn assert_contiguous(&self) {
        let positions = self.positions().await;
        assert!(positions.iter().copied().eq(1..=positions.len() as i64), "{positions:?}");
        assert_eq!(commands::events::head(&self.pool).await.unwrap(), positions.len() as i64);
    }
}

pub(crate) fn keys() -> MasterKeys {
    MasterKeys::new(Zeroizing::new([7; 32]), Zeroizing::new([8; 32]))
}

pub(crate) fn metadata() -> Metadata {
    Metadata::new(Actor::System)
}

pub(crate) fn account_id() -> AccountId {
    AccountId::from(Uuid::now_v7())
}

pub(crate) fn title(text: &str) -> Title {
    Title::parse(text).unwrap()
}

pub(crate) fn create_command(channel_id: ChannelId, owner_id: AccountId, handle: &str) -> ChannelCommand {
    ChannelCommand::Create {
        channel_id,
        owner_id,
        handle: Handle::parse(handle).unwrap(),
        title: title("A title"),
        description: Description::default(),
        stream_key: SecretId::from(Uuid::now_v7()),
    }
}

pub(crate) fn retitle(by: AccountId, text: &str) -> ChannelCommand {
    let title = Some(title(text));
    ChannelCommand::ChangeDetails { by, expected_version: None, title, description: None, visibility: None }
}

/// A channel without a stream key in the vault.
pub(crate) async fn bare_channel(commands: &Commands, owner_id: AccountId, handle: &str) -> ChannelId {
    let channel_id = ChannelId::from(Uuid::now_v7());
    commands
        .execute::<Channel>(&channel_id.to_string(), create_command(channel_id, owner_id, handle), metadata())
        .await
        .unwrap();
    channel_id
}

pub(crate) fn register(username: &str) -> accounts::Register {
    accounts::Register {
        username: username.to_owned(),
        email: format!("{username}@example.org"),
        password: Zeroizing::new("correct horse".to_owned()),
        setup_token: None,
        metadata: metadata(),
    }
}

pub(crate) fn create(owner_id: AccountId, handle: &str) -> channels::CreateChannel {
    channels::CreateChannel {
        owner_id,
        handle: handle.to_owned(),
        title: "A title".to_owned(),
        description: String::new(),
        metadata: metadata(),
    }
}

/// Keeps every append waiting until it is dropped or committed.
pub(crate) async fn hold_the_head(stage: &Stage) -> PgConnection {
    let mut connection = PgConnection::connect(&stage.url).await.unwrap();
    sqlx::raw_sql("begin; select from log.head for update").execute(&mut connection).await.unwrap();
    connection
}

/// Waits until an append waits for the head.
pub(crate) async fn wait_until_waiting(stage: &Stage) {
    until_waiting(stage, 1).await;
}

/// Waits until appends of so many processes wait for the head.
pub(crate) async fn until_waiting(stage: &Stage, processes: i64) {
    let waiting = format!(
        "select count(*) >= {processes} from pg_stat_activity where datname = current_database() \
         and application_name = 'weir append' and wait_event_type = 'Lock'"
    );
    until(stage, "appends wait for the head", &waiting).await;
}

/// Waits until `sql` says so.
pub(crate) async fn until(stage: &Stage, what: &str, sql: &str) {
    let look = async {
        while !sqlx::query_scalar::<_, bool>(sql).fetch_one(&stage.pool).await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, look).await.is_ok(), "never: {what}");
}
