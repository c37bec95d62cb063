//! Where accounts are signed in: `sessions_v1`.

use domain::{
    DomainEvent, RecordedEvent,
    accounts::SessionEvent,
    ids::{AccountId, SessionId},
    sealed::{BoxFuture, Keyring, Sealed},
};
use sqlx::{PgConnection, PgPool, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ApplyError, Projection, QueryError};

/// A device on which an account is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The session.
    pub id: SessionId,
    /// What the browser calls itself, sealed.
    pub user_agent: Sealed,
    /// The network address that it came from, sealed.
    pub address: Sealed,
    /// When it signed in.
    pub opened_at: OffsetDateTime,
}

type Stored = (Uuid, Json<Sealed>, Json<Sealed>, OffsetDateTime);

/// Questions about sessions; from [`ReadModels::sessions`](crate::ReadModels::sessions).
#[derive(Debug, Clone, Copy)]
pub struct Sessions<'a> {
    pub(crate) pool: &'a PgPool,
}

impl Sessions<'_> {
    /// The open sessions of an account, the last opened first, at most `limit`.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn of_account(&self, account_id: AccountId, limit: i64) -> Result<Vec<SessionRow>, QueryError> {
        let rows: Vec<Stored> = sqlx::query_as(
            "select id, user_agent, address, opened_at from read.sessions_v1 \
             where account_id = $1 and ended_at is null order by opened_at desc, id desc limit $2",
        )
        .bind(account_id.uuid())
        .bind(limit)
        .fetch_all(self.pool)
        .await?;
        let row = |(id, user_agent, address, opened_at): Stored| SessionRow {
            id: id.into(),
            user_agent: user_agent.0,
            address: address.0,
            opened_at,
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

/// Keeps `sessions_v1`.
#[derive(Debug, Clone, Copy)]
pub struct SessionsV1;

impl Projection for SessionsV1 {
    fn name(&self) -> &'static str {
        "sessions_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["sessions_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[SessionEvent::TYPES]
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

async fn apply(batch: &[&RecordedEvent], connection: &mut PgConnection) -> Result<(), ApplyError> {
    let (mut ids, mut accounts, mut agents, mut addresses) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut opened, mut positions) = (Vec::new(), Vec::new());
    let (mut ended_ids, mut ended, mut ended_positions) = (Vec::new(), Vec::new(), Vec::new());
    for recorded in batch {
        let DomainEvent::Session(event) = &recorded.event else { continue };
        match event {
            SessionEvent::Opened { session_id, account_id, user_agent, address, opened_at } => {
                ids.push(session_id.uuid());
                accounts.push(account_id.uuid());
                agents.push(Json(user_agent));
                addresses.push(Json(address));
                opened.push(*opened_at);
                positions.push(recorded.position);
            }
            SessionEvent::Ended { session_id, ended_at, .. } => {
                ended_ids.push(session_id.uuid());
                ended.push(*ended_at);
                ended_positions.push(recorded.position);
            }
        }
    }
    if !ids.is_empty() {
        sqlx::query(
            "insert into sessions_v1 (id, account_id, user_agent, address, opened_at, position)
             select * from unnest($1::uuid[], $2::uuid[], $3::jsonb[], $4::jsonb[], $5::timestamptz[], $6::bigint[])
             on conflict (id) do nothing",
        )
        .bind(ids)
        .bind(accounts)
        .bind(agents)
        .bind(addresses)
        .bind(opened)
        .bind(positions)
        .execute(&mut *connection)
        .await?;
    }
    if ended_ids.is_empty() {
        return Ok(());
    }
    let known: Vec<Uuid> = sqlx::query_scalar("select id from sessions_v1 where id = any($1)")
        .bind(&ended_ids)
        .fetch_all(&mut *connection)
        .await?;
    if let Some(id) = ended_ids.iter().find(|id| !known.contains(id)) {
        return Err(ApplyError::Unknown { event_type: "session.ended", id: format!("session {id}") });
    }
    sqlx::query(
        "update sessions_v1 session
         set user_agent = null, address = null, ended_at = new.ended_at, position = new.position
         from unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) as new (id, ended_at, position)
         where session.id = new.id and session.position < new.position",
    )
    .bind(ended_ids)
    .bind(ended)
    .bind(ended_positions)
    .execute(connection)
    .await?;
    Ok(())
}
