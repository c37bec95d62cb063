//! Where one is signed in, and ending that.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use axum::{Json as JsonBody, extract::State, http::StatusCode};
use commands::{CommandError, accounts::sessions};
use domain::{
    accounts::{SessionEndReason, SessionRefusal},
    ids::SessionId,
    sealed::{Opened, Sealed},
};
use openapi::{
    Problem,
    accounts::{Session, SessionPage},
};
use projections::{
    Projection,
    accounts::{SessionRow, SessionsV1},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::device::{device, network};
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::Path,
    server::Server,
};

/// What sessions are shown from.
const SHOWN_FROM: &[&dyn Projection] = &[&SessionsV1];
/// How many are shown; older ones end by themselves within a month.
const MOST: i64 = 100;

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(list_sessions, end_other_sessions)).routes(routes!(end_session))
}

/// List my sessions
///
/// Where this account is signed in, the last opened first; the hundred newest. Browser and system are as the device says
/// itself, the network is the address without its end.
#[utoipa::path(
    get, path = "/api/v1/auth/sessions", operation_id = "list_sessions", tag = "accounts",
    security(("access_token" = [])),
    responses(
        (status = 200, description = "The sessions that are open.", body = SessionPage),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_sessions(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
) -> ApiResult<JsonBody<SessionPage>> {
    let rows = server.read.sessions().of_account(authenticated.account_id, MOST).await?;
    let used = sessions::last_used(&server.commands, authenticated.account_id).await.map_err(ApiError::unavailable)?;
    let used: HashMap<_, _> = used.into_iter().collect();
    let texts = opened(&server, rows.iter().flat_map(|row| [&row.user_agent, &row.address])).await?;
    // One that has just ended may still have a row.
    let items = rows.iter().zip(texts.chunks_exact(2)).filter_map(|(row, texts)| {
        let last_used_at = *used.get(&row.id)?;
        Some(session(row, &texts[0], &texts[1], last_used_at, authenticated.session_id))
    });
    Ok(JsonBody(SessionPage { items: items.collect(), next_cursor: None }))
}

/// End one of my sessions
///
/// Signs a device out: its tokens are refused by every node within a second. That it has ended before makes no difference.
#[utoipa::path(
    delete, path = "/api/v1/auth/sessions/{id}", operation_id = "end_session", tag = "accounts",
    params(("id" = String, Path, description = "The session's id.", example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d11")),
    security(("access_token" = [])),
    responses(
        (status = 204, description = "It has ended."),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: this account has no such session.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn end_session(
    State(server): State<Arc<Server>>,
    authenticated: Authenticated,
    Path(id): Path<String>,
) -> ApiResult<StatusCode> {
    let not_found = || ApiError::not_found("This account has no such session.");
    let session_id: SessionId = id.parse().map_err(|_| not_found())?;
    let ended = sessions::end_one(&server.commands, authenticated.account_id, session_id).await;
    // Also of one that has failed: the session may be over by then.
    server.know_ended().await;
    let position = ended.map_err(|error| {
        ApiError::command(error, |refusal| match refusal {
            SessionRefusal::Unknown => not_found(),
            refusal => ApiError::internal(refusal),
        })
    })?;
    server.has_read(SHOWN_FROM, position).await;
    Ok(StatusCode::NO_CONTENT)
}

/// End all my other sessions
///
/// Signs out every device but this one.
#[utoipa::path(
    delete, path = "/api/v1/auth/sessions", operation_id = "end_other_sessions", tag = "accounts",
    security(("access_token" = [])),
    responses(
        (status = 204, description = "This session is the only one."),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn end_other_sessions(State(server): State<Arc<Server>>, authenticated: Authenticated) -> ApiResult<StatusCode> {
    let (account_id, kept) = (authenticated.account_id, authenticated.session_id);
    let ended = sessions::end_others(&server.commands, account_id, kept, SessionEndReason::EndedByOwner).await;
    // Also where not all could be told: they may be over by then.
    server.know_ended().await;
    server.has_read(SHOWN_FROM, ended.map_err(failed)?).await;
    Ok(StatusCode::NO_CONTENT)
}

/// Has this node refuse what ended, and the list be without it, before that is answered.
pub(super) async fn has_ended(server: &Server, position: i64) {
    server.know_ended().await;
    server.has_read(SHOWN_FROM, position).await;
}

fn failed(error: CommandError<SessionRefusal>) -> ApiError {
    ApiError::command(error, ApiError::internal)
}

/// What is sealed, in its order; nothing for an erased person.
pub(super) async fn opened<'a>(server: &Server, sealed: impl Iterator<Item = &'a Sealed>) -> ApiResult<Vec<String>> {
    let keyring = server.commands.keyring();
    let opened = keyring.open(sealed.map(Cow::Borrowed).collect()).await.map_err(ApiError::unavailable)?;
    Ok(opened.into_iter().map(|opened| Opened::or(opened, "")).collect())
}

fn session(
    row: &SessionRow,
    user_agent: &str,
    address: &str,
    last_used_at: time::OffsetDateTime,
    current: SessionId,
) -> Session {
    let (browser, system) = device(user_agent);
    Session {
        id: row.id.uuid(),
        is_current: row.id == current,
        browser: browser.map(str::to_owned),
        system: system.map(str::to_owned),
        network: network(address),
        opened_at: row.opened_at,
        last_used_at,
    }
}
