//! Who has which role in a channel: `teams_v1`.

use std::collections::HashMap;

use domain::{
    DomainEvent, RecordedEvent,
    channels::{ChannelEvent, ChannelRole},
    ids::{AccountId, ChannelId},
    sealed::{BoxFuture, Keyring},
};
use sqlx::{PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{ApplyError, Projection, QueryError, accounts::ERASED_USERNAME};

/// An account with a role in a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamRow {
    /// The account.
    pub account_id: AccountId,
    /// Its username; [`ERASED_USERNAME`] for an erased person.
    pub username: String,
    /// Its role.
    pub role: ChannelRole,
    /// Since when.
    pub given_at: OffsetDateTime,
}

/// Questions about teams; from [`ReadModels::teams`](crate::ReadModels::teams).
#[derive(Debug, Clone, Copy)]
pub struct Teams<'a> {
    pub(crate) pool: &'a PgPool,
}

type Stored = (Uuid, Option<String>, String, OffsetDateTime);

impl Teams<'_> {
    /// Everybody with a role in a channel, by username.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn of_channel(&self, channel_id: ChannelId) -> Result<Vec<TeamRow>, QueryError> {
        let rows: Vec<Stored> = sqlx::query_as(
            "select team.account_id, account.username, team.role, team.given_at from read.teams_v1 team \
             left join read.accounts_v1 account on account.id = team.account_id \
             where team.channel_id = $1 and team.role is not null order by account.username, team.account_id",
        )
        .bind(channel_id.uuid())
        .fetch_all(self.pool)
        .await?;
        let row = |(account_id, username, role, given_at): Stored| {
            Some(TeamRow {
                account_id: account_id.into(),
                username: username.unwrap_or_else(|| ERASED_USERNAME.to_owned()),
                role: ChannelRole::from_stored(&role)?,
                given_at,
            })
        };
        Ok(rows.into_iter().filter_map(row).collect())
    }

    /// The roles that an account has in these channels; those where it has none are left out.
    ///
    /// # Errors
    /// [`QueryError`] when Postgres cannot be asked.
    pub async fn roles(
        &self,
        account_id: AccountId,
        channels: &[ChannelId],
    ) -> Result<HashMap<ChannelId, ChannelRole>, QueryError> {
        if channels.is_empty() {
            return Ok(HashMap::new());
        }
        let channels: Vec<Uuid> = channels.iter().map(|id| id.uuid()).collect();
        let rows: Vec<(Uuid, String)> = sqlx::query_as(
            "select channel_id, role from read.teams_v1 \
             where account_id = $1 and role is not null and channel_id = any($2)",
        )
        .bind(account_id.uuid())
        .bind(channels)
        .fetch_all(self.pool)
        .await?;
        Ok(rows.into_iter().filter_map(|(id, role)| Some((id.into(), ChannelRole::from_stored(&role)?))).collect())
    }
}

/// Keeps `teams_v1`.
#[derive(Debug, Clone, Copy)]
pub struct TeamsV1;

impl Projection for TeamsV1 {
    fn name(&self) -> &'static str {
        "teams_v1"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["teams_v1"]
    }

    fn events(&self) -> &'static [&'static [&'static str]] {
        &[&["channel.role_given", "channel.role_taken"]]
    }

    fn apply<'a>(
        &'a self,
        batch: &'a [&'a RecordedEvent],
        connection: &'a mut PgConnection,
        _: &'a dyn Keyring,
    ) -> BoxFuture<'a, Result<(), ApplyError>> {
        Box::pin(async move {
            let mut rows = HashMap::new();
            for recorded in batch {
                // Each says all there is to know of its row, so that the last one counts.
                match &recorded.event {
                    DomainEvent::Channel(ChannelEvent::RoleGiven {
                        channel_id, account_id, role, given_at, ..
                    }) => {
                        let key = (channel_id.uuid(), account_id.uuid());
                        rows.insert(key, (Some(role.as_str()), *given_at, recorded.position));
                    }
                    DomainEvent::Channel(ChannelEvent::RoleTaken { channel_id, account_id, taken_at, .. }) => {
                        let key = (channel_id.uuid(), account_id.uuid());
                        rows.insert(key, (None, *taken_at, recorded.position));
                    }
                    _ => {}
                }
            }
            if rows.is_empty() { Ok(()) } else { write(rows, connection).await }
        })
    }
}

type Row = (Option<&'static str>, OffsetDateTime, i64);

async fn write(rows: HashMap<(Uuid, Uuid), Row>, connection: &mut PgConnection) -> Result<(), ApplyError> {
    let (mut channels, mut accounts) = (Vec::new(), Vec::new());
    let (mut roles, mut given_at, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    for ((channel_id, account_id), (role, at, position)) in rows {
        channels.push(channel_id);
        accounts.push(account_id);
        roles.push(role);
        given_at.push(at);
        positions.push(position);
    }
    sqlx::query(
        "insert into teams_v1 (channel_id, account_id, role, given_at, position)
         select * from unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bigint[])
         on conflict (channel_id, account_id) do update set
             role = excluded.role, given_at = excluded.given_at, position = excluded.position
         where teams_v1.position < excluded.position",
    )
    .bind(channels)
    .bind(accounts)
    .bind(roles)
    .bind(given_at)
    .bind(positions)
    .execute(connection)
    .await?;
    Ok(())
}
