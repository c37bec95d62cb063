//! What takes room without the log's knowing how much: recordings that are being made, and the copies that downloads have had
//! made of others.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use commands::recordings::KeptRecording;
use domain::{ids::RecordingId, recordings::RecordingState};
use storage::{InvalidKey, Key, ListedObject, MAX_PAGE, Storage, StorageError};
use thiserror::Error;

/// How long it is believed which copies there are: to ask is a request for each recording, which some have to pay for.
const BELIEVED_FOR: Duration = Duration::from_secs(3_600);

/// Asks the storage, and leaves it alone while it is away.
pub(super) struct Room<'a> {
    storage: &'a Storage,
    copies: Mutex<HashMap<RecordingId, (Instant, Vec<ListedObject>)>>,
    is_away: AtomicBool,
}

/// Why nobody knows.
#[derive(Debug, Error)]
enum RoomError {
    #[error("what is stored of a recording has no place")]
    Key(#[from] InvalidKey),
    #[error("the storage does not say what is stored of a recording")]
    Storage(#[from] StorageError),
}

impl<'a> Room<'a> {
    pub(super) fn new(storage: &'a Storage) -> Self {
        Self { storage, copies: Mutex::default(), is_away: AtomicBool::new(false) }
    }

    /// The storage is asked again, if it was away.
    pub(super) fn look_again(&self) {
        self.is_away.store(false, Ordering::Relaxed);
    }

    /// Puts in what is stored of recordings that are being made. What waits on the disk of another node is not seen.
    pub(super) async fn weigh(&self, kept: &mut [KeptRecording]) {
        for one in kept.iter_mut().filter(|one| one.state == RecordingState::Recording) {
            if let Some(bytes) = self.told(self.size(one.recording_id).await) {
                one.size_bytes = bytes;
            }
        }
    }

    /// Deletes copies, the oldest first, until these recordings and their copies have `max_bytes` together, or no copies are
    /// left. The next download has another one made.
    pub(super) async fn drop_copies(&self, kept: &[KeptRecording], max_bytes: i64) {
        let mut copies = Vec::new();
        for one in kept.iter().filter(|one| one.state == RecordingState::Published) {
            match self.told(self.copies_of(one.recording_id).await) {
                Some(found) => copies.extend(found.into_iter().map(|copy| (one.recording_id, copy))),
                None => return,
            }
        }
        copies.sort_by_key(|(_, copy)| copy.modified);
        let recordings: i64 = kept.iter().map(|one| one.size_bytes).sum();
        let mut size_bytes = recordings.saturating_add(copies.iter().map(|(_, copy)| signed(copy.size_bytes)).sum());
        for (recording_id, copy) in copies {
            if size_bytes <= max_bytes {
                break;
            }
            if self.told(self.storage.delete(&copy.key).await.map_err(RoomError::from)).is_none() {
                return;
            }
            tracing::info!(key = %copy.key, "a copy for downloads is gone: its channel's recordings take too much");
            size_bytes = size_bytes.saturating_sub(signed(copy.size_bytes));
            self.copies.lock().unwrap_or_else(PoisonError::into_inner).remove(&recording_id);
        }
    }

    /// Nothing is known any more of recordings other than these.
    pub(super) fn forget_others(&self, known: &HashSet<RecordingId>) {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| known.contains(id));
    }

    async fn size(&self, recording_id: RecordingId) -> Result<i64, RoomError> {
        if self.is_away.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let folder = Key::new(format!("recordings/{recording_id}/source"))?;
        Ok(signed(self.storage.usage(&folder).await?.size_bytes))
    }

    async fn copies_of(&self, recording_id: RecordingId) -> Result<Vec<ListedObject>, RoomError> {
        let known = {
            let copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
            copies.get(&recording_id).filter(|(at, _)| at.elapsed() < BELIEVED_FOR).map(|(_, found)| found.clone())
        };
        if let Some(known) = known {
            return Ok(known);
        }
        if self.is_away.load(Ordering::Relaxed) {
            return Ok(Vec::new());
        }
        let folder = Key::new(format!("recordings/{recording_id}/files"))?;
        let found = self.storage.list_prefix(&folder, None, MAX_PAGE).await?.objects;
        let mut copies = self.copies.lock().unwrap_or_else(PoisonError::into_inner);
        copies.insert(recording_id, (Instant::now(), found.clone()));
        Ok(found)
    }

    /// What the storage has said; `None` when it has not, and then it is not asked again in this look.
    fn told<T>(&self, answer: Result<T, RoomError>) -> Option<T> {
        answer
            .inspect_err(|error| {
                self.is_away.store(true, Ordering::Relaxed);
                tracing::debug!(error = error as &dyn Error, "nobody knows how much room recordings take");
            })
            .ok()
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
