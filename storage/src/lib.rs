//! Objects on disk: thumbnails, recordings, avatars and the other files that Weir keeps or produces.
//!
//! Everything goes through one [`Storage`], so that another back end behind the same type serves every capability.
//! An object is found by its [`Key`], a relative path of plain names. Putting is atomic: a reader sees the old object
//! or the new one, never half of it, and a crash leaves one of the two.
//!
//! To add a back end: a module beside `disk` with the operations of `Disk`, a variant of `Backend` and a
//! constructor here; every error names the operation and the key.

mod disk;
mod error;
mod key;
mod pieces;

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use bytes::Bytes;

pub use error::{Operation, StorageError};
pub use key::{InvalidKey, Key};
pub use pieces::{ObjectReader, ObjectWriter};

/// Where objects are kept. Cheap to clone: clones share the back end.
#[derive(Clone, Debug)]
pub struct Storage {
    backend: Arc<Backend>,
}

#[derive(Debug)]
enum Backend {
    Disk(disk::Disk),
}

/// An object with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The whole content.
    pub bytes: Bytes,
    /// When it was put.
    pub modified: SystemTime,
}

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Length of the content in bytes.
    pub size_bytes: u64,
    /// When it was put.
    pub modified: SystemTime,
}

impl Storage {
    /// Objects as files below `root`, which is made when it does not exist. Several processes may share it.
    ///
    /// What earlier processes left half written is swept away.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or read.
    pub async fn open_disk(root: impl Into<PathBuf>) -> Result<Self, StorageError> {
        let disk = disk::Disk::open(root.into()).await?;
        Ok(Self { backend: Arc::new(Backend::Disk(disk)) })
    }

    /// Stores an object, in place of the one that was there.
    ///
    /// When this returns, the object survives a crash of the machine. Dropping the future may or may not store it;
    /// either way the old object or the new one is there, whole.
    ///
    /// # Errors
    ///
    /// [`StorageError::DiskFull`] when there is no room, and the old object stays; otherwise [`StorageError::Io`].
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        match &*self.backend {
            Backend::Disk(disk) => disk.put(key, bytes).await,
        }
    }

    /// An object with its content; `None` when there is none under this key.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`] when it is there and cannot be read.
    pub async fn get(&self, key: &Key) -> Result<Option<Object>, StorageError> {
        match &*self.backend {
            Backend::Disk(disk) => disk.get(key).await,
        }
    }

    /// An object to be written piece by piece.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when there is no room to begin, or no right to.
    pub async fn create(&self, key: &Key) -> Result<ObjectWriter, StorageError> {
        match &*self.backend {
            Backend::Disk(disk) => Ok(ObjectWriter { key: key.clone(), back_end: disk.create(key).await? }),
        }
    }

    /// An object's content from its byte `start` on, at most `length` bytes, to be read piece by piece; `None` when there
    /// is no object under this key, and nothing to read from beyond its end.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`] when it is there and cannot be opened.
    pub async fn read(&self, key: &Key, start: u64, length: u64) -> Result<Option<ObjectReader>, StorageError> {
        match &*self.backend {
            Backend::Disk(disk) => Ok(disk.read(key, start, length).await?.map(|back_end| ObjectReader { back_end })),
        }
    }

    /// Size and time of an object; `None` when there is none under this key.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`] when the back end does not answer.
    pub async fn stat(&self, key: &Key) -> Result<Option<ObjectInfo>, StorageError> {
        match &*self.backend {
            Backend::Disk(disk) => disk.stat(key).await,
        }
    }

    /// Removes an object; says whether there was one.
    ///
    /// # Errors
    ///
    /// [`StorageError::Io`] when it is there and cannot be removed.
    pub async fn delete(&self, key: &Key) -> Result<bool, StorageError> {
        match &*self.backend {
            Backend::Disk(disk) => disk.delete(key).await,
        }
    }
}
