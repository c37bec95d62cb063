//! Old shapes of events, made into the current ones when they are read. What is stored stays as it is.
//!
//! To give an event a new shape: change the event, let [`Event::event_version`](crate::Event::event_version) say its new
//! version, add a line to `UPCASTS`, and a golden payload of the new version; the old golden payload stays.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Value, json, value::RawValue};

use crate::DecodeError;

/// The fields of an event as they were written.
type Fields = BTreeMap<String, Box<RawValue>>;

/// One step from a version to the next.
pub(crate) struct Upcast {
    pub(crate) event_type: &'static str,
    pub(crate) from: &'static str,
    to: &'static str,
    fields: fn(&mut Fields),
    /// Makes the schema of `to` into that of `from`.
    pub(crate) schema: fn(&mut Value),
}

/// All of them; of one event type in the order of its versions.
pub(crate) const UPCASTS: &[Upcast] = &[
    Upcast {
        event_type: "account.password_changed",
        from: "1",
        to: "2",
        // Nothing else ended a session then but a reset, and its request itself.
        fields: |fields| _ = fields.insert("ends_all_but".to_owned(), RawValue::NULL.to_owned()),
        schema: |schema| without_field(schema, "ends_all_but"),
    },
    Upcast {
        event_type: "personal_export.failed",
        from: "1",
        to: "2",
        fields: |fields| {
            // Without one it is damaged, and stays so.
            let Some(reason) = fields.remove("reason") else { return };
            let failure = match reason.get() {
                reason if reason.contains("no room left") => "\"storage_full\"",
                reason if reason.contains("was interrupted") => "\"interrupted\"",
                _ => "\"unwritable\"",
            };
            let failure = RawValue::from_string(failure.to_owned()).expect("a word is JSON");
            fields.insert("failure".to_owned(), failure);
        },
        schema: |schema| {
            without_field(schema, "failure");
            let reason =
                json!({ "type": "string", "description": "What went wrong, in words for whoever asked for it." });
            with_field(schema, "reason", reason);
        },
    },
    Upcast {
        event_type: "report.decided",
        from: "1",
        to: "2",
        // The account was suspended before it was decided.
        fields: |fields| _ = fields.insert("suspension".to_owned(), RawValue::NULL.to_owned()),
        schema: |schema| without_field(schema, "suspension"),
    },
    Upcast {
        event_type: "stream.started",
        from: "1",
        to: "2",
        fields: |fields| _ = fields.insert("encoder".to_owned(), RawValue::NULL.to_owned()),
        schema: |schema| without_field(schema, "encoder"),
    },
    Upcast {
        event_type: "stream.started",
        from: "2",
        to: "3",
        // A picture that was always there is one that may be missing.
        fields: |_| {},
        schema: |schema| without_null(schema, "video", "The picture."),
    },
];

/// The version in which events of this type are written today; `1` for those that never changed.
pub(crate) fn current_version(event_type: &str) -> &'static str {
    UPCASTS.iter().rfind(|upcast| upcast.event_type == event_type).map_or("1", |upcast| upcast.to)
}

/// The payload in the current version of its type: `payload` itself unless it is of an older one.
///
/// # Errors
/// [`DecodeError::Unknown`] for a version that is not known, [`DecodeError::Payload`] for an old payload that does not
/// look like an event.
pub fn upcast<'a>(event_type: &str, event_version: &str, payload: &'a str) -> Result<Cow<'a, str>, DecodeError> {
    if event_version == current_version(event_type) {
        return Ok(Cow::Borrowed(payload));
    }
    let unfit = |source| DecodeError::Payload { event_type: event_type.to_owned(), source };
    let mut version = event_version;
    let mut event: Option<BTreeMap<String, Fields>> = None;
    for step in UPCASTS.iter().filter(|upcast| upcast.event_type == event_type) {
        if step.from == version {
            let event = match &mut event {
                Some(event) => event,
                none => none.insert(serde_json::from_str(payload).map_err(unfit)?),
            };
            event.values_mut().for_each(step.fields);
            version = step.to;
        }
    }
    match event {
        Some(event) => serde_json::to_string(&event).map(Cow::Owned).map_err(unfit),
        None => Err(DecodeError::unknown(event_type, event_version)),
    }
}

/// The field may not be null, and is described so.
fn without_null(schema: &mut Value, field: &str, description: &str) {
    let Some(field) = schema.get_mut("properties").and_then(|properties| properties.get_mut(field)) else { return };
    if let Some(kinds) = field.get_mut("anyOf").and_then(Value::as_array_mut)
        && let Some(kind) = kinds.iter().find(|kind| kind["type"] != "null").cloned()
    {
        *field = kind;
    } else if let Some(kinds) = field.get_mut("type").and_then(Value::as_array_mut)
        && let Some(kind) = kinds.iter().find(|kind| **kind != "null").cloned()
    {
        field["type"] = kind;
    }
    field["description"] = description.into();
}

fn without_field(schema: &mut Value, field: &str) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove(field);
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != field);
    }
}

fn with_field(schema: &mut Value, field: &str, description: Value) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(field.to_owned(), description);
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.push(field.into());
    }
}
