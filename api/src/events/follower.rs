//! The log as it grows, read once for all who subscribe on this node.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use commands::{
    Commands,
    events::{self, Envelope, Filter, StoredEvent},
};
use tokio::{
    sync::{broadcast, watch},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// How many events are read at once.
const READ_LEN: i64 = 256;
/// How many batches are kept for those who are slower; who needs an older one reads the log alone.
const KEPT_BATCHES: usize = 64;
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(2);
/// How long it goes on when nobody listens: somebody who has lost the connection comes again soon.
const LINGERS: Duration = Duration::from_secs(30);

/// Some events that follow on each other without a gap.
#[derive(Debug)]
pub(crate) struct Grown {
    /// The position before the first.
    pub(crate) after: i64,
    /// At least one.
    pub(crate) events: Vec<Told>,
}

/// An event that many are told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) event: StoredEvent,
    pseudonymous: OnceLock<Box<[u8]>>,
}

impl Told {
    /// Adds the envelope with pseudonyms, which is the same for everybody, to `out`.
    pub(crate) fn write_pseudonymous(&self, envelope: &mut Envelope, out: &mut Vec<u8>) {
        let written = self.pseudonymous.get_or_init(|| {
            let mut written = Vec::with_capacity(1_024);
            envelope.write(&self.event, &mut written);
            written.into()
        });
        out.extend_from_slice(written);
    }
}

/// Follows the log while somebody listens.
pub(crate) struct Follower {
    commands: Commands,
    stopping: CancellationToken,
    running: Mutex<Option<Running>>,
}

struct Running {
    grown: broadcast::Sender<Arc<Grown>>,
    tip: watch::Receiver<Option<i64>>,
}

/// One who listens.
pub(crate) struct Listening {
    pub(crate) grown: broadcast::Receiver<Arc<Grown>>,
    tip: watch::Receiver<Option<i64>>,
}

impl Listening {
    /// The position up to which the log has to be read alone: what is after it will come. `None` when this follower has
    /// ended, and one has to join again. Cancel safe.
    pub(crate) async fn tip(&mut self) -> Option<i64> {
        self.tip.wait_for(Option::is_some).await.ok().and_then(|tip| *tip)
    }
}

impl Follower {
    pub(crate) fn new(commands: Commands, stopping: CancellationToken) -> Arc<Self> {
        Arc::new(Self { commands, stopping, running: Mutex::new(None) })
    }

    /// Listens from now on.
    pub(crate) fn join(self: &Arc<Self>) -> Listening {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        // It has ended on its own only if it panicked; then the tip has no sender any more.
        let is_running = running.as_ref().is_some_and(|running| running.tip.has_changed().is_ok());
        if !is_running {
            let (grown, _) = broadcast::channel(KEPT_BATCHES);
            let (tip, seen) = watch::channel(None);
            tokio::spawn(Arc::clone(self).run(grown.clone(), tip));
            *running = Some(Running { grown, tip: seen });
        }
        let running = running.as_ref().expect("it was just made");
        Listening { grown: running.grown.subscribe(), tip: running.tip.clone() }
    }

    async fn run(self: Arc<Self>, grown: broadcast::Sender<Arc<Grown>>, tip: watch::Sender<Option<i64>>) {
        let followed = self.stopping.run_until_cancelled(self.follow(&grown, &tip)).await;
        if followed.is_none() {
            debug!("the feed follows the log no longer: the node stops");
        }
    }

    async fn follow(&self, grown: &broadcast::Sender<Arc<Grown>>, tip: &watch::Sender<Option<i64>>) {
        let mut growth = self.commands.growth();
        let mut retry = FIRST_RETRY;
        let mut alone_since = None;
        loop {
            match self.pass_on(grown, tip).await {
                Ok(()) => retry = FIRST_RETRY,
                Err(error) => {
                    if retry == FIRST_RETRY {
                        warn!(error = &*error as &(dyn std::error::Error + 'static), "the feed waits for the log");
                    }
                    sleep(retry).await;
                    retry = LAST_RETRY.min(retry * 2);
                    continue;
                }
            }
            if grown.receiver_count() > 0 {
                alone_since = None;
            } else if alone_since.get_or_insert_with(Instant::now).elapsed() >= LINGERS {
                // Under the lock under which others join, so that nobody joins what has ended.
                let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
                if grown.receiver_count() == 0 {
                    *running = None;
                    return;
                }
            }
            // It says so by itself now and then, but what must not hang does not depend on it.
            let _ = timeout(LINGERS, growth.wait()).await;
        }
    }

    /// Passes on what the log has beyond the tip.
    async fn pass_on(
        &self,
        grown: &broadcast::Sender<Arc<Grown>>,
        tip: &watch::Sender<Option<i64>>,
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let pool = self.commands.pool();
        let Some(mut after) = *tip.borrow() else {
            tip.send_replace(Some(events::head(pool).await?));
            return Ok(());
        };
        loop {
            let found = events::page(pool, &Filter { after, ..Filter::default() }, READ_LEN).await?;
            let Some(last) = found.last().map(|event| event.position) else { return Ok(()) };
            let events = found.into_iter().map(|event| Told { event, pseudonymous: OnceLock::new() }).collect();
            // Before the tip, so that whoever joins and sees the tip has everything after it.
            let _ = grown.send(Arc::new(Grown { after, events }));
            tip.send_replace(Some(last));
            after = last;
        }
    }
}
