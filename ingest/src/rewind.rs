//! Keeps what has left the window in memory for as long as viewers may go back: on the node's own disk.
//!
//! | where | what |
//! |---|---|
//! | `<folder>/<stream>/<K>-<rendition>/s<N>.m4s` | a segment as viewers got it, under its number |
//! | memory | what of it is there: some 100 bytes a segment, and the initialisation segments |
//!
//! One file a segment: it is written once and removed once, a few system calls every two seconds. Larger files that are
//! appended to would save two of them, and need offsets, a rule for when one is empty, and a second one to write to
//! meanwhile. Nothing is flushed: what a crash leaves is removed at the next start, since numbers jump at a crash and a
//! playlist has no holes (ADR 9).
//!
//! Live never waits for the disk. A task per rendition reads what viewers see and holds nothing but the segment that it
//! writes. Where writing fails, the oldest quarter makes room and the segment is tried again; where it is so slow that a
//! segment leaves the memory unwritten, rewinding begins anew after it. The same where the disk is short of room: nothing is
//! written until there is some again, and the oldest goes meanwhile.

mod cache;
mod file;
mod keeper;
mod left;
mod shelf;

use std::{
    collections::HashMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, Instant},
};

use bytes::Bytes;
use domain::ids::StreamId;
use storage::DiskWatch;

use self::{
    cache::{Cache, CacheKey, KEPT_UNUSED},
    keeper::StreamShelf,
};
use crate::{media::split, packager::Broadcast};

pub(crate) use cache::Track;
pub(crate) use shelf::Shelf;

/// How much of what was read last is shared by those who read the same, at most.
const CACHE_BYTES: usize = 64 << 20;

/// How far viewers may go back, and where that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RewindConfig {
    /// A folder of its own on a disk of this node: everything in it is removed at start.
    pub folder: PathBuf,
    /// How long the playlists are. 0 keeps nothing.
    pub window: Duration,
}

/// What is kept of all streams of this node. Cheap to clone: clones share it. The default keeps nothing.
#[derive(Clone, Default)]
pub struct Rewind(Option<Arc<Shared>>);

struct Shared {
    folder: PathBuf,
    window_ms: u64,
    streams: Mutex<HashMap<StreamId, Arc<StreamShelf>>>,
    cache: Cache,
    disk: OnceLock<DiskWatch>,
    /// What a crash had left of streams: the number of the last segment of each.
    left: HashMap<StreamId, u64>,
}

impl Rewind {
    /// Takes up an empty folder: what a crash has left in it is removed.
    ///
    /// # Errors
    /// When the folder cannot be emptied or made.
    pub async fn open(config: RewindConfig) -> io::Result<Self> {
        let RewindConfig { folder, window } = config;
        metrics::gauge!("weir_rewind_bytes").set(0.0);
        metrics::counter!("weir_rewind_failures_total").increment(0);
        metrics::gauge!("weir_rewind_is_paused").set(0.0);
        let is_kept = !window.is_zero();
        let left = tokio::task::spawn_blocking({
            let folder = folder.clone();
            move || {
                let left = left::last_numbers(&folder);
                remove_folder(&folder)?;
                if is_kept {
                    std::fs::create_dir_all(&folder)?;
                }
                Ok(left)
            }
        })
        .await
        .map_err(io::Error::other)
        .flatten()?;
        if !is_kept {
            return Ok(Self::default());
        }
        let shared = Arc::new(Shared {
            folder,
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            streams: Mutex::default(),
            cache: Cache::new(CACHE_BYTES),
            disk: OnceLock::new(),
            left,
        });
        tokio::spawn(forget_unused(Arc::downgrade(&shared)));
        Ok(Self(Some(shared)))
    }

    /// Writes nothing while `disk` has no room for it; what was said first counts.
    pub fn watch(&self, disk: DiskWatch) {
        if let Some(shared) = &self.0 {
            let _ = shared.disk.set(disk);
        }
    }

    /// Whether anything is kept.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The number of the last segment that was kept of a stream when this process began; `None` where nothing was.
    pub(crate) fn left_of(&self, stream_id: StreamId) -> Option<u64> {
        self.0.as_ref()?.left.get(&stream_id).copied()
    }

    /// Keeps a broadcast until [`Rewind::forget`]. Must be called within the runtime.
    pub(crate) fn keep(&self, broadcast: &Arc<Broadcast>) {
        let Some(shared) = &self.0 else { return };
        let stream_id = broadcast.stream_id();
        let folder = shared.folder.join(stream_id.to_string());
        let stream = StreamShelf::new(folder, shared.window_ms, shared.disk.get().cloned(), broadcast);
        let replaced = {
            let mut streams = shared.streams();
            if streams.get(&stream_id).is_some_and(|present| present.is_of(broadcast)) {
                return;
            }
            streams.insert(stream_id, Arc::clone(&stream))
        };
        if let Some(replaced) = replaced {
            replaced.stop();
        }
        tokio::spawn(stream.run(Arc::clone(broadcast)));
    }

    /// Removes all that is kept of a stream.
    pub(crate) fn forget(&self, stream_id: StreamId) {
        let Some(shared) = &self.0 else { return };
        let forgotten = shared.streams().remove(&stream_id);
        if let Some(stream) = forgotten {
            stream.stop();
        }
    }

    /// What is kept of a rendition; `None` where nothing is, or nothing yet.
    pub(crate) fn shelf(&self, stream_id: StreamId, rendition: &str) -> Option<Arc<Shelf>> {
        let stream = self.0.as_ref()?.streams().get(&stream_id).cloned();
        stream?.shelf(rendition)
    }

    /// A kept segment, or one track of it; `None` when it is not kept. Whoever asks for the same meanwhile waits for one
    /// reading.
    pub(crate) async fn segment(&self, shelf: &Shelf, number: u64, track: Track) -> Option<Bytes> {
        let shared = self.0.as_ref()?;
        if !shelf.has(number) {
            return None;
        }
        let key = |track| CacheKey { shelf: shelf.id(), number, track };
        let whole = || shared.cache.get(key(Track::All), shelf.read(number));
        match track {
            Track::All => whole().await,
            Track::Audio => {
                let split = async { whole().await.and_then(|whole| split::audio_only(&whole)) };
                shared.cache.get(key(track), split).await
            }
            Track::Video => {
                let split = async { whole().await.and_then(|whole| split::video_only(&whole)) };
                shared.cache.get(key(track), split).await
            }
        }
    }
}

impl Shared {
    fn streams(&self) -> MutexGuard<'_, HashMap<StreamId, Arc<StreamShelf>>> {
        // Entries are put in and taken out whole.
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives memory back for as long as anything may be kept.
async fn forget_unused(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(KEPT_UNUSED / 2).await;
        let Some(shared) = shared.upgrade() else { return };
        if let Some(before) = Instant::now().checked_sub(KEPT_UNUSED) {
            shared.cache.forget_unused(before);
        }
    }
}

impl fmt::Debug for Rewind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rewind").field("is_on", &self.is_on()).finish_non_exhaustive()
    }
}

/// Removes a folder with all that is in it, if it is there.
fn remove_folder(folder: &Path) -> io::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
