//! Secrets that events refer to but must not hold, encrypted under the master key. They are written before the event
//! that refers to them; one that no event came to refer to is swept.

use domain::{Aggregate, accounts::Account, channels::Channel, ids::SecretId};
use sqlx::PgPool;
use thiserror::Error;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    CommandError, Commands, LoadError, MasterKeys,
    master_keys::{OpenError, SEALING_KEY},
};

/// How many secrets a sweep looks at between two statements.
const SWEEP_LEN: i64 = 500;
/// How often a secret is sealed again because all nodes were told to seal under another master key meanwhile.
const ATTEMPTS: usize = 5;

/// What a secret is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The hash of an account's password.
    Password,
    /// A channel's stream key.
    StreamKey,
    /// What codes of an authenticator are made from.
    TotpSeed,
    /// What is sealed for a while is sealed under on one day; of no aggregate.
    DayKey,
}

impl Kind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::StreamKey => "stream_key",
            Self::TotpSeed => "totp_seed",
            Self::DayKey => "day_key",
        }
    }
}

/// A secret could not be had.
#[derive(Debug, Error)]
pub(crate) enum VaultError {
    #[error("the vault cannot be reached")]
    Unavailable(#[from] sqlx::Error),
    #[error("secret {0} does not open under the master key")]
    Corrupt(SecretId),
    #[error("secret {0} is not in the vault")]
    Missing(SecretId),
    #[error("a secret cannot be opened or sealed")]
    KeyUnknown(#[source] OpenError),
}

impl<R> From<VaultError> for CommandError<R> {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Unavailable(source) => Self::Unavailable(source.into()),
            // Until the secrets file is the right one.
            VaultError::KeyUnknown(_) => Self::Unavailable(error.into()),
            VaultError::Corrupt(_) | VaultError::Missing(_) => Self::Unexpected(error.into()),
        }
    }
}

/// Keeps `secret` for an aggregate that is about to refer to it. With `lookup`, it is found by that too.
pub(crate) async fn put(
    pool: &PgPool,
    keys: &MasterKeys,
    kind: Kind,
    aggregate_id: &str,
    secret: &[u8],
    lookup: Option<[u8; 32]>,
) -> Result<SecretId, VaultError> {
    let id = SecretId::from(Uuid::now_v7());
    for _ in 0..ATTEMPTS {
        let wrapping = keys.wrapping();
        // Under the key that all nodes seal under, or not at all: a rotation waits for this row, or this row for it. The
        // aggregate's other secrets of the kind are likely to be replaced now, so the sweep looks at them again.
        let put = sqlx::query(
            "with sealing as (select value from log.settings where name = $7 and value = $6 for share), \
             others as ( \
                 update log.vault set is_settled = false where aggregate_id = $3 and kind = $2 and is_settled \
             ) insert into log.vault (id, kind, aggregate_id, sealed, lookup, sealed_under) \
             select $1, $2, $3, $4, $5, value from sealing",
        )
        .bind(id.uuid())
        .bind(kind.as_str())
        .bind(aggregate_id)
        .bind(wrapping.seal(secret, &context(kind.as_str(), id.uuid())))
        .bind(lookup)
        .bind(wrapping.sealing_id())
        .bind(SEALING_KEY)
        .execute(pool)
        .await?;
        if put.rows_affected() == 1 {
            return Ok(id);
        }
        if !keys.learn_sealing(pool).await? {
            break;
        }
    }
    Err(VaultError::KeyUnknown(OpenError::KeyUnknown))
}

/// The secret `id`.
pub(crate) async fn get(
    pool: &PgPool,
    keys: &MasterKeys,
    kind: Kind,
    id: SecretId,
) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let (sealed, sealed_under): (Vec<u8>, Option<String>) =
        sqlx::query_as("select sealed, sealed_under from log.vault where id = $1 and kind = $2")
            .bind(id.uuid())
            .bind(kind.as_str())
            .fetch_optional(pool)
            .await?
            .ok_or(VaultError::Missing(id))?;
    keys.open(sealed_under.as_deref(), &sealed, &context(kind.as_str(), id.uuid())).await.map_err(|error| match error {
        OpenError::Corrupt => VaultError::Corrupt(id),
        OpenError::KeyUnknown => VaultError::KeyUnknown(error),
    })
}

/// The secret with this `lookup`, and the aggregate that it was kept for.
pub(crate) async fn find(
    pool: &PgPool,
    kind: Kind,
    lookup: [u8; 32],
) -> Result<Option<(SecretId, String)>, sqlx::Error> {
    let found: Option<(Uuid, String)> =
        sqlx::query_as("select id, aggregate_id from log.vault where lookup = $1 and kind = $2")
            .bind(lookup)
            .bind(kind.as_str())
            .fetch_optional(pool)
            .await?;
    Ok(found.map(|(id, aggregate_id)| (SecretId::from(id), aggregate_id)))
}

/// Whether there is such a secret of the last hour, and it was kept for this aggregate. An event may refer to it within the hour
/// that begins now: until then no sweep takes it.
pub(crate) async fn take_up(pool: &PgPool, kind: Kind, id: SecretId, aggregate_id: &str) -> Result<bool, sqlx::Error> {
    let taken_up = sqlx::query(
        "update log.vault set created_at = now() where id = $1 and kind = $2 and aggregate_id = $3 \
         and created_at >= now() - interval '1 hour'",
    )
    .bind(id.uuid())
    .bind(kind.as_str())
    .bind(aggregate_id)
    .execute(pool)
    .await?;
    Ok(taken_up.rows_affected() == 1)
}

/// Keeps another text as the secret `id`, which is worth the same: events go on referring to it. `false` when there is no such secret
/// any more.
pub(crate) async fn replace(
    pool: &PgPool,
    keys: &MasterKeys,
    kind: Kind,
    id: SecretId,
    secret: &[u8],
) -> Result<bool, VaultError> {
    for _ in 0..ATTEMPTS {
        let wrapping = keys.wrapping();
        // As in `put`.
        let (may_seal, is_replaced): (bool, bool) = sqlx::query_as(
            "with sealing as (select value from log.settings where name = $5 and value = $4 for share), \
             replaced as ( \
                 update log.vault set sealed = $3, sealed_under = value from sealing where id = $1 and kind = $2 returning id \
             ) select exists (select from sealing), exists (select from replaced)",
        )
        .bind(id.uuid())
        .bind(kind.as_str())
        .bind(wrapping.seal(secret, &context(kind.as_str(), id.uuid())))
        .bind(wrapping.sealing_id())
        .bind(SEALING_KEY)
        .fetch_one(pool)
        .await?;
        if may_seal {
            return Ok(is_replaced);
        }
        if !keys.learn_sealing(pool).await? {
            break;
        }
    }
    Err(VaultError::KeyUnknown(OpenError::KeyUnknown))
}

/// Destroys a secret that was replaced.
pub(crate) async fn destroy(pool: &PgPool, id: SecretId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.vault where id = $1").bind(id.uuid()).execute(pool).await?;
    Ok(())
}

/// Destroys all secrets of an aggregate that is gone.
pub(crate) async fn destroy_all(pool: &PgPool, aggregate_id: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.vault where aggregate_id = $1").bind(aggregate_id).execute(pool).await?;
    Ok(())
}

/// What a secret is bound to, so that nobody can put one in another's place.
pub(crate) fn context(kind: &str, id: Uuid) -> Vec<u8> {
    [b"weir ", kind.as_bytes(), b" ", id.as_bytes()].concat()
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Secrets that nothing refers to: the command failed that was to use them, or they were replaced.
    pub secrets: u64,
    /// Keys of accounts that never came to be.
    pub keys: u64,
}

/// Removes secrets and keys that are older than an hour and that nothing in the log refers to. To be called now and
/// then; several processes may do it at once.
///
/// # Errors
/// [`LoadError`] when the log does not answer or cannot be read; what was removed stays removed.
pub async fn sweep(commands: &Commands) -> Result<Swept, LoadError> {
    let pool = commands.pool();
    let mut swept = Swept::default();
    loop {
        let old: Vec<(Uuid, String, String)> = sqlx::query_as(
            "select id, kind, aggregate_id from log.vault \
             where not is_settled and created_at < now() - interval '1 hour' order by created_at limit $1",
        )
        .bind(SWEEP_LEN)
        .fetch_all(pool)
        .await?;
        if old.is_empty() {
            break;
        }
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for (id, kind, aggregate_id) in old {
            let is_wanted = is_wanted(commands, SecretId::from(id), &kind, &aggregate_id).await?;
            if is_wanted { wanted.push(id) } else { unwanted.push(id) }
        }
        sqlx::query("update log.vault set is_settled = true where id = any($1)").bind(wanted).execute(pool).await?;
        // Unless it was taken up meanwhile.
        let deleted =
            sqlx::query("delete from log.vault where id = any($1) and created_at < now() - interval '1 hour'")
                .bind(unwanted)
                .execute(pool)
                .await?;
        swept.secrets += deleted.rows_affected();
    }
    let deleted = sqlx::query(
        "delete from log.keys where not is_settled and created_at < now() - interval '1 hour' and not exists ( \
             select from log.events where aggregate_type = $1 and aggregate_id = keys.account_id::text)",
    )
    .bind(Account::TYPE)
    .execute(pool)
    .await?;
    swept.keys = deleted.rows_affected();
    sqlx::query(
        "update log.keys set is_settled = true where not is_settled and created_at < now() - interval '1 hour'",
    )
    .execute(pool)
    .await?;
    Ok(swept)
}

async fn is_wanted(commands: &Commands, id: SecretId, kind: &str, aggregate_id: &str) -> Result<bool, LoadError> {
    Ok(if kind == Kind::Password.as_str() {
        commands.load::<Account>(aggregate_id).await?.is_some_and(|(account, _)| account.password() == Some(id))
    } else if kind == Kind::StreamKey.as_str() {
        commands.load::<Channel>(aggregate_id).await?.is_some_and(|(channel, _)| channel.is_published_with(id))
    } else if kind == Kind::TotpSeed.as_str() {
        commands.load::<Account>(aggregate_id).await?.is_some_and(|(account, _)| account.second_factor() == Some(id))
    } else {
        // The key of a day goes with its time; and a newer Weir keeps secrets that this one does not know.
        true
    })
}
