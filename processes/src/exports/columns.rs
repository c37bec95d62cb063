use std::borrow::Cow;

use commands::events::{Envelope, StoredEvent};
use serde::Deserialize;
use serde_json::value::RawValue;
use time::OffsetDateTime;

/// The columns of the forms that have columns, in their order; `docs/analysts.md` says what each is.
pub(crate) const NAMES: [&str; 13] = [
    "position",
    "id",
    "time",
    "type",
    "version",
    "subject",
    "aggregate_type",
    "aggregate_id",
    "sequence",
    "actor",
    "correlation_id",
    "causation_id",
    "data",
];

/// An event as the columns have it.
pub(crate) struct Columns<'a> {
    pub(crate) fields: Fields<'a>,
    pub(crate) time: OffsetDateTime,
}

/// What the envelope says, which is where pseudonyms are put in.
#[derive(Deserialize)]
pub(crate) struct Fields<'a> {
    pub(crate) position: i64,
    #[serde(borrow)]
    pub(crate) id: Cow<'a, str>,
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) version: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) subject: Cow<'a, str>,
    pub(crate) sequence: i64,
    #[serde(borrow)]
    pub(crate) actor: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(crate) correlationid: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(crate) causationid: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) data: &'a RawValue,
}

impl<'a> Columns<'a> {
    /// Of an event; `text` is room for its envelope.
    pub(crate) fn new(
        event: &StoredEvent,
        envelope: &mut Envelope,
        text: &'a mut Vec<u8>,
    ) -> Result<Self, serde_json::Error> {
        text.clear();
        envelope.write(event, text);
        Ok(Self { fields: serde_json::from_slice(text)?, time: event.recorded_at })
    }

    /// The kind and the id of what it happened to.
    pub(crate) fn aggregate(&self) -> (&str, &str) {
        self.fields.subject.split_once('/').unwrap_or((&self.fields.subject, ""))
    }
}
