//! One caller who gives one command after the other, beside whom there is nobody.
//!
//! Batches are no help to such a caller: it pays a flush of the disk for each command, and on a virtual machine a third as
//! much again for the threads on the way, each of which has to be woken (ADR 59). So its next command is stored in its own
//! task, over a connection of its own to the server's socket, and it looks for the answer in place of sleeping. Whoever else
//! could run goes first at each look, and where somebody wants the core for longer, it is left to them.
//!
//! To the log that is one more process that appends: the row of its head keeps all of them in order.

mod session;

use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use quick_cache::sync::Cache;
use sqlx::postgres::PgConnectOptions;
use tokio::{
    sync::{Mutex, Semaphore},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::session::{Address, Failed, Session};
use super::{
    CachedAggregate,
    appender::{Append, AppendError},
    key::Key,
    log::{APPEND_TIMEOUT, Answer, TRUSTED_IDLE},
};
use crate::{CommandsOptions, LoneLimits};

/// For how long a core is left to those who want it.
const LEFT: Duration = Duration::from_millis(20);
/// To connect, or to try a connection that was idle; there is another way if it takes longer.
const READY: Duration = Duration::from_secs(1);
/// When it is tried again to connect.
const AGAIN: Duration = Duration::from_secs(10);

/// The way for a caller who is alone.
pub(super) struct Lone {
    /// `None` where the server is not reached by a socket of this machine: over a network the way there is what takes long.
    address: Option<Address>,
    session: Mutex<Place>,
    cache: Arc<Cache<Key, CachedAggregate>>,
    /// A permit less than `queue_len` for each command under way.
    under_way: Arc<Semaphore>,
    queue_len: usize,
    limits: LoneLimits,
    stop: CancellationToken,
    begin: Instant,
    /// When a command was answered beside which there was no other, in microseconds after `begin`; 0 when that is no sign.
    answered_us: AtomicU64,
    /// When somebody else wanted the core.
    wanted_us: AtomicU64,
}

/// Where the session is while nobody uses it.
enum Place {
    /// There never was one.
    Unused,
    Open(Box<Session>),
    /// It was used by somebody who gave up, or broke.
    Lost,
    /// The server could not be connected to then.
    Failed(Instant),
    /// The server does not let us in this way, which the other way in says more about.
    Refused,
}

impl Lone {
    pub(super) fn new(
        server: &PgConnectOptions,
        cache: Arc<Cache<Key, CachedAggregate>>,
        (under_way, options): (Arc<Semaphore>, &CommandsOptions),
        stop: CancellationToken,
    ) -> Self {
        Self {
            address: Address::of(server),
            session: Mutex::new(Place::Unused),
            cache,
            under_way,
            queue_len: options.queue_len,
            limits: options.lone,
            stop,
            begin: Instant::now(),
            answered_us: AtomicU64::new(0),
            wanted_us: AtomicU64::new(0),
        }
    }

    /// A command was stored that took so long.
    pub(super) fn answered(&self, took: Duration) {
        let is_sign = took < self.limits.stored && self.is_alone();
        self.answered_us.store(if is_sign { self.now_us() } else { 0 }, Ordering::Relaxed);
    }

    /// Stores what one caller alone wants to have stored next; `None` when it is not that, and was not stored.
    pub(super) async fn append(&self, append: &Append) -> Option<Answer> {
        let [event] = append.events.as_slice() else { return None };
        if !append.claims.is_empty() || append.used_key.is_some() || !self.follows() {
            return None;
        }
        let mut place = self.session.try_lock().ok()?;
        if self.stop.is_cancelled() {
            return None;
        }
        // It stays lost when this is given up in between: what the server would answer next is not for the next command.
        let mut session = match mem::replace(&mut *place, Place::Lost) {
            Place::Open(session) => session,
            before => match self.connect(before).await {
                Ok(session) => session,
                Err(after) => {
                    *place = after;
                    return None;
                }
            },
        };
        if session.used_at.elapsed() >= TRUSTED_IDLE && !matches!(timeout(READY, session.ping()).await, Ok(Ok(()))) {
            return None;
        }
        let stored = timeout(APPEND_TIMEOUT, session.append(append, event, self.limits.stored)).await;
        if session.others_wait() {
            self.wanted_us.store(self.now_us(), Ordering::Relaxed);
        }
        let unknown = |error: io::Error| {
            tracing::warn!(%error, commands = 1, "an append failed");
            Some(Err(AppendError::OutcomeUnknown(Arc::new(sqlx::Error::Io(error)))))
        };
        let answer = match stored {
            Ok(Ok(position)) => Some(Ok(position)),
            Ok(Err(Failed::Conflict)) => Some(Err(AppendError::Conflict)),
            Ok(Err(Failed::Waited)) => {
                tracing::warn!(commands = 1, "others keep the log for too long");
                Some(Err(AppendError::Unavailable(Arc::new(sqlx::Error::Io(io::ErrorKind::TimedOut.into())))))
            }
            // The other way finds out why, and says so.
            Ok(Err(Failed::NotStored)) => None,
            Ok(Err(Failed::NotSent)) => return None,
            Ok(Err(Failed::Unknown(error))) => return unknown(error),
            Err(_) => return unknown(io::ErrorKind::TimedOut.into()),
        };
        *place = Place::Open(session);
        answer
    }

    /// A session where there is none, or what there is in its place.
    async fn connect(&self, before: Place) -> Result<Box<Session>, Place> {
        let Some(address) = &self.address else { return Err(Place::Refused) };
        match before {
            Place::Refused => return Err(Place::Refused),
            Place::Failed(at) if at.elapsed() < AGAIN => return Err(Place::Failed(at)),
            Place::Unused | Place::Open(_) | Place::Lost | Place::Failed(_) => {}
        }
        let error = match timeout(READY, Session::connect(address)).await {
            Ok(Ok(Some(session))) => {
                if !matches!(before, Place::Unused) {
                    // The server may have been replaced by a copy that lags behind what this process remembers.
                    self.cache.clear();
                }
                return Ok(Box::new(session));
            }
            Ok(Ok(None)) => {
                tracing::info!(
                    "Postgres asks for more than its socket: callers who are alone wait for the thread that appends"
                );
                return Err(Place::Refused);
            }
            Ok(Err(error)) => error,
            Err(_) => io::ErrorKind::TimedOut.into(),
        };
        tracing::warn!(%error, "callers who are alone wait for the thread that appends: Postgres cannot be connected to");
        Err(Place::Failed(Instant::now()))
    }

    /// Waits for what is under way and ends the session; `stop` was cancelled before.
    pub(super) async fn close(&self) {
        let mut place = self.session.lock().await;
        if let Place::Open(session) = mem::replace(&mut *place, Place::Refused) {
            session.close().await;
        }
    }

    /// Whether a command that comes now is likely to be the next of a caller who is alone.
    fn follows(&self) -> bool {
        self.is_alone()
            && self.is_within(&self.answered_us, self.limits.follows)
            && !self.is_within(&self.wanted_us, LEFT)
    }

    fn is_alone(&self) -> bool {
        self.queue_len.saturating_sub(self.under_way.available_permits()) == 1
    }

    fn is_within(&self, at_us: &AtomicU64, window: Duration) -> bool {
        let at_us = at_us.load(Ordering::Relaxed);
        at_us > 0 && Duration::from_micros(self.now_us().saturating_sub(at_us)) < window
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}
