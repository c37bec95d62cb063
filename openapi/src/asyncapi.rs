//! The AsyncAPI document: what travels over NATS and over the feed of server-sent events, with the schema of every event.
//!
//! `api` says which events there are; nothing here needs a change for a new one.

use serde_json::{Map, Value, json};
use utoipa::PartialSchema;

use crate::events::Event;

/// One version of a type of event, for the document.
#[derive(Debug, Clone)]
pub struct EventMessage {
    /// Its name, `channel.created` for example.
    pub event_type: &'static str,
    /// The version of its shape.
    pub version: &'static str,
    /// The kind of thing that it happens to, `channel` for example.
    pub subject_kind: &'static str,
    /// What it says, in a sentence.
    pub summary: String,
    /// The JSON Schema of its data.
    pub schema: Value,
    /// Its data, for example.
    pub example: Value,
    /// The name by which the log tags its data, `Created` for example.
    pub tag: String,
    /// Whether events of this type are written in this version today.
    pub is_current: bool,
}

impl EventMessage {
    /// The name of its schema and the stem of its messages' names.
    fn name(&self) -> String {
        format!("{}.v{}", self.event_type, self.version)
    }

    /// The id of what it happened to, in the example.
    fn example_id(&self) -> &str {
        self.example[format!("{}_id", self.subject_kind)].as_str().unwrap_or("01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d01")
    }
}

const DESCRIPTION: &str = "\
What Weir, a self-hosted live-streaming platform, tells as it happens.

Every fact is an event in one ordered log. Each event goes out in two ways: over NATS JetStream (stream `WEIR_EVENTS`), \
for what runs beside Weir and may see everything, and as server-sent events over HTTP, for everybody who may read the \
feed. Over NATS an event has the form in which the log keeps it; over HTTP it is a CloudEvent, in which people stand under \
pseudonyms.

Positions are contiguous, so a follower knows what comes next and where to go on. Fields may be added at any time; a \
changed shape is a new version beside the old.";

const EXAMPLE_ID: &str = "01935a3c-7c5e-7cc1-9b1e-2f1a4a1e9d07";
const EXAMPLE_SOURCE: &str = "https://weir.example.org";
const EXAMPLE_TIME: &str = "2026-11-21T10:00:00.123456Z";

const SSE: &str = "/api/v1/events/subscribe";

/// The whole document.
#[must_use]
pub fn document(events: &[EventMessage]) -> Value {
    let mut channels = Map::new();
    let mut operations = Map::new();
    let mut messages = Map::new();
    let mut schemas = Map::new();
    schemas.insert("Event".to_owned(), envelope());
    schemas.insert("StoredEvent".to_owned(), stored());
    schemas.insert("CaughtUp".to_owned(), caught_up());

    let mut sse_messages = Map::new();
    for event in events {
        let name = event.name();
        schemas.insert(name.clone(), without_frame(event.schema.clone()));
        messages.insert(format!("{name}.stored"), stored_message(event));
        messages.insert(format!("{name}.cloudevent"), cloudevent_message(event));
        sse_messages.insert(name.clone(), reference("messages", &format!("{name}.cloudevent")));

        let channel = channels.entry(event.event_type).or_insert_with(|| nats_channel(event));
        channel["messages"][&name] = reference("messages", &format!("{name}.stored"));
        operations.entry(format!("send.{}", event.event_type)).or_insert_with(|| {
            json!({
                "action": "send",
                "channel": {"$ref": format!("#/channels/{}", event.event_type)},
                "summary": format!("Weir publishes {}.", event.event_type),
            })
        });
    }
    messages.insert("caught_up".to_owned(), caught_up_message());
    sse_messages.insert("caught_up".to_owned(), reference("messages", "caught_up"));
    channels.insert("subscribe".to_owned(), sse_channel(sse_messages));
    operations.insert(
        "send.subscribe".to_owned(),
        json!({
            "action": "send",
            "channel": {"$ref": "#/channels/subscribe"},
            "summary": "Weir sends the events that the subscriber asked for, first those of the past, then as they happen.",
            "bindings": {"http": {"method": "GET", "bindingVersion": "0.3.0"}},
        }),
    );

    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Weir",
            "version": env!("CARGO_PKG_VERSION"),
            "description": DESCRIPTION,
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "nats": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "The NATS server of this install, as --nats-url says. It is for the operator's own services: \
                                whoever reads from it sees every event.",
            },
            "http": {
                "host": "127.0.0.1:8080",
                "protocol": "http",
                "description": "The public address of this install.",
                "security": [{"$ref": "#/components/securitySchemes/access_token"}],
            },
        },
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {
                "access_token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "The `access_token` from registering, signing in or refreshing.",
                },
            },
        },
    })
}

fn reference(kind: &str, name: &str) -> Value {
    json!({"$ref": format!("#/components/{kind}/{name}")})
}

fn nats_channel(event: &EventMessage) -> Value {
    json!({
        "address": format!("weir.events.{}", event.event_type),
        "title": event.event_type,
        "summary": event.summary,
        "description": "A subject of the JetStream stream `WEIR_EVENTS`, which keeps 7 days. Each event is there once, in the \
                        order of the log.",
        "servers": [{"$ref": "#/servers/nats"}],
        "messages": {},
    })
}

fn sse_channel(messages: Map<String, Value>) -> Value {
    json!({
        "address": SSE,
        "title": "The event feed",
        "summary": "Events as server-sent events: `id` is the position, `event` the type, `data` a CloudEvent.",
        "description": "To go on after a break, send the last `id` in the header `Last-Event-ID`. Parameters and rights are in the \
                        OpenAPI document, operation `subscribe_events`.",
        "servers": [{"$ref": "#/servers/http"}],
        "messages": messages,
    })
}

fn stored_message(event: &EventMessage) -> Value {
    let EventMessage { event_type, version, tag, .. } = event;
    json!({
        "name": event_type,
        "title": format!("{event_type}, version {version}, as the log keeps it"),
        "summary": event.summary,
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "required": ["Weir-Position"],
            "properties": {
                "Weir-Position": {"type": "string", "pattern": "^[0-9]+$", "description": "The event's position."},
            },
        },
        "payload": {
            "allOf": [
                reference("schemas", "StoredEvent"),
                {
                    "type": "object",
                    "properties": {
                        "event_type": {"const": event_type},
                        "event_version": {"const": version},
                        "payload": {
                            "type": "object",
                            "required": [tag],
                            "properties": {tag: reference("schemas", &event.name())},
                        },
                    },
                },
            ],
        },
        "examples": [{"payload": {
            "position": 42, "aggregate_type": event.subject_kind, "aggregate_id": event.example_id(), "sequence": 1,
            "event_type": event_type, "event_version": version, "payload": {tag: event.example},
            "metadata": {"actor": "system", "command_id": EXAMPLE_ID, "correlation_id": EXAMPLE_ID},
            "recorded_at": EXAMPLE_TIME,
        }}],
        "x-is-current": event.is_current,
    })
}

fn cloudevent_message(event: &EventMessage) -> Value {
    let EventMessage { event_type, version, .. } = event;
    let subject = format!("{}/{}", event.subject_kind, event.example_id());
    json!({
        "name": event_type,
        "title": format!("{event_type}, version {version}"),
        "summary": event.summary,
        "contentType": "application/json",
        "payload": {
            "allOf": [
                reference("schemas", "Event"),
                {
                    "type": "object",
                    "properties": {
                        "type": {"const": event_type},
                        "version": {"const": version},
                        "data": reference("schemas", &event.name()),
                    },
                },
            ],
        },
        "examples": [{"payload": {
            "specversion": "1.0", "position": 42, "id": format!("{subject}/1"), "source": EXAMPLE_SOURCE, "type": event_type,
            "version": version, "subject": subject, "sequence": 1, "time": EXAMPLE_TIME, "actor": "system",
            "correlationid": EXAMPLE_ID, "datacontenttype": "application/json",
            "dataschema": format!("{EXAMPLE_SOURCE}/api/v1/events/schemas/{event_type}/{version}"), "data": event.example,
        }}],
        "x-is-current": event.is_current,
    })
}

fn caught_up_message() -> Value {
    json!({
        "name": "caught_up",
        "title": "The head of the log",
        "summary": "Sent when the subscriber has everything up to the head of the log, after connecting and after falling behind.",
        "contentType": "application/json",
        "payload": reference("schemas", "CaughtUp"),
    })
}

fn caught_up() -> Value {
    json!({
        "type": "object",
        "description": "Everything up to this position was sent.",
        "required": ["position"],
        "properties": {"position": {"type": "integer", "minimum": 0, "description": "The head of the log."}},
    })
}

/// The CloudEvent as the OpenAPI document has it.
fn envelope() -> Value {
    serde_json::to_value(Event::schema()).expect("a schema is JSON")
}

/// An event as it travels over NATS.
fn stored() -> Value {
    let text = |description: &str| json!({"type": "string", "description": description});
    let number = |description: &str| json!({"type": "integer", "minimum": 1, "description": description});
    json!({
        "type": "object",
        "description": "An event as the log keeps it.",
        "required": [
            "position", "aggregate_type", "aggregate_id", "sequence", "event_type", "event_version", "payload", "metadata",
            "recorded_at",
        ],
        "properties": {
            "position": number("Its place in the one order of all events; contiguous from 1."),
            "aggregate_type": text("The kind of thing that it happened to, `channel` for example."),
            "aggregate_id": text("Which one."),
            "sequence": number("Its place among the events of that thing; contiguous from 1."),
            "event_type": text("What happened."),
            "event_version": text("The version of the shape of its data."),
            "payload": {
                "type": "object",
                "description": "The fact, under the name of its kind: `{\"Created\": {…}}`. Personal data stays sealed.",
            },
            "metadata": {
                "type": "object",
                "description": "Who caused it and what it belongs to.",
                "required": ["actor", "command_id", "correlation_id"],
                "properties": {
                    "actor": text("`account:<id>`, `ingest:<node id>` or `system`."),
                    "command_id": text("The command that led to it."),
                    "correlation_id": text("What the command was part of, a request for example."),
                    "causation_id": text("The event or command that led to the command, if it was not a person."),
                },
            },
            "recorded_at": {"type": "string", "format": "date-time", "description": "When the log took it."},
        },
    })
}

/// A schema without what only a schema on its own says of itself.
fn without_frame(mut schema: Value) -> Value {
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
        fields.remove("$id");
    }
    schema
}
