use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::key::Key;

/// Lets the commands of this process for one aggregate pass one after the other: two at once would only make each other
/// fail. Other processes are kept apart by the log alone.
#[derive(Default)]
pub(crate) struct Turns {
    taken: Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>,
}

/// The right to decide for one aggregate, given back when dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    key: Key,
    lock: Option<Arc<tokio::sync::Mutex<()>>>,
    guard: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the turn; those who asked first come first.
    pub(crate) async fn take(&self, key: Key) -> Turn<'_> {
        let lock = {
            let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(taken.entry(key.clone()).or_default())
        };
        // Made before the wait, so that giving up while waiting cleans up too.
        let mut turn = Turn { turns: self, key, lock: Some(Arc::clone(&lock)), guard: None };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.guard = None;
        let mut taken = self.turns.taken.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock = None;
        // Clones are made under this lock only, so whoever drops the last one sees that it is alone with the map.
        if taken.get(&self.key).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            taken.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn key(id: &str) -> Key {
        Key { aggregate_type: "channel", id: id.into() }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn one_at_a_time_for_a_key_and_nothing_left_behind() {
        let turns = Arc::new(Turns::default());
        let inside = Arc::new([AtomicU32::new(0), AtomicU32::new(0)]);
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let (turns, inside) = (Arc::clone(&turns), Arc::clone(&inside));
                tokio::spawn(async move {
                    let _turn = turns.take(key(&(n % 2).to_string())).await;
                    assert_eq!(inside[n % 2].fetch_add(1, Ordering::SeqCst), 0);
                    tokio::task::yield_now().await;
                    inside[n % 2].fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        for (n, task) in tasks.into_iter().enumerate() {
            if n % 7 == 0 {
                task.abort();
            }
            let _ = task.await;
        }
        assert_eq!(turns.len(), 0);
    }
}
