//! Suspending accounts, accounts as administrators see them, and what a suspended person is told.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{Limit, Page};

/// Why and until when somebody cannot sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SuspensionNotice {
    /// What the administrator wrote.
    #[schema(example = "Somebody else's films, after two warnings.")]
    pub reason: String,
    /// When it is over by itself; `null`: not before an administrator lifts it.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-28T10:00:00Z")]
    pub until: Option<OffsetDateTime>,
}

/// A suspension that holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Suspension {
    /// Why, as its owner is told when they sign in.
    #[schema(example = "Somebody else's films, after two warnings.")]
    pub reason: String,
    /// When it is over by itself; `null`: not before an administrator lifts it.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-28T10:00:00Z")]
    pub until: Option<OffsetDateTime>,
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub suspended_at: OffsetDateTime,
    /// The username of the administrator who did it; `null` for Weir itself, and for somebody who was erased since.
    #[schema(required = true, example = "keeper")]
    pub by: Option<String>,
}

/// An account as administrators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AdministeredAccount {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")]
    pub id: Uuid,
    /// Its unique name, in lower case.
    #[schema(example = "mira")]
    pub username: String,
    /// Whether it may administer the platform.
    #[schema(example = false)]
    pub is_administrator: bool,
    /// Whether signing in takes a code of an authenticator, too.
    #[schema(example = false)]
    pub has_second_factor: bool,
    /// How many channels it has.
    #[schema(example = 2, minimum = 0)]
    pub channel_count: i64,
    /// When it was registered.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
    /// Its suspension; `null` when it is not suspended.
    #[schema(required = true)]
    pub suspension: Option<Suspension>,
}

/// Some accounts.
pub type AdministeredAccountPage = Page<AdministeredAccount>;

/// Whether an account is suspended (`suspended`) or not (`active`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// It is not.
    Active,
    /// It is.
    Suspended,
}

/// Which accounts to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AdministeredAccountsQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20, example = 20)]
    pub limit: Limit,
    /// `next_cursor` of the page before.
    #[param(max_length = 512)]
    pub after: Option<String>,
    /// Only those with this in their username, in any case.
    #[param(max_length = 25, example = "mira")]
    pub search: Option<String>,
    /// Only those in this state.
    #[param(inline)]
    pub state: Option<AccountState>,
}

/// Keep somebody out.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SuspendAccountRequest {
    /// Why, in words for its owner, who reads them when they sign in.
    #[schema(example = "Somebody else's films, after two warnings.", min_length = 1, max_length = 500)]
    pub reason: String,
    /// When it is over by itself (RFC 3339); left out: not before an administrator lifts it.
    #[serde(default, with = "time::serde::rfc3339::option")]
    #[schema(example = "2026-11-28T10:00:00Z")]
    pub until: Option<OffsetDateTime>,
}
