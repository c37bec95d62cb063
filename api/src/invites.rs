//! Invites: links into a private channel. Its owner makes them, sees them and takes them back; whoever has one watches by it,
//! signed in or not.

use std::sync::Arc;

use axum::{
    Json as JsonBody,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::{
    CommandError, Done,
    invites::{self, Admission},
};
use domain::{channels::ChannelAct, ids::InviteId, invites::InviteRefusal};
use openapi::{
    FieldError, Problem,
    invites::{CreateInviteRequest, Invite, InviteList, InvitedChannel, UseInviteRequest},
    operation::Accepted,
    streams::StreamChannel,
};
use projections::{
    Projection,
    invites::{InviteRow, InvitesV1},
};
use time::{Duration, OffsetDateTime};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    authentication::Authenticated,
    channels::{allowed_by_handle, invited_token, not_allowed},
    error::{ApiError, ApiResult},
    extract::{Json, Path},
    idempotency::{Answer, KeyedJson, once},
    operation::accepted,
    server::Server,
};

/// How many invites a channel may have that are good.
const AT_MOST: usize = 100;
const LONGEST_DAYS: u16 = 365;

/// What an invite is shown from.
const SHOWN_FROM: &[&dyn Projection] = &[&InvitesV1];

pub(crate) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(list_invites, create_invite))
        .routes(routes!(revoke_invite))
        .routes(routes!(use_invite))
}

/// List the invites of a channel
///
/// Those that are good, newest first. Its owner may.
#[utoipa::path(
    get, path = "/api/v1/channels/{handle}/invites", operation_id = "list_invites", tag = "channels",
    params(("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks")),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "All of them.", body = InviteList),
        (status = 403, description = "`forbidden`: somebody else owns it.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_invites(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(handle): Path<String>,
) -> ApiResult<Response> {
    let channel = allowed_by_handle(&server, &authenticated, &handle, ChannelAct::ManageInvites).await?;
    let rows = server.read.invites().of_channel(channel.id, OffsetDateTime::now_utc(), AT_MOST as i64).await?;
    let items = rows.into_iter().map(|row| invite(&server, row)).collect();
    Ok(([(header::CACHE_CONTROL, "no-store")], JsonBody(InviteList { items })).into_response())
}

/// Invite somebody to a channel
///
/// Makes a link that lets its bearer watch, with or without an account, for as long as it is good. The channel's owner may.
#[utoipa::path(
    post, path = "/api/v1/channels/{handle}/invites", operation_id = "create_invite", tag = "channels",
    params(
        ("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks"),
        ("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "A UUID or other text that is this request's own. Sent again within a day with the same key and body, it gets the first answer.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00"),
    ),
    request_body = CreateInviteRequest, security(("access_token" = [])),
    responses(
        (status = 201, description = "Made.", body = Invite),
        (status = 202, description = "Made, but it is not listed yet.", body = Accepted, headers(("Location" = String, description = "Where the invites are."))),
        (status = 403, description = "`forbidden`: somebody else owns it.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`too_many_invites`: take one back first; `idempotency_in_flight`: the same request is being carried out.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`: a field is wrong or unknown; `idempotency_key_reused`: the key came with another request.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn create_invite(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(handle): Path<String>,
    KeyedJson(request, key): KeyedJson<CreateInviteRequest>,
) -> ApiResult<Response> {
    if request.days.is_some_and(|days| !(1..=LONGEST_DAYS).contains(&days)) {
        let message =
            format!("Use a number from 1 to {LONGEST_DAYS}, or leave it out for an invite that does not end.");
        let (pointer, code) = ("/days".into(), "range".into());
        return Err(ApiError::wrong_field(FieldError { pointer, code, message: message.into() }));
    }
    let channel = allowed_by_handle(&server, &authenticated, &handle, ChannelAct::ManageInvites).await?;
    let location = format!("/api/v1/channels/{}/invites", channel.handle);
    let carry_out = async |metadata| {
        let now = OffsetDateTime::now_utc();
        if server.read.invites().of_channel(channel.id, now, AT_MOST as i64).await?.len() >= AT_MOST {
            return Err(ApiError::new(StatusCode::CONFLICT, "too_many_invites", "The channel has too many invites")
                .detail(format!("A channel may have {AT_MOST} invites at a time. Take one back first.")));
        }
        let expires_at = request.days.map(|days| now + Duration::days(days.into()));
        let by = authenticated.account_id;
        let made = invites::create(&server.commands, channel.id, by, expires_at, metadata).await.map_err(refused)?;
        if server.has_read(SHOWN_FROM, made.position).await
            && let Ok(Some(row)) = server.read.invites().by_id(made.invite_id).await
        {
            return Ok(created(&server, row));
        }
        Ok(accepted(made.position, location.clone()))
    };
    let recalled = async |done: Done| {
        let invite_id: InviteId = done.aggregate_id.parse().map_err(ApiError::internal)?;
        server.has_read(SHOWN_FROM, done.position).await;
        let row = server.read.invites().by_id(invite_id).await?;
        let row = row.ok_or_else(|| ApiError::not_found("The invite was made, and is taken back by now."))?;
        Ok(created(&server, row))
    };
    once(&server, &authenticated, key, Answer::Secret, carry_out, recalled).await
}

/// Take an invite back
///
/// It lets nobody in any more, and whoever watches by it is sent away within a second. The channel's owner may.
#[utoipa::path(
    delete, path = "/api/v1/channels/{handle}/invites/{id}", operation_id = "revoke_invite", tag = "channels",
    params(
        ("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks"),
        ("id" = String, Path, description = "The invite.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d21"),
    ),
    security(("access_token" = [])),
    responses(
        (status = 204, description = "It is taken back."),
        (status = 403, description = "`forbidden`: somebody else owns it.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel, or no such invite of it.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: others are changing it at this moment.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn revoke_invite(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path((handle, id)): Path<(String, String)>,
) -> ApiResult<StatusCode> {
    let channel = allowed_by_handle(&server, &authenticated, &handle, ChannelAct::ManageInvites).await?;
    let id: InviteId = id.parse().map_err(|_| no_such_invite())?;
    // One of another channel, of the same owner perhaps, is none of this one.
    if invites::channel_of(&server.commands, id).await? != Some(channel.id) {
        return Err(no_such_invite());
    }
    let revoked = invites::revoke(&server.commands, id, authenticated.account_id, authenticated.metadata()).await;
    let position = revoked.map_err(|error| match error {
        // Of somebody else's channel nobody is told that there is one.
        CommandError::Refused(InviteRefusal::NotOwner) => no_such_invite(),
        error => refused(error),
    })?;
    server.has_read(SHOWN_FROM, position).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Watch by an invite
///
/// Shows the channel that an invite lets in, and where it plays. No account is needed. The addresses are good for twelve hours
/// at most, until the invite ends or is taken back, or until others may watch the channel than before: ask again then.
#[utoipa::path(
    post, path = "/api/v1/invites/use", operation_id = "use_invite", tag = "channels",
    request_body = UseInviteRequest,
    responses(
        (status = 200, description = "What it lets in.", body = InvitedChannel),
        (status = 404, description = "`invite_not_good`: it is none, was taken back, or is over.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn use_invite(State(server): State<Arc<Server>>, Json(request): Json<UseInviteRequest>) -> ApiResult<Response> {
    let not_good = || {
        ApiError::new(StatusCode::NOT_FOUND, "invite_not_good", "This invite lets nobody in")
            .detail("It was taken back, is over, or was never one. Ask whoever gave it to you for another.")
    };
    let admitted = invites::admit(&server.commands, &request.invite, OffsetDateTime::now_utc()).await?;
    let admission: Admission = admitted.ok_or_else(not_good)?;
    let row = server.read.channels().by_id(admission.channel_id).await?.ok_or_else(not_good)?;
    let token = invited_token(&server, &row, &admission);
    let text = token.as_ref().map(|token| token.text.as_str());
    let channel = InvitedChannel {
        hls_url: server.addresses.channel_hls(row.id, text),
        dash_url: server.addresses.channel_dash(row.id, text),
        is_live: row.live_stream_id.is_some(),
        description: row.description,
        channel: StreamChannel { id: row.id.uuid(), handle: row.handle, title: row.title },
        expires_at: token.map(|token| token.expires_at),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], JsonBody(channel)).into_response())
}

fn invite(server: &Server, row: InviteRow) -> Invite {
    let InviteRow { id, created_at, expires_at, .. } = row;
    // What comes after the # is sent to no server, and stands in no log.
    let url = server.addresses.page(&format!("/invite#{}", invites::secret(&server.commands, id)));
    Invite { id: id.uuid(), url, created_at, expires_at }
}

fn created(server: &Server, row: InviteRow) -> Response {
    (StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], JsonBody(invite(server, row))).into_response()
}

fn no_such_invite() -> ApiError {
    ApiError::not_found("This channel has no such invite.")
}

fn refused(error: CommandError<InviteRefusal>) -> ApiError {
    ApiError::command(error, |refusal| match refusal {
        InviteRefusal::Unknown => no_such_invite(),
        InviteRefusal::NotOwner => not_allowed(),
        InviteRefusal::AlreadyExists | InviteRefusal::AlreadyOver => {
            ApiError::internal("an invite was made a second time, or over at once")
        }
    })
}
