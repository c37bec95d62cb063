//! Accounts: registering, signing in and out, who am I.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// A person who can sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")]
    pub id: Uuid,
    /// Its unique name, in lower case.
    #[schema(example = "mira")]
    pub username: String,
    /// Its e-mail address; only its owner sees it, for everybody else the field is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "mira@example.org", format = Email, nullable = false)]
    pub email: Option<String>,
    /// Whether it may administer the platform.
    #[schema(example = false)]
    pub is_administrator: bool,
    /// When it was registered.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
    /// When it last changed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub updated_at: OffsetDateTime,
    /// Grows with every change.
    #[schema(example = 1, minimum = 1)]
    pub version: i64,
}

/// A new account.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RegisterRequest {
    /// The name by which it signs in: a to z, 0 to 9 and `_`. Upper case is made lower.
    #[schema(example = "mira", min_length = 3, max_length = 25, pattern = "^[A-Za-z0-9_]+$")]
    pub username: String,
    /// Where mail reaches its owner.
    #[schema(example = "mira@example.org", format = Email, max_length = 254)]
    pub email: String,
    /// Any characters; common passwords are refused.
    #[schema(example = "a river runs uphill", format = Password, min_length = 8, max_length = 128)]
    pub password: String,
    /// The token that `weir up` prints when it first starts: whoever registers with it is the administrator.
    #[serde(default)]
    #[schema(example = "weir-setup-4f1c", max_length = 256)]
    pub setup_token: Option<String>,
}

/// Who signs in.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// The username, in any case.
    #[schema(example = "mira")]
    pub username: String,
    /// The password.
    #[schema(example = "a river runs uphill", format = Password)]
    pub password: String,
}

/// Who wants to be forgotten.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseAccountRequest {
    /// The account's password, so that nobody is erased by a device that was left open.
    #[schema(example = "a river runs uphill", format = Password)]
    pub password: String,
}

/// A session: a short-lived token in the body, and the means to get the next one in a cookie.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SignedIn {
    /// Who is signed in.
    pub account: Account,
    /// What goes into `Authorization: Bearer …`.
    #[schema(example = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.e30.c2lnbmF0dXJl")]
    pub access_token: String,
    /// How long the access token is good for, in seconds.
    #[schema(example = 900, minimum = 1)]
    pub expires_in: u32,
}
