//! What people let programs of theirs do: `personal_tokens_v1`.

use domain::{
    DomainEvent, RecordedEvent,
    accounts::{PersonalTokenEvent, PersonalTokenScope},
    ids::{AccountId, PersonalTokenId},
    sealed::{BoxFuture, Keyring, Sealed},
};
use sqlx::{PgConnection, PgPool, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ApplyError, Projection, QueryError};

/// A personal token that was not revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonalTokenRow {
    /// The token.
    pub id: PersonalTokenId,
    /// What its owner calls it, sealed.
    pub name: Sealed,
    /// What it may do.
    pub scopes: Vec<PersonalTokenScope>,
    /// When it is worth nothing any more by itself.
    pub expires_at: OffsetDateTime,
    /// When it was made.
    pub created_at: OffsetDateTime,
}

type Stored = (Uuid, Json<Sealed>, Vec<String>, OffsetDateTime, OffsetDateTime);

/// Questions about personal tokens; from [`ReadModels::personal_tokens`](crate::ReadModels::personal_tokens).
#[derive(Debug, Clone, Copy)]
pub struct PersonalTokens<'a> {
    pub(crate) pool: &'a PgPool,
}

impl PersonalTokens<'_> {
    /// The tokens of an account that were not revoked, the newest first, at most `limit`. One whose time has just run out
    /// may be among them.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn of_account(&self, account_id: AccountId, limit: i64) -> Result<Vec<PersonalTokenRow>, QueryError> {
        let rows: Vec<Stored> = sqlx::query_as(
            "select id, name, scopes, expires_at, created_at from read.personal_tokens_v1 \
             where account_id = $1 and revoked_at is null order by created_at desc, id desc limit $2",
        )
        .bind(account_id.uuid())
        .bind(limit)
        .fetch_all(self.pool)
        .await?;
        let row = |(id, name, scopes, expires_at, created_at): Stored| PersonalTokenRow {
            id: id.into(),
            name: name.0,
            scopes: scopes.iter().filter_map(|scope| PersonalTokenScope::from_stored(scope)).collect(),
            expires_at,
            created_at,
        };
        Ok(rows.into_iter().map(row).collect())
    }
}

/// Keeps `personal_tokens_v1`.
#[derive(Debug, Clone, Copy)]
pub struct PersonalTokensV1;

impl Projection for PersonalTokensV1 {
    fn name(&self) -> &'static str {
        "personal_tokens_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["personal_tokens_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[PersonalTokenEvent::TYPES]
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
    let (mut ids, mut accounts, mut names, mut scopes_of) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut expiring, mut created, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut revoked_ids, mut revoked, mut revoked_positions) = (Vec::new(), Vec::new(), Vec::new());
    for recorded in batch {
        let DomainEvent::PersonalToken(event) = &recorded.event else { continue };
        match event {
            PersonalTokenEvent::Created { token_id, account_id, name, scopes, expires_at, created_at } => {
                ids.push(token_id.uuid());
                accounts.push(account_id.uuid());
                names.push(Json(name));
                // Postgres has no lists of lists of different lengths.
                scopes_of.push(scopes.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(" "));
                expiring.push(*expires_at);
                created.push(*created_at);
                positions.push(recorded.position);
            }
            PersonalTokenEvent::Revoked { token_id, revoked_at, .. } => {
                revoked_ids.push(token_id.uuid());
                revoked.push(*revoked_at);
                revoked_positions.push(recorded.position);
            }
        }
    }
    if !ids.is_empty() {
        sqlx::query(
            "insert into personal_tokens_v1 (id, account_id, name, scopes, expires_at, created_at, position)
             select id, account_id, name, string_to_array(scopes, ' '), expires_at, created_at, position
             from unnest($1::uuid[], $2::uuid[], $3::jsonb[], $4::text[], $5::timestamptz[], $6::timestamptz[],
                 $7::bigint[]) as new (id, account_id, name, scopes, expires_at, created_at, position)
             on conflict (id) do nothing",
        )
        .bind(ids)
        .bind(accounts)
        .bind(names)
        .bind(scopes_of)
        .bind(expiring)
        .bind(created)
        .bind(positions)
        .execute(&mut *connection)
        .await?;
    }
    if revoked_ids.is_empty() {
        return Ok(());
    }
    let known: Vec<Uuid> = sqlx::query_scalar("select id from personal_tokens_v1 where id = any($1)")
        .bind(&revoked_ids)
        .fetch_all(&mut *connection)
        .await?;
    if let Some(id) = revoked_ids.iter().find(|id| !known.contains(id)) {
        return Err(ApplyError::Unknown { event_type: "personal_token.revoked", id: format!("personal token {id}") });
    }
    sqlx::query(
        "update personal_tokens_v1 token set name = null, revoked_at = new.revoked_at, position = new.position
         from unnest($1::uuid[], $2::timestamptz[], $3::bigint[]) as new (id, revoked_at, position)
         where token.id = new.id and token.position < new.position",
    )
    .bind(revoked_ids)
    .bind(revoked)
    .bind(revoked_positions)
    .execute(connection)
    .await?;
    Ok(())
}
