//! What happened to the safety of accounts: `security_events_v1`. Which events are in it says `kinds`.

mod kinds;

use domain::{
    DomainEvent, RecordedEvent,
    channels::ChannelEvent,
    ids::{AccountId, ChannelId},
    sealed::{BoxFuture, Keyring, Sealed},
};
use sqlx::{PgConnection, PgPool, prelude::FromRow, types::Json};
use time::OffsetDateTime;
use uuid::{Builder, Uuid};

pub use self::kinds::KINDS;
use crate::{ApplyError, Cursor, Page, Projection, QueryError, page::PageQuery};

/// Something that happened to the safety of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEventRow {
    /// Its own id.
    pub id: Uuid,
    /// Whose account.
    pub account_id: AccountId,
    /// The account's username; `None` for an erased person.
    pub username: Option<String>,
    /// What happened: the type of the event, one of [`KINDS`].
    pub kind: String,
    /// When the log took it.
    pub at: OffsetDateTime,
    /// Who did it, where that is not the account itself.
    pub by_id: Option<AccountId>,
    /// The username of who did it.
    pub by_username: Option<String>,
    /// A word that says why, or what was wrong.
    pub reason: Option<String>,
    /// How often, or how many are left.
    pub count: Option<i64>,
    /// The channel that it is about.
    pub channel_id: Option<ChannelId>,
    /// That channel's handle.
    pub channel_handle: Option<String>,
    /// What the browser called itself, sealed.
    pub user_agent: Option<Sealed>,
    /// The network address, sealed.
    pub address: Option<Sealed>,
}

/// Which security events; all of them by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecurityEventFilter {
    /// Only of this account.
    pub account_id: Option<AccountId>,
    /// Only of this kind.
    pub kind: Option<String>,
    /// Only those at this time or later.
    pub from: Option<OffsetDateTime>,
    /// Only those before this time.
    pub to: Option<OffsetDateTime>,
}

/// Questions about security events; from [`ReadModels::security_events`](crate::ReadModels::security_events).
#[derive(Debug, Clone, Copy)]
pub struct SecurityEvents<'a> {
    pub(crate) pool: &'a PgPool,
}

// Usernames have one home, so that erasure has one place to clear.
const SELECT: &str = "select event.id, event.account_id, account.username, event.kind, event.at, event.by_id, \
     actor.username as by_username, event.reason, event.count, event.channel_id, channel.handle as channel_handle, \
     event.user_agent, event.address from read.security_events_v1 event \
     left join read.accounts_v1 account on account.id = event.account_id \
     left join read.accounts_v1 actor on actor.id = event.by_id \
     left join read.channels_v1 channel on channel.id = event.channel_id and channel.closed_at is null";

impl SecurityEvents<'_> {
    /// Security events, newest first, `limit` at a time (1 to [`MAX_LIMIT`](crate::MAX_LIMIT)), from the beginning or after
    /// where a page ended.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn list(
        &self,
        filter: &SecurityEventFilter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page<SecurityEventRow>, QueryError> {
        let mut query = PageQuery::new(SELECT, limit);
        if let Some(account_id) = filter.account_id {
            query.condition("event.account_id = ").push_bind(account_id.uuid());
        }
        if let Some(kind) = &filter.kind {
            query.condition("event.kind = ").push_bind(kind.clone());
        }
        if let Some(from) = filter.from {
            query.condition("event.at >= ").push_bind(from);
        }
        if let Some(to) = filter.to {
            query.condition("event.at < ").push_bind(to);
        }
        let page = query
            .fetch(self.pool, ("event.at", "event.id"), after, |row: &Stored| Cursor::after(row.at, row.id))
            .await?;
        Ok(page.map(SecurityEventRow::from))
    }
}

#[derive(FromRow)]
struct Stored {
    id: Uuid,
    account_id: Uuid,
    username: Option<String>,
    kind: String,
    at: OffsetDateTime,
    by_id: Option<Uuid>,
    by_username: Option<String>,
    reason: Option<String>,
    count: Option<i64>,
    channel_id: Option<Uuid>,
    channel_handle: Option<String>,
    user_agent: Option<Json<Sealed>>,
    address: Option<Json<Sealed>>,
}

impl From<Stored> for SecurityEventRow {
    fn from(row: Stored) -> Self {
        Self {
            id: row.id,
            account_id: row.account_id.into(),
            username: row.username,
            kind: row.kind,
            at: row.at,
            by_id: row.by_id.map(AccountId::from),
            by_username: row.by_username,
            reason: row.reason,
            count: row.count,
            channel_id: row.channel_id.map(ChannelId::from),
            channel_handle: row.channel_handle,
            user_agent: row.user_agent.map(|sealed| sealed.0),
            address: row.address.map(|sealed| sealed.0),
        }
    }
}

/// Keeps `security_events_v1`.
#[derive(Debug, Clone, Copy)]
pub struct SecurityEventsV1;

impl Projection for SecurityEventsV1 {
    fn name(&self) -> &'static str {
        "security_events_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["security_events_v1", "security_channels_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        // Created channels say whose they are.
        &[KINDS, &["channel.created"]]
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

/// An id that sorts as the log does, and is the same whenever the row is made anew.
fn id_of(recorded: &RecordedEvent) -> Uuid {
    let millis = u64::try_from(recorded.recorded_at.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    let mut rest = [0; 10];
    rest[2..].copy_from_slice(&recorded.position.to_be_bytes());
    Builder::from_unix_timestamp_millis(millis, &rest).into_uuid()
}

/// Keeps whose the channels are that were created in `batch`, and says whose those are whose stream key was replaced in it.
async fn owners(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<kinds::Owners, ApplyError> {
    let (mut created, mut created_by, mut positions, mut rotated) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for recorded in batch {
        match &recorded.event {
            DomainEvent::Channel(ChannelEvent::Created { channel_id, owner_id, .. }) => {
                created.push(channel_id.uuid());
                created_by.push(owner_id.uuid());
                positions.push(recorded.position);
            }
            DomainEvent::Channel(ChannelEvent::StreamKeyRotated { channel_id, .. }) => rotated.push(channel_id.uuid()),
            _ => {}
        }
    }
    if !created.is_empty() {
        sqlx::query(
            "insert into security_channels_v1 (channel_id, owner_id, position)
             select * from unnest($1::uuid[], $2::uuid[], $3::bigint[])
             on conflict (channel_id) do nothing",
        )
        .bind(created)
        .bind(created_by)
        .bind(positions)
        .execute(&mut *connection)
        .await?;
    }
    if rotated.is_empty() {
        return Ok(kinds::Owners::new());
    }
    let found: Vec<(Uuid, Uuid)> =
        sqlx::query_as("select channel_id, owner_id from security_channels_v1 where channel_id = any($1)")
            .bind(rotated)
            .fetch_all(connection)
            .await?;
    Ok(found.into_iter().map(|(channel_id, owner_id)| (channel_id.into(), owner_id.into())).collect())
}

async fn apply(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<(), ApplyError> {
    let (mut ids, mut accounts, mut kinds_of, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut by, mut reasons, mut counts, mut channels) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut agents, mut addresses, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    let owners = owners(batch, connection).await?;
    for recorded in batch {
        let Some(entry) = kinds::entry(&recorded.event, &owners) else { continue };
        ids.push(id_of(recorded));
        accounts.push(entry.account_id.uuid());
        kinds_of.push(recorded.event.event_type());
        times.push(recorded.recorded_at);
        // That somebody did it to themselves goes without saying.
        by.push(entry.by.filter(|by| *by != entry.account_id).map(|by| by.uuid()));
        reasons.push(entry.reason);
        counts.push(entry.count);
        channels.push(entry.channel_id.map(|id| id.uuid()));
        agents.push(entry.user_agent.map(Json));
        addresses.push(entry.address.map(Json));
        positions.push(recorded.position);
    }
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into security_events_v1
             (id, account_id, kind, at, by_id, reason, count, channel_id, user_agent, address, position)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::uuid[], $6::text[], $7::bigint[],
             $8::uuid[], $9::jsonb[], $10::jsonb[], $11::bigint[])
         on conflict (id) do nothing",
    )
    .bind(ids)
    .bind(accounts)
    .bind(kinds_of)
    .bind(times)
    .bind(by)
    .bind(reasons)
    .bind(counts)
    .bind(channels)
    .bind(agents)
    .bind(addresses)
    .bind(positions)
    .execute(connection)
    .await?;
    Ok(())
}
