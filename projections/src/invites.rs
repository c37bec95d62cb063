//! Links that let their bearers into private channels: `invites_v1`.

use std::collections::{HashMap, HashSet};

use domain::{
    DomainEvent, Event, RecordedEvent,
    ids::{ChannelId, InviteId},
    invites::InviteEvent,
    sealed::{BoxFuture, Keyring},
};
use sqlx::{PgConnection, PgPool, Row, postgres::PgRow, prelude::FromRow};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ApplyError, Projection, QueryError};

/// An invite that was not taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InviteRow {
    /// The invite.
    pub id: InviteId,
    /// The channel that it lets in.
    pub channel_id: ChannelId,
    /// When it ends by itself, or has; `None` for never.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// Questions about invites; from [`ReadModels::invites`](crate::ReadModels::invites).
#[derive(Debug, Clone, Copy)]
pub struct Invites<'a> {
    pub(crate) pool: &'a PgPool,
}

impl Invites<'_> {
    /// The invite of this id; `None` when there is none, or it was taken back.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_id(&self, id: InviteId) -> Result<Option<InviteRow>, QueryError> {
        let row = sqlx::query_as(
            "select id, channel_id, expires_at, created_at from read.invites_v1 where id = $1 and revoked_at is null",
        )
        .bind(id.uuid())
        .fetch_optional(self.pool)
        .await?;
        Ok(row)
    }

    /// The invites of a channel that are good at `now`, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn of_channel(
        &self,
        channel_id: ChannelId,
        now: OffsetDateTime,
        limit: i64,
    ) -> Result<Vec<InviteRow>, QueryError> {
        let rows = sqlx::query_as(
            "select id, channel_id, expires_at, created_at from read.invites_v1 \
             where channel_id = $1 and revoked_at is null and (expires_at is null or expires_at > $2) \
             order by created_at desc, id desc limit $3",
        )
        .bind(channel_id.uuid())
        .bind(now)
        .bind(limit)
        .fetch_all(self.pool)
        .await?;
        Ok(rows)
    }
}

impl FromRow<'_, PgRow> for InviteRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get::<Uuid, _>("id")?.into(),
            channel_id: row.try_get::<Uuid, _>("channel_id")?.into(),
            expires_at: row.try_get("expires_at")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

/// Keeps `invites_v1`.
#[derive(Debug, Clone, Copy)]
pub struct InvitesV1;

impl Projection for InvitesV1 {
    fn name(&self) -> &'static str {
        "invites_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["invites_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[InviteEvent::TYPES]
    }

    fn apply<'a>(
        &'a self,
        batch: &'a [&'a RecordedEvent],
        connection: &'a mut PgConnection,
        _: &'a dyn Keyring,
    ) -> BoxFuture<'a, Result<(), ApplyError>> {
        Box::pin(async move {
            let mut rows = load(batch, connection).await?;
            let mut changed = HashSet::new();
            for recorded in batch {
                changed.extend(fold(&mut rows, recorded)?);
            }
            rows.retain(|id, _| changed.contains(id));
            if rows.is_empty() { Ok(()) } else { write(rows.into_values(), connection).await }
        })
    }
}

#[derive(FromRow)]
struct Stored {
    id: Uuid,
    channel_id: Uuid,
    expires_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    revoked_at: Option<OffsetDateTime>,
    position: i64,
}

/// The rows that the batch takes back, without those that it creates.
async fn load(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<HashMap<Uuid, Stored>, ApplyError> {
    let (mut created, mut revoked) = (HashSet::new(), HashSet::new());
    for recorded in batch {
        match &recorded.event {
            DomainEvent::Invite(InviteEvent::Created { invite_id, .. }) => created.insert(invite_id.uuid()),
            DomainEvent::Invite(InviteEvent::Revoked { invite_id, .. }) => revoked.insert(invite_id.uuid()),
            _ => false,
        };
    }
    let wanted: Vec<Uuid> = revoked.difference(&created).copied().collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Stored> =
        sqlx::query_as("select * from invites_v1 where id = any($1)").bind(wanted).fetch_all(connection).await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// Folds one event in; the id of the row that it changed.
fn fold(rows: &mut HashMap<Uuid, Stored>, recorded: &RecordedEvent) -> Result<Option<Uuid>, ApplyError> {
    let DomainEvent::Invite(event) = &recorded.event else { return Ok(None) };
    let id = event.invite_id().uuid();
    match event {
        InviteEvent::Created { channel_id, expires_at, created_at, .. } => {
            let row = Stored {
                id,
                channel_id: channel_id.uuid(),
                expires_at: *expires_at,
                created_at: *created_at,
                revoked_at: None,
                position: recorded.position,
            };
            rows.insert(id, row);
        }
        InviteEvent::Revoked { revoked_at, .. } => {
            let unknown = || ApplyError::Unknown { event_type: event.event_type(), id: format!("invite {id}") };
            let row = rows.get_mut(&id).ok_or_else(unknown)?;
            if row.position >= recorded.position {
                return Ok(None);
            }
            row.revoked_at = Some(*revoked_at);
            row.position = recorded.position;
        }
    }
    Ok(Some(id))
}

async fn write(rows: impl ExactSizeIterator<Item = Stored>, connection: &mut PgConnection) -> Result<(), ApplyError> {
    let (mut id, mut channel_id, mut expires_at) = (Vec::new(), Vec::new(), Vec::new());
    let (mut created_at, mut revoked_at, mut position) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        id.push(row.id);
        channel_id.push(row.channel_id);
        expires_at.push(row.expires_at);
        created_at.push(row.created_at);
        revoked_at.push(row.revoked_at);
        position.push(row.position);
    }
    sqlx::query(
        "insert into invites_v1 (id, channel_id, expires_at, created_at, revoked_at, position)
         select * from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[], $6::bigint[])
         on conflict (id) do update set revoked_at = excluded.revoked_at, position = excluded.position
         where invites_v1.position < excluded.position",
    )
    .bind(id)
    .bind(channel_id)
    .bind(expires_at)
    .bind(created_at)
    .bind(revoked_at)
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}
