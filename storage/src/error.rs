//! What can go wrong, always with the operation and the object.

use std::{fmt, io};

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Making the root folder ready.
    Open,
    /// Storing an object.
    Put,
    /// Reading an object.
    Get,
    /// Asking for an object's size and time.
    Stat,
    /// Removing an object.
    Delete,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open => "open",
            Self::Put => "put",
            Self::Get => "get",
            Self::Stat => "stat",
            Self::Delete => "delete",
        })
    }
}

/// An operation on an object failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// There is no room (or no quota) left. What was stored before is untouched.
    #[error("storage is full: cannot {operation} {object}")]
    DiskFull {
        /// What was being done.
        operation: Operation,
        /// The key, or the root folder for [`Operation::Open`].
        object: String,
        /// What the system said.
        source: io::Error,
    },
    /// Anything else that the system refused.
    #[error("storage cannot {operation} {object}")]
    Io {
        /// What was being done.
        operation: Operation,
        /// The key, or the root folder for [`Operation::Open`].
        object: String,
        /// What the system said.
        source: io::Error,
    },
}

impl StorageError {
    pub(crate) fn new(operation: Operation, object: impl Into<String>, source: io::Error) -> Self {
        let object = object.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { operation, object, source },
            _ => Self::Io { operation, object, source },
        }
    }

    /// Whether it failed for want of room, so that the operator has to act.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }
}
