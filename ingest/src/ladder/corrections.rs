//! What renditions really cost: how far the estimates of `cost` are off, as far as it was measured.

use std::time::Duration;

use tokio::time::Instant;

use super::Encoder;

/// A correction is kept between these, in per cent of the estimate.
pub(super) const LEAST_AND_MOST: (u64, u64) = (50, 300);
/// In so long half of a correction is forgotten, while nothing is measured. Without that, one that leaves no stream any room
/// would stay for ever, since then nothing runs that could be measured.
pub(super) const FORGOTTEN_BY_HALF: Duration = Duration::from_secs(600);

/// What encodes, as far as estimates are wrong about it in different ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Means {
    /// libx264.
    #[default]
    Processor,
    /// Hardware, or a command of one's own.
    Other,
}

impl From<&Encoder> for Means {
    fn from(encoder: &Encoder) -> Self {
        match encoder {
            Encoder::Libx264 => Self::Processor,
            Encoder::H264Nvenc | Encoder::H264Vaapi { .. } | Encoder::H264Qsv | Encoder::Custom(_) => Self::Other,
        }
    }
}

/// One for each of the means.
pub(super) struct Corrections {
    processor: Correction,
    other: Correction,
}

impl Corrections {
    /// As long as nothing was measured.
    pub(super) fn none(now: Instant) -> Self {
        Self { processor: Correction::none(now), other: Correction::none(now) }
    }

    /// What renditions really cost, in per cent of what was estimated.
    pub(super) fn percent(&self, means: Means, now: Instant) -> u64 {
        match means {
            Means::Processor => self.processor.percent(now),
            Means::Other => self.other.percent(now),
        }
    }

    /// Takes in that they took so much of what was estimated.
    pub(super) fn learn(&mut self, means: Means, percent: u64, now: Instant) {
        match means {
            Means::Processor => self.processor.learn(percent, now),
            Means::Other => self.other.learn(percent, now),
        }
    }

    /// As if it had been so much longer since anything was measured.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        self.processor.measured_at -= by;
        self.other.measured_at -= by;
    }
}

struct Correction {
    percent: u64,
    measured_at: Instant,
}

impl Correction {
    fn none(now: Instant) -> Self {
        Self { percent: 100, measured_at: now }
    }

    fn percent(&self, now: Instant) -> u64 {
        let halvings = (now - self.measured_at).as_secs() / FORGOTTEN_BY_HALF.as_secs();
        let kept = |off: u64| off.checked_shr(u32::try_from(halvings).unwrap_or(u32::MAX)).unwrap_or(0);
        match self.percent.checked_sub(100) {
            Some(above) => 100 + kept(above),
            None => 100 - kept(100 - self.percent),
        }
    }

    fn learn(&mut self, percent: u64, now: Instant) {
        let (least, most) = LEAST_AND_MOST;
        *self = Self { percent: (self.percent(now) * 7 + percent.clamp(least, most)) / 8, measured_at: now };
    }
}
