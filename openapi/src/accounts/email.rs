//! The e-mail address of an account: confirming it, and changing it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A language that people are written to in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// English.
    En,
    /// Ukrainian.
    Uk,
    /// Russian.
    Ru,
    /// French.
    Fr,
}

/// A code is on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailedCode {
    /// Until when it is good.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-22T10:00:00.123456Z")]
    pub expires_at: OffsetDateTime,
    /// When another may be asked for; asked before, nothing is mailed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:01:00.123456Z")]
    pub again_at: OffsetDateTime,
}

/// The codes of a change are on their way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MailedCodes {
    /// Until when they are good.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-22T10:00:00.123456Z")]
    pub expires_at: OffsetDateTime,
    /// When others may be asked for; asked before, nothing is mailed.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:01:00.123456Z")]
    pub again_at: OffsetDateTime,
    /// Whether a code went to the present address, too, and is needed: that is so where it is confirmed.
    #[schema(example = true)]
    pub needs_present_code: bool,
}

/// Somebody wants a code at the address of their account.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestEmailConfirmationRequest {
    /// The language of this mail and of those to come; left out for the one of before.
    #[serde(default)]
    #[schema(nullable = false)]
    pub language: Option<Language>,
}

/// A code that was mailed.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmEmailRequest {
    /// What the mail says; how it is written does not matter.
    #[schema(example = "k7qm-2f9x", max_length = 32)]
    pub code: String,
}

/// Somebody wants another address.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestEmailChangeRequest {
    /// The address to be.
    #[schema(example = "mira@example.net", format = Email, max_length = 254)]
    pub email: String,
    /// The account's password.
    #[schema(example = "a river runs uphill", format = Password)]
    pub password: String,
    /// A code of the second factor, where the account has one.
    #[serde(default)]
    #[schema(example = "123456", max_length = 32)]
    pub code: Option<String>,
    /// The language of these mails and of those to come; left out for the one of before.
    #[serde(default)]
    #[schema(nullable = false)]
    pub language: Option<Language>,
}

/// The codes that were mailed for a change.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeEmailRequest {
    /// What the mail to the address to be says.
    #[schema(example = "k7qm-2f9x", max_length = 32)]
    pub new_code: String,
    /// What the mail to the present address says, where one went there.
    #[serde(default)]
    #[schema(example = "c0de-1s9t", max_length = 32)]
    pub present_code: Option<String>,
}
