//! What people watch and follow: `channels_v1`.

mod apply;

use domain::{
    accounts::AvatarName,
    channels::Visibility,
    ids::{AccountId, ChannelId, StreamId},
};
use sqlx::{PgPool, prelude::FromRow};
use time::OffsetDateTime;
use uuid::Uuid;

pub use apply::ChannelsV1;

use crate::{
    Cursor, Page, QueryError,
    accounts::{ERASED_USERNAME, suspended_accounts},
    page::PageQuery,
};

/// A channel as everybody sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelRow {
    /// The channel.
    pub id: ChannelId,
    /// Its owner.
    pub owner_id: AccountId,
    /// Its owner's username; [`ERASED_USERNAME`] for an erased person.
    pub owner_username: String,
    /// What its owner wants to be called; `None` for the username.
    pub owner_display_name: Option<String>,
    /// What the files of its owner's picture are called, if there is one.
    pub owner_avatar: Option<AvatarName>,
    /// Its unique name, in lower case.
    pub handle: String,
    /// Its title.
    pub title: String,
    /// Its description; may be empty.
    pub description: String,
    /// Who may watch it.
    pub visibility: Visibility,
    /// The stream that is on now; `None` while it is offline.
    pub live_stream_id: Option<StreamId>,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// When the channel itself last changed. Going live or offline is a change of the stream, not of the channel.
    pub updated_at: OffsetDateTime,
    /// How many events the channel itself has had: what an editor names as the version that they saw.
    pub version: i64,
}

impl ChannelRow {
    /// Whether a stream is on now.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.live_stream_id.is_some()
    }
}

/// Which channels; all of them by default, also those that not everybody may know of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ChannelFilter {
    /// Only those that are live, or only those that are not.
    pub live: Option<bool>,
    /// Only this account's.
    pub owner: Option<AccountId>,
    /// Only those that this account owns or has a role in.
    pub member: Option<AccountId>,
    /// Only those of this visibility.
    pub visibility: Option<Visibility>,
}

/// A channel that not everybody may watch, closed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestrictedChannel {
    /// The channel.
    pub id: ChannelId,
    /// Who may watch it.
    pub visibility: Visibility,
    /// How many events the channel itself has had.
    pub version: i64,
    /// Whether it was closed.
    pub is_closed: bool,
}

/// Questions about channels; from [`ReadModels::channels`](crate::ReadModels::channels).
#[derive(Debug, Clone, Copy)]
pub struct Channels<'a> {
    pub(crate) pool: &'a PgPool,
}

macro_rules! select {
    ($tail:literal) => {
        concat!(
            // The username has one home, so that erasure has one place to clear.
            "select channel.id, channel.owner_id, account.username as owner_username, case when account.username is not null then profile.display_name end as owner_display_name, ",
            "case when account.username is not null then profile.avatar end as owner_avatar, channel.handle, channel.title, ",
            "channel.description, channel.visibility, channel.live_stream_id, channel.created_at, channel.updated_at, channel.version ",
            "from read.channels_v1 channel left join read.accounts_v1 account on account.id = channel.owner_id ",
            "left join read.profiles_v1 profile on profile.account_id = channel.owner_id ",
            $tail
        )
    };
    // One that was not closed and whose owner is not suspended.
    ($tail:literal, shown) => {
        concat!(
            select!($tail),
            " and channel.closed_at is null and channel.owner_id not in ",
            suspended_accounts!()
        )
    };
}

impl Channels<'_> {
    /// The channel of this handle, in any case, if there is one that was not closed and whose owner is not suspended.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_handle(&self, handle: &str) -> Result<Option<ChannelRow>, QueryError> {
        let row: Option<Stored> = sqlx::query_as(select!("where channel.handle = $1", shown))
            .bind(handle.to_ascii_lowercase())
            .fetch_optional(self.pool)
            .await?;
        Ok(row.map(ChannelRow::from))
    }

    /// The channel of this id, if there is one that was not closed and whose owner is not suspended.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_id(&self, id: ChannelId) -> Result<Option<ChannelRow>, QueryError> {
        let row: Option<Stored> =
            sqlx::query_as(select!("where channel.id = $1", shown)).bind(id.uuid()).fetch_optional(self.pool).await?;
        Ok(row.map(ChannelRow::from))
    }

    /// All channels that not everybody may watch, and a position of the log: what happened after it may not be in here yet,
    /// nor in what is read of recordings. In no particular order.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn restricted(&self) -> Result<(i64, Vec<RestrictedChannel>), QueryError> {
        // First, so that the rows are at this position or later.
        let position: Option<i64> = sqlx::query_scalar(
            "select case when count(*) = 2 then min(position) end from read.checkpoints \
             where projection in ('channels_v1', 'recordings_v1')",
        )
        .fetch_one(self.pool)
        .await?;
        let rows: Vec<(Uuid, String, i64, bool)> = sqlx::query_as(
            "select id, visibility, version, closed_at is not null from read.channels_v1 where visibility <> 'public'",
        )
        .fetch_all(self.pool)
        .await?;
        let channel = |(id, visibility, version, is_closed): (Uuid, String, _, _)| RestrictedChannel {
            id: id.into(),
            visibility: Visibility::from_stored(&visibility).unwrap_or(Visibility::Private),
            version,
            is_closed,
        };
        Ok((position.unwrap_or(0), rows.into_iter().map(channel).collect()))
    }

    /// Channels that were not closed and whose owners are not suspended, newest first, `limit` at a time (1 to [`MAX_LIMIT`](crate::MAX_LIMIT)), from the beginning or after
    /// where a page ended.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn page(
        &self,
        filter: ChannelFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<ChannelRow>, QueryError> {
        let mut query = PageQuery::new(select!(""), limit);
        query.condition(concat!("channel.closed_at is null and channel.owner_id not in ", suspended_accounts!()));
        if let Some(live) = filter.live {
            query.condition(if live { "channel.live_stream_id is not null" } else { "channel.live_stream_id is null" });
        }
        if let Some(owner) = filter.owner {
            query.condition("channel.owner_id = ").push_bind(owner.uuid());
        }
        if let Some(member) = filter.member {
            query
                .condition("channel.id in (select id from read.channels_v1 where owner_id = ")
                .push_bind(member.uuid())
                .push(" union all select channel_id from read.teams_v1 where role is not null and account_id = ")
                .push_bind(member.uuid())
                .push(")");
        }
        if let Some(visibility) = filter.visibility {
            query.condition("channel.visibility = ").push_bind(visibility.as_str());
        }
        let page = query.fetch(self.pool, ("channel.created_at", "channel.id"), after, |row: &Stored| {
            Cursor::after(row.created_at, row.id)
        });
        Ok(page.await?.map(ChannelRow::from))
    }
}

#[derive(FromRow)]
struct Stored {
    id: Uuid,
    owner_id: Uuid,
    owner_username: Option<String>,
    owner_display_name: Option<String>,
    owner_avatar: Option<String>,
    handle: String,
    title: String,
    description: String,
    visibility: String,
    live_stream_id: Option<Uuid>,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
    version: i64,
}

impl From<Stored> for ChannelRow {
    fn from(row: Stored) -> Self {
        Self {
            id: row.id.into(),
            owner_id: row.owner_id.into(),
            owner_username: row.owner_username.unwrap_or_else(|| ERASED_USERNAME.to_owned()),
            owner_display_name: row.owner_display_name,
            owner_avatar: row.owner_avatar.as_deref().and_then(AvatarName::from_stored),
            handle: row.handle,
            title: row.title,
            description: row.description,
            // What cannot be understood is shown to nobody.
            visibility: Visibility::from_stored(&row.visibility).unwrap_or(Visibility::Private),
            live_stream_id: row.live_stream_id.map(StreamId::from),
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}
