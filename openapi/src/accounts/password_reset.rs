//! Another password for who has lost theirs.

use serde::Deserialize;
use utoipa::ToSchema;

/// Somebody has lost their password.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestPasswordResetRequest {
    /// The username, or the confirmed e-mail address, in any case.
    #[schema(example = "mira", max_length = 254)]
    pub account: String,
}

/// Somebody has the code of a reset.
#[derive(Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetPasswordRequest {
    /// The username, or the confirmed e-mail address, as the reset was asked for with.
    #[schema(example = "mira", max_length = 254)]
    pub account: String,
    /// What the mail says; how it is written does not matter.
    #[schema(example = "k7qm-2f9x", max_length = 32)]
    pub code: String,
    /// The password to be: any characters; common passwords are refused.
    #[schema(example = "and then into the sea", format = Password, min_length = 8, max_length = 128)]
    pub new_password: String,
    /// A code of the authenticator, or a recovery code, where the account has a second factor.
    #[serde(default)]
    #[schema(example = "123456", max_length = 32)]
    pub second_factor_code: Option<String>,
}
