//! Telling an open page that its session has ended, so that it does not look signed in until somebody touches it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::State,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use domain::ids::SessionId;
use openapi::{Problem, events::EVENT_STREAM};
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    events::Full,
    server::Server,
};

/// How often a page hears that it goes on, so that nothing in between takes the connection for a dead one.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many heartbeats may wait for the connection; with more nobody is there.
const WAITING: usize = 4;
const GOES_ON: Bytes = Bytes::from_static(b": it goes on\n\n");
const ENDED: Bytes = Bytes::from_static(b"event: ended\ndata: {}\n\n");

pub(super) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(watch_session))
}

/// Wait for the end of my session
///
/// Server-sent events: a comment every 15 seconds for as long as the session goes on, and `ended` within a second of its end,
/// wherever it was ended from; with that the answer is over. An answer that is over without it says nothing: ask again.
#[utoipa::path(
    get, path = "/api/v1/auth/session", operation_id = "watch_session", tag = "accounts",
    security(("access_token" = [])),
    responses(
        (status = 200, description = "For as long as the session goes on.", body = String, content_type = "text/event-stream"),
        (status = 403, description = "`scope_missing`: a personal token cannot do this.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_open_pages`: 32 pages of this account wait already.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn watch_session(State(server): State<Arc<Server>>, authenticated: Authenticated) -> ApiResult<Response> {
    let place = server.session_watches.take(authenticated.account_id).map_err(full)?;
    let (parts, waiting) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        watch(&server, authenticated.session_id, parts).await;
        drop(place);
    });
    let parts = futures::stream::unfold(waiting, |mut waiting| async {
        let part: Bytes = waiting.recv().await?;
        Some((Ok::<_, Infallible>(part), waiting))
    });
    let mut response = Body::from_stream(parts).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // nginx would collect what must not wait.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn full(full: Full) -> ApiError {
    match full {
        Full::Account(own) => {
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_open_pages", "Too many pages are open")
                .detail(format!("{own} pages of this account wait for the end of their session already. Close one."))
                .header(header::RETRY_AFTER, HeaderValue::from_static("60"))
        }
        Full::Process => ApiError::overloaded(),
    }
}

/// Returns when the session has ended and that was said, when nobody listens any more, or when the process stops.
async fn watch(server: &Server, session_id: SessionId, parts: mpsc::Sender<Bytes>) {
    // From before it is looked, so that no end comes in between.
    let mut changes = server.ended.changes();
    let mut beats = interval(HEARTBEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Where this node does not know at the moment, it does before long.
        if server.ended.has_ended(session_id.uuid()) == Some(true) {
            // Who reads nothing learns it by the next call.
            let _ = parts.try_send(ENDED);
            return;
        }
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            _ = beats.tick() => if parts.try_send(GOES_ON).is_err() { return },
            () = parts.closed() => return,
            () = server.stopping.cancelled() => return,
        }
    }
}
