//! Accounts: registering, signing in and out, who am I.

pub mod privacy;
pub mod security_events;

pub mod email;
pub mod password_reset;
pub mod suspension;

mod profile;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

pub use self::profile::{AccountListQuery, Avatar, EditProfileRequest, PictureFile, Profile, PublicAccount};
use crate::Page;

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
    /// Whether the address was confirmed by a code that was mailed to it. A lost password can be reset only then.
    #[schema(example = true)]
    pub is_email_confirmed: bool,
    /// Whether it may administer the platform.
    #[schema(example = false)]
    pub is_administrator: bool,
    /// Whether signing in takes a code of an authenticator, too.
    #[schema(example = false)]
    pub has_second_factor: bool,
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
    /// What stands in the link of a registration invite after the `#`, where registration takes one.
    #[serde(default)]
    #[schema(example = "AZNaPHxefMGbHi8aSh6dIWgxk3", max_length = 100)]
    pub invite: Option<String>,
    /// The language of mails to it; left out for what `Accept-Language` says.
    #[serde(default)]
    #[schema(nullable = false)]
    pub language: Option<email::Language>,
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
    /// A code of the authenticator, or a recovery code, where the account has a second factor.
    #[serde(default)]
    #[schema(example = "123456", max_length = 32)]
    pub code: Option<String>,
}

/// Who wants to be forgotten.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EraseAccountRequest {
    /// The account's password, so that nobody is erased by a device that was left open.
    #[schema(example = "a river runs uphill", format = Password)]
    pub password: String,
    /// A code of the second factor, where the account has one.
    #[serde(default)]
    #[schema(example = "123456", max_length = 32)]
    pub code: Option<String>,
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
    /// Whether the account was to be erased, and stays because of this sign-in; left out otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(example = false)]
    pub has_cancelled_erasure: bool,
}

/// A device on which an account is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// Its id.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d11")]
    pub id: Uuid,
    /// Whether it is the one that asks.
    #[schema(example = true)]
    pub is_current: bool,
    /// The browser, as it says itself; `null` when it is none that is known.
    #[schema(required = true, example = "Firefox")]
    pub browser: Option<String>,
    /// The system, as the browser says; `null` when it is none that is known.
    #[schema(required = true, example = "Linux")]
    pub system: Option<String>,
    /// The network that it signed in from: its address without the end; `null` when it is not known.
    #[schema(required = true, example = "203.0.113.0/24")]
    pub network: Option<String>,
    /// When it signed in.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub opened_at: OffsetDateTime,
    /// When it was last used, to a quarter of an hour.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:45:00.123456Z")]
    pub last_used_at: OffsetDateTime,
}

/// Where an account is signed in.
pub type SessionPage = Page<Session>;

/// What a personal token may do: look at whatever its account may look at, stream keys excepted (`read`); create and edit
/// channels and recordings (`channels:write`); see and rotate stream keys (`stream_keys`); ask for exports and delete them
/// (`exports:write`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum PersonalTokenScope {
    /// Look.
    #[serde(rename = "read")]
    Read,
    /// Create and edit channels and recordings.
    #[serde(rename = "channels:write")]
    ChannelsWrite,
    /// See and rotate stream keys.
    #[serde(rename = "stream_keys")]
    StreamKeys,
    /// Ask for exports and delete them.
    #[serde(rename = "exports:write")]
    ExportsWrite,
}

/// What a person lets a program of theirs do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PersonalToken {
    /// Its id; not the token itself.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d12")]
    pub id: Uuid,
    /// What its owner calls it.
    #[schema(example = "The schedule on our site")]
    pub name: String,
    /// What it may do.
    pub scopes: Vec<PersonalTokenScope>,
    /// When it is worth nothing any more by itself.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2027-02-19T10:00:00.123456Z")]
    pub expires_at: OffsetDateTime,
    /// When it was made.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub created_at: OffsetDateTime,
    /// When it was last used, to the hour; `null` when it never was.
    #[serde(with = "time::serde::rfc3339::option")]
    #[schema(required = true, example = "2026-11-21T14:00:00Z")]
    pub last_used_at: Option<OffsetDateTime>,
}

/// The personal tokens of an account.
pub type PersonalTokenPage = Page<PersonalToken>;

/// A token that somebody wants.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatePersonalTokenRequest {
    /// What its owner calls it.
    #[schema(example = "The schedule on our site", min_length = 1, max_length = 50)]
    pub name: String,
    /// What it may do; at least one.
    #[schema(min_items = 1)]
    pub scopes: Vec<PersonalTokenScope>,
    /// After how many days it is worth nothing any more.
    #[schema(example = 90, minimum = 1, maximum = 366)]
    pub expires_in_days: u16,
    /// The account's password, again.
    #[schema(example = "a river runs uphill", format = Password)]
    pub password: String,
    /// A code of the second factor, where the account has one.
    #[serde(default)]
    #[schema(example = "123456", max_length = 32)]
    pub code: Option<String>,
}

/// A new token, which is shown this once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct CreatedPersonalToken {
    /// What it is.
    pub personal_token: PersonalToken,
    /// What goes into `Authorization: Bearer …`.
    #[schema(example = "weir_Zm9yIGFuIGV4YW1wbGUsIG5vdCBhIHRva2VuIGF0IGFsbA")]
    pub token: String,
}

/// Somebody who is signed in proves again who they are.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReauthenticationRequest {
    /// The account's password.
    #[schema(example = "a river runs uphill", format = Password)]
    pub password: String,
    /// A code of the second factor, where the account has one.
    #[serde(default)]
    #[schema(example = "123456", max_length = 32)]
    pub code: Option<String>,
}

/// Another password for an account.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePasswordRequest {
    /// The present one.
    #[schema(example = "a river runs uphill", format = Password)]
    pub password: String,
    /// The one to be: any characters; common passwords are refused.
    #[schema(example = "and then into the sea", format = Password, min_length = 8, max_length = 128)]
    pub new_password: String,
    /// A code of the second factor, where the account has one.
    #[serde(default)]
    #[schema(example = "123456", max_length = 32)]
    pub code: Option<String>,
    /// Whether every device but this one is signed out.
    #[serde(default)]
    #[schema(example = true)]
    pub end_other_sessions: bool,
}

/// What goes into an authenticator.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct PreparedSecondFactor {
    /// By which it is enabled.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d13")]
    pub id: Uuid,
    /// The secret in base 32, to be typed where there is no camera.
    #[schema(example = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")]
    pub secret: String,
    /// The same as an address that authenticators open.
    #[schema(
        example = "otpauth://totp/weir%2Eexample%2Eorg:mira?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=weir%2Eexample%2Eorg"
    )]
    pub uri: String,
    /// The address as a QR code: a picture in SVG.
    #[schema(example = "<svg xmlns=\"http://www.w3.org/2000/svg\"/>")]
    pub qr_svg: String,
}

/// A code that shows that the authenticator has the secret.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EnableSecondFactorRequest {
    /// What was prepared.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d13")]
    pub id: Uuid,
    /// What the authenticator shows.
    #[schema(example = "123456", max_length = 32)]
    pub code: String,
}

/// Codes that stand in for the authenticator, each once. They are shown this once.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct RecoveryCodes {
    /// The codes.
    #[schema(example = json!(["k7qm2-f9xc1"]))]
    pub codes: Vec<String>,
}
