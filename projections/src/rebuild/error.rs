use thiserror::Error;

impl RebuildError {
    /// Whether a rebuild that exchanges, or keeps, goes on from where this one ended.
    #[must_use]
    pub fn leaves_a_build(&self) -> bool {
        matches!(self, Self::Stuck { .. } | Self::Interrupted { .. } | Self::Away { .. })
    }
}

/// Why a read model was not made anew. Whatever happened, the live tables are as they were, and go on.
#[derive(Debug, Error)]
pub enum RebuildError {
    /// The same is being done at this moment.
    #[error("{projection} is being rebuilt already; wait until that is done, or end it first")]
    InProgress {
        /// The projection.
        projection: &'static str,
    },
    /// The live tables that it would be like are not there.
    #[error("the tables of {projection} are missing; bring the database to this version with weir migrate")]
    NotMigrated {
        /// The projection.
        projection: &'static str,
    },
    /// The position asked for is not one of the log.
    #[error("there is no position {position}: the log goes from 0, before the first event, to {head}")]
    OutOfRange {
        /// What was asked for.
        position: i64,
        /// The log's last.
        head: i64,
    },
    /// An event cannot be applied.
    #[error(
        "the event {event_type} at position {position} cannot be applied to {projection}: {error}; once the cause is \
         removed, or a version of Weir that can apply it is in place, rebuild again"
    )]
    Stuck {
        /// The projection.
        projection: &'static str,
        /// The event's position.
        position: i64,
        /// The event's stored name.
        event_type: String,
        /// What went wrong.
        error: String,
    },
    /// The live tables hold events that the log does not have.
    #[error(
        "{projection} is ahead of the log, which ends at {head}, as after the log was restored from an older backup: \
         rebuild it without --dry-run"
    )]
    Ahead {
        /// The projection.
        projection: &'static str,
        /// The log's last position.
        head: i64,
    },
    /// It was told to stop.
    #[error("the rebuild of {projection} was interrupted at position {position}")]
    Interrupted {
        /// The projection.
        projection: &'static str,
        /// How far it came.
        position: i64,
    },
    /// Postgres, or the keys, were away for long.
    #[error("the rebuild of {projection} had to stop at position {position}: {error}; rebuild again once it can go on")]
    Away {
        /// The projection.
        projection: &'static str,
        /// How far it came.
        position: i64,
        /// What went wrong.
        error: String,
    },
    /// What had been built has gone.
    #[error("what was built of {projection} was removed meanwhile; rebuild again")]
    Gone {
        /// The projection.
        projection: &'static str,
    },
    /// A migration, or somebody, changed the live tables meanwhile.
    #[error("the tables of {projection} were changed while they were rebuilt; rebuild again, which begins anew")]
    Changed {
        /// The projection.
        projection: &'static str,
    },
    /// Postgres refuses to make or to exchange the tables.
    #[error("the tables of {projection} cannot be made or exchanged")]
    Tables {
        /// The projection.
        projection: &'static str,
        /// What Postgres says: a view that depends on them, or a right that is missing, for example.
        #[source]
        source: sqlx::Error,
    },
    /// A bug.
    #[error("the rebuild of {projection} ended unexpectedly")]
    Panicked {
        /// The projection.
        projection: &'static str,
    },
}
