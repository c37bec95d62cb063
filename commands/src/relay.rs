//! The relay: hands the log to JetStream in order, each event once.
//!
//! Its checkpoint is the position in the header of the stream's last message, and every message is published on the
//! condition that it becomes the next one of the stream. So a second relay, a crash or a lost answer can neither repeat
//! nor disorder anything: whoever is wrong about the stream is refused, looks again and goes on from there. The lease
//! only keeps the others from trying.
//!
//! JetStream may lose everything: an empty stream begins where the slowest projection stands.

mod lease;
mod messages;
mod stream;

use std::{future, sync::Arc, time::Duration};

use metrics::gauge;
use sqlx::{
    Executor, PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{
    lease::Lease,
    messages::Messages,
    stream::{RelayError, Stream},
};
use crate::events::within;

/// The JetStream stream that the log is published to.
pub const STREAM: &str = "WEIR_EVENTS";
/// What its subjects begin with; the event's type follows: `weir.events.channel.created`.
pub const SUBJECT_PREFIX: &str = "weir.events";
/// The header that holds an event's position.
pub const POSITION_HEADER: &str = "Weir-Position";

/// What an append notifies.
const NOTIFICATIONS: &str = "weir_log";
/// For the lease, for reading, and for listening.
const CONNECTIONS: u32 = 3;
/// After how long without a notification it is asked whether the connection they come by is still there.
const HEARD_EVERY: Duration = Duration::from_secs(30);
/// How long Postgres may take to say so.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);
/// How often the log is looked at when nothing wakes the relay: notifications are lost with their connection.
const POLLED_EVERY: Duration = Duration::from_millis(100);
/// How often a relay that does not lead tries to.
const TRIED_EVERY: Duration = Duration::from_millis(500);
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LAST_RETRY: Duration = Duration::from_secs(1);

/// Publishes the log while this process leads, and waits to lead while another does. Returns once cancelled. `node`
/// names the process to whoever looks at the lease.
pub async fn run(pool: PgPool, nats: async_nats::Client, node: String, cancel: CancellationToken) {
    let (_keep, hint) = watch::channel(0);
    run_with_hint(pool, nats, node, hint, cancel).await;
}

/// As [`run`], woken without a round trip when this process appends: `hint` is [`crate::Commands::committed`].
pub async fn run_with_hint(
    pool: PgPool,
    nats: async_nats::Client,
    node: String,
    hint: watch::Receiver<i64>,
    cancel: CancellationToken,
) {
    // Its own, so that others' work keeps it from none. A connection is not asked before it is used, since each
    // answer is waited for a bounded time only.
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .test_before_acquire(false)
        .connect_lazy_with((*pool.connect_options()).clone());
    let notified = Arc::new(Notify::new());
    let mut relay = Relay { lease: Lease::new(pool.clone(), &node), pool, nats, hint: Some(hint), notified };
    tokio::select! {
        () = cancel.cancelled() => {}
        () = listen(relay.pool.clone(), Arc::clone(&relay.notified)) => {}
        () = relay.run() => {}
    }
    gauge!("weir_relay_is_leader").set(0.0);
    // Whatever is in flight arrives or not; the next relay sees which.
    let _ = timeout(LAST_RETRY, relay.lease.give_up()).await;
}

struct Relay {
    pool: PgPool,
    nats: async_nats::Client,
    lease: Lease,
    hint: Option<watch::Receiver<i64>>,
    notified: Arc<Notify>,
}

impl Relay {
    async fn run(&mut self) {
        let mut retry = FIRST_RETRY;
        let mut is_leading = false;
        loop {
            let was_leading = is_leading;
            match self.lease.hold().await {
                Ok(true) => is_leading = true,
                Ok(false) => is_leading = false,
                Err(error) => {
                    is_leading = false;
                    tracing::debug!(error = &error as &dyn std::error::Error, "the relay's lease cannot be taken");
                }
            }
            gauge!("weir_relay_is_leader").set(f64::from(u8::from(is_leading)));
            match (was_leading, is_leading) {
                (false, true) => tracing::info!("this process relays the log to NATS"),
                (true, false) => tracing::info!("this process no longer relays the log to NATS"),
                _ => {}
            }
            if !is_leading {
                sleep(TRIED_EVERY).await;
                continue;
            }
            let mut has_published = false;
            if let Err(error) = self.lead(&mut has_published).await {
                if has_published {
                    retry = FIRST_RETRY;
                }
                if matches!(error, RelayError::Fenced { .. }) || retry > FIRST_RETRY {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the relay looks again where it stands");
                } else {
                    tracing::warn!(error = &error as &dyn std::error::Error, "the relay was interrupted");
                }
                sleep(retry).await;
                retry = LAST_RETRY.min(retry * 2);
            }
        }
    }

    /// Publishes what there is and what comes, until the lease is lost.
    async fn lead(&mut self, has_published: &mut bool) -> Result<(), RelayError> {
        let mut stream = Stream::open(self.nats.clone(), &self.pool).await?;
        let mut messages = Messages::new(self.pool.clone());
        loop {
            let (mut read, mut are_all) = messages.after(stream.position).await?;
            while let Some(last) = read.last().map(|message| message.position) {
                if !self.lease.hold().await? {
                    return Ok(());
                }
                // What follows is read while this is on its way.
                let next = async { if are_all { Ok((Vec::new(), true)) } else { messages.after(last).await } };
                let (published, next) = tokio::join!(stream.publish(read), next);
                published?;
                *has_published = true;
                (read, are_all) = next?;
            }
            stream.settle().await?;
            self.woken().await;
            if !self.lease.hold().await? {
                return Ok(());
            }
        }
    }

    /// Waits until there may be more to read.
    async fn woken(&mut self) {
        let hinted = async {
            match &mut self.hint {
                Some(hint) => hint.changed().await,
                None => future::pending().await,
            }
        };
        tokio::select! {
            hinted = hinted => {
                if hinted.is_err() {
                    self.hint = None;
                }
            }
            () = self.notified.notified() => {}
            () = sleep(POLLED_EVERY) => {}
        }
    }
}

/// Passes the log's notifications on, for ever.
async fn listen(pool: PgPool, notified: Arc<Notify>) {
    loop {
        if let Err(error) = pass_on(&pool, &notified).await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "the relay polls until it hears from the log again"
            );
        }
        sleep(TRIED_EVERY).await;
    }
}

async fn pass_on(pool: &PgPool, notified: &Notify) -> Result<(), sqlx::Error> {
    let mut listener = within(ANSWERED_WITHIN, async {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen(NOTIFICATIONS).await?;
        Ok(listener)
    })
    .await?;
    loop {
        match timeout(HEARD_EVERY, listener.try_recv()).await {
            Ok(Ok(Some(_))) => notified.notify_one(),
            Ok(Ok(None)) => return Ok(()),
            Ok(Err(error)) => return Err(error),
            // A server that vanished without a word says as much as one that has nothing to say.
            Err(_) => {
                within(ANSWERED_WITHIN, listener.execute("select 1")).await?;
            }
        }
    }
}
