//! How a connection does, counted by the second of its own clock.

use std::collections::VecDeque;

use super::Health;

/// Whole seconds that count.
const SECONDS: usize = 5;

#[derive(Debug, Default)]
pub(super) struct HealthMeter {
    /// Oldest first; the last one is still being counted.
    seconds: VecDeque<Second>,
    last_key_ms: Option<i64>,
    last_picture_ms: i64,
    key_frame_interval_ms: i64,
}

#[derive(Debug)]
struct Second {
    number: i64,
    bytes: u64,
    pictures: u32,
}

impl HealthMeter {
    /// Counts a message.
    pub(super) fn count(&mut self, time_ms: i64, bytes: usize) {
        let number = time_ms.div_euclid(1_000);
        if self.seconds.back().is_none_or(|last| last.number < number) {
            self.seconds.push_back(Second { number, bytes: 0, pictures: 0 });
            if self.seconds.len() > SECONDS + 1 {
                self.seconds.pop_front();
            }
        }
        if let Some(second) = self.seconds.back_mut() {
            second.bytes += bytes as u64;
        }
    }

    /// Counts a picture whose message was counted.
    pub(super) fn count_picture(&mut self, time_ms: i64, is_key: bool) {
        if let Some(second) = self.seconds.back_mut() {
            second.pictures += 1;
        }
        self.last_picture_ms = time_ms;
        if is_key && let Some(last_ms) = self.last_key_ms.replace(time_ms) {
            self.key_frame_interval_ms = time_ms - last_ms;
        }
    }

    /// Times begin anew.
    pub(super) fn restart(&mut self) {
        self.seconds.clear();
        self.last_key_ms = None;
    }

    pub(super) fn health(&self) -> Health {
        let (Some(first), Some(last)) = (self.seconds.front(), self.seconds.back()) else { return Health::default() };
        // The second under way counts only when there is no other; seconds without any message count as well.
        let is_alone = self.seconds.len() == 1;
        let counted = self.seconds.iter().filter(|second| is_alone || second.number < last.number);
        let (bytes, pictures) = counted
            .fold((0, 0), |(bytes, pictures), second| (bytes + second.bytes, pictures + u64::from(second.pictures)));
        let seconds = (last.number - first.number).max(1);
        let since_key_ms = self.last_key_ms.map_or(0, |last_ms| self.last_picture_ms - last_ms);
        Health {
            bitrate_kbps: u32::try_from(bytes * 8 / 1_000 / seconds.unsigned_abs()).unwrap_or(u32::MAX),
            frame_rate: pictures as f64 / seconds as f64,
            key_frame_interval_ms: u32::try_from(self.key_frame_interval_ms.max(since_key_ms)).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_whole_seconds_are_averaged() {
        let mut meter = HealthMeter::default();
        assert_eq!(meter.health(), Health::default());
        for frame in 0..600_i64 {
            let time_ms = frame * 100 / 3;
            // The first ten seconds do not count any more.
            meter.count(time_ms, if frame < 300 { 9_999 } else { 10_000 });
            meter.count_picture(time_ms, frame % 60 == 0);
        }
        assert_eq!(meter.health(), Health { bitrate_kbps: 2_400, frame_rate: 30.0, key_frame_interval_ms: 2_000 });
    }

    #[test]
    fn a_key_frame_that_does_not_come_is_seen() {
        let mut meter = HealthMeter::default();
        for time_ms in [0, 2_000, 2_100, 9_000] {
            meter.count(time_ms, 1);
            meter.count_picture(time_ms, time_ms <= 2_000);
        }
        assert_eq!(meter.health().key_frame_interval_ms, 7_000);
    }
}
