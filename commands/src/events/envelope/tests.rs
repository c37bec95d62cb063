use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::{Map, Value, json, value::RawValue};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339, macros::datetime};
use zeroize::Zeroizing;

use super::*;
use crate::MasterKeys;

const SOURCE: &str = "https://weir.example.org/at\"home";

fn pseudonyms() -> Pseudonyms {
    Pseudonyms::new(&MasterKeys::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32])))
}

fn written(event: &StoredEvent, actors: Actors) -> Value {
    let mut out = b"before".to_vec();
    Envelope::new(SOURCE, actors).write(event, &mut out);
    assert!(out.starts_with(b"before"));
    assert!(!out.contains(&b'\n') && !out.contains(&b'\r'));
    serde_json::from_slice(&out[6..]).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
}

/// The same by way of values.
fn expected(event: &StoredEvent, actors: &Actors) -> Value {
    let payload: Value = serde_json::from_str(event.payload.get()).unwrap();
    let metadata: Value = serde_json::from_str(event.metadata.get()).unwrap();
    let subject = match actors {
        Actors::Pseudonymous(_) if OF_ACCOUNTS.contains(&event.aggregate_type.as_str()) => {
            let id = renamed(&json!(format!("account/{}", event.aggregate_id)), "", actors);
            id.as_str().unwrap().replacen("account", &event.aggregate_type, 1)
        }
        _ => format!("{}/{}", event.aggregate_type, event.aggregate_id),
    };
    let data = match &payload {
        Value::Object(members) if members.len() == 1 => members.values().next().unwrap(),
        _ => &payload,
    };
    let actor = metadata.get("actor").filter(|actor| actor.is_string()).cloned().unwrap_or(json!("unknown"));
    let mut object = json!({
        "specversion": "1.0",
        "position": event.position,
        "id": format!("{subject}/{}", event.sequence),
        "source": SOURCE,
        "type": event.event_type,
        "version": event.event_version,
        "subject": subject,
        "sequence": event.sequence,
        "time": event.recorded_at.format(&Rfc3339).unwrap(),
        "actor": renamed(&actor, "actor", actors),
        "datacontenttype": "application/json",
        "dataschema": format!("{SOURCE}/api/v1/events/schemas/{}/{}", event.event_type, event.event_version),
        "data": renamed(data, "", actors),
    });
    for (key, name) in [("correlation_id", "correlationid"), ("causation_id", "causationid")] {
        if let Some(id) = metadata.get(key).filter(|id| id.is_string()) {
            object[name] = id.clone();
        }
    }
    object
}

fn renamed(value: &Value, key: &str, actors: &Actors) -> Value {
    let Actors::Pseudonymous(pseudonyms) = actors else { return value.clone() };
    match value {
        Value::String(text) => {
            let of = |id: &str| Some(pseudonyms.of(id.parse().ok().filter(|_| id.len() == 36)?).to_string());
            let keyed = ["account_id", "owner_id", "by", "actor"].contains(&key).then(|| of(text)).flatten();
            let prefixes = OF_ACCOUNTS.map(|kind| format!("{kind}/")).into_iter().chain(["account:".to_owned()]);
            let prefixed =
                prefixes.into_iter().find_map(|prefix| Some(format!("{prefix}{}", of(text.strip_prefix(&*prefix)?)?)));
            keyed.or(prefixed).map_or_else(|| value.clone(), Value::String)
        }
        Value::Array(items) => items.iter().map(|item| renamed(item, "", actors)).collect(),
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(key, member)| {
                    let key_told = renamed(&json!(key), "", actors).as_str().unwrap().to_owned();
                    (key_told, renamed(member, key, actors))
                })
                .collect::<Map<_, _>>(),
        ),
        _ => value.clone(),
    }
}

fn uuids() -> impl Strategy<Value = String> {
    (0..3_u128).prop_map(|number| Uuid::from_u128(number).to_string())
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        uuids(),
        uuids().prop_map(|id| format!("account:{id}")),
        (select(OF_ACCOUNTS.to_vec()), uuids()).prop_map(|(kind, id)| format!("{kind}/{id}")),
        uuids().prop_map(|id| format!("email:{id}")),
        uuids().prop_map(|id| format!("channel/{id}")),
        uuids().prop_map(|id| format!("ingest:{id}")),
        uuids().prop_map(|id| id.replace('-', "")),
        Just(r#"","account_id":"00000000-0000-0000-0000-000000000000"#.to_owned()),
        Just("account_id".to_owned()),
    ]
}

fn values() -> impl Strategy<Value = Value> {
    let leaves = prop_oneof![
        texts().prop_map(Value::String),
        any::<i64>().prop_map(|number| json!(number)),
        (-1e300..1e300).prop_map(|number: f64| json!(number)),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null),
    ];
    let keys =
        prop_oneof![select(vec!["account_id", "owner_id", "by", "actor", "title"]).prop_map(str::to_owned), texts()];
    leaves.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((keys.clone(), inner), 0..4).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn payloads() -> impl Strategy<Value = Box<RawValue>> {
    let tagged = ("[A-Z][a-z]{0,8}", values()).prop_map(|(tag, value)| json!({ tag: value }));
    (prop_oneof![tagged, values()], any::<bool>()).prop_map(|(payload, is_pretty)| {
        let text = if is_pretty { serde_json::to_string_pretty(&payload) } else { serde_json::to_string(&payload) };
        RawValue::from_string(text.unwrap()).unwrap()
    })
}

prop_compose! {
    fn metadata()(
        actor in option::of(texts()),
        correlation_id in option::of(texts()),
        causation_id in option::of(texts()),
        more in values(),
    ) -> Box<RawValue> {
        let mut members = Map::from_iter([("more".to_owned(), more)]);
        for (key, text) in [("actor", actor), ("correlation_id", correlation_id), ("causation_id", causation_id)] {
            members.extend(text.map(|text| (key.to_owned(), json!(text))));
        }
        RawValue::from_string(Value::Object(members).to_string()).unwrap()
    }
}

prop_compose! {
    fn events()(
        position in 1..=i64::MAX,
        aggregate_type in prop_oneof![
            select(OF_ACCOUNTS.to_vec()).prop_map(str::to_owned),
            Just("channel".to_owned()),
            any::<String>(),
        ],
        aggregate_id in texts(),
        sequence in 1..=i64::MAX,
        event_type in prop_oneof![Just("channel.created".to_owned()), any::<String>()],
        event_version in "[0-9]{1,3}|\\PC{0,3}",
        payload in payloads(),
        metadata in metadata(),
        micros in 0..4_000_000_000_000_000_i64,
    ) -> StoredEvent {
        let recorded_at = OffsetDateTime::UNIX_EPOCH + Duration::microseconds(micros);
        StoredEvent {
            position, aggregate_type, aggregate_id, sequence, event_type, event_version, recorded_at,
            payload: payload.into(), metadata: metadata.into(),
        }
    }
}

proptest! {
    #[test]
    fn it_is_what_values_would_have_been_written_as(event in events()) {
        prop_assert_eq!(written(&event, Actors::Plain), expected(&event, &Actors::Plain));
        let actors = Actors::Pseudonymous(pseudonyms());
        prop_assert_eq!(written(&event, actors.clone()), expected(&event, &actors));
    }

    /// What travels over NATS.
    #[test]
    fn a_stored_event_is_what_serde_would_have_written(event in events()) {
        let mut out = Vec::new();
        EventRow::from(&event).write(&mut out);
        let read: Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(read, serde_json::to_value(&event).unwrap());
    }

    /// What no `json` column holds is copied in part or whole, and harms nothing else.
    #[test]
    fn no_text_makes_it_panic(payload in "\\PC*|[{}\\[\\]\",:\\\\a\n]{0,20}", metadata in "[{}\\[\\]\",:\\\\a\n]{0,20}") {
        let event = event("{}");
        let row = EventRow { payload: &payload, metadata: &metadata, ..EventRow::from(&event) };
        for actors in [Actors::Plain, Actors::Pseudonymous(pseudonyms())] {
            Envelope::new(SOURCE, actors).write_row(&row, &mut Vec::new());
        }
    }
}

fn event(payload: &str) -> StoredEvent {
    StoredEvent {
        position: 42,
        aggregate_type: "channel".to_owned(),
        aggregate_id: "018f3c5e-7a12-7c3d-9e1f-0a1b2c3d4e5f".to_owned(),
        sequence: 1,
        event_type: "channel.created".to_owned(),
        event_version: "1".to_owned(),
        payload: RawValue::from_string(payload.to_owned()).unwrap().into(),
        metadata: RawValue::from_string(r#"{"actor":"system","correlation_id":"c"}"#.to_owned()).unwrap().into(),
        recorded_at: datetime!(2026-11-21 10:00:00.120 UTC),
    }
}

#[test]
fn the_members_and_their_order() {
    let mut out = Vec::new();
    let event = event(r#"{"Created":{"title":"A \"title\""}}"#);
    Envelope::new("https://weir.example.org/", Actors::Plain).write(&event, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        concat!(
            r#"{"specversion":"1.0","position":42,"id":"channel/018f3c5e-7a12-7c3d-9e1f-0a1b2c3d4e5f/1","#,
            r#""source":"https://weir.example.org","type":"channel.created","version":"1","#,
            r#""subject":"channel/018f3c5e-7a12-7c3d-9e1f-0a1b2c3d4e5f","sequence":1,"time":"2026-11-21T10:00:00.12Z","#,
            r#""actor":"system","correlationid":"c","datacontenttype":"application/json","#,
            r#""dataschema":"https://weir.example.org/api/v1/events/schemas/channel.created/1","#,
            r#""data":{"title":"A \"title\""}}"#,
        )
    );
}

#[test]
fn a_payload_that_is_not_tagged_is_passed_on_whole() {
    for payload in [r#""Closed""#, "{}", "[1,2]", "null", "1.5", r#"{"One":1,"Two":2}"#, r#""""#] {
        assert_eq!(written(&event(payload), Actors::Plain)["data"].to_string(), payload);
        assert_eq!(written(&event(payload), Actors::Pseudonymous(pseudonyms()))["data"].to_string(), payload);
    }
}

/// Every id of an account that is in a golden event, and in one of the kind that has none there: wherever it stands.
fn accounts_in(value: &Value, found: &mut std::collections::BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| accounts_in(item, found)),
        Value::Object(members) => {
            for (name, member) in members {
                if ["account_id", "owner_id", "by"].contains(&name.as_str()) {
                    found.extend(member.as_str().map(str::to_owned));
                }
                accounts_in(member, found);
            }
        }
        _ => {}
    }
}

/// The golden events, and variants of them that name accounts in other places.
fn golden() -> Vec<(String, Value)> {
    const ACCOUNT: &str = "018f3c5e-7a44-7c3d-9e1f-0a1b2c3d4e5f";
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../domain/tests/events");
    let mut golden = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let payload: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let fields = payload.as_object().unwrap().values().next().unwrap();
        if fields.get("target").is_some() {
            let mut of_account = payload.clone();
            of_account.as_object_mut().unwrap().values_mut().next().unwrap()["target"] =
                json!({ "kind": "account", "account_id": ACCOUNT });
            golden.push((format!("{name} of an account"), of_account));
        }
        for kind in OF_ACCOUNTS {
            if fields.pointer("/filter/subject").is_some() {
                let mut of_account = payload.clone();
                let fields = of_account.as_object_mut().unwrap().values_mut().next().unwrap();
                fields["filter"]["subject"] = json!(format!("{kind}/{ACCOUNT}"));
                golden.push((format!("{name} of {kind}/"), of_account));
            }
        }
        golden.push((name, payload));
    }
    golden
}

#[test]
fn no_account_of_the_golden_events_is_told() {
    let golden = golden();
    let mut accounts = std::collections::BTreeSet::new();
    golden.iter().for_each(|(_, payload)| accounts_in(payload, &mut accounts));
    assert!(accounts.len() >= 6, "{accounts:?}");
    for (name, payload) in &golden {
        for account in &accounts {
            let mut event = event(&payload.to_string());
            let kind = name.split('.').next().unwrap();
            // What is not keyed by an account has an id of its own.
            if OF_ACCOUNTS.contains(&kind) {
                event.aggregate_id = account.clone();
            }
            event.aggregate_type = kind.to_owned();
            event.metadata = RawValue::from_string(format!(r#"{{"actor":"account:{account}"}}"#)).unwrap().into();
            let pseudonym = pseudonyms().of(account.parse().unwrap()).to_string();
            let told = written(&event, Actors::Pseudonymous(pseudonyms())).to_string();
            for known in &accounts {
                // An id that is an account's in one golden event may be a session's in another; not where an account's is meant.
                let mut meant = std::collections::BTreeSet::new();
                accounts_in(&serde_json::from_str(&told).unwrap(), &mut meant);
                assert!(!meant.contains(known), "{name}: {told}");
                for kind in OF_ACCOUNTS {
                    assert!(!told.contains(&format!("{kind}/{known}")), "{name}: {told}");
                }
                assert!(!told.contains(&format!("account:{known}")), "{name}: {told}");
            }
            assert!(told.contains(&format!("account:{pseudonym}")), "{name}: {told}");
            assert!(written(&event, Actors::Plain).to_string().contains(account.as_str()));
        }
    }
}

/// The aggregates whose id is that of an account are those whose events say it of themselves: a new one has to be among
/// [`OF_ACCOUNTS`], or here with an id of its own.
#[test]
fn whether_an_aggregate_is_keyed_by_an_account_is_known_of_each() {
    const OF_THEIR_OWN: [(&str, &str); 10] = [
        ("channel", "channel_id"),
        ("export", "export_id"),
        ("install", "mode"),
        ("invite", "invite_id"),
        ("personal_token", "token_id"),
        ("recording", "recording_id"),
        ("registration_invite", "invite_id"),
        ("report", "report_id"),
        ("session", "session_id"),
        ("stream", "stream_id"),
    ];
    for described in domain::catalogue() {
        let kind = described.aggregate_type;
        let has = |field: &str| described.schema["properties"].get(field).is_some();
        match OF_THEIR_OWN.iter().find(|(name, _)| *name == kind) {
            Some((_, id)) => assert!(has(id) && !OF_ACCOUNTS.contains(&kind), "{} has no {id}", described.event_type),
            None => assert!(has("account_id") && OF_ACCOUNTS.contains(&kind), "{kind} is keyed by what?"),
        }
    }
}

/// A new field with an id in it has to be named here or in [`ACCOUNT_KEYS`].
#[test]
fn whether_an_id_is_that_of_an_account_is_known_of_every_field() {
    const OTHERS: [&str; 14] = [
        "channel_id",
        "stream_id",
        "session_id",
        "node_id",
        "export_id",
        "recording_id",
        "invite_id",
        "report_id",
        // Of what a report is about, unless that is an account.
        "id",
        "token_id",
        "password",
        "seed",
        // A session.
        "ends_all_but",
        "stream_key",
    ];
    let mut of_accounts = std::collections::BTreeSet::new();
    for described in domain::catalogue() {
        let mut schemas = vec![&described.schema];
        while let Some(schema) = schemas.pop() {
            for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                let is_account = ACCOUNT_KEYS.contains(&format!("\"{name}\"").as_bytes());
                if property.get("format").is_some_and(|format| format == "uuid") {
                    assert!(is_account || OTHERS.contains(&name.as_str()), "{} {name}", described.event_type);
                    of_accounts.extend(is_account.then(|| name.clone()));
                }
            }
            match schema {
                Value::Array(items) => schemas.extend(items),
                Value::Object(members) => schemas.extend(members.values()),
                _ => {}
            }
        }
    }
    assert!(of_accounts.into_iter().eq(["account_id", "by", "owner_id"]));
}
