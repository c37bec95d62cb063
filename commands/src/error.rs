use thiserror::Error;

/// An error of whatever lies below, kept as the source.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a command was not carried out, or is not known to have been.
#[derive(Debug, Error)]
pub enum CommandError<R> {
    /// A rule or the state forbids it.
    #[error(transparent)]
    Refused(R),
    /// Others kept changing the same thing while this command was decided, several times in a row.
    #[error("the command met other changes to the same thing too often")]
    Conflict,
    /// The client's key of this command was used by another one that was carried out in between, very likely the same
    /// request sent twice; nothing was done, ask for its answer.
    #[error("a command with the same key was carried out in between")]
    Repeated,
    /// More commands wait than the process takes; nothing was done, try again.
    #[error("too many commands are waiting")]
    Overloaded,
    /// The log does not answer; nothing was done, try again.
    #[error("the log cannot be reached")]
    Unavailable(#[source] BoxError),
    /// The connection was lost while the log was committing, or a step failed that comes after something was stored: it may have been
    /// done, or a part of it. Look before trying again.
    #[error("something may have been stored; the outcome is unknown")]
    OutcomeUnknown(#[source] BoxError),
    /// A bug or a damaged log: something stored cannot be read, or something decided cannot be stored.
    #[error("the log holds something that cannot be read, or refused something that cannot be stored")]
    Unexpected(#[source] BoxError),
}

impl<R> CommandError<R> {
    /// The same error with another refusal.
    #[must_use]
    pub fn map_refused<S>(self, map: impl FnOnce(R) -> S) -> CommandError<S> {
        match self {
            Self::Refused(refusal) => CommandError::Refused(map(refusal)),
            Self::Conflict => CommandError::Conflict,
            Self::Repeated => CommandError::Repeated,
            Self::Overloaded => CommandError::Overloaded,
            Self::Unavailable(source) => CommandError::Unavailable(source),
            Self::OutcomeUnknown(source) => CommandError::OutcomeUnknown(source),
            Self::Unexpected(source) => CommandError::Unexpected(source),
        }
    }

    /// The same of a step that comes after something was stored: a refusal says what became of that, a bug stays one, and whatever
    /// else went wrong no longer says that nothing was done.
    #[must_use]
    pub fn after_storing(self) -> Self
    where
        R: std::error::Error + Send + Sync + 'static,
    {
        match self {
            Self::Refused(_) | Self::OutcomeUnknown(_) | Self::Unexpected(_) => self,
            error => Self::OutcomeUnknown(error.into()),
        }
    }
}

impl<R> From<LoadError> for CommandError<R> {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Unavailable(source) => Self::Unavailable(source.into()),
            LoadError::Unreadable { .. } | LoadError::Gap { .. } | LoadError::PositionBeyondHead { .. } => {
                Self::Unexpected(error.into())
            }
        }
    }
}

impl<R> From<sqlx::Error> for CommandError<R> {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.into())
    }
}

/// Why an aggregate could not be loaded.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The log does not answer; try again.
    #[error("the log cannot be reached")]
    Unavailable(#[from] sqlx::Error),
    /// A stored event is not one that this version knows.
    #[error("event {sequence} of {aggregate_type} {aggregate_id} cannot be read")]
    Unreadable {
        /// The kind of aggregate.
        aggregate_type: &'static str,
        /// Which one.
        aggregate_id: String,
        /// The place of the event among its aggregate's.
        sequence: i64,
        /// What is wrong with it.
        #[source]
        source: BoxError,
    },
    /// Events of the aggregate are missing.
    #[error("{aggregate_type} {aggregate_id} has an event {found} where {expected} was expected")]
    Gap {
        /// The kind of aggregate.
        aggregate_type: &'static str,
        /// Which one.
        aggregate_id: String,
        /// The sequence that should have come.
        expected: i64,
        /// The sequence that came.
        found: i64,
    },
    /// The log is not that long yet.
    #[error("position {position} is beyond the head of the log, which is {head}")]
    PositionBeyondHead {
        /// What was asked for.
        position: i64,
        /// The last position there is.
        head: i64,
    },
}
