//! Keeps streams while they are on: each segment of the source goes into the storage as it is complete.
//!
//! | key below `recordings/<recording>/` | what |
//! |---|---|
//! | `source/init<N>.mp4`, `source/s<N>.m4s` | what viewers got while the stream was on, under the same numbers |
//! | `source/index/<K>.jsonl` | what of it is kept, in order: see `recorder/index.rs` |
//! | `thumbnail.jpg`, `sheets/…` | made once it is complete |
//!
//! A segment is stored before the index names it, so what the index says is there, whenever the node is killed. What the storage
//! does not have by then is kept from beside it (`recorder/tail.rs`): a kill costs the part that was growing, and a machine that
//! goes with it the segments that were growing and being stored. When the node is back, the recording goes on with its stream, or
//! is finished from what is there.
//!
//! The recorder never holds up the stream. It reads what viewers see, and holds nothing itself but the segment that it stores:
//! it may fall behind by the window that the packager keeps (a minute or so). What has left the window by then is missing in
//! the recording, which says so. A full storage, or a channel's limit, ends the recording and never the stream.

pub(crate) mod boxes;
#[cfg(test)]
mod example;
mod finishing;
pub(crate) mod index;
mod keeping;
mod limit;
mod losing;
mod mending;
mod sheets;
mod shelf;
mod tail;

use std::{error::Error, fmt, path::PathBuf, sync::Arc, time::Duration};

use domain::ids::{ChannelId, RecordingId};
use futures::future::BoxFuture;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use storage::{DiskWatch, InvalidKey, Key, Storage, StorageError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use self::{index::IndexError, shelf::Shelf, tail::Tails};
use crate::{
    packager::Broadcast,
    ports::{OpenRecording, RecordError, Recordings},
};

/// How long something may take to be stored or read before the log says so; what is read is then tried again.
const STORE_WITHIN: Duration = Duration::from_secs(20);
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long the write side may take for one call.
const CALL: Duration = Duration::from_secs(5);

/// What keeps streams. Cheap to clone: clones share it. The default keeps none.
#[derive(Clone, Default)]
pub struct Recorder(Option<Arc<Shared>>);

#[derive(Clone)]
struct Shared {
    recordings: Arc<dyn Recordings>,
    disk: DiskWatch,
    tails: Option<Tails>,
}

impl Recorder {
    /// Keeps the streams that `recordings` wants to be kept, for as long as `disk` has room.
    #[must_use]
    pub fn new(recordings: Arc<dyn Recordings>, disk: DiskWatch) -> Self {
        describe_metrics();
        Self(Some(Arc::new(Shared { recordings, disk, tails: None })))
    }

    /// The same, which also writes what the storage does not have yet into `folder`, as it comes: it is made when it does not
    /// exist, takes a minute of each stream at most, and must be this node's own. Whatever becomes of this process, the next
    /// one with the same folder loses a part at most of what viewers were shown.
    #[must_use]
    pub fn with_folder(self, folder: PathBuf) -> Self {
        Self(self.0.map(|shared| Arc::new(Shared { tails: Some(Tails::new(folder)), ..(*shared).clone() })))
    }

    /// The room that there is on the disk, where that is watched.
    pub(crate) fn disk(&self) -> Option<DiskWatch> {
        self.0.as_ref().map(|shared| shared.disk.clone())
    }

    /// What this node has begun and not finished, asked for until the write side answers; nothing once `cancel` is called.
    pub(crate) async fn open(&self, cancel: &CancellationToken) -> Vec<OpenRecording> {
        let Some(shared) = &self.0 else { return Vec::new() };
        let asked = ask("open recordings", || shared.recordings.open());
        let open = cancel.run_until_cancelled(asked).await.and_then(Result::ok);
        if let (Some(open), Some(tails)) = (&open, &shared.tails) {
            cancel.run_until_cancelled(shared.drop_others(open, tails)).await;
        }
        open.unwrap_or_default()
    }

    /// Keeps a stream until it has ended. `begun` is its recording from before a crash.
    pub(crate) async fn keep(
        self,
        broadcast: Arc<Broadcast>,
        channel_id: ChannelId,
        begun: Option<OpenRecording>,
        storage: Storage,
        ends: Ends,
    ) {
        let Some(shared) = self.0 else { return };
        let shelf: Arc<dyn Shelf> = Arc::new(storage);
        let kept = ends.abandoned.run_until_cancelled(shared.keep(broadcast, channel_id, begun, &shelf)).await;
        if let Some((recording_id, index)) = kept.flatten() {
            ends.stopping.run_until_cancelled(shared.make_sheets(recording_id, &index, &shelf)).await;
        }
    }

    /// Makes the pictures that a crash has kept from being made, of recordings that are complete.
    pub(crate) async fn mend(self, storage: Storage, ends: Ends) {
        let Some(shared) = self.0 else { return };
        let shelf: Arc<dyn Shelf> = Arc::new(storage);
        let mending = async {
            let asked = ask("recordings of late", || shared.recordings.lately_published()).await;
            for published in asked.unwrap_or_default() {
                if let Err(error) = shared.mend(&published, &shelf).await {
                    debug!(recording.id = %published.recording_id, error = &error as &dyn Error, "pictures not looked at");
                }
            }
        };
        ends.stopping.run_until_cancelled(mending).await;
    }

    /// Finishes a recording from before a crash whose stream is over.
    pub(crate) async fn finish(self, begun: OpenRecording, storage: Storage, ends: Ends) {
        let Some(shared) = self.0 else { return };
        let shelf: Arc<dyn Shelf> = Arc::new(storage);
        let finished = ends.abandoned.run_until_cancelled(shared.finish_left(begun, &shelf)).await;
        if let Some((recording_id, index)) = finished.flatten() {
            ends.stopping.run_until_cancelled(shared.make_sheets(recording_id, &index, &shelf)).await;
        }
    }
}

impl Shared {
    /// Removes what there is on this node's disk of recordings that are over. One that is not open may also be one that cannot be read
    /// by this version of Weir: nothing of it goes before somebody can say what has become of it.
    async fn drop_others(&self, open: &[OpenRecording], tails: &Tails) {
        for recording_id in tails.all().await {
            if open.iter().any(|open| open.recording_id == recording_id) {
                continue;
            }
            let is_over = timeout(CALL, self.recordings.is_over(recording_id)).await;
            if matches!(is_over, Ok(Ok(true))) {
                tails.drop(recording_id).await;
            } else {
                warn!(recording.id = %recording_id, "nobody knows what became of a recording; its rest stays here");
            }
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Recorder").field("is_on", &self.0.is_some()).finish_non_exhaustive()
    }
}

impl PartialEq for Recorder {
    /// Whether it is the same one.
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }
}

impl Eq for Recorder {}

/// When the process wants no more of it.
#[derive(Debug, Clone)]
pub(crate) struct Ends {
    /// What can wait is left.
    pub stopping: CancellationToken,
    /// All is left; what is not finished is finished by the next start of this node.
    pub abandoned: CancellationToken,
}

/// Why something of a recording could not be kept.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error("a part of the recording has no place")]
    Key(#[from] InvalidKey),
    #[error("a part of the recording could not be stored")]
    Store(#[from] StorageError),
    #[error("the index of the recording is not right")]
    Index(#[from] IndexError),
    #[error("the storage took longer than {} s", STORE_WITHIN.as_secs())]
    TimedOut,
}

impl KeepError {
    fn is_full(&self) -> bool {
        match self {
            Self::Store(error) | Self::Index(IndexError::Storage(error)) => error.is_disk_full(),
            Self::Key(_) | Self::Index(_) | Self::TimedOut => false,
        }
    }
}

/// The folder of a recording in the storage.
///
/// # Errors
///
/// Never in practice: an id is a valid name.
pub fn folder(recording_id: RecordingId) -> Result<Key, InvalidKey> {
    Key::new(format!("recordings/{recording_id}"))
}

/// A key in the folder of a recording.
pub(crate) fn key(recording_id: RecordingId, name: &str) -> Result<Key, InvalidKey> {
    Key::new(format!("recordings/{recording_id}/{name}"))
}

/// They are told from the start.
fn describe_metrics() {
    describe_gauge!("weir_recordings_running", "Streams that are being recorded.");
    describe_counter!("weir_recordings_total", "Recordings that have ended, by how.");
    describe_counter!("weir_recorded_bytes_total", "Bytes of segments that were stored.");
    describe_counter!("weir_recording_gaps_total", "How often something was missing in between.");
    gauge!("weir_recordings_running").increment(0.0);
    for outcome in ["whole", "gaps", "short", "quota", "failed", "deleted"] {
        counter!("weir_recordings_total", "outcome" => outcome).increment(0);
    }
    counter!("weir_recorded_bytes_total").increment(0);
    counter!("weir_recording_gaps_total").increment(0);
}

/// Tells of trouble once, and remembers since when there is some.
fn tell(trouble: &mut Option<Instant>, recording_id: RecordingId, error: &(dyn Error + 'static)) {
    if trouble.is_none() {
        *trouble = Some(Instant::now());
        warn!(recording.id = %recording_id, error, "the storage does not take a recording; trying on");
    }
}

/// Asks the write side until it answers.
async fn ask<'a, T>(
    what: &'static str,
    call: impl Fn() -> BoxFuture<'a, Result<T, RecordError>>,
) -> Result<T, RecordError> {
    let mut has_warned = false;
    loop {
        match timeout(CALL, call()).await.unwrap_or(Err(RecordError::Unavailable)) {
            Err(RecordError::Unavailable) => {}
            other => return other,
        }
        if !std::mem::replace(&mut has_warned, true) {
            debug!(what, "the write side does not answer; trying on");
        }
        sleep(TRY_AGAIN).await;
    }
}
