use thiserror::Error;

/// The read models could not be asked.
#[derive(Debug, Error)]
#[error("the read models could not be queried")]
pub struct QueryError(#[from] sqlx::Error);

impl QueryError {
    /// Whether Postgres is away or out of connections, so that the same question may be answered later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        is_passing(&self.0)
    }
}

/// The schema of the read models could not be brought up to date.
#[derive(Debug, Error)]
pub enum MigrateError {
    /// The address is not one of a Postgres.
    #[error("the database address could not be read")]
    Address(#[source] sqlx::Error),
    /// Postgres did not let us in, or the schema could not be made.
    #[error("the schema of the read models could not be prepared")]
    Prepare(#[source] sqlx::Error),
    /// A migration failed, or the database was migrated by a newer Weir.
    #[error("the read models could not be migrated")]
    Migrate(#[source] sqlx::migrate::MigrateError),
}

/// Whether the same statement may succeed later: the connection, the server or its resources are what failed, not the
/// data. Classes of SQLSTATE: PostgreSQL's documentation, appendix A.
pub(crate) fn is_passing(error: &sqlx::Error) -> bool {
    use sqlx::Error::{BeginFailed, Database, Io, PoolClosed, PoolTimedOut, Protocol, Tls, WorkerCrashed};
    match error {
        Database(error) => error.code().is_some_and(|code| {
            // Connection, rollback (serialisation, deadlock), resources (disk full), operator, system; a lock not
            // had in time; a primary that became a standby.
            ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class))
                || matches!(&*code, "55P03" | "25006" | "25P03")
        }),
        Io(_) | Tls(_) | Protocol(_) | PoolTimedOut | PoolClosed | WorkerCrashed | BeginFailed => true,
        _ => false,
    }
}
