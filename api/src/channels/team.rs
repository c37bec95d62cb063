//! The accounts that have a role in a channel: named by its owner and by administrators, seen by each other.

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::{CommandError, accounts, channels::team};
use domain::{
    channels::{self as rules, ChannelAct, ChannelRefusal},
    ids::AccountId,
};
use openapi::{
    Problem,
    channels::{ChannelRole, ChannelStanding, GiveRoleRequest, TeamAccount, TeamList, TeamMember},
    operation::Accepted,
};
use projections::{
    Projection,
    accounts::AccountsV1,
    channels::ChannelsV1,
    teams::{TeamRow, TeamsV1},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{allowed_by_handle, by_handle, principal, refused};
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::{Json, Path},
    limits::{Policy, RateLimits},
    operation::accepted,
    server::Server,
};

/// What a team is shown from; and what says what one is to a channel.
const SHOWN_FROM: &[&dyn Projection] = &[&AccountsV1, &ChannelsV1, &TeamsV1];

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(list_team)).routes(routes!(give_role, take_role))
}

/// List a channel's team
///
/// Everybody with a role in it, by username. Its owner, its team and administrators may.
#[utoipa::path(
    get, path = "/api/v1/channels/{handle}/team", operation_id = "list_team", tag = "channels",
    params(("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks")),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "All of them.", body = TeamList),
        (status = 403, description = "`forbidden`: you have no role in the channel.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_team(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(handle): Path<String>,
) -> ApiResult<Response> {
    let channel = allowed_by_handle(&server, &authenticated, &handle, ChannelAct::SeeTeam).await?;
    let rows = server.read.teams().of_channel(channel.id).await?;
    let items = rows.into_iter().map(member).collect();
    Ok(([(header::CACHE_CONTROL, "no-store")], JsonBody(TeamList { items })).into_response())
}

/// Give somebody a role in a channel
///
/// In place of any that they had; they are not asked, and may leave. The channel's owner may, and administrators. It counts at once.
/// Whoever becomes a moderator may have been an editor before: addresses of recordings end as when a role is taken.
#[utoipa::path(
    put, path = "/api/v1/channels/{handle}/team/{username}", operation_id = "give_role", tag = "channels",
    params(
        ("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks"),
        ("username" = String, Path, description = "Who gets it, in any case.", example = "noor"),
    ),
    request_body = GiveRoleRequest, security(("access_token" = [])),
    responses(
        (status = 200, description = "They have it.", body = TeamMember),
        (status = 202, description = "They have it, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where the team is."))),
        (status = 403, description = "`forbidden`: somebody else owns the channel; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel; `account_not_found`: nobody has this username.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`owner_needs_no_role`: it is the owner's username; `team_full`: take somebody's role first; `conflict`: others are changing the channel at this moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn give_role(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path((handle, username)): Path<(String, String)>,
    Json(GiveRoleRequest { role }): Json<GiveRoleRequest>,
) -> ApiResult<Response> {
    let channel = allowed_by_handle(&server, &authenticated, &handle, ChannelAct::ManageTeam).await?;
    // Whoever gets a role finds it in the list of what happened to their account: nobody is to fill that.
    RateLimits::take_of(server.access.rate_limits.as_ref(), Policy::Team, authenticated.account_id)?;
    let account_id = account(&server, &username).await?;
    let by = principal(&server, &authenticated).await?;
    let role = rules_role(role);
    let given = team::give_role(&server.commands, channel.id, by, account_id, role, authenticated.metadata()).await;
    let position = given.map_err(|error| match error {
        CommandError::Refused(ChannelRefusal::NoAccount) => no_account(),
        error => refused(error),
    })?;
    if server.has_read(SHOWN_FROM, position).await
        && let Ok(rows) = server.read.teams().of_channel(channel.id).await
        && let Some(row) = rows.into_iter().find(|row| row.account_id == account_id)
    {
        return Ok(JsonBody(member(row)).into_response());
    }
    Ok(accepted(position, format!("/api/v1/channels/{}/team", channel.handle)))
}

/// Take somebody's role in a channel
///
/// The channel's owner may, administrators, and whoever has the role: they leave. That somebody has none makes no difference. What
/// it gave ends at once. Addresses that were given out for it end within a second, and downloads that are under way are cut:
/// of a private channel's stream and recordings, of archived recordings, and of downloads that viewers may not have. Such
/// addresses of everybody else end, too; whoever still may gets new ones.
#[utoipa::path(
    delete, path = "/api/v1/channels/{handle}/team/{username}", operation_id = "take_role", tag = "channels",
    params(
        ("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks"),
        ("username" = String, Path, description = "Who has it, in any case.", example = "noor"),
    ),
    security(("access_token" = [])),
    responses(
        (status = 204, description = "They have none."),
        (status = 403, description = "`forbidden`: somebody else owns the channel; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel; `account_not_found`: nobody has this username.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: others are changing the channel at this moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn take_role(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path((handle, username)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    // Whether it is their own is for the channel itself to see.
    let channel = by_handle(&server, Some(&authenticated), &handle).await?;
    RateLimits::take_of(server.access.rate_limits.as_ref(), Policy::Team, authenticated.account_id)?;
    let account_id = account(&server, &username).await?;
    let by = principal(&server, &authenticated).await?;
    let taken = team::take_role(&server.commands, channel.id, Some(by), account_id, authenticated.metadata()).await;
    server.has_read(SHOWN_FROM, taken.map_err(refused)?).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn account(server: &Server, username: &str) -> ApiResult<AccountId> {
    let found = accounts::by_username(&server.commands, username).await.map_err(ApiError::unavailable)?;
    found.ok_or_else(no_account)
}

fn no_account() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "account_not_found", "Nobody has this username")
        .detail("There is no account with this username. Check how it is written.")
}

fn member(row: TeamRow) -> TeamMember {
    let TeamRow { account_id, username, role, given_at } = row;
    TeamMember { account: TeamAccount { id: account_id.uuid(), username }, role: self::role(role), given_at }
}

pub(super) fn role(role: rules::ChannelRole) -> ChannelRole {
    match role {
        rules::ChannelRole::Moderator => ChannelRole::Moderator,
        rules::ChannelRole::Editor => ChannelRole::Editor,
    }
}

fn rules_role(role: ChannelRole) -> rules::ChannelRole {
    match role {
        ChannelRole::Moderator => rules::ChannelRole::Moderator,
        ChannelRole::Editor => rules::ChannelRole::Editor,
    }
}

pub(super) fn standing(role: rules::ChannelRole) -> ChannelStanding {
    match role {
        rules::ChannelRole::Moderator => ChannelStanding::Moderator,
        rules::ChannelRole::Editor => ChannelStanding::Editor,
    }
}
