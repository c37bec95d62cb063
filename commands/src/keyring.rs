mod days;
mod listener;

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use domain::{
    ids::AccountId,
    sealed::{BoxFuture, Keyring, KeyringError, Opened, Sealed},
};
use quick_cache::sync::Cache;
use sqlx::PgPool;
use thiserror::Error;
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::days::DayKeys;
use crate::{
    MasterKeys,
    master_keys::{OpenError, SEALING_KEY, SecretKey},
};

/// How long a key is used without looking whether another process has destroyed it: while that is told at once, and while
/// nobody tells.
const REMEMBERED: Duration = Duration::from_secs(60);
const REMEMBERED_UNTOLD: Duration = Duration::from_secs(1);
const REMEMBERED_KEYS: usize = 16_384;

/// How often a key is made again because all nodes were told to seal under another master key meanwhile.
const ATTEMPTS: usize = 5;

/// The keys under which personal data is sealed: one for each account, itself encrypted under the master key; and for what
/// is kept for a while only, one for each day.
pub struct AccountKeys {
    pool: PgPool,
    keys: Arc<MasterKeys>,
    remembered: Cache<AccountId, (Instant, AccountKey)>,
    /// How often something had to be forgotten: what was read before that is not remembered after it.
    forgotten: AtomicU64,
    /// Whether other processes tell what they destroy.
    is_told: AtomicBool,
    days: DayKeys,
    listening: OnceLock<JoinHandle<()>>,
}

#[derive(Clone)]
enum AccountKey {
    Usable(Arc<SecretKey>),
    Destroyed,
}

#[derive(Debug, Error)]
#[error("the key of account {0} was destroyed")]
struct Destroyed(AccountId);

#[derive(Debug, Error)]
#[error("the key of account {account_id} cannot be opened")]
struct NotOpened {
    account_id: AccountId,
    source: OpenError,
}

impl AccountKeys {
    /// The keys in the database of `pool`; what other processes destroy is forgotten as soon as they say so.
    pub(crate) fn start(pool: PgPool, keys: Arc<MasterKeys>) -> Arc<Self> {
        let account_keys = Arc::new(Self {
            pool,
            keys,
            remembered: Cache::new(REMEMBERED_KEYS),
            forgotten: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
            days: DayKeys::new(),
            listening: OnceLock::new(),
        });
        let listening = listener::listen(&account_keys.pool, &account_keys);
        account_keys.listening.set(listening).expect("it starts to listen once");
        account_keys
    }

    /// Seals `text` under the key of `account_id`, making the key on first use.
    ///
    /// # Errors
    /// [`KeyringError::Unavailable`] when the log does not answer, or the key was destroyed.
    pub async fn seal(&self, account_id: AccountId, text: &str) -> Result<Sealed, KeyringError> {
        self.seal_bytes(account_id, text.as_bytes()).await
    }

    async fn seal_bytes(&self, account_id: AccountId, plain: &[u8]) -> Result<Sealed, KeyringError> {
        let mut keys = self.find(&[account_id]).await?;
        let key = match keys.remove(&account_id) {
            Some(key) => key,
            None => self.make(account_id).await?,
        };
        match key {
            AccountKey::Usable(key) => {
                let ciphertext = key.seal(plain, &text_context(account_id));
                Ok(Sealed { account_id, ciphertext })
            }
            AccountKey::Destroyed => Err(KeyringError::Unavailable(Box::new(Destroyed(account_id)))),
        }
    }

    /// Seals `text` under the key of `account_id` as [`Self::seal`] does, and before that under a key of this day, which is
    /// destroyed when the time for which such data is kept is over: it opens as [`Opened::Erased`] then.
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub async fn seal_for_a_while(&self, account_id: AccountId, text: &str) -> Result<Sealed, KeyringError> {
        let inner = self.days.seal((&self.pool, &self.keys), account_id, text).await?;
        self.seal_bytes(account_id, &inner).await
    }

    /// Destroys the keys of the days that began longer than `age` ago, so that whatever was sealed for a while on them opens as
    /// [`Opened::Erased`]; in other processes as soon as they hear of it, and within a second where they cannot. Answers how
    /// many there were.
    ///
    /// # Errors
    /// [`KeyringError::Unavailable`] when the log does not answer.
    pub async fn forget_days(&self, age: Duration) -> Result<u64, KeyringError> {
        let destroyed = days::destroy(&self.pool, age).await.map_err(unavailable)?;
        if destroyed > 0 {
            self.forget_all();
            // Not the id of an account: whoever hears it forgets everything.
            sqlx::query("select pg_notify($1, 'days')")
                .bind(listener::NOTIFICATIONS)
                .execute(&self.pool)
                .await
                .map_err(unavailable)?;
        }
        Ok(destroyed)
    }

    /// Destroys the key of `account_id`: whatever was sealed under it opens as [`Opened::Erased`] from now on, in other
    /// processes as soon as they hear of it, and within a second where they cannot.
    ///
    /// # Errors
    /// [`KeyringError::Unavailable`] when the log does not answer.
    pub async fn destroy(&self, account_id: AccountId) -> Result<(), KeyringError> {
        // The row stays, or is made: a tombstone, so that no key is made anew.
        sqlx::query(
            "with destroyed as ( \
                 insert into log.keys (account_id, wrapped, destroyed_at, is_settled) values ($1, null, now(), true) \
                 on conflict (account_id) do update \
                     set wrapped = null, sealed_under = null, destroyed_at = now(), is_settled = true \
                     where keys.destroyed_at is null \
                 returning account_id \
             ) select pg_notify($2, account_id::text) from destroyed",
        )
        .bind(account_id.uuid())
        .bind(listener::NOTIFICATIONS)
        .execute(&self.pool)
        .await
        .map_err(unavailable)?;
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.remembered.insert(account_id, (Instant::now(), AccountKey::Destroyed));
        Ok(())
    }

    /// Looks again at the key of `account_id` when it is needed next.
    fn forget(&self, account_id: AccountId) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.remembered.remove(&account_id);
    }

    fn forget_all(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.remembered.clear();
        self.days.forget_all();
    }

    /// How long what was read is used without being looked at again.
    fn remembered_for(&self) -> Duration {
        if self.is_told.load(Ordering::SeqCst) { REMEMBERED } else { REMEMBERED_UNTOLD }
    }

    /// Whether other processes can tell what they destroy from now on.
    fn hear(&self, is_told: bool) {
        self.is_told.store(is_told, Ordering::SeqCst);
        self.forget_all();
    }

    /// The keys of those of `account_ids` that have one.
    async fn find(&self, account_ids: &[AccountId]) -> Result<HashMap<AccountId, AccountKey>, KeyringError> {
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        let remembered = self.remembered_for();
        let mut found = HashMap::with_capacity(account_ids.len());
        let mut missing: Vec<Uuid> = Vec::new();
        for account_id in account_ids {
            match self.remembered.get(account_id) {
                // What is destroyed stays so.
                Some((_, AccountKey::Destroyed)) => _ = found.insert(*account_id, AccountKey::Destroyed),
                Some((read_at, key)) if read_at.elapsed() < remembered => _ = found.insert(*account_id, key),
                _ => missing.push(account_id.uuid()),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let rows: Vec<(Uuid, Option<Vec<u8>>, Option<String>)> =
            sqlx::query_as("select account_id, wrapped, sealed_under from log.keys where account_id = any($1)")
                .bind(missing)
                .fetch_all(&self.pool)
                .await
                .map_err(unavailable)?;
        for (account_id, wrapped, sealed_under) in rows {
            let account_id = AccountId::from(account_id);
            let key = match wrapped {
                Some(wrapped) => {
                    let key = self.unwrap(account_id, &wrapped, sealed_under.as_deref()).await?;
                    AccountKey::Usable(Arc::new(key))
                }
                None => AccountKey::Destroyed,
            };
            self.remember(account_id, &key, forgotten);
            found.insert(account_id, key);
        }
        Ok(found)
    }

    async fn make(&self, account_id: AccountId) -> Result<AccountKey, KeyringError> {
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        let key = SecretKey::random();
        for _ in 0..ATTEMPTS {
            let wrapping = self.keys.wrapping();
            let wrapped = wrapping.seal(key.expose(), &key_context(account_id));
            // Under the key that all nodes seal under, or not at all: a rotation waits for this row, or this row for it.
            let made = sqlx::query(
                "with sealing as (select value from log.settings where name = $4 and value = $3 for share) \
                 insert into log.keys (account_id, wrapped, sealed_under) select $1, $2, value from sealing \
                 on conflict (account_id) do nothing",
            )
            .bind(account_id.uuid())
            .bind(wrapped)
            .bind(wrapping.sealing_id())
            .bind(SEALING_KEY)
            .execute(&self.pool)
            .await
            .map_err(unavailable)?;
            if made.rows_affected() == 1 {
                let key = AccountKey::Usable(Arc::new(key));
                self.remember(account_id, &key, forgotten);
                return Ok(key);
            }
            // Somebody else was faster, and theirs is the key.
            if let Some(key) = self.find(&[account_id]).await?.remove(&account_id) {
                return Ok(key);
            }
            if !self.keys.learn_sealing(&self.pool).await.map_err(unavailable)? {
                break;
            }
        }
        Err(not_opened(account_id, OpenError::KeyUnknown))
    }

    async fn unwrap(
        &self,
        account_id: AccountId,
        wrapped: &[u8],
        sealed_under: Option<&str>,
    ) -> Result<SecretKey, KeyringError> {
        match self.keys.open(sealed_under, wrapped, &key_context(account_id)).await {
            Ok(key) => SecretKey::from_slice(&key).ok_or(KeyringError::Corrupt(account_id)),
            Err(OpenError::Corrupt) => Err(KeyringError::Corrupt(account_id)),
            Err(error @ OpenError::KeyUnknown) => Err(not_opened(account_id, error)),
        }
    }

    /// Unless something had to be forgotten since `forgotten` was read.
    fn remember(&self, account_id: AccountId, key: &AccountKey, forgotten: u64) {
        if matches!(key, AccountKey::Destroyed) || self.forgotten.load(Ordering::SeqCst) == forgotten {
            self.remembered.insert(account_id, (Instant::now(), key.clone()));
            // It may have had to be forgotten in this very moment.
            if self.forgotten.load(Ordering::SeqCst) != forgotten && !matches!(key, AccountKey::Destroyed) {
                self.remembered.remove(&account_id);
            }
        }
    }
}

impl Drop for AccountKeys {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.get() {
            listening.abort();
        }
    }
}

impl Keyring for AccountKeys {
    fn open<'a>(&'a self, sealed: Vec<Cow<'a, Sealed>>) -> BoxFuture<'a, Result<Vec<Opened>, KeyringError>> {
        Box::pin(async move {
            let mut account_ids: Vec<_> = sealed.iter().map(|sealed| sealed.account_id).collect();
            account_ids.sort_unstable();
            account_ids.dedup();
            let keys = self.find(&account_ids).await?;
            let layers = sealed.iter().map(|sealed| {
                let account_id = sealed.account_id;
                match keys.get(&account_id) {
                    Some(AccountKey::Destroyed) => Ok(None),
                    Some(AccountKey::Usable(key)) => key
                        .open(&sealed.ciphertext, &text_context(account_id))
                        .map(Some)
                        .ok_or(KeyringError::Corrupt(account_id)),
                    // Erasure leaves a tombstone; without one, the table was restored in part.
                    None => Err(KeyringError::Corrupt(account_id)),
                }
            });
            let layers: Vec<_> = layers.collect::<Result<_, _>>()?;
            let days: Vec<_> =
                layers.iter().flatten().filter_map(|layer| days::split(layer)).map(|(id, _)| id).collect();
            let days = self.days.find((&self.pool, &self.keys), &days, self.remembered_for()).await?;
            let opened = layers.iter().zip(&sealed).map(|(layer, sealed)| {
                let account_id = sealed.account_id;
                let Some(layer) = layer else { return Ok(Opened::Erased) };
                let text = match days::split(layer) {
                    None => std::str::from_utf8(layer).ok().map(str::to_owned),
                    Some((id, ciphertext)) => match days.get(&id) {
                        Some(key) => days::open(key, account_id, ciphertext),
                        // Its time is over.
                        None => return Ok(Opened::Erased),
                    },
                };
                text.map(Opened::Text).ok_or(KeyringError::Corrupt(account_id))
            });
            opened.collect()
        })
    }
}

fn unavailable(error: sqlx::Error) -> KeyringError {
    KeyringError::Unavailable(error.into())
}

/// Not for ever: once the secrets file is the right one, it opens.
fn not_opened(account_id: AccountId, source: OpenError) -> KeyringError {
    KeyringError::Unavailable(Box::new(NotOpened { account_id, source }))
}

/// What the key of an account is bound to.
pub(crate) fn key_context(account_id: AccountId) -> Vec<u8> {
    [b"weir account key ".as_slice(), account_id.uuid().as_bytes()].concat()
}

fn text_context(account_id: AccountId) -> Vec<u8> {
    [b"weir sealed text ".as_slice(), account_id.uuid().as_bytes()].concat()
}
