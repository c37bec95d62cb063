//! Hearing that the log has grown, whoever appended.

use std::{sync::Arc, time::Duration};

use sqlx::{
    Executor, PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::Commands;

/// What an append notifies.
const NOTIFICATIONS: &str = "weir_log";
/// How often it is said that the log may have grown when nothing tells: notifications are lost with their connection.
const LOOKED_EVERY: Duration = Duration::from_secs(1);
/// After so long without a notification it is tried whether the server is still there, which then has so long to answer.
const HEARD_EVERY: Duration = Duration::from_secs(30);
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

/// Hears that the log has grown: at once from this process, by notification from others, and by and by when neither
/// comes. It holds one connection of its own until it is dropped.
#[derive(Debug)]
pub struct Growth {
    committed: Option<watch::Receiver<i64>>,
    notified: Arc<Notify>,
    listening: JoinHandle<()>,
}

impl Commands {
    /// Listens to the log from now on.
    #[must_use]
    pub fn growth(&self) -> Growth {
        let notified = Arc::new(Notify::new());
        // A connection of its own; a listener would keep one of the pool's for as long as it lives.
        let own = PgPoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .connect_lazy_with((*self.pool().connect_options()).clone());
        let listening = tokio::spawn(listen(own, Arc::clone(&notified)));
        Growth { committed: Some(self.committed()), notified, listening }
    }
}

impl Growth {
    /// Returns when the log may have grown since the last time. Cancel safe.
    pub async fn wait(&mut self) {
        let committed = async {
            match &mut self.committed {
                Some(committed) => committed.changed().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            committed = committed => {
                if committed.is_err() {
                    self.committed = None;
                }
            }
            () = self.notified.notified() => {}
            () = sleep(LOOKED_EVERY) => {}
        }
    }
}

impl Drop for Growth {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen(own: PgPool, notified: Arc<Notify>) {
    loop {
        let ended: Result<std::convert::Infallible, sqlx::Error> = async {
            let mut listener = PgListener::connect_with(&own).await?;
            listener.listen(NOTIFICATIONS).await?;
            loop {
                match timeout(HEARD_EVERY, listener.try_recv()).await {
                    // `None` after the connection was lost and made again: something may have been missed.
                    Ok(heard) => drop(heard?),
                    // A server that vanished without a word says as much as one that has nothing to say.
                    Err(_) => {
                        let tried = timeout(ANSWERED_WITHIN, listener.execute("select 1")).await;
                        tried.map_err(|_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))??;
                    }
                }
                notified.notify_one();
            }
        }
        .await;
        let Err(error) = ended;
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "nobody tells that the log grows; it is looked at instead"
        );
        sleep(LOOKED_EVERY).await;
    }
}
