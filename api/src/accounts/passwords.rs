//! Changing the password.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode};
use commands::accounts::{self, AccountsError};
use openapi::{Problem, accounts::ChangePasswordRequest};
use utoipa_axum::{router::OpenApiRouter, routes};
use zeroize::Zeroizing;

use super::{SHOWN_FROM, reauthentication, sessions as shown};
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::Json,
    server::Server,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(change_password))
}

/// Change my password
///
/// Takes the present one, and with `end_other_sessions` signs out every device but this one
/// and revokes all personal tokens, within seconds also where the answer does not arrive.
#[utoipa::path(
    put, path = "/api/v1/auth/password", operation_id = "change_password", tag = "accounts",
    security(("access_token" = [])),
    request_body = ChangePasswordRequest,
    responses(
        (status = 204, description = "Changed."),
        (status = 403, description = "`password_wrong`: the present password is wrong; `second_factor_required`, `code_wrong`: the code of the second factor is missing or wrong; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn change_password(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<ChangePasswordRequest>,
) -> ApiResult<StatusCode> {
    let ChangePasswordRequest { password, new_password, code, end_other_sessions } = request;
    let new_password = Zeroizing::new(new_password);
    reauthentication::check(&server, &authenticated, password, code.as_deref()).await?;
    let account_id = authenticated.account_id;
    let ends_all_but = end_other_sessions.then_some(authenticated.session_id);
    let metadata = authenticated.metadata();
    let changed = accounts::change_password(&server.commands, account_id, &new_password, ends_all_but, metadata).await;
    let position = changed.map_err(|error| match error {
        AccountsError::Invalid(mut invalid) => {
            invalid.iter_mut().for_each(|invalid| invalid.field = "new_password");
            ApiError::validation_failed(invalid)
        }
        AccountsError::Command(error) => ApiError::command(error, ApiError::internal),
        error @ AccountsError::SetupTokenWrong => ApiError::internal(error),
    })?;
    if end_other_sessions {
        shown::has_ended(&server, position).await;
    }
    server.has_read(SHOWN_FROM, position).await;
    Ok(StatusCode::NO_CONTENT)
}
