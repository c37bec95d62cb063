//! Making somebody an administrator, and unmaking one.

use std::sync::Arc;

use axum::{extract::State, http::StatusCode, response::Response};
use commands::accounts::administrators;
use domain::{
    accounts::{AccountRefusal, AdministratorRefusal},
    ids::AccountId,
};
use openapi::{
    Problem,
    accounts::{ReauthenticationRequest, suspension::AdministeredAccount},
    operation::Accepted,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    reauthentication,
    suspension::{account_id, changed, need_administrator, not_found},
};
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::{Json, Path},
    server::Server,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(grant_administrator, revoke_administrator))
}

/// Make somebody an administrator
///
/// Administrators may, with their own password. That the account is an administrator's already makes no difference. It may do all that an administrator
/// may from then on, on every node.
#[utoipa::path(
    put, path = "/api/v1/admin/accounts/{id}/administrator", operation_id = "grant_administrator", tag = "accounts",
    params(("id" = String, Path, description = "The account.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")),
    request_body = ReauthenticationRequest, security(("access_token" = [])),
    responses(
        (status = 200, description = "The account as it is now.", body = AdministeredAccount),
        (status = 202, description = "It is an administrator's, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where the account is."))),
        (status = 403, description = "`forbidden`: only administrators may; `password_wrong`: the password is wrong; `second_factor_required`, `code_wrong`: the code is missing or wrong; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such account.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`not_while_suspended`: it is suspended; `not_while_leaving`: its owner has asked for its deletion; `conflict`: others are changing it at this moment.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn grant_administrator(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
    Json(request): Json<ReauthenticationRequest>,
) -> ApiResult<Response> {
    let account_id = proved(&server, &authenticated, &id, request).await?;
    let (by, metadata) = (Some(authenticated.account_id), authenticated.metadata());
    let granted = administrators::grant(&server.commands, account_id, by, metadata).await;
    let position = granted.map_err(|error| ApiError::command(error, refused))?;
    changed(&server, account_id, position).await
}

/// Take the right to administer
///
/// Administrators may, with their own password, from others and from themselves, as long as another administrator is left who is not suspended. That it is no
/// administrator's makes no difference. The right ends at once, on every node, and its owner is signed out everywhere, so that
/// what was opened by it ends, too; personal tokens are revoked for good.
#[utoipa::path(
    delete, path = "/api/v1/admin/accounts/{id}/administrator", operation_id = "revoke_administrator", tag = "accounts",
    params(("id" = String, Path, description = "The account.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")),
    request_body = ReauthenticationRequest, security(("access_token" = [])),
    responses(
        (status = 200, description = "The account as it is now.", body = AdministeredAccount),
        (status = 202, description = "It is no administrator's, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where the account is."))),
        (status = 403, description = "`forbidden`: only administrators may; `password_wrong`: the password is wrong; `second_factor_required`, `code_wrong`: the code is missing or wrong; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such account.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`last_administrator`: nobody could administer this install any more; `conflict`: others are changing it at this moment.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn revoke_administrator(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
    Json(request): Json<ReauthenticationRequest>,
) -> ApiResult<Response> {
    let account_id = proved(&server, &authenticated, &id, request).await?;
    let (by, metadata) = (Some(authenticated.account_id), authenticated.metadata());
    let revoked = administrators::revoke(&server.commands, account_id, by, metadata).await;
    let position = revoked.map_err(|error| ApiError::command(error, refused))?;
    server.know_ended().await;
    changed(&server, account_id, position).await
}

/// Which account it is about, once an administrator has shown who they are.
async fn proved(
    server: &Server,
    by: &Authenticated,
    id: &str,
    request: ReauthenticationRequest,
) -> ApiResult<AccountId> {
    need_administrator(server, by).await?;
    let account_id = account_id(id)?;
    reauthentication::check(server, by, request.password, request.code.as_deref()).await?;
    Ok(account_id)
}

fn refused(refusal: AccountRefusal) -> ApiError {
    let conflict = |code, title| ApiError::new(StatusCode::CONFLICT, code, title);
    match refusal {
        AccountRefusal::Unknown => not_found(),
        AccountRefusal::Administrator(AdministratorRefusal::Suspended) => {
            conflict("not_while_suspended", "The account is suspended").detail("Lift its suspension first.")
        }
        AccountRefusal::Administrator(AdministratorRefusal::BeingErased) => {
            conflict("not_while_leaving", "The account is about to be deleted")
                .detail("Its owner has asked for its deletion. They can call that off by signing in.")
        }
        AccountRefusal::Administrator(AdministratorRefusal::LastAdministrator) => {
            conflict("last_administrator", "This is the last administrator")
                .detail("Nobody could administer this install any more. Make somebody else an administrator first.")
        }
        AccountRefusal::Administrator(AdministratorRefusal::NotByAdministrator) => {
            ApiError::forbidden("Only administrators may do this.")
        }
        refusal => ApiError::internal(refusal),
    }
}
