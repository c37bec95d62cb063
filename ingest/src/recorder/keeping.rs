//! A recording in the making: what comes is stored, segment by segment.

use std::{
    error::Error,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use domain::{
    ids::{ChannelId, RecordingId},
    recordings::CutShort,
};
use metrics::{counter, gauge};
use storage::{DiskWatch, InvalidKey, Key};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    KeepError, STORE_WITHIN, Shared, TRY_AGAIN, ask,
    finishing::Outcome,
    index::{Index, KeptInit, KeptSegment},
    key,
    limit::SizeLimit,
    mending::kept_before,
    shelf::Shelf,
    tell,
};
use crate::{
    packager::{Broadcast, Need, Segment},
    ports::OpenRecording,
};

/// How long the end of a stream waits for a storage that takes nothing.
const END_WITHIN: Duration = Duration::from_secs(60);

/// A segment to be kept: as viewers see it, or as a killed process has left it.
pub(super) struct Taken {
    pub number: u64,
    pub duration_ms: u32,
    pub bytes: Bytes,
    pub is_after_discontinuity: bool,
    pub starts_at: OffsetDateTime,
    /// How long the fragment is that it begins with, if a key frame is in that; 0 otherwise.
    pub key_frame_bytes: u64,
    /// [`Segment::decode_time`].
    pub decode_time: u64,
    pub init: KeptInit,
    pub init_bytes: Bytes,
}

impl Taken {
    fn of(segment: &Segment) -> Self {
        let first = segment.parts.first().filter(|first| first.is_independent);
        Self {
            number: segment.number,
            duration_ms: segment.duration_ms,
            bytes: segment.bytes.clone(),
            is_after_discontinuity: segment.is_after_discontinuity,
            starts_at: segment.starts_at,
            key_frame_bytes: first.map_or(0, |first| first.bytes.len() as u64),
            decode_time: segment.decode_time(),
            init: KeptInit::of(&segment.init),
            init_bytes: segment.init.media.bytes.clone(),
        }
    }
}

/// A recording in the making.
pub(super) struct Keeping {
    recording_id: RecordingId,
    shelf: Arc<dyn Shelf>,
    index: Index,
    /// After the last segment that this process has kept. Numbers jump at a crash, so that whatever comes after one does not
    /// follow on what is there.
    next: Option<u64>,
    /// A segment that is stored and that the index names, but not yet the one in the storage.
    unnamed: Option<u64>,
    /// The index that is stored names all segments before this number that it ever will.
    stored_before: Arc<AtomicU64>,
    /// When the log says that the storage takes its time.
    store_within: Duration,
}

impl Shared {
    pub(super) async fn keep(
        &self,
        broadcast: Arc<Broadcast>,
        channel_id: ChannelId,
        begun: Option<OpenRecording>,
        shelf: &Arc<dyn Shelf>,
    ) -> Option<(RecordingId, Index)> {
        let stream_id = broadcast.stream_id();
        let need = broadcast.source().holds().need();
        let is_resumed = begun.is_some();
        let begun = match begun {
            Some(begun) => begun,
            None => {
                if !broadcast.playable().await {
                    // There is nothing to keep.
                    return None;
                }
                match ask("a recording", || self.recordings.begin(stream_id, channel_id)).await {
                    Ok(Some(begun)) => begun,
                    Ok(None) => return None,
                    Err(error) => {
                        warn!(stream.id = %stream_id, %error, "the stream is not recorded");
                        return None;
                    }
                }
            }
        };
        let recording_id = begun.recording_id;
        info!(stream.id = %stream_id, recording.id = %recording_id, is_resumed, "recording");
        gauge!("weir_recordings_running").increment(1.0);
        // Of a recording that has just begun there is nothing, and a storage that is away could not say so.
        let index = match is_resumed {
            true => kept_before(recording_id, &**shelf).await,
            false => Index::new(recording_id),
        };
        let mut keeping = Keeping::new(recording_id, Arc::clone(shelf), index);
        if is_resumed {
            self.keep_left(&mut keeping).await;
        }
        let mut limit = SizeLimit::new(&*self.recordings, channel_id);
        let (stored_before, stop) = (Arc::clone(&keeping.stored_before), CancellationToken::new());
        let kept = async {
            let outcome = keeping.follow(&broadcast, &self.disk, &need, &mut limit).await;
            stop.cancel();
            outcome
        };
        let written = async {
            if let Some(tails) = &self.tails {
                tails.write(recording_id, &broadcast, &stored_before, &stop).await;
            }
        };
        let (outcome, ()) = tokio::join!(kept, written);
        drop(need);
        gauge!("weir_recordings_running").decrement(1.0);
        let has_gone_on = keeping.next.is_some();
        let index = keeping.into_index();
        // The crash is why nothing came after it.
        let outcome = match outcome {
            Outcome::Whole if is_resumed && !has_gone_on => Outcome::Short(CutShort::Crashed),
            other => other.with(&index),
        };
        let is_published = self.finish(&begun, &index, outcome, &**shelf).await;
        if let Some(tails) = &self.tails {
            tails.drop(recording_id).await;
        }
        is_published.then_some((recording_id, index))
    }
}

impl Keeping {
    /// Of which so much is kept already.
    pub(super) fn new(recording_id: RecordingId, shelf: Arc<dyn Shelf>, index: Index) -> Self {
        let stored_before = Arc::default();
        Self { recording_id, shelf, index, next: None, unnamed: None, stored_before, store_within: STORE_WITHIN }
    }

    pub(super) fn recording_id(&self) -> RecordingId {
        self.recording_id
    }

    /// The number of the last segment that is kept.
    pub(super) fn last_number(&self) -> Option<u64> {
        self.index.segments.last().map(|last| last.number)
    }

    /// What is kept, and named by the index in the storage.
    pub(super) fn into_index(mut self) -> Index {
        if self.unnamed.is_some() {
            self.index.segments.pop();
        }
        self.index
    }

    /// Keeps segments of before a crash, until the storage takes them.
    ///
    /// # Errors
    /// When it is full; what is not kept by then is lost.
    pub(super) async fn keep_all(&mut self, left: &[Taken]) -> Result<(), KeepError> {
        self.next = self.last_number().map(|last| last + 1);
        let kept = self.keep_each(left).await;
        // Whatever comes now does not follow on it.
        self.next = None;
        kept
    }

    async fn keep_each(&mut self, left: &[Taken]) -> Result<(), KeepError> {
        let mut trouble = None;
        for taken in left {
            while let Err(error) = self.keep(taken).await {
                if error.is_full() {
                    return Err(error);
                }
                tell(&mut trouble, self.recording_id, &error);
                sleep(TRY_AGAIN).await;
            }
        }
        Ok(())
    }

    /// Keeps what comes until the stream has ended, or nothing more can be kept.
    async fn follow(
        &mut self,
        broadcast: &Broadcast,
        disk: &DiskWatch,
        need: &Need,
        limit: &mut SizeLimit<'_>,
    ) -> Outcome {
        let mut shown = broadcast.subscribe();
        let mut trouble: Option<Instant> = None;
        loop {
            let (segment, is_ended) = {
                let shown = shown.borrow_and_update();
                let next = self.next.unwrap_or(0);
                need.from(next);
                let mut segments = shown.view.iter().flat_map(|view| &view.facts.segments);
                (segments.find(|segment| segment.number >= next).cloned(), shown.is_ended)
            };
            let Some(segment) = segment else {
                if is_ended {
                    return Outcome::Whole;
                }
                if shown.changed().await.is_err() {
                    return Outcome::Whole;
                }
                continue;
            };
            if !disk.may_record() {
                return Outcome::Short(CutShort::StorageFull);
            }
            // Something is kept, however little is allowed.
            let size_bytes = self.index.size_bytes() + segment.bytes.len() as u64;
            if !limit.allows(size_bytes).await && !self.index.segments.is_empty() {
                info!(recording.id = %self.recording_id, size_bytes, "a recording ends: it may not be larger");
                return Outcome::Short(CutShort::Quota);
            }
            let taken = Taken::of(&segment);
            let Some(kept) = self.keep_patiently(&taken, broadcast, &mut trouble).await else {
                return Outcome::Short(CutShort::StorageUnavailable);
            };
            match kept {
                Ok(()) => {
                    if trouble.take().is_some() {
                        info!(recording.id = %self.recording_id, "the storage takes recordings again");
                    }
                }
                Err(error) if error.is_full() => {
                    warn!(recording.id = %self.recording_id, error = &error as &dyn Error, "a recording ends early");
                    return Outcome::Short(CutShort::StorageFull);
                }
                Err(error) => {
                    tell(&mut trouble, self.recording_id, &error);
                    let since = trouble.unwrap_or_else(Instant::now);
                    if is_ended && since.elapsed() > END_WITHIN {
                        return Outcome::Short(CutShort::StorageUnavailable);
                    }
                    sleep(TRY_AGAIN).await;
                }
            }
        }
    }

    /// As [`Keeping::keep`]; `None` when the storage still takes its time long after the stream's end.
    ///
    /// What is being stored is waited for, however long it takes, and not begun again beside it: of two writings of the index
    /// the older one may come last, and what was kept meanwhile would be named no more.
    async fn keep_patiently(
        &mut self,
        taken: &Taken,
        broadcast: &Broadcast,
        trouble: &mut Option<Instant>,
    ) -> Option<Result<(), KeepError>> {
        let (recording_id, store_within) = (self.recording_id, self.store_within);
        let mut keeping = pin!(self.keep(taken));
        loop {
            match timeout(store_within, &mut keeping).await {
                Ok(kept) => return Some(kept),
                Err(_) => tell(trouble, recording_id, &KeepError::TimedOut),
            }
            if broadcast.is_ended() && trouble.is_some_and(|since| since.elapsed() > END_WITHIN) {
                return None;
            }
        }
    }

    /// Stores a segment and what it needs, then the index that names it. To be called again when it fails.
    async fn keep(&mut self, taken: &Taken) -> Result<(), KeepError> {
        let number = taken.number;
        if let Some(unnamed) = self.unnamed.filter(|unnamed| *unnamed != number) {
            // It has left the window since, but is stored.
            self.index.store(&*self.shelf).await?;
            (self.unnamed, self.next) = (None, Some(unnamed + 1));
        }
        let is_gap = match self.next {
            Some(next) => number > next,
            // There was a crash before, or the write side was away for so long that the beginning has left the window.
            None => number > 0,
        };
        if self.unnamed != Some(number) {
            self.keep_bytes(taken, is_gap).await?;
            self.unnamed = Some(number);
        }
        self.index.store(&*self.shelf).await?;
        counter!("weir_recorded_bytes_total").increment(taken.bytes.len() as u64);
        if is_gap {
            warn!(recording.id = %self.recording_id, segment = number, "something is missing in a recording");
            counter!("weir_recording_gaps_total").increment(1);
        }
        self.unnamed = None;
        self.next = Some(number + 1);
        self.stored_before.store(number + 1, Ordering::Relaxed);
        Ok(())
    }

    async fn keep_bytes(&mut self, taken: &Taken, is_gap: bool) -> Result<(), KeepError> {
        let (init, number) = (&taken.init, taken.number);
        let needs_init = self.index.last_init() != Some(init.number);
        if needs_init {
            self.shelf.put(&self.key(&format!("init{}.mp4", init.number))?, taken.init_bytes.clone()).await?;
        }
        self.shelf.put(&self.key(&format!("s{number}.m4s"))?, taken.bytes.clone()).await?;
        if needs_init {
            self.index.push_init(init.clone());
        }
        self.index.push_segment(KeptSegment {
            number,
            duration_ms: taken.duration_ms,
            size_bytes: taken.bytes.len() as u64,
            init: init.number,
            is_after_discontinuity: taken.is_after_discontinuity || is_gap,
            is_gap,
            starts_at: taken.starts_at,
            key_frame_bytes: taken.key_frame_bytes,
            decode_time: taken.decode_time,
        });
        Ok(())
    }

    fn key(&self, name: &str) -> Result<Key, InvalidKey> {
        key(self.recording_id, &format!("source/{name}"))
    }
}

#[cfg(test)]
mod tests;
