//! Sound on a grid of whole AAC frames.
//!
//! RTMP's milliseconds make 1024 samples last 21 or 22 of them; players hear such seams. So each frame begins exactly
//! where the one before ends, and only what no rounding explains is a gap: it is filled with silence, so that the track
//! goes on without a hole (a player that has picture but no sound waits).

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;

use crate::media::{
    aac::{AacConfig, FRAME_SAMPLES},
    fragment::Sample,
};

/// What the grid may be away from the encoder's times.
const TOLERANCE_MS: i64 = 100;
/// So many frames in a row that lie before the grid are no accident.
const MAX_LATE_FRAMES: u32 = 100;

/// The sound that waits for its part.
#[derive(Debug)]
pub(super) struct Sound {
    config: Arc<AacConfig>,
    /// Sound before this is not wanted: the picture begins here.
    begins_ms: i64,
    queue: VecDeque<Sample>,
    /// Where the queue begins and ends, in samples; `None` before the first frame.
    span: Option<Span>,
    /// Where frames begin on the grid, in samples from a whole number of frames; `None` where the first one decides.
    phase: Option<i64>,
    late_frames: u32,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    start: i64,
    end: i64,
}

/// The sound cannot be put in order with the picture.
#[derive(Debug)]
pub(super) struct TooLate;

impl Sound {
    pub(super) fn new(config: Arc<AacConfig>, begins_ms: i64) -> Self {
        Self { config, begins_ms, queue: VecDeque::new(), span: None, phase: None, late_frames: 0 }
    }

    pub(super) fn config(&self) -> &AacConfig {
        &self.config
    }

    /// Where frames begin, in samples from a whole number of frames; `None` before the first.
    pub(super) fn phase(&self) -> Option<i64> {
        self.span.map(|span| span.end.rem_euclid(i64::from(FRAME_SAMPLES)))
    }

    /// Frames are to begin where those of another grid do: [`Sound::phase`].
    pub(super) fn align(&mut self, phase: Option<i64>) {
        self.phase = phase;
    }

    /// Adds a frame at its time on the broadcast's timeline.
    pub(super) fn push(&mut self, time_ms: i64, data: Bytes) -> Result<(), TooLate> {
        if time_ms < self.begins_ms {
            return Ok(());
        }
        let at = self.samples(time_ms);
        let span = self.span.get_or_insert_with(|| {
            let frame = i64::from(FRAME_SAMPLES);
            let begins = self.phase.map_or(at, |phase| (at - phase + frame / 2).div_euclid(frame) * frame + phase);
            Span { start: begins, end: begins }
        });
        let gap = at - span.end;
        let tolerance = TOLERANCE_MS * i64::from(self.config.sample_rate) / 1_000;
        if gap < -tolerance {
            self.late_frames += 1;
            return if self.late_frames > MAX_LATE_FRAMES { Err(TooLate) } else { Ok(()) };
        }
        self.late_frames = 0;
        if gap > tolerance {
            self.fill(at);
        }
        self.append(data);
        Ok(())
    }

    /// Whether any frame has come that is not written yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Where the sound ends, rounded up.
    pub(super) fn end_ms(&self) -> Option<i64> {
        let rate = i64::from(self.config.sample_rate);
        self.span.map(|span| (span.end * 1_000 + rate - 1) / rate)
    }

    /// Where the sound ends, rounded down: all frames begin before that.
    pub(super) fn reached_ms(&self) -> Option<i64> {
        self.span.map(|span| span.end * 1_000 / i64::from(self.config.sample_rate))
    }

    /// The last end of a frame that waits which is not after this time, rounded down; `None` where the first one lasts
    /// longer, or none waits.
    pub(super) fn frames_end_ms(&self, until_ms: i64) -> Option<i64> {
        let limit = self.samples(until_ms);
        let start = self.span?.start;
        let mut end = start;
        for frame in &self.queue {
            let next = end + i64::from(frame.duration);
            if next > limit {
                break;
            }
            end = next;
        }
        (end > start).then(|| end * 1_000 / i64::from(self.config.sample_rate))
    }

    /// How long a frame lasts, rounded up.
    pub(super) fn frame_ms(&self) -> i64 {
        let rate = i64::from(self.config.sample_rate);
        (i64::from(FRAME_SAMPLES) * 1_000 + rate - 1) / rate
    }

    /// A time in whole milliseconds on the track's own clock.
    pub(super) fn ticks(&self, time_ms: i64) -> i64 {
        self.samples(time_ms)
    }

    /// Goes on with silence until this time, because no sound comes.
    pub(super) fn fill_until(&mut self, time_ms: i64) {
        let at = self.samples(time_ms);
        if self.span.is_some() {
            self.fill(at);
        }
    }

    /// Takes the frames that begin before this time into `samples` and returns the decode time of the first.
    pub(super) fn take_until(&mut self, time_ms: i64, samples: &mut Vec<Sample>) -> i64 {
        self.take_before(self.samples(time_ms), samples)
    }

    /// As [`Sound::take_until`], up to where a frame ends in another rendition, on the track's own clock.
    pub(super) fn take_frames_until(&mut self, end: i64, samples: &mut Vec<Sample>) -> i64 {
        // Grids may differ by what rounding to milliseconds makes.
        self.take_before(end - i64::from(FRAME_SAMPLES) / 2, samples)
    }

    fn take_before(&mut self, limit: i64, samples: &mut Vec<Sample>) -> i64 {
        let Some(span) = &mut self.span else { return 0 };
        let first = span.start;
        while span.start < limit
            && let Some(sample) = self.queue.pop_front()
        {
            span.start += i64::from(sample.duration);
            samples.push(sample);
        }
        first
    }

    fn samples(&self, time_ms: i64) -> i64 {
        time_ms * i64::from(self.config.sample_rate) / 1_000
    }

    fn append(&mut self, data: Bytes) {
        if let Some(span) = &mut self.span {
            span.end += i64::from(FRAME_SAMPLES);
            self.queue.push_back(Sample { duration: FRAME_SAMPLES, composition: 0, is_sync: true, data });
        }
    }

    /// Brings the grid to within half a frame of this sample.
    fn fill(&mut self, at: i64) {
        let frame = i64::from(FRAME_SAMPLES);
        let Some(span) = &mut self.span else { return };
        let missing = (at - span.end + frame / 2) / frame;
        if missing <= 0 {
            return;
        }
        match self.config.silence() {
            Some(silence) => {
                for _ in 0..missing {
                    self.append(silence.clone());
                }
            }
            None => {
                // No silence is known for this layout: the last frame lasts longer, or the next begins later.
                span.end += missing * frame;
                match self.queue.back_mut() {
                    Some(last) => last.duration += (missing * frame) as u32,
                    None => span.start = span.end,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(record: &'static [u8]) -> Sound {
        Sound::new(Arc::new(AacConfig::read(Bytes::from_static(record)).unwrap()), 1_000)
    }

    fn taken(sound: &mut Sound, until_ms: i64) -> (i64, usize) {
        let mut samples = Vec::new();
        let first = sound.take_until(until_ms, &mut samples);
        (first, samples.len())
    }

    #[test]
    fn frames_follow_each_other_whatever_milliseconds_say() {
        let mut sound = sound(&[0x12, 0x10]);
        for frame in 0..431_i64 {
            // 44.1 kHz: 23.2 ms a frame, and an encoder that is up to 20 ms off.
            let jitter = [0, 20, -20, 7][frame as usize % 4];
            sound.push(1_020 + frame * 1024 * 1_000 / 44_100 + jitter, Bytes::from_static(&[1])).unwrap();
        }
        let (first, count) = taken(&mut sound, 100_000);
        assert_eq!((first, count), (1_020 * 44_100 / 1_000, 431));
        assert_eq!(sound.span.unwrap().end - first, 431 * 1024);
    }

    #[test]
    fn sound_before_the_picture_is_dropped() {
        let mut sound = sound(&[0x11, 0x90]);
        sound.push(999, Bytes::from_static(&[1])).unwrap();
        assert!(!sound.is_waiting());
        sound.push(1_000, Bytes::from_static(&[1])).unwrap();
        assert!(sound.is_waiting());
    }

    #[test]
    fn a_gap_is_filled_with_silence() {
        let mut sound = sound(&[0x11, 0x90]);
        sound.push(1_000, Bytes::from_static(&[1])).unwrap();
        sound.push(2_000, Bytes::from_static(&[1])).unwrap();
        let mut samples = Vec::new();
        assert_eq!(sound.take_until(5_000, &mut samples), 48_000);
        // 48,000 samples are 46.9 frames: 47 and the new one.
        assert_eq!(samples.len(), 48);
        assert_eq!(samples.iter().filter(|sample| sample.data.len() > 1).count(), 46);
    }

    #[test]
    fn a_gap_without_known_silence_makes_a_frame_longer() {
        let mut sound = sound(&[0x11, 0xb0]);
        assert_eq!(sound.config().channels, 6);
        sound.push(1_000, Bytes::from_static(&[1])).unwrap();
        sound.push(2_000, Bytes::from_static(&[1])).unwrap();
        let mut samples = Vec::new();
        sound.take_until(5_000, &mut samples);
        assert_eq!(samples.iter().map(|sample| sample.duration).collect::<Vec<_>>(), [47 * 1024, 1024]);
    }

    #[test]
    fn frames_that_lie_before_the_grid_are_dropped_and_at_last_refused() {
        let mut sound = sound(&[0x11, 0x90]);
        sound.push(5_000, Bytes::from_static(&[1])).unwrap();
        for _ in 0..MAX_LATE_FRAMES {
            sound.push(4_000, Bytes::from_static(&[1])).unwrap();
        }
        assert_eq!(taken(&mut sound, 10_000), (240_000, 1));
        assert!(sound.push(4_000, Bytes::from_static(&[1])).is_err());
    }
}
