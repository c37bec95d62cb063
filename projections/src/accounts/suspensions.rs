//! Which accounts are suspended: `suspensions_v1`; and the accounts as administrators see them.

use domain::{
    DomainEvent, RecordedEvent,
    accounts::{AccountEvent, AccountReinstated, AccountSuspended},
    ids::AccountId,
    sealed::{BoxFuture, Keyring, Sealed},
};
use sqlx::{PgConnection, PgPool, prelude::FromRow, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ApplyError, Cursor, Page, Projection, QueryError, page::PageQuery};

/// The accounts that are suspended at this moment, as SQL. What is theirs is shown to nobody.
macro_rules! suspended_accounts {
    () => {
        "(select suspension.account_id from read.suspensions_v1 suspension \
         where suspension.reinstated_at is null and (suspension.until is null or suspension.until > now()))"
    };
}
pub(crate) use suspended_accounts;

/// A suspension that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspensionRow {
    /// The administrator who did it; `None` for Weir itself, and for somebody who was erased since.
    pub by: Option<String>,
    /// Why, sealed.
    pub reason: Sealed,
    /// Since when.
    pub suspended_at: OffsetDateTime,
    /// When it is over by itself; `None` for not before it is lifted.
    pub until: Option<OffsetDateTime>,
}

/// An account as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdministeredAccountRow {
    /// The account.
    pub id: AccountId,
    /// In lower case.
    pub username: String,
    /// Whether it may administer the platform.
    pub is_administrator: bool,
    /// Whether signing in takes a code of an authenticator, too.
    pub has_second_factor: bool,
    /// When the person registered.
    pub created_at: OffsetDateTime,
    /// How many channels it has that were not closed.
    pub channel_count: i64,
    /// Its suspension, if it is suspended.
    pub suspension: Option<SuspensionRow>,
}

/// Which accounts; all of them by default, but those of erased people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountFilter {
    /// Only those with this in their username, in any case.
    pub search: Option<String>,
    /// Only those that are suspended, or only those that are not.
    pub suspended: Option<bool>,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "select account.id, account.username, account.is_administrator, account.has_second_factor, account.created_at, ",
            "(select count(*) from read.channels_v1 channel \
              where channel.owner_id = account.id and channel.closed_at is null) as channel_count, ",
            "administrator.username as suspended_by, held.reason, held.suspended_at, held.until ",
            "from read.accounts_v1 account ",
            "left join read.suspensions_v1 held on held.account_id = account.id \
                 and held.reinstated_at is null and (held.until is null or held.until > now()) ",
            "left join read.accounts_v1 administrator on administrator.id = held.suspended_by ",
            $tail
        )
    };
}

/// Questions about accounts that only administrators ask; from
/// [`ReadModels::administered_accounts`](crate::ReadModels::administered_accounts).
#[derive(Debug, Clone, Copy)]
pub struct AdministeredAccounts<'a> {
    pub(crate) pool: &'a PgPool,
}

impl AdministeredAccounts<'_> {
    /// The account of this id; `None` when there is none, or it was erased.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_id(&self, id: AccountId) -> Result<Option<AdministeredAccountRow>, QueryError> {
        let row: Option<Stored> = sqlx::query_as(select!("where account.id = $1 and account.username is not null"))
            .bind(id.uuid())
            .fetch_optional(self.pool)
            .await?;
        Ok(row.map(AdministeredAccountRow::from))
    }

    /// Accounts that were not erased, the newest first, `limit` at a time (1 to [`MAX_LIMIT`](crate::MAX_LIMIT)), from the
    /// beginning or after where a page ended.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn page(
        &self,
        filter: &AccountFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<AdministeredAccountRow>, QueryError> {
        let mut query = PageQuery::new(select!(""), limit);
        query.condition("account.username is not null");
        if let Some(search) = &filter.search {
            query.condition("strpos(account.username, ").push_bind(search.to_lowercase()).push(") > 0");
        }
        if let Some(suspended) = filter.suspended {
            query.condition(if suspended { "held.account_id is not null" } else { "held.account_id is null" });
        }
        let page = query.fetch(self.pool, ("account.created_at", "account.id"), after, |row: &Stored| {
            Cursor::after(row.created_at, row.id)
        });
        Ok(page.await?.map(AdministeredAccountRow::from))
    }

    /// Whether an account is suspended now, as far as the read models know.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn is_suspended(&self, id: AccountId) -> Result<bool, QueryError> {
        let is_suspended = sqlx::query_scalar(concat!("select $1 in ", suspended_accounts!()))
            .bind(id.uuid())
            .fetch_one(self.pool)
            .await?;
        Ok(is_suspended)
    }
}

#[derive(FromRow)]
struct Stored {
    id: Uuid,
    username: String,
    is_administrator: bool,
    has_second_factor: bool,
    created_at: OffsetDateTime,
    channel_count: i64,
    suspended_by: Option<String>,
    reason: Option<Json<Sealed>>,
    suspended_at: Option<OffsetDateTime>,
    until: Option<OffsetDateTime>,
}

impl From<Stored> for AdministeredAccountRow {
    fn from(row: Stored) -> Self {
        let Stored { suspended_by: by, reason, suspended_at, until, .. } = row;
        let suspension = reason.zip(suspended_at).map(|(Json(reason), suspended_at)| SuspensionRow {
            by,
            reason,
            suspended_at,
            until,
        });
        Self {
            id: row.id.into(),
            username: row.username,
            is_administrator: row.is_administrator,
            has_second_factor: row.has_second_factor,
            created_at: row.created_at,
            channel_count: row.channel_count,
            suspension,
        }
    }
}

/// Keeps `suspensions_v1`.
#[derive(Debug, Clone, Copy)]
pub struct SuspensionsV1;

impl Projection for SuspensionsV1 {
    fn name(&self) -> &'static str {
        "suspensions_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["suspensions_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[&["account.suspended", "account.reinstated"]]
    }

    fn apply<'a>(
        &'a self,
        batch: &'a [&'a RecordedEvent],
        connection: &'a mut PgConnection,
        _: &'a dyn Keyring,
    ) -> BoxFuture<'a, Result<(), ApplyError>> {
        Box::pin(apply(batch, connection))
    }
}

/// One event after the other: there are few, and each may undo the one before.
async fn apply(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<(), ApplyError> {
    for recorded in batch {
        match &recorded.event {
            DomainEvent::Account(AccountEvent::Suspended(suspended)) => {
                let AccountSuspended { account_id, by, reason, until, suspended_at } = suspended;
                sqlx::query(
                    "insert into suspensions_v1
                         (account_id, suspended_by, reason, suspended_at, until, reinstated_at, position)
                     values ($1, $2, $3, $4, $5, null, $6)
                     on conflict (account_id) do update set
                         suspended_by = excluded.suspended_by, reason = excluded.reason,
                         suspended_at = excluded.suspended_at, until = excluded.until, reinstated_at = null,
                         position = excluded.position
                     where suspensions_v1.position < excluded.position",
                )
                .bind(account_id.uuid())
                .bind(by.map(AccountId::uuid))
                .bind(Json(reason))
                .bind(suspended_at)
                .bind(until)
                .bind(recorded.position)
                .execute(&mut *connection)
                .await?;
            }
            DomainEvent::Account(AccountEvent::Reinstated(AccountReinstated { account_id, reinstated_at, .. })) => {
                let known: bool =
                    sqlx::query_scalar("select exists (select from suspensions_v1 where account_id = $1)")
                        .bind(account_id.uuid())
                        .fetch_one(&mut *connection)
                        .await?;
                if !known {
                    let id = format!("account {account_id}");
                    return Err(ApplyError::Unknown { event_type: "account.reinstated", id });
                }
                sqlx::query(
                    "update suspensions_v1 set reinstated_at = $2, position = $3 where account_id = $1 and position < $3",
                )
                .bind(account_id.uuid())
                .bind(reinstated_at)
                .bind(recorded.position)
                .execute(&mut *connection)
                .await?;
            }
            _ => {}
        }
    }
    Ok(())
}
