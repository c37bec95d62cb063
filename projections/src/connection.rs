use std::{sync::Arc, time::Duration};

use sqlx::{Connection, Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::time::timeout;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// A connection of one's own, made when it is needed and again after it was lost. Workers do not draw from the pool, so that
/// requests which wait for rows cannot keep from them the connection that would write these.
pub(crate) struct Lasting {
    options: Arc<PgConnectOptions>,
    prepare: String,
    connection: Option<PgConnection>,
}

impl Lasting {
    /// To the server and as the user of `pool`, named `name` in Postgres's list of sessions, with tables found in `schema`.
    pub(crate) fn new(pool: &PgPool, name: &str, schema: &str) -> Self {
        // Rows and checkpoint are lost together or not at all, and the log has what is needed to write them again: no
        // commit has to wait for the disk.
        let prepare =
            format!("set application_name = 'weir {name}'; set synchronous_commit = off; set search_path = {schema}");
        Self { options: pool.connect_options(), prepare, connection: None }
    }

    /// The connection, as it was left or new.
    pub(crate) async fn get(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            none => {
                let connect = async {
                    let mut connection = PgConnection::connect_with(&self.options).await?;
                    connection.execute(self.prepare.as_str()).await?;
                    Ok::<_, sqlx::Error>(connection)
                };
                let connection = timeout(CONNECT, connect).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
                Ok(none.insert(connection))
            }
        }
    }

    /// Gives the connection up, as nobody knows in what state it is.
    pub(crate) fn discard(&mut self) {
        self.connection = None;
    }
}
