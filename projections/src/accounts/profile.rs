//! What people show of themselves: `profiles_v1`.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use domain::{
    DomainEvent, RecordedEvent,
    accounts::{AccountEvent, AvatarName, ProfileEvent},
    ids::AccountId,
    sealed::{BoxFuture, Keyring, Opened},
};
use sqlx::{PgConnection, PgPool, prelude::FromRow};
use time::OffsetDateTime;
use uuid::Uuid;

use super::suspended_accounts;
use crate::{ApplyError, Projection, QueryError};

/// An account as everybody sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProfileRow {
    /// The account.
    pub account_id: AccountId,
    /// In lower case.
    pub username: String,
    /// What the person wants to be called; `None` for the username.
    pub display_name: Option<String>,
    /// What the person tells of themselves, if anything.
    pub bio: Option<String>,
    /// What the files of the picture are called, if there is one.
    pub avatar: Option<AvatarName>,
    /// How many public channels it has that were not closed.
    pub channel_count: i64,
    /// When the person registered.
    pub created_at: OffsetDateTime,
    /// When the profile last changed; when the person registered, if it never did.
    pub updated_at: OffsetDateTime,
    /// How many events the profile has had: what an editor names as the version that they saw.
    pub version: i64,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            "select account.id, account.username, profile.display_name, profile.bio, profile.avatar, ",
            "(select count(*) from read.channels_v1 channel where channel.owner_id = account.id ",
            "and channel.closed_at is null and channel.visibility = 'public') as channel_count, account.created_at, ",
            "coalesce(profile.updated_at, account.created_at) as updated_at, coalesce(profile.version, 0) as version ",
            // Without a username the person was erased.
            "from read.accounts_v1 account left join read.profiles_v1 profile on profile.account_id = account.id ",
            "where account.username is not null and ",
            $tail
        )
    };
}

/// Questions about profiles; from [`ReadModels::profiles`](crate::ReadModels::profiles).
#[derive(Debug, Clone, Copy)]
pub struct Profiles<'a> {
    pub(crate) pool: &'a PgPool,
}

impl Profiles<'_> {
    /// The profile of an account; `None` when there is no such account, or not any more.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_account(&self, id: AccountId) -> Result<Option<ProfileRow>, QueryError> {
        let row: Option<Found> =
            sqlx::query_as(select!("account.id = $1")).bind(id.uuid()).fetch_optional(self.pool).await?;
        Ok(row.map(ProfileRow::from))
    }

    /// The profile of the account of this username, in any case, for everybody; `None` when there is none, or it is suspended.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_username(&self, username: &str) -> Result<Option<ProfileRow>, QueryError> {
        let select = concat!(select!("account.username = $1"), " and account.id not in ", suspended_accounts!());
        let row: Option<Found> =
            sqlx::query_as(select).bind(username.to_ascii_lowercase()).fetch_optional(self.pool).await?;
        Ok(row.map(ProfileRow::from))
    }
}

#[derive(FromRow)]
struct Found {
    id: Uuid,
    username: String,
    display_name: Option<String>,
    bio: Option<String>,
    avatar: Option<String>,
    channel_count: i64,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    version: i64,
}

impl From<Found> for ProfileRow {
    fn from(row: Found) -> Self {
        Self {
            account_id: row.id.into(),
            username: row.username,
            display_name: row.display_name,
            bio: row.bio,
            avatar: row.avatar.as_deref().and_then(AvatarName::from_stored),
            channel_count: row.channel_count,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

/// Keeps `profiles_v1`.
#[derive(Debug, Clone, Copy)]
pub struct ProfilesV1;

impl Projection for ProfilesV1 {
    fn name(&self) -> &'static str {
        "profiles_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["profiles_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[ProfileEvent::TYPES, &["account.erased"]]
    }

    fn apply<'a>(
        &'a self,
        batch: &'a [&'a RecordedEvent],
        connection: &'a mut PgConnection,
        keyring: &'a dyn Keyring,
    ) -> BoxFuture<'a, Result<(), ApplyError>> {
        Box::pin(async move {
            let mut rows = load(batch, connection).await?;
            let mut opened = open(batch, keyring).await?.into_iter();
            let mut changed = HashSet::new();
            for recorded in batch {
                changed.extend(fold(&mut rows, recorded, &mut opened));
            }
            rows.retain(|id, _| changed.contains(id));
            if rows.is_empty() { Ok(()) } else { write(rows.into_values(), connection).await }
        })
    }
}

#[derive(FromRow)]
struct Stored {
    account_id: Uuid,
    display_name: Option<String>,
    bio: Option<String>,
    avatar: Option<String>,
    is_erased: bool,
    updated_at: OffsetDateTime,
    version: i64,
    position: i64,
}

/// Whose profile an event changes.
fn subject(event: &DomainEvent) -> Option<Uuid> {
    match event {
        DomainEvent::Profile(event) => Some(event.account_id().uuid()),
        DomainEvent::Account(AccountEvent::Erased { account_id, .. }) => Some(account_id.uuid()),
        _ => None,
    }
}

/// The rows that the batch changes.
async fn load(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<HashMap<Uuid, Stored>, ApplyError> {
    let wanted: HashSet<Uuid> = batch.iter().filter_map(|recorded| subject(&recorded.event)).collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Stored> = sqlx::query_as("select * from profiles_v1 where account_id = any($1)")
        .bind(wanted.into_iter().collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.account_id, row)).collect())
}

/// All sealed texts of the batch, in their order: one look at the keys for all of it.
async fn open(batch: &[&RecordedEvent], keyring: &dyn Keyring) -> Result<Vec<Opened>, ApplyError> {
    let mut sealed = Vec::new();
    for recorded in batch {
        if let DomainEvent::Profile(ProfileEvent::Changed { display_name, bio, .. }) = &recorded.event {
            sealed.extend([display_name, bio].into_iter().flatten().map(Cow::Borrowed));
        }
    }
    Ok(keyring.open(sealed).await?)
}

/// Folds one event in; the id of the row that it changed. Takes of `opened` what the event has sealed.
fn fold(
    rows: &mut HashMap<Uuid, Stored>,
    recorded: &RecordedEvent,
    opened: &mut impl Iterator<Item = Opened>,
) -> Option<Uuid> {
    let id = subject(&recorded.event)?;
    let mut next = |is_there: bool| match is_there.then(|| opened.next()).flatten() {
        Some(Opened::Text(text)) => Some(text),
        Some(Opened::Erased) | None => None,
    };
    // Also of an event that was applied before: what follows is opened, too.
    let texts = match &recorded.event {
        DomainEvent::Profile(ProfileEvent::Changed { display_name, bio, .. }) => {
            (next(display_name.is_some()), next(bio.is_some()))
        }
        _ => (None, None),
    };
    let row = rows.entry(id).or_insert_with(|| Stored {
        account_id: id,
        display_name: None,
        bio: None,
        avatar: None,
        is_erased: false,
        updated_at: recorded.recorded_at,
        version: 0,
        position: 0,
    });
    if row.position >= recorded.position {
        return None;
    }
    match &recorded.event {
        DomainEvent::Profile(event) => {
            row.version = recorded.sequence;
            match event {
                ProfileEvent::Changed { changed_at, .. } => {
                    (row.display_name, row.bio) = texts;
                    row.updated_at = *changed_at;
                }
                ProfileEvent::AvatarChanged { avatar, changed_at, .. } => {
                    row.avatar = Some(avatar.as_str().to_owned());
                    row.updated_at = *changed_at;
                }
                ProfileEvent::AvatarRemoved { removed_at, .. } => {
                    row.avatar = None;
                    row.updated_at = *removed_at;
                }
            }
        }
        DomainEvent::Account(AccountEvent::Erased { erased_at, .. }) => {
            row.is_erased = true;
            row.updated_at = *erased_at;
        }
        _ => {}
    }
    if row.is_erased {
        (row.display_name, row.bio, row.avatar) = (None, None, None);
    }
    row.position = recorded.position;
    Some(id)
}

async fn write(rows: impl Iterator<Item = Stored>, connection: &mut PgConnection) -> Result<(), ApplyError> {
    let (mut ids, mut names, mut bios, mut avatars) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut erased, mut updated, mut versions, mut positions) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        ids.push(row.account_id);
        names.push(row.display_name);
        bios.push(row.bio);
        avatars.push(row.avatar);
        erased.push(row.is_erased);
        updated.push(row.updated_at);
        versions.push(row.version);
        positions.push(row.position);
    }
    sqlx::query(
        "insert into profiles_v1 (account_id, display_name, bio, avatar, is_erased, updated_at, version, position)
         select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::boolean[], $6::timestamptz[],
             $7::bigint[], $8::bigint[])
         on conflict (account_id) do update set
             display_name = excluded.display_name, bio = excluded.bio, avatar = excluded.avatar,
             is_erased = excluded.is_erased, updated_at = excluded.updated_at, version = excluded.version,
             position = excluded.position
         where profiles_v1.position < excluded.position",
    )
    .bind(ids)
    .bind(names)
    .bind(bios)
    .bind(avatars)
    .bind(erased)
    .bind(updated)
    .bind(versions)
    .bind(positions)
    .execute(connection)
    .await?;
    Ok(())
}
