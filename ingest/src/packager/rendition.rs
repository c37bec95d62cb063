//! One rendition of a broadcast: a window of segments and parts, and a bell for those who wait for the next.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use time::OffsetDateTime;
use tokio::sync::watch;

use super::{
    FirstNumbers, MediaRefusal, PackagerConfig,
    holds::Holds,
    lock::Lock,
    view::View,
    window::{Timing, Window},
};
use crate::bell::Bell;

/// What a rendition is to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RenditionSpec {
    /// Its name, which is also a folder in the addresses: `720p`. Lower-case letters and digits.
    pub name: String,
    /// Widest picture in pixels; `None` where the source decides.
    pub max_width: Option<u32>,
    /// Highest picture in pixels; `None` where the source decides.
    pub max_height: Option<u32>,
    /// What its encoder is told not to exceed, picture and sound together. The multivariant playlist says so before
    /// there is anything to measure.
    pub bitrate_kbps: Option<u32>,
}

/// One rendition of a [`Broadcast`](super::Broadcast).
pub struct Rendition {
    spec: RenditionSpec,
    /// The packager that may write; [`ENDED`] once none may.
    writer: AtomicU64,
    window: Lock<Window>,
    holds: Arc<Holds>,
    shown: Bell<Shown>,
}

/// What the bell rings for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Shown {
    /// Present once the playlist is out.
    pub view: Option<Arc<View>>,
    pub is_ended: bool,
}

/// No packager has this number.
const ENDED: u64 = u64::MAX;

/// What a packager learns when it takes over.
pub(super) struct Claim {
    pub writer: u64,
    pub next_part: u64,
    pub timing: Option<Timing>,
    pub ends_at: Option<OffsetDateTime>,
    pub end_ms: Option<i64>,
}

impl Rendition {
    pub(super) fn new(spec: RenditionSpec, config: &PackagerConfig, first: FirstNumbers) -> Arc<Self> {
        let window = Window::new(config, first);
        Arc::new(Self {
            spec,
            writer: AtomicU64::new(0),
            holds: Arc::clone(window.holds()),
            window: Lock::new(window),
            shown: Bell::new(Shown::default()),
        })
    }

    /// Its name, unique in its broadcast.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// What it is to be.
    #[must_use]
    pub fn spec(&self) -> &RenditionSpec {
        &self.spec
    }

    /// Whether it can be played: it has a complete segment. From then on the multivariant playlist lists it.
    #[must_use]
    pub fn is_playable(&self) -> bool {
        self.shown.now().view.as_ref().is_some_and(|view| !view.facts.segments.is_empty())
    }

    /// Whether nothing more is written to it.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        self.writer.load(Ordering::Acquire) == ENDED
    }

    /// What is shown now and from now on. Each part rings once.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Shown> {
        self.shown.subscribe()
    }

    /// The same for one of many viewers on this thread.
    pub(crate) fn subscribe_here(&self) -> watch::Receiver<Shown> {
        self.shown.subscribe_here()
    }

    /// What is shown now.
    pub(crate) fn now(&self) -> watch::Ref<'_, Shown> {
        self.shown.now()
    }

    /// What is shown now; `None` before its playlist is out.
    pub(crate) fn view(&self) -> Option<Arc<View>> {
        self.shown.now().view.clone()
    }

    /// What others do with its segments.
    pub(crate) fn holds(&self) -> &Arc<Holds> {
        &self.holds
    }

    /// Rings once more, for who looks at something else than what is shown.
    pub(super) fn ring_again(&self) {
        self.shown.ring_again();
    }

    /// Ends it: the playlist says so, who waits is woken, packagers are refused.
    pub(super) fn end(&self) {
        let mut window = self.window.lock();
        if window.is_ended {
            return;
        }
        self.writer.store(ENDED, Ordering::Release);
        window.end_segment();
        window.is_ended = true;
        self.show(&mut window);
    }

    /// Ends it and shows nothing of it any more: players are to turn to another rendition, and not to stop at an end
    /// of the playlist.
    pub(super) fn close(&self) {
        let mut window = self.window.lock();
        self.writer.store(ENDED, Ordering::Release);
        window.is_ended = true;
        self.shown.ring(Shown { view: None, is_ended: true });
    }

    /// Makes the caller the one that writes, and closes what an earlier one left open.
    pub(super) fn claim(&self) -> Claim {
        let mut window = self.window.lock();
        let mut writer = self.writer.load(Ordering::Acquire);
        if writer != ENDED {
            writer += 1;
            self.writer.store(writer, Ordering::Release);
            window.discard_unpublished();
            window.end_segment();
            self.show(&mut window);
        }
        Claim {
            writer,
            next_part: window.next_part(),
            timing: window.timing,
            ends_at: window.ends_at(),
            end_ms: window.end_ms(),
        }
    }

    /// Whether a packager may still write.
    pub(super) fn check(&self, writer: u64) -> Result<(), MediaRefusal> {
        match self.writer.load(Ordering::Acquire) {
            ENDED => Err(MediaRefusal::Ended),
            current if current != writer => Err(MediaRefusal::Replaced),
            _ => Ok(()),
        }
    }

    /// Lets a packager change the window; then shows viewers what has become of it. Says what the next part's number
    /// is.
    pub(super) fn write(&self, writer: u64, change: impl FnOnce(&mut Window)) -> Result<u64, MediaRefusal> {
        let mut window = self.window.lock();
        self.check(writer)?;
        change(&mut window);
        self.show(&mut window);
        Ok(window.next_part())
    }

    /// The number that the next segment will have at least.
    pub(super) fn next_segment(&self) -> u64 {
        self.window.lock().next_segment()
    }

    fn show(&self, window: &mut Window) {
        let view = window.view().map(Arc::new);
        let is_ended = window.is_ended;
        if view.is_some() || is_ended {
            self.shown.ring(Shown { view, is_ended });
        }
    }
}

impl fmt::Debug for Rendition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rendition").field("name", &self.spec.name).finish_non_exhaustive()
    }
}
