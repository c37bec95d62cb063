//! Who can sign in: `accounts_v1`; where they are signed in, and what they let programs do.

mod personal_tokens;
mod profile;
mod sessions;
mod suspensions;

use std::{borrow::Cow, collections::HashMap};

use domain::{
    DomainEvent, RecordedEvent,
    accounts::{
        AccountEvent, AccountReinstated, AccountSuspended, AdministratorGranted, AdministratorRevoked, EmailEvent,
    },
    ids::AccountId,
    sealed::{BoxFuture, Keyring, Opened},
};
use sqlx::{PgConnection, PgPool, prelude::FromRow};
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) use self::suspensions::suspended_accounts;
pub use self::{
    personal_tokens::{PersonalTokenRow, PersonalTokens, PersonalTokensV1},
    profile::{ProfileRow, Profiles, ProfilesV1},
    sessions::{SessionRow, Sessions, SessionsV1},
    suspensions::{AccountFilter, AdministeredAccountRow, AdministeredAccounts, SuspensionRow, SuspensionsV1},
};
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
    /// Whether somebody who reads mail there has shown that it is theirs.
    pub is_email_confirmed: bool,
    /// Whether it may administer the platform.
    pub is_administrator: bool,
    /// Whether signing in takes a code of an authenticator, too.
    pub has_second_factor: bool,
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
            "select id, username, email, is_email_confirmed, is_administrator, has_second_factor, created_at, updated_at, ",
            "version from read.accounts_v1 ",
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

/// Blanks an erased person in the states of the past that somebody has built to look at (`read_at_<position>`): those do not
/// follow the log.
///
/// # Errors
/// When Postgres does not answer; to be called again then.
pub async fn forget_in_the_past(pool: &PgPool, id: AccountId) -> Result<(), sqlx::Error> {
    let schemas: Vec<String> = sqlx::query_scalar(
        "select nspname::text from pg_namespace
         where nspname ~ '^read_at_[0-9]+$' and (to_regclass(nspname || '.accounts_v1') is not null
             or to_regclass(nspname || '.profiles_v1') is not null)",
    )
    .fetch_all(pool)
    .await?;
    for schema in schemas {
        // The name has letters, digits and underscores only.
        let forget = [
            format!("update {schema}.accounts_v1 set username = null, email = null where id = $1"),
            format!(
                "update {schema}.profiles_v1 set display_name = null, bio = null, avatar = null, is_erased = true
                 where account_id = $1"
            ),
        ];
        for forget in forget {
            match sqlx::query(&forget).bind(id.uuid()).execute(pool).await {
                // It is not there, or somebody has dropped it meanwhile.
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P01") => {}
                done => _ = done?,
            }
        }
    }
    Ok(())
}

#[derive(FromRow)]
struct Stored {
    id: Uuid,
    username: Option<String>,
    email: Option<String>,
    is_email_confirmed: bool,
    is_administrator: bool,
    has_second_factor: bool,
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
            is_email_confirmed: row.is_email_confirmed,
            is_administrator: row.is_administrator,
            has_second_factor: row.has_second_factor,
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
        &[AccountEvent::TYPES, EmailEvent::TYPES]
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

/// What a batch makes of an account.
#[derive(Default)]
struct Change {
    /// Whether the batch has it registered; the row is there otherwise.
    is_new: bool,
    is_erased: bool,
    /// What the batch made of it, if anything.
    is_administrator: Option<bool>,
    has_second_factor: Option<bool>,
    username: Option<String>,
    email: Option<String>,
    is_email_confirmed: Option<bool>,
    created_at: Option<OffsetDateTime>,
    updated_at: Option<OffsetDateTime>,
    version: i64,
    position: i64,
}

async fn apply(
    batch: &[&RecordedEvent],
    connection: &mut PgConnection,
    keyring: &dyn Keyring,
) -> Result<(), ApplyError> {
    let mut changes: HashMap<Uuid, Change> = HashMap::new();
    let (mut registered, mut sealed) = (Vec::new(), Vec::new());
    let mut confirmed = Vec::new();
    for recorded in batch {
        if let DomainEvent::Email(
            EmailEvent::Confirmed { account_id, email, confirmed_at: at, .. }
            | EmailEvent::Changed { account_id, email, changed_at: at, .. },
        ) = &recorded.event
        {
            confirmed.push((account_id.uuid(), email));
            let change = changes.entry(account_id.uuid()).or_default();
            change.is_email_confirmed = Some(true);
            change.updated_at = Some(*at);
            change.position = recorded.position;
            continue;
        }
        let DomainEvent::Account(event) = &recorded.event else { continue };
        let change = match event {
            AccountEvent::Registered { account_id, username, email, is_administrator, registered_at, .. } => {
                registered.push(account_id.uuid());
                sealed.extend([Cow::Borrowed(username), Cow::Borrowed(email)]);
                let change = changes.entry(account_id.uuid()).or_default();
                change.is_new = true;
                change.is_administrator = Some(*is_administrator);
                change.created_at = Some(*registered_at);
                change.updated_at = Some(*registered_at);
                change
            }
            AccountEvent::Erased { account_id, erased_at, .. } => {
                let change = changes.entry(account_id.uuid()).or_default();
                change.is_erased = true;
                change.is_administrator = Some(false);
                change.has_second_factor = Some(false);
                change.updated_at = Some(*erased_at);
                change
            }
            AccountEvent::SecondFactorEnabled { account_id, enabled_at: at, .. }
            | AccountEvent::SecondFactorDisabled { account_id, disabled_at: at }
            | AccountEvent::PasswordChanged { account_id, changed_at: at, .. }
            | AccountEvent::RecoveryCodeUsed { account_id, used_at: at, .. }
            | AccountEvent::RecoveryCodesReplaced { account_id, replaced_at: at }
            | AccountEvent::Suspended(AccountSuspended { account_id, suspended_at: at, .. })
            | AccountEvent::Reinstated(AccountReinstated { account_id, reinstated_at: at, .. })
            | AccountEvent::AdministratorGranted(AdministratorGranted { account_id, granted_at: at, .. })
            | AccountEvent::AdministratorRevoked(AdministratorRevoked { account_id, revoked_at: at, .. })
            | AccountEvent::ErasureRequested { account_id, requested_at: at, .. }
            | AccountEvent::ErasureCancelled { account_id, cancelled_at: at, .. } => {
                let change = changes.entry(account_id.uuid()).or_default();
                match event {
                    AccountEvent::SecondFactorEnabled { .. } => change.has_second_factor = Some(true),
                    AccountEvent::SecondFactorDisabled { .. } => change.has_second_factor = Some(false),
                    AccountEvent::AdministratorGranted(_) => change.is_administrator = Some(true),
                    AccountEvent::AdministratorRevoked(_) => change.is_administrator = Some(false),
                    _ => {}
                }
                change.updated_at = Some(*at);
                change
            }
        };
        change.version = recorded.sequence;
        change.position = recorded.position;
    }
    sealed.extend(confirmed.iter().map(|(_, email)| Cow::Borrowed(*email)));
    // One look at the keys for the whole batch.
    let mut opened = keyring.open(sealed).await?.into_iter().map(|opened| match opened {
        Opened::Text(text) => Some(text),
        Opened::Erased => None,
    });
    for id in registered {
        let (username, email) = (opened.next().flatten(), opened.next().flatten());
        if let Some(change) = changes.get_mut(&id).filter(|change| !change.is_erased) {
            (change.username, change.email) = (username, email);
        }
    }
    for (id, _) in confirmed {
        let email = opened.next().flatten();
        if let Some(change) = changes.get_mut(&id).filter(|change| !change.is_erased) {
            change.email = email.or(change.email.take());
        }
    }
    let (new, known): (Vec<_>, Vec<_>) = changes.into_iter().partition(|(_, change)| change.is_new);
    let (erased, changed): (Vec<_>, Vec<_>) = known.into_iter().partition(|(_, change)| change.is_erased);
    insert(new, connection).await?;
    change(changed, connection).await?;
    erase(erased, connection).await
}

async fn insert(rows: Vec<(Uuid, Change)>, connection: &mut PgConnection) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let (mut ids, mut usernames, mut emails, mut administrators) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut second_factors, mut confirmed) = (Vec::new(), Vec::new());
    let (mut created, mut updated, mut versions, mut positions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (id, row) in rows {
        // Without a name it is somebody who was erased: in this batch, or later and their key has gone.
        confirmed.push(row.is_email_confirmed.unwrap_or(false) && row.username.is_some());
        ids.push(id);
        usernames.push(row.username);
        emails.push(row.email);
        administrators.push(row.is_administrator.unwrap_or(false));
        second_factors.push(row.has_second_factor.unwrap_or(false));
        created.push(row.created_at);
        updated.push(row.updated_at);
        versions.push(row.version);
        positions.push(row.position);
    }
    // A row that is there has this event in it already, and perhaps later ones.
    sqlx::query(
        "insert into accounts_v1
             (id, username, email, is_administrator, created_at, updated_at, version, position, has_second_factor,
              is_email_confirmed)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::boolean[], $5::timestamptz[], $6::timestamptz[],
             $7::bigint[], $8::bigint[], $9::boolean[], $10::boolean[])
         on conflict (id) do update set
             username = excluded.username, email = excluded.email, is_administrator = excluded.is_administrator,
             has_second_factor = excluded.has_second_factor, is_email_confirmed = excluded.is_email_confirmed, updated_at = excluded.updated_at,
             version = excluded.version, position = excluded.position
         where accounts_v1.position < excluded.position",
    )
    .bind(ids)
    .bind(usernames)
    .bind(emails)
    .bind(administrators)
    .bind(created)
    .bind(updated)
    .bind(versions)
    .bind(positions)
    .bind(second_factors)
    .bind(confirmed)
    .execute(connection)
    .await?;
    Ok(())
}

async fn change(rows: Vec<(Uuid, Change)>, connection: &mut PgConnection) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = rows.iter().map(|(id, _)| *id).collect();
    require(&ids, "account.password_changed", connection).await?;
    let (mut second_factors, mut updated, mut versions, mut positions) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut emails, mut confirmed, mut administrators) = (Vec::new(), Vec::new(), Vec::new());
    for (_, row) in rows {
        administrators.push(row.is_administrator);
        emails.push(row.email);
        confirmed.push(row.is_email_confirmed);
        second_factors.push(row.has_second_factor);
        updated.push(row.updated_at);
        versions.push(row.version);
        positions.push(row.position);
    }
    sqlx::query(
        "update accounts_v1 account
         set has_second_factor = coalesce(new.has_second_factor, account.has_second_factor),
             is_administrator = coalesce(new.is_administrator, account.is_administrator),
             -- Somebody may have confirmed an address while they were being erased: it must not come back.
             email = case when account.username is not null then coalesce(new.email, account.email) end,
             is_email_confirmed = account.username is not null
                 and coalesce(new.is_email_confirmed, account.is_email_confirmed),
             -- What happens to the address is an event of its own, and no version of the account.
             updated_at = new.updated_at, version = greatest(new.version, account.version), position = new.position
         from unnest($1::uuid[], $2::boolean[], $3::timestamptz[], $4::bigint[], $5::bigint[], $6::text[], $7::boolean[],
             $8::boolean[])
             as new (id, has_second_factor, updated_at, version, position, email, is_email_confirmed, is_administrator)
         where account.id = new.id and account.position < new.position",
    )
    .bind(ids)
    .bind(second_factors)
    .bind(updated)
    .bind(versions)
    .bind(positions)
    .bind(emails)
    .bind(confirmed)
    .bind(administrators)
    .execute(connection)
    .await?;
    Ok(())
}

/// That the log told of these accounts before.
async fn require(ids: &[Uuid], event_type: &'static str, connection: &mut PgConnection) -> Result<(), ApplyError> {
    let known: Vec<Uuid> =
        sqlx::query_scalar("select id from accounts_v1 where id = any($1)").bind(ids).fetch_all(connection).await?;
    match ids.iter().find(|id| !known.contains(id)) {
        Some(id) => Err(ApplyError::Unknown { event_type, id: format!("account {id}") }),
        None => Ok(()),
    }
}

async fn erase(rows: Vec<(Uuid, Change)>, connection: &mut PgConnection) -> Result<(), ApplyError> {
    if rows.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = rows.iter().map(|(id, _)| *id).collect();
    require(&ids, "account.erased", connection).await?;
    let (mut updated, mut versions, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    for (_, row) in rows {
        updated.push(row.updated_at);
        versions.push(row.version);
        positions.push(row.position);
    }
    sqlx::query(
        "update accounts_v1 account
         set username = null, email = null, is_administrator = false, has_second_factor = false,
             is_email_confirmed = false,
             updated_at = new.updated_at, version = new.version, position = new.position
         from unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::bigint[])
             as new (id, updated_at, version, position)
         where account.id = new.id and account.position < new.position",
    )
    .bind(ids)
    .bind(updated)
    .bind(versions)
    .bind(positions)
    .execute(connection)
    .await?;
    Ok(())
}
