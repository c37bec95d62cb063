use std::{sync::Arc, time::Duration};

use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{sync::Notify, task::JoinHandle, time::sleep};

/// The channel on which an append tells its last position.
const CHANNEL: &str = "weir_log";

/// Hears that the log has grown. Notifications that get lost are made up for by who waits.
pub(super) struct Listener {
    grown: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Listener {
    pub(super) fn start(pool: &PgPool) -> Self {
        let grown = Arc::new(Notify::new());
        // A connection of its own; a listener would keep one of the pool's for ever.
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with((*pool.connect_options()).clone());
        let task = tokio::spawn(listen(pool, grown.clone()));
        Self { grown, task }
    }

    /// Returns when the log has grown since the last time. Cancel safe.
    pub(super) async fn notified(&self) {
        self.grown.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(pool: PgPool, grown: Arc<Notify>) {
    loop {
        let ended: Result<std::convert::Infallible, sqlx::Error> = async {
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.listen(CHANNEL).await?;
            loop {
                // `None` after the connection was lost and made again: something may have been missed.
                listener.try_recv().await?;
                grown.notify_one();
            }
        }
        .await;
        let Err(error) = ended;
        tracing::debug!(%error, "nobody tells that the log grows; it is looked at instead");
        sleep(Duration::from_secs(1)).await;
    }
}
