//! What others do with the segments of a rendition: the rewind stores them, the recorder reads them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Says how long memory must hold what has left the playlist.
#[derive(Debug)]
pub(crate) struct Holds {
    /// Segments before this number are on the disk as well, or were.
    stored_before: AtomicU64,
    /// Somebody reads segments from this number on from memory, however late.
    needed_from: AtomicU64,
}

impl Default for Holds {
    fn default() -> Self {
        Self { stored_before: AtomicU64::new(0), needed_from: AtomicU64::new(u64::MAX) }
    }
}

impl Holds {
    /// All segments before this number can be had from the disk.
    pub(crate) fn store(&self, before: u64) {
        self.stored_before.store(before, Ordering::Relaxed);
    }

    /// Segments from the first on are needed, until the value that it gives says otherwise.
    pub(crate) fn need(self: &Arc<Self>) -> Need {
        self.needed_from.store(0, Ordering::Relaxed);
        Need(Arc::clone(self))
    }

    /// The last one that is stored stays: who stores the next sees by it that nothing is missing in between.
    pub(super) fn forgettable_before(&self) -> u64 {
        let stored_before = self.stored_before.load(Ordering::Relaxed);
        stored_before.saturating_sub(1).min(self.needed_from.load(Ordering::Relaxed))
    }
}

/// One reader's need of segments in memory, over when dropped. A rendition has one at most.
#[derive(Debug)]
pub(crate) struct Need(Arc<Holds>);

impl Need {
    /// Segments before this number are not needed any more.
    pub(crate) fn from(&self, number: u64) {
        self.0.needed_from.store(number, Ordering::Relaxed);
    }
}

impl Drop for Need {
    fn drop(&mut self) {
        self.from(u64::MAX);
    }
}
