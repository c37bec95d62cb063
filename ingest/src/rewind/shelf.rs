//! What is kept of one rendition, and its playlist.

use std::{
    collections::VecDeque,
    future::pending,
    io,
    panic::resume_unwind,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::{sync::OnceCell, task::JoinError};

use super::{file, remove_folder};
use crate::packager::{Document, Entry, Init, Listing, Report, Segment, View, media_playlist};

/// The name of the playlist.
const FILE: &str = "rewind.m3u8";
/// How long a file stays after it has left the playlist, in media: so long a player may take from reading a playlist to
/// asking for its oldest segment. RFC 8216bis section 6.2.2 asks for the length of the playlist, which would double what
/// is on the disk; a player reloads the playlist every few seconds.
const UNLISTED_MS: u64 = 60_000;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// What is kept of one rendition.
pub(crate) struct Shelf {
    id: u64,
    folder: PathBuf,
    window_ms: u64,
    index: Mutex<Index>,
    /// No playlist begins with an earlier segment than one before it did.
    shown_from: AtomicU64,
    /// The last playlists: whole and shorter, of all and of the sound alone.
    written: [Mutex<Option<Written>>; 4],
}

/// A playlist, once it is written, and what it is written from.
struct Written {
    revision: u64,
    from: u64,
    document: Arc<OnceCell<Arc<Document>>>,
}

#[derive(Default)]
struct Index {
    /// With consecutive numbers, oldest first; those before `listed_from` have left the playlist.
    kept: VecDeque<Kept>,
    listed_from: usize,
}

/// One segment on the disk.
struct Kept {
    number: u64,
    duration_ms: u32,
    size_bytes: u32,
    init: Arc<Init>,
    starts_at: OffsetDateTime,
    discontinuity: u64,
    is_after_discontinuity: bool,
}

impl Shelf {
    pub(super) fn new(stream_folder: &std::path::Path, rendition: &str, window_ms: u64) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            folder: stream_folder.join(format!("{id}-{rendition}")),
            window_ms,
            index: Mutex::default(),
            shown_from: AtomicU64::new(0),
            written: Default::default(),
        }
    }

    pub(super) fn id(&self) -> u64 {
        self.id
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // Nothing panics while it is held.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has(&self, number: u64) -> bool {
        self.index().find(number).is_some()
    }

    /// An initialisation segment that a kept segment needs.
    pub(crate) fn init(&self, number: u64) -> Option<Arc<Init>> {
        self.index().kept.iter().find(|kept| kept.init.number == number).map(|kept| Arc::clone(&kept.init))
    }

    /// The number of the last segment that is kept.
    pub(super) fn last(&self) -> Option<u64> {
        self.index().kept.back().map(|kept| kept.number)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("s{number}.m4s"))
    }

    /// Reads a segment; `None` when it is gone.
    pub(super) async fn read(&self, number: u64) -> Option<Bytes> {
        let path = self.path(number);
        let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
        match read.map_err(io::Error::other).flatten() {
            Ok(bytes) => Some(bytes.into()),
            // It has just been let go.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, segment = number, "a segment to rewind to cannot be read");
                None
            }
        }
    }

    /// Writes a segment, then knows of it. Numbers follow each other; after a hole, [`Shelf::clear`] comes first.
    pub(super) async fn add(&self, segment: &Segment) -> io::Result<()> {
        let (path, bytes) = (self.path(segment.number), segment.bytes.clone());
        let write = move || {
            let written = file::write(&path, &bytes).or_else(|error| {
                if error.kind() != io::ErrorKind::NotFound {
                    return Err(error);
                }
                // The first of all.
                path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
                file::write(&path, &bytes)
            });
            if written.is_err() {
                // What is there of it only takes room.
                let _ = std::fs::remove_file(&path);
            }
            written
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other).flatten()?;
        let size_bytes = u32::try_from(segment.bytes.len()).unwrap_or(u32::MAX);
        metrics::gauge!("weir_rewind_bytes").increment(f64::from(size_bytes));
        self.index().kept.push_back(Kept {
            number: segment.number,
            duration_ms: segment.duration_ms,
            size_bytes,
            init: Arc::clone(&segment.init),
            starts_at: segment.starts_at,
            discontinuity: segment.discontinuity,
            is_after_discontinuity: segment.is_after_discontinuity,
        });
        Ok(())
    }

    /// Unlists what is beyond the window, and lets go of what nobody can still be fetching.
    pub(super) async fn slide(&self) {
        let gone = self.index().slide(self.window_ms);
        self.remove(gone).await;
    }

    /// Makes room: the oldest quarter goes at once.
    pub(super) async fn shrink(&self) {
        let gone = {
            let mut index = self.index();
            let count = index.kept.len().div_ceil(4);
            index.let_go(count)
        };
        self.remove(gone).await;
    }

    /// Begins anew: a playlist has no holes.
    pub(super) async fn clear(&self) {
        let gone = {
            let mut index = self.index();
            let count = index.kept.len();
            index.let_go(count)
        };
        self.remove(gone).await;
    }

    async fn remove(&self, gone: Vec<Kept>) {
        if gone.is_empty() {
            return;
        }
        let size_bytes: u64 = gone.iter().map(|kept| u64::from(kept.size_bytes)).sum();
        metrics::gauge!("weir_rewind_bytes").decrement(size_bytes as f64);
        let paths: Vec<_> = gone.iter().map(|kept| self.path(kept.number)).collect();
        let remove = move || {
            for path in paths {
                if let Err(error) = std::fs::remove_file(&path) {
                    tracing::debug!(%error, path = %path.display(), "a segment to rewind to cannot be removed");
                }
            }
        };
        // A panic in there would be one of the standard library.
        let _ = tokio::task::spawn_blocking(remove).await;
    }

    /// Removes everything.
    pub(super) async fn dispose(&self) {
        let size_bytes: u64 = self.index().kept.drain(..).map(|kept| u64::from(kept.size_bytes)).sum();
        metrics::gauge!("weir_rewind_bytes").decrement(size_bytes as f64);
        let folder = self.folder.clone();
        let removed = tokio::task::spawn_blocking(move || remove_folder(&folder)).await;
        if let Err(error) = removed.map_err(io::Error::other).flatten() {
            tracing::debug!(%error, folder = %self.folder.display(), "what was to rewind to cannot be removed");
        }
    }

    /// The playlist of a view: what is kept, and then what the view lists. Of the sound alone, if wanted; as a delta
    /// update, where one was asked for and leaves something out. Those who ask for the same share one writing.
    ///
    /// It is written and compressed on a thread for such things: half an hour takes as long as a hundred answers, and whoever
    /// asks may be on one that has thousands of viewers. Cancel safe.
    pub(crate) async fn playlist(
        self: &Arc<Self>,
        view: &Arc<View>,
        is_audio: bool,
        is_delta: bool,
        reports: impl FnOnce() -> Vec<Report> + Send + 'static,
    ) -> Arc<Document> {
        let (document, from) = self.place(view, usize::from(is_audio) * 2 + usize::from(is_delta));
        let write = || async {
            let (shelf, view) = (Arc::clone(self), Arc::clone(view));
            let written = tokio::task::spawn_blocking(move || {
                let document = shelf.write(&view, from, (is_audio, is_delta), reports());
                document.gzip();
                Arc::new(document)
            });
            match written.await.map_err(JoinError::try_into_panic) {
                Ok(document) => document,
                Err(Ok(panic)) => resume_unwind(panic),
                // The process ends.
                Err(Err(_)) => pending().await,
            }
        };
        Arc::clone(document.get_or_init(write).await)
    }

    /// Where the playlist of this moment is, or is being written, and with which segment it begins.
    fn place(&self, view: &View, kind: usize) -> (Arc<OnceCell<Arc<Document>>>, u64) {
        let mut place = self.written[kind].lock().unwrap_or_else(PoisonError::into_inner);
        let begins = self.index().begins(view);
        let from = self.shown_from.fetch_max(begins, Ordering::AcqRel).max(begins);
        let revision = view.facts.revision;
        let present = place.as_ref().filter(|written| (written.revision, written.from) == (revision, from));
        let document = match present {
            Some(written) => Arc::clone(&written.document),
            None => {
                let document = Arc::default();
                *place = Some(Written { revision, from, document: Arc::clone(&document) });
                document
            }
        };
        (document, from)
    }

    fn write(&self, view: &View, from: u64, (is_audio, is_delta): (bool, bool), reports: Vec<Report>) -> Document {
        let facts = &view.facts;
        let in_memory = facts.segments.first().map_or(facts.next_segment, |first| first.number);
        let is_gap = |init: &Init| is_audio && init.media.sound_codec.is_none();
        let mut entries: Vec<Entry<'_>> = {
            let index = self.index();
            let earlier = index.kept.iter().filter(|kept| (from..in_memory).contains(&kept.number));
            earlier.map(|kept| kept.entry(is_gap(&kept.init))).collect()
        };
        let later = view.segments().filter(|segment| segment.number >= from);
        entries.extend(later.map(|segment| Entry { is_gap: is_gap(&segment.init), ..Entry::from(segment) }));
        let listing = Listing {
            file: FILE,
            timing: facts.timing,
            entries,
            next_segment: facts.next_segment,
            discontinuity: facts.discontinuity,
            next_part: facts.next_part,
            is_ended: facts.is_ended,
            is_independent: is_audio,
            reports,
        };
        let skipped = if is_delta { listing.skippable() } else { 0 };
        let (next_part, revision) = (facts.next_part, facts.revision);
        let tag = format!("rewind-{next_part}-{revision}-{from}{}", if skipped > 0 { "-delta" } else { "" });
        Document::new(tag, media_playlist(&listing, skipped))
    }
}

impl Index {
    fn find(&self, number: u64) -> Option<&Kept> {
        let first = self.kept.front()?.number;
        self.kept.get(usize::try_from(number.checked_sub(first)?).ok()?)
    }

    /// The first segment of the playlist: the first one listed that is kept, if what the view has goes on from there.
    fn begins(&self, view: &View) -> u64 {
        let facts = &view.facts;
        let number_at = |at: usize| facts.segments.get(at).map_or(facts.next_segment, |segment| segment.number);
        let (in_memory, listed) = (number_at(0), number_at(facts.listed_from));
        match (self.kept.get(self.listed_from), self.kept.back()) {
            (Some(first), Some(last)) if last.number + 1 >= in_memory => first.number.min(listed),
            _ => listed,
        }
    }

    fn slide(&mut self, window_ms: u64) -> Vec<Kept> {
        let total = |from: usize| -> u64 { self.kept.iter().skip(from).map(|kept| u64::from(kept.duration_ms)).sum() };
        let (mut listed_ms, mut kept_ms) = (total(self.listed_from), total(0));
        while let Some(first) = self.kept.get(self.listed_from) {
            listed_ms -= u64::from(first.duration_ms);
            if listed_ms < window_ms {
                break;
            }
            self.listed_from += 1;
        }
        let mut count = 0;
        for kept in self.kept.iter().take(self.listed_from) {
            kept_ms -= u64::from(kept.duration_ms);
            if kept_ms < window_ms.saturating_add(UNLISTED_MS) {
                break;
            }
            count += 1;
        }
        self.let_go(count)
    }

    /// Takes out the oldest.
    fn let_go(&mut self, count: usize) -> Vec<Kept> {
        self.listed_from = self.listed_from.saturating_sub(count);
        self.kept.drain(..count).collect()
    }
}

impl Kept {
    fn entry(&self, is_gap: bool) -> Entry<'static> {
        Entry {
            number: self.number,
            duration_ms: self.duration_ms,
            init: self.init.number,
            starts_at: self.starts_at,
            discontinuity: self.discontinuity,
            is_after_discontinuity: self.is_after_discontinuity,
            is_gap,
            is_complete: true,
            parts: &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::packager::Timing;

    #[test]
    #[ignore = "it measures: run it with --release -- --ignored --nocapture"]
    fn how_long_the_playlist_of_half_an_hour_takes() {
        const TIMES: u32 = 100;
        let entry = |number: u64| Entry {
            number,
            duration_ms: 2_000,
            init: 0,
            starts_at: OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(2 * number as i64),
            discontinuity: 0,
            is_after_discontinuity: false,
            is_gap: false,
            is_complete: true,
            parts: &[],
        };
        let listing = Listing {
            file: FILE,
            timing: Timing { target_duration_s: 2, part_target_ms: 505 },
            entries: (0..900).map(entry).collect(),
            next_segment: 900,
            discontinuity: 0,
            next_part: 3_600,
            is_ended: false,
            is_independent: false,
            reports: Vec::new(),
        };
        let began = Instant::now();
        let texts: Vec<String> = (0..TIMES).map(|_| media_playlist(&listing, 0)).collect();
        let written = began.elapsed() / TIMES;
        let (began, bytes) = (Instant::now(), texts[0].len());
        let gzip: usize = texts.into_iter().map(|text| Document::new(String::new(), text).gzip().len()).sum();
        println!("{bytes} bytes written in {written:?}, compressed to {} in {:?}", gzip / 100, began.elapsed() / TIMES);
        assert!(gzip > 0);
    }
}
