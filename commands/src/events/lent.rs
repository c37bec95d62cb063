use std::{
    future::Future,
    io,
    ops::{Deref, DerefMut},
    time::Duration,
};

use sqlx::{PgConnection, PgPool, Postgres, pool::PoolConnection};
use tokio::time::timeout;

/// How long Postgres may take over one answer. What is asked is bounded, so one that takes longer has vanished without a
/// word: its process is stopped, or its machine is gone.
pub(super) const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// A connection of the pool that goes back only when its answer was read to the end. One that was left in the middle is
/// closed: the pool would wait for the rest of the answer, perhaps for ever.
pub(crate) struct Lent(Option<PoolConnection<Postgres>>);

impl Lent {
    pub(crate) async fn take(pool: &PgPool) -> Result<Self, sqlx::Error> {
        pool.acquire().await.map(|connection| Self(Some(connection)))
    }

    pub(crate) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Deref for Lent {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.0.as_ref().expect("it is there until it goes")
    }
}

impl DerefMut for Lent {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.0.as_mut().expect("it is there until it goes")
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

/// What `answer` becomes, or an error when it takes longer than `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    timeout(limit, answer).await.unwrap_or_else(|_| {
        Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", limit.as_secs()))))
    })
}
