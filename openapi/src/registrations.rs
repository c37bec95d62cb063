//! Registration: who may make an account, and the invites for it.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Who may make an account: everybody (`open`), whoever has an invite of an administrator's (`invite`), nobody (`closed`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RegistrationMode {
    /// Everybody.
    Open,
    /// Whoever has an invite.
    Invite,
    /// Nobody.
    Closed,
}

/// What somebody has to know who wants an account.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Registration {
    /// Who may make one. The set-up token, which makes the first administrator, is good at any time.
    pub mode: RegistrationMode,
}

/// What administrators have said of the whole install.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// Who may make an account.
    pub registration: RegistrationMode,
}

/// What to change about the install; what is left out or `null` stays as it is.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSettingsRequest {
    /// Who may make an account from now on.
    #[serde(default)]
    #[schema(example = "invite")]
    pub registration: Option<RegistrationMode>,
}

/// A link by which accounts can be made; the link itself is shown once, when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RegistrationInvite {
    /// Its id, by which it is taken back.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d41")]
    pub id: Uuid,
    /// How many accounts it is for.
    #[schema(example = 5, minimum = 1, maximum = 1000)]
    pub max_uses: u32,
    /// How many were made by it, or are being made.
    #[schema(example = 2, minimum = 0)]
    pub uses: u32,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
    /// When it ends by itself. `null`: never.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-28T10:00:00Z")]
    pub expires_at: Option<OffsetDateTime>,
}

/// The registration invites that are good.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RegistrationInviteList {
    /// Newest first; 100 at most.
    pub items: Vec<RegistrationInvite>,
}

/// A registration invite to be made.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRegistrationInviteRequest {
    /// How many accounts it is for; one when left out.
    #[serde(default)]
    #[schema(nullable = false, example = 5, minimum = 1, maximum = 1000, default = 1)]
    pub max_uses: Option<u32>,
    /// After how many days it ends by itself, 1 to 365; left out for never.
    #[serde(default)]
    #[schema(nullable = false, example = 7, minimum = 1, maximum = 365)]
    pub days: Option<u16>,
}

/// A new registration invite, with its link.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct NewRegistrationInvite {
    /// The invite.
    pub invite: RegistrationInvite,
    /// The link, which is not shown again. Whoever has it may make an account.
    #[schema(format = "uri-reference", example = "https://weir.example.org/register#AZNaPHxefMGbHi8aSh6dIWgxk3")]
    pub url: String,
}
