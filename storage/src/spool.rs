//! S3 behind a folder: what is written is safe in the folder first and moved when S3 takes it, so that the media plane does not
//! feel a server that is slow or away.
//!
//! Everything in the folder is to be moved; there is no other record of it, so a restart, or switching from disk to S3,
//! changes nothing. A file goes only after S3 has it, and readers look into the folder first: an object is always to be found.
//! Deleting waits for a move under way, so that nothing comes back.

mod mover;
mod state;

use std::{
    collections::HashSet,
    fs::{File, TryLockError},
    io::{self, Write as _},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::Notify;

pub use self::mover::Mover;
use self::state::{Scope, State};
use crate::{
    Key, ListedObject, MAX_PAGE, Object, ObjectInfo, Operation, StorageError, Usage,
    disk::{self, Disk},
    pieces::Source,
    s3::{S3, Upload},
};

/// Held by whoever moves what is in the folder. No key begins with a dot.
const LOCK: &str = ".moved-by";

#[derive(Debug)]
pub(crate) struct Spool {
    disk: Disk,
    s3: S3,
    state: Mutex<State>,
    /// There is something to move.
    wake: Notify,
    /// A move has ended, or somebody has done deleting.
    settled: Notify,
    lock: File,
}

impl Drop for Spool {
    fn drop(&mut self) {
        // Closing the file is not enough: a child that another thread is just starting has a copy of it until it executes its
        // program, and nobody could open the folder again until then.
        let _ = self.lock.unlock();
    }
}

impl Spool {
    /// Takes up what is in the folder. It is moved by the [`Mover`].
    pub(crate) async fn open(root: PathBuf, s3: S3) -> Result<(Arc<Self>, Mover), StorageError> {
        let disk = Disk::open(root.clone()).await?;
        let lock = disk::blocking(Operation::Open, root.display().to_string(), move || lock(root.join(LOCK))).await?;
        let mut state = State::default();
        for object in disk.list_all().await? {
            state.add(object.key, object.size_bytes, object.modified);
        }
        if state.is_pending() {
            let (objects, bytes) = state.pending();
            tracing::info!(objects, bytes, "objects wait on disk to be moved to S3");
        }
        let (wake, settled) = (Notify::new(), Notify::new());
        let spool = Arc::new(Self { disk, s3, state: Mutex::new(state), wake, settled, lock });
        Ok((Arc::clone(&spool), Mover::new(spool)))
    }

    pub(crate) async fn check(&self) -> Result<(), StorageError> {
        self.s3.check().await
    }

    pub(crate) async fn put(self: &Arc<Self>, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        let writer = self.create(key).await?;
        let (spool, name) = (Arc::clone(self), key.clone());
        disk::blocking(Operation::Put, key.as_str(), move || {
            let mut writer = writer;
            writer.write_all(&bytes)?;
            spool.finish(writer, &name).map(drop)
        })
        .await
    }

    pub(crate) async fn create(&self, key: &Key) -> Result<disk::Writer, StorageError> {
        self.disk.create(key).await
    }

    /// Blocks.
    pub(crate) fn finish(&self, writer: disk::Writer, key: &Key) -> io::Result<u64> {
        // At once for whoever moves: a file that is exchanged while it is moved is not taken for what was moved.
        let size_bytes = writer.finish_by(|size_bytes, rename| {
            let mut state = self.state();
            rename()?;
            state.add(key.clone(), size_bytes, std::time::SystemTime::now());
            Ok(())
        })?;
        self.wake.notify_one();
        Ok(size_bytes)
    }

    pub(crate) async fn get(&self, key: &Key) -> Result<Option<Object>, StorageError> {
        match self.disk.get(key).await? {
            Some(object) => Ok(Some(object)),
            None => self.s3.get(key).await,
        }
    }

    pub(crate) async fn read(&self, key: &Key, start: u64, length: u64) -> Result<Option<Source>, StorageError> {
        match self.disk.read(key, start, length).await? {
            Some(reader) => Ok(Some(Source::Disk(reader))),
            None => Ok(self.s3.read(key, start, length).await?.map(Source::S3)),
        }
    }

    pub(crate) async fn stat(&self, key: &Key) -> Result<Option<ObjectInfo>, StorageError> {
        match self.disk.stat(key).await? {
            Some(info) => Ok(Some(info)),
            None => self.s3.stat(key).await,
        }
    }

    pub(crate) async fn delete(self: &Arc<Self>, key: &Key) -> Result<bool, StorageError> {
        let _barred = self.bar(Scope::One(key.clone())).await;
        let was_on_disk = self.drop_file(key).await?;
        Ok(self.s3.delete(key).await? || was_on_disk)
    }

    pub(crate) async fn delete_below(&self, folder: &Key) -> Result<u64, StorageError> {
        let _barred = self.bar(Scope::Below(folder.clone())).await;
        let mut removed: HashSet<Key> =
            self.listed_on_disk(folder).await?.into_iter().map(|object| object.key).collect();
        self.disk.delete_below(folder).await?;
        let written_since: HashSet<Key> =
            self.listed_on_disk(folder).await?.into_iter().map(|object| object.key).collect();
        self.state().forget(|key| key.is_below(folder) && !written_since.contains(key));
        let also = |key: &Key| {
            removed.insert(key.clone());
        };
        self.s3.delete_below(folder, also).await?;
        Ok(removed.len() as u64)
    }

    pub(crate) async fn list(
        &self,
        folder: &Key,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<ListedObject>, StorageError> {
        // In this order: what is moved in between is in both rather than in none.
        let on_disk = self.disk.list(folder, after, limit).await?;
        let in_s3 = self.s3.list(folder, after, limit).await?;
        let names: HashSet<Key> = on_disk.iter().map(|object| object.key.clone()).collect();
        let mut objects = on_disk;
        objects.extend(in_s3.into_iter().filter(|object| !names.contains(&object.key)));
        objects.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        objects.truncate(limit);
        Ok(objects)
    }

    pub(crate) async fn usage(&self, folder: &Key) -> Result<Usage, StorageError> {
        let mut usage = Usage::default();
        let mut after = None;
        loop {
            let objects = self.list(folder, after.as_ref(), MAX_PAGE).await?;
            usage.objects += objects.len() as u64;
            usage.size_bytes += objects.iter().map(|object| object.size_bytes).sum::<u64>();
            if objects.len() < MAX_PAGE {
                return Ok(usage);
            }
            after = objects.last().map(|object| object.key.clone());
        }
    }

    pub(crate) async fn presign_get(
        &self,
        key: &Key,
        file_name: &str,
        life: Duration,
    ) -> Result<Option<String>, StorageError> {
        if self.disk.stat(key).await?.is_some() {
            return Ok(None);
        }
        self.s3.presign_get(key, file_name, life).await.map(Some)
    }

    /// Past the folder.
    pub(crate) async fn put_direct(self: &Arc<Self>, key: &Key, bytes: Bytes) -> Result<(), StorageError> {
        let _barred = self.bar(Scope::One(key.clone())).await;
        self.s3.put(key, bytes).await?;
        self.drop_file(key).await.map(drop)
    }

    pub(crate) fn upload(&self, key: &Key) -> Upload {
        self.s3.upload(key)
    }

    pub(crate) async fn finish_direct(self: &Arc<Self>, upload: Upload, key: &Key) -> Result<u64, StorageError> {
        let _barred = self.bar(Scope::One(key.clone())).await;
        let size_bytes = upload.finish().await?;
        self.drop_file(key).await?;
        Ok(size_bytes)
    }

    async fn drop_file(self: &Arc<Self>, key: &Key) -> Result<bool, StorageError> {
        let was_there = self.disk.delete(key).await?;
        if was_there {
            let spool = Arc::clone(self);
            let path = self.disk.path(key);
            disk::blocking(Operation::Delete, key.as_str(), move || spool.tidy(&path)).await?;
        }
        // Unless it was put again in between.
        if self.disk.stat(key).await?.is_none() {
            self.state().forget_one(key);
        }
        Ok(was_there)
    }

    async fn listed_on_disk(&self, folder: &Key) -> Result<Vec<ListedObject>, StorageError> {
        self.disk.list(folder, None, usize::MAX).await
    }

    /// Keeps moves away, and waits for those under way to end or to give up.
    async fn bar(&self, scope: Scope) -> Barred<'_> {
        let id = self.state().bar(scope.clone());
        let barred = Barred { spool: self, id };
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // From here on none is missed.
            settled.as_mut().enable();
            if !self.state().is_moving(&scope) {
                return barred;
            }
            settled.await;
        }
    }

    /// What is on disk only, below a folder.
    pub(crate) fn waiting(&self, folder: &Key) -> Vec<Key> {
        self.state().waiting(|key| key.is_below(folder))
    }

    pub(crate) async fn abort_stale_uploads(&self, folder: &Key, older_than: Duration) -> Result<u64, StorageError> {
        self.s3.abort_stale_uploads(folder, older_than).await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Barred<'a> {
    spool: &'a Spool,
    id: u64,
}

impl Drop for Barred<'_> {
    fn drop(&mut self) {
        self.spool.state().unbar(self.id);
        self.spool.wake.notify_one();
    }
}

fn lock(path: PathBuf) -> io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(io::ErrorKind::ResourceBusy, "another process moves what is in this folder"))
        }
        // Where the file system knows no locks, nobody else is expected.
        Err(TryLockError::Error(_)) => Ok(file),
    }
}

/// Told from the start, also where there is no S3.
pub(crate) fn describe() {
    use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
    describe_gauge!("weir_spool_objects", "Objects on disk that are not yet in S3.");
    describe_gauge!("weir_spool_bytes", Unit::Bytes, "How long they are together.");
    describe_gauge!("weir_spool_oldest_seconds", Unit::Seconds, "How long the oldest of them has waited.");
    describe_counter!("weir_spool_moved_total", "Objects that were moved from disk to S3.");
    describe_counter!("weir_spool_failures_total", "Moves that failed and are tried again.");
    for name in ["weir_spool_objects", "weir_spool_bytes", "weir_spool_oldest_seconds"] {
        gauge!(name).set(0.0);
    }
    for name in ["weir_spool_moved_total", "weir_spool_failures_total"] {
        counter!(name).increment(0);
    }
}
