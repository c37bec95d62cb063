//! What the read models hold of one person, as JSON: for the copy that people can ask for.
//!
//! A capability that keeps something of a person adds a line to [`TABLES`]. What is sealed is handed out sealed; whoever asks
//! opens it.

use domain::ids::AccountId;
use futures::{StreamExt, TryStreamExt, stream::BoxStream};
use serde_json::Value;
use sqlx::PgPool;

use crate::QueryError;

/// Names of files, and what is in each: rows of JSON of the account `$1`, in order. Where an event was folded in, and on which
/// node something is, says nothing of a person. Who else had a part in something is not named: no row holds the id of another account.
pub const TABLES: &[(&str, &str)] = &[
    ("account", "select to_jsonb(it) - 'position' from read.accounts_v1 it where id = $1"),
    ("profile", "select to_jsonb(it) - 'position' from read.profiles_v1 it where account_id = $1"),
    (
        "sessions",
        "select to_jsonb(it) - 'position' from read.sessions_v1 it where account_id = $1 order by opened_at, id",
    ),
    (
        "personal-tokens",
        "select to_jsonb(it) - 'position' from read.personal_tokens_v1 it where account_id = $1 order by created_at, id",
    ),
    (
        "channels",
        "select to_jsonb(it) - 'position' from read.channels_v1 it where owner_id = $1 order by created_at, id",
    ),
    (
        "recording-settings",
        "select to_jsonb(it) - 'position' from read.recordings_v1_channels it where owner_id = $1 order by id",
    ),
    (
        "streams",
        "select to_jsonb(it) - 'position' - 'node_id' from read.streams_v1 it \
         where channel_id in (select id from read.channels_v1 where owner_id = $1) order by started_at, id",
    ),
    (
        "recordings",
        "select to_jsonb(it) - 'position' - 'node_id' from read.recordings_v1 it \
         where channel_id in (select id from read.channels_v1 where owner_id = $1) order by started_at, id",
    ),
    (
        "invites",
        "select to_jsonb(it) - 'position' from read.invites_v1 it \
         where channel_id in (select id from read.channels_v1 where owner_id = $1) order by created_at, id",
    ),
    (
        "roles",
        "select to_jsonb(it) - 'position' from read.teams_v1 it where account_id = $1 and role is not null order by given_at",
    ),
    (
        "suspension",
        "select to_jsonb(it) - 'position' - 'suspended_by' from read.suspensions_v1 it where account_id = $1",
    ),
    (
        "reports",
        "select to_jsonb(it) - 'position' - 'decided_by' - 'owner_id' - case when target_kind = 'account' then 'target_id' else '' end \
         from read.reports_v1 it where account_id = $1 order by filed_at, id",
    ),
    (
        "exports",
        "select (to_jsonb(it) - 'position') || case when right(filter->>'subject', 36) <> requested_by::text and \
             split_part(filter->>'subject', '/', 1) in ('account', 'email', 'password_reset', 'personal_export', 'profile', 'sign_in') \
             then jsonb_build_object('filter', filter - 'subject') else '{}' end \
         from read.exports_v1 it where requested_by = $1 order by created_at, id",
    ),
    (
        "security-events",
        "select (to_jsonb(it) - 'position' - 'by_id') || jsonb_build_object('by', case when by_id <> account_id then 'somebody else' end) \
         from read.security_events_v1 it where account_id = $1 order by at, id",
    ),
];

/// The rows of one of [`TABLES`] that are of this person.
#[must_use]
pub fn rows<'a>(pool: &'a PgPool, sql: &'a str, id: AccountId) -> BoxStream<'a, Result<Value, QueryError>> {
    sqlx::query_scalar(sql).bind(id.uuid()).fetch(pool).map_err(QueryError::from).boxed()
}
