use std::sync::Arc;

use domain::{Aggregate, sealed::Keyring};
use sqlx::PgPool;
use thiserror::Error;
use tokio::sync::watch;

use crate::{CommandError, LoadError, MasterKeys, Metadata, keyring::AccountKeys};

/// How much a process takes on. The default does for a node of any size.
#[derive(Debug, Clone)]
pub struct CommandsOptions {
    /// How many commands may be under way at once; more are refused as [`CommandError::Overloaded`].
    pub queue_len: usize,
    /// How many aggregates are kept in memory.
    pub cached_aggregates: usize,
    /// How many commands go into one transaction at most.
    pub batch_len: usize,
}

impl Default for CommandsOptions {
    fn default() -> Self {
        Self { queue_len: 4_096, cached_aggregates: 16_384, batch_len: 2_048 }
    }
}

/// Why the write side could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The log does not answer, or was not migrated.
    #[error("the log could not be read")]
    Log(#[source] sqlx::Error),
}

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Where its last event is in the log; where nothing had to happen, a position at which the log already shows it.
    pub position: i64,
    /// How many events its aggregate now has.
    pub version: i64,
}

/// The write side. Cheap to clone.
#[derive(Clone)]
pub struct Commands {
    inner: Arc<Inner>,
}

struct Inner {
    pool: PgPool,
    keyring: Arc<AccountKeys>,
    committed: watch::Sender<i64>,
}

impl Commands {
    /// Starts the write side of this process on a database that was migrated.
    ///
    /// # Errors
    /// [`StartError`] when the log does not answer.
    pub async fn start(pool: PgPool, keys: MasterKeys, options: CommandsOptions) -> Result<Self, StartError> {
        let _ = (pool, keys, options);
        todo!()
    }

    /// Has the aggregate `id` decide `command`, and stores what it decides. When others changed the aggregate in
    /// between, it decides again, several times if need be.
    ///
    /// Not cancel safe: when the future is dropped, the command may or may not be carried out.
    ///
    /// # Errors
    /// [`CommandError`]; after [`CommandError::OutcomeUnknown`] alone may anything have been stored.
    pub async fn execute<A: Aggregate>(
        &self,
        id: &str,
        command: A::Command,
        metadata: Metadata,
    ) -> Result<Committed, CommandError<A::Refusal>> {
        let _ = (id, command, metadata);
        todo!()
    }

    /// The aggregate `id` as the log has it now, and how many events that is; `None` when it has none.
    ///
    /// # Errors
    /// [`LoadError`] when the log does not answer, or holds what cannot be read.
    pub async fn load<A: Aggregate>(&self, id: &str) -> Result<Option<(A, i64)>, LoadError> {
        let _ = id;
        todo!()
    }

    /// Opens what is sealed in events; for projections and processes.
    #[must_use]
    pub fn keyring(&self) -> Arc<dyn Keyring> {
        Arc::clone(&self.inner.keyring) as Arc<dyn Keyring>
    }

    /// The keys of accounts: sealing, and destroying.
    #[must_use]
    pub fn account_keys(&self) -> &Arc<AccountKeys> {
        &self.inner.keyring
    }

    /// The pool that it was started with.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    /// The last position that this process committed; changes as soon as it commits more. A hint: other processes
    /// append too.
    #[must_use]
    pub fn committed(&self) -> watch::Receiver<i64> {
        self.inner.committed.subscribe()
    }

    /// Lets what is under way finish and refuses what comes after as [`CommandError::Unavailable`].
    pub async fn shutdown(&self) {
        todo!()
    }
}
