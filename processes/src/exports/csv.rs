//! CSV as in RFC 4180: a header line, CRLF at the end of each line, quotes where they are needed and doubled within.

use std::io::{self, Write};

use commands::events::{Envelope, StoredEvent};
use time::{UtcOffset, macros::format_description};

use super::columns::{Columns, NAMES};

/// As in the envelope, and as DuckDB and spreadsheets read it.
const TIME: &[time::format_description::BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");

pub(crate) struct Csv<W> {
    out: W,
    envelope: Envelope,
    text: Vec<u8>,
    lines: Vec<u8>,
}

impl<W: Write> Csv<W> {
    pub(crate) fn new(out: W, envelope: Envelope) -> Self {
        let mut lines = NAMES.join(",").into_bytes();
        lines.extend_from_slice(b"\r\n");
        Self { out, envelope, text: Vec::new(), lines }
    }

    pub(crate) fn write(&mut self, events: &[StoredEvent]) -> io::Result<()> {
        for event in events {
            let row = Columns::new(event, &mut self.envelope, &mut self.text)?;
            let time = row.time.to_offset(UtcOffset::UTC).format(TIME).map_err(io::Error::other)?;
            let (aggregate_type, aggregate_id) = row.aggregate();
            let fields = &row.fields;
            let lines = &mut self.lines;
            write!(lines, "{},", fields.position)?;
            for text in [
                &fields.id,
                time.as_str(),
                &fields.kind,
                &fields.version,
                &fields.subject,
                aggregate_type,
                aggregate_id,
            ] {
                push(lines, text);
                lines.push(b',');
            }
            write!(lines, "{},", fields.sequence)?;
            for text in [Some(&fields.actor), fields.correlationid.as_ref(), fields.causationid.as_ref()] {
                push(lines, text.map_or("", |text| text));
                lines.push(b',');
            }
            push(lines, fields.data.get());
            lines.extend_from_slice(b"\r\n");
        }
        self.pass_on()
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        // The header, when there was no event.
        self.pass_on()?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn pass_on(&mut self) -> io::Result<()> {
        self.out.write_all(&self.lines)?;
        self.lines.clear();
        Ok(())
    }
}

fn push(line: &mut Vec<u8>, text: &str) {
    if !text.bytes().any(|byte| matches!(byte, b',' | b'"' | b'\r' | b'\n')) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    line.push(b'"');
    for (index, part) in text.split('"').enumerate() {
        if index > 0 {
            line.extend_from_slice(b"\"\"");
        }
        line.extend_from_slice(part.as_bytes());
    }
    line.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_quotes_gets_them() {
        for (text, expected) in [
            ("", ""),
            ("plain text", "plain text"),
            ("a,b", "\"a,b\""),
            ("say \"yes\"", "\"say \"\"yes\"\"\""),
            ("\"", "\"\"\"\""),
            ("two\nlines", "\"two\nlines\""),
        ] {
            let mut line = Vec::new();
            push(&mut line, text);
            assert_eq!(String::from_utf8(line).unwrap(), expected);
        }
    }
}
