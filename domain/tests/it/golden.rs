//! Every event has a golden payload under `events/`, named `<type>.v<version>.json`, that is added and never edited:
//! what the log holds from any day must decode, and encode again to the same.

use std::{collections::BTreeSet, fs, path::PathBuf};

use domain::{
    Aggregate, DecodeError, DomainEvent, Event,
    accounts::{
        Account, AccountEmail, AccountEvent, EmailEvent, PasswordReset, PasswordResetEvent, PersonalExportEvent,
        PersonalExports, PersonalToken, PersonalTokenEvent, Profile, ProfileEvent, Session, SessionEvent, SignInEvent,
        SignIns,
    },
    channels::{Channel, ChannelEvent},
    exports::{Export, ExportEvent},
    invites::{Invite, InviteEvent},
    recordings::{Recording, RecordingEvent},
    registrations::{Install, InstallEvent, RegistrationInvite, RegistrationInviteEvent},
    reports::{Report, ReportEvent},
    streams::{Stream, StreamEvent},
};
use serde_json::Value;

/// Every aggregate with the names of its events. A capability adds a line.
const AGGREGATES: &[(&str, &[&str])] = &[
    (Account::TYPE, AccountEvent::TYPES),
    (Session::TYPE, SessionEvent::TYPES),
    (PersonalToken::TYPE, PersonalTokenEvent::TYPES),
    (SignIns::TYPE, SignInEvent::TYPES),
    (PersonalExports::TYPE, PersonalExportEvent::TYPES),
    (Profile::TYPE, ProfileEvent::TYPES),
    (AccountEmail::TYPE, EmailEvent::TYPES),
    (PasswordReset::TYPE, PasswordResetEvent::TYPES),
    (Channel::TYPE, ChannelEvent::TYPES),
    (Stream::TYPE, StreamEvent::TYPES),
    (Export::TYPE, ExportEvent::TYPES),
    (Recording::TYPE, RecordingEvent::TYPES),
    (Invite::TYPE, InviteEvent::TYPES),
    (Install::TYPE, InstallEvent::TYPES),
    (RegistrationInvite::TYPE, RegistrationInviteEvent::TYPES),
    (Report::TYPE, ReportEvent::TYPES),
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
        DomainEvent::PersonalToken(event) => serde_json::to_value(event),
        DomainEvent::SignIn(event) => serde_json::to_value(event),
        DomainEvent::PersonalExport(event) => serde_json::to_value(event),
        DomainEvent::Profile(event) => serde_json::to_value(event),
        DomainEvent::Email(event) => serde_json::to_value(event),
        DomainEvent::PasswordReset(event) => serde_json::to_value(event),
        DomainEvent::Channel(event) => serde_json::to_value(event),
        DomainEvent::Stream(event) => serde_json::to_value(event),
        DomainEvent::Export(event) => serde_json::to_value(event),
        DomainEvent::Recording(event) => serde_json::to_value(event),
        DomainEvent::Invite(event) => serde_json::to_value(event),
        DomainEvent::Install(event) => serde_json::to_value(event),
        DomainEvent::RegistrationInvite(event) => serde_json::to_value(event),
        DomainEvent::Report(event) => serde_json::to_value(event),
    }
    .unwrap()
}

fn version(event: &DomainEvent) -> &'static str {
    event.event_version()
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
    assert!(decode("channel", "channel.sold", "1", &payload).contains("channel.sold"));
    assert!(decode("stream", "channel.created", "1", &payload).contains("aggregate stream"));
    assert!(decode("channel", "channel.created", "2", &payload).contains("version 2"));
    assert!(decode("channel", "channel.details_changed", "1", &payload).contains("channel.details_changed"));
    assert!(decode("channel", "channel.created", "1", "{\"Created\":{}}").contains("does not fit"));
}

#[test]
fn a_version_from_the_future_is_named_wherever_it_is_read() {
    let payload = fs::read_to_string(folder().join("stream.started.v3.json")).unwrap();
    for version in ["4", "0", "", "newest"] {
        let errors = [
            DomainEvent::decode("stream", "stream.started", version, &payload).unwrap_err(),
            domain::decode::<StreamEvent>("stream.started", version, &payload).unwrap_err(),
            domain::upcast("stream.started", version, &payload).unwrap_err(),
        ];
        for error in errors {
            let DecodeError::Unknown { aggregate_type, event_type, event_version } = &error else {
                panic!("{error:?}");
            };
            assert_eq!((aggregate_type.as_str(), event_type.as_str()), ("stream", "stream.started"));
            assert_eq!(event_version, version);
            assert!(error.to_string().contains("newer Weir"), "{error}");
        }
    }
}

#[test]
fn a_stream_of_version_1_has_no_encoder_and_is_otherwise_the_same() {
    let old = fs::read_to_string(folder().join("stream.started.v1.json")).unwrap();
    let mut expected: Value = serde_json::from_str(&old).unwrap();
    expected["Started"]["encoder"] = Value::Null;
    let upcast = domain::upcast("stream.started", "1", &old).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&upcast).unwrap(), expected);
    let event = domain::decode::<StreamEvent>("stream.started", "1", &old).unwrap();
    assert_eq!((serde_json::to_value(&event).unwrap(), event.event_version()), (expected, "3"));
}

#[test]
fn a_stream_of_version_2_is_the_same_in_version_3() {
    let old = fs::read_to_string(folder().join("stream.started.v2.json")).unwrap();
    let upcast = domain::upcast("stream.started", "2", &old).unwrap();
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(&upcast), read(&old));
    let event = domain::decode::<StreamEvent>("stream.started", "2", &old).unwrap();
    assert!(matches!(event, StreamEvent::Started { video: Some(_), .. }));
}

#[test]
fn what_ended_or_was_suspended_by_an_event_of_before_stood_in_none() {
    for (event_type, variant, field) in
        [("account.password_changed", "PasswordChanged", "ends_all_but"), ("report.decided", "Decided", "suspension")]
    {
        let old = fs::read_to_string(folder().join(format!("{event_type}.v1.json"))).unwrap();
        let mut expected: Value = serde_json::from_str(&old).unwrap();
        expected[variant][field] = Value::Null;
        let upcast = domain::upcast(event_type, "1", &old).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&upcast).unwrap(), expected);
        let event = DomainEvent::decode(aggregate_of(event_type), event_type, "1", &old).unwrap();
        assert_eq!((encoded(&event), version(&event)), (expected, "2"));
    }
}

#[test]
fn what_a_copy_of_before_failed_of_is_known_by_its_words() {
    let old = fs::read_to_string(folder().join("personal_export.failed.v1.json")).unwrap();
    let current = fs::read_to_string(folder().join("personal_export.failed.v2.json")).unwrap();
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(&domain::upcast("personal_export.failed", "1", &old).unwrap()), read(&current));
    for (reason, failure) in [
        (
            "The server was interrupted five times while it wrote the file. Tell whoever runs it, and ask again.",
            "interrupted",
        ),
        ("The server could not write the file. Its log says why; tell whoever runs it, and ask again.", "unwritable"),
        ("", "unwritable"),
    ] {
        let mut old = read(&old);
        old["Failed"]["reason"] = reason.into();
        let event = domain::decode::<PersonalExportEvent>("personal_export.failed", "1", &old.to_string()).unwrap();
        assert_eq!(serde_json::to_value(&event).unwrap()["Failed"]["failure"], failure);
        assert_eq!(event.event_version(), "2");
    }
}

#[test]
fn what_is_current_is_read_as_it_stands() {
    let current = fs::read_to_string(folder().join("stream.started.v3.json")).unwrap();
    assert!(matches!(domain::upcast("stream.started", "3", &current).unwrap(), std::borrow::Cow::Borrowed(_)));
    assert!(matches!(domain::upcast("stream.ended", "1", "{}").unwrap(), std::borrow::Cow::Borrowed(_)));
}

#[test]
fn an_old_payload_that_is_damaged_is_no_event() {
    for payload in ["", "[]", "1", "{\"Started\":1}", "{\"Started\":{}}", "{}", "null"] {
        let error = domain::decode::<StreamEvent>("stream.started", "1", payload).unwrap_err();
        assert!(matches!(error, DecodeError::Payload { .. }), "{payload}: {error:?}");
    }
}

#[test]
fn the_catalogue_has_every_golden_payload_and_nothing_else() {
    let described: BTreeSet<_> =
        domain::catalogue().into_iter().map(|event| (event.event_type.to_owned(), event.version.to_owned())).collect();
    let golden: BTreeSet<_> = golden().into_iter().map(|(event_type, version, _)| (event_type, version)).collect();
    assert_eq!(described, golden);
}

/// A JSON Schema as the catalogue writes them: `type`, `properties`, `required`, `additionalProperties`, `items`, `enum`,
/// `const`, `oneOf` and `anyOf`, all written out where they stand.
fn fits(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    const KNOWN: &[&str] = &[
        "$schema",
        "title",
        "description",
        "type",
        "format",
        "minimum",
        "maximum",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "enum",
        "const",
        "oneOf",
        "anyOf",
    ];
    let schema = schema.as_object().ok_or_else(|| format!("{at}: {schema} is no schema"))?;
    if let Some(unknown) = schema.keys().find(|key| !KNOWN.contains(&key.as_str())) {
        return Err(format!("{at}: this test knows no {unknown}"));
    }
    if let Some(types) = schema.get("type") {
        let is = |name: &Value| match name.as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            Some("null") => value.is_null(),
            _ => false,
        };
        if !types.as_array().map_or_else(|| is(types), |types| types.iter().any(is)) {
            return Err(format!("{at}: {value} is no {types}"));
        }
    }
    if schema.get("const").is_some_and(|only| only != value) {
        return Err(format!("{at}: {value} is not {}", schema["const"]));
    }
    if schema.get("enum").and_then(Value::as_array).is_some_and(|of| !of.contains(value)) {
        return Err(format!("{at}: {value} is none of {}", schema["enum"]));
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(schemas) = schema.get(choice).and_then(Value::as_array)
            && !schemas.iter().any(|schema| fits(schema, value, at).is_ok())
        {
            return Err(format!("{at}: {value} fits none of {choice}"));
        }
    }
    if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
        values.iter().try_for_each(|value| fits(items, value, at))?;
    }
    let Some(fields) = value.as_object() else { return Ok(()) };
    let is_choice = schema.contains_key("oneOf") || schema.contains_key("anyOf");
    if is_choice && !schema.contains_key("properties") {
        // Its fields are those of the choice that it fits.
        return Ok(());
    }
    for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if !name.as_str().is_some_and(|name| fields.contains_key(name)) {
            return Err(format!("{at}: {name} is missing"));
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, value) in fields {
        match properties.and_then(|properties| properties.get(name)) {
            Some(schema) => fits(schema, value, &format!("{at}.{name}"))?,
            None => return Err(format!("{at}: {name} is not described")),
        }
    }
    Ok(())
}

#[test]
fn every_golden_payload_fits_the_schema_of_its_version_with_all_fields_required() {
    for described in domain::catalogue() {
        let (event_type, of) = (described.event_type, described.version);
        let payload = fs::read_to_string(folder().join(format!("{event_type}.v{of}.json"))).unwrap();
        let payload: Value = serde_json::from_str(&payload).unwrap();
        let data = payload.as_object().unwrap().values().next().unwrap();
        fits(&described.schema, data, &format!("{event_type}.v{of}")).unwrap();
        let fields = data.as_object().unwrap().len();
        assert_eq!(described.schema["required"].as_array().unwrap().len(), fields, "{event_type}.v{of}");
        assert_eq!(described.schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
        assert!(!described.summary.is_empty() && described.schema["description"] == described.summary);
        let event = DomainEvent::decode(described.aggregate_type, event_type, of, &payload.to_string()).unwrap();
        assert_eq!(described.is_current, version(&event) == of);
    }
}

#[test]
fn sealed_data_says_what_it_is() {
    let catalogue = domain::catalogue();
    let registered = catalogue.iter().find(|event| event.event_type == "account.registered").unwrap();
    let email = &registered.schema["properties"]["email"];
    assert_eq!(email["title"], "Sealed personal data", "{email}");
    assert!(email["properties"]["ciphertext"]["description"].as_str().unwrap().contains("erased"), "{email}");
    assert_eq!(email["properties"]["ciphertext"]["type"], "string", "{email}");
    assert_eq!(registered.schema["properties"]["account_id"]["format"], "uuid");
    assert_eq!(registered.schema["properties"]["registered_at"]["format"], "date-time");
}
