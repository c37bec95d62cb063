//! Which segments and parts are kept, which are listed, and how they are numbered.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};
use time::OffsetDateTime;

use super::{
    FirstNumbers, PackagerConfig,
    view::{MasterFacts, View},
};

/// Part numbers start at this many times the first segment's number, so that they too are new after a crash. No segment
/// has as many parts: it lasts 4.4 s at most, and two parts in a row at least 0.1 s.
const PARTS_PER_SEGMENT: u64 = 128;

/// One part: a fragment.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Unique within the broadcast.
    pub number: u64,
    pub duration_ms: u32,
    /// A key frame is in it.
    pub is_independent: bool,
    pub bytes: Bytes,
}

/// An initialisation segment, and what it says.
#[derive(Debug)]
pub(crate) struct Init {
    /// The number of the first segment that needs it.
    pub number: u64,
    pub media: InitMedia,
}

/// The content of an [`Init`].
#[derive(Clone, Debug)]
pub(crate) struct InitMedia {
    pub bytes: Bytes,
    /// As the `CODECS` attribute lists them.
    pub codecs: String,
    pub width: u32,
    pub height: u32,
    pub frame_rate: f64,
}

/// A segment, complete or growing.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub number: u64,
    pub duration_ms: u32,
    pub parts: Vec<Part>,
    /// All parts in one piece; empty while the segment grows.
    pub bytes: Bytes,
    pub init: Arc<Init>,
    /// Times, tracks or both begin anew.
    pub is_after_discontinuity: bool,
    /// When its first picture was taken in.
    pub starts_at: OffsetDateTime,
}

impl Segment {
    /// Whether its first picture can be decoded by itself.
    pub(crate) fn is_independent(&self) -> bool {
        self.parts.first().is_some_and(|part| part.is_independent)
    }

    /// Joins the parts and makes slices of them, so that their bytes are held once.
    fn seal(mut self) -> Self {
        let mut whole = BytesMut::with_capacity(self.parts.iter().map(|part| part.bytes.len()).sum());
        for part in &self.parts {
            whole.extend_from_slice(&part.bytes);
        }
        self.bytes = whole.freeze();
        let mut at = 0;
        for part in &mut self.parts {
            let end = at + part.bytes.len();
            part.bytes = self.bytes.slice(at..end);
            at = end;
        }
        self
    }
}

/// What never changes once the playlist is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    /// `EXT-X-TARGETDURATION`
    pub target_duration_s: u32,
    /// `PART-TARGET`
    pub part_target_ms: u32,
}

/// How a part begins a segment.
#[derive(Debug)]
pub(crate) struct SegmentStart {
    pub starts_at: OffsetDateTime,
    /// Present where times, tracks or both begin anew.
    pub init: Option<InitMedia>,
}

/// What a packager adds.
#[derive(Debug)]
pub(crate) struct NewPart {
    /// Present when the part begins a segment.
    pub start: Option<SegmentStart>,
    pub duration_ms: u32,
    pub is_independent: bool,
    /// Where it ends on the broadcast's timeline.
    pub end_ms: i64,
    pub bytes: Bytes,
}

#[derive(Debug)]
pub(crate) struct Window {
    window_segments: u32,
    window_bytes: usize,
    pub timing: Option<Timing>,
    pub is_ended: bool,
    /// Complete segments with consecutive numbers, oldest first; those before `listed_from` have left the playlist and
    /// are kept for those who have just read it.
    segments: VecDeque<Arc<Segment>>,
    listed_from: usize,
    open: Option<Segment>,
    init: Option<Arc<Init>>,
    next_segment: u64,
    next_part: u64,
    end_ms: Option<i64>,
    discontinuity_sequence: u64,
    kept_bytes: usize,
    peak_bits_per_second: u64,
    total_bytes: u64,
    total_ms: u64,
    revision: u64,
}

impl Window {
    pub(crate) fn new(config: &PackagerConfig, first: FirstNumbers) -> Self {
        Self {
            window_segments: u32::try_from(config.window_segments.clamp(4, 1_000)).unwrap_or(4),
            window_bytes: config.window_bytes,
            timing: None,
            is_ended: false,
            segments: VecDeque::new(),
            listed_from: 0,
            open: None,
            init: None,
            next_segment: first.media_sequence,
            next_part: first.media_sequence.saturating_mul(PARTS_PER_SEGMENT),
            end_ms: None,
            discontinuity_sequence: first.discontinuity_sequence,
            kept_bytes: 0,
            peak_bits_per_second: 0,
            total_bytes: 0,
            total_ms: 0,
            revision: 0,
        }
    }

    pub(crate) fn next_part(&self) -> u64 {
        self.next_part
    }

    /// Where the last part ends on the broadcast's timeline.
    pub(crate) fn end_ms(&self) -> Option<i64> {
        self.end_ms
    }

    /// When the last segment ends, on the wall's clock.
    pub(crate) fn ends_at(&self) -> Option<OffsetDateTime> {
        let last = self.open.as_ref().or_else(|| self.segments.back().map(|segment| &**segment))?;
        Some(last.starts_at + time::Duration::milliseconds(i64::from(last.duration_ms)))
    }

    /// Adds a part to the growing segment, or to a new one where `start` says so.
    pub(crate) fn add_part(&mut self, part: NewPart) {
        if let Some(start) = part.start {
            self.end_segment();
            self.open = self.begin(start);
        }
        let Some(open) = &mut self.open else { return };
        open.duration_ms += part.duration_ms;
        open.parts.push(Part {
            number: self.next_part,
            duration_ms: part.duration_ms,
            is_independent: part.is_independent,
            bytes: part.bytes,
        });
        self.next_part += 1;
        self.end_ms = Some(part.end_ms);
    }

    fn begin(&mut self, start: SegmentStart) -> Option<Segment> {
        let is_first = self.init.is_none();
        let is_after_discontinuity = start.init.is_some() && !is_first;
        if let Some(media) = start.init {
            self.init = Some(Arc::new(Init { number: self.next_segment, media }));
        }
        Some(Segment {
            number: self.next_segment,
            duration_ms: 0,
            parts: Vec::new(),
            bytes: Bytes::new(),
            init: Arc::clone(self.init.as_ref()?),
            is_after_discontinuity,
            starts_at: start.starts_at,
        })
    }

    /// Completes the growing segment, if there is one, and lets old ones go.
    pub(crate) fn end_segment(&mut self) {
        let Some(open) = self.open.take() else { return };
        let segment = open.seal();
        let size = segment.bytes.len();
        self.next_segment = segment.number + 1;
        self.kept_bytes += size;
        self.total_bytes += size as u64;
        self.total_ms += u64::from(segment.duration_ms);
        let half_target_ms = self.timing.map_or(1_000, |timing| timing.target_duration_s * 500);
        if segment.duration_ms >= half_target_ms {
            let rate = size as u64 * 8_000 / u64::from(segment.duration_ms);
            self.peak_bits_per_second = self.peak_bits_per_second.max(rate);
        }
        self.segments.push_back(Arc::new(segment));
        self.slide();
    }

    /// Forgets a growing segment that nobody has seen, and complete ones likewise: the playlist is not out yet.
    pub(crate) fn discard_unpublished(&mut self) {
        if self.timing.is_none() {
            self.open = None;
            self.segments.clear();
            self.listed_from = 0;
            self.init = None;
            self.kept_bytes = 0;
            (self.peak_bits_per_second, self.total_bytes, self.total_ms) = (0, 0, 0);
        }
    }

    /// Unlists segments by time, and drops those that nobody can still be fetching: RFC 8216bis section 6.2.2 asks that
    /// one stays for its own duration and the playlist's after it was unlisted. Too many bytes go at once.
    fn slide(&mut self) {
        let target_ms = self.timing.map_or(4_000, |timing| timing.target_duration_s * 1_000);
        let window_ms = u64::from(self.window_segments) * u64::from(target_ms);
        let mut listed_ms = self.duration_ms(self.listed_from);
        while let Some(first) = self.segments.get(self.listed_from) {
            listed_ms -= u64::from(first.duration_ms);
            if listed_ms < window_ms {
                break;
            }
            self.unlist_first();
        }
        let mut others_ms = self.duration_ms(0);
        while let Some(first) = self.segments.front().filter(|_| self.segments.len() > 1) {
            let own_ms = u64::from(first.duration_ms);
            others_ms -= own_ms;
            let is_forgotten = self.listed_from > 0 && others_ms >= 2 * window_ms + own_ms;
            if !is_forgotten && self.kept_bytes <= self.window_bytes {
                break;
            }
            if self.listed_from == 0 {
                self.unlist_first();
            }
            self.drop_first();
        }
    }

    fn duration_ms(&self, from: usize) -> u64 {
        self.segments.iter().skip(from).map(|segment| u64::from(segment.duration_ms)).sum()
    }

    fn unlist_first(&mut self) {
        if let Some(segment) = self.segments.get(self.listed_from) {
            self.discontinuity_sequence += u64::from(segment.is_after_discontinuity);
            self.listed_from += 1;
        }
    }

    fn drop_first(&mut self) {
        if let Some(segment) = self.segments.pop_front() {
            self.kept_bytes -= segment.bytes.len();
            self.listed_from = self.listed_from.saturating_sub(1);
        }
    }

    /// What viewers may see now; `None` before the playlist is out.
    pub(crate) fn view(&mut self) -> Option<View> {
        let timing = self.timing?;
        let init = Arc::clone(self.init.as_ref()?);
        self.revision += 1;
        let average = (self.total_bytes * 8_000).checked_div(self.total_ms).unwrap_or(0);
        Some(View::new(super::view::Facts {
            revision: self.revision,
            is_ended: self.is_ended,
            timing,
            segments: self.segments.iter().cloned().collect(),
            listed_from: self.listed_from,
            discontinuity_sequence: self.discontinuity_sequence,
            open: self.open.clone(),
            next_segment: self.next_segment,
            next_part: self.next_part,
            master: MasterFacts {
                peak_bits_per_second: self.peak_bits_per_second.max(average),
                average_bits_per_second: average,
                init,
            },
        }))
    }
}
