//! An account as everybody sees it: what its owner says, its public channels, and their streams. What is unlisted or private is
//! in none of them, not even in a count, and not for its owner either: everybody sees the same.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};
use domain::{accounts::Username, channels::Visibility};
use openapi::{
    Problem,
    accounts::{AccountListQuery, PublicAccount},
    channels::ChannelPage,
    streams::StreamPage,
};
use projections::{accounts::ProfileRow, channels::ChannelFilter, streams::StreamFilter};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::avatar_of;
use crate::{
    authentication::Authenticated,
    channels::channel,
    conditional,
    error::{ApiError, ApiResult},
    extract::{Path, Query},
    operation::{cursor, page},
    server::Server,
    streams::stream,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new()
        .routes(routes!(get_account))
        .routes(routes!(list_account_channels))
        .routes(routes!(list_account_streams))
}

/// Get an account
///
/// As everybody sees it.
#[utoipa::path(
    get, path = "/api/v1/accounts/{username}", operation_id = "get_account", tag = "accounts",
    params(
        ("username" = String, Path, description = "The account's username, in any case.", example = "mira"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed."),
    ),
    security((), ("access_token" = [])),
    responses(
        (status = 200, description = "The account.", body = PublicAccount, headers(("ETag" = String, description = "Of the body."))),
        (status = 304, description = "Nothing has changed."),
        (status = 404, description = "`not_found`: there is no such account, or not any more.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_account(
    State(server): State<Arc<Server>>,
    _: Option<Authenticated>,
    Path(username): Path<String>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let row = shown(&server, &username).await?;
    let account = PublicAccount {
        id: row.account_id.uuid(),
        avatar: avatar_of(&server, row.account_id, row.avatar.as_ref()),
        username: row.username,
        display_name: row.display_name,
        bio: row.bio.unwrap_or_default(),
        channel_count: row.channel_count,
        created_at: row.created_at,
    };
    conditional::json(&headers, &account)
}

/// List an account's channels
///
/// The public ones, newest first. Everybody sees the same.
#[utoipa::path(
    get, path = "/api/v1/accounts/{username}/channels", operation_id = "list_account_channels", tag = "accounts",
    params(
        AccountListQuery,
        ("username" = String, Path, description = "The account's username, in any case.", example = "mira"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed."),
    ),
    security((), ("access_token" = [])),
    responses(
        (status = 200, description = "Some channels.", body = ChannelPage, headers(
            ("ETag" = String, description = "Of the body."),
            ("Link" = String, description = "`rel=\"next\"`: the next page, if there is one."))),
        (status = 304, description = "Nothing has changed."),
        (status = 404, description = "`not_found`: there is no such account, or not any more.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_account_channels(
    State(server): State<Arc<Server>>,
    _: Option<Authenticated>,
    Path(username): Path<String>,
    Query(query): Query<AccountListQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let after = cursor(query.after.as_deref())?;
    let account = shown(&server, &username).await?;
    let filter = ChannelFilter {
        owner: Some(account.account_id),
        visibility: Some(Visibility::Public),
        ..ChannelFilter::default()
    };
    let found = server.read.channels().page(filter, after.as_ref(), query.limit.get().into()).await?;
    let path = format!("/api/v1/accounts/{}/channels", account.username);
    // A public channel has the same addresses for everybody.
    page(&path, &[("limit", query.limit.get().to_string())], found, &headers, |row| channel(&server, row, None))
}

/// List an account's streams
///
/// Those of its public channels, running and past, newest first. Everybody sees the same.
#[utoipa::path(
    get, path = "/api/v1/accounts/{username}/streams", operation_id = "list_account_streams", tag = "accounts",
    params(
        AccountListQuery,
        ("username" = String, Path, description = "The account's username, in any case.", example = "mira"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed."),
    ),
    security((), ("access_token" = [])),
    responses(
        (status = 200, description = "Some streams.", body = StreamPage, headers(
            ("ETag" = String, description = "Of the body."),
            ("Link" = String, description = "`rel=\"next\"`: the next page, if there is one."))),
        (status = 304, description = "Nothing has changed."),
        (status = 404, description = "`not_found`: there is no such account, or not any more.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_account_streams(
    State(server): State<Arc<Server>>,
    _: Option<Authenticated>,
    Path(username): Path<String>,
    Query(query): Query<AccountListQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let after = cursor(query.after.as_deref())?;
    let account = shown(&server, &username).await?;
    let filter = StreamFilter {
        owner: Some(account.account_id),
        visibility: Some(Visibility::Public),
        ..StreamFilter::default()
    };
    let found = server.read.streams().page(filter, after.as_ref(), query.limit.get().into()).await?;
    let path = format!("/api/v1/accounts/{}/streams", account.username);
    page(&path, &[("limit", query.limit.get().to_string())], found, &headers, |row| stream(&server, row, None))
}

/// The account of a username as it stands in an address, for everybody. One that was erased or is suspended is none.
///
/// # Errors
/// `not_found` when there is none that is shown.
async fn shown(server: &Server, username: &str) -> ApiResult<ProfileRow> {
    let unknown = || ApiError::not_found("There is no account with this username, or not any more.");
    let username = Username::parse(username).map_err(|_| unknown())?;
    server.read.profiles().by_username(username.as_str()).await?.ok_or_else(unknown)
}
