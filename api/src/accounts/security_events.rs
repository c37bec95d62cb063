//! What happened to the safety of accounts: for their owners, and for administrators.

use std::{borrow::Cow, sync::Arc};

use axum::{extract::State, http::HeaderMap, response::Response};
use domain::{ids::AccountId, sealed::Opened};
use openapi::{
    Problem,
    accounts::security_events::{
        OwnSecurityEventsQuery, SecurityEvent, SecurityEventAccount, SecurityEventPage, SecurityEventsQuery,
    },
};
use projections::{
    Page,
    security_events::{KINDS, SecurityEventFilter, SecurityEventRow},
};
use time::OffsetDateTime;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::device::{device, network};
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    events::parsed_time,
    extract::Query,
    operation::{cursor, page},
    server::Server,
};

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(list_my_security_events)).routes(routes!(list_security_events))
}

/// List my security events
///
/// What happened to the safety of this account, newest first: sign-ins and those that failed, changes of how one signs in,
/// tokens, exports, erasure. Browser, system and network are forgotten after a time that the operator sets.
#[utoipa::path(
    get, path = "/api/v1/me/security-events", operation_id = "list_my_security_events", tag = "accounts",
    params(OwnSecurityEventsQuery), security(("access_token" = [])),
    responses(
        (status = 200, description = "Some security events.", body = SecurityEventPage, headers(
            ("Link" = String, description = "`rel=\"next\"`: the next page, if there is one."))),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_my_security_events(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Query(query): Query<OwnSecurityEventsQuery>,
) -> ApiResult<Response> {
    let filter = SecurityEventFilter { account_id: Some(authenticated.account_id), ..SecurityEventFilter::default() };
    let after = cursor(query.after.as_deref())?;
    let found = server.read.security_events().list(&filter, after.as_ref(), query.limit.get().into()).await?;
    let query = [("limit", query.limit.get().to_string())];
    rendered(&server, "/api/v1/me/security-events", &query, found).await
}

/// List security events
///
/// What happened to the safety of all accounts, newest first, for administrators.
#[utoipa::path(
    get, path = "/api/v1/admin/security-events", operation_id = "list_security_events", tag = "accounts",
    params(SecurityEventsQuery), security(("access_token" = [])),
    responses(
        (status = 200, description = "Some security events; none for an account that there is not.", body = SecurityEventPage, headers(
            ("Link" = String, description = "`rel=\"next\"`: the next page, if there is one."))),
        (status = 400, description = "`query_invalid`: a parameter is wrong or unknown, or `cursor_invalid`.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: only administrators may see this; `scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_security_events(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Query(query): Query<SecurityEventsQuery>,
) -> ApiResult<Response> {
    if !commands::accounts::is_administrator(&server.commands, authenticated.account_id).await? {
        return Err(ApiError::forbidden("Only administrators may see what happened to other accounts."));
    }
    let SecurityEventsQuery { account, kind, from, to, limit, after } = query;
    if let Some(kind) = &kind
        && !KINDS.contains(&kind.as_str())
    {
        let message = format!("There is no such kind; there are `{}`.", KINDS.join("`, `"));
        return Err(ApiError::query_invalid("kind", "kind_unknown", message));
    }
    let mut again = vec![("limit", limit.get().to_string())];
    for (name, value) in [("account", &account), ("kind", &kind), ("from", &from), ("to", &to)] {
        again.extend(value.clone().map(|value| (name, value)));
    }
    let after = cursor(after.as_deref())?;
    let account_id = match &account {
        None => None,
        Some(account) => match find(&server, account).await? {
            Some(account_id) => Some(account_id),
            None => {
                let none = Page { items: Vec::new(), next: None };
                return rendered(&server, "/api/v1/admin/security-events", &again, none).await;
            }
        },
    };
    let filter = SecurityEventFilter {
        account_id,
        kind,
        from: from.as_deref().map(|text| time("from", text)).transpose()?,
        to: to.as_deref().map(|text| time("to", text)).transpose()?,
    };
    let found = server.read.security_events().list(&filter, after.as_ref(), limit.get().into()).await?;
    rendered(&server, "/api/v1/admin/security-events", &again, found).await
}

fn time(parameter: &'static str, text: &str) -> ApiResult<OffsetDateTime> {
    let message = "Give a time as in RFC 3339, `2026-11-21T10:00:00Z` for example.";
    parsed_time(text).ok_or_else(|| ApiError::query_invalid(parameter, "time_invalid", message))
}

/// The account of this id or username.
async fn find(server: &Server, account: &str) -> ApiResult<Option<AccountId>> {
    if let Ok(account_id) = account.parse() {
        return Ok(Some(account_id));
    }
    commands::accounts::by_username(&server.commands, account).await.map_err(ApiError::unavailable)
}

async fn rendered(
    server: &Server,
    path: &str,
    query: &[(&str, String)],
    found: Page<SecurityEventRow>,
) -> ApiResult<Response> {
    let sealed = found.items.iter().flat_map(|row| [&row.user_agent, &row.address]).flatten().map(Cow::Borrowed);
    let opened = server.commands.keyring().open(sealed.collect()).await.map_err(ApiError::unavailable)?;
    let mut opened = opened.into_iter().map(|opened| Opened::or(opened, ""));
    // In the order in which they were collected.
    let mut next = |sealed: bool| if sealed { opened.next() } else { None }.unwrap_or_default();
    let found = found.map(|row| {
        let user_agent = next(row.user_agent.is_some());
        let address = next(row.address.is_some());
        event(row, &user_agent, &address)
    });
    // Private, and of no use to keep: no ETag.
    page(path, query, found, &HeaderMap::new(), |event| event)
}

fn event(row: SecurityEventRow, user_agent: &str, address: &str) -> SecurityEvent {
    let (browser, system) = device(user_agent);
    let account = |id: AccountId, username| SecurityEventAccount { id: id.uuid(), username };
    SecurityEvent {
        id: row.id,
        kind: row.kind,
        at: row.at,
        account: account(row.account_id, row.username),
        by: row.by_id.map(|id| account(id, row.by_username)),
        reason: row.reason,
        count: row.count,
        channel: row.channel_handle,
        browser: browser.map(str::to_owned),
        system: system.map(str::to_owned),
        network: network(address),
    }
}
