//! Personal tokens: made, listed, revoked.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json as JsonBody,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::accounts::personal_tokens::{self, CreatePersonalToken};
use domain::{
    accounts::{PERSONAL_TOKEN_MAX_DAYS, PersonalTokenName, PersonalTokenRefusal, PersonalTokenScope},
    ids::PersonalTokenId,
};
use openapi::{
    FieldError, Problem,
    accounts::{
        CreatePersonalTokenRequest, CreatedPersonalToken, PersonalToken, PersonalTokenPage,
        PersonalTokenScope as WireScope,
    },
};
use projections::{Projection, accounts::PersonalTokensV1};
use time::{Duration, OffsetDateTime};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{reauthentication, sessions::opened};
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::{Json, Path},
    server::Server,
};

/// What tokens are shown from.
const SHOWN_FROM: &[&dyn Projection] = &[&PersonalTokensV1];
const PATH: &str = "/api/v1/auth/tokens";
/// More than an account may have.
const MOST: i64 = 100;

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(list_personal_tokens, create_personal_token))
        .routes(routes!(revoke_personal_token))
}

/// List my personal tokens
///
/// Those that were not revoked, the newest first, without their secrets.
#[utoipa::path(
    get, path = "/api/v1/auth/tokens", operation_id = "list_personal_tokens", tag = "accounts",
    security(("access_token" = [])),
    responses(
        (status = 200, description = "The tokens.", body = PersonalTokenPage),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_personal_tokens(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
) -> ApiResult<JsonBody<PersonalTokenPage>> {
    let rows = server.read.personal_tokens().of_account(authenticated.account_id, MOST).await?;
    let used = personal_tokens::last_used(&server.commands, authenticated.account_id).await;
    let used: HashMap<_, _> = used.map_err(ApiError::unavailable)?.into_iter().collect();
    let names = opened(&server, rows.iter().map(|row| &row.name)).await?;
    let items = rows.into_iter().zip(names).map(|(row, name)| PersonalToken {
        id: row.id.uuid(),
        name,
        scopes: row.scopes.into_iter().map(wire).collect(),
        expires_at: row.expires_at,
        created_at: row.created_at,
        last_used_at: used.get(&row.id).copied(),
    });
    Ok(JsonBody(PersonalTokenPage { items: items.collect(), next_cursor: None }))
}

/// Create a personal token
///
/// For a program of one's own, as `Authorization: Bearer weir_…`. The token is in this answer and never shown again. It may do
/// what its scopes say, as this account; never change how the account signs in.
#[utoipa::path(
    post, path = "/api/v1/auth/tokens", operation_id = "create_personal_token", tag = "accounts",
    security(("access_token" = [])),
    request_body = CreatePersonalTokenRequest,
    responses(
        (status = 201, description = "The token, this once.", body = CreatedPersonalToken,
            headers(("Location" = String, description = "Where it is revoked."))),
        (status = 403, description = "`password_wrong`: the password is wrong; `second_factor_required`, `code_wrong`: the code of the second factor is missing or wrong; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_codes`: too many codes were wrong; wait a quarter of an hour.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`too_many_tokens`: this account has 50 tokens.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn create_personal_token(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(request): Json<CreatePersonalTokenRequest>,
) -> ApiResult<Response> {
    let CreatePersonalTokenRequest { name, scopes, expires_in_days, password, code } = request;
    let parsed = PersonalTokenName::parse(&name).map_err(|invalid| ApiError::validation_failed([invalid]))?;
    if scopes.is_empty() {
        return Err(wrong_field("/scopes", "missing", "Choose at least one scope."));
    }
    if !(1..=PERSONAL_TOKEN_MAX_DAYS).contains(&expires_in_days) {
        return Err(wrong_field("/expires_in_days", "out_of_range", "Give a number of days from 1 to 366."));
    }
    reauthentication::check(&server, &authenticated, password, code.as_deref()).await?;
    let expires_at = domain::timestamp::cut(OffsetDateTime::now_utc()) + Duration::days(expires_in_days.into())
        - Duration::minutes(1);
    let mut scopes: Vec<_> = scopes.into_iter().map(of_wire).collect();
    scopes.sort_unstable();
    scopes.dedup();
    let create = CreatePersonalToken {
        account_id: authenticated.account_id,
        session_id: Some(authenticated.session_id),
        name: parsed.clone(),
        scopes: scopes.clone(),
        expires_at,
        metadata: authenticated.metadata(),
    };
    let created = personal_tokens::create(&server.commands, create).await.map_err(|error| {
        ApiError::command(error, |refusal| match refusal {
            PersonalTokenRefusal::TooMany => {
                ApiError::new(StatusCode::CONFLICT, "too_many_tokens", "There are too many tokens")
                    .detail("This account has as many tokens as it may have. Revoke one that is not needed any more.")
            }
            PersonalTokenRefusal::Unknown => ApiError::unauthenticated("The account no longer exists."),
            PersonalTokenRefusal::SessionEnded => ApiError::unauthenticated("The session has ended; sign in again."),
            refusal => ApiError::internal(refusal),
        })
    })?;
    server.has_read(SHOWN_FROM, created.position).await;
    let token = PersonalToken {
        id: created.token_id.uuid(),
        name: parsed.as_str().to_owned(),
        scopes: scopes.into_iter().map(wire).collect(),
        expires_at,
        created_at: domain::timestamp::cut(OffsetDateTime::now_utc()),
        last_used_at: None,
    };
    let location =
        [(header::LOCATION, format!("{PATH}/{}", created.token_id)), (header::CACHE_CONTROL, "no-store".to_owned())];
    let body = CreatedPersonalToken { personal_token: token, token: created.token.to_string() };
    Ok((StatusCode::CREATED, location, JsonBody(body)).into_response())
}

/// Revoke a personal token
///
/// It is refused by every node within a second.
#[utoipa::path(
    delete, path = "/api/v1/auth/tokens/{id}", operation_id = "revoke_personal_token", tag = "accounts",
    params(("id" = String, Path, description = "The token's id.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d12")),
    security(("access_token" = [])),
    responses(
        (status = 204, description = "It is worth nothing any more."),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: this account has no such token.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn revoke_personal_token(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    let not_found = || ApiError::not_found("This account has no such token, or not any more.");
    let token_id: PersonalTokenId = id.parse().map_err(|_| not_found())?;
    let metadata = authenticated.metadata();
    let revoked = personal_tokens::revoke(&server.commands, authenticated.account_id, token_id, metadata).await;
    // Also of one that has failed: the token may be worthless by then.
    server.know_ended().await;
    let position = revoked.map_err(|error| ApiError::command(error, |_| not_found()))?;
    server.has_read(SHOWN_FROM, position).await;
    Ok(StatusCode::NO_CONTENT)
}

fn wrong_field(pointer: &str, code: &'static str, message: &'static str) -> ApiError {
    ApiError::wrong_field(FieldError { pointer: pointer.to_owned(), code: code.into(), message: message.into() })
}

fn wire(scope: PersonalTokenScope) -> WireScope {
    match scope {
        PersonalTokenScope::Read => WireScope::Read,
        PersonalTokenScope::ChannelsWrite => WireScope::ChannelsWrite,
        PersonalTokenScope::StreamKeys => WireScope::StreamKeys,
        PersonalTokenScope::ExportsWrite => WireScope::ExportsWrite,
    }
}

fn of_wire(scope: WireScope) -> PersonalTokenScope {
    match scope {
        WireScope::Read => PersonalTokenScope::Read,
        WireScope::ChannelsWrite => PersonalTokenScope::ChannelsWrite,
        WireScope::StreamKeys => PersonalTokenScope::StreamKeys,
        WireScope::ExportsWrite => PersonalTokenScope::ExportsWrite,
    }
}
