//! Who is signed in proves again who they are, before an act that a borrowed or stolen session must not be able to do.

use axum::http::StatusCode;
use commands::{
    CommandError,
    accounts::{self, second_factor},
};
use zeroize::Zeroizing;

use super::second_factor::failed;
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    limits::{Policy, Quota},
    server::Server,
};

/// Checks the password, and the second factor where there is one.
///
/// # Errors
/// `password_wrong`, `second_factor_required`, `code_wrong` or `too_many_codes`.
pub(super) async fn check(server: &Server, by: &Authenticated, password: String, code: Option<&str>) -> ApiResult<()> {
    self::password(server, by, password).await?;
    second_factor::check_again(&server.commands, by.account_id, code).await.map_err(failed)
}

/// Checks the password alone.
///
/// # Errors
/// `password_wrong`, or `rate_limited` after too many of them.
pub(super) async fn password(server: &Server, by: &Authenticated, password: String) -> ApiResult<()> {
    let password = Zeroizing::new(password);
    let limits = server.access.rate_limits.as_ref();
    // By account: whoever has a stolen session may have many addresses.
    let taken = limits.map(|limits| limits.take(Policy::Password, &by.account_id.to_string())).transpose();
    let taken = taken.map_err(Quota::refusal)?;
    let verified = accounts::verify_password(&server.commands, by.account_id, &password).await;
    if !matches!(verified, Err(CommandError::Refused(_)))
        && let (Some(limits), Some(quota)) = (limits, taken)
    {
        limits.give_back(quota);
    }
    verified.map_err(|error| {
        ApiError::command(error, |_| {
            ApiError::new(StatusCode::FORBIDDEN, "password_wrong", "The password is wrong")
                .detail("The password is wrong. Nothing was changed.")
        })
    })
}
