use std::{
    borrow::Cow,
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use domain::{
    ids::AccountId,
    sealed::{BoxFuture, Keyring, KeyringError, Opened, Sealed},
};
use quick_cache::sync::Cache;
use sqlx::PgPool;
use thiserror::Error;
use uuid::Uuid;

use crate::{MasterKeys, master_keys::SecretKey};

/// How long a key is used without looking whether another process has destroyed it.
const REMEMBERED: Duration = Duration::from_secs(60);
const REMEMBERED_KEYS: usize = 16_384;

/// The keys under which personal data is sealed: one for each account, itself encrypted under the master key.
pub struct AccountKeys {
    pool: PgPool,
    keys: Arc<MasterKeys>,
    remembered: Cache<AccountId, (Instant, AccountKey)>,
}

#[derive(Clone)]
enum AccountKey {
    Usable(Arc<SecretKey>),
    Destroyed,
}

#[derive(Debug, Error)]
#[error("the key of account {0} was destroyed")]
struct Destroyed(AccountId);

impl AccountKeys {
    pub(crate) fn new(pool: PgPool, keys: Arc<MasterKeys>) -> Self {
        Self { pool, keys, remembered: Cache::new(REMEMBERED_KEYS) }
    }

    /// Seals `text` under the key of `account_id`, making the key on first use.
    ///
    /// # Errors
    /// [`KeyringError::Unavailable`] when the log does not answer, or the key was destroyed.
    pub async fn seal(&self, account_id: AccountId, text: &str) -> Result<Sealed, KeyringError> {
        let mut keys = self.find(&[account_id]).await?;
        let key = match keys.remove(&account_id) {
            Some(key) => key,
            None => self.make(account_id).await?,
        };
        match key {
            AccountKey::Usable(key) => {
                let ciphertext = key.seal(text.as_bytes(), &text_context(account_id));
                Ok(Sealed { account_id, ciphertext })
            }
            AccountKey::Destroyed => Err(KeyringError::Unavailable(Box::new(Destroyed(account_id)))),
        }
    }

    /// Destroys the key of `account_id`: whatever was sealed under it opens as [`Opened::Erased`] from now on, in other
    /// processes within a minute.
    ///
    /// # Errors
    /// [`KeyringError::Unavailable`] when the log does not answer.
    pub async fn destroy(&self, account_id: AccountId) -> Result<(), KeyringError> {
        // The row stays, or is made: a tombstone, so that no key is made anew.
        sqlx::query(
            "insert into log.keys (account_id, wrapped, destroyed_at, is_settled) values ($1, null, now(), true) \
             on conflict (account_id) do update set wrapped = null, destroyed_at = now(), is_settled = true \
             where keys.destroyed_at is null",
        )
        .bind(account_id.uuid())
        .execute(&self.pool)
        .await
        .map_err(unavailable)?;
        self.remember(account_id, &AccountKey::Destroyed);
        Ok(())
    }

    /// The keys of those of `account_ids` that have one.
    async fn find(&self, account_ids: &[AccountId]) -> Result<HashMap<AccountId, AccountKey>, KeyringError> {
        let mut found = HashMap::with_capacity(account_ids.len());
        let mut missing: Vec<Uuid> = Vec::new();
        for account_id in account_ids {
            match self.remembered.get(account_id) {
                // What is destroyed stays so.
                Some((_, AccountKey::Destroyed)) => _ = found.insert(*account_id, AccountKey::Destroyed),
                Some((read_at, key)) if read_at.elapsed() < REMEMBERED => _ = found.insert(*account_id, key),
                _ => missing.push(account_id.uuid()),
            }
        }
        if missing.is_empty() {
            return Ok(found);
        }
        let rows: Vec<(Uuid, Option<Vec<u8>>)> =
            sqlx::query_as("select account_id, wrapped from log.keys where account_id = any($1)")
                .bind(missing)
                .fetch_all(&self.pool)
                .await
                .map_err(unavailable)?;
        for (account_id, wrapped) in rows {
            let account_id = AccountId::from(account_id);
            let key = match wrapped {
                Some(wrapped) => AccountKey::Usable(Arc::new(self.unwrap(account_id, &wrapped)?)),
                None => AccountKey::Destroyed,
            };
            self.remember(account_id, &key);
            found.insert(account_id, key);
        }
        Ok(found)
    }

    async fn make(&self, account_id: AccountId) -> Result<AccountKey, KeyringError> {
        let key = SecretKey::random();
        let wrapped = self.keys.wrapping().seal(key.expose(), &key_context(account_id));
        let made = sqlx::query(
            "insert into log.keys (account_id, wrapped) values ($1, $2) on conflict (account_id) do nothing",
        )
        .bind(account_id.uuid())
        .bind(wrapped)
        .execute(&self.pool)
        .await
        .map_err(unavailable)?;
        if made.rows_affected() == 1 {
            let key = AccountKey::Usable(Arc::new(key));
            self.remember(account_id, &key);
            return Ok(key);
        }
        // Somebody else was faster, and theirs is the key.
        self.find(&[account_id]).await?.remove(&account_id).ok_or(KeyringError::Corrupt(account_id))
    }

    fn unwrap(&self, account_id: AccountId, wrapped: &[u8]) -> Result<SecretKey, KeyringError> {
        self.keys
            .wrapping()
            .open(wrapped, &key_context(account_id))
            .and_then(|key| SecretKey::from_slice(&key))
            .ok_or(KeyringError::Corrupt(account_id))
    }

    fn remember(&self, account_id: AccountId, key: &AccountKey) {
        self.remembered.insert(account_id, (Instant::now(), key.clone()));
    }
}

impl Keyring for AccountKeys {
    fn open<'a>(&'a self, sealed: Vec<Cow<'a, Sealed>>) -> BoxFuture<'a, Result<Vec<Opened>, KeyringError>> {
        Box::pin(async move {
            let mut account_ids: Vec<_> = sealed.iter().map(|sealed| sealed.account_id).collect();
            account_ids.sort_unstable();
            account_ids.dedup();
            let keys = self.find(&account_ids).await?;
            sealed
                .iter()
                .map(|sealed| {
                    let account_id = sealed.account_id;
                    match keys.get(&account_id) {
                        Some(AccountKey::Destroyed) => Ok(Opened::Erased),
                        Some(AccountKey::Usable(key)) => key
                            .open(&sealed.ciphertext, &text_context(account_id))
                            .and_then(|text| std::str::from_utf8(&text).ok().map(str::to_owned))
                            .map(Opened::Text)
                            .ok_or(KeyringError::Corrupt(account_id)),
                        // Erasure leaves a tombstone; without one, the table was restored in part.
                        None => Err(KeyringError::Corrupt(account_id)),
                    }
                })
                .collect()
        })
    }
}

fn unavailable(error: sqlx::Error) -> KeyringError {
    KeyringError::Unavailable(error.into())
}

fn key_context(account_id: AccountId) -> Vec<u8> {
    [b"weir account key ".as_slice(), account_id.uuid().as_bytes()].concat()
}

fn text_context(account_id: AccountId) -> Vec<u8> {
    [b"weir sealed text ".as_slice(), account_id.uuid().as_bytes()].concat()
}
