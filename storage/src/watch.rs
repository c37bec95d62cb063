//! How much room the disk has, looked at every few seconds, so that recordings stop before it is full: whatever else lives on
//! it, the log above all, needs the rest.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{sync::watch, time::MissedTickBehavior};

/// How often the disk is asked.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(5);
/// By how much a threshold must be passed on the way back, so that a disk at the threshold is not told of again and again.
const BACK_PERCENT: u64 = 105;

/// The room of a file system, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this process may still write.
    pub free_bytes: u64,
    /// What is taken.
    pub used_bytes: u64,
    /// How large it is.
    pub size_bytes: u64,
}

/// When a disk counts as low and as full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskThresholds {
    /// With less free it is warned of; on a small disk with less than a fifth of it.
    pub warn_bytes: u64,
    /// With less free nothing new is recorded; on a small disk with less than a tenth of it.
    pub reserve_bytes: u64,
}

impl Default for DiskThresholds {
    /// 20 GiB and 5 GiB.
    fn default() -> Self {
        Self { warn_bytes: 20 << 30, reserve_bytes: 5 << 30 }
    }
}

/// How the disk stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiskLevel {
    /// There is room.
    #[default]
    Enough,
    /// There is room, and somebody should see to it that it stays so.
    Low,
    /// Nothing new may be recorded.
    Full,
}

/// The disk as it was last seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskState {
    /// How it stands.
    pub level: DiskLevel,
    /// `None` where it was never seen.
    pub space: Option<DiskSpace>,
}

/// Whether there is room. Cheap to clone and to ask.
#[derive(Clone, Debug)]
pub struct DiskWatch {
    state: watch::Receiver<DiskState>,
}

impl DiskWatch {
    /// Looks at the file system that holds `folder`; the watcher, when it is [run](DiskWatcher::run), goes on looking.
    #[must_use]
    pub fn new(folder: &Path, thresholds: DiskThresholds) -> (Self, DiskWatcher) {
        let folder = folder.to_owned();
        Self::with_probe(move || space_of(&folder), thresholds)
    }

    /// As [`new`](Self::new) with another way to look, for tests.
    #[must_use]
    pub fn with_probe(
        probe: impl Fn() -> io::Result<DiskSpace> + Send + Sync + 'static,
        thresholds: DiskThresholds,
    ) -> (Self, DiskWatcher) {
        let (sender, state) = watch::channel(DiskState::default());
        describe();
        let mut watcher = DiskWatcher { probe: Box::new(probe), thresholds, sender, is_blind: false };
        watcher.look();
        (Self { state }, watcher)
    }

    /// Whether something new may be recorded. What is live already is never stopped by it.
    #[must_use]
    pub fn may_record(&self) -> bool {
        self.state.borrow().level < DiskLevel::Full
    }

    /// The disk as it was last seen.
    #[must_use]
    pub fn state(&self) -> DiskState {
        *self.state.borrow()
    }

    /// Told of each change. It ends with the watcher, and what was seen last stays.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<DiskState> {
        self.state.clone()
    }
}

impl Default for DiskWatch {
    /// One that always has room.
    fn default() -> Self {
        Self { state: watch::channel(DiskState::default()).1 }
    }
}

/// What looks.
pub struct DiskWatcher {
    probe: Box<dyn Fn() -> io::Result<DiskSpace> + Send + Sync>,
    thresholds: DiskThresholds,
    sender: watch::Sender<DiskState>,
    is_blind: bool,
}

impl fmt::Debug for DiskWatcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DiskWatcher").field("thresholds", &self.thresholds).finish_non_exhaustive()
    }
}

impl DiskWatcher {
    /// Looks every five seconds, until it is dropped.
    pub async fn run(mut self) {
        let mut ticks = tokio::time::interval(LOOKED_AT_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            // A system call that a network file system may hold up.
            match tokio::task::spawn_blocking(move || {
                self.look();
                self
            })
            .await
            {
                Ok(watcher) => self = watcher,
                Err(error) => {
                    tracing::error!(%error, "the disk is no longer watched");
                    return std::future::pending().await;
                }
            }
        }
    }

    /// Looks once.
    pub fn look(&mut self) {
        let space = match (self.probe)() {
            Ok(space) => space,
            Err(error) => {
                if !std::mem::replace(&mut self.is_blind, true) {
                    tracing::warn!(%error, "the disk does not say how much room it has");
                }
                return;
            }
        };
        self.is_blind = false;
        metrics::gauge!("weir_disk_free_bytes").set(precise(space.free_bytes));
        metrics::gauge!("weir_disk_used_bytes").set(precise(space.used_bytes));
        metrics::gauge!("weir_disk_size_bytes").set(precise(space.size_bytes));
        let before = self.sender.borrow().level;
        let level = self.thresholds.level(space, before);
        metrics::gauge!("weir_disk_refuses_recordings").set(if level == DiskLevel::Full { 1.0 } else { 0.0 });
        if level != before {
            tell(level, space);
        }
        let state = DiskState { level, space: Some(space) };
        self.sender.send_if_modified(|seen| std::mem::replace(seen, state) != state);
    }
}

impl DiskThresholds {
    fn level(self, space: DiskSpace, before: DiskLevel) -> DiskLevel {
        let is_below = |threshold_bytes: u64, level: DiskLevel| {
            let wanted =
                if before >= level { threshold_bytes.saturating_mul(BACK_PERCENT) / 100 } else { threshold_bytes };
            space.free_bytes < wanted
        };
        if is_below(self.reserve_bytes.min(space.size_bytes / 10), DiskLevel::Full) {
            DiskLevel::Full
        } else if is_below(self.warn_bytes.min(space.size_bytes / 5), DiskLevel::Low) {
            DiskLevel::Low
        } else {
            DiskLevel::Enough
        }
    }
}

fn tell(level: DiskLevel, space: DiskSpace) {
    let (free_mib, size_mib) = (space.free_bytes >> 20, space.size_bytes >> 20);
    match level {
        DiskLevel::Enough => tracing::info!(free_mib, size_mib, "the disk has room again"),
        DiskLevel::Low => {
            tracing::warn!(
                free_mib,
                size_mib,
                "the disk is getting full: free some of it before recordings are refused"
            );
        }
        DiskLevel::Full => tracing::error!(
            free_mib,
            size_mib,
            "the disk is nearly full: nothing new is recorded until there is room; live streams go on"
        ),
    }
}

fn describe() {
    use metrics::{Unit, describe_gauge};
    describe_gauge!(
        "weir_disk_free_bytes",
        Unit::Bytes,
        "What Weir may still write to the disk of its data directory."
    );
    describe_gauge!("weir_disk_used_bytes", Unit::Bytes, "What is taken of that disk, by whomever.");
    describe_gauge!("weir_disk_size_bytes", Unit::Bytes, "How large that disk is.");
    describe_gauge!(
        "weir_disk_refuses_recordings",
        "1 while nothing new is recorded, because too little of it is free."
    );
}

/// A number of bytes as metrics take it: exact up to 8 PiB.
#[expect(clippy::cast_precision_loss, reason = "a metric")]
pub(crate) fn precise(bytes: u64) -> f64 {
    bytes as f64
}

fn space_of(folder: &PathBuf) -> io::Result<DiskSpace> {
    let seen = rustix::fs::statvfs(folder)?;
    Ok(DiskSpace {
        free_bytes: seen.f_bavail.saturating_mul(seen.f_frsize),
        used_bytes: seen.f_blocks.saturating_sub(seen.f_bfree).saturating_mul(seen.f_frsize),
        size_bytes: seen.f_blocks.saturating_mul(seen.f_frsize),
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    use super::*;

    const GIB: u64 = 1 << 30;

    /// A disk of `size_gib` whose free bytes are turned like a screw.
    fn disk(size_gib: u64) -> (Arc<AtomicU64>, DiskWatch, DiskWatcher) {
        let free_bytes = Arc::new(AtomicU64::new(size_gib * GIB));
        let probe = {
            let free_bytes = Arc::clone(&free_bytes);
            move || {
                let free_bytes = free_bytes.load(Ordering::Relaxed);
                let size_bytes = size_gib * GIB;
                // What a file system that is going away says.
                if free_bytes > size_bytes {
                    return Err(io::ErrorKind::NotConnected.into());
                }
                Ok(DiskSpace { free_bytes, used_bytes: size_bytes - free_bytes, size_bytes })
            }
        };
        let (watch, watcher) = DiskWatch::with_probe(probe, DiskThresholds::default());
        (free_bytes, watch, watcher)
    }

    #[test]
    fn a_disk_is_warned_of_before_recordings_are_refused() {
        let (free_bytes, watch, mut watcher) = disk(1_000);
        let mut changes = watch.subscribe();
        assert_eq!(watch.state().level, DiskLevel::Enough, "it is known from the start");
        for (free, level, may_record) in [
            (20 * GIB, DiskLevel::Enough, true),
            (20 * GIB - 1, DiskLevel::Low, true),
            (5 * GIB, DiskLevel::Low, true),
            (5 * GIB - 1, DiskLevel::Full, false),
            (0, DiskLevel::Full, false),
            // A little more than the threshold is not yet enough on the way back.
            (5 * GIB + 1, DiskLevel::Full, false),
            (6 * GIB, DiskLevel::Low, true),
            (20 * GIB + 1, DiskLevel::Low, true),
            (22 * GIB, DiskLevel::Enough, true),
        ] {
            free_bytes.store(free, Ordering::Relaxed);
            changes.mark_unchanged();
            watcher.look();
            assert_eq!((watch.state().level, watch.may_record()), (level, may_record), "{free}");
            assert!(changes.has_changed().unwrap());
        }
        changes.mark_unchanged();
        watcher.look();
        assert!(!changes.has_changed().unwrap(), "nothing is told twice");
    }

    #[test]
    fn a_small_disk_is_used_to_a_tenth() {
        let (free_bytes, watch, mut watcher) = disk(10);
        for (free, level) in [
            (3 * GIB, DiskLevel::Enough),
            (2 * GIB - 1, DiskLevel::Low),
            (GIB, DiskLevel::Low),
            (GIB - 1, DiskLevel::Full),
        ] {
            free_bytes.store(free, Ordering::Relaxed);
            watcher.look();
            assert_eq!(watch.state().level, level, "{free}");
        }
    }

    #[test]
    fn a_disk_that_says_nothing_stays_as_it_was() {
        let (free_bytes, watch, mut watcher) = disk(100);
        free_bytes.store(0, Ordering::Relaxed);
        watcher.look();
        free_bytes.store(u64::MAX, Ordering::Relaxed);
        watcher.look();
        assert!(!watch.may_record());
        assert!(DiskWatch::default().may_record(), "without a watcher there is room");
    }
}
