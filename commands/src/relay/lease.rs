use std::time::Duration;

use sqlx::PgPool;
use tokio::time::Instant;
use uuid::Uuid;

use crate::events::{Lent, within};

/// How long the lease lasts after each renewal; `log.lease` says the same.
const LASTS: Duration = Duration::from_secs(3);
const RENEWED_EVERY: Duration = Duration::from_secs(1);
/// How long Postgres may take over it, so that the lease is given up before it has run out.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
const NAME: &str = "relay";

/// The right to be the one relay. It only saves work: what keeps two relays harmless is the fence of the stream.
pub(super) struct Lease {
    pool: PgPool,
    holder: String,
    renewed_at: Option<Instant>,
}

impl Lease {
    pub(super) fn new(pool: PgPool, node: &str) -> Self {
        // A process that was started again is another holder: the one before may still be at work.
        Self { pool, holder: format!("{node} {}", Uuid::now_v7()), renewed_at: None }
    }

    /// Takes the lease, or renews it when that is due. `false` while another holds it. One that lasts far longer than any is
    /// given for was left by a holder of before the server's clock was set back, and does not count.
    pub(super) async fn hold(&mut self) -> Result<bool, sqlx::Error> {
        let now = Instant::now();
        if self.renewed_at.is_some_and(|renewed_at| now - renewed_at < RENEWED_EVERY) {
            return Ok(true);
        }
        let held = self.ask(
            "insert into log.lease (name, holder, expires_at) values ($1, $2, now() + interval '3 seconds') \
             on conflict (name) do update set holder = excluded.holder, expires_at = excluded.expires_at \
             where lease.holder = excluded.holder or lease.expires_at < now() \
                 or lease.expires_at > now() + interval '10 seconds'",
        );
        match held.await {
            Ok(is_held) => {
                self.renewed_at = is_held.then_some(now);
                Ok(is_held)
            }
            // It lasts a little longer than the database is away.
            Err(_) if self.renewed_at.is_some_and(|renewed_at| renewed_at.elapsed() < LASTS) => Ok(true),
            Err(error) => {
                self.renewed_at = None;
                Err(error)
            }
        }
    }

    /// Lets another take over at once.
    pub(super) async fn give_up(&mut self) {
        if self.renewed_at.take().is_none() {
            return;
        }
        if let Err(error) = self.ask("delete from log.lease where name = $1 and holder = $2").await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the relay's lease runs out by itself");
        }
    }

    /// Whether the statement changed anything.
    async fn ask(&self, sql: &str) -> Result<bool, sqlx::Error> {
        within(ANSWERED_WITHIN, async {
            let mut lent = Lent::take(&self.pool).await?;
            let done = sqlx::query(sql).bind(NAME).bind(&self.holder).execute(&mut *lent).await?;
            lent.give_back();
            Ok(done.rows_affected() == 1)
        })
        .await
    }
}
