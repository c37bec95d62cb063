//! Which sessions and personal tokens have ended, as this node knows it: so that a call that is signed in asks no database.
//!
//! The log is the truth, as it is for playback (ADR 22): what ended lately is read once, and from there the log is followed.
//! An append wakes every node by a notification of Postgres, and where one is lost, the log is looked at within a second.
//! A node that has not looked for longer than that does not trust what it knows, and asks Postgres for each call.
//!
//! Who ends a session marks it first and stores the event then. Twice a second at most it is looked for what is marked, so that an end
//! which was interrupted between the two is one, too.

use std::{
    collections::HashMap,
    error::Error,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{Duration, Instant},
};

use commands::{
    Commands,
    accounts::{
        self,
        personal_tokens::{self, FoundPersonalToken},
    },
    events::{self, Filter},
};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

type BoxError = Box<dyn Error + Send + Sync>;

/// Of both, the aggregate's id is what has ended.
const TYPES: &[&str] = &["session.ended", "personal_token.revoked"];
/// Longer than an access token lives, and than a personal token is remembered, whatever clocks say.
const REMEMBERED: Duration = Duration::from_secs(20 * 60);
/// How long what is known counts after the log was looked at. It is looked at once a second where nothing happens.
const FRESH: Duration = Duration::from_millis(1_500);
/// How long a personal token is not looked up again.
const TOKEN_REMEMBERED: Duration = Duration::from_secs(60);
const TOKENS_REMEMBERED: usize = 4_096;
const READ_LEN: i64 = 1_000;
/// How often it is looked for ends that are not in the log, at most.
const ENDING_EVERY: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(500);

/// What has ended lately.
pub(crate) struct Ended {
    commands: Commands,
    known: RwLock<Known>,
    /// How far the log was read; held while it is.
    progress: Mutex<Progress>,
    /// Changes when more has ended.
    changed: watch::Sender<()>,
    tokens: Cache<[u8; 32], (Instant, FoundPersonalToken)>,
}

#[derive(Default)]
struct Progress {
    position: Option<i64>,
    /// When it was last looked for what is ending.
    ending: Option<Instant>,
}

#[derive(Default)]
struct Known {
    ended: HashMap<Uuid, Instant>,
    looked_at: Option<Instant>,
}

impl Ended {
    /// Knows what ends from now on, until `stopping`; call it within a runtime.
    pub(crate) fn follow(commands: Commands, stopping: CancellationToken) -> Arc<Self> {
        let ended = Arc::new(Self {
            commands,
            known: RwLock::default(),
            progress: Mutex::default(),
            changed: watch::Sender::new(()),
            tokens: Cache::new(TOKENS_REMEMBERED),
        });
        let following = Arc::clone(&ended);
        tokio::spawn(async move { stopping.run_until_cancelled(following.run()).await });
        ended
    }

    async fn run(&self) {
        let mut growth = self.commands.growth();
        let mut has_failed = false;
        loop {
            match self.look().await {
                Ok(()) => {
                    has_failed = false;
                    growth.wait().await;
                }
                Err(error) => {
                    if !has_failed {
                        tracing::warn!(
                            error = &*error as &(dyn Error + 'static),
                            "which sessions have ended is asked of Postgres until the log can be followed again"
                        );
                    }
                    has_failed = true;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Reads the log to its end: what was ended before is known afterwards.
    ///
    /// # Errors
    /// When the log does not answer; then Postgres is asked for each call before long.
    pub(crate) async fn look(&self) -> Result<(), BoxError> {
        let mut progress = self.progress.lock().await;
        let looked_at = Instant::now();
        let pool = self.commands.pool();
        let head = events::head(pool).await?;
        // A node that starts needs no more than what access tokens that are about can come from.
        let (mut after, from) = match progress.position {
            Some(position) => (position, None),
            None => (0, Some(OffsetDateTime::now_utc() - REMEMBERED)),
        };
        while after < head {
            let types = TYPES.iter().map(|name| (*name).to_owned()).collect();
            let filter = Filter { after, until: Some(head), types, from, ..Filter::default() };
            let found = events::page(pool, &filter, READ_LEN).await?;
            self.learn(found.iter().filter_map(|event| event.aggregate_id.parse().ok()), looked_at);
            after = match found.last() {
                Some(last) if found.len() as i64 == READ_LEN => last.position,
                _ => head,
            };
        }
        progress.position = Some(head);
        if progress.ending.is_none_or(|looked_at| looked_at.elapsed() >= ENDING_EVERY) {
            self.learn(accounts::ending(&self.commands).await?.into_iter(), looked_at);
            progress.ending = Some(looked_at);
        }
        self.known.write().unwrap_or_else(PoisonError::into_inner).looked_at = Some(looked_at);
        Ok(())
    }

    fn learn(&self, ids: impl Iterator<Item = Uuid>, at: Instant) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut has_changed = false;
        for id in ids {
            has_changed |= known.insert(id, at);
        }
        drop(known);
        if has_changed {
            self.changed.send_replace(());
        }
    }

    /// Changes when more has ended.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Resolves once this node knows that this session or personal token has ended. Nothing is lost by dropping it.
    pub(crate) async fn ends(&self, id: Uuid) {
        // From before it is looked, so that no end comes in between.
        let mut changes = self.changes();
        while self.has_ended(id) != Some(true) {
            if changes.changed().await.is_err() {
                // What tells is here, as long as anybody asks.
                return std::future::pending().await;
            }
        }
    }

    /// Whether this session or personal token has ended; `None` when that has to be asked of Postgres.
    pub(crate) fn has_ended(&self, id: Uuid) -> Option<bool> {
        let known = self.read();
        if known.ended.contains_key(&id) {
            return Some(true);
        }
        known.looked_at.filter(|looked_at| looked_at.elapsed() < FRESH).map(|_| false)
    }

    /// What a personal token is good for, if it is.
    ///
    /// # Errors
    /// When Postgres has to be asked and does not answer.
    pub(crate) async fn find_token(&self, token: &str) -> Result<Option<FoundPersonalToken>, BoxError> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some((found_at, found)) = self.tokens.get(&digest)
            && found_at.elapsed() < TOKEN_REMEMBERED
            && let Some(has_ended) = self.has_ended(found.token_id.uuid())
        {
            return Ok(Some(found).filter(|found| !has_ended && found.expires_at > OffsetDateTime::now_utc()));
        }
        let found_at = Instant::now();
        let found = personal_tokens::find(&self.commands, token).await?;
        if let Some(found) = &found {
            self.tokens.insert(digest, (found_at, found.clone()));
        }
        Ok(found)
    }

    fn read(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Whether that is news.
    fn insert(&mut self, id: Uuid, at: Instant) -> bool {
        let is_new = self.ended.insert(id, at).is_none();
        // Now and then.
        if self.ended.len().is_power_of_two() {
            self.ended.retain(|_, ended_at| ended_at.elapsed() < REMEMBERED);
        }
        is_new
    }
}
