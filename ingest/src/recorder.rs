//! Keeps streams while they are on: each segment of the source goes into the storage as it is complete.
//!
//! | key below `recordings/<recording>/` | what |
//! |---|---|
//! | `source/init<N>.mp4`, `source/s<N>.m4s` | what viewers got while the stream was on, under the same numbers |
//! | `source/index/<K>.jsonl` | what of it is kept, in order: see `recorder/index.rs` |
//! | `thumbnail.jpg`, `sheets/…` | made once it is complete |
//!
//! A segment is stored before the index names it, so what the index says is there, whenever the node is killed: at most the
//! segment that was growing is lost, and one that was just being stored. When the node is back, the recording goes on with its
//! stream, or is finished from what is there.
//!
//! The recorder never holds up the stream. It reads what viewers see, and holds nothing itself but the segment that it stores:
//! it may fall behind by the window that the packager keeps (a minute or so). What has left the window by then is missing in
//! the recording, which says so. A full storage ends the recording and never the stream.

pub(crate) mod boxes;
pub(crate) mod index;
mod sheets;
mod shelf;

use std::{error::Error, fmt, pin::pin, sync::Arc, time::Duration};

use domain::{
    ids::{ChannelId, RecordingId},
    recordings::{CutShort, FinishedRecording, RecordedRendition, RecordingFailure},
};
use futures::future::BoxFuture;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use storage::{DiskWatch, InvalidKey, Key, Storage, StorageError};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::{
    index::{Index, IndexError, KeptInit, KeptSegment},
    shelf::Shelf,
};
use crate::{
    packager::{Broadcast, Need, Segment},
    ports::{OpenRecording, RecordError, Recordings},
    thumbnails,
};

/// How long something may take to be stored or read before the log says so; what is read is then tried again.
const STORE_WITHIN: Duration = Duration::from_secs(20);
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// How long the end of a stream waits for a storage that takes nothing.
const END_WITHIN: Duration = Duration::from_secs(60);
/// How long the write side may take for one call.
const CALL: Duration = Duration::from_secs(5);

/// What keeps streams. Cheap to clone: clones share it. The default keeps none.
#[derive(Clone, Default)]
pub struct Recorder(Option<Arc<Shared>>);

struct Shared {
    recordings: Arc<dyn Recordings>,
    disk: DiskWatch,
}

impl Recorder {
    /// Keeps the streams that `recordings` wants to be kept, for as long as `disk` has room.
    #[must_use]
    pub fn new(recordings: Arc<dyn Recordings>, disk: DiskWatch) -> Self {
        describe_metrics();
        Self(Some(Arc::new(Shared { recordings, disk })))
    }

    /// The room that there is on the disk, where that is watched.
    pub(crate) fn disk(&self) -> Option<DiskWatch> {
        self.0.as_ref().map(|shared| shared.disk.clone())
    }

    /// What this node has begun and not finished, asked for until the write side answers; nothing once `cancel` is called.
    pub(crate) async fn open(&self, cancel: &CancellationToken) -> Vec<OpenRecording> {
        let Some(shared) = &self.0 else { return Vec::new() };
        let asked = ask("open recordings", || shared.recordings.open());
        cancel.run_until_cancelled(asked).await.and_then(Result::ok).unwrap_or_default()
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

/// How the keeping of a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// To the stream's end.
    Whole,
    /// To the stream's end, and something is missing in between or at the beginning.
    WithGaps,
    Short(CutShort),
}

impl Outcome {
    /// As it must be called where this is what was kept.
    fn with(self, index: &Index) -> Self {
        let has_gaps = index.segments.iter().any(|segment| segment.is_gap);
        if self == Self::Whole && has_gaps { Self::WithGaps } else { self }
    }

    /// As metrics have it.
    fn label(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::WithGaps => "gaps",
            Self::Short(_) => "short",
        }
    }
}

/// A recording in the making.
struct Keeping {
    recording_id: RecordingId,
    shelf: Arc<dyn Shelf>,
    index: Index,
    /// After the last segment that this process has kept. Numbers jump at a crash, so that whatever comes after one does not
    /// follow on what is there.
    next: Option<u64>,
    /// When the log says that the storage takes its time.
    store_within: Duration,
}

impl Shared {
    async fn keep(
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
        let (shelf_of_it, store_within) = (Arc::clone(shelf), STORE_WITHIN);
        let mut keeping = Keeping { recording_id, shelf: shelf_of_it, index, next: None, store_within };
        let outcome = keeping.follow(&broadcast, &self.disk, &need).await;
        drop(need);
        gauge!("weir_recordings_running").decrement(1.0);
        // The crash is why nothing came after it.
        let outcome = match outcome {
            Outcome::Whole if is_resumed && keeping.next.is_none() => Outcome::Short(CutShort::Crashed),
            other => other.with(&keeping.index),
        };
        let is_published = self.finish(&begun, &keeping.index, outcome, &**shelf).await;
        is_published.then_some((recording_id, keeping.index))
    }

    async fn finish_left(&self, begun: OpenRecording, shelf: &Arc<dyn Shelf>) -> Option<(RecordingId, Index)> {
        let recording_id = begun.recording_id;
        let index = kept_before(recording_id, &**shelf).await;
        let is_published = self.finish(&begun, &index, Outcome::Short(CutShort::Crashed), &**shelf).await;
        is_published.then_some((recording_id, index))
    }

    async fn mend(&self, published: &OpenRecording, shelf: &Arc<dyn Shelf>) -> Result<(), KeepError> {
        let recording_id = published.recording_id;
        if shelf.beginning(&key(recording_id, "thumbnail.jpg")?, 1).await?.is_none() {
            self.copy_picture(published, &**shelf).await;
            self.leave_nothing(recording_id, &**shelf).await;
        }
        // It is stored after the sheets that it names.
        if shelf.beginning(&key(recording_id, sheets::TIMES)?, 1).await?.is_none() {
            let index = Index::load(recording_id, &**shelf).await?;
            if !index.segments.is_empty() {
                info!(recording.id = %recording_id, "pictures for seeking are made again");
                self.make_sheets(recording_id, &index, shelf).await;
            }
        }
        Ok(())
    }

    async fn make_sheets(&self, recording_id: RecordingId, index: &Index, shelf: &Arc<dyn Shelf>) {
        sheets::make(recording_id, index, shelf).await;
        self.leave_nothing(recording_id, &**shelf).await;
    }

    /// Deletes what was stored of a recording that has been deleted meanwhile: whoever deletes such things may have been here
    /// before it was.
    async fn leave_nothing(&self, recording_id: RecordingId, shelf: &dyn Shelf) {
        if ask("whether a recording is gone", || self.recordings.is_deleted(recording_id)).await == Ok(true) {
            info!(recording.id = %recording_id, "the recording was deleted meanwhile; its pictures go, too");
            delete(recording_id, shelf).await;
        }
    }

    /// Tells the write side what has come of a recording; whether it can be watched.
    async fn finish(&self, begun: &OpenRecording, index: &Index, outcome: Outcome, shelf: &dyn Shelf) -> bool {
        let recording_id = begun.recording_id;
        let told = match finished(index, outcome) {
            Ok(finished) => {
                let (duration_ms, size_bytes) = (finished.duration_ms, finished.size_bytes);
                self.copy_picture(begun, shelf).await;
                let told = ask("a finished recording", || self.recordings.published(recording_id, finished.clone()));
                let told = told.await;
                let gaps = finished.gap_count;
                info!(recording.id = %recording_id, duration_ms, size_bytes, gaps, ?outcome, "recorded");
                told.map(|()| true)
            }
            Err(reason) => {
                warn!(recording.id = %recording_id, reason = reason.as_str(), "nothing could be recorded");
                ask("a failed recording", || self.recordings.failed(recording_id, reason)).await.map(|()| false)
            }
        };
        let label = match told {
            Ok(true) => outcome.label(),
            Ok(false) => "failed",
            Err(_) => "deleted",
        };
        if told.is_err() {
            // It was deleted while it was made; whoever deletes such things may have been here before the last segment.
            delete(recording_id, shelf).await;
        }
        counter!("weir_recordings_total", "outcome" => label).increment(1);
        told.unwrap_or_else(|error| {
            debug!(recording.id = %recording_id, %error, "a recording is gone before it was finished");
            false
        })
    }

    /// The stream's last picture becomes the recording's.
    async fn copy_picture(&self, begun: &OpenRecording, shelf: &dyn Shelf) {
        let copied = async {
            let Some(picture) = shelf.get(&thumbnails::key(begun.stream_id)?).await? else { return Ok(()) };
            shelf.put(&key(begun.recording_id, "thumbnail.jpg")?, picture).await?;
            Ok::<_, KeepError>(())
        };
        match timeout(STORE_WITHIN, copied).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(error = &error as &dyn Error, "a recording has no picture"),
            Err(_) => debug!("a recording has no picture: the storage takes too long"),
        }
    }
}

impl Keeping {
    /// Keeps what comes until the stream has ended, or nothing more can be kept.
    async fn follow(&mut self, broadcast: &Broadcast, disk: &DiskWatch, need: &Need) -> Outcome {
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
            let Some(kept) = self.keep_patiently(&segment, broadcast, &mut trouble).await else {
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
        segment: &Segment,
        broadcast: &Broadcast,
        trouble: &mut Option<Instant>,
    ) -> Option<Result<(), KeepError>> {
        let (recording_id, store_within) = (self.recording_id, self.store_within);
        let mut keeping = pin!(self.keep(segment));
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
    async fn keep(&mut self, segment: &Segment) -> Result<(), KeepError> {
        let init = &segment.init;
        let number = segment.number;
        let is_gap = match self.next {
            Some(next) => number > next,
            // There was a crash before, or the write side was away for so long that the beginning has left the window.
            None => number > 0,
        };
        let needs_init = self.index.last_init() != Some(init.number);
        if needs_init {
            self.shelf.put(&self.key(&format!("init{}.mp4", init.number))?, init.media.bytes.clone()).await?;
        }
        self.shelf.put(&self.key(&format!("s{number}.m4s"))?, segment.bytes.clone()).await?;
        let mut index = self.index.clone();
        if needs_init {
            index.push_init(KeptInit {
                number: init.number,
                size_bytes: init.media.bytes.len() as u64,
                codecs: init.media.codecs.clone(),
                width: init.media.width,
                height: init.media.height,
                frame_rate: init.media.frame_rate,
            });
        }
        index.push_segment(KeptSegment {
            number,
            duration_ms: segment.duration_ms,
            size_bytes: segment.bytes.len() as u64,
            init: init.number,
            is_after_discontinuity: segment.is_after_discontinuity || is_gap,
            is_gap,
            starts_at: segment.starts_at,
            key_frame_bytes: match segment.parts.first() {
                Some(first) if first.is_independent => first.bytes.len() as u64,
                _ => 0,
            },
            decode_time: boxes::decode_time(&segment.bytes, init.media.sound_sample_rate).unwrap_or(0),
        });
        index.store(&*self.shelf).await?;
        counter!("weir_recorded_bytes_total").increment(segment.bytes.len() as u64);
        if is_gap {
            warn!(recording.id = %self.recording_id, segment = number, "something is missing in a recording");
            counter!("weir_recording_gaps_total").increment(1);
        }
        self.index = index;
        self.next = Some(number + 1);
        Ok(())
    }

    fn key(&self, name: &str) -> Result<Key, InvalidKey> {
        key(self.recording_id, &format!("source/{name}"))
    }
}

/// They are told from the start.
fn describe_metrics() {
    describe_gauge!("weir_recordings_running", "Streams that are being recorded.");
    describe_counter!("weir_recordings_total", "Recordings that have ended, by how.");
    describe_counter!("weir_recorded_bytes_total", "Bytes of segments that were stored.");
    describe_counter!("weir_recording_gaps_total", "How often something was missing in between.");
    gauge!("weir_recordings_running").increment(0.0);
    for outcome in ["whole", "gaps", "short", "failed", "deleted"] {
        counter!("weir_recordings_total", "outcome" => outcome).increment(0);
    }
    counter!("weir_recorded_bytes_total").increment(0);
    counter!("weir_recording_gaps_total").increment(0);
}

/// What has come of a recording, or why nothing has.
fn finished(index: &Index, outcome: Outcome) -> Result<FinishedRecording, RecordingFailure> {
    let duration_ms: u64 = index.segments.iter().map(|segment| u64::from(segment.duration_ms)).sum();
    let media_bytes: u64 = index.segments.iter().map(|segment| segment.size_bytes).sum();
    let init_bytes: u64 = index.inits.iter().map(|init| init.size_bytes).sum();
    if index.segments.is_empty() {
        return Err(match outcome {
            Outcome::Short(CutShort::StorageFull) => RecordingFailure::StorageFull,
            Outcome::Short(CutShort::StorageUnavailable) => RecordingFailure::StorageUnavailable,
            Outcome::Short(CutShort::Crashed) | Outcome::Whole | Outcome::WithGaps => RecordingFailure::Empty,
        });
    }
    let bitrate_bps = (media_bytes * 8_000).checked_div(duration_ms).unwrap_or(0);
    let renditions = index.inits.last().map(|init| RecordedRendition {
        name: "source".to_owned(),
        width: init.width,
        height: init.height,
        codecs: init.codecs.clone(),
        bitrate_bps: signed(bitrate_bps),
    });
    Ok(FinishedRecording {
        duration_ms: signed(duration_ms),
        size_bytes: signed(media_bytes + init_bytes),
        renditions: renditions.into_iter().collect(),
        gap_count: index.segments.iter().filter(|segment| segment.is_gap).count() as i64,
        cut_short: match outcome {
            Outcome::Whole | Outcome::WithGaps => None,
            Outcome::Short(cut_short) => Some(cut_short),
        },
    })
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What is there of a recording of before a crash, asked for until the storage answers. It is worth the wait: to go on without
/// it would write over what says what there is.
async fn kept_before(recording_id: RecordingId, shelf: &dyn Shelf) -> Index {
    let mut trouble = None;
    loop {
        match timeout(STORE_WITHIN, Index::load(recording_id, shelf)).await {
            Ok(Ok(index)) => return index,
            Ok(Err(error)) => tell(&mut trouble, recording_id, &error),
            Err(_) => tell(&mut trouble, recording_id, &KeepError::TimedOut),
        }
        sleep(TRY_AGAIN).await;
    }
}

/// Deletes all that is stored of a recording, with a few tries: whoever follows the log has deleted most of it already.
async fn delete(recording_id: RecordingId, shelf: &dyn Shelf) {
    for _ in 0..5 {
        let deleted = async {
            shelf.delete_below(&folder(recording_id)?).await?;
            Ok::<_, KeepError>(())
        };
        match deleted.await {
            Ok(()) => return,
            Err(error) => warn!(recording.id = %recording_id, error = &error as &dyn Error, "not deleted yet"),
        }
        sleep(TRY_AGAIN).await;
    }
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

#[cfg(test)]
mod tests;
