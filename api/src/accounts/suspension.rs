//! Accounts as administrators see them, suspending them, and what a suspended person is told.

use std::{borrow::Cow, sync::Arc};

use axum::{
    Json as JsonBody,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use commands::accounts::suspension::{self, Suspend, SuspensionError};
use domain::{
    Invalid,
    accounts::{AccountRefusal, SuspensionRefusal},
    ids::AccountId,
    sealed::Opened,
};
use openapi::{
    FieldError, Problem,
    accounts::suspension::{
        AccountState, AdministeredAccount, AdministeredAccountPage, AdministeredAccountsQuery, SuspendAccountRequest,
        Suspension, SuspensionNotice,
    },
    operation::Accepted,
};
use projections::{
    Projection,
    accounts::{AccountFilter, AccountsV1, AdministeredAccountRow, SuspensionsV1},
    channels::ChannelsV1,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::{Json, Path, Query},
    operation::{accepted, cursor, page},
    server::Server,
};

const PATH: &str = "/api/v1/admin/accounts";
/// What an administrator sees of an account.
const SHOWN_FROM: &[&dyn Projection] = &[&AccountsV1, &ChannelsV1, &SuspensionsV1];

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(list_administered_accounts))
        .routes(routes!(get_administered_account))
        .routes(routes!(suspend_account, reinstate_account))
}

/// List accounts
///
/// Administrators may. Newest first; erased people are not among them.
#[utoipa::path(
    get, path = "/api/v1/admin/accounts", operation_id = "list_administered_accounts", tag = "accounts",
    params(AdministeredAccountsQuery), security(("access_token" = [])),
    responses(
        (status = 200, description = "Some accounts.", body = AdministeredAccountPage, headers(
            ("Link" = String, description = "`rel=\"next\"`: the next page, if there is one."))),
        (status = 403, description = "`forbidden`: only administrators may; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_administered_accounts(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Query(query): Query<AdministeredAccountsQuery>,
) -> ApiResult<Response> {
    need_administrator(&server, &authenticated).await?;
    let after = cursor(query.after.as_deref())?;
    let AdministeredAccountsQuery { limit, search, state, .. } = query;
    if search.as_ref().is_some_and(|search| search.contains('\0')) {
        return Err(ApiError::query_invalid("search", "characters", "Leave out control characters."));
    }
    let mut pairs = vec![("limit", limit.get().to_string())];
    pairs.extend(search.clone().map(|search| ("search", search)));
    pairs.extend(state.map(|state| ("state", state_text(state).to_owned())));
    let filter = AccountFilter { search, suspended: state.map(|state| state == AccountState::Suspended) };
    let found = server.read.administered_accounts().page(&filter, after.as_ref(), limit.get().into()).await?;
    let next = found.next;
    let items = accounts(&server, found.items).await?;
    page(PATH, &pairs, projections::Page { items, next }, &HeaderMap::new(), |account| account)
}

/// Get an account
///
/// Administrators may.
#[utoipa::path(
    get, path = "/api/v1/admin/accounts/{id}", operation_id = "get_administered_account", tag = "accounts",
    params(("id" = String, Path, description = "The account.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "The account.", body = AdministeredAccount),
        (status = 403, description = "`forbidden`: only administrators may; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such account.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_administered_account(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
) -> ApiResult<JsonBody<AdministeredAccount>> {
    need_administrator(&server, &authenticated).await?;
    shown(&server, account_id(&id)?).await.map(JsonBody)
}

/// Suspend an account
///
/// Administrators may; once more changes reason and end. Its owner is signed out everywhere within a second, its personal
/// tokens are revoked for good, its streams end and no new ones start. Signing in says why and until when. Meanwhile its
/// channels and what they hold are not to be seen. It is over by itself at its end.
#[utoipa::path(
    put, path = "/api/v1/admin/accounts/{id}/suspension", operation_id = "suspend_account", tag = "accounts",
    params(("id" = String, Path, description = "The account.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")),
    request_body = SuspendAccountRequest, security(("access_token" = [])),
    responses(
        (status = 200, description = "The account as it is now.", body = AdministeredAccount),
        (status = 202, description = "Suspended, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where the account is."))),
        (status = 403, description = "`forbidden`: only administrators may; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such account.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`own_account`: nobody suspends themselves; `last_administrator`: nobody could administer this install any more; `conflict`: others are changing it at this moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn suspend_account(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
    Json(request): Json<SuspendAccountRequest>,
) -> ApiResult<Response> {
    need_administrator(&server, &authenticated).await?;
    let account_id = account_id(&id)?;
    let SuspendAccountRequest { reason, until } = request;
    let (by, metadata) = (authenticated.account_id, authenticated.metadata());
    let suspend = Suspend { account_id, by, reason, until, metadata };
    let position = suspension::suspend(&server.commands, suspend).await.map_err(not_suspended)?;
    server.know_ended().await;
    changed(&server, account_id, position).await
}

/// Lift the suspension of an account
///
/// Administrators may; that it is not suspended makes no difference. Its owner can sign in again, its channels are to be seen
/// again, and its stream keys are good as before.
#[utoipa::path(
    delete, path = "/api/v1/admin/accounts/{id}/suspension", operation_id = "reinstate_account", tag = "accounts",
    params(("id" = String, Path, description = "The account.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "The account as it is now.", body = AdministeredAccount),
        (status = 202, description = "Lifted, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where the account is."))),
        (status = 403, description = "`forbidden`: only administrators may; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such account.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: others are changing it at this moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn reinstate_account(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
) -> ApiResult<Response> {
    need_administrator(&server, &authenticated).await?;
    let account_id = account_id(&id)?;
    let (by, metadata) = (authenticated.account_id, authenticated.metadata());
    let reinstated = suspension::reinstate(&server.commands, account_id, by, metadata).await;
    let position = reinstated.map_err(|error| ApiError::command(error, refused))?;
    changed(&server, account_id, position).await
}

/// Says to somebody whose password and code were right that they are suspended, if they are. To nobody else: that somebody is,
/// and why, is not for everybody.
///
/// # Errors
/// `account_suspended`.
pub(super) async fn refuse(server: &Server, account_id: AccountId) -> ApiResult<()> {
    let current = suspension::current(&server.commands, account_id).await;
    let current = current.map_err(|error| ApiError::command(error, ApiError::internal))?;
    let Some(suspension::CurrentSuspension { reason, until }) = current else { return Ok(()) };
    let mut problem = Problem::new(403, "account_suspended", "The account is suspended").detail(match until {
        Some(_) => {
            "An administrator has suspended this account for a time: `suspension` says why, and until when. Whoever runs this server can \
             lift it, send you a copy of your data, or erase the account: write to them."
        }
        None => {
            "An administrator has suspended this account: `suspension` says why. Whoever runs this server can lift it, send you a copy \
             of your data, or erase the account: write to them."
        }
    });
    problem.suspension = Some(SuspensionNotice { reason, until });
    Err(problem.into())
}

/// That an administrator asks.
///
/// # Errors
/// `forbidden`.
pub(crate) async fn need_administrator(server: &Server, by: &Authenticated) -> ApiResult<()> {
    if commands::accounts::is_administrator(&server.commands, by.account_id).await? {
        Ok(())
    } else {
        Err(ApiError::forbidden("Only administrators may do this."))
    }
}

/// Why an account was not suspended; the pointers are those of a body with `reason` and `until`.
pub(crate) fn not_suspended(error: SuspensionError) -> ApiError {
    match error {
        SuspensionError::Invalid(invalid) => {
            ApiError::validation_failed(invalid.into_iter().map(|invalid| Invalid { field: "reason", ..invalid }))
        }
        SuspensionError::Command(error) => ApiError::command(error, refused),
    }
}

fn refused(refusal: AccountRefusal) -> ApiError {
    match refusal {
        AccountRefusal::Unknown => not_found(),
        AccountRefusal::Suspension(SuspensionRefusal::OwnAccount) => {
            ApiError::new(StatusCode::CONFLICT, "own_account", "This is your own account")
                .detail("Nobody can suspend themselves. Another administrator can.")
        }
        AccountRefusal::Suspension(SuspensionRefusal::LastAdministrator) => {
            ApiError::new(StatusCode::CONFLICT, "last_administrator", "This is the last administrator")
                .detail("Nobody could administer this install any more.")
        }
        AccountRefusal::Suspension(SuspensionRefusal::AlreadyOver) => ApiError::wrong_field(FieldError {
            pointer: "/until".to_owned(),
            code: "past".into(),
            message: "Give a time that is still to come, or leave it out.".into(),
        }),
        refusal => ApiError::internal(refusal),
    }
}

pub(super) fn not_found() -> ApiError {
    ApiError::not_found("There is no account with this id.")
}

pub(super) fn account_id(id: &str) -> ApiResult<AccountId> {
    id.parse().map_err(|_| not_found())
}

/// 200 with the account, or 202 when it cannot be read yet.
pub(super) async fn changed(server: &Server, account_id: AccountId, position: i64) -> ApiResult<Response> {
    if server.has_read(SHOWN_FROM, position).await
        && let Ok(account) = shown(server, account_id).await
    {
        return Ok(JsonBody(account).into_response());
    }
    Ok(accepted(position, format!("{PATH}/{account_id}")))
}

async fn shown(server: &Server, account_id: AccountId) -> ApiResult<AdministeredAccount> {
    let row = server.read.administered_accounts().by_id(account_id).await?.ok_or_else(not_found)?;
    let mut accounts = accounts(server, vec![row]).await?;
    accounts.pop().ok_or_else(not_found)
}

/// As administrators see them, in their order.
async fn accounts(server: &Server, rows: Vec<AdministeredAccountRow>) -> ApiResult<Vec<AdministeredAccount>> {
    let sealed = rows.iter().filter_map(|row| row.suspension.as_ref()).map(|held| Cow::Borrowed(&held.reason));
    let opened = server.commands.keyring().open(sealed.collect()).await.map_err(ApiError::unavailable)?;
    let mut reasons = opened.into_iter().map(|opened| Opened::or(opened, ""));
    let account = |row: AdministeredAccountRow| AdministeredAccount {
        id: row.id.uuid(),
        username: row.username,
        is_administrator: row.is_administrator,
        has_second_factor: row.has_second_factor,
        channel_count: row.channel_count,
        created_at: row.created_at,
        suspension: row.suspension.map(|held| Suspension {
            reason: reasons.next().unwrap_or_default(),
            until: held.until,
            suspended_at: held.suspended_at,
            by: held.by,
        }),
    };
    Ok(rows.into_iter().map(account).collect())
}

fn state_text(state: AccountState) -> &'static str {
    match state {
        AccountState::Active => "active",
        AccountState::Suspended => "suspended",
    }
}
