//! Which segments and parts are kept, which are listed, and how they are numbered.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::{Bytes, BytesMut};
use time::OffsetDateTime;

use super::{FirstNumbers, PackagerConfig, holds::Holds, view::View};
use crate::media::{fragment, split};

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
    /// Where it begins on the broadcast's timeline, in decode time.
    pub start_ms: i64,
    pub bytes: Bytes,
    pub split: Arc<Split>,
}

impl Part {
    /// The sound alone; `None` where there is none in it.
    pub(crate) fn audio(&self) -> Option<Bytes> {
        self.split.audio.get_or_init(|| split::audio_only(&self.bytes)).clone()
    }

    /// The picture alone; `None` where there is none in it.
    pub(crate) fn video(&self) -> Option<Bytes> {
        self.split.video.get_or_init(|| split::video_only(&self.bytes)).clone()
    }
}

/// Picture and sound apart, from when somebody asks.
#[derive(Debug, Default)]
pub(crate) struct Split {
    video: OnceLock<Option<Bytes>>,
    audio: OnceLock<Option<Bytes>>,
}

#[cfg(test)]
impl Split {
    fn is_made(&self) -> bool {
        self.video.get().is_some() || self.audio.get().is_some()
    }
}

/// Where a segment begins on the broadcast's timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// When its first picture is decoded.
    pub decode_ms: i64,
    /// When its key frame is presented; where it begins with another picture, its decode time later by the epoch's
    /// usual distance between the two. Renditions are cut by this: their encoders reorder pictures in ways of their own.
    pub presents_ms: i64,
    /// Its first picture is a key frame.
    pub is_key: bool,
}

/// An initialisation segment, and what it says.
#[derive(Debug)]
pub(crate) struct Init {
    /// The number of the first segment that needs it.
    pub number: u64,
    /// When that segment begins, on the wall's clock and on the broadcast's timeline.
    pub begins_at: OffsetDateTime,
    pub cut: Cut,
    pub media: InitMedia,
    split: Split,
}

impl Init {
    fn new(number: u64, begins_at: OffsetDateTime, cut: Cut, media: InitMedia) -> Self {
        Self { number, begins_at, cut, media, split: Split::default() }
    }

    /// Of the sound alone; `None` where there is none.
    pub(crate) fn audio(&self) -> Option<Bytes> {
        self.split.audio.get_or_init(|| split::init_audio_only(&self.media.bytes)).clone()
    }

    /// Of the picture alone.
    pub(crate) fn video(&self) -> Option<Bytes> {
        self.split.video.get_or_init(|| split::init_video_only(&self.media.bytes)).clone()
    }
}

/// The content of an [`Init`].
#[derive(Clone, Debug)]
pub(crate) struct InitMedia {
    pub bytes: Bytes,
    /// As the `CODECS` attribute lists them.
    pub codecs: String,
    /// The sound's among them.
    pub sound_codec: Option<String>,
    /// Ticks a second of the sound's track.
    pub sound_sample_rate: Option<u32>,
    /// 0 where there is sound alone, as the two that follow.
    pub width: u32,
    pub height: u32,
    pub frame_rate: f64,
}

impl InitMedia {
    /// Whether there is a picture, and not sound alone.
    pub(crate) fn has_picture(&self) -> bool {
        self.width > 0
    }
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
    /// Its discontinuity sequence number: RFC 8216bis section 6.2.1.
    pub discontinuity: u64,
    /// When its first picture was taken in.
    pub starts_at: OffsetDateTime,
    pub cut: Cut,
    /// Where its sound's frames begin: [`Sound::phase`](super::sound::Sound::phase).
    pub sound_phase: Option<i64>,
    /// Bytes of sound in it.
    pub sound_bytes: usize,
    split: Arc<Split>,
}

impl Segment {
    /// Whether its first picture can be decoded by itself.
    pub(crate) fn is_independent(&self) -> bool {
        self.cut.is_key
    }

    /// When it begins, in ticks of the picture's track. A picture that stays may last into it, and then its own first one comes
    /// later, or there is none.
    pub(crate) fn decode_time(&self) -> u64 {
        u64::try_from(self.cut.decode_ms).unwrap_or(0) * u64::from(fragment::VIDEO_TIMESCALE / 1_000)
    }

    /// The sound alone of a complete segment; `None` where there is none in it.
    pub(crate) fn audio(&self) -> Option<Bytes> {
        self.split.audio.get_or_init(|| split::audio_only(&self.bytes)).clone()
    }

    /// The picture alone of a complete segment; `None` where there is none in it.
    pub(crate) fn video(&self) -> Option<Bytes> {
        self.split.video.get_or_init(|| split::video_only(&self.bytes)).clone()
    }

    /// Whether picture and sound were put apart, of it or of any of its parts.
    #[cfg(test)]
    pub(crate) fn is_split(&self) -> bool {
        self.split.is_made() || self.parts.iter().any(|part| part.split.is_made())
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
    pub cut: Cut,
    pub sound_phase: Option<i64>,
    /// The segment of the source that this one goes beside; `None` in the source itself.
    pub twin: Option<Twin>,
}

/// What a segment has in common with the source's of the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Twin {
    pub number: u64,
    pub starts_at: OffsetDateTime,
    pub discontinuity: u64,
    pub is_after_discontinuity: bool,
}

/// What a packager adds.
#[derive(Debug)]
pub(crate) struct NewPart {
    /// Present when the part begins a segment.
    pub start: Option<SegmentStart>,
    pub duration_ms: u32,
    pub is_independent: bool,
    /// Where it begins and ends on the broadcast's timeline.
    pub start_ms: i64,
    pub end_ms: i64,
    pub sound_bytes: usize,
    pub bytes: Bytes,
}

#[derive(Debug)]
pub(crate) struct Window {
    window_segments: u32,
    window_bytes: usize,
    pub timing: Option<Timing>,
    pub is_ended: bool,
    /// Complete segments with consecutive numbers, oldest first; those before `listed_from` have left the playlist and
    /// are kept for those who have just read it; in memory until they are on the disk.
    segments: VecDeque<Arc<Segment>>,
    listed_from: usize,
    open: Option<Segment>,
    init: Option<Arc<Init>>,
    next_segment: u64,
    next_part: u64,
    end_ms: Option<i64>,
    /// Of the latest segment.
    discontinuity: u64,
    /// The last segment is shorter than the source's of its number.
    is_torn: bool,
    kept_bytes: usize,
    rate: Rate,
    sound_rate: Rate,
    revision: u64,
    holds: Arc<Holds>,
}

/// Bits a second, as measured so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    peak: u64,
    total_bytes: u64,
    total_ms: u64,
}

impl Rate {
    fn count(&mut self, bytes: usize, duration_ms: u32, is_typical: bool) {
        self.total_bytes += bytes as u64;
        self.total_ms += u64::from(duration_ms);
        if is_typical {
            self.peak = self.peak.max(bytes as u64 * 8_000 / u64::from(duration_ms.max(1)));
        }
    }

    pub(crate) fn average_bits_per_second(self) -> u64 {
        (self.total_bytes * 8_000).checked_div(self.total_ms).unwrap_or(0)
    }

    /// Of the largest segment that is not much shorter than others.
    pub(crate) fn peak_bits_per_second(self) -> u64 {
        self.peak.max(self.average_bits_per_second())
    }
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
            discontinuity: first.discontinuity_sequence,
            is_torn: false,
            kept_bytes: 0,
            rate: Rate::default(),
            sound_rate: Rate::default(),
            revision: 0,
            holds: Arc::default(),
        }
    }

    pub(crate) fn holds(&self) -> &Arc<Holds> {
        &self.holds
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
        open.sound_bytes += part.sound_bytes;
        open.parts.push(Part {
            number: self.next_part,
            duration_ms: part.duration_ms,
            is_independent: part.is_independent,
            start_ms: part.start_ms,
            bytes: part.bytes,
            split: Arc::default(),
        });
        self.next_part += 1;
        self.end_ms = Some(part.end_ms);
    }

    fn begin(&mut self, start: SegmentStart) -> Option<Segment> {
        let is_after_discontinuity = match start.twin {
            Some(twin) => {
                self.go_beside(twin);
                twin.is_after_discontinuity
            }
            None => {
                let is_first = self.init.is_none();
                let is_after_discontinuity = start.init.is_some() && !is_first;
                self.discontinuity += u64::from(is_after_discontinuity);
                is_after_discontinuity
            }
        };
        if let Some(media) = start.init {
            // An encoder of renditions that was started again makes the same.
            let is_known =
                !is_after_discontinuity && self.init.as_ref().is_some_and(|init| init.media.bytes == media.bytes);
            if !is_known {
                self.init = Some(Arc::new(Init::new(self.next_segment, start.starts_at, start.cut, media)));
            }
        }
        Some(Segment {
            number: self.next_segment,
            duration_ms: 0,
            parts: Vec::new(),
            bytes: Bytes::new(),
            init: Arc::clone(self.init.as_ref()?),
            is_after_discontinuity,
            discontinuity: self.discontinuity,
            starts_at: start.starts_at,
            cut: start.cut,
            sound_phase: start.sound_phase,
            sound_bytes: 0,
            split: Arc::default(),
        })
    }

    /// Takes the source's numbers. Where segments of the source have no twin here, those before are forgotten: a
    /// playlist has no holes.
    fn go_beside(&mut self, twin: Twin) {
        let is_torn = std::mem::take(&mut self.is_torn) && !twin.is_after_discontinuity;
        if twin.number != self.next_segment || is_torn {
            self.segments.clear();
            self.listed_from = 0;
            self.kept_bytes = 0;
            self.init = None;
            self.next_part = self.next_part.max(twin.number.saturating_mul(PARTS_PER_SEGMENT));
        }
        self.next_segment = twin.number;
        self.discontinuity = twin.discontinuity;
    }

    /// The growing segment ends before its twin does.
    pub(crate) fn tear(&mut self) {
        self.is_torn = true;
    }

    pub(crate) fn next_segment(&self) -> u64 {
        self.next_segment
    }

    /// Completes the growing segment, if there is one, and lets old ones go.
    pub(crate) fn end_segment(&mut self) {
        let Some(open) = self.open.take() else { return };
        let segment = open.seal();
        let size = segment.bytes.len();
        self.next_segment = segment.number + 1;
        self.kept_bytes += size;
        let half_target_ms = self.timing.map_or(1_000, |timing| timing.target_duration_s * 500);
        let is_typical = segment.duration_ms >= half_target_ms;
        self.rate.count(size, segment.duration_ms, is_typical);
        if segment.init.media.sound_codec.is_some() {
            self.sound_rate.count(segment.sound_bytes, segment.duration_ms, is_typical);
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
            (self.rate, self.sound_rate) = (Rate::default(), Rate::default());
        }
    }

    /// Unlists segments by time, and drops those that nobody can still be fetching: RFC 8216bis section 6.2.2 asks that
    /// one stays for its own duration and the playlist's after it was unlisted. What is on the disk goes from memory when it
    /// is unlisted: it is served from there. Too many bytes go at once.
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
        let forgettable_before = self.holds.forgettable_before();
        let mut others_ms = self.duration_ms(0);
        while let Some(first) = self.segments.front().filter(|_| self.segments.len() > 1) {
            let own_ms = u64::from(first.duration_ms);
            others_ms -= own_ms;
            let is_old = others_ms >= 2 * window_ms + own_ms || first.number < forgettable_before;
            let is_forgotten = self.listed_from > 0 && is_old;
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
        self.listed_from = (self.listed_from + 1).min(self.segments.len());
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
        Some(View::new(super::view::Facts {
            revision: self.revision,
            is_ended: self.is_ended,
            timing,
            segments: self.segments.iter().cloned().collect(),
            listed_from: self.listed_from,
            discontinuity: self.discontinuity,
            open: self.open.clone(),
            next_segment: self.next_segment,
            next_part: self.next_part,
            edge_ms: self.end_ms.unwrap_or(0),
            rate: self.rate,
            sound_rate: self.sound_rate,
            init,
        }))
    }
}
