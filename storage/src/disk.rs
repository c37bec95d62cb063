//! Objects as files: the key is the path below the root.
//!
//! Temporary files live in the folder of their object, because a rename is atomic only within a file system; their
//! names begin with a dot, which no key may.

mod listing;
mod temporary;

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use tokio::io::AsyncReadExt as _;

use self::temporary::Temporary;
use crate::{Key, ListedObject, Object, ObjectInfo, Operation, StorageError, Usage};

/// How often a folder is made again that others remove at the same time.
const MAX_FOLDER_ATTEMPTS: u32 = 10;

/// A part of a file.
pub(crate) type Reader = tokio::io::Take<tokio::fs::File>;

/// A file to be.
#[derive(Debug)]
pub(crate) struct Writer {
    temporary: Temporary,
    path: PathBuf,
}

impl Writer {
    pub(crate) fn finish(self) -> io::Result<u64> {
        self.finish_by(|_, rename| rename())
    }

    /// Stores it while `exchange` calls what it is handed, with the length in bytes.
    pub(crate) fn finish_by(
        self,
        exchange: impl FnOnce(u64, &mut dyn FnMut() -> io::Result<()>) -> io::Result<()>,
    ) -> io::Result<u64> {
        self.temporary.keep(&self.path, exchange)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.temporary.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.temporary.file()?.flush()
    }
}

#[derive(Debug)]
pub(crate) struct Disk {
    root: Arc<Path>,
}

impl Disk {
    pub(crate) async fn open(root: PathBuf) -> Result<Self, StorageError> {
        let object = root.display().to_string();
        let root: Arc<Path> = root.into();
        let folder = Arc::clone(&root);
        blocking(Operation::Open, object, move || {
            fs::create_dir_all(&folder)?;
            temporary::sweep(&folder)
        })
        .await?;
        Ok(Self { root })
    }

    pub(crate) async fn put(&self, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        let path = self.path(key);
        blocking(Operation::Put, key.as_str(), move || put(&path, &bytes)).await
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Object>, StorageError> {
        let path = self.path(key);
        blocking(Operation::Get, key.as_str(), move || found(get(&path))).await
    }

    pub(crate) async fn create(&self, key: &Key) -> Result<Writer, StorageError> {
        let path = self.path(key);
        blocking(Operation::Put, key.as_str(), move || create(path)).await
    }

    pub(crate) async fn read(&self, key: &Key, start: u64, length: u64) -> Result<Option<Reader>, StorageError> {
        let path = self.path(key);
        let file = blocking(Operation::Get, key.as_str(), move || found(open(&path, start))).await?;
        Ok(file.map(|file| tokio::fs::File::from_std(file).take(length)))
    }

    pub(crate) async fn stat(&self, key: &Key) -> Result<Option<ObjectInfo>, StorageError> {
        let path = self.path(key);
        blocking(Operation::Stat, key.as_str(), move || found(stat(&path))).await
    }

    pub(crate) async fn delete(&self, key: &Key) -> Result<bool, StorageError> {
        let path = self.path(key);
        blocking(Operation::Delete, key.as_str(), move || Ok(found(delete(&path))?.is_some())).await
    }

    pub(crate) async fn delete_below(&self, folder: &Key) -> Result<u64, StorageError> {
        let path = self.path(folder);
        blocking(Operation::Delete, folder.as_str(), move || listing::delete_below(&path)).await
    }

    /// Sorted by key; at most `limit`.
    pub(crate) async fn list(
        &self,
        folder: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<ListedObject>, StorageError> {
        let (root, key, after) = (Arc::clone(&self.root), folder.clone(), after.cloned());
        blocking(Operation::List, folder.as_str(), move || listing::list(&root, &key, after.as_ref(), limit)).await
    }

    /// Everything.
    pub(crate) async fn list_all(&self) -> Result<Vec<ListedObject>, StorageError> {
        let root = Arc::clone(&self.root);
        blocking(Operation::List, self.root.display().to_string(), move || listing::list_all(&root)).await
    }

    pub(crate) async fn usage(&self, folder: &Key) -> Result<Usage, StorageError> {
        let path = self.path(folder);
        blocking(Operation::List, folder.as_str(), move || listing::usage(&path)).await
    }

    pub(crate) fn path(&self, key: &Key) -> PathBuf {
        self.root.join(key.as_str())
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

/// Runs file work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: Operation,
    object: impl Into<String>,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StorageError> {
    let result = match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        // The runtime is shutting down, or the work panicked.
        Err(error) => Err(io::Error::other(error)),
    };
    result.map_err(|source| StorageError::new(operation, object, source))
}

fn put(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut writer = create(path.to_owned())?;
    writer.write_all(bytes)?;
    writer.finish().map(drop)
}

fn create(path: PathBuf) -> io::Result<Writer> {
    let folder = path.parent().unwrap_or(&path);
    let mut attempts = 0;
    let temporary = loop {
        attempts += 1;
        match create_folders(folder).and_then(|()| Temporary::create(folder)) {
            Ok(temporary) => break temporary,
            // Whoever deletes all below a key removes the folders that are empty.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < MAX_FOLDER_ATTEMPTS => {}
            Err(error) => return Err(error),
        }
    };
    Ok(Writer { temporary, path })
}

/// Makes a folder and makes its name in each parent survive a crash.
fn create_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        create_folders(parent)?;
        match fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
            Err(error) => return Err(error),
            Ok(()) => File::open(parent)?.sync_all()?,
        }
    }
    Ok(())
}

fn get(path: &Path) -> io::Result<Object> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or(0));
    file.read_to_end(&mut bytes)?;
    Ok(Object { bytes: bytes.into(), modified: metadata.modified()? })
}

fn open(path: &Path, start: u64) -> io::Result<File> {
    let mut file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    file.seek(SeekFrom::Start(start))?;
    Ok(file)
}

fn stat(path: &Path) -> io::Result<ObjectInfo> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(ObjectInfo { size_bytes: metadata.len(), modified: metadata.modified()? })
}

fn delete(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::NotFound.into());
    }
    fs::remove_file(path)?;
    let folder = path.parent().unwrap_or(path);
    File::open(folder)?.sync_all()
}

/// A key under which nothing is stored, be it that a folder of its path is missing or is a file.
pub(crate) fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}
