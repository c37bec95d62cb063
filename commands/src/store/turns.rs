use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Mutex, PoisonError},
};

use tokio::sync::oneshot;

use super::key::Key;

/// Lets the commands of this process for one aggregate pass one after the other: two at once would only make each other
/// fail. Other processes are kept apart by the log alone.
#[derive(Default)]
pub(crate) struct Turns {
    /// Those who wait, in order; a turn that is taken has an entry, and nearly always an empty one.
    taken: Mutex<HashMap<Key, VecDeque<oneshot::Sender<()>>>>,
}

/// The right to decide for one aggregate, passed on when dropped.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    key: Key,
    /// Until the turn has come.
    waiting: Option<oneshot::Receiver<()>>,
}

impl Turns {
    /// Waits for the turn; those who asked first come first.
    pub(crate) async fn take(&self, key: Key) -> Turn<'_> {
        let waiting = match self.taken.lock().unwrap_or_else(PoisonError::into_inner).entry(key.clone()) {
            Entry::Vacant(free) => {
                free.insert(VecDeque::new());
                None
            }
            Entry::Occupied(mut taken) => {
                let (sender, receiver) = oneshot::channel();
                taken.get_mut().push_back(sender);
                Some(receiver)
            }
        };
        // Made before the wait, so that giving up while waiting cleans up too.
        let mut turn = Turn { turns: self, key, waiting };
        if let Some(waiting) = &mut turn.waiting {
            // The sender stays in the map until it is told.
            let _ = waiting.await;
            turn.waiting = None;
        }
        turn
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.taken.lock().unwrap().len()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut taken = self.turns.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiters) = taken.get_mut(&self.key) else { return };
        if let Some(waiting) = &mut self.waiting {
            waiting.close();
            // The turn may have come all the same, unseen.
            if waiting.try_recv().is_err() {
                waiters.retain(|waiter| !waiter.is_closed());
                return;
            }
        }
        while let Some(next) = waiters.pop_front() {
            if next.send(()).is_ok() {
                return;
            }
        }
        taken.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

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
