//! Rotation of the master key: everything that is sealed under it is sealed again under a new one, while all nodes go on.
//!
//! 1. The secrets file gets a new key beside the old one. Nothing else changes: all nodes seal under the key that the
//!    database names (`sealing_key` in `log.settings`), and a node that meets a row under a key it does not know reads its
//!    file again.
//! 2. The database names the new key. Whatever is being sealed under the old one at this moment is waited for, and nothing
//!    is after it: so what is left to do can only become less.
//! 3. Keys and secrets are sealed again in batches. Each row says under which key it is, so an interrupted rotation goes on
//!    where it was.
//! 4. With the last batch, in its transaction, the database takes the new key's fingerprint; with the old key alone nobody
//!    starts on it any more. Then the secrets file can forget the old key.

use sqlx::{Connection, PgConnection, PgPool};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    MasterKeys, keyring,
    master_keys::{FINGERPRINT, SEALING_KEY},
    vault,
};

/// How many rows are sealed again in one transaction.
const BATCH_LEN: i64 = 500;
/// The advisory lock of whoever rotates.
const LOCK: i64 = 0x7765_6972_6b65_7973;

/// How far a rotation is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rotated {
    /// Keys of accounts that this rotation sealed again.
    pub keys: u64,
    /// Secrets of the vault that this rotation sealed again.
    pub secrets: u64,
}

/// Why a rotation did not get to its end. Whatever was done stays done, and rotating again goes on from there.
#[derive(Debug, Error)]
pub enum RotateError {
    /// The log does not answer, or was not migrated.
    #[error("the log could not be read or written; rotate again once it answers")]
    Log(#[from] sqlx::Error),
    /// These are not the keys of this database.
    #[error("this database was begun with other keys; put back the secrets file that belongs to it")]
    OtherKeys,
    /// Another process is at it.
    #[error("another process is rotating the keys; wait until it is done")]
    Busy,
    /// Something is sealed under none of the keys of the secrets file.
    #[error(
        "{what} {id} opens with none of the keys in the secrets file; put back every former key that the file has had, \
         under former_master_keys"
    )]
    NotOpened {
        /// `the key of account` or `secret`.
        what: &'static str,
        /// Which one.
        id: Uuid,
    },
}

/// The right to rotate, which one process at a time has. It ends with its connection.
pub struct Rotation {
    connection: PgConnection,
}

impl Rotation {
    /// Takes the right, to be held from before the secrets file is changed.
    ///
    /// # Errors
    /// [`RotateError::Busy`] while another process has it.
    pub async fn begin(pool: &PgPool) -> Result<Self, RotateError> {
        let mut connection = PgConnection::connect_with(&pool.connect_options()).await?;
        let is_ours: bool =
            sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut connection).await?;
        if is_ours { Ok(Self { connection }) } else { Err(RotateError::Busy) }
    }

    /// Refuses keys that are not this database's.
    ///
    /// # Errors
    /// [`RotateError::OtherKeys`]
    pub async fn check(&mut self, keys: &MasterKeys) -> Result<(), RotateError> {
        let begun_with: Option<String> = sqlx::query_scalar("select value from log.settings where name = $1")
            .bind(FINGERPRINT)
            .fetch_optional(&mut self.connection)
            .await?;
        match begun_with {
            Some(fingerprint) if !keys.has_fingerprint(&fingerprint) => Err(RotateError::OtherKeys),
            _ => Ok(()),
        }
    }

    /// Seals everything again under the newest of `keys`, which know the former one, too. `progress` is told after each
    /// batch. To be done again after an error or a crash; when all was done before, nothing happens.
    ///
    /// # Errors
    /// [`RotateError`]
    pub async fn rotate(
        &mut self,
        keys: &MasterKeys,
        mut progress: impl FnMut(Rotated),
    ) -> Result<Rotated, RotateError> {
        self.check(keys).await?;
        let connection = &mut self.connection;
        let wrapping = keys.wrapping();
        let newest = wrapping.newest_id();
        // Waits for what is being sealed under the key of before.
        sqlx::query(
            "insert into log.settings (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value",
        )
        .bind(SEALING_KEY)
        .bind(newest)
        .execute(&mut *connection)
        .await?;
        keys.seal_under(newest);

        let mut rotated = Rotated::default();
        loop {
            let mut after = Uuid::nil();
            while let Some(batch) = seal_keys_again(connection, keys, after).await? {
                after = batch.last;
                rotated.keys += batch.count;
                progress(rotated);
            }
            let mut after = Uuid::nil();
            loop {
                let mut transaction = connection.begin().await?;
                let batch = seal_secrets_again(&mut transaction, keys, after).await?;
                let is_last = batch.as_ref().is_none_or(|batch| batch.count < BATCH_LEN.unsigned_abs());
                let is_done = is_last && take_fingerprint(&mut transaction, keys).await?;
                transaction.commit().await?;
                if let Some(batch) = batch {
                    after = batch.last;
                    rotated.secrets += batch.count;
                    progress(rotated);
                }
                if is_done {
                    return Ok(rotated);
                }
                if is_last {
                    break;
                }
            }
            // A Weir from before rotations has sealed something meanwhile.
        }
    }
}

/// Some rows that were sealed again.
struct Sealed {
    last: Uuid,
    count: u64,
}

/// The next keys of accounts; `None` when there are no more.
async fn seal_keys_again(
    connection: &mut PgConnection,
    keys: &MasterKeys,
    after: Uuid,
) -> Result<Option<Sealed>, RotateError> {
    let mut transaction = connection.begin().await?;
    let wrapping = keys.wrapping();
    let rows: Vec<(Uuid, Vec<u8>)> = sqlx::query_as(
        "select account_id, wrapped from log.keys \
         where account_id > $1 and wrapped is not null and sealed_under is distinct from $2 \
         order by account_id limit $3 for update",
    )
    .bind(after)
    .bind(wrapping.newest_id())
    .bind(BATCH_LEN)
    .fetch_all(&mut *transaction)
    .await?;
    let Some((last, _)) = rows.last() else { return Ok(None) };
    let last = *last;
    let (mut ids, mut sealed) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for (id, wrapped) in rows {
        let context = keyring::key_context(id.into());
        let key = wrapping.open(&wrapped, &context).ok_or(RotateError::NotOpened { what: "the key of account", id })?;
        ids.push(id);
        sealed.push(wrapping.seal(&key, &context));
    }
    let done = sqlx::query(
        "update log.keys set wrapped = new.wrapped, sealed_under = $3 \
         from unnest($1::uuid[], $2::bytea[]) as new (account_id, wrapped) where keys.account_id = new.account_id",
    )
    .bind(ids)
    .bind(sealed)
    .bind(wrapping.newest_id())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok(Some(Sealed { last, count: done.rows_affected() }))
}

/// The next secrets; `None` when there are no more.
async fn seal_secrets_again(
    connection: &mut PgConnection,
    keys: &MasterKeys,
    after: Uuid,
) -> Result<Option<Sealed>, RotateError> {
    let wrapping = keys.wrapping();
    let rows: Vec<(Uuid, String, Vec<u8>)> = sqlx::query_as(
        "select id, kind, sealed from log.vault where id > $1 and sealed_under is distinct from $2 \
         order by id limit $3 for update",
    )
    .bind(after)
    .bind(wrapping.newest_id())
    .bind(BATCH_LEN)
    .fetch_all(&mut *connection)
    .await?;
    let Some((last, ..)) = rows.last() else { return Ok(None) };
    let last = *last;
    let (mut ids, mut sealed) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for (id, kind, secret) in rows {
        let context = vault::context(&kind, id);
        let secret = wrapping.open(&secret, &context).ok_or(RotateError::NotOpened { what: "secret", id })?;
        ids.push(id);
        sealed.push(wrapping.seal(&secret, &context));
    }
    let done = sqlx::query(
        "update log.vault set sealed = new.sealed, sealed_under = $3 \
         from unnest($1::uuid[], $2::bytea[]) as new (id, sealed) where vault.id = new.id",
    )
    .bind(ids)
    .bind(sealed)
    .bind(wrapping.newest_id())
    .execute(connection)
    .await?;
    Ok(Some(Sealed { last, count: done.rows_affected() }))
}

/// The database is the new key's from here on, unless something is left under another. What was answered to repeated
/// requests is not worth sealing again: it is made anew.
async fn take_fingerprint(connection: &mut PgConnection, keys: &MasterKeys) -> Result<bool, sqlx::Error> {
    let is_all: bool = sqlx::query_scalar(
        "select not exists (select from log.keys where wrapped is not null and sealed_under is distinct from $1) \
         and not exists (select from log.vault where sealed_under is distinct from $1)",
    )
    .bind(keys.wrapping().newest_id())
    .fetch_one(&mut *connection)
    .await?;
    if !is_all {
        return Ok(false);
    }
    sqlx::query("update log.commands set response = null where response is not null").execute(&mut *connection).await?;
    sqlx::query(
        "insert into log.settings (name, value) values ($1, $2) on conflict (name) do update set value = excluded.value",
    )
    .bind(FINGERPRINT)
    .bind(keys.newest_fingerprint())
    .execute(connection)
    .await?;
    Ok(true)
}
