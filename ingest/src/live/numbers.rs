//! Where the numbers of a stream go on after a crash of its node.
//!
//! Addresses are made of them and caches keep what they name, so none may be used twice. What the crashed process has used
//! is not written down anywhere: it would be a write a second for something that hardly ever happens. Two witnesses are asked
//! instead, and the higher one is believed. The clock on the wall, by when the stream began; and the files that the crash
//! left of what viewers could go back to, which know it better than a clock that was set back meanwhile.

use time::Duration;

use crate::packager::FirstNumbers;

/// What the clock says is doubled: a segment lasts about a second at least, and a few more come with breaks.
const SEGMENTS_A_SECOND: u64 = 2;
/// More than breaks can have added.
const SPARE: u64 = 100;
/// What may have been shown after the last segment that was written to the disk: writing may be as late as the memory is long.
const UNWRITTEN: u64 = 1_000;
/// For a stream that, by the clock, has not begun yet: higher than a year of it can have come.
const FAR: u64 = SEGMENTS_A_SECOND * 366 * 86_400;

/// Higher than the crashed process can have come, of a stream that began so long ago, and whose last segment on the disk had
/// this number.
pub(super) fn after_a_crash(lasted: Duration, on_disk: Option<u64>) -> FirstNumbers {
    let by_clock = u64::try_from(lasted.whole_seconds()).map_or(FAR, |seconds| SEGMENTS_A_SECOND * seconds) + SPARE;
    let by_disk = on_disk.map_or(0, |number| number.saturating_add(UNWRITTEN));
    let first = by_clock.max(by_disk);
    FirstNumbers { media_sequence: first, discontinuity_sequence: first }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(lasted: Duration, on_disk: Option<u64>) -> u64 {
        let FirstNumbers { media_sequence, discontinuity_sequence } = after_a_crash(lasted, on_disk);
        assert_eq!(media_sequence, discontinuity_sequence);
        media_sequence
    }

    #[test]
    fn they_are_higher_than_a_segment_a_second() {
        assert!(first(Duration::HOUR, None) > 3_600 + 10);
        assert!(first(Duration::ZERO, None) > 0);
    }

    #[test]
    fn a_clock_that_was_set_back_is_outvoted_by_what_lies_on_the_disk() {
        // It went back by most of the time that the stream had lasted, or by more than that.
        for lasted in [Duration::minutes(1), Duration::ZERO, Duration::hours(-30)] {
            assert!(first(lasted, Some(3_590)) > 3_590 + 60, "{lasted}");
        }
    }

    #[test]
    fn a_stream_that_has_not_begun_by_the_clock_goes_on_far_away() {
        assert!(first(Duration::seconds(-1), None) > 365 * 86_400);
        // Even then parts can be numbered 128 times as high, over and over.
        assert!(first(Duration::MIN, Some(FAR)) < u64::MAX / 1_000_000);
    }
}
