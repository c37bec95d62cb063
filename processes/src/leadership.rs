use std::time::Duration;

use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::timeout;

/// How long Postgres may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// One among many nodes does the work. It holds an advisory lock of Postgres on a connection of its own, so that the lock
/// is free as soon as the node or its connection is gone.
///
/// This spares work, and is no fence: a leader that lost its connection in the midst of its work finishes it beside the
/// next one, so the work must bear that.
pub(crate) struct Leadership {
    name: &'static str,
    pool: PgPool,
    connection: Option<PgConnection>,
}

impl Leadership {
    /// Of the work called `name`, among all who share the database.
    pub(crate) fn new(name: &'static str, pool: PgPool) -> Self {
        Self { name, pool, connection: None }
    }

    /// Whether this node leads, from now on if nobody did.
    ///
    /// # Errors
    /// When Postgres does not answer; then nobody knows.
    pub(crate) async fn is_ours(&mut self) -> Result<bool, sqlx::Error> {
        // Given back only once it has answered.
        if let Some(mut connection) = self.connection.take()
            && matches!(timeout(PATIENCE, connection.ping()).await, Ok(Ok(())))
        {
            self.connection = Some(connection);
            return Ok(true);
        }
        let attempt = async {
            let mut connection = PgConnection::connect_with(&self.pool.connect_options()).await?;
            let is_ours: bool = sqlx::query_scalar("select pg_try_advisory_lock(hashtextextended('weir ' || $1, 0))")
                .bind(self.name)
                .fetch_one(&mut connection)
                .await?;
            Ok::<_, sqlx::Error>(is_ours.then_some(connection))
        };
        self.connection = timeout(PATIENCE, attempt).await.map_err(|_| sqlx::Error::PoolTimedOut)??;
        Ok(self.connection.is_some())
    }
}
