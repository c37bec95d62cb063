//! When the pictures of a rendition are decoded: at the times at which those of the source are.
//!
//! An encoder of renditions gives its pictures in the order in which they are shown, and knows no other times. Those of the
//! source may be out of order, and it is by their decode times that segments and parts are cut and measured. In a rendition
//! measured by when its pictures are shown, a hole before a key frame would count to another segment than in the source, which
//! might then be longer than the target duration. So what is shown as the nth picture is decoded when the nth of the source is.
//! That is never after it is shown: the source has decoded as many by then, or it could not show that many.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use super::view::View;
use crate::media::{fragment::VIDEO_TIMESCALE, times};

/// What times are off by at most, after the source and its encoder have rounded them to milliseconds.
const ROUNDING_MS: i64 = 2;

const TICKS_PER_MS: i64 = VIDEO_TIMESCALE as i64 / 1_000;

/// The source's pictures from some part on, of which no later one was made into a picture of the rendition yet.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    /// The number of the source's part that is read next.
    next_part: u64,
    /// When they are decoded, the earliest first.
    decode_ms: VecDeque<i64>,
    /// When they are shown. As many as there are in `decode_ms`.
    presents_ms: BinaryHeap<Reverse<i64>>,
}

impl Schedule {
    /// Begins with a part of the source.
    pub(super) fn new(first_part: u64) -> Self {
        Self { next_part: first_part, ..Self::default() }
    }

    /// Takes in the parts that have come.
    pub(super) fn read(&mut self, source: &View) {
        while self.next_part < source.facts.next_part {
            if let Some(part) = source.part(self.next_part) {
                self.take(times::pictures(&part.bytes));
            }
            self.next_part += 1;
        }
    }

    fn take(&mut self, pictures: impl Iterator<Item = (i64, i64)>) {
        for (decode_ticks, presents_ticks) in pictures {
            self.decode_ms.push_back(decode_ticks.div_euclid(TICKS_PER_MS));
            self.presents_ms.push(Reverse(presents_ticks.div_euclid(TICKS_PER_MS)));
        }
    }

    /// When the picture is decoded that is shown at this time; `None` where the source has none then. Times are to be asked
    /// for in order: what is shown before is forgotten.
    pub(super) fn decode_ms(&mut self, presents_ms: i64) -> Option<i64> {
        // The encoder may leave some out.
        while self.presents_ms.peek().is_some_and(|Reverse(next_ms)| *next_ms < presents_ms - ROUNDING_MS) {
            self.pass();
        }
        let is_there = self.presents_ms.peek().is_some_and(|Reverse(next_ms)| *next_ms <= presents_ms + ROUNDING_MS);
        if is_there { self.pass() } else { None }
    }

    fn pass(&mut self) -> Option<i64> {
        self.presents_ms.pop();
        self.decode_ms.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures as they are sent: when each is decoded and shown, in milliseconds.
    fn schedule(pictures: &[(i64, i64)]) -> Schedule {
        let mut schedule = Schedule::default();
        schedule.take(pictures.iter().map(|(decode_ms, presents_ms)| (decode_ms * 90, presents_ms * 90)));
        schedule
    }

    #[test]
    fn the_nth_that_is_shown_is_decoded_when_the_nth_is() {
        // A hole of a second before the second key frame.
        let sent =
            [(0, 67), (33, 167), (67, 100), (100, 133), (133, 1_167), (167, 1_267), (1_167, 1_200), (1_200, 1_233)];
        let mut schedule = schedule(&sent);
        let shown = [67, 100, 133, 167, 1_167, 1_200, 1_233, 1_267];
        let decoded: Vec<_> = shown.iter().map(|shown| schedule.decode_ms(*shown)).collect();
        assert_eq!(decoded, [0, 33, 67, 100, 133, 167, 1_167, 1_200].map(Some));
        assert!(decoded.iter().zip(shown).all(|(decoded, shown)| decoded.unwrap() <= shown));
        assert_eq!(schedule.decode_ms(1_300), None);
    }

    #[test]
    fn what_is_left_out_takes_its_time_with_it() {
        let mut schedule = schedule(&[(0, 67), (33, 167), (67, 100), (100, 133), (133, 200)]);
        // Rounded by others: a millisecond or two do not matter.
        assert_eq!(schedule.decode_ms(68), Some(0));
        assert_eq!(schedule.decode_ms(131), Some(67));
        assert_eq!(schedule.decode_ms(150), None, "there is none then");
        assert_eq!(schedule.decode_ms(200), Some(133));
    }
}
