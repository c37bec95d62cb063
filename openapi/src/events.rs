//! Events: the log as a feed, in pages, as one long answer, and as it grows.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use time::OffsetDateTime;
use utoipa::{
    IntoParams, ToSchema,
    openapi::schema::{Object, ObjectBuilder},
};

/// The media type of events one a line.
pub const NDJSON: &str = "application/x-ndjson";
/// The media type of server-sent events.
pub const EVENT_STREAM: &str = "text/event-stream";
/// The media type of JSON Schemas.
pub const SCHEMA_JSON: &str = "application/schema+json";
/// The header that says where the log ended when the answer began.
pub const HEAD_POSITION: &str = "weir-head-position";

/// A fact of the log, in the terms of CloudEvents 1.0 with `position`, `sequence`, `version`, `actor`, `correlationid` and
/// `causationid` added.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Always `1.0`.
    #[schema(example = "1.0")]
    pub specversion: Cow<'static, str>,
    /// Its place in the one order of all events; contiguous from 1.
    #[schema(example = 42, minimum = 1)]
    pub position: i64,
    /// Unique within `source`: the subject and the event's place among the events of that subject.
    #[schema(example = "channel/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01/1")]
    pub id: String,
    /// The install it comes from: its public address.
    #[schema(format = "uri-reference", example = "https://weir.example.org")]
    pub source: String,
    /// What happened.
    #[serde(rename = "type")]
    #[schema(example = "channel.created")]
    pub kind: String,
    /// The version of the shape of `data`: the one in which it was stored.
    #[schema(example = "1")]
    pub version: String,
    /// What it happened to: kind and id.
    #[schema(example = "channel/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01")]
    pub subject: String,
    /// Its place among the events of its subject; contiguous from 1.
    #[schema(example = 1, minimum = 1)]
    pub sequence: i64,
    /// When the log took it. Never earlier than that of the position before.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub time: OffsetDateTime,
    /// Who caused it: `account:<id>`, `ingest:<node id>` or `system`. The account's id is a pseudonym unless
    /// `actors=plain` was asked for.
    #[schema(example = "account:01935a3c-7c5e-8cc1-9b1e-2f1a4a1e9d00")]
    pub actor: String,
    /// Always `application/json`.
    #[schema(example = "application/json")]
    pub datacontenttype: Cow<'static, str>,
    /// The JSON Schema of `data`.
    #[schema(format = "uri-reference", example = "https://weir.example.org/api/v1/events/schemas/channel.created/1")]
    pub dataschema: String,
    /// What it was part of: the same for all that one request led to.
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d07")]
    pub correlationid: String,
    /// The event or command that led to it; left out when a person did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d08", nullable = false)]
    pub causationid: Option<String>,
    /// The fact itself. Personal data stays sealed: `{"account_id": …, "ciphertext": …}`.
    #[schema(schema_with = data)]
    pub data: Box<RawValue>,
}

fn data() -> Object {
    ObjectBuilder::new()
        .description(Some("The fact itself. Personal data stays sealed: `{\"account_id\": …, \"ciphertext\": …}`."))
        .examples([json!({"handle": "river_talks", "title": "Talks by the river"})])
        .build()
}

/// Some events, in the order of their positions. To go on later from the end of the log, give the header
/// `Weir-Head-Position` as `after`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The events.
    #[schema(max_items = 1000)]
    pub items: Vec<Event>,
    /// What to give as `after` for the next page; `null` at the end of the log.
    #[schema(required = true, example = "42")]
    pub next_cursor: Option<String>,
}

/// Whose ids stand in events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorNames {
    /// Accounts stand under pseudonyms: the same account under the same one everywhere, but not under its id.
    #[default]
    Pseudonymous,
    /// Accounts stand under their ids; for administrators.
    Plain,
}

/// The form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventsFormat {
    /// A page.
    Json,
    /// Everything that matches, an event a line.
    Ndjson,
}

/// How many events to give at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u64")]
pub struct EventLimit(u64);

impl EventLimit {
    /// The most that a page can have.
    pub const MAX_OF_PAGE: u64 = 1_000;
    /// What a page has when nothing is said.
    pub const DEFAULT_OF_PAGE: u64 = 100;

    /// The number of events.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl TryFrom<u64> for EventLimit {
    type Error = &'static str;

    fn try_from(limit: u64) -> Result<Self, Self::Error> {
        if limit == 0 { Err("use a number from 1 on") } else { Ok(Self(limit)) }
    }
}

/// Which events to give, and how.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only events after this position; from the first one when left out.
    #[param(value_type = Option<i64>, minimum = 0, example = 0)]
    pub after: Option<String>,
    /// Only these types, with commas between: `channel.created`, or `channel.*` for all that begin so.
    #[param(example = "channel.*,stream.started", max_length = 4096)]
    pub types: Option<String>,
    /// Only what happened to this one: kind and id.
    #[param(example = "channel/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01", max_length = 300)]
    pub subject: Option<String>,
    /// Only what happened to this channel and its streams: its handle or its id. Its owner may give it, and everybody who
    /// is not an administrator has to.
    #[param(example = "river_talks", max_length = 64)]
    pub channel: Option<String>,
    /// Only events that the log took at this time (RFC 3339) or later.
    #[param(value_type = Option<OffsetDateTime>, example = "2026-11-01T00:00:00Z")]
    pub from: Option<String>,
    /// Only events that the log took before this time (RFC 3339).
    #[param(value_type = Option<OffsetDateTime>, example = "2026-12-01T00:00:00Z")]
    pub to: Option<String>,
    /// How many at most. A page has up to 1,000, and 100 when nothing is said; NDJSON has all, when nothing is said.
    #[param(value_type = Option<u64>, minimum = 1, example = 100)]
    pub limit: Option<EventLimit>,
    /// Whether accounts stand under pseudonyms; `plain` is for administrators.
    #[param(inline, example = "pseudonymous")]
    pub actors: Option<ActorNames>,
    /// The form of the answer; wins over the header `Accept`.
    #[param(inline, example = "json")]
    pub format: Option<EventsFormat>,
}

/// Which events to send.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SubscribeQuery {
    /// Only events after this position; from the first one when left out.
    #[param(value_type = Option<i64>, minimum = 0, example = 0)]
    pub after: Option<String>,
    /// Only these types, with commas between: `channel.created`, or `channel.*` for all that begin so.
    #[param(example = "channel.*,stream.started", max_length = 4096)]
    pub types: Option<String>,
    /// Only what happened to this one: kind and id.
    #[param(example = "channel/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01", max_length = 300)]
    pub subject: Option<String>,
    /// Only what happened to this channel and its streams: its handle or its id. Its owner may give it, and everybody who
    /// is not an administrator has to.
    #[param(example = "river_talks", max_length = 64)]
    pub channel: Option<String>,
    /// Whether accounts stand under pseudonyms; `plain` is for administrators.
    #[param(inline, example = "pseudonymous")]
    pub actors: Option<ActorNames>,
}

/// Every type of event that there is, in each version.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventTypes {
    /// By subject, type and version.
    pub items: Vec<EventType>,
}

/// One version of a type of event.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EventType {
    /// What happened.
    #[serde(rename = "type")]
    #[schema(example = "channel.created")]
    pub kind: String,
    /// The version of the shape of its data.
    #[schema(example = "1")]
    pub version: String,
    /// The kind of thing that it happens to; the first half of `subject`.
    #[schema(example = "channel")]
    pub subject_kind: String,
    /// What it says, in a sentence.
    #[schema(example = "There is a new channel.")]
    pub summary: String,
    /// Whether events of this type are written in this version today; others are from the past.
    #[schema(example = true)]
    pub is_current: bool,
    /// The JSON Schema of its data.
    #[schema(format = "uri-reference", example = "https://weir.example.org/api/v1/events/schemas/channel.created/1")]
    pub dataschema: String,
    /// Its data, for example.
    #[schema(schema_with = data)]
    pub example: serde_json::Value,
}
