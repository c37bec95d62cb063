//! Requests that come with a key of the client's, so that they can be sent again when the answer was lost.
//!
//! Who takes requests asks [`Commands::recall`] first. [`Recalled::New`] is carried out with the same
//! [`Idempotency`] in the command's metadata, and the guard in it is kept until the response is made; the log then
//! keeps the key in the transaction of the events, so that no crash and no other process lets a request happen twice.
//! [`Commands::remember_response`] keeps what was answered for the next time. What was refused, or had nothing to do, is
//! not kept: deciding again gives the answer.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use sqlx::Row;
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{Actor, Commands};

/// How long a key is kept; a request that is repeated later is carried out again.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest key, in characters.
pub const KEY_LEN: usize = 255;

/// A client's key and a digest of what was asked under it.
#[derive(Clone, PartialEq, Eq)]
pub struct Idempotency {
    pub(crate) key: Arc<str>,
    pub(crate) request_hash: [u8; 32],
}

/// What is known of a request with a key.
#[derive(Debug)]
pub enum Recalled {
    /// It was not carried out: do so, and drop the guard once it is answered. While it lives, this process answers
    /// repeats with [`RecallError::InFlight`].
    New(InFlight),
    /// It was carried out.
    Done(Done),
}

/// A request that was carried out.
#[derive(Debug)]
pub struct Done {
    /// The command that did it.
    pub command_id: Uuid,
    /// The aggregate whose events it led to.
    pub aggregate_id: String,
    /// Where the last of them is.
    pub position: i64,
    /// What was answered; `None` when the process ended before it answered, or did not keep the answer: then it has to be
    /// made anew from what the command led to.
    pub response: Option<Zeroizing<Vec<u8>>>,
}

/// Why a request with a key is not to be carried out.
#[derive(Debug, Error)]
pub enum RecallError {
    /// The key belongs to another request; the client has to take a new one.
    #[error("the key was used for another request")]
    Reused,
    /// The same request is being carried out; ask again in a second.
    #[error("a request with this key is being carried out")]
    InFlight,
    /// The log does not answer; nothing was done, try again.
    #[error("the log cannot be reached")]
    Unavailable(#[from] sqlx::Error),
}

/// A key that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an idempotency key has 1 to 255 visible ASCII characters; a UUID is a good one")]
pub struct KeyInvalid;

/// A key and whose it is.
type ActorsKey = (String, Arc<str>);

/// The keys whose requests this process is carrying out.
#[derive(Clone, Default)]
pub(crate) struct InFlightKeys {
    keys: Arc<Mutex<HashSet<ActorsKey>>>,
}

/// Says, while it lives, that a request is being carried out.
pub struct InFlight {
    among: InFlightKeys,
    key: ActorsKey,
}

impl Commands {
    /// The key that a client gave, with a digest of `request`: everything that makes the request what it is (method, path,
    /// body). The digest is keyed, so that it tells nothing of the request.
    ///
    /// # Errors
    /// [`KeyInvalid`] for a key that is empty, too long, or has other than visible ASCII characters.
    pub fn idempotency(&self, key: &str, request: &[&[u8]]) -> Result<Idempotency, KeyInvalid> {
        if !(1..=KEY_LEN).contains(&key.len()) || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(KeyInvalid);
        }
        let parts: Vec<&[u8]> = [b"request".as_slice()].into_iter().chain(request.iter().copied()).collect();
        Ok(Idempotency { key: key.into(), request_hash: self.keys().digest(&parts) })
    }

    /// What became of a request of `actor` that may be a repeat.
    ///
    /// # Errors
    /// [`RecallError`]; nothing is to be carried out then.
    pub async fn recall(&self, actor: Actor, idempotency: &Idempotency) -> Result<Recalled, RecallError> {
        // Before the log is asked: what ends in between is in the log by then.
        let guard = self.in_flight().enter(actor, idempotency).ok_or(RecallError::InFlight);
        let row = sqlx::query(
            "select request_hash, command_id, aggregate_id, position, response from log.commands \
             where actor = $1 and key = $2 and expires_at > now()",
        )
        .bind(actor.to_string())
        .bind(&*idempotency.key)
        .fetch_optional(self.pool())
        .await?;
        let Some(row) = row else { return guard.map(Recalled::New) };
        if row.try_get::<&[u8], _>(0)? != idempotency.request_hash {
            return Err(RecallError::Reused);
        }
        let command_id = row.try_get(1)?;
        let sealed: Option<&[u8]> = row.try_get(4)?;
        if sealed.is_none() {
            // Its response may be in the making.
            guard?;
        }
        Ok(Recalled::Done(Done {
            command_id,
            aggregate_id: row.try_get(2)?,
            position: row.try_get(3)?,
            // One that was sealed under a master key that is gone is as good as none.
            response: sealed.and_then(|sealed| self.keys().wrapping().open(sealed, &context(command_id))),
        }))
    }

    /// Keeps what was answered to a request that was carried out, in whatever form; encrypted. Nothing happens when the
    /// request led to no events, and a second answer does not replace the first. Answers that are secret are not to be kept.
    ///
    /// # Errors
    /// When the log does not answer: the response is made anew at a repeat.
    pub async fn remember_response(
        &self,
        actor: Actor,
        idempotency: &Idempotency,
        command_id: Uuid,
        response: &[u8],
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update log.commands set response = $4 \
             where actor = $1 and key = $2 and command_id = $3 and response is null",
        )
        .bind(actor.to_string())
        .bind(&*idempotency.key)
        .bind(command_id)
        .bind(self.keys().wrapping().seal(response, &context(command_id)))
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Forgets the keys and responses of `actor`, whose data is being erased.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn forget_requests(&self, actor: Actor) -> Result<(), sqlx::Error> {
        sqlx::query("delete from log.commands where actor = $1").bind(actor.to_string()).execute(self.pool()).await?;
        Ok(())
    }

    /// Removes the keys whose time is over, and says how many.
    ///
    /// # Errors
    /// When the log does not answer.
    pub async fn forget_expired_requests(&self) -> Result<u64, sqlx::Error> {
        let deleted = sqlx::query("delete from log.commands where expires_at <= now()").execute(self.pool()).await?;
        Ok(deleted.rows_affected())
    }

    /// Whether a command with this key was carried out.
    pub(crate) async fn is_carried_out(&self, actor: Actor, idempotency: &Idempotency) -> Result<bool, sqlx::Error> {
        sqlx::query_scalar(
            "select exists (select from log.commands where actor = $1 and key = $2 and expires_at > now())",
        )
        .bind(actor.to_string())
        .bind(&*idempotency.key)
        .fetch_one(self.pool())
        .await
    }
}

impl InFlightKeys {
    fn enter(&self, actor: Actor, idempotency: &Idempotency) -> Option<InFlight> {
        let key = (actor.to_string(), Arc::clone(&idempotency.key));
        let is_new = self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone());
        is_new.then(|| InFlight { among: self.clone(), key })
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.among.keys.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("InFlight(…)")
    }
}

impl fmt::Debug for Idempotency {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Idempotency({})", self.key)
    }
}

fn context(command_id: Uuid) -> Vec<u8> {
    [b"weir response ".as_slice(), command_id.as_bytes()].concat()
}
