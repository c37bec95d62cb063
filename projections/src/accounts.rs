//! Who can sign in: `accounts_v1`.

use std::borrow::Cow;

use domain::{
    DomainEvent, RecordedEvent,
    accounts::AccountEvent,
    ids::AccountId,
    sealed::{BoxFuture, Keyring, Opened},
};
use sqlx::{PgConnection, PgPool, prelude::FromRow};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ApplyError, Projection, QueryError};

/// What stands for the username of somebody who was erased; nobody can have it as theirs.
pub const ERASED_USERNAME: &str = "[erased]";

/// An account as its owner sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// The account.
    pub id: AccountId,
    /// In lower case; [`ERASED_USERNAME`] for an erased person.
    pub username: String,
    /// For its owner and administrators only; `None` for an erased person.
    pub email: Option<String>,
    /// Whether it may administer the platform.
    pub is_administrator: bool,
    /// When the person registered.
    pub created_at: OffsetDateTime,
    /// When the account last changed.
    pub updated_at: OffsetDateTime,
    /// How many events the account has had.
    pub version: i64,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "select id, username, email, is_administrator, created_at, updated_at, version from read.accounts_v1 ",
            $tail
        )
    };
}

/// Questions about accounts; from [`ReadModels::accounts`](crate::ReadModels::accounts).
#[derive(Debug, Clone, Copy)]
pub struct Accounts<'a> {
    pub(crate) pool: &'a PgPool,
}

impl Accounts<'_> {
    /// The account of this id, if there is one.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_id(&self, id: AccountId) -> Result<Option<AccountRow>, QueryError> {
        let row: Option<Stored> =
            sqlx::query_as(select!("where id = $1")).bind(id.uuid()).fetch_optional(self.pool).await?;
        Ok(row.map(AccountRow::from))
    }

    /// The account of this username, in any case, if there is one.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_username(&self, username: &str) -> Result<Option<AccountRow>, QueryError> {
        let row: Option<Stored> = sqlx::query_as(select!("where username = $1"))
            .bind(username.to_ascii_lowercase())
            .fetch_optional(self.pool)
            .await?;
        Ok(row.map(AccountRow::from))
    }
}

#[derive(FromRow)]
struct Stored {
    id: Uuid,
    username: Option<String>,
    email: Option<String>,
    is_administrator: bool,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    version: i64,
}

impl From<Stored> for AccountRow {
    fn from(row: Stored) -> Self {
        Self {
            id: row.id.into(),
            username: row.username.unwrap_or_else(|| ERASED_USERNAME.to_owned()),
            email: row.email,
            is_administrator: row.is_administrator,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

/// Keeps `accounts_v1`.
#[derive(Debug, Clone, Copy)]
pub struct AccountsV1;

impl Projection for AccountsV1 {
    fn name(&self) -> &'static str {
        "accounts_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["accounts_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[AccountEvent::TYPES]
    }

    fn apply<'a>(
        &'a self,
        batch: &'a [&'a RecordedEvent],
        connection: &'a mut PgConnection,
        keyring: &'a dyn Keyring,
    ) -> BoxFuture<'a, Result<(), ApplyError>> {
        Box::pin(apply(batch, connection, keyring))
    }
}

async fn apply(
    batch: &[&RecordedEvent],
    connection: &mut PgConnection,
    keyring: &dyn Keyring,
) -> Result<(), ApplyError> {
    let (mut ids, mut administrators, mut times) = (Vec::new(), Vec::new(), Vec::new());
    let (mut versions, mut positions, mut sealed) = (Vec::new(), Vec::new(), Vec::new());
    for recorded in batch {
        let DomainEvent::Account(event) = &recorded.event else { continue };
        let AccountEvent::Registered { account_id, username, email, is_administrator, registered_at, .. } = event;
        ids.push(account_id.uuid());
        administrators.push(*is_administrator);
        times.push(*registered_at);
        versions.push(recorded.sequence);
        positions.push(recorded.position);
        sealed.extend([Cow::Borrowed(username), Cow::Borrowed(email)]);
    }
    // One look at the keys for the whole batch.
    let mut opened = keyring.open(sealed).await?.into_iter().map(|opened| match opened {
        Opened::Text(text) => Some(text),
        Opened::Erased => None,
    });
    let (mut usernames, mut emails) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
    while let (Some(username), Some(email)) = (opened.next(), opened.next()) {
        usernames.push(username);
        emails.push(email);
    }
    // An account has one event so far, so that a row that is there is the one that would be written.
    sqlx::query(
        "insert into accounts_v1
             (id, username, email, is_administrator, created_at, updated_at, version, position)
         select id, username, email, is_administrator, registered_at, registered_at, version, position
         from unnest($1::uuid[], $2::text[], $3::text[], $4::boolean[], $5::timestamptz[], $6::bigint[], $7::bigint[])
             as t (id, username, email, is_administrator, registered_at, version, position)
         on conflict (id) do nothing",
    )
    .bind(ids)
    .bind(usernames)
    .bind(emails)
    .bind(administrators)
    .bind(times)
    .bind(versions)
    .bind(positions)
    .execute(connection)
    .await?;
    Ok(())
}
