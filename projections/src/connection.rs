use std::{sync::Arc, time::Duration};

use sqlx::{ConnectOptions, Connection, Executor, PgConnection, PgPool, postgres::PgConnectOptions};
use tokio::time::{Instant, sleep, timeout};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// How long we may keep quiet in a transaction until Postgres ends it: a process that was stopped must not keep the locks.
const IDLE: Duration = Duration::from_secs(10);
/// How often a lock that somebody holds is tried.
const HELD_LOOK: Duration = Duration::from_millis(50);
/// The SQLSTATE of a connection whose lock somebody else holds.
const HELD: &str = "WR010";

/// A connection of one's own, made when it is needed and again after it was lost. Workers do not draw from the pool, so that
/// requests which wait for rows cannot keep from them the connection that would write these.
pub(crate) struct Lasting {
    options: Arc<PgConnectOptions>,
    prepare: String,
    /// How long it may take until the session of a connection that was given up has ended, and with it its lock.
    patience: Duration,
    connection: Option<PgConnection>,
}

impl Lasting {
    /// To the server and as the user of `pool`, named `name` in Postgres's list of sessions, with tables found in `schema`.
    pub(crate) fn new(pool: &PgPool, name: &str, schema: &str) -> Self {
        // Rows and checkpoint are lost together or not at all, and the log has what is needed to write them again: no
        // commit has to wait for the disk.
        let prepare = format!(
            "set application_name = 'weir {name}'; set synchronous_commit = off; set search_path = {schema}; \
             set client_min_messages = warning; set idle_in_transaction_session_timeout = '{}'",
            IDLE.as_millis()
        );
        Self { options: pool.connect_options(), prepare, patience: Duration::ZERO, connection: None }
    }

    /// Also holds the lock called `name` for as long as the connection lives: while another session has it, there is no
    /// connection ([`is_held`]), after a few seconds: the session of a process that was killed takes a moment to end.
    pub(crate) fn locked(mut self, name: &str) -> Self {
        self.patience = CONNECT;
        // What is made under a lock may well take long.
        self.options = Arc::new((*self.options).clone().disable_statement_logging());
        // Tables that are filled from nothing grow under plans that were made for small ones.
        self.prepare.push_str("; set plan_cache_mode = force_custom_plan; set jit = off");
        // A statement that goes on for nobody would keep the lock: Postgres looks now and then whether we live, where it
        // can (14).
        self.prepare.push_str(&format!(
            "; select set_config('client_connection_check_interval', '1s', false)
                 where current_setting('server_version_num')::int >= 140000; \
             do $$ begin \
                 if not pg_try_advisory_lock(hashtextextended('weir {name}', 0)) then \
                     raise 'the lock {name} is held by another session' using errcode = '{HELD}'; \
                 end if; \
             end $$"
        ));
        self
    }

    /// The connection, as it was left or new.
    pub(crate) async fn get(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        match &mut self.connection {
            Some(connection) => Ok(connection),
            none => {
                let began = Instant::now();
                let connection = loop {
                    let connect = async {
                        let mut connection = PgConnection::connect_with(&self.options).await?;
                        connection.execute(self.prepare.as_str()).await?;
                        Ok::<_, sqlx::Error>(connection)
                    };
                    match timeout(CONNECT, connect).await.map_err(|_| sqlx::Error::PoolTimedOut)? {
                        Err(error) if is_held(&error) && began.elapsed() < self.patience => sleep(HELD_LOOK).await,
                        connected => break connected?,
                    }
                };
                Ok(none.insert(connection))
            }
        }
    }

    /// Gives the connection up, as nobody knows in what state it is.
    pub(crate) fn discard(&mut self) {
        self.connection = None;
    }
}

/// Whether there is no connection because somebody else holds its lock.
pub(crate) fn is_held(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == HELD)
}
