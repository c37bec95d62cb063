use std::{sync::Arc, time::Duration};

use sqlx::PgPool;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep_until, timeout},
};

use crate::{
    accounts::{Accounts, AdministeredAccounts, PersonalTokens, Profiles, Sessions},
    channels::Channels,
    exports::Exports,
    invites::Invites,
    projection::{ALL, Projection},
    recordings::Recordings,
    registrations::RegistrationInvites,
    reports::Reports,
    security_events::SecurityEvents,
    status::{Board, Entry, State},
    streams::Streams,
    teams::Teams,
};

/// How often somebody who waits asks the checkpoints of workers that are not in this process.
const POLL: Duration = Duration::from_millis(20);

/// The read models, for queries. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReadModels {
    pool: PgPool,
    board: Board,
    /// When the checkpoints were last asked; whoever holds it asks for all who wait.
    polled: Arc<Mutex<Option<Instant>>>,
}

impl ReadModels {
    /// The read models behind `pool`, whoever keeps them up to date. Where they are kept in this process,
    /// [`Projections::read_models`](crate::Projections::read_models) gives one that learns of new rows at once.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self::with_board(pool, Board::new(ALL.iter().map(|projection| projection.name())))
    }

    pub(crate) fn with_board(pool: PgPool, board: Board) -> Self {
        Self { pool, board, polled: Arc::default() }
    }

    /// Accounts.
    #[must_use]
    pub fn accounts(&self) -> Accounts<'_> {
        Accounts { pool: &self.pool }
    }

    /// Channels.
    #[must_use]
    pub fn channels(&self) -> Channels<'_> {
        Channels { pool: &self.pool }
    }

    /// Exports.
    #[must_use]
    pub fn exports(&self) -> Exports<'_> {
        Exports { pool: &self.pool }
    }

    /// Invites.
    #[must_use]
    pub fn invites(&self) -> Invites<'_> {
        Invites { pool: &self.pool }
    }

    /// Personal tokens of accounts.
    #[must_use]
    pub fn personal_tokens(&self) -> PersonalTokens<'_> {
        PersonalTokens { pool: &self.pool }
    }

    /// What people show of themselves.
    #[must_use]
    pub fn profiles(&self) -> Profiles<'_> {
        Profiles { pool: &self.pool }
    }

    /// Recordings.
    #[must_use]
    pub fn recordings(&self) -> Recordings<'_> {
        Recordings { pool: &self.pool }
    }

    /// What happened to the safety of accounts.
    #[must_use]
    pub fn security_events(&self) -> SecurityEvents<'_> {
        SecurityEvents { pool: &self.pool }
    }

    /// Reports.
    #[must_use]
    pub fn reports(&self) -> Reports<'_> {
        Reports { pool: &self.pool }
    }

    /// Accounts as administrators see them.
    #[must_use]
    pub fn administered_accounts(&self) -> AdministeredAccounts<'_> {
        AdministeredAccounts { pool: &self.pool }
    }

    /// Links by which accounts can be made.
    #[must_use]
    pub fn registration_invites(&self) -> RegistrationInvites<'_> {
        RegistrationInvites { pool: &self.pool }
    }

    /// Where accounts are signed in.
    #[must_use]
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions { pool: &self.pool }
    }

    /// Streams.
    #[must_use]
    pub fn streams(&self) -> Streams<'_> {
        Streams { pool: &self.pool }
    }

    /// Who has which role in a channel.
    #[must_use]
    pub fn teams(&self) -> Teams<'_> {
        Teams { pool: &self.pool }
    }

    /// Waits until all read models hold the event of `position` and those before it. `false` when `limit` is over first,
    /// as it may be while a projection stands still or Postgres is away. Cancel safe.
    pub async fn wait_for(&self, position: i64, limit: Duration) -> bool {
        self.wait_for_some(ALL, position, limit).await
    }

    /// As [`ReadModels::wait_for`], but only for the read models that are named.
    pub async fn wait_for_some(&self, models: &[&dyn Projection], position: i64, limit: Duration) -> bool {
        timeout(limit, self.reach(models, position)).await.is_ok()
    }

    async fn reach(&self, models: &[&dyn Projection], position: i64) {
        let awaited = |entry: &&Entry| {
            entry.position < position && models.iter().any(|projection| projection.name() == entry.name)
        };
        let mut board = self.board.watch();
        loop {
            let is_elsewhere = {
                let entries = board.borrow_and_update();
                let mut behind = entries.iter().filter(awaited).peekable();
                if behind.peek().is_none() {
                    return;
                }
                // A worker of this process that is at work will tell.
                behind.any(|entry| entry.state != State::Following)
            };
            tokio::select! {
                // The board is never gone: we hold it.
                _ = board.changed() => {}
                () = self.poll(), if is_elsewhere => {}
            }
        }
    }

    /// Asks the checkpoints and puts them up for everybody; does not return before [`POLL`] has passed since the last time.
    async fn poll(&self) {
        let mut polled = self.polled.lock().await;
        if let Some(last) = *polled {
            sleep_until(last + POLL).await;
        }
        *polled = Some(Instant::now());
        let checkpoints: Result<Vec<(String, i64)>, _> =
            sqlx::query_as("select projection, position from read.checkpoints").fetch_all(&self.pool).await;
        match checkpoints {
            Ok(checkpoints) => {
                for (name, position) in checkpoints {
                    self.board.found(&name, position);
                }
            }
            Err(error) => tracing::debug!(%error, "the checkpoints could not be read"),
        }
    }
}
