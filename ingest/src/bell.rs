//! A bell that thousands wait for: each thread that holds connections is woken once, and wakes its own.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    runtime::{Handle, Id, RuntimeFlavor},
    sync::watch,
};

/// A value that changes, and those who wait for it to.
///
/// Waking a task of another thread takes a lock and a system call, which a thousand reloads that are held would cost with
/// every part. So on a runtime of one thread a task, the post, listens for all of them and tells them there.
pub(crate) struct Bell<T> {
    shown: watch::Sender<T>,
    posts: Posts<T>,
}

/// By the runtime that they are on. Only tasks of that runtime add, use or remove its post.
type Posts<T> = Arc<Mutex<HashMap<Id, watch::Sender<T>>>>;

impl<T: Clone + Send + Sync + 'static> Bell<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { shown: watch::Sender::new(value), posts: Posts::default() }
    }

    /// Shows another value, and wakes all.
    pub(crate) fn ring(&self, value: T) {
        self.shown.send_replace(value);
    }

    /// Wakes all, for something that is not in the value.
    pub(crate) fn ring_again(&self) {
        self.shown.send_modify(|_| {});
    }

    /// What is shown. Not to be held for long: who rings waits.
    pub(crate) fn now(&self) -> watch::Ref<'_, T> {
        self.shown.borrow()
    }

    /// For the few who are no viewers, wherever they run.
    pub(crate) fn subscribe(&self) -> watch::Receiver<T> {
        self.shown.subscribe()
    }

    /// For one of many who wait on this thread. The value may be the one before [`Bell::now`] for a moment; the newer one
    /// rings then.
    ///
    /// # Panics
    /// Outside a runtime.
    pub(crate) fn subscribe_here(&self) -> watch::Receiver<T> {
        let runtime = Handle::current();
        if runtime.runtime_flavor() != RuntimeFlavor::CurrentThread {
            return self.shown.subscribe();
        }
        let mut posts = lock(&self.posts);
        if let Some(post) = posts.get(&runtime.id()) {
            return post.subscribe();
        }
        let source = self.shown.subscribe();
        let post = watch::Sender::new(source.borrow().clone());
        let receiver = post.subscribe();
        posts.insert(runtime.id(), post.clone());
        let registered = Registered { runtime: runtime.id(), posts: Arc::clone(&self.posts) };
        runtime.spawn(pass_on(source, post, registered));
        receiver
    }

    /// Whether anybody waits, on whatever thread.
    pub(crate) fn is_heard(&self) -> bool {
        let posts = lock(&self.posts);
        self.shown.receiver_count() > posts.len() || posts.values().any(|post| post.receiver_count() > 0)
    }
}

/// Tells a thread of each change, until there is one that nobody there waits for.
async fn pass_on<T: Clone>(mut source: watch::Receiver<T>, post: watch::Sender<T>, registered: Registered<T>) {
    while source.changed().await.is_ok() {
        if post.receiver_count() == 0 {
            break;
        }
        let value = source.borrow_and_update().clone();
        post.send_replace(value);
    }
    drop(registered);
}

/// Takes a post off the list, also when its runtime ends.
struct Registered<T> {
    runtime: Id,
    posts: Posts<T>,
}

impl<T> Drop for Registered<T> {
    fn drop(&mut self) {
        lock(&self.posts).remove(&self.runtime);
    }
}

fn lock<T>(posts: &Mutex<HashMap<Id, watch::Sender<T>>>) -> MutexGuard<'_, HashMap<Id, watch::Sender<T>>> {
    // One insertion or removal: whole, whatever panicked.
    posts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use tokio::{runtime::Builder, time::timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(120);

    #[tokio::test]
    async fn all_who_wait_on_a_thread_share_one_post() {
        let bell = Bell::new(0);
        let waiting: Vec<_> = (0..100).map(|_| bell.subscribe_here()).collect();
        assert_eq!(bell.shown.receiver_count(), 1);
        for (index, mut one) in waiting.into_iter().enumerate() {
            if index == 0 {
                bell.ring(7);
            }
            assert_eq!(*timeout(LONG, one.wait_for(|value| *value == 7)).await.unwrap().unwrap(), 7);
        }
    }

    #[tokio::test]
    async fn a_post_that_nobody_uses_is_gone_after_the_next_ring() {
        let bell = Bell::new(0);
        drop(bell.subscribe_here());
        assert!(!bell.is_heard(), "a post is nobody who waits");
        bell.ring(1);
        timeout(LONG, async {
            while bell.shown.receiver_count() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .unwrap();
        assert!(lock(&bell.posts).is_empty());
        // Who comes then sees what is shown, and what follows.
        let mut one = bell.subscribe_here();
        assert_eq!(*one.borrow(), 1);
        bell.ring(2);
        timeout(LONG, one.wait_for(|value| *value == 2)).await.unwrap().unwrap();
    }

    #[test]
    fn no_ring_is_lost_on_any_of_several_threads() {
        const LAST: u32 = 2_000;
        let bell = Arc::new(Bell::new(0_u32));
        let (done, all_done) = mpsc::channel();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (bell, done) = (Arc::clone(&bell), done.clone());
                thread::spawn(move || {
                    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
                    runtime.block_on(async {
                        let mut seen = 0;
                        // Each waits for what comes after what it has seen, as players do.
                        while seen < LAST {
                            let mut shown = bell.subscribe_here();
                            seen = *timeout(LONG, shown.wait_for(|value| *value > seen)).await.unwrap().unwrap();
                        }
                    });
                    done.send(()).unwrap();
                })
            })
            .collect();
        for value in 1..=LAST {
            bell.ring(value);
            if value % 64 == 0 {
                thread::yield_now();
            }
        }
        for _ in 0..threads.len() {
            all_done.recv_timeout(LONG).expect("a thread missed the last ring");
        }
        for thread in threads {
            thread.join().unwrap();
        }
        // Their runtimes are gone, and what they had put up with them.
        assert!(lock(&bell.posts).is_empty());
        assert!(!bell.is_heard());
    }
}
