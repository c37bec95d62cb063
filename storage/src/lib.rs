//! Objects on disk or in S3: thumbnails, recordings, avatars and the other files that Weir keeps or produces.
//!
//! Everything goes through one [`Storage`], so that another back end behind the same type serves every capability.
//! An object is found by its [`Key`], a relative path of plain names. Putting is atomic: a reader sees the old object
//! or the new one, never half of it, and a crash leaves one of the two. A key is never a folder of another key at the
//! same time.
//!
//! | opened by | where objects are |
//! |---|---|
//! | [`Storage::open_disk`] | in files |
//! | [`Storage::open_s3`] | in a bucket |
//! | [`Storage::open_spooled`] | in files at first, and in a bucket as soon as it takes them |
//!
//! To add a back end: a module beside `disk` with the operations of `Disk`, a variant of `Backend` and a
//! constructor here; every error names the operation and the key, and `tests/suite` must pass over it.

mod disk;
mod error;
mod key;
mod pieces;
mod s3;
mod spool;
mod watch;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use tokio::{io::AsyncReadExt as _, runtime::Handle};

pub use error::{Operation, StorageError};
pub use key::{InvalidKey, Key};
pub use pieces::{ObjectReader, ObjectWriter, StreamWriter};
pub use s3::S3Options;
pub use spool::Mover;
pub use watch::{DiskLevel, DiskSpace, DiskState, DiskThresholds, DiskWatch, DiskWatcher};

use pieces::{Sink, Source};

/// Most objects on one page of a list.
pub const MAX_PAGE: usize = 1_000;

/// Where objects are kept. Cheap to clone: clones share the back end.
#[derive(Clone, Debug)]
pub struct Storage {
    backend: Backend,
}

#[derive(Clone, Debug)]
enum Backend {
    Disk(Arc<disk::Disk>),
    S3(Arc<s3::S3>),
    Spooled(Arc<spool::Spool>),
    /// Read as spooled, written past the folder.
    Direct(Arc<spool::Spool>),
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

/// An object of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// Its name.
    pub key: Key,
    /// Length of the content in bytes.
    pub size_bytes: u64,
    /// When it was put.
    pub modified: SystemTime,
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order of their keys (by bytes).
    pub objects: Vec<ListedObject>,
    /// From where the next page goes on; `None` when there is nothing more.
    pub next: Option<Key>,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many objects.
    pub objects: u64,
    /// How long they are together.
    pub size_bytes: u64,
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
        describe();
        let disk = disk::Disk::open(root.into()).await?;
        Ok(Self { backend: Backend::Disk(Arc::new(disk)) })
    }

    /// Objects in a bucket. The server is not asked for it: use [`check`](Self::check).
    ///
    /// # Errors
    ///
    /// When the options can never be right.
    pub fn open_s3(options: S3Options) -> Result<Self, StorageError> {
        describe();
        Ok(Self { backend: Backend::S3(Arc::new(s3::S3::new(options)?)) })
    }

    /// Objects in a bucket behind the folder `root`: what is put is safe there at once, and the [`Mover`], when it is
    /// [run](Mover::run), moves it to the bucket as soon as that takes it. What is in the folder already is moved, too.
    /// One process at a time may do so with a folder.
    ///
    /// # Errors
    ///
    /// When the folder cannot be made or read, another process moves what is in it, or the options can never be right.
    pub async fn open_spooled(root: impl Into<PathBuf>, options: S3Options) -> Result<(Self, Mover), StorageError> {
        describe();
        let (spool, mover) = spool::Spool::open(root.into(), s3::S3::new(options)?).await?;
        Ok((Self { backend: Backend::Spooled(spool) }, mover))
    }

    /// The same objects, put where they are to stay before putting returns: for what others read at once, perhaps from
    /// another node. Without a folder in front this is the storage as it is.
    #[must_use]
    pub fn direct(&self) -> Self {
        match &self.backend {
            Backend::Spooled(spool) => Self { backend: Backend::Direct(Arc::clone(spool)) },
            backend => Self { backend: backend.clone() },
        }
    }

    /// Whether the back end takes requests: what an operator wants to know at the start.
    ///
    /// # Errors
    ///
    /// [`StorageError`] with what is wrong.
    pub async fn check(&self) -> Result<(), StorageError> {
        match &self.backend {
            Backend::Disk(_) => Ok(()),
            Backend::S3(s3) => s3.check().await,
            Backend::Spooled(spool) | Backend::Direct(spool) => spool.check().await,
        }
    }

    /// Whether objects end up in a bucket, from which they can be fetched without this process.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        !matches!(self.backend, Backend::Disk(_))
    }

    /// The keys below `folder` that only this process has, since they wait on its disk to be moved; in no particular order,
    /// and none where objects are put where they stay.
    #[must_use]
    pub fn waiting(&self, folder: &Key) -> Vec<Key> {
        match &self.backend {
            Backend::Disk(_) | Backend::S3(_) => Vec::new(),
            Backend::Spooled(spool) | Backend::Direct(spool) => spool.waiting(folder),
        }
    }

    /// Ends uploads that were begun longer ago than `older_than` and never completed: a process that is killed leaves parts
    /// that nobody sees and everybody pays for. Only those below `folder`, since a bucket may be shared with other programs.
    /// Answers how many there were.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the server cannot be asked, or does not know how to list them.
    pub async fn abort_stale_uploads(&self, folder: &Key, older_than: Duration) -> Result<u64, StorageError> {
        match &self.backend {
            Backend::Disk(_) => Ok(0),
            Backend::S3(s3) => s3.abort_stale_uploads(folder, older_than).await,
            Backend::Spooled(spool) | Backend::Direct(spool) => spool.abort_stale_uploads(folder, older_than).await,
        }
    }

    /// Stores an object, in place of the one that was there.
    ///
    /// When this returns, the object survives a crash of the machine. Dropping the future may or may not store it;
    /// either way the old object or the new one is there, whole.
    ///
    /// # Errors
    ///
    /// [`StorageError::DiskFull`] when there is no room, and the old object stays; otherwise as the back end fails.
    pub async fn put(&self, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        match &self.backend {
            Backend::Disk(disk) => disk.put(key, bytes).await,
            Backend::S3(s3) => s3.put(key, bytes).await,
            Backend::Spooled(spool) => spool.put(key, bytes).await,
            Backend::Direct(spool) => spool.put_direct(key, bytes).await,
        }
    }

    /// An object with its content; `None` when there is none under this key.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when it is there and cannot be read, or nobody can say whether it is.
    pub async fn get(&self, key: &Key) -> Result<Option<Object>, StorageError> {
        match &self.backend {
            Backend::Disk(disk) => disk.get(key).await,
            Backend::S3(s3) => s3.get(key).await,
            Backend::Spooled(spool) | Backend::Direct(spool) => spool.get(key).await,
        }
    }

    /// An object's content from its byte `start` on, at most `length` bytes; `None` when there is no object under this key,
    /// and nothing from beyond its end. For parts that fit into memory; otherwise [`read`](Self::read).
    ///
    /// # Errors
    ///
    /// [`StorageError`] when it is there and cannot be read, or nobody can say whether it is.
    pub async fn get_range(&self, key: &Key, start: u64, length: u64) -> Result<Option<Bytes>, StorageError> {
        let Some(mut reader) = self.read(key, start, length).await? else { return Ok(None) };
        let mut bytes = BytesMut::new();
        loop {
            match reader.read_buf(&mut bytes).await {
                Ok(0) => return Ok(Some(bytes.freeze())),
                Ok(_) => {}
                Err(source) => return Err(StorageError::new(Operation::Get, key.as_str(), source)),
            }
        }
    }

    /// An object to be written piece by piece by code that may block.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when there is no room to begin, or no right to.
    pub async fn create(&self, key: &Key) -> Result<ObjectWriter, StorageError> {
        Ok(ObjectWriter { key: key.clone(), sink: self.sink(key).await?, runtime: Handle::current() })
    }

    /// An object to be written piece by piece by async code.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when there is no room to begin, or no right to.
    pub async fn writer(&self, key: &Key) -> Result<StreamWriter, StorageError> {
        Ok(StreamWriter { key: key.clone(), sink: Some(self.sink(key).await?) })
    }

    async fn sink(&self, key: &Key) -> Result<Sink, StorageError> {
        match &self.backend {
            Backend::Disk(disk) => Ok(Sink::Disk(disk.create(key).await?)),
            Backend::S3(s3) => Ok(Sink::S3(s3.upload(key))),
            Backend::Spooled(spool) => Ok(Sink::Spool(spool.create(key).await?, Arc::clone(spool))),
            Backend::Direct(spool) => Ok(Sink::Direct(spool.upload(key), Arc::clone(spool))),
        }
    }

    /// An object's content from its byte `start` on, at most `length` bytes, to be read piece by piece; `None` when there
    /// is no object under this key, and nothing to read from beyond its end.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when it is there and cannot be opened, or nobody can say whether it is.
    pub async fn read(&self, key: &Key, start: u64, length: u64) -> Result<Option<ObjectReader>, StorageError> {
        let source = match &self.backend {
            Backend::Disk(disk) => disk.read(key, start, length).await?.map(Source::Disk),
            Backend::S3(s3) => s3.read(key, start, length).await?.map(Source::S3),
            Backend::Spooled(spool) | Backend::Direct(spool) => spool.read(key, start, length).await?,
        };
        Ok(source.map(|source| ObjectReader { source }))
    }

    /// Size and time of an object; `None` when there is none under this key.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the back end does not answer.
    pub async fn stat(&self, key: &Key) -> Result<Option<ObjectInfo>, StorageError> {
        match &self.backend {
            Backend::Disk(disk) => disk.stat(key).await,
            Backend::S3(s3) => s3.stat(key).await,
            Backend::Spooled(spool) | Backend::Direct(spool) => spool.stat(key).await,
        }
    }

    /// Whether there is an object under this key.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the back end does not answer.
    pub async fn exists(&self, key: &Key) -> Result<bool, StorageError> {
        Ok(self.stat(key).await?.is_some())
    }

    /// Removes an object; says whether there was one.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when it may still be there: the same again does no harm.
    pub async fn delete(&self, key: &Key) -> Result<bool, StorageError> {
        match &self.backend {
            Backend::Disk(disk) => disk.delete(key).await,
            Backend::S3(s3) => s3.delete(key).await,
            Backend::Spooled(spool) | Backend::Direct(spool) => spool.delete(key).await,
        }
    }

    /// Removes every object whose key begins with `folder` and a slash; says how many there were. What is put there at the
    /// same time stays or goes.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when some may still be there: the same again does no harm.
    pub async fn delete_prefix(&self, folder: &Key) -> Result<u64, StorageError> {
        match &self.backend {
            Backend::Disk(disk) => disk.delete_below(folder).await,
            Backend::S3(s3) => {
                let mut count = 0;
                s3.delete_below(folder, |_| count += 1).await.map(|()| count)
            }
            Backend::Spooled(spool) | Backend::Direct(spool) => spool.delete_below(folder).await,
        }
    }

    /// The objects whose keys begin with `folder` and a slash, in the order of their keys: from behind `after` on, at most
    /// `limit` of them, 1 to [`MAX_PAGE`].
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the back end does not answer.
    pub async fn list_prefix(&self, folder: &Key, after: Option<&Key>, limit: usize) -> Result<Page, StorageError> {
        let limit = limit.clamp(1, MAX_PAGE);
        // One more tells whether there is more.
        let mut objects = match &self.backend {
            Backend::Disk(disk) => disk.list(folder, after, limit + 1).await?,
            Backend::S3(s3) => s3.list(folder, after, limit + 1).await?,
            Backend::Spooled(spool) | Backend::Direct(spool) => spool.list(folder, after, limit + 1).await?,
        };
        let is_more = objects.len() > limit;
        objects.truncate(limit);
        let next = if is_more { objects.last().map(|object| object.key.clone()) } else { None };
        Ok(Page { objects, next })
    }

    /// How many objects there are below `folder`, and how long they are together. It is counted when asked: seconds, where
    /// there are very many.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the back end does not answer.
    pub async fn usage(&self, folder: &Key) -> Result<Usage, StorageError> {
        match &self.backend {
            Backend::Disk(disk) => disk.usage(folder).await,
            Backend::S3(s3) => s3.usage(folder).await,
            Backend::Spooled(spool) | Backend::Direct(spool) => spool.usage(folder).await,
        }
    }

    /// An address by which anybody who has it can download an object as `file_name` for the time of `life` (a week at
    /// most), straight from the back end; `None` when the back end has none, and the object is to be served by
    /// [`read`](Self::read). Whether there is such an object is not looked at.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the address cannot be made.
    pub async fn presign_get(
        &self,
        key: &Key,
        file_name: &str,
        life: Duration,
    ) -> Result<Option<String>, StorageError> {
        match &self.backend {
            Backend::Disk(_) => Ok(None),
            Backend::S3(s3) => s3.presign_get(key, file_name, life).await.map(Some),
            Backend::Spooled(spool) | Backend::Direct(spool) => spool.presign_get(key, file_name, life).await,
        }
    }
}

/// Metrics that are there from the start, whatever the back end.
fn describe() {
    s3::describe();
    spool::describe();
}
