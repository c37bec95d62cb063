//! Registration: who may make an account, and the invites for it. Making one is with accounts.

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::{
    CommandError, Done,
    registrations::{self, RegistrationError},
};
use domain::{
    ids::RegistrationInviteId,
    registrations::{self as rules, InstallRefusal, RegistrationInviteRefusal},
};
use openapi::{
    FieldError, Problem,
    operation::Accepted,
    registrations::{
        ChangeSettingsRequest, CreateRegistrationInviteRequest, NewRegistrationInvite, Registration,
        RegistrationInvite, RegistrationInviteList, RegistrationMode, Settings,
    },
};
use projections::{
    Projection,
    registrations::{RegistrationInviteRow, RegistrationInvitesV1},
};
use time::{Duration, OffsetDateTime};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    accounts::need_administrator,
    authentication::Authenticated,
    channels::principal,
    error::{ApiError, ApiResult},
    extract::{Json, Path},
    idempotency::{Answer, KeyedJson, once},
    operation::accepted,
    server::Server,
};

/// How many invites there may be that are good.
const AT_MOST: usize = 100;
const LONGEST_DAYS: u16 = 365;
const INVITES: &str = "/api/v1/admin/registration-invites";

/// What an invite is shown from.
const SHOWN_FROM: &[&dyn Projection] = &[&RegistrationInvitesV1];

pub(crate) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(get_registration))
        .routes(routes!(get_settings, change_settings))
        .routes(routes!(list_registration_invites, create_registration_invite))
        .routes(routes!(revoke_registration_invite))
}

/// Who may register
#[utoipa::path(
    get, path = "/api/v1/registration", operation_id = "get_registration", tag = "accounts",
    responses((status = 200, description = "Who may make an account.", body = Registration)),
)]
async fn get_registration(State(server): State<Arc<Server>>) -> ApiResult<JsonBody<Registration>> {
    let mode = registrations::mode(&server.commands).await?;
    Ok(JsonBody(Registration { mode: self::mode(mode) }))
}

/// Get the settings of the install
///
/// Administrators may.
#[utoipa::path(
    get, path = "/api/v1/admin/settings", operation_id = "get_settings", tag = "accounts",
    security(("access_token" = [])),
    responses(
        (status = 200, description = "What holds now.", body = Settings),
        (status = 403, description = "`forbidden`: only administrators may.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_settings(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
) -> ApiResult<JsonBody<Settings>> {
    need_administrator(&server, &authenticated).await?;
    settings(&server).await.map(JsonBody)
}

/// Change the settings of the install
///
/// Administrators may. It holds on every node at once.
#[utoipa::path(
    patch, path = "/api/v1/admin/settings", operation_id = "change_settings", tag = "accounts",
    request_body = ChangeSettingsRequest, security(("access_token" = [])),
    responses(
        (status = 200, description = "What holds now.", body = Settings),
        (status = 403, description = "`forbidden`: only administrators may; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: others are changing them at this moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn change_settings(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Json(ChangeSettingsRequest { registration }): Json<ChangeSettingsRequest>,
) -> ApiResult<JsonBody<Settings>> {
    need_administrator(&server, &authenticated).await?;
    let Some(mode) = registration else {
        return settings(&server).await.map(JsonBody);
    };
    let by = principal(&server, &authenticated).await?;
    let metadata = authenticated.metadata();
    let changed = registrations::change_mode(&server.commands, by, rules_mode(mode), metadata).await;
    changed.map_err(|error| ApiError::command(error, |InstallRefusal::NotAdministrator| no_administrator()))?;
    settings(&server).await.map(JsonBody).map_err(ApiError::half_done)
}

/// List the registration invites
///
/// Those that are neither taken back nor over, newest first, without their links. One that is used up (`uses` is `max_uses`) is
/// among them: a registration that was interrupted gives its place back when somebody next comes with the link. At most 100 of each.
/// Administrators may.
#[utoipa::path(
    get, path = "/api/v1/admin/registration-invites", operation_id = "list_registration_invites", tag = "accounts",
    security(("access_token" = [])),
    responses(
        (status = 200, description = "The invites.", body = RegistrationInviteList),
        (status = 403, description = "`forbidden`: only administrators may.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_registration_invites(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
) -> ApiResult<Response> {
    need_administrator(&server, &authenticated).await?;
    let rows = server.read.registration_invites().standing(OffsetDateTime::now_utc(), AT_MOST as i64).await?;
    let items = rows.into_iter().map(invite).collect();
    Ok(([(header::CACHE_CONTROL, "no-store")], JsonBody(RegistrationInviteList { items })).into_response())
}

/// Invite people to register
///
/// Makes a link by which accounts can be made while registration takes an invite. It is in this answer and not shown again; a
/// repeat with the same `Idempotency-Key` answers it, too. Administrators may.
#[utoipa::path(
    post, path = "/api/v1/admin/registration-invites", operation_id = "create_registration_invite", tag = "accounts",
    params(("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "A UUID or other text that is this request's own. Sent again within a day with the same key and body, it gets the first answer.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")),
    request_body = CreateRegistrationInviteRequest, security(("access_token" = [])),
    responses(
        (status = 201, description = "Made.", body = NewRegistrationInvite),
        (status = 202, description = "Made, but its link cannot be shown: it is not listed yet. Take it back and make another.", body = Accepted, headers(("Location" = String, description = "Where the invites are."))),
        (status = 403, description = "`forbidden`: only administrators may; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`too_many_registration_invites`: take one back first; `idempotency_in_flight`: the same request is being carried out.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`: a field is wrong or unknown; `idempotency_key_reused`: the key came with another request.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn create_registration_invite(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    KeyedJson(request, key): KeyedJson<CreateRegistrationInviteRequest>,
) -> ApiResult<Response> {
    need_administrator(&server, &authenticated).await?;
    let max_uses = request.max_uses.unwrap_or(1);
    if !(1..=rules::MOST_USES).contains(&max_uses) {
        return Err(out_of_range("/max_uses", format!("Use a number from 1 to {}.", rules::MOST_USES)));
    }
    if request.days.is_some_and(|days| !(1..=LONGEST_DAYS).contains(&days)) {
        let message =
            format!("Use a number from 1 to {LONGEST_DAYS}, or leave it out for an invite that does not end.");
        return Err(out_of_range("/days", message));
    }
    let carry_out = async |metadata| {
        let now = OffsetDateTime::now_utc();
        if server.read.registration_invites().good(now, AT_MOST as i64).await?.len() >= AT_MOST {
            return Err(ApiError::new(
                StatusCode::CONFLICT,
                "too_many_registration_invites",
                "There are too many invites",
            )
            .detail(format!("There may be {AT_MOST} invites at a time. Take one back first.")));
        }
        let expires_at = request.days.map(|days| now + Duration::days(days.into()));
        let by = principal(&server, &authenticated).await?;
        let made = registrations::create_invite(&server.commands, by, max_uses, expires_at, metadata).await;
        let made = made.map_err(refused)?;
        shown(&server, made.invite_id, made.position).await
    };
    let recalled = async |done: Done| {
        let invite_id = done.aggregate_id.parse().map_err(ApiError::internal)?;
        shown(&server, invite_id, done.position).await
    };
    once(&server, &authenticated, key, Answer::Secret, carry_out, recalled).await
}

/// Take a registration invite back
///
/// Nobody can make an account by it any more; those that were made stay. Administrators may.
#[utoipa::path(
    delete, path = "/api/v1/admin/registration-invites/{id}", operation_id = "revoke_registration_invite", tag = "accounts",
    params(("id" = String, Path, description = "The invite.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d41")),
    security(("access_token" = [])),
    responses(
        (status = 204, description = "It is taken back."),
        (status = 403, description = "`forbidden`: only administrators may; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such invite.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: others are changing it at this moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn revoke_registration_invite(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    need_administrator(&server, &authenticated).await?;
    let id: RegistrationInviteId = id.parse().map_err(|_| no_such_invite())?;
    let by = principal(&server, &authenticated).await?;
    let revoked = registrations::revoke_invite(&server.commands, id, by, authenticated.metadata()).await;
    server.has_read(SHOWN_FROM, revoked.map_err(refused)?).await;
    Ok(StatusCode::NO_CONTENT)
}

/// The refusal of somebody who wants an account; `accounts` says what else is wrong.
pub(crate) fn not_registered(
    error: RegistrationError,
    accounts: impl FnOnce(commands::accounts::AccountsError) -> ApiError,
) -> ApiError {
    match error {
        RegistrationError::Accounts(error) => accounts(error),
        RegistrationError::Closed => {
            ApiError::new(StatusCode::FORBIDDEN, "registration_closed", "Nobody can register here")
                .detail("The administrators of this Weir have closed registration. Ask them for an account.")
        }
        RegistrationError::InviteNeeded => {
            ApiError::new(StatusCode::FORBIDDEN, "registration_invite_needed", "Registering takes an invite")
                .detail("Ask an administrator of this Weir for an invite, and register by its link.")
        }
        RegistrationError::InviteNotGood => {
            ApiError::new(StatusCode::FORBIDDEN, "registration_invite_invalid", "This invite is not good").detail(
                "It was used up or taken back, is over, or was never one. Ask whoever gave it to you for another.",
            )
        }
    }
}

async fn settings(server: &Server) -> ApiResult<Settings> {
    Ok(Settings { registration: mode(registrations::mode(&server.commands).await?) })
}

/// 201 with an invite and its link.
async fn shown(server: &Server, id: RegistrationInviteId, position: i64) -> ApiResult<Response> {
    if server.has_read(SHOWN_FROM, position).await
        && let Ok(Some(row)) = server.read.registration_invites().by_id(id).await
    {
        // What comes after the # is sent to no server, and stands in no log.
        let secret = registrations::invite_secret(&server.commands, id);
        let url = server.addresses.page(&format!("/register#{secret}"));
        let new = NewRegistrationInvite { invite: invite(row), url };
        return Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], JsonBody(new)).into_response());
    }
    Ok(accepted(position, INVITES.to_owned()))
}

fn invite(row: RegistrationInviteRow) -> RegistrationInvite {
    let RegistrationInviteRow { id, max_uses, uses, expires_at, created_at } = row;
    let count = |count: i64| u32::try_from(count).unwrap_or_default();
    RegistrationInvite { id: id.uuid(), max_uses: count(max_uses), uses: count(uses), created_at, expires_at }
}

fn mode(mode: rules::RegistrationMode) -> RegistrationMode {
    match mode {
        rules::RegistrationMode::Open => RegistrationMode::Open,
        rules::RegistrationMode::Invite => RegistrationMode::Invite,
        rules::RegistrationMode::Closed => RegistrationMode::Closed,
    }
}

fn rules_mode(mode: RegistrationMode) -> rules::RegistrationMode {
    match mode {
        RegistrationMode::Open => rules::RegistrationMode::Open,
        RegistrationMode::Invite => rules::RegistrationMode::Invite,
        RegistrationMode::Closed => rules::RegistrationMode::Closed,
    }
}

fn out_of_range(pointer: &str, message: String) -> ApiError {
    ApiError::wrong_field(FieldError { pointer: pointer.into(), code: "range".into(), message: message.into() })
}

fn no_such_invite() -> ApiError {
    ApiError::not_found("There is no such registration invite.")
}

fn no_administrator() -> ApiError {
    ApiError::forbidden("Only administrators may do this.")
}

fn refused(error: CommandError<RegistrationInviteRefusal>) -> ApiError {
    ApiError::command(error, |refusal| match refusal {
        RegistrationInviteRefusal::Unknown => no_such_invite(),
        RegistrationInviteRefusal::NotAdministrator => no_administrator(),
        RegistrationInviteRefusal::AlreadyExists
        | RegistrationInviteRefusal::AlreadyOver
        | RegistrationInviteRefusal::Over
        | RegistrationInviteRefusal::UsedUp => ApiError::internal(refusal),
    })
}
