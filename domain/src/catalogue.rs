//! What there is in the log, for those who read it: every type and version of event with its JSON Schema.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::{
    Aggregate,
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
    upcast::{UPCASTS, current_version},
};

/// One version of a type of event.
#[derive(Debug, Clone, PartialEq)]
pub struct EventDescription {
    /// Its stored name, `channel.created` for example.
    pub event_type: &'static str,
    /// The version of its shape.
    pub version: &'static str,
    /// What it happens to, `channel` for example.
    pub aggregate_type: &'static str,
    /// What it says, in a sentence.
    pub summary: String,
    /// The JSON Schema (2020-12) of its data: of its fields, without the name around them.
    pub schema: Value,
    /// Whether events of this type are written in this version today.
    pub is_current: bool,
}

/// Every version of every type of event, by aggregate, type and version. A capability adds a line.
#[must_use]
pub fn catalogue() -> Vec<EventDescription> {
    let mut catalogue = Vec::new();
    describe::<AccountEvent>(&mut catalogue, Account::TYPE, AccountEvent::TYPES);
    describe::<SessionEvent>(&mut catalogue, Session::TYPE, SessionEvent::TYPES);
    describe::<PersonalTokenEvent>(&mut catalogue, PersonalToken::TYPE, PersonalTokenEvent::TYPES);
    describe::<SignInEvent>(&mut catalogue, SignIns::TYPE, SignInEvent::TYPES);
    describe::<PersonalExportEvent>(&mut catalogue, PersonalExports::TYPE, PersonalExportEvent::TYPES);
    describe::<ProfileEvent>(&mut catalogue, Profile::TYPE, ProfileEvent::TYPES);
    describe::<EmailEvent>(&mut catalogue, AccountEmail::TYPE, EmailEvent::TYPES);
    describe::<PasswordResetEvent>(&mut catalogue, PasswordReset::TYPE, PasswordResetEvent::TYPES);
    describe::<ChannelEvent>(&mut catalogue, Channel::TYPE, ChannelEvent::TYPES);
    describe::<StreamEvent>(&mut catalogue, Stream::TYPE, StreamEvent::TYPES);
    describe::<ExportEvent>(&mut catalogue, Export::TYPE, ExportEvent::TYPES);
    describe::<RecordingEvent>(&mut catalogue, Recording::TYPE, RecordingEvent::TYPES);
    describe::<InviteEvent>(&mut catalogue, Invite::TYPE, InviteEvent::TYPES);
    describe::<InstallEvent>(&mut catalogue, Install::TYPE, InstallEvent::TYPES);
    describe::<RegistrationInviteEvent>(&mut catalogue, RegistrationInvite::TYPE, RegistrationInviteEvent::TYPES);
    describe::<ReportEvent>(&mut catalogue, Report::TYPE, ReportEvent::TYPES);
    catalogue
}

fn describe<E: JsonSchema>(
    catalogue: &mut Vec<EventDescription>,
    aggregate_type: &'static str,
    event_types: &[&'static str],
) {
    // Each schema stands alone, and every field is written, so every field is required.
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<E>();
    for event_type in event_types {
        let variant = variant_name(event_type);
        let (summary, fields) = variant_of(schema.as_value(), &variant)
            .unwrap_or_else(|| panic!("an event {event_type} is a variant named {variant}"));
        let mut newer = fields.clone();
        let mut versions = Vec::new();
        // From the newest back.
        for upcast in UPCASTS.iter().rev().filter(|upcast| upcast.event_type == *event_type) {
            (upcast.schema)(&mut newer);
            versions.push((upcast.from, newer.clone()));
        }
        versions.reverse();
        let current = current_version(event_type);
        versions.push((current, fields));
        catalogue.extend(versions.into_iter().map(|(version, fields)| EventDescription {
            event_type,
            version,
            aggregate_type,
            summary: summary.to_owned(),
            schema: framed(event_type, version, summary, fields),
            is_current: version == current,
        }));
    }
}

/// `stream_key_rotated` of `channel.stream_key_rotated` as `StreamKeyRotated`, which is what its payload is named by.
fn variant_name(event_type: &str) -> String {
    let name = event_type.rsplit_once('.').map_or(event_type, |(_, name)| name);
    name.split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            first.into_iter().chain(letters)
        })
        .collect()
}

/// What a variant says and the schema of its fields.
fn variant_of<'a>(schema: &'a Value, variant: &str) -> Option<(&'a str, Value)> {
    schema.get("oneOf")?.as_array()?.iter().find_map(|of| {
        let fields = of.get("properties")?.get(variant)?.clone();
        Some((of.get("description")?.as_str()?, fields))
    })
}

fn framed(event_type: &str, version: &str, summary: &str, mut fields: Value) -> Value {
    if let Some(fields) = fields.as_object_mut() {
        fields.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        fields.insert("title".to_owned(), json!(format!("{event_type}, version {version}")));
        fields.insert("description".to_owned(), json!(summary));
    }
    fields
}
