//! Which events there are: as JSON, as schemas, as a page to read, and as an AsyncAPI document. All of it comes from
//! `domain::catalogue` and the golden payloads; a new event needs nothing here.

mod page;

use std::{collections::HashMap, sync::LazyLock};

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use bytes::Bytes;
use domain::{EventDescription, catalogue};
use openapi::{
    Problem,
    asyncapi::{self, EventMessage},
    events::{EventType, EventTypes, SCHEMA_JSON},
};
use rust_embed::Embed;
use serde_json::Value;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    addresses::Addresses,
    conditional,
    error::{ApiError, ApiResult},
    extract::Path,
    server::Server,
};

/// Where the page is.
pub(crate) const PAGE: &str = "/docs/events";

/// What is the same for everybody may be kept for a while: it changes with a new version of Weir alone.
const CACHED: HeaderValue = HeaderValue::from_static("public, max-age=3600");

/// The payloads that the tests of `domain` hold every event against.
#[derive(Embed)]
#[folder = "$CARGO_MANIFEST_DIR/../domain/tests/events"]
struct Golden;

/// One version of a type of event, with an example.
struct Described {
    description: EventDescription,
    /// By what its data is tagged in the log.
    tag: String,
    /// Its data, for example.
    example: Value,
}

static CATALOGUE: LazyLock<Vec<Described>> = LazyLock::new(|| {
    catalogue()
        .into_iter()
        .map(|description| {
            let (tag, example) = golden(&description).unwrap_or_default();
            Described { description, tag, example }
        })
        .collect()
});

/// Tag and data of a golden payload.
fn golden(description: &EventDescription) -> Option<(String, Value)> {
    let file = Golden::get(&format!("{}.v{}.json", description.event_type, description.version))?;
    let payload: HashMap<String, Value> = serde_json::from_slice(&file.data).ok()?;
    payload.into_iter().next()
}

/// The names of all types, in the order of the alphabet.
pub(crate) fn types() -> &'static [&'static str] {
    static TYPES: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| sorted(CATALOGUE.iter().map(|described| described.description.event_type)));
    &TYPES
}

/// The kinds of things that events happen to.
pub(crate) fn subject_kinds() -> &'static [&'static str] {
    static KINDS: LazyLock<Vec<&'static str>> =
        LazyLock::new(|| sorted(CATALOGUE.iter().map(|described| described.description.aggregate_type)));
    &KINDS
}

fn sorted(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Whether there is a type of this name, or for `channel.*` one that begins so.
pub(crate) fn is_known(wanted: &str) -> bool {
    match wanted.strip_suffix('*').filter(|prefix| prefix.ends_with('.')) {
        Some(prefix) => types().iter().any(|event_type| event_type.starts_with(prefix)),
        None => types().contains(&wanted),
    }
}

/// What is sent of the catalogue, made once.
pub(crate) struct Catalogue {
    types: Bytes,
    schemas: HashMap<(&'static str, &'static str), Bytes>,
    page: Bytes,
}

impl Catalogue {
    pub(crate) fn new(addresses: &Addresses) -> Self {
        let types = CATALOGUE.iter().map(|described| event_type(addresses, described)).collect();
        let types = serde_json::to_vec(&EventTypes { items: types }).expect("the catalogue is JSON");
        let schemas = CATALOGUE.iter().map(|Described { description, .. }| {
            let mut schema = description.schema.clone();
            if let Some(fields) = schema.as_object_mut() {
                fields.insert("$id".to_owned(), schema_address(addresses, description).into());
            }
            ((description.event_type, description.version), Bytes::from(schema.to_string()))
        });
        Self { types: types.into(), schemas: schemas.collect(), page: page::html(&CATALOGUE).into() }
    }
}

fn schema_address(addresses: &Addresses, description: &EventDescription) -> String {
    let EventDescription { event_type, version, .. } = description;
    addresses.page(&format!("/api/v1/events/schemas/{event_type}/{version}"))
}

fn event_type(addresses: &Addresses, described: &Described) -> EventType {
    let description = &described.description;
    EventType {
        kind: description.event_type.to_owned(),
        version: description.version.to_owned(),
        subject_kind: description.aggregate_type.to_owned(),
        summary: description.summary.clone(),
        is_current: description.is_current,
        dataschema: schema_address(addresses, description),
        example: described.example.clone(),
    }
}

/// The AsyncAPI document, as YAML.
#[must_use]
pub fn asyncapi() -> String {
    let messages: Vec<EventMessage> = CATALOGUE
        .iter()
        .map(|Described { description, tag, example }| EventMessage {
            event_type: description.event_type,
            version: description.version,
            subject_kind: description.aggregate_type,
            summary: description.summary.clone(),
            schema: description.schema.clone(),
            example: example.clone(),
            tag: tag.clone(),
            is_current: description.is_current,
        })
        .collect();
    openapi::to_yaml(&asyncapi::document(&messages))
}

pub(super) fn routes() -> OpenApiRouter<std::sync::Arc<Server>> {
    OpenApiRouter::new().routes(routes!(list_event_types)).routes(routes!(get_event_schema))
}

/// List event types
///
/// Every type of event in each of its versions, with an example of its data. For people the same is at `/docs/events`.
#[utoipa::path(
    get, path = "/api/v1/events/types", operation_id = "list_event_types", tag = "events",
    params(("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed.")),
    responses(
        (status = 200, description = "All of them.", body = EventTypes, headers(("ETag" = String, description = "Of the body."))),
        (status = 304, description = "Nothing has changed."),
    ),
)]
async fn list_event_types(State(server): State<std::sync::Arc<Server>>, headers: HeaderMap) -> Response {
    cached(&headers, "application/json", server.catalogue.types.clone())
}

/// Get the schema of an event
///
/// The JSON Schema (2020-12) of the data of one type of event in one version.
#[utoipa::path(
    get, path = "/api/v1/events/schemas/{type}/{version}", operation_id = "get_event_schema", tag = "events",
    params(
        ("type" = String, Path, description = "The type.", example = "channel.created"),
        ("version" = String, Path, description = "The version of the shape of its data.", example = "1"),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed."),
    ),
    responses(
        (status = 200, description = "The schema.", body = serde_json::Value, content_type = "application/schema+json", headers(("ETag" = String, description = "Of the body."))),
        (status = 304, description = "Nothing has changed."),
        (status = 404, description = "`not_found`: there is no such type or version.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn get_event_schema(
    State(server): State<std::sync::Arc<Server>>,
    Path((event_type, version)): Path<(String, String)>,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let schema = server.catalogue.schemas.get(&(event_type.as_str(), version.as_str())).ok_or_else(|| {
        ApiError::not_found("There is no event of this type and version; `/api/v1/events/types` lists what there is.")
    })?;
    Ok(cached(&headers, SCHEMA_JSON, schema.clone()))
}

/// The catalogue for people.
pub(crate) async fn get_page(State(server): State<std::sync::Arc<Server>>, headers: HeaderMap) -> Response {
    cached(&headers, "text/html; charset=utf-8", server.catalogue.page.clone())
}

fn cached(request: &HeaderMap, kind: &'static str, body: Bytes) -> Response {
    let tag = conditional::etag(&body);
    let mut response = conditional::bytes(request, kind, body, tag);
    response.headers_mut().insert(header::CACHE_CONTROL, CACHED);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_an_example() {
        for Described { description, tag, example } in CATALOGUE.iter() {
            let name = format!("{}.v{}", description.event_type, description.version);
            assert!(!tag.is_empty(), "{name} has no golden payload");
            assert!(example.is_object(), "{name}: {example}");
            // What is stored is what the name says, which is how the AsyncAPI document names it.
            let words = description.event_type.split_once('.').unwrap().1.replace('_', "");
            assert_eq!(tag.to_lowercase(), words, "{name}");
        }
    }

    #[test]
    fn types_may_be_named_by_how_they_begin() {
        for known in ["channel.created", "channel.*", "stream.*", "session.opened"] {
            assert!(is_known(known), "{known}");
        }
        for unknown in
            ["", "*", ".*", "channel", "channel.", "channel*", "chan.*", "channel.create", "channel.created.*"]
        {
            assert!(!is_known(unknown), "{unknown}");
        }
    }

    #[test]
    fn the_asyncapi_document_names_every_event() {
        let document = asyncapi();
        for event_type in types() {
            assert!(document.contains(&format!("address: weir.events.{event_type}\n")), "{event_type}");
        }
        assert!(document.contains("address: \"/api/v1/events/subscribe\"\n"), "{document}");
    }
}
