//! Hearing at once that another process has destroyed a key.

use std::{
    convert::Infallible,
    sync::{Arc, Weak},
    time::Duration,
};

use domain::ids::AccountId;
use sqlx::{
    PgPool,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::{task::JoinHandle, time::sleep};

use super::AccountKeys;

/// What the destruction of a key notifies, with the account's id.
pub(super) const NOTIFICATIONS: &str = "weir_keys";
const TRIED_EVERY: Duration = Duration::from_secs(1);

/// Makes `keys` forget what others destroy, for as long as somebody holds them.
pub(super) fn listen(pool: &PgPool, keys: &Arc<AccountKeys>) -> JoinHandle<()> {
    // A connection of its own; a listener would keep one of the pool's for as long as it lives.
    let own = PgPoolOptions::new()
        .max_connections(1)
        .max_lifetime(None)
        .idle_timeout(None)
        .connect_lazy_with((*pool.connect_options()).clone());
    let keys = Arc::downgrade(keys);
    tokio::spawn(async move {
        loop {
            let Err(error) = pass_on(&own, &keys).await;
            let Some(keys) = keys.upgrade() else { return };
            keys.hear(false);
            drop(keys);
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "nobody tells which keys are destroyed; they are looked at every second instead"
            );
            sleep(TRIED_EVERY).await;
        }
    })
}

async fn pass_on(own: &PgPool, keys: &Weak<AccountKeys>) -> Result<Infallible, sqlx::Error> {
    let gone = || sqlx::Error::PoolClosed;
    let mut listener = PgListener::connect_with(own).await?;
    listener.listen(NOTIFICATIONS).await?;
    // What was destroyed before is seen by whoever looks from now on.
    keys.upgrade().ok_or_else(gone)?.hear(true);
    loop {
        let heard = listener.try_recv().await?;
        let keys = keys.upgrade().ok_or_else(gone)?;
        match heard.map(|notification| notification.payload().parse::<AccountId>()) {
            Some(Ok(account_id)) => keys.forget(account_id),
            // The connection was lost and made again, or the payload is not ours: something may have been missed.
            Some(Err(_)) | None => keys.forget_all(),
        }
    }
}
