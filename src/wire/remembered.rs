//! What was found of readiness, remembered for a second: everybody may ask, and each look asks the database.

use std::{sync::Arc, time::Duration};

use api::{BoxFuture, Check, Readiness};
use futures::FutureExt;
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;

/// How old an answer may be. Balancers ask every few seconds.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Looks at most once a second, however many ask, and by one at a time: the others wait for what that one finds.
pub struct Remembered {
    looks: Arc<dyn Readiness>,
    found: Mutex<Option<(Instant, Vec<Check>)>>,
    stopping: CancellationToken,
}

impl Remembered {
    /// What `looks` finds; once the process is `stopping`, nothing of before.
    pub fn new(looks: Arc<dyn Readiness>, stopping: CancellationToken) -> Self {
        Self { looks, found: Mutex::default(), stopping }
    }

    async fn find(&self) -> Vec<Check> {
        let mut found = self.found.lock().await;
        if let Some((at, checks)) = &*found
            && at.elapsed() < GOOD_FOR
            && !self.stopping.is_cancelled()
        {
            return checks.clone();
        }
        let checks = self.looks.check().await;
        *found = Some((Instant::now(), checks.clone()));
        checks
    }
}

impl Readiness for Remembered {
    fn check(&self) -> BoxFuture<'_, Vec<Check>> {
        self.find().boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Looks(AtomicUsize);

    impl Readiness for Looks {
        fn check(&self) -> BoxFuture<'_, Vec<Check>> {
            async {
                let count = self.0.fetch_add(1, Ordering::SeqCst) + 1;
                tokio::task::yield_now().await;
                vec![Check { name: "look", ok: true, detail: count.to_string() }]
            }
            .boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_who_ask_are_one_look_a_second() {
        let (looks, stopping) = (Arc::new(Looks::default()), CancellationToken::new());
        let remembered = Remembered::new(looks.clone(), stopping.clone());
        let found = futures::future::join_all((0..100).map(|_| remembered.check())).await;
        assert!(found.iter().all(|checks| checks[0].detail == "1"), "{found:?}");
        tokio::time::advance(GOOD_FOR).await;
        assert_eq!(remembered.check().await[0].detail, "2");
        assert_eq!(remembered.check().await[0].detail, "2");
        // What is about to go must not be sent to.
        stopping.cancel();
        assert_eq!(remembered.check().await[0].detail, "3");
    }
}
