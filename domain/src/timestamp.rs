//! Times are UTC and cut to microseconds, which is what Postgres keeps: a time read back equals the one written.

use schemars::{Schema, SchemaGenerator, json_schema};
use time::OffsetDateTime;

/// `time` in UTC, cut to whole microseconds.
#[must_use]
pub fn cut(time: OffsetDateTime) -> OffsetDateTime {
    let time = time.to_offset(time::UtcOffset::UTC);
    time.replace_nanosecond(time.microsecond() * 1_000).expect("a microsecond of a valid time is below 1,000,000")
}

/// The JSON Schema of a time as it is stored and sent.
pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "format": "date-time" })
}

/// The JSON Schema of a time that may be missing.
pub(crate) fn optional_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "format": "date-time" })
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    #[test]
    fn cuts_to_microseconds_in_utc() {
        assert_eq!(
            super::cut(datetime!(2026-11-21 12:00:00.123_456_789 +2)),
            datetime!(2026-11-21 10:00:00.123_456 UTC)
        );
    }
}
