//! One event of each type that there is, from the golden payloads, as they could have happened to one person with one channel: so
//! that no type is missing where every read model is compared, whoever adds one.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use domain::{DomainEvent, EventDescription, catalogue};
use serde_json::{Value, json};
use uuid::Uuid;

/// One of each type in its current version, with new ids.
pub(crate) fn one_of_each() -> Vec<DomainEvent> {
    let mut described: Vec<EventDescription> = catalogue().into_iter().filter(|event| event.is_current).collect();
    described.sort_by_key(|event| (rank(event.event_type), event.event_type));
    let mut ids = BTreeMap::new();
    described.iter().map(|event| decoded(event, &mut ids)).collect()
}

/// What comes first is told of first: whose it is before what they have, its beginning before its end.
fn rank(event_type: &str) -> u8 {
    let (aggregate, happened) = event_type.split_once('.').unwrap();
    let of_aggregate = match aggregate {
        "install" => 0,
        "account" => 1,
        "channel" => 2,
        "stream" => 3,
        _ => 4,
    };
    match happened {
        "registered" | "created" | "opened" | "started" | "filed" | "requested" | "confirmation_requested" => {
            of_aggregate
        }
        "ended" | "closed" | "deleted" | "erased" | "revoked" => 30 - of_aggregate,
        "failed" => 15,
        // What takes something back.
        "reinstated" | "erasure_cancelled" | "second_factor_disabled" | "administrator_revoked" | "role_taken" => 12,
        _ => 10,
    }
}

fn decoded(described: &EventDescription, ids: &mut BTreeMap<&'static str, Uuid>) -> DomainEvent {
    let EventDescription { event_type, version, aggregate_type, .. } = described;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../domain/tests/events");
    let payload = std::fs::read_to_string(format!("{folder}/{event_type}.v{version}.json")).unwrap();
    let mut payload: Value = serde_json::from_str(&payload).unwrap();
    rename(&mut payload, ids);
    DomainEvent::decode(aggregate_type, event_type, version, &payload.to_string()).unwrap()
}

/// The same id for the same thing, and what is sealed as [`Keys`](crate::stage::Keys) opens it.
fn rename(value: &mut Value, ids: &mut BTreeMap<&'static str, Uuid>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match thing(name).filter(|_| value.is_string()) {
                    Some(thing) => *value = json!(ids.entry(thing).or_insert_with(Uuid::now_v7)),
                    None if name == "ciphertext" => *value = json!(STANDARD_NO_PAD.encode("sealed")),
                    None => rename(value, ids),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| rename(value, ids)),
        _ => {}
    }
}

/// What the id of a field is of.
fn thing(field: &str) -> Option<&'static str> {
    Some(match field {
        "account_id" | "owner_id" | "by" => "account",
        "channel_id" => "channel",
        "stream_id" => "stream",
        // What is reported is a recording.
        "recording_id" | "id" => "recording",
        "session_id" | "ends_all_but" => "session",
        "token_id" => "token",
        "export_id" => "export",
        "invite_id" => "invite",
        "report_id" => "report",
        "node_id" => "node",
        _ => return None,
    })
}
