//! What happened to the safety of accounts.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{Limit, Page};

/// Something that happened to the safety of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecurityEvent {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d14")]
    pub id: Uuid,
    /// What happened: a type of the event catalogue. More may be added at any time.
    #[schema(example = "session.opened")]
    pub kind: String,
    /// When.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub at: OffsetDateTime,
    /// Whose account.
    pub account: SecurityEventAccount,
    /// Who did it, where that is not the account itself; `null` otherwise.
    #[schema(required = true)]
    pub by: Option<SecurityEventAccount>,
    /// A word that says why, or what was wrong, `token_reused` for example; `null` where there is none.
    #[schema(required = true, example = "wrong_password")]
    pub reason: Option<String>,
    /// How often, or how many are left; `null` where there is nothing to count.
    #[schema(required = true, example = 3, minimum = 0)]
    pub count: Option<i64>,
    /// The handle of the channel that it is about; `null` where there is none.
    #[schema(required = true, example = "river_talks")]
    pub channel: Option<String>,
    /// The browser, as it said itself; `null` when it is none that is known, or was forgotten.
    #[schema(required = true, example = "Firefox")]
    pub browser: Option<String>,
    /// The system, as the browser said; `null` when it is none that is known, or was forgotten.
    #[schema(required = true, example = "Linux")]
    pub system: Option<String>,
    /// The network: an address without the end; `null` when it is not known, or was forgotten.
    #[schema(required = true, example = "203.0.113.0/24")]
    pub network: Option<String>,
}

/// Some security events.
pub type SecurityEventPage = Page<SecurityEvent>;

/// An account that a security event names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecurityEventAccount {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")]
    pub id: Uuid,
    /// Its username; `null` for somebody who was erased.
    #[schema(required = true, example = "mira")]
    pub username: Option<String>,
}

/// Which of my security events to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OwnSecurityEventsQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20, example = 20)]
    pub limit: Limit,
    /// `next_cursor` of the page before.
    #[param(max_length = 512)]
    pub after: Option<String>,
}

/// Which security events to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SecurityEventsQuery {
    /// Only of this account: its username or its id.
    #[param(max_length = 64, example = "mira")]
    pub account: Option<String>,
    /// Only what is of this kind.
    #[param(max_length = 64, example = "sign_in.failed")]
    pub kind: Option<String>,
    /// Only what happened at this time (RFC 3339) or later.
    #[param(max_length = 40, example = "2026-11-01T00:00:00Z")]
    pub from: Option<String>,
    /// Only what happened before this time (RFC 3339).
    #[param(max_length = 40, example = "2026-12-01T00:00:00Z")]
    pub to: Option<String>,
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20, example = 20)]
    pub limit: Limit,
    /// `next_cursor` of the page before.
    #[param(max_length = 512)]
    pub after: Option<String>,
}
