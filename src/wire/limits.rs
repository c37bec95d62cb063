//! Rate limits told between nodes: what each has spent, over NATS, a few times a second.

use std::time::Duration;

use api::RateLimits;
use async_nats::Client;
use futures::StreamExt;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Core NATS, which keeps nothing: what was spent a minute ago interests nobody.
const SUBJECT: &str = "weir.rate-limits";

/// How soon others know: for so long each node decides alone (docs/adr/0035).
const TOLD_EVERY: Duration = Duration::from_millis(200);

/// Tells other nodes what this one has spent and learns what they have, until `stopping`. While NATS is away each node
/// limits alone.
pub async fn share_limits(limits: RateLimits, nats: Client, stopping: CancellationToken) {
    while !stopping.is_cancelled() {
        match nats.subscribe(SUBJECT).await {
            Ok(heard) => share(&limits, &nats, heard, &stopping).await,
            Err(error) => warn!(%error, "rate limits are not shared with other nodes; it is tried again"),
        }
        let pause = tokio::time::sleep(Duration::from_secs(5));
        stopping.run_until_cancelled(pause).await;
    }
}

async fn share(limits: &RateLimits, nats: &Client, mut heard: async_nats::Subscriber, stopping: &CancellationToken) {
    let mut ticks = interval(TOLD_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            message = heard.next() => match message {
                Some(message) => limits.learn(&message.payload),
                None => return,
            },
            _ = ticks.tick() => {
                for message in limits.messages() {
                    if let Err(error) = nats.publish(SUBJECT, message.into()).await {
                        debug!(%error, "other nodes could not be told what was spent");
                    }
                }
            }
        }
    }
}
