//! Every event has a golden payload under `events/`, named `<type>.v<version>.json`, that is added and never edited:
//! what the log holds from any day must decode, and encode again to the same.

use std::{collections::BTreeSet, fs, path::PathBuf};

use domain::{
    Aggregate, DomainEvent, Event,
    accounts::{Account, AccountEvent, Session, SessionEvent},
    channels::{Channel, ChannelEvent},
    streams::{Stream, StreamEvent},
};
use serde_json::Value;

/// Every aggregate with the names of its events. A capability adds a line.
const AGGREGATES: &[(&str, &[&str])] = &[
    (Account::TYPE, AccountEvent::TYPES),
    (Session::TYPE, SessionEvent::TYPES),
    (Channel::TYPE, ChannelEvent::TYPES),
    (Stream::TYPE, StreamEvent::TYPES),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/events")
}

/// Type, version and payload of each golden file.
fn golden() -> Vec<(String, String, String)> {
    let mut golden: Vec<_> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let (event_type, version) = name.strip_suffix(".json").unwrap().rsplit_once(".v").unwrap();
            (event_type.to_owned(), version.to_owned(), fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    golden.sort();
    golden
}

fn aggregate_of(event_type: &str) -> &'static str {
    let of = AGGREGATES.iter().find(|(_, event_types)| event_types.contains(&event_type));
    of.unwrap_or_else(|| panic!("no aggregate has an event {event_type}")).0
}

fn encoded(event: &DomainEvent) -> Value {
    match event {
        DomainEvent::Account(event) => serde_json::to_value(event),
        DomainEvent::Session(event) => serde_json::to_value(event),
        DomainEvent::Channel(event) => serde_json::to_value(event),
        DomainEvent::Stream(event) => serde_json::to_value(event),
    }
    .unwrap()
}

fn version(event: &DomainEvent) -> &'static str {
    match event {
        DomainEvent::Account(event) => event.event_version(),
        DomainEvent::Session(event) => event.event_version(),
        DomainEvent::Channel(event) => event.event_version(),
        DomainEvent::Stream(event) => event.event_version(),
    }
}

#[test]
fn every_event_has_a_golden_payload_of_its_current_version() {
    let golden = golden();
    for event_type in AGGREGATES.iter().flat_map(|(_, event_types)| *event_types) {
        let of_type: Vec<_> = golden.iter().filter(|(golden_type, ..)| golden_type == event_type).collect();
        assert!(!of_type.is_empty(), "add tests/events/{event_type}.v1.json");
        let (_, _, payload) = of_type[0];
        let event = DomainEvent::decode(aggregate_of(event_type), event_type, &of_type[0].1, payload).unwrap();
        let current = version(&event);
        assert!(of_type.iter().any(|(_, of, _)| of == current), "add tests/events/{event_type}.v{current}.json");
    }
}

#[test]
fn every_golden_payload_decodes_and_encodes_to_the_same() {
    for (event_type, event_version, payload) in golden() {
        let event = DomainEvent::decode(aggregate_of(&event_type), &event_type, &event_version, &payload)
            .unwrap_or_else(|error| panic!("{event_type}.v{event_version}: {error:?}"));
        assert_eq!(event.event_type(), event_type);
        if version(&event) == event_version {
            let golden: Value = serde_json::from_str(&payload).unwrap();
            assert_eq!(encoded(&event), golden, "{event_type}.v{event_version}");
        }
    }
}

/// Each event's variant, so that a new one without a name in `TYPES` fails here too.
#[test]
fn the_listed_names_are_those_of_the_events() {
    let listed: BTreeSet<_> = AGGREGATES.iter().flat_map(|(_, event_types)| event_types.iter().copied()).collect();
    let golden: BTreeSet<_> = golden().into_iter().map(|(event_type, ..)| event_type).collect();
    assert_eq!(listed, golden.iter().map(String::as_str).collect());
}

#[test]
fn what_is_no_event_says_so() {
    let payload = fs::read_to_string(folder().join("channel.created.v1.json")).unwrap();
    let decode = |aggregate_type, event_type, version, payload| {
        DomainEvent::decode(aggregate_type, event_type, version, payload).unwrap_err().to_string()
    };
    assert!(decode("channel", "channel.closed", "1", &payload).contains("channel.closed"));
    assert!(decode("stream", "channel.created", "1", &payload).contains("aggregate stream"));
    assert!(decode("channel", "channel.created", "2", &payload).contains("version 2"));
    assert!(decode("channel", "channel.details_changed", "1", &payload).contains("channel.details_changed"));
    assert!(decode("channel", "channel.created", "1", "{\"Created\":{}}").contains("does not fit"));
}
