//! The relay: hands the log to JetStream in order, each event once.

use sqlx::PgPool;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The JetStream stream that the log is published to.
pub const STREAM: &str = "WEIR_EVENTS";
/// What its subjects begin with; the event's type follows: `weir.events.channel.created`.
pub const SUBJECT_PREFIX: &str = "weir.events";
/// The header that holds an event's position.
pub const POSITION_HEADER: &str = "Weir-Position";

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
    let _ = (pool, nats, node, hint, cancel);
    todo!()
}
