//! The newest pictures of the source: those that decoder and encoder may have under way, however long ago they came.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::{
    media::{fragment::VIDEO_TIMESCALE, times},
    packager::View,
};

/// So many pictures decoder and encoder may have under way, which are seconds where pictures are rare. Measured with ffmpeg 5.1:
/// 2 of 720p, 4 where they lean on later ones, and 8 of 1440p, where `command` gives decoder and encoder four threads each.
const HELD_BACK_PICTURES: usize = 8;

const TICKS_PER_MS: i64 = VIDEO_TIMESCALE as i64 / 1_000;

/// When the newest pictures of the source are shown.
#[derive(Debug, Default)]
pub(super) struct Newest {
    /// The number of the source's part that is read next; `None` before the first look.
    next_part: Option<u64>,
    /// In milliseconds of the broadcast's timeline; one more than may be under way.
    presents_ms: BinaryHeap<Reverse<i64>>,
}

impl Newest {
    /// Takes in what has come since the last look, nothing at the first; whether there are pictures in it.
    pub(super) fn read(&mut self, source: &View) -> bool {
        let end = source.facts.next_part;
        let mut has_come = false;
        for number in self.next_part.replace(end).unwrap_or(end)..end {
            if let Some(part) = source.part(number) {
                has_come |= self.take(
                    times::pictures(&part.bytes).map(|(_, presents_ticks)| presents_ticks.div_euclid(TICKS_PER_MS)),
                );
            }
        }
        has_come
    }

    /// Takes in pictures by when they are shown; whether there are any.
    pub(super) fn take(&mut self, presents_ms: impl Iterator<Item = i64>) -> bool {
        let mut has_come = false;
        for presents_ms in presents_ms {
            has_come = true;
            self.presents_ms.push(Reverse(presents_ms));
            if self.presents_ms.len() > HELD_BACK_PICTURES + 1 {
                self.presents_ms.pop();
            }
        }
        has_come
    }

    /// Whether more have come since the first look than may be under way.
    pub(super) fn are_many(&self) -> bool {
        self.presents_ms.len() > HELD_BACK_PICTURES
    }

    /// How far a rendition is behind what it should have by now, in milliseconds; its latest picture is shown then.
    pub(super) fn late_ms(&self, latest_ms: i64) -> u32 {
        let due_ms = self.presents_ms.peek().filter(|_| self.are_many()).map_or(latest_ms, |Reverse(due_ms)| *due_ms);
        u32::try_from((due_ms - latest_ms).max(0)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_is_what_more_pictures_are_newer_than_are_under_way() {
        let mut newest = Newest::default();
        newest.take((0..8).map(|picture| picture * 3_000));
        assert!(!newest.are_many());
        assert_eq!(newest.late_ms(0), 0);
        newest.take([27_000, 24_000].into_iter());
        assert!(newest.are_many());
        // Eight are newer, however long ago.
        assert_eq!(newest.late_ms(3_000), 0);
        assert_eq!(newest.late_ms(0), 3_000);
        assert_eq!(newest.late_ms(27_000), 0);
        newest.take((1..=300).map(|picture| 27_000 + picture * 33));
        assert_eq!(newest.late_ms(27_000), 292 * 33);
    }
}
