//! Moves what is in the folder to S3, the oldest first, and rests while S3 is away.

use std::{
    error::Error,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    mem::{Discriminant, discriminant},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    select,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::Spool;
use crate::{Key, Operation, StorageError, disk, watch::precise};

/// How many objects are moved at once.
const AT_ONCE: usize = 4;
/// How much of a file is read at once; one of no more is sent by one request.
const PIECE_BYTES: u64 = 8 << 20;
/// The longest rest while S3 is away: it is the longest that a server that is back is not noticed.
const MAX_REST: Duration = Duration::from_secs(15);
/// How often metrics are set.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// What moves objects from disk to S3.
#[derive(Debug)]
pub struct Mover {
    spool: Arc<Spool>,
}

/// What became of a move.
enum Moved {
    Done,
    /// It was exchanged meanwhile, or somebody deletes it.
    Again,
    Failed(StorageError),
}

impl Mover {
    pub(super) fn new(spool: Arc<Spool>) -> Self {
        Self { spool }
    }

    /// Moves what there is and what comes, until it is dropped. What is being moved then stays on disk.
    pub async fn run(self) {
        let spool = &self.spool;
        let mut moving = FuturesUnordered::new();
        let mut ticks = interval(TOLD_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut outage = Outage::default();
        loop {
            let now = Instant::now();
            // After an outage one goes first.
            let at_once = if outage.failures > 0 { 1 } else { AT_ONCE };
            while moving.len() < at_once && outage.is_over(now) {
                let Some((key, cancel)) = spool.state().next(now) else { break };
                moving.push(async move {
                    let moved = spool.move_one(&key, &cancel).await;
                    (key, moved)
                });
            }
            let due = match outage.until {
                Some(until) if until > now => Some(until),
                _ if moving.len() < at_once => spool.state().next_due(now),
                _ => None,
            };
            select! {
                Some((key, moved)) = moving.next(), if !moving.is_empty() => {
                    spool.record(&key, moved, &mut outage);
                }
                () = spool.wake.notified() => {}
                () = sleep_until(due.unwrap_or(now)), if due.is_some() => {}
                _ = ticks.tick() => spool.tell(),
            }
        }
    }
}

/// What is known of S3 being away.
#[derive(Default)]
struct Outage {
    failures: u32,
    /// When it is asked again.
    until: Option<Instant>,
    /// What was said of it, so that it is said once.
    told: Option<Discriminant<StorageError>>,
}

impl Outage {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| until <= now)
    }
}

/// A move under way: whoever waits for its end learns of it, however it ends.
struct UnderWay<'a> {
    spool: &'a Spool,
    key: &'a Key,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.spool.state().has_moved(self.key);
        self.spool.settled.notify_waiters();
    }
}

impl Spool {
    async fn move_one(self: &Arc<Self>, key: &Key, cancel: &CancellationToken) -> Moved {
        let _under_way = UnderWay { spool: self, key };
        match self.try_move(key, cancel).await {
            Ok(true) => Moved::Done,
            Ok(false) => Moved::Again,
            Err(error) => Moved::Failed(error),
        }
    }

    /// `false`: it is not what it was any more.
    async fn try_move(self: &Arc<Self>, key: &Key, cancel: &CancellationToken) -> Result<bool, StorageError> {
        let path = self.disk.path(key);
        let opened = disk::blocking(Operation::Get, key.as_str(), move || {
            let Some(file) = disk::found(File::open(path))? else { return Ok(None) };
            let metadata = file.metadata()?;
            read(file).map(|(file, piece)| Some((file, metadata, piece)))
        });
        let Some((file, metadata, piece)) = opened.await? else {
            self.state().forget_one(key);
            return Ok(false);
        };
        let file = if metadata.len() <= PIECE_BYTES {
            self.s3.put(key, piece).await?;
            file
        } else {
            let Some(file) = self.upload_file(key, file, piece, cancel).await? else { return Ok(false) };
            file
        };
        let (spool, name) = (Arc::clone(self), key.clone());
        disk::blocking(Operation::Delete, key.as_str(), move || {
            let is_moved = spool.remove_moved(&name, &metadata);
            // Open until now, so that no other file can have had its number.
            drop(file);
            is_moved
        })
        .await
    }

    async fn upload_file(
        &self,
        key: &Key,
        mut file: File,
        mut piece: Bytes,
        cancel: &CancellationToken,
    ) -> Result<Option<File>, StorageError> {
        let mut upload = self.s3.upload(key);
        while !piece.is_empty() {
            upload.write(&piece).await?;
            if cancel.is_cancelled() {
                return Ok(None);
            }
            (file, piece) = disk::blocking(Operation::Get, key.as_str(), move || read(file)).await?;
        }
        upload.finish().await.map(|_| Some(file))
    }

    /// Blocks. Says whether what was moved is still what is there.
    fn remove_moved(&self, key: &Key, moved: &Metadata) -> io::Result<bool> {
        let path = self.disk.path(key);
        {
            let mut state = self.state();
            let Some(there) = disk::found(fs::symlink_metadata(&path))? else {
                state.forget_one(key);
                return Ok(true);
            };
            // Files are never changed, only exchanged.
            if (there.dev(), there.ino()) != (moved.dev(), moved.ino()) {
                return Ok(false);
            }
            fs::remove_file(&path)?;
            state.forget_one(key);
        }
        // Were it back after a power cut, it would come back to S3 as well, even if it was deleted there since.
        self.tidy(&path)?;
        Ok(true)
    }

    /// Removes the folders that are empty without the file at `path`, and makes that last. Blocks.
    pub(super) fn tidy(&self, path: &Path) -> io::Result<()> {
        let mut folder = path.parent();
        while let Some(empty) = folder.filter(|folder| *folder != self.disk.root() && fs::remove_dir(folder).is_ok()) {
            folder = empty.parent();
        }
        match folder {
            Some(folder) => disk::found(File::open(folder).and_then(|folder| folder.sync_all())).map(drop),
            None => Ok(()),
        }
    }

    fn record(&self, key: &Key, moved: Moved, outage: &mut Outage) {
        match moved {
            Moved::Done => {
                metrics::counter!("weir_spool_moved_total").increment(1);
                if outage.told.is_some() {
                    let (objects, _) = self.state().pending();
                    tracing::info!(objects, "S3 takes objects again; what waits on disk is moved");
                }
                *outage = Outage::default();
            }
            Moved::Again => {}
            Moved::Failed(error) => {
                metrics::counter!("weir_spool_failures_total").increment(1);
                let now = Instant::now();
                if !error.is_retryable() {
                    // Perhaps another one goes.
                    self.state().put_off(key, now);
                }
                if matches!(error, StorageError::Io { .. }) {
                    tracing::warn!(%key, error = &error as &dyn Error, "an object stays on disk for now");
                    return;
                }
                outage.failures += 1;
                let rest = Duration::from_secs(1 << (outage.failures - 1).min(4)).min(MAX_REST);
                outage.until = Some(now + rest);
                if outage.told.replace(discriminant(&error)) != Some(discriminant(&error)) {
                    tracing::warn!(
                        error = &error as &dyn Error,
                        "S3 takes no objects; they are kept on disk until it does"
                    );
                }
            }
        }
    }

    fn tell(&self) {
        let (objects, bytes, oldest) = {
            let state = self.state();
            let (objects, bytes) = state.pending();
            (objects, bytes, state.oldest())
        };
        let age = oldest.and_then(|oldest| SystemTime::now().duration_since(oldest).ok()).unwrap_or_default();
        metrics::gauge!("weir_spool_objects").set(precise(objects as u64));
        metrics::gauge!("weir_spool_bytes").set(precise(bytes));
        metrics::gauge!("weir_spool_oldest_seconds").set(age.as_secs_f64());
    }
}

fn read(mut file: File) -> io::Result<(File, Bytes)> {
    let mut piece = Vec::new();
    file.by_ref().take(PIECE_BYTES).read_to_end(&mut piece)?;
    Ok((file, piece.into()))
}
