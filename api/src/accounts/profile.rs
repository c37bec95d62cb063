//! What people show of themselves: their own profile to edit, their picture, and what everybody sees.

mod avatar;
mod public;

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::{
    CommandError,
    accounts::profile::{self as profiles, EditProfile, ProfilesError},
};
use domain::{
    accounts::{AvatarName, ProfileRefusal},
    ids::AccountId,
};
use openapi::{
    Problem,
    accounts::{Avatar, EditProfileRequest, Profile},
    operation::Accepted,
};
use projections::{
    Projection,
    accounts::{AccountsV1, ProfileRow, ProfilesV1},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub(crate) use self::avatar::{PATH as AVATAR_PATH, serve as serve_avatar};
use crate::{
    authentication::Authenticated,
    conditional,
    error::{ApiError, ApiResult},
    extract::{IfMatch, Json},
    operation::accepted,
    server::Server,
};

/// What a profile is shown from.
const SHOWN_FROM: &[&dyn Projection] = &[&AccountsV1, &ProfilesV1];
const PATH: &str = "/api/v1/me";

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(get_my_profile, edit_my_profile))
        .merge(avatar::routes())
        .merge(public::routes())
}

/// Get my profile
///
/// What one shows of oneself, to be edited.
#[utoipa::path(
    get, path = "/api/v1/me", operation_id = "get_my_profile", tag = "accounts",
    params(("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed.")),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "The profile of the account that is signed in.", body = Profile, headers(("ETag" = String, description = "Of the body."))),
        (status = 304, description = "Nothing has changed."),
        (status = 403, description = "`scope_missing`: the personal token may not read.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_my_profile(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let row = own(&server, authenticated.account_id).await?;
    let mut response = conditional::json(&headers, &profile(&server, row))?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    Ok(response)
}

/// Edit my profile
///
/// What one is called and tells of oneself; everybody sees it. With `If-Match` the edit is refused when the profile has changed
/// in between.
#[utoipa::path(
    patch, path = "/api/v1/me", operation_id = "edit_my_profile", tag = "accounts",
    params(("If-Match" = Option<String>, Header, nullable = false, pattern = r#"^(\*|"[0-9]{1,18}")$"#, description = "The `version` that the edit was made from, in quotes.", example = "\"1\"")),
    request_body = EditProfileRequest, security(("access_token" = [])),
    responses(
        (status = 200, description = "The profile as it is now.", body = Profile),
        (status = 202, description = "Changed, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where the profile is."))),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: it is being changed at this moment.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "`version_stale`: it was changed in between.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn edit_my_profile(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    IfMatch(expected_version): IfMatch,
    Json(request): Json<EditProfileRequest>,
) -> ApiResult<Response> {
    let EditProfileRequest { display_name, bio } = request;
    let (account_id, metadata) = (authenticated.account_id, authenticated.metadata());
    let edit = EditProfile { account_id, expected_version, display_name, bio, metadata };
    let position = profiles::edit(&server.commands, edit).await.map_err(|error| match error {
        ProfilesError::Invalid(invalid) => ApiError::validation_failed(invalid),
        ProfilesError::Command(error) => refused(error),
    })?;
    Ok(changed(&server, account_id, position).await)
}

/// The answer to a change that is in the log.
async fn changed(server: &Server, account_id: AccountId, position: i64) -> Response {
    // It is done: a read that fails is one that has to wait.
    if server.has_read(SHOWN_FROM, position).await
        && let Ok(Some(row)) = server.read.profiles().by_account(account_id).await
    {
        return (StatusCode::OK, JsonBody(profile(server, row))).into_response();
    }
    accepted(position, PATH.to_owned())
}

/// Whoever has a session has an account, so that a read model without it is behind.
async fn own(server: &Server, account_id: AccountId) -> ApiResult<ProfileRow> {
    if let Some(row) = server.read.profiles().by_account(account_id).await? {
        return Ok(row);
    }
    let head = commands::events::head(server.commands.pool()).await.map_err(ApiError::unavailable)?;
    server.has_read(SHOWN_FROM, head).await;
    let row = server.read.profiles().by_account(account_id).await?;
    row.ok_or_else(|| ApiError::unavailable("the read model does not have the account yet"))
}

fn profile(server: &Server, row: ProfileRow) -> Profile {
    Profile {
        id: row.account_id.uuid(),
        username: row.username,
        display_name: row.display_name,
        bio: row.bio.unwrap_or_default(),
        avatar: avatar_of(server, row.account_id, row.avatar.as_ref()),
        updated_at: row.updated_at,
        version: row.version,
    }
}

/// Where the picture of an account is, if it has one.
pub(crate) fn avatar_of(server: &Server, account_id: AccountId, avatar: Option<&AvatarName>) -> Option<Avatar> {
    let avatar = avatar?;
    let [small, large] = avatar::SIDES;
    let address = |side| server.addresses.page(&avatar::path(account_id, avatar, side));
    Some(Avatar { small_url: address(small), large_url: address(large) })
}

fn refused(error: CommandError<ProfileRefusal>) -> ApiError {
    ApiError::command(error, |refusal| match refusal {
        ProfileRefusal::NoAccount => ApiError::unauthenticated("The account no longer exists."),
        ProfileRefusal::VersionStale { current } => {
            ApiError::new(StatusCode::PRECONDITION_FAILED, "version_stale", "The profile was changed in between")
                .detail(format!("The profile is at version {current}. Look at how it is now and edit that."))
        }
    })
}
