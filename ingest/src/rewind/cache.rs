//! What was read from the disk last: viewers who went back to the same place share one reading. What nobody asks for any more goes after
//! a while, and not only once there is no room.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::OnceCell;

/// What of a segment is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Track {
    /// Picture and sound.
    All,
    Video,
    Audio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct CacheKey {
    pub shelf: u64,
    pub number: u64,
    pub track: Track,
}

/// How long what was read is kept for others who read the same.
pub(super) const KEPT_UNUSED: Duration = Duration::from_secs(60);

/// Holds so many bytes at most, and what is being read.
pub(super) struct Cache {
    capacity_bytes: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    by_key: HashMap<CacheKey, Entry>,
    clock: u64,
    bytes: usize,
}

struct Entry {
    cell: Arc<OnceCell<Option<Bytes>>>,
    last_used: u64,
    used_at: Instant,
    /// 0 while it is being read.
    bytes: usize,
}

impl Cache {
    pub(super) fn new(capacity_bytes: usize) -> Self {
        Self { capacity_bytes, entries: Mutex::default() }
    }

    /// What `load` gives; those who ask meanwhile wait for the same. When who loads gives up, the next one does it.
    /// `None` is not remembered.
    pub(super) async fn get(&self, key: CacheKey, load: impl Future<Output = Option<Bytes>>) -> Option<Bytes> {
        let cell = self.with(|entries| {
            entries.clock += 1;
            let clock = entries.clock;
            let used_at = Instant::now();
            let entry = entries.by_key.entry(key).or_insert_with(|| Entry {
                cell: Arc::default(),
                last_used: 0,
                used_at,
                bytes: 0,
            });
            entry.last_used = clock;
            entry.used_at = used_at;
            Arc::clone(&entry.cell)
        });
        let bytes = cell.get_or_init(|| load).await.clone();
        self.with(|entries| entries.settle(key, &cell, bytes.as_ref(), self.capacity_bytes));
        bytes
    }

    /// Lets go of what nobody has asked for since `before`.
    pub(super) fn forget_unused(&self, before: Instant) {
        self.with(|entries| {
            // Who is reading, or waits for that, has the cell; what is not read, nobody having waited, has no size.
            entries
                .by_key
                .retain(|_, entry| Arc::strong_count(&entry.cell) > 1 || (entry.bytes > 0 && entry.used_at >= before));
            entries.bytes = entries.by_key.values().map(|entry| entry.bytes).sum();
        });
    }

    fn with<T>(&self, change: impl FnOnce(&mut Entries) -> T) -> T {
        // Nothing in here panics.
        change(&mut self.entries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Entries {
    /// Counts what was read, and lets go of what was not used for longest.
    fn settle(&mut self, key: CacheKey, cell: &Arc<OnceCell<Option<Bytes>>>, bytes: Option<&Bytes>, capacity: usize) {
        let Some(entry) = self.by_key.get_mut(&key).filter(|entry| Arc::ptr_eq(&entry.cell, cell)) else { return };
        let Some(bytes) = bytes else {
            self.by_key.remove(&key);
            return;
        };
        if entry.bytes > 0 {
            return;
        }
        entry.bytes = bytes.len().max(1);
        self.bytes += entry.bytes;
        while self.bytes > capacity {
            let oldest =
                self.by_key.iter().filter(|(_, entry)| entry.bytes > 0).min_by_key(|(_, entry)| entry.last_used);
            let Some(oldest) = oldest.map(|(key, _)| *key) else { return };
            if let Some(gone) = self.by_key.remove(&oldest) {
                self.bytes -= gone.bytes;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn key(number: u64) -> CacheKey {
        CacheKey { shelf: 1, number, track: Track::All }
    }

    #[tokio::test]
    async fn a_thousand_who_ask_together_cause_one_reading() {
        let cache = Arc::new(Cache::new(1_000));
        let readings = Arc::new(AtomicUsize::new(0));
        let (open, gate) = tokio::sync::watch::channel(false);
        let mut viewers = tokio::task::JoinSet::new();
        for _ in 0..1_000 {
            let (cache, readings, mut gate) = (Arc::clone(&cache), Arc::clone(&readings), gate.clone());
            viewers.spawn(async move {
                let load = async {
                    readings.fetch_add(1, Ordering::Relaxed);
                    let _ = gate.wait_for(|is_open| *is_open).await;
                    Some(Bytes::from_static(b"segment"))
                };
                cache.get(key(7), load).await
            });
        }
        tokio::task::yield_now().await;
        open.send_replace(true);
        while let Some(got) = viewers.join_next().await {
            assert_eq!(got.unwrap().as_deref(), Some(&b"segment"[..]));
        }
        assert_eq!(readings.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn it_holds_no_more_than_it_may_and_forgets_the_oldest() {
        let cache = Cache::new(30);
        let fill = |number| cache.get(key(number), async { Some(Bytes::from(vec![0; 10])) });
        for number in [1, 2, 3, 1, 4] {
            fill(number).await;
        }
        let (bytes, mut kept) =
            cache.with(|entries| (entries.bytes, entries.by_key.keys().map(|key| key.number).collect::<Vec<_>>()));
        kept.sort_unstable();
        assert_eq!((bytes, kept), (30, vec![1, 3, 4]));
        // What is too large for it is given all the same.
        assert_eq!(
            cache.get(key(9), async { Some(Bytes::from(vec![0; 99])) }).await.map(|bytes| bytes.len()),
            Some(99)
        );
        assert_eq!(cache.with(|entries| entries.bytes), 0);
    }

    #[tokio::test]
    async fn what_nobody_asks_for_is_let_go_of() {
        let cache = Cache::new(1_000);
        let fill = |number| cache.get(key(number), async { Some(Bytes::from(vec![0; 10])) });
        fill(1).await;
        fill(2).await;
        let before = Instant::now();
        fill(2).await;
        let given_up = cache.get(key(3), std::future::pending());
        assert!(tokio::time::timeout(Duration::ZERO, given_up).await.is_err());
        let mut reading = std::pin::pin!(cache.get(key(4), std::future::pending()));
        assert!(futures::poll!(reading.as_mut()).is_pending());
        cache.forget_unused(before);
        let mut kept = cache.with(|entries| entries.by_key.keys().map(|key| key.number).collect::<Vec<_>>());
        kept.sort_unstable();
        assert_eq!(kept, [2, 4]);
        assert_eq!(cache.with(|entries| entries.bytes), 10);
        cache.forget_unused(Instant::now());
        assert_eq!(cache.with(|entries| entries.bytes), 0);
    }

    #[tokio::test]
    async fn who_hangs_up_while_reading_is_followed_by_the_next() {
        let cache = Cache::new(100);
        let never = cache.get(key(1), std::future::pending());
        assert!(tokio::time::timeout(std::time::Duration::ZERO, never).await.is_err());
        assert_eq!(cache.get(key(1), async { None }).await, None);
        assert_eq!(cache.get(key(1), async { Some(Bytes::from_static(b"x")) }).await.as_deref(), Some(&b"x"[..]));
    }
}
