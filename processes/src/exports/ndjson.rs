//! NDJSON: the feed's envelopes, one a line.

use std::io::{self, Write};

use commands::events::{Envelope, StoredEvent};

pub(crate) struct Ndjson<W> {
    out: W,
    envelope: Envelope,
    lines: Vec<u8>,
}

impl<W: Write> Ndjson<W> {
    pub(crate) fn new(out: W, envelope: Envelope) -> Self {
        Self { out, envelope, lines: Vec::new() }
    }

    pub(crate) fn write(&mut self, events: &[StoredEvent]) -> io::Result<()> {
        self.lines.clear();
        for event in events {
            self.envelope.write(event, &mut self.lines);
            self.lines.push(b'\n');
        }
        self.out.write_all(&self.lines)
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.out.flush()?;
        Ok(self.out)
    }
}
