//! Events: the log as a feed, for administrators.

use std::{collections::HashMap, sync::Arc};

use axum::{Json, extract::State};
use commands::events::{self, StoredEvent};
use openapi::{
    Problem,
    events::{Event, EventPage, EventsQuery},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    authentication::Administrator,
    error::{ApiError, ApiResult},
    extract::Query,
    server::Server,
};

pub(crate) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(list_events))
}

/// List events
///
/// The log from a position on, in its order, without gaps. Administrators may.
#[utoipa::path(
    get, path = "/api/v1/events", operation_id = "list_events", tag = "events",
    params(EventsQuery), security(("access_token" = [])),
    responses(
        (status = 200, description = "Some events. `next_cursor` is `null` at the end of the log: go on from the last `position` later.", body = EventPage),
        (status = 403, description = "`forbidden`: only administrators may.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_events(
    State(server): State<Arc<Server>>,
    _: Administrator,
    Query(query): Query<EventsQuery>,
) -> ApiResult<Json<EventPage>> {
    let after = match query.after.as_deref() {
        None => 0,
        Some(text) => position(text).ok_or_else(ApiError::cursor_invalid)?,
    };
    let limit = usize::from(query.limit.get());
    // One more than asked for tells whether there is a next page.
    let stored = events::page(server.commands.pool(), after, i64::from(query.limit.get()) + 1)
        .await
        .map_err(ApiError::unavailable)?;
    let has_more = stored.len() > limit;
    let source = server.addresses.public_url();
    let items: Vec<Event> =
        stored.into_iter().take(limit).map(|stored| event(source, stored)).collect::<Result<_, _>>()?;
    let next_cursor = items.last().filter(|_| has_more).map(|event| event.position.to_string());
    Ok(Json(EventPage { items, next_cursor }))
}

/// A position as a client gives it: digits alone.
fn position(text: &str) -> Option<i64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[derive(Deserialize)]
struct Recorded {
    actor: String,
}

fn event(source: &str, stored: StoredEvent) -> ApiResult<Event> {
    // The payload is tagged with what `type` says already.
    let tagged: Option<HashMap<&str, &RawValue>> = serde_json::from_str(stored.payload.get()).ok();
    let fact = tagged.and_then(|tagged| tagged.into_values().next()).map(ToOwned::to_owned);
    let data = fact.unwrap_or(stored.payload);
    let Recorded { actor } = serde_json::from_str(stored.metadata.get()).map_err(ApiError::internal)?;
    let subject = format!("{}/{}", stored.aggregate_type, stored.aggregate_id);
    Ok(Event {
        specversion: "1.0".into(),
        position: stored.position,
        id: format!("{subject}/{}", stored.sequence),
        source: source.to_owned(),
        kind: stored.event_type,
        version: stored.event_version,
        subject,
        sequence: stored.sequence,
        time: stored.recorded_at,
        actor,
        data,
    })
}
