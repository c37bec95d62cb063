//! The tasks that write segments: one a stream, which looks after its renditions, and one a rendition.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use domain::ids::StreamId;
use storage::DiskWatch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{remove_folder, shelf::Shelf};
use crate::packager::{Broadcast, Rendition, Segment, Shown, View};

/// By the names of renditions.
type Shelves = HashMap<String, (Weak<Rendition>, Arc<Shelf>)>;

/// What is kept of one stream.
pub(super) struct StreamShelf {
    stream_id: StreamId,
    broadcast: Weak<Broadcast>,
    folder: PathBuf,
    window_ms: u64,
    disk: Option<DiskWatch>,
    renditions: Mutex<Shelves>,
    stopped: CancellationToken,
}

impl StreamShelf {
    /// Nothing is kept until it runs.
    pub(super) fn new(
        folder: PathBuf,
        window_ms: u64,
        disk: Option<DiskWatch>,
        broadcast: &Arc<Broadcast>,
    ) -> Arc<Self> {
        Arc::new(Self {
            stream_id: broadcast.stream_id(),
            broadcast: Arc::downgrade(broadcast),
            folder,
            window_ms,
            disk,
            renditions: Mutex::default(),
            stopped: CancellationToken::new(),
        })
    }

    pub(super) fn is_of(&self, broadcast: &Arc<Broadcast>) -> bool {
        self.broadcast.as_ptr() == Arc::as_ptr(broadcast)
    }

    /// Ends its tasks; then everything is removed.
    pub(super) fn stop(&self) {
        self.stopped.cancel();
    }

    /// The shelf of the rendition that has this name now.
    pub(super) fn shelf(&self, name: &str) -> Option<Arc<Shelf>> {
        let rendition = self.broadcast.upgrade()?.rendition(name)?;
        Some(self.shelf_of(&rendition))
    }

    /// The shelf of a rendition; made where there is none yet.
    fn shelf_of(&self, rendition: &Arc<Rendition>) -> Arc<Shelf> {
        let mut renditions = self.renditions();
        let present = renditions.get(rendition.name()).filter(|(of, _)| of.as_ptr() == Arc::as_ptr(rendition));
        if let Some((_, shelf)) = present {
            return Arc::clone(shelf);
        }
        let shelf = Arc::new(Shelf::new(&self.folder, rendition.name(), self.window_ms));
        renditions.insert(rendition.name().to_owned(), (Arc::downgrade(rendition), Arc::clone(&shelf)));
        shelf
    }

    fn renditions(&self) -> MutexGuard<'_, Shelves> {
        // Entries are put in and taken out whole.
        self.renditions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a broadcast until it is stopped.
    pub(super) async fn run(self: Arc<Self>, broadcast: Arc<Broadcast>) {
        let mut tasks = JoinSet::new();
        let stopped = self.stopped.clone();
        stopped.run_until_cancelled(self.look_after(broadcast, &mut tasks)).await;
        // They stop too. One that writes finishes that first, or its file would be left over.
        while tasks.join_next().await.is_some() {}
        let shelves: Vec<_> = self.renditions().drain().map(|(_, (_, shelf))| shelf).collect();
        for shelf in shelves {
            shelf.dispose().await;
        }
        let folder = self.folder.clone();
        // Whatever of it cannot be removed is removed at the next start.
        let _ = tokio::task::spawn_blocking(move || remove_folder(&folder)).await;
    }

    /// Gives each rendition its task, and never returns.
    async fn look_after(self: &Arc<Self>, broadcast: Arc<Broadcast>, tasks: &mut JoinSet<()>) {
        let mut taken: Vec<(Weak<Rendition>, Arc<Shelf>)> = Vec::new();
        let mut bell = broadcast.subscribe();
        loop {
            for rendition in broadcast.renditions() {
                let shelf = self.shelf_of(&rendition);
                if !taken.iter().any(|(_, known)| Arc::ptr_eq(known, &shelf)) {
                    taken.push((Arc::downgrade(&rendition), Arc::clone(&shelf)));
                    tasks.spawn(Arc::clone(self).keep(rendition, shelf));
                }
            }
            while tasks.try_join_next().is_some() {}
            taken.retain(|(rendition, _)| rendition.strong_count() > 0);
            let next = bell.borrow_and_update().view.as_ref().map(|view| view.facts.next_segment);
            // A rendition that comes in between loses nothing: its memory is longer than a segment.
            let is_later =
                |shown: &Shown| shown.view.as_ref().is_some_and(|view| Some(view.facts.next_segment) != next);
            if bell.wait_for(is_later).await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Writes the segments of a rendition until it ends.
    async fn keep(self: Arc<Self>, rendition: Arc<Rendition>, shelf: Arc<Shelf>) {
        let mut bell = rendition.subscribe();
        let name = rendition.name().to_owned();
        let holds = Arc::clone(rendition.holds());
        drop(rendition);
        let mut failed_at = None;
        loop {
            let shown = bell.borrow_and_update().clone();
            match &shown.view {
                Some(view) => {
                    let written = self.write(&name, &shelf, view, failed_at.is_some()).await;
                    // Where writing fails the disk lets go of its oldest: then memory forgets by time alone, as without a disk.
                    holds.store(shelf.last().filter(|_| written).map_or(0, |last| last + 1));
                    failed_at = (!written).then_some(view.facts.next_segment);
                    if shown.is_ended {
                        return;
                    }
                }
                // It was taken away.
                None if shown.is_ended => return self.take_away(&name, &shelf).await,
                None => {}
            }
            drop(shown);
            // What failed is tried again with the next segment, not with each part.
            let is_due = |shown: &Shown| {
                shown.is_ended
                    || failed_at.is_none()
                    || shown.view.as_ref().map(|view| view.facts.next_segment) != failed_at
            };
            let bell = async { bell.changed().await.is_ok() && bell.wait_for(is_due).await.is_ok() };
            if self.stopped.run_until_cancelled(bell).await != Some(true) {
                return;
            }
        }
    }

    /// Writes what a view has and the shelf has not; false when it could not.
    async fn write(&self, name: &str, shelf: &Shelf, view: &View, has_failed: bool) -> bool {
        if !self.has_room() {
            if !has_failed {
                warn!(
                    stream.id = %self.stream_id, rendition = name,
                    "the disk is short of room: nothing more is written to rewind to, and the oldest goes"
                );
            }
            shelf.slide().await;
            shelf.shrink().await;
            return false;
        }
        for segment in new_segments(shelf, view).await {
            if self.stopped.is_cancelled() {
                return true;
            }
            if let Err(error) = shelf.add(&segment).await {
                metrics::counter!("weir_rewind_failures_total").increment(1);
                if !has_failed {
                    warn!(
                        stream.id = %self.stream_id, rendition = name, %error,
                        "a segment to rewind to cannot be written; viewers can go back less far"
                    );
                }
                shelf.shrink().await;
                return false;
            }
        }
        if has_failed {
            info!(stream.id = %self.stream_id, rendition = name, "segments to rewind to are written again");
        }
        shelf.slide().await;
        true
    }

    /// Live, and what is being recorded, come first.
    fn has_room(&self) -> bool {
        let has_room = self.disk.as_ref().is_none_or(DiskWatch::may_record);
        metrics::gauge!("weir_rewind_is_paused").set(if has_room { 0.0 } else { 1.0 });
        has_room
    }

    async fn take_away(&self, name: &str, shelf: &Arc<Shelf>) {
        {
            let mut renditions = self.renditions();
            if renditions.get(name).is_some_and(|(_, present)| Arc::ptr_eq(present, shelf)) {
                renditions.remove(name);
            }
        }
        shelf.dispose().await;
    }
}

/// The segments that are to be written now, in order. Where something is missing between what is kept and these, what is
/// kept is let go of.
async fn new_segments(shelf: &Shelf, view: &View) -> Vec<Arc<Segment>> {
    let segments = &view.facts.segments;
    let Some(first) = segments.first().map(|first| first.number) else { return Vec::new() };
    let listed = segments.get(view.facts.listed_from).map_or(first, |segment| segment.number);
    let from = match shelf.last() {
        // The one before must still be in memory: without it, this may be a new beginning.
        Some(last) if last >= first => last + 1,
        Some(_) => {
            shelf.clear().await;
            listed
        }
        None => listed,
    };
    segments.iter().filter(|segment| segment.number >= from).cloned().collect()
}
