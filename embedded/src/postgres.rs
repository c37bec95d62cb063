//! A Postgres cluster of Weir's own.
//!
//! It listens on a Unix socket in a folder that its account alone may enter, and on no port. Measured on one connection, a
//! round trip takes 0.05 to 0.07 ms there and 0.08 ms over loopback; there is no port to collide, and nobody else on the
//! machine can even connect. Who connects is known from the kernel (`peer`): the account that the cluster belongs to and
//! root. So there is no password to keep, to leak or to lose, and a connection costs no SCRAM exchange.
//!
//! Weir works as the role `weir`, which owns the database `weir` and is no superuser. For repairs, `psql -h <socket folder>
//! -U postgres` as root is the superuser.

mod cluster;
mod settings;

use std::{ffi::OsString, fmt, fs, path::PathBuf, time::Duration};

use rustix::process::Signal;
use sqlx::{Connection, PgConnection};
use tokio::{process::Command, sync::watch};

use crate::{
    EmbeddedError, Status,
    binaries::PostgresBinaries,
    folder::{Reach, ServiceFolder},
    journal::Journal,
    strays,
    supervisor::{Program, STRAY_PATIENCE, Supervised},
};
use cluster::SocketFolder;

const DATABASE: &str = "weir";
const ROLE: &str = "weir";
const SUPERUSER: &str = "postgres";
/// In the service's folder: the address, for programs that are not the Weir that runs it.
const URL_FILE: &str = "url";

/// What a Postgres needs to know.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Weir's data directory; the cluster gets the folder `postgres` in it.
    pub data_dir: PathBuf,
    /// Whether what was committed must survive a crash of the machine (fsync). Only tests do without; a kill of the server
    /// loses nothing either way.
    pub durable: bool,
    /// Settings of `postgresql.conf` beyond ours, as name and value; they win.
    pub settings: Vec<(String, String)>,
    /// Start only with at least this much space on the disk, in bytes.
    pub min_free_bytes: u64,
    /// How long it may take to stop before it is killed.
    pub stop_timeout: Duration,
    /// Where to look for `postgres` and `initdb`, in the form of `PATH`; None for `PATH` and the usual folders.
    pub search_path: Option<OsString>,
}

impl PostgresOptions {
    /// The defaults, for a data directory.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            durable: true,
            settings: Vec::new(),
            min_free_bytes: 256 << 20,
            stop_timeout: Duration::from_secs(30),
            search_path: None,
        }
    }
}

/// A running Postgres; stopped when dropped, but [`Postgres::shutdown`] waits for it.
pub struct Postgres {
    supervised: Supervised,
    socket: PathBuf,
    major: u32,
    account: String,
}

impl Postgres {
    /// Starts the cluster and returns when the database can be used: makes the cluster if there is none, ends a server that
    /// a killed Weir left on the same folder, makes role and database if they are missing.
    ///
    /// # Errors
    /// See [`EmbeddedError`]; nothing is left running then.
    pub async fn start(options: PostgresOptions) -> Result<Self, EmbeddedError> {
        let folder = ServiceFolder::open(&options.data_dir, "postgres", "data", &["postgres"], options.min_free_bytes)?;
        let binaries = cluster::prepare(&folder, &options).await?;
        let socket = SocketFolder::make(&folder)?;
        settings::write(&folder, &options)?;
        folder.write(URL_FILE, &format!("{}\n", url(socket.path(), ROLE, DATABASE)), true)?;
        let journal = Journal::new(folder.path().join("postgres.log"));
        let (account, major, socket_path) = (folder.child().label(), binaries.major, socket.path().to_owned());
        let server = PostgresServer { folder, binaries, socket, stop_timeout: options.stop_timeout };
        let supervised = Supervised::start(server, journal).await?;
        let postgres = Self { supervised, socket: socket_path, major, account };
        if let Err(error) = postgres.make_database().await {
            postgres.shutdown().await;
            return Err(error);
        }
        Ok(postgres)
    }

    /// The address of the server that a Weir runs, or ran, on `data_dir`: as [`Postgres::url`]. `None` when none ever did;
    /// whether it still runs shows when it is connected to.
    #[must_use]
    pub fn url_of(data_dir: &std::path::Path) -> Option<String> {
        let url = fs::read_to_string(data_dir.join("postgres").join(URL_FILE)).ok()?;
        Some(url.trim_end().to_owned())
    }

    /// `postgres://weir@localhost/weir?host=<socket folder>`, as sqlx and libpq understand it.
    #[must_use]
    pub fn url(&self) -> String {
        url(&self.socket, ROLE, DATABASE)
    }

    /// As [`Postgres::url`], for another database of this cluster.
    #[must_use]
    pub fn database_url(&self, database: &str) -> String {
        url(&self.socket, ROLE, database)
    }

    /// The folder of the socket, for `psql -h`.
    #[must_use]
    pub fn socket_folder(&self) -> &std::path::Path {
        &self.socket
    }

    /// The major version, for instance 15.
    #[must_use]
    pub fn major(&self) -> u32 {
        self.major
    }

    /// The account that the server runs under.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// How the server is, now and from now on.
    #[must_use]
    pub fn status(&self) -> watch::Receiver<Status> {
        self.supervised.status()
    }

    /// Stops the server (open transactions are rolled back) and waits for its end.
    pub async fn shutdown(self) {
        self.supervised.shutdown().await;
    }

    async fn make_database(&self) -> Result<(), EmbeddedError> {
        // The one connection of an ordinary start.
        match PgConnection::connect(&self.url()).await {
            Ok(connection) => {
                let _ = connection.close().await;
                return Ok(());
            }
            // 28000: no such role; 3D000: no such database.
            Err(sqlx::Error::Database(error)) if matches!(error.code().as_deref(), Some("28000" | "3D000")) => {}
            Err(source) => return Err(EmbeddedError::Database { doing: "open the database", source }),
        }
        let make = async {
            let mut connection = PgConnection::connect(&url(&self.socket, SUPERUSER, "postgres")).await?;
            let has_role: Option<i32> = sqlx::query_scalar("select 1 from pg_roles where rolname = $1")
                .bind(ROLE)
                .fetch_optional(&mut connection)
                .await?;
            if has_role.is_none() {
                sqlx::query(&format!("create role {ROLE} login createdb")).execute(&mut connection).await?;
            }
            let has_database: Option<i32> = sqlx::query_scalar("select 1 from pg_database where datname = $1")
                .bind(DATABASE)
                .fetch_optional(&mut connection)
                .await?;
            if has_database.is_none() {
                sqlx::query(&format!("create database {DATABASE} owner {ROLE}")).execute(&mut connection).await?;
            }
            connection.close().await?;
            PgConnection::connect(&self.url()).await?.close().await
        };
        make.await.map_err(|source| EmbeddedError::Database { doing: "make the role and the database", source })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Postgres")
            .field("socket", &self.socket)
            .field("major", &self.major)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

struct PostgresServer {
    folder: ServiceFolder,
    binaries: PostgresBinaries,
    socket: SocketFolder,
    stop_timeout: Duration,
}

impl Program for PostgresServer {
    const NAME: &'static str = "postgres";

    async fn prepare(&self) -> Result<(Command, Reach), EmbeddedError> {
        let uid = self.folder.child().account.uid;
        // After a crash the backends of the dead postmaster may still run, and a new one does not start beside them.
        // A whole server left by a killed Weir is shut down in order: SIGINT is "fast" to a postmaster, and to a backend
        // no more than "cancel what you do".
        let strays = strays::stop(Self::NAME, self.folder.instance(), uid, Some(Signal::INT), STRAY_PATIENCE).await?;
        if strays > 0 {
            tracing::warn!(program = Self::NAME, processes = strays, "what an earlier run left behind was stopped");
        }
        cluster::remove_misleading_pid_files(&self.folder, &self.socket);
        self.socket.make_again(&self.folder)?;
        let reach = self.folder.reach()?;
        let mut command = self.folder.command(&self.binaries.postgres);
        command.arg("-D").arg(reach.base.join("data"));
        for (name, value) in settings::places(&reach.base, &self.socket, self.folder.instance()) {
            command.arg("-c").arg(format!("{name}={value}"));
        }
        Ok((command, reach))
    }

    async fn is_ready(&self, pid: u32) -> bool {
        // Line 1 is the postmaster's pid, line 8 what it is doing (src/include/utils/pidfile.h).
        let Ok(text) = fs::read_to_string(self.folder.path().join("data/postmaster.pid")) else { return false };
        let mut lines = text.lines();
        lines.next().and_then(|line| line.trim().parse().ok()) == Some(pid)
            && lines.nth(6).is_some_and(|line| line.trim() == "ready")
    }

    async fn clean_up(&self) {
        let uid = self.folder.child().account.uid;
        if let Err(error) = strays::stop(Self::NAME, self.folder.instance(), uid, None, Duration::ZERO).await {
            tracing::error!(%error, "not everything of postgres is gone");
        }
        self.socket.remove();
    }

    fn stop_timeout(&self) -> Duration {
        self.stop_timeout
    }
}

fn url(socket: &std::path::Path, role: &str, database: &str) -> String {
    format!("postgres://{role}@localhost/{database}?host={}", percent_encode(socket))
}

fn percent_encode(path: &std::path::Path) -> String {
    use std::{fmt::Write, os::unix::ffi::OsStrExt};
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(*byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}
