//! Events: the log as a feed, for administrators.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};
use time::OffsetDateTime;
use utoipa::{
    IntoParams, ToSchema,
    openapi::schema::{Object, ObjectBuilder},
};

use crate::{Limit, Page};

/// A fact of the log, in the terms of CloudEvents 1.0 with `position`, `sequence`, `version` and `actor` added.
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
    /// The version of the shape of `data`.
    #[schema(example = "1")]
    pub version: String,
    /// What it happened to: kind and id.
    #[schema(example = "channel/01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01")]
    pub subject: String,
    /// Its place among the events of its subject; contiguous from 1.
    #[schema(example = 1, minimum = 1)]
    pub sequence: i64,
    /// When the log took it.
    #[serde(with = "time::serde::rfc3339")]
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub time: OffsetDateTime,
    /// Who caused it: `account:<id>`, `ingest:<node id>` or `system`.
    #[schema(example = "account:01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d00")]
    pub actor: String,
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

/// Some events, in the order of their positions. `next_cursor` is the last position, or `null` at the end of the log: to
/// go on from there later, give the position of the last item.
pub type EventPage = Page<Event>;

/// Which events to list.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<u8>, minimum = 1, maximum = 100, default = 20, example = 20)]
    pub limit: Limit,
    /// Only events after this position; from the first one when left out.
    #[param(value_type = Option<i64>, minimum = 0, example = 0)]
    pub after: Option<String>,
}
