//! What viewers may see at one moment: an immutable picture of the window, shared by all who ask.

use std::{
    io::Write,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::{
    playlist,
    window::{Init, Part, Segment, Timing},
};

/// What the master playlist says.
#[derive(Clone, Debug)]
pub(crate) struct MasterFacts {
    pub peak_bits_per_second: u64,
    pub average_bits_per_second: u64,
    pub init: Arc<Init>,
}

/// The content of a [`View`].
#[derive(Debug)]
pub(crate) struct Facts {
    /// Grows with each view of a broadcast.
    pub revision: u64,
    pub is_ended: bool,
    pub timing: Timing,
    pub segments: Vec<Arc<Segment>>,
    pub listed_from: usize,
    pub discontinuity_sequence: u64,
    pub open: Option<Segment>,
    /// The number of the segment after the last complete one.
    pub next_segment: u64,
    pub next_part: u64,
    pub master: MasterFacts,
}

/// One moment of a broadcast. Texts are written and compressed when they are first asked for, once.
#[derive(Debug)]
pub(crate) struct View {
    pub facts: Facts,
    media_playlist: OnceLock<Document>,
    master_playlist: OnceLock<Document>,
}

/// A text to serve, plain and compressed.
#[derive(Debug)]
pub(crate) struct Document {
    pub plain: Bytes,
    gzip: OnceLock<Bytes>,
}

impl Document {
    fn new(text: String) -> Self {
        Self { plain: text.into(), gzip: OnceLock::new() }
    }

    pub(crate) fn gzip(&self) -> &Bytes {
        self.gzip.get_or_init(|| {
            let mut encoder = GzEncoder::new(Vec::with_capacity(self.plain.len() / 2), Compression::fast());
            // Writing to memory does not fail.
            let _ = encoder.write_all(&self.plain);
            encoder.finish().unwrap_or_default().into()
        })
    }
}

/// Whether a blocked reload can be answered: RFC 8216bis section 6.2.5.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reload {
    /// The playlist has what was asked for.
    Ready,
    /// It will.
    Wait,
    /// It will not for so long that the question must be wrong.
    TooFar,
}

impl View {
    pub(crate) fn new(facts: Facts) -> Self {
        Self { facts, media_playlist: OnceLock::new(), master_playlist: OnceLock::new() }
    }

    pub(crate) fn media_playlist(&self) -> &Document {
        self.media_playlist.get_or_init(|| Document::new(playlist::media(&self.facts)))
    }

    pub(crate) fn master_playlist(&self) -> &Document {
        self.master_playlist.get_or_init(|| Document::new(playlist::master(&self.facts.master)))
    }

    /// A complete segment.
    pub(crate) fn segment(&self, number: u64) -> Option<&Segment> {
        let first = self.facts.segments.first()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.facts.segments.get(index).map(|segment| &**segment)
    }

    /// A part of any segment that is still there.
    pub(crate) fn part(&self, number: u64) -> Option<&Part> {
        let in_segment = |segment: &Segment| -> Option<usize> {
            let first = segment.parts.first()?.number;
            usize::try_from(number.checked_sub(first)?).ok()
        };
        // Viewers are at the live edge, so look from there.
        self.facts
            .open
            .iter()
            .chain(self.facts.segments.iter().rev().map(|segment| &**segment))
            .find_map(|segment| Some((segment, in_segment(segment)?)))
            .and_then(|(segment, index)| segment.parts.get(index))
    }

    /// An initialisation segment that a segment still there needs.
    pub(crate) fn init(&self, number: u64) -> Option<&Init> {
        self.facts
            .open
            .iter()
            .chain(self.facts.segments.iter().rev().map(|segment| &**segment))
            .map(|segment| &*segment.init)
            .find(|init| init.number == number)
    }

    /// Whether the playlist has this segment, or this part of it.
    pub(crate) fn reload(&self, segment: u64, part: Option<u64>) -> Reload {
        let next = self.facts.next_segment;
        if self.facts.is_ended || segment < next.saturating_sub(1) {
            return Reload::Ready;
        }
        // "Greater than the last Media Segment plus two"; the last is next − 1.
        if segment > next + 1 {
            return Reload::TooFar;
        }
        let open_parts = self.facts.open.as_ref().map_or(0, |open| open.parts.len() as u64);
        let is_ready = match part {
            None => segment < next,
            // A part beyond the end of its segment is the first part of the next one.
            Some(part) if segment + 1 == next => {
                let parts = self.segment(segment).map_or(0, |segment| segment.parts.len() as u64);
                part < parts || open_parts > 0
            }
            Some(part) => segment == next && part < open_parts,
        };
        if is_ready {
            return Reload::Ready;
        }
        let limit = advance_part_limit(self.facts.timing.part_target_ms);
        let is_far = match part {
            Some(part) if segment == next => part >= open_parts + limit,
            Some(part) if segment == next + 1 => part >= limit,
            _ => false,
        };
        if is_far { Reload::TooFar } else { Reload::Wait }
    }
}

/// How many parts ahead a reload may ask: three seconds' worth, and three at least.
fn advance_part_limit(part_target_ms: u32) -> u64 {
    u64::from(3_000_u32.div_ceil(part_target_ms.clamp(1, 1_000)))
}
