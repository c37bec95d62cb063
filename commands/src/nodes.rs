//! Nodes that take streams in: each says every few seconds that it is there, in a row and not in the log, for who ends the streams
//! of those that are gone.

use std::time::Duration;

use domain::ids::NodeId;
use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

/// How often a node says that it is there.
pub const BEAT_EVERY: Duration = Duration::from_secs(2);

/// A node whose last beat is older has missed several of them: it is gone, stuck, or cut off from Postgres.
pub const UNHEARD_AFTER: Duration = Duration::from_secs(10);

/// A node that was heard of, and has not left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeardNode {
    /// The node.
    pub node_id: NodeId,
    /// Where other nodes find its streams, `http://10.0.0.5:8080` for example, if it says.
    pub address: Option<String>,
    /// When it was last heard of, by the clock of Postgres.
    pub heard_at: OffsetDateTime,
    /// How long ago that is, by the same clock.
    pub silence: Duration,
}

impl HeardNode {
    /// Whether it has missed several beats.
    #[must_use]
    pub fn is_unheard(&self) -> bool {
        self.silence >= UNHEARD_AFTER
    }
}

/// Says that a node is there, which others find at `address`.
///
/// # Errors
/// When Postgres does not answer.
pub async fn beat(pool: &PgPool, node_id: NodeId, address: Option<&str>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into log.nodes (node_id, address) values ($1, $2) \
         on conflict (node_id) do update set address = excluded.address, heard_at = excluded.heard_at",
    )
    .bind(node_id.uuid())
    .bind(address)
    .execute(pool)
    .await?;
    Ok(())
}

/// Says that a node has stopped in order. It is fine if it was not known.
///
/// # Errors
/// When Postgres does not answer.
pub async fn leave(pool: &PgPool, node_id: NodeId) -> Result<(), sqlx::Error> {
    sqlx::query("delete from log.nodes where node_id = $1").bind(node_id.uuid()).execute(pool).await?;
    Ok(())
}

/// All nodes that were heard of and have not left, by their ids.
///
/// # Errors
/// When Postgres does not answer.
pub async fn all(pool: &PgPool) -> Result<Vec<HeardNode>, sqlx::Error> {
    find(pool, None).await
}

/// A node; `None` when it was never heard of, has left, or was forgotten.
///
/// # Errors
/// When Postgres does not answer.
pub async fn by_id(pool: &PgPool, node_id: NodeId) -> Result<Option<HeardNode>, sqlx::Error> {
    Ok(find(pool, Some(node_id)).await?.into_iter().next())
}

/// Forgets nodes of which nothing was heard for so long; how many. One that comes back is known again.
///
/// # Errors
/// When Postgres does not answer.
pub async fn forget(pool: &PgPool, unheard_for: Duration) -> Result<u64, sqlx::Error> {
    let forgotten = sqlx::query("delete from log.nodes where heard_at < clock_timestamp() - make_interval(secs => $1)")
        .bind(unheard_for.as_secs_f64())
        .execute(pool)
        .await?;
    Ok(forgotten.rows_affected())
}

async fn find(pool: &PgPool, node_id: Option<NodeId>) -> Result<Vec<HeardNode>, sqlx::Error> {
    let rows: Vec<(Uuid, Option<String>, OffsetDateTime, f64)> = sqlx::query_as(
        "select node_id, address, heard_at, greatest(extract(epoch from clock_timestamp() - heard_at), 0)::float8 \
         from log.nodes where $1::uuid is null or node_id = $1 order by node_id",
    )
    .bind(node_id.map(NodeId::uuid))
    .fetch_all(pool)
    .await?;
    let heard = rows.into_iter().map(|(node_id, address, heard_at, silence_s)| HeardNode {
        node_id: node_id.into(),
        address,
        heard_at,
        silence: Duration::from_secs_f64(silence_s),
    });
    Ok(heard.collect())
}
