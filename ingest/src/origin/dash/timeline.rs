//! When the segments of one track begin and how long they last: `SegmentTimeline`, ISO/IEC 23009-1 section 5.3.9.6.

use std::fmt::{self, Display, Formatter};

use crate::{
    media::{
        fragment::{VIDEO_TIMESCALE, VIDEO_TRACK},
        times::Times,
    },
    packager::Segment,
};

/// Segments with consecutive numbers, in ticks of their track.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Timeline {
    /// The number of the first.
    pub first: u64,
    entries: Vec<Entry>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    start: u64,
    duration: u64,
}

impl Timeline {
    /// Of one track of these segments. The last may be growing: it is said to last as long as the one before it, until it
    /// does longer; dash.js asks for a segment again whose end has moved. Empty where there is nothing of the track.
    pub(super) fn read<'a>(segments: impl Iterator<Item = &'a Segment>, track: u32, timescale: u32) -> Self {
        let mut timeline = Self::default();
        for segment in segments {
            let is_growing = segment.bytes.is_empty();
            let times = match is_growing {
                false => Times::read(&segment.bytes, track),
                true => segment.parts.iter().filter_map(|part| Times::read(&part.bytes, track)).reduce(Times::and),
            };
            if timeline.entries.is_empty() {
                timeline.first = segment.number;
            }
            let usual = u64::from(segment.duration_ms) * u64::from(timescale) / 1_000;
            timeline.add(times, usual, begins_under(segment, times, track));
            if is_growing && let [.., before, growing] = &mut timeline.entries[..] {
                growing.duration = growing.duration.max(before.duration);
            }
        }
        timeline
    }

    /// Of a segment that begins under a picture that stays, it is `under` when it begins.
    fn add(&mut self, times: Option<Times>, usual: u64, under: Option<u64>) {
        let end = self.entries.last().map(|last| last.start + last.duration);
        let usual = usual.max(1);
        let entry = match (times, under, end) {
            (None, _, None) => return,
            (_, Some(start), _) => Entry { start, duration: usual },
            (Some(times), None, _) => Entry { start: times.presents, duration: times.duration.max(1) },
            // There is nothing of the track in it, but it has its number.
            (None, None, Some(end)) => Entry { start: end, duration: usual },
        };
        // Where pictures are reordered, what is presented last is known with the next segment. Sound is not, and has gaps.
        if let Some(last) = self.entries.last_mut() {
            let is_close = entry.start.abs_diff(last.start + last.duration) <= last.duration / 2;
            if (is_close || under.is_some()) && entry.start > last.start {
                last.duration = entry.start - last.start;
            }
        }
        self.entries.push(entry);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// When a segment of pictures begins to be shown whose first picture, if it has any, comes later: until then it is one of
/// before that stays.
fn begins_under(segment: &Segment, times: Option<Times>, track: u32) -> Option<u64> {
    let ticks = |time_ms: i64| u64::try_from(time_ms).unwrap_or(0) * u64::from(VIDEO_TIMESCALE / 1_000);
    let cut = segment.cut;
    let is_under = track == VIDEO_TRACK && !cut.is_key && times.is_none_or(|times| times.decode > ticks(cut.decode_ms));
    is_under.then(|| ticks(cut.presents_ms))
}

/// As `S` elements.
impl Display for Timeline {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let mut end = None;
        for run in
            self.entries.chunk_by(|one, next| one.duration == next.duration && one.start + one.duration == next.start)
        {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            formatter.write_str("<S")?;
            if end != Some(first.start) {
                write!(formatter, " t=\"{}\"", first.start)?;
            }
            write!(formatter, " d=\"{}\"", first.duration)?;
            if run.len() > 1 {
                write!(formatter, " r=\"{}\"", run.len() - 1)?;
            }
            formatter.write_str("/>")?;
            end = Some(last.start + last.duration);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(times: &[Option<(u64, u64)>]) -> String {
        let mut timeline = Timeline::default();
        for times in times {
            let times = times.map(|(start, duration)| Times { decode: start, presents: start, duration });
            timeline.add(times, 100, None);
        }
        timeline.to_string()
    }

    #[test]
    fn equal_segments_are_one_line() {
        let even = [Some((900, 100)), Some((1_000, 100)), Some((1_100, 100))];
        assert_eq!(timeline(&even), r#"<S t="900" d="100" r="2"/>"#);
        assert_eq!(timeline(&[Some((0, 90)), Some((90, 110))]), r#"<S t="0" d="90"/><S d="110"/>"#);
    }

    #[test]
    fn what_is_presented_late_lasts_until_the_next() {
        assert_eq!(timeline(&[Some((0, 103)), Some((100, 100))]), r#"<S t="0" d="100" r="1"/>"#);
        // A gap stays one.
        assert_eq!(timeline(&[Some((0, 100)), Some((900, 100))]), r#"<S t="0" d="100"/><S t="900" d="100"/>"#);
    }

    #[test]
    fn a_segment_without_anything_has_its_number() {
        let times = [None, Some((500, 100)), None, Some((690, 100))];
        assert_eq!(timeline(&times), r#"<S t="500" d="100"/><S d="90"/><S d="100"/>"#);
        assert_eq!(timeline(&[None, None]), "");
    }

    #[test]
    fn a_picture_that_stays_is_no_longer_than_its_segment() {
        // It lasts 350, through a segment without one, and the next comes in the middle of a third.
        let mut timeline = Timeline::default();
        let times = |start, duration| Some(Times { decode: start, presents: start, duration });
        timeline.add(times(500, 350), 100, None);
        timeline.add(None, 120, Some(600));
        let before = timeline.to_string();
        assert_eq!(before, r#"<S t="500" d="100"/><S d="120"/>"#);
        timeline.add(times(850, 50), 180, Some(720));
        timeline.add(times(900, 100), 100, None);
        assert_eq!(timeline.to_string(), before + r#"<S d="180"/><S d="100"/>"#);
    }
}
