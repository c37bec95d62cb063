//! What viewers may see at one moment: an immutable picture of the window, shared by all who ask.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    sync::{Arc, Mutex, OnceLock},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};

use super::{
    playlist::{self, Listing, Report},
    window::{Init, Part, Rate, Segment, Timing},
};
use crate::media::fragment;

/// The content of a [`View`].
#[derive(Debug)]
pub(crate) struct Facts {
    /// Grows with each view of a rendition.
    pub revision: u64,
    pub is_ended: bool,
    pub timing: Timing,
    pub segments: Vec<Arc<Segment>>,
    pub listed_from: usize,
    /// The discontinuity sequence number of the latest segment.
    pub discontinuity: u64,
    pub open: Option<Segment>,
    /// The number of the segment after the last complete one.
    pub next_segment: u64,
    pub next_part: u64,
    /// Where the last part ends on the broadcast's timeline.
    pub edge_ms: i64,
    pub rate: Rate,
    pub sound_rate: Rate,
    /// The latest.
    pub init: Arc<Init>,
}

/// One moment of a rendition. Texts are written and compressed when they are first asked for, once.
#[derive(Debug)]
pub(crate) struct View {
    pub facts: Facts,
    playlist: OnceLock<Document>,
    delta: OnceLock<Option<Document>>,
    audio_playlist: OnceLock<Document>,
    audio_delta: OnceLock<Option<Document>>,
    /// Of the source: the manifest of this moment, and the revisions of all renditions that it was written from.
    pub manifest: Mutex<Option<(Vec<u64>, Arc<Document>)>>,
}

/// A text to serve, plain and compressed.
#[derive(Debug)]
pub(crate) struct Document {
    /// What tells it from other texts at the same address, for an entity tag.
    pub tag: String,
    pub plain: Bytes,
    gzip: OnceLock<Bytes>,
}

impl Document {
    pub(crate) fn new(tag: String, text: String) -> Self {
        Self { tag, plain: text.into(), gzip: OnceLock::new() }
    }

    /// A text that is its own tag.
    pub(crate) fn of_content(text: String) -> Self {
        // Its keys are fixed, so that nodes agree.
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        Self::new(format!("{:016x}", hasher.finish()), text)
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
        Self {
            facts,
            playlist: OnceLock::new(),
            delta: OnceLock::new(),
            audio_playlist: OnceLock::new(),
            audio_delta: OnceLock::new(),
            manifest: Mutex::default(),
        }
    }

    /// The media playlist, of the sound alone if wanted; as a delta update where one was asked for and leaves something
    /// out. What is reported of other renditions is asked for when a text is first written.
    pub(super) fn playlist(&self, is_audio: bool, is_delta: bool, reports: impl Fn() -> Vec<Report>) -> &Document {
        let Facts { revision, next_part, .. } = self.facts;
        let (whole, delta) = match is_audio {
            false => (&self.playlist, &self.delta),
            true => (&self.audio_playlist, &self.audio_delta),
        };
        let listing = || Listing::live(&self.facts, is_audio, reports());
        let shorter = is_delta.then(|| {
            delta.get_or_init(|| {
                let listing = listing();
                let skipped = listing.skippable();
                let text = (skipped > 0).then(|| playlist::media(&listing, skipped))?;
                Some(Document::new(format!("{next_part}-{revision}-delta"), text))
            })
        });
        shorter.and_then(Option::as_ref).unwrap_or_else(|| {
            whole.get_or_init(|| Document::new(format!("{next_part}-{revision}"), playlist::media(&listing(), 0)))
        })
    }

    /// Where this rendition is, for the playlists of others.
    pub(super) fn report(&self, name: &str) -> Option<Report> {
        let last = match &self.facts.open {
            Some(open) => open,
            None => self.facts.segments.last()?,
        };
        let last_part = (last.parts.len() as u64).checked_sub(1);
        Some(Report { name: name.to_owned(), last_segment: last.number, last_part })
    }

    /// Whether the source has sound at present.
    pub(crate) fn has_audio(&self) -> bool {
        self.facts.init.media.sound_codec.is_some()
    }

    /// Complete segments, oldest first, and then the growing one.
    pub(crate) fn segments(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.facts.segments.iter().map(|segment| &**segment).chain(&self.facts.open)
    }

    /// A complete segment.
    pub(crate) fn segment(&self, number: u64) -> Option<&Segment> {
        let first = self.facts.segments.first()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        self.facts.segments.get(index).map(|segment| &**segment)
    }

    /// A part of any segment that is still there.
    pub(crate) fn part(&self, number: u64) -> Option<&Part> {
        self.place(number).map(|(_, part)| part)
    }

    /// The sound of a part. Where none has come in time the track goes on later: then there is nothing in it.
    pub(crate) fn audio_of_part(&self, number: u64) -> Option<Bytes> {
        let (segment, part) = self.place(number)?;
        part.audio().or_else(|| empty_audio(segment, part))
    }

    /// The sound of a complete segment, as [`View::audio_of_part`].
    pub(crate) fn audio_of_segment(&self, number: u64) -> Option<Bytes> {
        let segment = self.segment(number)?;
        if segment.parts.iter().all(|part| part.audio().is_some()) {
            return segment.audio();
        }
        // A segment is what its parts are.
        let parts = segment.parts.iter().map(|part| part.audio().or_else(|| empty_audio(segment, part)));
        Some(parts.collect::<Option<Vec<Bytes>>>()?.concat().into())
    }

    /// A part of any segment that is still there, and that segment.
    fn place(&self, number: u64) -> Option<(&Segment, &Part)> {
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
            .and_then(|(segment, index)| Some((segment, segment.parts.get(index)?)))
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

/// A fragment of the sound's track without samples; `None` where there is no such track.
fn empty_audio(segment: &Segment, part: &Part) -> Option<Bytes> {
    let sample_rate = segment.init.media.sound_sample_rate?;
    let decode_time = u64::try_from(part.start_ms).ok()? * u64::from(sample_rate) / 1_000;
    Some(fragment::write_empty(fragment::AUDIO_TRACK, part.number as u32, decode_time))
}

/// How many parts ahead a reload may ask: three seconds' worth, and three at least.
fn advance_part_limit(part_target_ms: u32) -> u64 {
    u64::from(3_000_u32.div_ceil(part_target_ms.clamp(1, 1_000)))
}
