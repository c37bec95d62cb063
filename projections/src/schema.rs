//! Where the tables are. Workers name them without a schema and set `search_path`, so that a read model can be built in
//! another schema by the same code; queries name them with it.

use std::{io::ErrorKind, time::Duration};

use sqlx::{Connection, Executor, postgres::PgConnectOptions};

use crate::MigrateError;

/// The schema that the API reads from.
pub(crate) const LIVE: &str = "read";

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// Brings the schema `read` up to date; nothing happens when it is. The old code may go on serving meanwhile.
///
/// # Errors
/// [`MigrateError`] when the address is wrong, Postgres is away or a migration fails.
pub async fn migrate(database_url: &str) -> Result<(), MigrateError> {
    let options: PgConnectOptions = database_url.parse().map_err(MigrateError::Address)?;
    // A server that takes the connection and says nothing would keep us for ever.
    let connecting = tokio::time::timeout(CONNECT, sqlx::PgConnection::connect_with(&options)).await;
    let connected = connecting.unwrap_or_else(|_| Err(std::io::Error::from(ErrorKind::TimedOut).into()));
    let mut connection = connected.map_err(MigrateError::Prepare)?;
    // Both histories have a table of the same name: each is found by the search path alone.
    // Two sessions that create the same schema at once fail on a unique index in spite of "if not exists". The statements are
    // one transaction, so that the lock is held until the schema can be seen.
    let prepare = format!(
        "set client_min_messages = warning; select pg_advisory_xact_lock(7165382912); \
         create schema if not exists {LIVE}; set search_path = {LIVE}"
    );
    connection.execute(prepare.as_str()).await.map_err(MigrateError::Prepare)?;
    sqlx::migrate!().run(&mut connection).await.map_err(MigrateError::Migrate)?;
    connection.close().await.map_err(MigrateError::Prepare)
}
