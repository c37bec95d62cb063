//! Events: the log as a feed for outsiders, in pages, as one long answer, and as it grows.
//!
//! [`selection`] reads what is asked for, [`rights`] says whether it may be had; [`transfer`] and [`subscription`] are the
//! two answers that go on for long, and [`limits`] bounds them. [`catalogue`] says which events there are.

mod catalogue;
mod encoding;
mod follower;
mod limits;
mod rights;
mod selection;
mod subscription;
mod transfer;

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
    response::{IntoResponse, Response},
};
use commands::events::{self, Actors, Envelope};
use openapi::{
    Problem,
    events::{ActorNames, Event, EventLimit, EventPage, EventsFormat, EventsQuery, NDJSON, SubscribeQuery},
};
use utoipa_axum::{router::OpenApiRouter, routes};

pub use self::{catalogue::asyncapi, limits::FeedOptions};
pub(crate) use self::{
    catalogue::{Catalogue, PAGE, get_page},
    follower::Follower,
    limits::{Full, Places},
    rights::FoundChannel,
    selection::{Parameters, Selection, parsed_time, position},
    subscription::tell_metrics,
};
use crate::{
    authentication::Authenticated,
    error::{ApiError, ApiResult},
    extract::Query,
    server::Server,
};

/// Where the log ended when the answer began.
const HEAD_POSITION: HeaderName = HeaderName::from_static(openapi::events::HEAD_POSITION);

/// How long a page may look for events where few match; it is shorter then.
const PAGE_BUDGET: Duration = Duration::from_secs(5);

pub(crate) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(list_events)).routes(routes!(subscribe_events)).merge(catalogue::routes())
}

impl Server {
    /// What writes events for somebody who may see accounts as `actors` says.
    fn envelope(&self, actors: ActorNames) -> Envelope {
        let actors = match actors {
            ActorNames::Pseudonymous => Actors::Pseudonymous(self.commands.pseudonyms()),
            ActorNames::Plain => Actors::Plain,
        };
        Envelope::new(self.addresses.public_url(), actors)
    }
}

/// List events
///
/// The log in its order: pages of JSON, or with `Accept: application/x-ndjson` (or `format=ndjson`) everything that matches
/// in one answer, an event a line, compressed where `Accept-Encoding` has `zstd` or `gzip`. Administrators may read all
/// events; a channel's owner may read those of that channel and its streams, by giving `channel`.
///
/// Positions have no holes, so the next event after position 42 is 43 for whoever reads all. To go on later, give the
/// header `Weir-Head-Position` as `after`: everything up to it was looked through.
///
/// A long answer that fails after its beginning breaks off without the end of its body, so that it cannot be taken for a
/// whole one: go on with the last `position` as `after`. A reader that takes nothing for a minute is cut. Every long answer
/// is itself an event: `export.requested`, then `export.completed` or `export.failed`. A page is read, and leaves none.
#[utoipa::path(
    get, path = "/api/v1/events", operation_id = "list_events", tag = "events",
    params(EventsQuery,
        ("Accept" = Option<String>, Header, nullable = false, description = "`application/x-ndjson` for everything in one answer.", example = "application/x-ndjson"),
        ("Accept-Encoding" = Option<String>, Header, nullable = false, description = "`zstd` and `gzip` are understood.", example = "zstd, gzip"),
    ),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "Some events, or all of them.",
            content((EventPage = "application/json"), (Event = "application/x-ndjson")), headers(
            ("Weir-Head-Position" = i64, description = "Where the log ended when the answer began."),
            ("Link" = String, description = "`rel=\"next\"`: the next page, if there is one."))),
        (status = 403, description = "`forbidden`: these events may be read by administrators, or by the owner of another channel.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_feeds`: this account has several long answers under way.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list_events(
    State(server): State<Arc<Server>>,
    method: Method,
    authenticated: Authenticated,
    Query(query): Query<EventsQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let selection = Selection::new(&server, &authenticated, (&query).into()).await?;
    let is_ndjson = match query.format {
        Some(format) => format == EventsFormat::Ndjson,
        None => prefers_ndjson(&headers),
    };
    if is_ndjson {
        let head = head(&server).await?;
        if method == Method::HEAD {
            return Ok(transfer::headers_only(head, &headers));
        }
        let limit = query.limit.map_or(u64::MAX, EventLimit::get);
        return transfer::answer(server, &authenticated, selection, head, limit, &headers).await;
    }
    let limit = query.limit.map_or(EventLimit::DEFAULT_OF_PAGE, EventLimit::get);
    if limit > EventLimit::MAX_OF_PAGE {
        let message = format!("A page has {} events at most; give `format=ndjson` for more.", EventLimit::MAX_OF_PAGE);
        return Err(ApiError::query_invalid("limit", "invalid", message));
    }
    page(&server, selection, limit, &query).await
}

async fn page(server: &Server, selection: Selection, limit: u64, query: &EventsQuery) -> ApiResult<Response> {
    let Selection { mut filter, actors, .. } = selection;
    let head = head(server).await?;
    let limit = usize::try_from(limit).map_err(ApiError::internal)?;
    filter.until = Some(head);
    let mut next = None;
    let mut body = br#"{"items":["#.to_vec();
    // Beyond the head there is nothing yet.
    if filter.after < head {
        // One more than asked for tells whether there is a next page.
        let found = events::page_within(server.commands.pool(), &filter, limit + 1, PAGE_BUDGET).await;
        let found = found.map_err(ApiError::unavailable)?;
        next = (found.reached < head).then_some(found.reached);
        if found.events.len() > limit {
            next = Some(found.events[limit - 1].position);
        }
        let mut envelope = server.envelope(actors);
        for (number, event) in found.events.iter().take(limit).enumerate() {
            if number > 0 {
                body.push(b',');
            }
            envelope.write(event, &mut body);
        }
    }
    let next = next.map(|position| position.to_string());
    body.extend_from_slice(br#"],"next_cursor":"#);
    serde_json::to_writer(&mut body, &next).map_err(ApiError::internal)?;
    body.push(b'}');
    let mut response = ([(header::CONTENT_TYPE, "application/json")], body).into_response();
    response.headers_mut().insert(HEAD_POSITION, HeaderValue::from(head));
    if let Some(next) = next
        && let Ok(link) = HeaderValue::try_from(link(query, &next))
    {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}

/// The address of the next page.
fn link(query: &EventsQuery, after: &str) -> String {
    let limit = query.limit.map(|limit| limit.get().to_string());
    let actors = query.actors.map(|actors| match actors {
        ActorNames::Pseudonymous => "pseudonymous",
        ActorNames::Plain => "plain",
    });
    let pairs = [
        ("types", query.types.as_deref()),
        ("subject", query.subject.as_deref()),
        ("channel", query.channel.as_deref()),
        ("from", query.from.as_deref()),
        ("to", query.to.as_deref()),
        ("limit", limit.as_deref()),
        ("actors", actors),
        ("after", Some(after)),
    ];
    let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(given).finish();
    format!("</api/v1/events?{query}>; rel=\"next\"")
}

/// Subscribe to events
///
/// The log as server-sent events: what is past from `after` on, then what happens, until somebody hangs up. `id` is the
/// position, `event` the type, `data` the event. `caught_up` (`data: {"position": …}`) says that everything up to the head
/// was sent: after connecting, and again after falling behind.
///
/// To go on after a break, send the last `id` as `Last-Event-ID`; it wins over `after`. Nothing is lost and nothing comes
/// twice. Every 15 seconds without an event a comment comes, with an `id` that moves on even where no event matches.
///
/// A reader that takes nothing for a minute is cut. A subscription ends with the session, and with the right to read. A
/// browser's `EventSource` cannot send the header `Authorization`: this is for `fetch`, curl and programs.
#[utoipa::path(
    get, path = "/api/v1/events/subscribe", operation_id = "subscribe_events", tag = "events",
    params(SubscribeQuery,
        ("Last-Event-ID" = Option<String>, Header, nullable = false, pattern = "^[0-9]{0,19}$", description = "The last `id` of before; wins over `after`.", example = "42"),
    ),
    security(("access_token" = [])),
    responses(
        (status = 200, description = "Events, for as long as it lasts.", body = String, content_type = "text/event-stream", headers(
            ("Weir-Head-Position" = i64, description = "Where the log ended when the answer began."))),
        (status = 400, description = "`query_invalid`: a parameter is wrong or unknown; `position_beyond_head`: the log does not reach that far.", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "`forbidden`: these events may be read by administrators, or by the owner of another channel.", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "`not_found`: there is no such channel.", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "`too_many_feeds`: this account has many subscriptions.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn subscribe_events(
    State(server): State<Arc<Server>>,
    method: Method,
    authenticated: Authenticated,
    Query(query): Query<SubscribeQuery>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let mut selection = Selection::new(&server, &authenticated, (&query).into()).await?;
    if let Some(position) = last_event_id(&headers)? {
        selection.filter.after = position;
    }
    let head = head(&server).await?;
    if selection.filter.after > head {
        return Err(ApiError::position_beyond_head("after", head).header(HEAD_POSITION, HeaderValue::from(head)));
    }
    if method == Method::HEAD {
        return Ok(subscription::headers_only(head));
    }
    let place = server.subscriptions.take(authenticated.account_id)?;
    Ok(subscription::answer(&server, selection, head, place))
}

/// The position in `Last-Event-ID`, if there is one.
fn last_event_id(headers: &HeaderMap) -> ApiResult<Option<i64>> {
    match headers.get("last-event-id") {
        // A client without an id may send the header empty.
        None => Ok(None),
        Some(id) if id.is_empty() => Ok(None),
        Some(id) => {
            let position = id.to_str().ok().and_then(position);
            position.map(Some).ok_or_else(ApiError::last_event_id_invalid)
        }
    }
}

async fn head(server: &Server) -> ApiResult<i64> {
    events::head(server.commands.pool()).await.map_err(ApiError::unavailable)
}

/// Whether the client asks for NDJSON and not rather for JSON.
fn prefers_ndjson(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (mut ndjson, mut json) = (0.0, 0.0);
    for range in accepted.flat_map(|value| value.split(',')) {
        let (kind, parameters) = range.split_once(';').unwrap_or((range, ""));
        let weight = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
        let weight: f32 = weight.map_or(1.0, |weight| weight.parse().unwrap_or(0.0));
        match kind.trim().to_ascii_lowercase().as_str() {
            NDJSON => ndjson = weight,
            "application/json" => json = weight,
            _ => {}
        }
    }
    ndjson > 0.0 && ndjson >= json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ndjson_is_for_those_who_ask_for_it() {
        let prefers = |accepted: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accepted.parse().unwrap());
            prefers_ndjson(&headers)
        };
        assert!(!prefers_ndjson(&HeaderMap::new()));
        for wanted in [NDJSON, "Application/X-NDJSON; charset=utf-8", "application/json;q=0.5, application/x-ndjson"] {
            assert!(prefers(wanted), "{wanted}");
        }
        for unwanted in
            ["*/*", "application/json", "application/x-ndjson;q=0", "application/x-ndjson;q=0.1, application/json"]
        {
            assert!(!prefers(unwanted), "{unwanted}");
        }
    }
}
