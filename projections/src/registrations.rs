//! Links by which accounts can be made: `registration_invites_v1`.

use std::collections::{HashMap, HashSet};

use domain::{
    DomainEvent, Event, RecordedEvent,
    ids::RegistrationInviteId,
    registrations::RegistrationInviteEvent,
    sealed::{BoxFuture, Keyring},
};
use sqlx::{PgConnection, PgPool, prelude::FromRow};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ApplyError, Projection, QueryError};

/// A registration invite that was not taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegistrationInviteRow {
    /// The invite.
    pub id: RegistrationInviteId,
    /// How many accounts it is for.
    pub max_uses: i64,
    /// How many were made by it, or are being made.
    pub uses: i64,
    /// When it ends by itself, or has; `None` for never.
    pub expires_at: Option<OffsetDateTime>,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

/// Questions about registration invites; from
/// [`ReadModels::registration_invites`](crate::ReadModels::registration_invites).
#[derive(Debug, Clone, Copy)]
pub struct RegistrationInvites<'a> {
    pub(crate) pool: &'a PgPool,
}

impl RegistrationInvites<'_> {
    /// The invite of this id; `None` when there is none, or it was taken back.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn by_id(&self, id: RegistrationInviteId) -> Result<Option<RegistrationInviteRow>, QueryError> {
        let row: Option<Stored> =
            sqlx::query_as("select * from read.registration_invites_v1 where id = $1 and revoked_at is null")
                .bind(id.uuid())
                .fetch_optional(self.pool)
                .await?;
        Ok(row.map(Into::into))
    }

    /// The invites that are good at `now`, newest first, at most `limit`.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn good(&self, now: OffsetDateTime, limit: i64) -> Result<Vec<RegistrationInviteRow>, QueryError> {
        let rows: Vec<Stored> = sqlx::query_as(
            "select * from read.registration_invites_v1 \
             where revoked_at is null and (expires_at is null or expires_at > $1) and uses < max_uses \
             order by created_at desc, id desc limit $2",
        )
        .bind(now)
        .bind(limit)
        .fetch_all(self.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// The invites that are good at `now` and those that are used up and would be good otherwise, at most `limit` of each, all of them
    /// newest first. One that is used up may become good again: what led to no account is given back.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn standing(&self, now: OffsetDateTime, limit: i64) -> Result<Vec<RegistrationInviteRow>, QueryError> {
        let rows: Vec<Stored> = sqlx::query_as(
            "select id, max_uses, uses, expires_at, created_at, revoked_at, position from ( \
                 select *, row_number() over (partition by uses < max_uses order by created_at desc, id desc) as place \
                 from read.registration_invites_v1 \
                 where revoked_at is null and (expires_at is null or expires_at > $1)) invite \
             where place <= $2 order by created_at desc, id desc",
        )
        .bind(now)
        .bind(limit)
        .fetch_all(self.pool)
        .await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }
}

impl From<Stored> for RegistrationInviteRow {
    fn from(row: Stored) -> Self {
        let Stored { id, max_uses, uses, expires_at, created_at, .. } = row;
        Self { id: id.into(), max_uses, uses, expires_at, created_at }
    }
}

/// Keeps `registration_invites_v1`.
#[derive(Debug, Clone, Copy)]
pub struct RegistrationInvitesV1;

impl Projection for RegistrationInvitesV1 {
    fn name(&self) -> &'static str {
        "registration_invites_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["registration_invites_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[RegistrationInviteEvent::TYPES]
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
    max_uses: i64,
    uses: i64,
    expires_at: Option<OffsetDateTime>,
    created_at: OffsetDateTime,
    revoked_at: Option<OffsetDateTime>,
    position: i64,
}

/// The rows that the batch changes, without those that it creates.
async fn load(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<HashMap<Uuid, Stored>, ApplyError> {
    let (mut created, mut changed) = (HashSet::new(), HashSet::new());
    for recorded in batch {
        match &recorded.event {
            DomainEvent::RegistrationInvite(RegistrationInviteEvent::Created { invite_id, .. }) => {
                created.insert(invite_id.uuid())
            }
            DomainEvent::RegistrationInvite(event) => changed.insert(event.invite_id().uuid()),
            _ => false,
        };
    }
    let wanted: Vec<Uuid> = changed.difference(&created).copied().collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<Stored> = sqlx::query_as("select * from registration_invites_v1 where id = any($1)")
        .bind(wanted)
        .fetch_all(connection)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row)).collect())
}

/// Folds one event in; the id of the row that it changed.
fn fold(rows: &mut HashMap<Uuid, Stored>, recorded: &RecordedEvent) -> Result<Option<Uuid>, ApplyError> {
    let DomainEvent::RegistrationInvite(event) = &recorded.event else { return Ok(None) };
    let (id, position) = (event.invite_id().uuid(), recorded.position);
    if let RegistrationInviteEvent::Created { max_uses, expires_at, created_at, .. } = event {
        let (expires_at, created_at) = (*expires_at, *created_at);
        let max_uses = i64::from(*max_uses);
        rows.insert(id, Stored { id, max_uses, uses: 0, expires_at, created_at, revoked_at: None, position });
        return Ok(Some(id));
    }
    let unknown = || ApplyError::Unknown { event_type: event.event_type(), id: format!("registration invite {id}") };
    let row = rows.get_mut(&id).ok_or_else(unknown)?;
    if row.position >= position {
        return Ok(None);
    }
    match event {
        RegistrationInviteEvent::Created { .. } => {}
        RegistrationInviteEvent::Used { .. } => row.uses += 1,
        RegistrationInviteEvent::GivenBack { .. } => row.uses -= 1,
        RegistrationInviteEvent::Revoked { revoked_at, .. } => row.revoked_at = Some(*revoked_at),
    }
    row.position = position;
    Ok(Some(id))
}

async fn write(rows: impl ExactSizeIterator<Item = Stored>, connection: &mut PgConnection) -> Result<(), ApplyError> {
    let (mut id, mut max_uses, mut uses, mut expires_at) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut created_at, mut revoked_at, mut position) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        id.push(row.id);
        max_uses.push(row.max_uses);
        uses.push(row.uses);
        expires_at.push(row.expires_at);
        created_at.push(row.created_at);
        revoked_at.push(row.revoked_at);
        position.push(row.position);
    }
    sqlx::query(
        "insert into registration_invites_v1 (id, max_uses, uses, expires_at, created_at, revoked_at, position)
         select * from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::timestamptz[],
             $6::timestamptz[], $7::bigint[])
         on conflict (id) do update set
             uses = excluded.uses, revoked_at = excluded.revoked_at, position = excluded.position
         where registration_invites_v1.position < excluded.position",
    )
    .bind(id)
    .bind(max_uses)
    .bind(uses)
    .bind(expires_at)
    .bind(created_at)
    .bind(revoked_at)
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}
