//! What waits to be moved, what is being moved, and what must not be.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, SystemTime},
};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Key;

/// The longest rest of an object that S3 refused.
const MAX_REST: Duration = Duration::from_secs(300);

#[derive(Debug, Default)]
pub(super) struct State {
    pending: HashMap<Key, Pending>,
    /// By when they are due and how old they are.
    queue: BTreeSet<(Instant, SystemTime, Key)>,
    bytes: u64,
    moving: HashMap<Key, CancellationToken>,
    barred: Vec<(u64, Scope)>,
    next_bar: u64,
}

#[derive(Debug)]
struct Pending {
    size_bytes: u64,
    since: SystemTime,
    due: Instant,
    failures: u32,
}

/// Some keys.
#[derive(Clone, Debug)]
pub(super) enum Scope {
    One(Key),
    Below(Key),
}

impl Scope {
    fn holds(&self, key: &Key) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::Below(folder) => key.is_below(folder),
        }
    }
}

impl State {
    pub(super) fn add(&mut self, key: Key, size_bytes: u64, since: SystemTime) {
        // Who exchanges what waits does not make it wait less.
        let since = self.pending.get(&key).map_or(since, |pending| pending.since.min(since));
        self.forget_one(&key);
        // One that is moved at the moment is not queued: the mover looks at it again when it has done.
        let due = Instant::now();
        self.bytes += size_bytes;
        self.queue.insert((due, since, key.clone()));
        self.pending.insert(key, Pending { size_bytes, since, due, failures: 0 });
    }

    pub(super) fn forget_one(&mut self, key: &Key) {
        if let Some(Pending { size_bytes, since, due, .. }) = self.pending.remove(key) {
            self.bytes -= size_bytes;
            self.queue.remove(&(due, since, key.clone()));
        }
    }

    pub(super) fn forget(&mut self, is_gone: impl Fn(&Key) -> bool) {
        let gone: Vec<Key> = self.pending.keys().filter(|key| is_gone(key)).cloned().collect();
        gone.iter().for_each(|key| self.forget_one(key));
    }

    pub(super) fn waiting(&self, is_wanted: impl Fn(&Key) -> bool) -> Vec<Key> {
        self.pending.keys().filter(|key| is_wanted(key)).cloned().collect()
    }

    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// How many, and how many bytes.
    pub(super) fn pending(&self) -> (usize, u64) {
        (self.pending.len(), self.bytes)
    }

    pub(super) fn oldest(&self) -> Option<SystemTime> {
        self.pending.values().map(|pending| pending.since).min()
    }

    /// Takes the next that is due and may be moved.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Key, CancellationToken)> {
        let may_move =
            |key: &Key| !self.moving.contains_key(key) && !self.barred.iter().any(|(_, scope)| scope.holds(key));
        let due = self.queue.iter().take_while(|(due, ..)| *due <= now);
        let key = due.map(|(_, _, key)| key).find(|key| may_move(key))?.clone();
        let cancel = CancellationToken::new();
        self.moving.insert(key.clone(), cancel.clone());
        Some((key, cancel))
    }

    /// When something is due that is not yet.
    pub(super) fn next_due(&self, now: Instant) -> Option<Instant> {
        self.queue.iter().map(|(due, ..)| *due).find(|due| *due > now)
    }

    /// Puts off what was just refused; twice as long each time.
    pub(super) fn put_off(&mut self, key: &Key, now: Instant) {
        if let Some(pending) = self.pending.get_mut(key) {
            self.queue.remove(&(pending.due, pending.since, key.clone()));
            pending.failures += 1;
            pending.due = now + Duration::from_secs(1 << pending.failures.min(9)).min(MAX_REST);
            self.queue.insert((pending.due, pending.since, key.clone()));
        }
    }

    pub(super) fn has_moved(&mut self, key: &Key) {
        self.moving.remove(key);
    }

    pub(super) fn is_moving(&self, scope: &Scope) -> bool {
        self.moving.keys().any(|key| scope.holds(key))
    }

    /// Nothing of it is begun from now on, and what is under way is told to give up.
    pub(super) fn bar(&mut self, scope: Scope) -> u64 {
        self.moving.iter().filter(|(key, _)| scope.holds(key)).for_each(|(_, cancel)| cancel.cancel());
        self.next_bar += 1;
        self.barred.push((self.next_bar, scope));
        self.next_bar
    }

    pub(super) fn unbar(&mut self, id: u64) {
        self.barred.retain(|(barred, _)| *barred != id);
    }
}
