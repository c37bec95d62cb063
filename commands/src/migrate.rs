use std::{io::ErrorKind, time::Duration};

use sqlx::{ConnectOptions, Connection, Executor, postgres::PgConnectOptions};
use thiserror::Error;

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the schema `log` could not be brought up to date.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The database does not answer, or is not the one that was meant.
    #[error("the database could not be reached to migrate the schema log")]
    Connect(#[from] sqlx::Error),
    /// A migration failed, or the schema is not one that this version knows.
    #[error("the schema log could not be migrated")]
    Migrate(#[from] sqlx::migrate::MigrateError),
}

/// Brings the schema `log` of the database up to date. Several processes may do it at once: one works, the others wait.
///
/// # Errors
/// [`MigrateError`] when the database does not answer or a migration fails; what was applied before stays applied.
pub async fn migrate(database_url: &str) -> Result<(), MigrateError> {
    // A connection of its own: the history table goes to the first schema of the search path, and the histories of
    // `log` and `read` must not share one.
    let options: PgConnectOptions = database_url.parse()?;
    let options = options.options([("search_path", "log")]);
    // A server that takes the connection and says nothing would keep us for ever.
    let connecting = tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await;
    let mut connection = connecting.unwrap_or_else(|_| Err(std::io::Error::from(ErrorKind::TimedOut).into()))?;
    // Two sessions that create the same schema at once fail on a unique index in spite of "if not exists". Both statements
    // are one transaction, so that the lock is held until the schema can be seen.
    connection.execute("select pg_advisory_xact_lock(7165382911); create schema if not exists log").await?;
    sqlx::migrate!("./migrations").run(&mut connection).await?;
    connection.close().await?;
    Ok(())
}
