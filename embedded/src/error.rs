//! What can keep a server from running.

use std::{io, path::PathBuf};

/// Why a server could not be started, in words for the operator.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EmbeddedError {
    /// The server's program is not on this machine.
    #[error("{program} is not installed (looked in {searched}). Install it: {install}")]
    Missing {
        /// The program's name.
        program: &'static str,
        /// The folders that were searched.
        searched: String,
        /// The command that installs it on Debian.
        install: &'static str,
    },
    /// The cluster was made by another major version of Postgres than the machine has.
    #[error(
        "{folder} holds data of PostgreSQL {data}, but this machine has {found}. \
         Install that version (apt-get install postgresql-{data}), or bring the data over with pg_upgrade \
         or with a dump by the old version and a restore into an empty data directory"
    )]
    OtherMajor {
        /// The cluster.
        folder: PathBuf,
        /// The major version that wrote it.
        data: u32,
        /// The versions found, as text.
        found: String,
    },
    /// Another process holds the folder.
    #[error("{folder} is in use by another weir ({holder}). Stop that one, or choose another data directory")]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// The holder: `process 4711`, or that it is not known.
        holder: String,
    },
    /// Too little space to start safely.
    #[error("the disk is full: {folder} has {} MiB free, {} MiB are needed to start", free_bytes >> 20, needed_bytes.div_ceil(1 << 20))]
    DiskFull {
        /// The folder whose file system was looked at.
        folder: PathBuf,
        /// What an ordinary user may still write, in bytes.
        free_bytes: u64,
        /// What [`PostgresOptions`](crate::PostgresOptions) or [`NatsOptions`](crate::NatsOptions) asks for, in bytes.
        needed_bytes: u64,
    },
    /// The data belongs to another user, and we are not root.
    #[error(
        "{folder} belongs to {owner}. Run weir as that user or as root, or give the folder to the user that runs weir (chown -R)"
    )]
    ForeignOwner {
        /// The folder.
        folder: PathBuf,
        /// Its owner's name or number.
        owner: String,
    },
    /// The place of the cluster is taken by something else.
    #[error("{folder} is neither empty nor a PostgreSQL cluster (no PG_VERSION). Move it away")]
    NotACluster {
        /// The folder.
        folder: PathBuf,
    },
    /// A program ended instead of getting ready.
    #[error("{program} did not start ({reason}). The end of its log:\n{log}")]
    NotStarted {
        /// The program's name.
        program: &'static str,
        /// Its exit status.
        reason: String,
        /// The last lines that it wrote.
        log: String,
    },
    /// A program runs, but was not ready in time.
    #[error("{program} was not ready after {seconds} s. The end of its log:\n{log}")]
    NotReady {
        /// The program's name.
        program: &'static str,
        /// How long was waited.
        seconds: u64,
        /// The last lines that it wrote.
        log: String,
    },
    /// Servers of an earlier run could not be stopped.
    #[error("{program} of an earlier run still runs and does not end (processes {pids})")]
    StrayLives {
        /// The program's name.
        program: &'static str,
        /// Their pids.
        pids: String,
    },
    /// A file or folder could not be read, written, made or started.
    #[error("could not {doing} {path}: {source}")]
    Io {
        /// The verb.
        doing: &'static str,
        /// Its object.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Postgres runs, but the database could not be set up.
    #[error("could not {doing} in the embedded PostgreSQL: {source}")]
    Database {
        /// The verb and its object.
        doing: &'static str,
        /// What Postgres said.
        source: sqlx::Error,
    },
}

/// Adds what was being done, and to which file, to an [`io::Error`].
pub(crate) trait IoContext<T> {
    fn context(self, doing: &'static str, path: impl Into<PathBuf>) -> Result<T, EmbeddedError>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn context(self, doing: &'static str, path: impl Into<PathBuf>) -> Result<T, EmbeddedError> {
        self.map_err(|source| EmbeddedError::Io { doing, path: path.into(), source })
    }
}
