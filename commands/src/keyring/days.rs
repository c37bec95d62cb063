//! What is sealed for a while: once under a key of the day, and that again under the key of the account.
//!
//! The keys of days are in the vault, one for all accounts. When one is destroyed, whatever was sealed with it on that day
//! opens as [`Opened::Erased`](domain::sealed::Opened::Erased), wherever there is a copy (docs/adr/0037).

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use domain::{
    ids::{AccountId, SecretId},
    sealed::KeyringError,
};
use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::unavailable;
use crate::{
    MasterKeys,
    master_keys::SecretKey,
    vault::{self, Kind, VaultError},
};

/// What begins with this is no text (RFC 3629, section 1: the octet FF never appears in UTF-8), but sealed a second time.
/// The second octet is the version of what follows: the id of the day's key, then the ciphertext.
const MARK: [u8; 2] = [0xff, 1];
const ID_LEN: usize = 16;
/// A year of days, and some.
const REMEMBERED_DAYS: usize = 512;
/// How often a day's key is looked for again because others were faster to make it.
const ATTEMPTS: usize = 5;

/// The keys of days that this process has seen.
pub(super) struct DayKeys {
    /// That of the day, to seal with.
    today: Mutex<Option<(Date, SecretId, Arc<SecretKey>)>>,
    remembered: Cache<SecretId, (Instant, Arc<SecretKey>)>,
    /// How often all had to be forgotten: what was read before that is not remembered after it.
    forgotten: AtomicU64,
}

impl DayKeys {
    pub(super) fn new() -> Self {
        Self { today: Mutex::new(None), remembered: Cache::new(REMEMBERED_DAYS), forgotten: AtomicU64::new(0) }
    }

    pub(super) fn forget_all(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        *self.today.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.remembered.clear();
    }

    /// `text` sealed under the key of this day, which is made on first use.
    pub(super) async fn seal(
        &self,
        (pool, keys): (&PgPool, &MasterKeys),
        account_id: AccountId,
        text: &str,
    ) -> Result<Vec<u8>, KeyringError> {
        let (id, key) = self.of_today(pool, keys).await?;
        let ciphertext = key.seal(text.as_bytes(), &context(account_id));
        Ok([MARK.as_slice(), id.uuid().as_bytes(), &ciphertext].concat())
    }

    async fn of_today(&self, pool: &PgPool, keys: &MasterKeys) -> Result<(SecretId, Arc<SecretKey>), KeyringError> {
        let day = OffsetDateTime::now_utc().date();
        {
            let today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((of, id, key)) = &*today
                && *of == day
            {
                return Ok((*id, Arc::clone(key)));
            }
        }
        let found = find_or_make(pool, keys, day).await?;
        let (id, key) = (found.0, Arc::new(found.1));
        *self.today.lock().unwrap_or_else(PoisonError::into_inner) = Some((day, id, Arc::clone(&key)));
        Ok((id, key))
    }

    /// Those of the keys `ids` that were not destroyed; one that was read longer than `remembered` ago is looked at again.
    pub(super) async fn find(
        &self,
        (pool, keys): (&PgPool, &MasterKeys),
        ids: &[SecretId],
        remembered: Duration,
    ) -> Result<HashMap<SecretId, Arc<SecretKey>>, KeyringError> {
        let forgotten = self.forgotten.load(Ordering::SeqCst);
        let mut found = HashMap::new();
        for id in ids {
            if found.contains_key(id) {
                continue;
            }
            match self.remembered.get(id) {
                Some((read_at, key)) if read_at.elapsed() < remembered => _ = found.insert(*id, key),
                _ => match vault::get(pool, keys, Kind::DayKey, *id).await {
                    Ok(key) => {
                        let key =
                            Arc::new(SecretKey::from_slice(&key).ok_or_else(|| unusable(VaultError::Corrupt(*id)))?);
                        self.remembered.insert(*id, (Instant::now(), Arc::clone(&key)));
                        // It may have had to be forgotten since it was read.
                        if self.forgotten.load(Ordering::SeqCst) != forgotten {
                            self.remembered.remove(id);
                        }
                        found.insert(*id, key);
                    }
                    // It is past.
                    Err(VaultError::Missing(_)) => _ = self.remembered.remove(id),
                    Err(error) => return Err(unusable(error)),
                },
            }
        }
        Ok(found)
    }
}

/// What is sealed a second time: the id of the day's key, and the ciphertext. `None` for a text.
pub(super) fn split(opened: &[u8]) -> Option<(SecretId, &[u8])> {
    let rest = opened.strip_prefix(MARK.as_slice())?;
    let (id, ciphertext) = rest.split_first_chunk::<ID_LEN>()?;
    Some((Uuid::from_bytes(*id).into(), ciphertext))
}

/// What was sealed on a day.
pub(super) fn open(key: &SecretKey, account_id: AccountId, ciphertext: &[u8]) -> Option<String> {
    let text = key.open(ciphertext, &context(account_id))?;
    std::str::from_utf8(&text).ok().map(str::to_owned)
}

/// Destroys the keys of the days that began longer than `age` ago. Answers how many.
pub(super) async fn destroy(pool: &PgPool, age: Duration) -> Result<u64, sqlx::Error> {
    // By when a key was made, which is when its day began for this install: nothing that it sealed is younger than it.
    let destroyed =
        sqlx::query("delete from log.vault where kind = $1 and created_at <= now() - make_interval(secs => $2)")
            .bind(Kind::DayKey.as_str())
            .bind(age.as_secs_f64())
            .execute(pool)
            .await?;
    Ok(destroyed.rows_affected())
}

async fn find_or_make(pool: &PgPool, keys: &MasterKeys, day: Date) -> Result<(SecretId, SecretKey), KeyringError> {
    let name = day.to_string();
    let lookup: [u8; 32] = Sha256::new_with_prefix(b"weir key of a day ").chain_update(&name).finalize().into();
    for _ in 0..ATTEMPTS {
        if let Some((id, _)) = vault::find(pool, Kind::DayKey, lookup).await.map_err(unavailable)? {
            let key = vault::get(pool, keys, Kind::DayKey, id).await.map_err(unusable)?;
            let key = SecretKey::from_slice(&key).ok_or_else(|| unusable(VaultError::Corrupt(id)))?;
            return Ok((id, key));
        }
        let key = SecretKey::random();
        match vault::put(pool, keys, Kind::DayKey, &name, key.expose(), Some(lookup)).await {
            Ok(id) => return Ok((id, key)),
            // Somebody else was faster, and theirs is the key.
            Err(VaultError::Unavailable(error))
                if error.as_database_error().is_some_and(|error| error.is_unique_violation()) => {}
            Err(error) => return Err(unusable(error)),
        }
    }
    Err(unavailable(sqlx::Error::RowNotFound))
}

fn unusable(error: VaultError) -> KeyringError {
    KeyringError::Unavailable(Box::new(error))
}

fn context(account_id: AccountId) -> Vec<u8> {
    [b"weir text of a day ".as_slice(), account_id.uuid().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_never_taken_for_something_sealed_twice() {
        for text in ["", "Firefox", "ÿ\u{1}", "\u{10ffff}", "203.0.113.7 is an address of documentation"] {
            assert_eq!(split(text.as_bytes()), None, "{text}");
        }
        let id = Uuid::from_u128(7);
        let sealed = [MARK.as_slice(), id.as_bytes(), b"rest"].concat();
        assert_eq!(split(&sealed), Some((id.into(), b"rest".as_slice())));
        assert_eq!(split(&sealed[..10]), None);
    }
}
