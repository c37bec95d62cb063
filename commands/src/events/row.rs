use sqlx::{Row, postgres::PgRow};
use time::{Duration, OffsetDateTime, macros::datetime};

use super::{
    RawJson, StoredEvent,
    json::{write_number, write_string, write_time},
};

/// What is selected of an event.
pub(super) const COLUMNS: &str = "position, aggregate_type, aggregate_id, sequence, event_type, event_version, payload, \
                                  metadata, recorded_at";

/// As [`StoredEvent`], of memory that belongs to somebody else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventRow<'a> {
    pub(crate) position: i64,
    pub(crate) aggregate_type: &'a str,
    pub(crate) aggregate_id: &'a str,
    pub(crate) sequence: i64,
    pub(crate) event_type: &'a str,
    pub(crate) event_version: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) metadata: &'a str,
    pub(crate) recorded_at: OffsetDateTime,
}

impl<'a> EventRow<'a> {
    /// Of a row with [`COLUMNS`].
    pub(super) fn new(row: &'a PgRow) -> Result<Self, sqlx::Error> {
        // `json` travels as its text.
        let json = |index| row.try_get_raw(index)?.as_str().map_err(sqlx::Error::Decode);
        Ok(Self {
            position: row.try_get(0)?,
            aggregate_type: row.try_get(1)?,
            aggregate_id: row.try_get(2)?,
            sequence: row.try_get(3)?,
            event_type: row.try_get(4)?,
            event_version: row.try_get(5)?,
            payload: json(6)?,
            metadata: json(7)?,
            recorded_at: row.try_get(8)?,
        })
    }

    /// How much of it there is.
    pub(super) fn size(&self) -> usize {
        self.payload.len() + self.metadata.len() + self.aggregate_type.len() + self.aggregate_id.len() + 150
    }

    pub(super) fn to_stored(self) -> StoredEvent {
        StoredEvent {
            position: self.position,
            aggregate_type: self.aggregate_type.to_owned(),
            aggregate_id: self.aggregate_id.to_owned(),
            sequence: self.sequence,
            event_type: self.event_type.to_owned(),
            event_version: self.event_version.to_owned(),
            payload: RawJson::of_column(self.payload),
            metadata: RawJson::of_column(self.metadata),
            recorded_at: self.recorded_at,
        }
    }

    /// Appends the JSON of a [`StoredEvent`].
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"position":"#);
        write_number(out, self.position);
        out.extend_from_slice(br#","aggregate_type":"#);
        write_string(out, self.aggregate_type);
        out.extend_from_slice(br#","aggregate_id":"#);
        write_string(out, self.aggregate_id);
        out.extend_from_slice(br#","sequence":"#);
        write_number(out, self.sequence);
        out.extend_from_slice(br#","event_type":"#);
        write_string(out, self.event_type);
        out.extend_from_slice(br#","event_version":"#);
        write_string(out, self.event_version);
        out.extend_from_slice(br#","payload":"#);
        out.extend_from_slice(self.payload.as_bytes());
        out.extend_from_slice(br#","metadata":"#);
        out.extend_from_slice(self.metadata.as_bytes());
        out.extend_from_slice(br#","recorded_at":"#);
        write_time(out, self.recorded_at);
        out.push(b'}');
    }
}

impl<'a> From<&'a StoredEvent> for EventRow<'a> {
    fn from(event: &'a StoredEvent) -> Self {
        Self {
            position: event.position,
            aggregate_type: &event.aggregate_type,
            aggregate_id: &event.aggregate_id,
            sequence: event.sequence,
            event_type: &event.event_type,
            event_version: &event.event_version,
            payload: event.payload.get(),
            metadata: event.metadata.get(),
            recorded_at: event.recorded_at,
        }
    }
}

/// The time that Postgres counts in microseconds from the year 2000.
pub(super) fn time(micros: i64) -> Result<OffsetDateTime, sqlx::Error> {
    datetime!(2000-01-01 0:00 UTC)
        .checked_add(Duration::microseconds(micros))
        .ok_or_else(|| sqlx::Error::Decode("a time that is out of range".into()))
}
