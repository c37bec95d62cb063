use std::sync::Arc;

use tokio::sync::watch;

/// How far a rebuild is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The position up to which it builds; it may go a little further in the end, as events come.
    pub until: i64,
    /// Each projection's part, in the order in which they were named.
    pub parts: Vec<Part>,
}

/// How far the rebuild of one projection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The projection.
    pub name: &'static str,
    /// Where it went on from an interrupted rebuild; 0 when it began anew.
    pub began_at: i64,
    /// The last event applied.
    pub position: i64,
    /// What is being done.
    pub phase: Phase,
}

/// What is being done for one projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Events are applied.
    Applying,
    /// Indexes are made, and statistics taken.
    Indexing,
    /// The new tables take the place of the live ones as soon as nobody reads these.
    Exchanging,
    /// Rows are compared.
    Comparing,
    /// It is over, well or not.
    Over,
}

impl Progress {
    /// How far the slowest that is not over has come.
    #[must_use]
    pub fn position(&self) -> i64 {
        let open = self.parts.iter().filter(|part| part.phase != Phase::Over);
        open.map(|part| part.position).min().unwrap_or(self.until).min(self.until)
    }
}

/// Where one projection's part is told.
#[derive(Debug, Clone)]
pub(super) struct Reporter {
    progress: Arc<watch::Sender<Progress>>,
    name: &'static str,
}

impl Reporter {
    pub(super) fn new(progress: &Arc<watch::Sender<Progress>>, name: &'static str) -> Self {
        Self { progress: progress.clone(), name }
    }

    pub(super) fn began_at(&self, position: i64) {
        self.tell(|part| (part.began_at, part.position) = (position, position));
    }

    pub(super) fn reached(&self, position: i64) {
        self.tell(|part| part.position = position);
    }

    pub(super) fn is(&self, phase: Phase) {
        self.tell(|part| part.phase = phase);
    }

    fn tell(&self, change: impl FnOnce(&mut Part)) {
        self.progress.send_modify(|progress| {
            if let Some(part) = progress.parts.iter_mut().find(|part| part.name == self.name) {
                change(part);
            }
        });
    }
}
