//! Channels: creating, listing, editing, how they were, their stream keys and teams.

mod as_of;
mod rights;
mod stream_key;
mod team;

use std::{collections::HashMap, sync::Arc};

use axum::{
    Json as JsonBody,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use commands::{
    CommandError, Done,
    channels::{self, ChannelsError},
};
use domain::{
    accounts::Username,
    channels::{self as rules, ChannelAct, ChannelRefusal, ChannelRole, Handle},
};
use openapi::{
    Problem,
    channels::{
        Channel, ChannelAnswer, ChannelOwner, ChannelPage, ChannelPlayback, ChannelQuery, ChannelStanding,
        ChannelsQuery, CreateChannelRequest, EditChannelRequest, Visibility,
    },
    operation::Accepted,
    streams::Playback,
};
use projections::{
    Projection,
    accounts::AccountsV1,
    channels::{ChannelFilter, ChannelRow, ChannelsV1},
    streams::StreamsV1,
};
pub(crate) use rights::{Rights, allows, authorise, invited_token, may_watch, not_allowed, playback_token, principal};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    accounts::avatar_of,
    authentication::Authenticated,
    conditional,
    error::{ApiError, ApiResult},
    extract::{IfMatch, Json, Path, Query},
    idempotency::{Answer, KeyedJson, once},
    limits::{Policy, RateLimits},
    operation::{accepted, cursor, page},
    server::Server,
};

/// What a channel is shown from: its owner's name is the account's.
const SHOWN_FROM: &[&dyn Projection] = &[&AccountsV1, &ChannelsV1];

/// What else shows or hides with it.
const LISTED_FROM: &[&dyn Projection] = &[&AccountsV1, &ChannelsV1, &StreamsV1];

pub(crate) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(list_channels, create_channel))
        .routes(routes!(get_channel, edit_channel))
        .routes(routes!(get_channel_playback))
        .merge(stream_key::routes())
        .merge(team::routes())
}

/// List channels
///
/// Public ones, newest first; with `mine` one's own and those in which one has a role, also when they are not public.
#[utoipa::path(
    get, path = "/api/v1/channels", operation_id = "list_channels", tag = "channels",
    params(ChannelsQuery, ("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed.")),
    security((), ("access_token" = [])),
    responses(
        (status = 200, description = "Some channels.", body = ChannelPage, headers(
            ("ETag" = String, description = "Of the body."),
            ("Link" = String, description = "`rel=\"next\"`: the next page, if there is one."))),
        (status = 304, description = "Nothing has changed."),
    ),
)]
async fn list_channels(
    State(server): State<Arc<Server>>,
    authenticated: Option<Authenticated>,
    Query(query): Query<ChannelsQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let after = cursor(query.after.as_deref())?;
    let is_mine = query.mine == Some(true);
    let (mut owner, mut member) = (None, None);
    if is_mine {
        let needed = || ApiError::unauthenticated("Your own channels need an access token.");
        let by = authenticated.as_ref().ok_or_else(needed)?;
        member = Some(by.account_id);
    }
    if let Some(username) = &query.account {
        let username = Username::parse(username)
            .map_err(|invalid| ApiError::query_invalid("account", invalid.code, invalid.message))?;
        let account = server.read.accounts().by_username(username.as_str()).await?;
        match account {
            Some(account) => owner = Some(account.id),
            None => return conditional::json(&headers, &ChannelPage { items: Vec::new(), next_cursor: None }),
        }
    }
    let visibility = (!is_mine).then_some(rules::Visibility::Public);
    let filter = ChannelFilter { live: query.live, owner, member, visibility };
    let mut found = server.read.channels().page(filter, after.as_ref(), query.limit.get().into()).await?;
    let by = authenticated.as_ref();
    // The list comes from read models, which may not know yet of a role that was taken; an address to watch at is of the log.
    let mut watched = Vec::with_capacity(found.items.len());
    for row in found.items {
        if may_watch(&server, by, Rights { channel_id: row.id, visibility: row.visibility }).await? {
            watched.push(row);
        }
    }
    found.items = watched;
    let roles = match by {
        Some(by) => {
            let shown: Vec<_> = found.items.iter().map(|row| row.id).collect();
            server.read.teams().roles(by.account_id, &shown).await?
        }
        None => HashMap::new(),
    };
    let render = |row: ChannelRow| {
        let role = roles.get(&row.id).copied();
        channel_with_role(&server, row, by, role)
    };
    let mut response = page("/api/v1/channels", &query_text(&query), found, &headers, render)?;
    // What one is to a channel is said to nobody else.
    if by.is_some() {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    Ok(response)
}

fn query_text(query: &ChannelsQuery) -> Vec<(&'static str, String)> {
    let mut pairs = vec![("limit", query.limit.get().to_string())];
    pairs.extend(query.live.map(|live| ("live", live.to_string())));
    pairs.extend(query.account.clone().map(|account| ("account", account)));
    pairs.extend(query.mine.map(|mine| ("mine", mine.to_string())));
    pairs
}

/// Create a channel
///
/// An account may own several: as many as the operator allows, 50 unless set.
#[utoipa::path(
    post, path = "/api/v1/channels", operation_id = "create_channel", tag = "channels",
    params(("Idempotency-Key" = Option<String>, Header, nullable = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$", description = "A UUID or other text that is this request's own. Sent again within a day with the same key and body, it gets the first answer.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")),
    request_body = CreateChannelRequest, security(("access_token" = [])),
    responses(
        (status = 201, description = "Created.", body = Channel, headers(("Location" = String, description = "Where the channel is."))),
        (status = 202, description = "Created, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where the channel will be."))),
        (status = 409, description = "`handle_taken`: another channel has this handle; `too_many_channels`: the account has as many as it may; `idempotency_in_flight`: the same request is being carried out.", body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "`validation_failed`: a field is wrong, missing or unknown; `idempotency_key_reused`: the key came with another request.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn create_channel(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    KeyedJson(request, key): KeyedJson<CreateChannelRequest>,
) -> ApiResult<Response> {
    let owner_id = authenticated.account_id;
    let carry_out = async |metadata| {
        let location = address(&request.handle.to_ascii_lowercase());
        let CreateChannelRequest { handle, title, description } = request;
        let description = description.unwrap_or_default();
        if let Some(at_most) = server.access.max_channels {
            channels::need_room(&server.commands, owner_id, at_most).await.map_err(refused)?;
        }
        RateLimits::take_of(server.access.rate_limits.as_ref(), Policy::Channel, owner_id)?;
        let create = channels::CreateChannel { owner_id, handle, title, description, metadata };
        let created = channels::create(&server.commands, create).await.map_err(not_changed)?;
        // It is done: a read that fails is one that has to wait.
        if server.has_read(SHOWN_FROM, created.position).await
            && let Ok(Some(row)) = server.read.channels().by_id(created.channel_id).await
        {
            return Ok(new_channel(&server, row, &authenticated));
        }
        Ok(accepted(created.position, location))
    };
    let recalled = async |done: Done| {
        let channel_id = done.aggregate_id.parse().map_err(ApiError::internal)?;
        server.has_read(SHOWN_FROM, done.position).await;
        let row = server.read.channels().by_id(channel_id).await?;
        let row = row.ok_or_else(|| ApiError::not_found("The channel was created, and is there no more."))?;
        Ok(new_channel(&server, row, &authenticated))
    };
    once(&server, &authenticated, key, Answer::Kept, carry_out, recalled).await
}

fn new_channel(server: &Server, row: ChannelRow, by: &Authenticated) -> Response {
    let location = [(header::LOCATION, address(&row.handle))];
    (StatusCode::CREATED, location, JsonBody(channel(server, row, Some(by)))).into_response()
}

/// Get a channel
///
/// As it is, or with `as_of` as it was: its settings at a time or a position of the log, also of a channel that was closed
/// since. Its owner and administrators may ask how it was; they and its team may look at it while it is private; to everybody else a
/// private channel is none.
#[utoipa::path(
    get, path = "/api/v1/channels/{handle}", operation_id = "get_channel", tag = "channels",
    params(
        ChannelQuery,
        ("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed."),
    ),
    security((), ("access_token" = [])),
    responses(
        (status = 200, description = "The channel.", body = ChannelAnswer, headers(("ETag" = String, description = "Of the body."))),
        (status = 304, description = "Nothing has changed."),
        (status = 400, description = "`query_invalid`: `as_of` is neither a time nor a position; `position_beyond_head`: the log does not reach that far.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: somebody else asks how it was.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel, or was none at that point.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_channel(
    State(server): State<Arc<Server>>,
    as_of::Asked(asked): as_of::Asked,
    authenticated: Option<Authenticated>,
    Path(handle): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    if let Some((as_of, by)) = asked {
        let answer = ChannelAnswer::AsOf(as_of::get(&server, &by, &handle, as_of).await?);
        let mut response = conditional::json(&headers, &answer)?;
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        return Ok(response);
    }
    let by = authenticated.as_ref();
    let row = by_handle(&server, by, &handle).await?;
    let visibility = row.visibility;
    let mut response = conditional::json(&headers, &shown_to(&server, row, by).await?)?;
    if visibility.needs_token() || by.is_some() {
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
    Ok(response)
}

/// Get where a channel plays
///
/// The address for whoever asks. That of a public channel always is the same. That of an unlisted or private one has a
/// token in its path, for everything that the playlist names; it is good for twelve hours, until the session ends, or until
/// others may watch than before. Ask for a new one in time, and when an address is answered by 403.
#[utoipa::path(
    get, path = "/api/v1/channels/{handle}/playback", operation_id = "get_channel_playback", tag = "channels",
    params(("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks")),
    security((), ("access_token" = [])),
    responses(
        (status = 200, description = "Where it plays.", body = ChannelPlayback),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_channel_playback(
    State(server): State<Arc<Server>>,
    authenticated: Option<Authenticated>,
    Path(handle): Path<String>,
) -> ApiResult<Response> {
    let by = authenticated.as_ref();
    let row = by_handle(&server, by, &handle).await?;
    let token = playback_token(&server, row.id, row.visibility, row.version, by);
    let playback = ChannelPlayback {
        hls_url: server.addresses.channel_hls(row.id, token.as_ref().map(|token| token.text.as_str())),
        expires_at: token.map(|token| token.expires_at),
    };
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((headers, JsonBody(playback)).into_response())
}

/// Edit a channel
///
/// Its owner may, and its editors all but who may watch. With `If-Match` the edit is refused when somebody else has changed the
/// channel in between.
#[utoipa::path(
    patch, path = "/api/v1/channels/{handle}", operation_id = "edit_channel", tag = "channels",
    params(
        ("handle" = String, Path, description = "The channel's handle, in any case.", example = "river_talks"),
        ("If-Match" = Option<String>, Header, nullable = false, pattern = r#"^(\*|"[0-9]{1,18}")$"#, description = "The `version` that the edit was made from, in quotes.", example = "\"1\""),
    ),
    request_body = EditChannelRequest, security(("access_token" = [])),
    responses(
        (status = 200, description = "The channel as it is now.", body = Channel),
        (status = 202, description = "Changed, but it cannot be read yet.", body = Accepted, headers(("Location" = String, description = "Where the channel is."))),
        (status = 403, description = "`forbidden`: it is the owner's, or takes a role in the channel.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "`conflict`: others are changing it at this moment.", body = Problem, content_type = "application/problem+json"),
        (status = 412, description = "`version_stale`: it was changed in between.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn edit_channel(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(handle): Path<String>,
    IfMatch(expected_version): IfMatch,
    Json(request): Json<EditChannelRequest>,
) -> ApiResult<Response> {
    let row = by_handle(&server, Some(&authenticated), &handle).await?;
    let shown_from = if request.visibility.is_some() { LISTED_FROM } else { SHOWN_FROM };
    let position = channels::change_details(
        &server.commands,
        channels::ChangeDetails {
            by: authenticated.account_id,
            channel_id: row.id,
            expected_version,
            title: request.title,
            description: request.description,
            visibility: request.visibility.map(rules_visibility),
            metadata: authenticated.metadata(),
        },
    )
    .await
    .map_err(not_changed)?;
    // As above.
    if server.has_read(shown_from, position).await
        && let Ok(Some(row)) = server.read.channels().by_id(row.id).await
        && let Ok(shown) = shown_to(&server, row, Some(&authenticated)).await
    {
        return Ok(JsonBody(shown).into_response());
    }
    Ok(accepted(position, address(&row.handle)))
}

/// The channel of a handle as it stands in an address, for whoever asks.
///
/// # Errors
/// `not_found` when there is none, or it is private and `by` may not know of it.
pub(crate) async fn by_handle(server: &Server, by: Option<&Authenticated>, handle: &str) -> ApiResult<ChannelRow> {
    let handle = Handle::parse(handle).map_err(|_| no_channel())?;
    let row = server.read.channels().by_handle(handle.as_str()).await?.ok_or_else(no_channel)?;
    let rights = Rights { channel_id: row.id, visibility: row.visibility };
    if may_watch(server, by, rights).await? { Ok(row) } else { Err(no_channel()) }
}

/// The refusal of whoever may not know of a channel, or of anybody where there is none.
pub(crate) fn no_channel() -> ApiError {
    ApiError::not_found("There is no channel with this handle.")
}

/// The channel of a handle as it stands in an address, for whoever may do this to it.
///
/// # Errors
/// `not_found` when there is none, or it is private and `by` may not know of it; `forbidden`.
pub(crate) async fn allowed_by_handle(
    server: &Server,
    by: &Authenticated,
    handle: &str,
    act: ChannelAct,
) -> ApiResult<ChannelRow> {
    let row = by_handle(server, Some(by), handle).await?;
    authorise(server, by, row.id, act).await?;
    Ok(row)
}

fn not_changed(error: ChannelsError) -> ApiError {
    match error {
        ChannelsError::Invalid(invalid) => ApiError::validation_failed(invalid),
        ChannelsError::Command(error) => refused(error),
    }
}

fn refused(error: CommandError<ChannelRefusal>) -> ApiError {
    ApiError::command(error, |refusal| {
        match refusal {
        ChannelRefusal::HandleTaken => ApiError::new(StatusCode::CONFLICT, "handle_taken", "The handle is taken")
            .detail("Another channel has this handle. Choose another."),
        ChannelRefusal::Unknown => ApiError::not_found("There is no such channel."),
        ChannelRefusal::NotAllowed => not_allowed(),
        ChannelRefusal::NoAccount => ApiError::unauthenticated("The account no longer exists."),
        ChannelRefusal::VersionStale { current } => {
            ApiError::new(StatusCode::PRECONDITION_FAILED, "version_stale", "The channel was changed in between")
                .detail(format!("The channel is at version {current}. Look at how it is now and edit that."))
        }
        ChannelRefusal::AlreadyExists => ApiError::internal("a new channel was there before"),
        ChannelRefusal::OwnerNeedsNoRole => {
            ApiError::new(StatusCode::CONFLICT, "owner_needs_no_role", "The owner needs no role")
                .detail("The owner of the channel may do everything already. Name somebody else.")
        }
        ChannelRefusal::TeamFull => ApiError::new(StatusCode::CONFLICT, "team_full", "The team is full")
            .detail(format!("A channel may have {} people with a role. Take somebody's first.", rules::TEAM_AT_MOST)),
        ChannelRefusal::TooMany { at_most } => {
            ApiError::new(StatusCode::CONFLICT, "too_many_channels", "The account has too many channels").detail(format!(
                "An account may have {at_most} channels here. Use one that you have, or ask whoever runs this Weir for more."
            ))
        }
    }
    })
}

fn address(handle: &str) -> String {
    format!("/api/v1/channels/{handle}")
}

/// As it is shown to `by`, who may watch it, with what they are to it.
async fn shown_to(server: &Server, row: ChannelRow, by: Option<&Authenticated>) -> ApiResult<Channel> {
    let role = match by {
        Some(by) if by.account_id != row.owner_id => {
            server.read.teams().roles(by.account_id, &[row.id]).await?.remove(&row.id)
        }
        _ => None,
    };
    Ok(channel_with_role(server, row, by, role))
}

/// As it is shown to `by`, who may watch it and has no role in it.
pub(crate) fn channel(server: &Server, row: ChannelRow, by: Option<&Authenticated>) -> Channel {
    channel_with_role(server, row, by, None)
}

fn channel_with_role(
    server: &Server,
    row: ChannelRow,
    by: Option<&Authenticated>,
    role: Option<ChannelRole>,
) -> Channel {
    let is_owner = by.is_some_and(|by| by.account_id == row.owner_id);
    let standing = if is_owner { Some(ChannelStanding::Owner) } else { role.map(team::standing) };
    let token = playback_token(server, row.id, row.visibility, row.version, by);
    let token = token.as_ref().map(|token| token.text.as_str());
    Channel {
        id: row.id.uuid(),
        handle: row.handle,
        title: row.title,
        description: row.description,
        owner: ChannelOwner {
            id: row.owner_id.uuid(),
            username: row.owner_username,
            display_name: row.owner_display_name,
            avatar: avatar_of(server, row.owner_id, row.owner_avatar.as_ref()),
        },
        standing,
        visibility: visibility(row.visibility),
        is_live: row.live_stream_id.is_some(),
        live_stream_id: row.live_stream_id.map(domain::ids::StreamId::uuid),
        reconnect_grace_seconds: server.reconnect_grace_seconds,
        playback: Playback {
            hls_url: server.addresses.channel_hls(row.id, token),
            dash_url: Some(server.addresses.channel_dash(row.id, token)),
        },
        thumbnail_url: row.live_stream_id.map(|stream_id| server.addresses.thumbnail(stream_id, token)),
        created_at: row.created_at,
        updated_at: row.updated_at,
        version: row.version,
    }
}

pub(crate) fn visibility(visibility: rules::Visibility) -> Visibility {
    match visibility {
        rules::Visibility::Public => Visibility::Public,
        rules::Visibility::Unlisted => Visibility::Unlisted,
        rules::Visibility::Private => Visibility::Private,
    }
}

fn rules_visibility(visibility: Visibility) -> rules::Visibility {
    match visibility {
        Visibility::Public => rules::Visibility::Public,
        Visibility::Unlisted => rules::Visibility::Unlisted,
        Visibility::Private => rules::Visibility::Private,
    }
}
