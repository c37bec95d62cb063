//! How a connection does, counted by the second of its own clock.

use std::collections::VecDeque;

use super::Health;

/// Whole seconds that count.
const SECONDS: usize = 5;
/// So many steps between pictures say which one is usual.
const STEPS: usize = 31;
/// Steps longer than this many tenths of the usual one have a hole in them.
const HOLE_TENTHS: i64 = 16;
/// So many seconds in a row say whether media falls behind evenly.
const EVEN_SECONDS: usize = 5;
/// Key frames must be so many times as large as others to say what they are held up by.
const MUCH_LARGER: u64 = 4;

#[derive(Debug, Default)]
pub(super) struct HealthMeter {
    /// Oldest first; the last one is still being counted.
    seconds: VecDeque<Second>,
    last_key_ms: Option<i64>,
    last_picture_ms: Option<i64>,
    last_sound_ms: Option<i64>,
    key_frame_interval_ms: i64,
    steps: Steps,
    /// Of the last message: how long it was and when it came.
    last_message: (u64, i64),
    picture_arrived_ms: Option<i64>,
}

#[derive(Debug)]
struct Second {
    number: i64,
    bytes: u64,
    pictures: u32,
    missing_pictures: u32,
    /// The earliest and the latest of its messages, by arrival less media time.
    earliest_ms: i64,
    latest_ms: i64,
    /// How far sound was ahead of the picture, added up over its pictures.
    sound_ahead_ms: i64,
    pictures_with_sound: u32,
    /// Of its first message, by arrival less media time.
    first_ms: i64,
    key_frames: Arrivals,
    other_pictures: Arrivals,
}

/// How pictures of a kind arrived.
#[derive(Clone, Copy, Debug, Default)]
struct Arrivals {
    count: u64,
    bytes: u64,
    /// From the picture before to each of them, added up.
    waited_ms: i64,
}

impl Arrivals {
    fn count(&mut self, bytes: u64, waited_ms: i64) {
        self.count += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.waited_ms = self.waited_ms.saturating_add(waited_ms.max(0));
    }

    #[must_use]
    fn and(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            bytes: self.bytes.saturating_add(other.bytes),
            waited_ms: self.waited_ms.saturating_add(other.waited_ms),
        }
    }

    fn mean_bytes(self) -> u64 {
        self.bytes.checked_div(self.count).unwrap_or(0)
    }
}

/// The last steps from picture to picture.
#[derive(Debug)]
struct Steps {
    taken_ms: [i64; STEPS],
    count: usize,
}

impl Default for Steps {
    fn default() -> Self {
        Self { taken_ms: [0; STEPS], count: 0 }
    }
}

impl Steps {
    /// How many pictures are missing in this step; then it counts for the next.
    fn take(&mut self, step_ms: i64) -> u32 {
        let usual_ms = self.usual_ms();
        self.taken_ms[self.count % STEPS] = step_ms;
        self.count += 1;
        match usual_ms {
            Some(usual_ms) if step_ms * 10 > usual_ms * HOLE_TENTHS => {
                // Rounded to the nearest whole number of usual steps, less the one that is there.
                u32::try_from((step_ms + usual_ms / 2) / usual_ms - 1).unwrap_or(u32::MAX)
            }
            _ => 0,
        }
    }

    /// The middle one of the last steps; `None` before there are enough.
    fn usual_ms(&self) -> Option<i64> {
        if self.count < STEPS {
            return None;
        }
        let mut sorted = self.taken_ms;
        let (_, middle, _) = sorted.select_nth_unstable(STEPS / 2);
        Some(*middle).filter(|step_ms| *step_ms > 0)
    }
}

impl HealthMeter {
    /// Counts a message, which arrived at `arrived_ms` on any clock that goes evenly.
    pub(super) fn count(&mut self, time_ms: i64, bytes: usize, arrived_ms: i64) {
        let number = time_ms.div_euclid(1_000);
        let behind_ms = arrived_ms - time_ms;
        self.last_message = (bytes as u64, arrived_ms);
        if self.seconds.back().is_none_or(|last| last.number < number) {
            self.seconds.push_back(Second {
                number,
                bytes: 0,
                pictures: 0,
                missing_pictures: 0,
                earliest_ms: behind_ms,
                latest_ms: behind_ms,
                sound_ahead_ms: 0,
                pictures_with_sound: 0,
                first_ms: behind_ms,
                key_frames: Arrivals::default(),
                other_pictures: Arrivals::default(),
            });
            if self.seconds.len() > SECONDS + 1 {
                self.seconds.pop_front();
            }
        }
        if let Some(second) = self.seconds.back_mut() {
            second.bytes += bytes as u64;
            second.earliest_ms = second.earliest_ms.min(behind_ms);
            second.latest_ms = second.latest_ms.max(behind_ms);
        }
    }

    /// Counts a picture whose message was counted.
    pub(super) fn count_picture(&mut self, time_ms: i64, is_key: bool) {
        let step_ms = self.last_picture_ms.replace(time_ms).map(|last_ms| time_ms - last_ms);
        let missing = step_ms.filter(|step_ms| *step_ms > 0).map_or(0, |step_ms| self.steps.take(step_ms));
        let (bytes, arrived_ms) = self.last_message;
        let waited_ms =
            self.picture_arrived_ms.replace(arrived_ms).map(|before_ms| arrived_ms.saturating_sub(before_ms));
        if let Some(second) = self.seconds.back_mut() {
            second.pictures += 1;
            second.missing_pictures = second.missing_pictures.saturating_add(missing);
            if let Some(waited_ms) = waited_ms {
                let of_kind = if is_key { &mut second.key_frames } else { &mut second.other_pictures };
                of_kind.count(bytes, waited_ms);
            }
            if let Some(sound_ms) = self.last_sound_ms {
                second.sound_ahead_ms += sound_ms - time_ms;
                second.pictures_with_sound += 1;
            }
        }
        if is_key && let Some(last_ms) = self.last_key_ms.replace(time_ms) {
            self.key_frame_interval_ms = time_ms - last_ms;
        }
    }

    /// Counts a frame of sound whose message was counted.
    pub(super) fn count_sound(&mut self, time_ms: i64) {
        self.last_sound_ms = Some(time_ms);
    }

    /// Times begin anew.
    pub(super) fn restart(&mut self) {
        let key_frame_interval_ms = self.key_frame_interval_ms;
        *self = Self { key_frame_interval_ms, ..Self::default() };
    }

    pub(super) fn health(&self) -> Health {
        let (Some(first), Some(last)) = (self.seconds.front(), self.seconds.back()) else { return Health::default() };
        // The second under way counts only when there is no other; seconds without any message count as well.
        let is_alone = self.seconds.len() == 1;
        let counted = || self.seconds.iter().filter(move |second| is_alone || second.number < last.number);
        let bytes: u64 = counted().map(|second| second.bytes).sum();
        let pictures: u64 = counted().map(|second| u64::from(second.pictures)).sum();
        let seconds = (last.number - first.number).max(1);
        let since_key_ms = self.last_picture_ms.zip(self.last_key_ms).map_or(0, |(at_ms, key_ms)| at_ms - key_ms);
        // A message that comes late is seen at once.
        let earliest_ms = self.seconds.iter().map(|second| second.earliest_ms).min().unwrap_or(0);
        let latest_ms = self.seconds.iter().map(|second| second.latest_ms).max().unwrap_or(0);
        let sound_ahead_ms: i64 = counted().map(|second| second.sound_ahead_ms).sum();
        let with_sound: i64 = counted().map(|second| i64::from(second.pictures_with_sound)).sum();
        Health {
            bitrate_kbps: u32::try_from(bytes * 8 / 1_000 / seconds.unsigned_abs()).unwrap_or(u32::MAX),
            frame_rate: pictures as f64 / seconds as f64,
            key_frame_interval_ms: u32::try_from(self.key_frame_interval_ms.max(since_key_ms)).unwrap_or(0),
            jitter_ms: u32::try_from(latest_ms - earliest_ms).unwrap_or(u32::MAX),
            missing_frames: self.seconds.iter().fold(0, |sum, second| second.missing_pictures.saturating_add(sum)),
            sound_ahead_ms: sound_ahead_ms.checked_div(with_sound).and_then(|ahead_ms| i32::try_from(ahead_ms).ok()),
            encoder_behind_ms: u32::try_from(self.encoder_behind_ms()).unwrap_or(u32::MAX),
        }
    }

    /// See [`Health::encoder_behind_ms`]; never negative.
    fn encoder_behind_ms(&self) -> i64 {
        let (Some(first), Some(last)) = (self.seconds.front(), self.seconds.back()) else { return 0 };
        let behind_ms = last.first_ms.saturating_sub(first.first_ms);
        let steps = self.seconds.len().saturating_sub(1);
        if steps < EVEN_SECONDS || behind_ms <= 0 {
            return 0;
        }
        let mean_ms = behind_ms / steps as i64;
        // A line that is held up loses much at once, and what it held back comes all together.
        let is_even = self.seconds.iter().zip(self.seconds.iter().skip(1)).all(|(second, next)| {
            let step_ms = next.first_ms.saturating_sub(second.first_ms);
            step_ms >= mean_ms / 3 && step_ms <= mean_ms.saturating_mul(2)
        });
        let sum = |of: fn(&Second) -> Arrivals| self.seconds.iter().map(of).fold(Arrivals::default(), Arrivals::and);
        let (keys, others) = (sum(|second| second.key_frames), sum(|second| second.other_pictures));
        let can_be_told = others.bytes > 0 && keys.mean_bytes() >= MUCH_LARGER * others.mean_bytes();
        // On a full line a key frame takes as many times longer as it is larger.
        let is_line = 2 * i128::from(keys.waited_ms) * i128::from(others.bytes)
            >= i128::from(others.waited_ms) * i128::from(keys.bytes);
        if is_even && can_be_told && !is_line { behind_ms } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many seconds at 30 pictures a second, each with its sound, that arrive as they are due.
    fn even(meter: &mut HealthMeter, seconds: i64) {
        for frame in 0..30 * seconds {
            let time_ms = frame * 100 / 3;
            meter.count(time_ms, 10_000, time_ms + 400);
            meter.count_picture(time_ms, frame % 60 == 0);
            meter.count(time_ms + 20, 100, time_ms + 420);
            meter.count_sound(time_ms + 20);
        }
    }

    #[test]
    fn the_last_whole_seconds_are_averaged() {
        let mut meter = HealthMeter::default();
        assert_eq!(meter.health(), Health::default());
        for frame in 0..600_i64 {
            let time_ms = frame * 100 / 3;
            // The first ten seconds do not count any more.
            meter.count(time_ms, if frame < 300 { 9_999 } else { 10_000 }, time_ms);
            meter.count_picture(time_ms, frame % 60 == 0);
        }
        assert_eq!(
            meter.health(),
            Health { bitrate_kbps: 2_400, frame_rate: 30.0, key_frame_interval_ms: 2_000, ..Health::default() }
        );
    }

    #[test]
    fn a_key_frame_that_does_not_come_is_seen() {
        let mut meter = HealthMeter::default();
        for time_ms in [0, 2_000, 2_100, 9_000] {
            meter.count(time_ms, 1, time_ms);
            meter.count_picture(time_ms, time_ms <= 2_000);
        }
        assert_eq!(meter.health().key_frame_interval_ms, 7_000);
    }

    #[test]
    fn messages_that_come_late_are_seen_for_a_while() {
        let mut meter = HealthMeter::default();
        even(&mut meter, 10);
        assert_eq!(meter.health().jitter_ms, 0);
        // The line stops for 1.5 s, and what was held back comes at once.
        for frame in 0..45_i64 {
            let time_ms = 10_000 + frame * 100 / 3;
            meter.count(time_ms, 10_000, 11_900);
        }
        assert_eq!(meter.health().jitter_ms, 1_500);
        for second in 12..18 {
            meter.count(second * 1_000, 10_000, second * 1_000 + 400);
        }
        assert_eq!(meter.health().jitter_ms, 0);
    }

    #[test]
    fn holes_in_the_cadence_are_counted() {
        let mut meter = HealthMeter::default();
        even(&mut meter, 10);
        assert_eq!(meter.health().missing_frames, 0);
        for time_ms in [10_000, 10_067, 10_100, 10_233, 10_266] {
            meter.count(time_ms, 10_000, time_ms);
            meter.count_picture(time_ms, false);
        }
        assert_eq!(meter.health().missing_frames, 1 + 3);
        // 29.97 and a millisecond clock have no holes, and neither has a rate that changes for good.
        let mut meter = HealthMeter::default();
        for frame in 0..300_i64 {
            meter.count(frame * 1_001 / 30, 1, 0);
            meter.count_picture(frame * 1_001 / 30, false);
        }
        assert_eq!(meter.health().missing_frames, 0);
        for frame in 0..300_i64 {
            meter.count(10_010 + frame * 100, 1, 0);
            meter.count_picture(10_010 + frame * 100, false);
        }
        assert_eq!(meter.health().missing_frames, 0);
    }

    #[test]
    fn sound_and_picture_are_compared() {
        let mut meter = HealthMeter::default();
        even(&mut meter, 10);
        // The sound before each picture is 33 ms older than it, and 20 ms ahead of the one before.
        assert_eq!(meter.health().sound_ahead_ms, Some(-13));
        let mut meter = HealthMeter::default();
        meter.count(0, 1, 0);
        meter.count_picture(0, true);
        assert_eq!(meter.health().sound_ahead_ms, None);
    }

    /// Twelve seconds at 30 pictures a second with a key frame in each other second, of which each arrives when it has taken
    /// as long as `takes_ms` says of its length.
    fn slow(takes_ms: impl Fn(usize) -> i64) -> Health {
        let mut meter = HealthMeter::default();
        let mut arrived_ms = 0;
        for frame in 0..360_i64 {
            let (time_ms, is_key) = (frame * 100 / 3, frame % 60 == 0);
            let bytes = if is_key { 60_000 } else { 8_000 };
            arrived_ms = (arrived_ms + takes_ms(bytes)).max(time_ms);
            meter.count(time_ms, bytes, arrived_ms);
            meter.count_picture(time_ms, is_key);
            meter.count(time_ms + 10, 200, arrived_ms);
            meter.count_sound(time_ms + 10);
        }
        meter.health()
    }

    #[test]
    fn an_encoder_that_is_too_slow_is_told_from_a_line_that_is_full() {
        // Each picture takes it 45 ms, a key frame a little longer: of a second 35 % are lost.
        let encoder = slow(|bytes| if bytes > 10_000 { 80 } else { 45 });
        assert!((1_500..2_500).contains(&encoder.encoder_behind_ms), "{encoder:?}");
        assert!(encoder.jitter_ms > 1_500, "{encoder:?}");
        // A line for 1.6 Mbit/s, and 2.1 to carry: 200 bytes a millisecond.
        let line = slow(|bytes| bytes as i64 / 200);
        assert!(line.jitter_ms > 1_500, "{line:?}");
        assert_eq!(line.encoder_behind_ms, 0);
        // Both keep up.
        assert_eq!(slow(|_| 20).encoder_behind_ms, 0);
    }

    #[test]
    fn a_line_that_stops_and_goes_on_is_no_slow_encoder() {
        let mut meter = HealthMeter::default();
        for frame in 0..360_i64 {
            let (time_ms, is_key) = (frame * 100 / 3, frame % 60 == 0);
            // It stops for 1.5 s every four seconds; what was held back comes at once.
            let arrived_ms = time_ms.max(time_ms.div_euclid(4_000) * 4_000 + 1_500);
            meter.count(time_ms, if is_key { 60_000 } else { 8_000 }, arrived_ms);
            meter.count_picture(time_ms, is_key);
            assert_eq!(meter.health().encoder_behind_ms, 0, "{time_ms}");
        }
    }

    #[test]
    fn nothing_overflows() {
        let mut meter = HealthMeter::default();
        for time_ms in [i64::MIN / 4, 0, i64::MAX / 4, 5, i64::MAX / 4] {
            meter.count(time_ms, usize::MAX >> 8, -time_ms);
            meter.count_picture(time_ms, true);
            meter.count_sound(-time_ms);
            let _ = meter.health();
        }
    }
}
