//! What can go wrong, always with the operation and the object.

use std::{error::Error, fmt, io};

/// What the system or the server said.
pub(crate) type Source = Box<dyn Error + Send + Sync>;

/// What was being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Making the root folder or the bucket ready.
    Open,
    /// Storing an object.
    Put,
    /// Reading an object.
    Get,
    /// Asking for an object's size and time.
    Stat,
    /// Removing an object.
    Delete,
    /// Asking which objects there are below a key.
    List,
    /// Making an address by which an object can be fetched.
    Presign,
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open => "open",
            Self::Put => "put",
            Self::Get => "get",
            Self::Stat => "stat",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Presign => "make an address for",
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
        source: Source,
    },
    /// The server does not answer, is busy, or broke off; what it did is not known. It was tried again already, and may
    /// well succeed later.
    #[error("storage cannot be reached: cannot {operation} {object}")]
    Unavailable {
        /// What was being done.
        operation: Operation,
        /// The key, or the bucket for [`Operation::Open`].
        object: String,
        /// What the system said.
        source: Source,
    },
    /// The access key, or the user of this process, has not the right to.
    #[error("storage refuses to {operation} {object}")]
    Denied {
        /// What was being done.
        operation: Operation,
        /// The key, the bucket or the root folder.
        object: String,
        /// What the system said.
        source: Source,
    },
    /// The bucket is not there: an object that is not there is no error.
    #[error("storage has no such bucket: cannot {operation} {object}")]
    NoBucket {
        /// What was being done.
        operation: Operation,
        /// The key, or the bucket for [`Operation::Open`].
        object: String,
        /// What the system said.
        source: Source,
    },
    /// Anything else that the system refused.
    #[error("storage cannot {operation} {object}")]
    Io {
        /// What was being done.
        operation: Operation,
        /// The key, or the root folder for [`Operation::Open`].
        object: String,
        /// What the system said.
        source: Source,
    },
}

impl StorageError {
    pub(crate) fn new(operation: Operation, object: impl Into<String>, source: io::Error) -> Self {
        let object = object.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { operation, object, source: source.into() }
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied { operation, object, source: source.into() }
            }
            _ => Self::Io { operation, object, source: source.into() },
        }
    }

    /// Whether it failed for want of room, so that the operator has to act.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::DiskFull { .. })
    }

    /// Whether the same may succeed a little later without anybody doing something.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable { .. })
    }
}

/// For those who write through [`io::Write`] or read through a reader: the kind tells a full storage from an absent one.
impl From<StorageError> for io::Error {
    fn from(error: StorageError) -> Self {
        let kind = match &error {
            StorageError::DiskFull { .. } => io::ErrorKind::StorageFull,
            StorageError::Unavailable { .. } => io::ErrorKind::HostUnreachable,
            StorageError::Denied { .. } => io::ErrorKind::PermissionDenied,
            StorageError::NoBucket { .. } => io::ErrorKind::NotFound,
            StorageError::Io { .. } => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
