//! Who is signed in proves again who they are, before an act that a borrowed or stolen session must not be able to do.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use commands::{
    CommandError,
    accounts::{self, proofs, second_factor},
};
use openapi::{Problem, accounts::ReauthenticationRequest};
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

use super::second_factor::failed;
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::Json,
    limits::{Policy, Quota},
    server::Server,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(prove_session))
}

/// Prove my session
///
/// Shows again who has the session, by password and, where there is one, second factor. For ten minutes, as after signing in, it may see
/// and replace stream keys.
#[utoipa::path(
    post, path = "/api/v1/auth/session/proof", operation_id = "prove_session", tag = "accounts",
    security(("access_token" = [])),
    request_body = ReauthenticationRequest,
    responses(
        (status = 204, description = "Proved."),
        (status = 403, description = "`password_wrong`: the password is wrong; `second_factor_required`, `code_wrong`: the code is missing or wrong; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn prove_session(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<ReauthenticationRequest>,
) -> ApiResult<StatusCode> {
    check(&server, &authenticated, request.password, request.code.as_deref()).await?;
    proofs::note(&server.commands, authenticated.session_id).await.map_err(ApiError::unavailable)?;
    Ok(StatusCode::NO_CONTENT)
}

/// That whoever asks has proved who they are in the last minutes. A program has, when its token was made for what it asks.
///
/// # Errors
/// `reauthentication_required`.
pub(crate) async fn need_proof(server: &Server, by: &Authenticated) -> ApiResult<()> {
    if by.is_program || proofs::is_proved(&server.commands, by.session_id).await.map_err(ApiError::unavailable)? {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "reauthentication_required", "Show again who you are").detail(
        "It is more than ten minutes since you signed in. Give your password to `POST /api/v1/auth/session/proof`, and ask again.",
    ))
}

/// Checks the password, and the second factor where there is one.
///
/// # Errors
/// `password_wrong`, `second_factor_required`, `code_wrong` or `too_many_codes`.
pub(super) async fn check(server: &Server, by: &Authenticated, password: String, code: Option<&str>) -> ApiResult<()> {
    self::password(server, by, password).await?;
    if second_factor::check_again(&server.commands, by.account_id, code).await.map_err(failed)? {
        by.used_code();
    }
    Ok(())
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
