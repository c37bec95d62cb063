//! Fills one rendition: makes parts of pictures and sound, as long as fit under the part target. Where segments end is
//! decided elsewhere: by the [cutter](super::cutter) for the source, by the [follower](super::follower) for others.

use std::sync::Arc;

use time::OffsetDateTime;

use super::{
    MediaRefusal,
    epoch::{Epoch, Held, PART_SLACK_MS},
    rendition::{Claim, Rendition},
    sound::Sound,
    window::{NewPart, Timing},
};

/// Where a broadcast's timeline begins, so that no presentation time is negative however far the encoder reorders.
const TIMELINE_START_MS: i64 = 10_000;
/// The playlist is out after this, however long the first group of pictures is.
const MAX_FIRST_SEGMENT_MS: i64 = 4_000;
/// What a part must have of its target, in per cent.
const MIN_PART_PERCENT: i64 = 85;
/// The last picture before a break lasts as long as those before it, up to this.
const MAX_LAST_PICTURE_MS: i64 = 1_000;
/// What one rendition may take in.
const MAX_MBPS: u32 = 100;
/// A segment above this is refused: scenes that need much for a moment are none.
const BURST_MBPS: u32 = MAX_MBPS * 3 / 2;
/// Counted over this at least: a segment begins with a key frame, which is many times as large as other pictures.
const BURST_MS: i64 = 1_000;
/// Sound may end this much after the picture.
const SOUND_TAIL_MS: i64 = 1_000;
/// A duration is rounded before it is compared with the target duration; a little is left for the clock.
const SEGMENT_SLACK_MS: i64 = 400;
/// Sound alone is cut when a segment would become longer with another part.
const SOUND_SEGMENT_MS: i64 = 2_100;
/// A segment that is shorter says nothing of what a part needs.
pub(super) const MIN_SEGMENT_MS: i64 = 990;

#[derive(Debug)]
pub(super) struct Lane {
    rendition: Arc<Rendition>,
    writer: u64,
    next_part: u64,
    /// What parts may last while the part target is not out yet.
    first_part_limit_ms: i64,
    pub timing: Option<Timing>,
    /// Where the next epoch begins.
    pub end_ms: i64,
    /// When the last segment ends on the wall's clock: times there do not go backwards either.
    pub ends_at: Option<OffsetDateTime>,
    pub epoch: Option<Epoch>,
    pub segments: i64,
}

impl Lane {
    /// Takes the rendition over from whoever writes to it.
    pub(super) fn new(rendition: Arc<Rendition>, part_target_ms: u32) -> Self {
        let Claim { writer, next_part, timing, ends_at, end_ms } = rendition.claim();
        // Sound may have gone on a little longer than the picture.
        let end_ms = end_ms.map_or(TIMELINE_START_MS, |end_ms| end_ms + SOUND_TAIL_MS);
        let first_part_limit_ms = i64::from(part_target_ms.clamp(100, 2_000)) + PART_SLACK_MS;
        Self { rendition, writer, next_part, first_part_limit_ms, timing, end_ms, ends_at, epoch: None, segments: 0 }
    }

    pub(super) fn rendition(&self) -> &Arc<Rendition> {
        &self.rendition
    }

    /// Whether this packager may still write.
    pub(super) fn check(&self) -> Result<(), MediaRefusal> {
        self.rendition.check(self.writer)
    }

    /// Whether a key frame has come since the last break.
    pub(super) fn is_running(&self) -> bool {
        self.epoch.is_some()
    }

    /// Where the media taken in ends on the broadcast's timeline.
    pub(super) fn reached_ms(&self) -> i64 {
        self.epoch.as_ref().map_or(self.end_ms, |epoch| epoch.part.end_ms)
    }

    /// How much of the growing segment is there.
    pub(super) fn segment_ms(&self) -> i64 {
        self.epoch.as_ref().map_or(0, |epoch| epoch.part.end_ms - epoch.segment_start_ms)
    }

    /// Puts a picture whose duration is known into a part. Its segment goes on until `until_ms`, which is before its end where
    /// other segments follow under it: see [`Lane::stay`].
    pub(super) fn place(&mut self, held: Held, duration_ms: i64, until_ms: i64) -> Result<(), MediaRefusal> {
        let part_limit_ms = self.part_limit_ms();
        let Some(epoch) = &self.epoch else { return Ok(()) };
        let part_ms = epoch.part.length_ms();
        if part_ms > 0 && part_ms + duration_ms > part_limit_ms {
            // A part that would be too short takes the picture in and is cut under it. While the part target is not out
            // yet, it will be what even pictures need, where the parts before it are not longer.
            let mut is_complete = is_long_enough(part_ms, part_limit_ms);
            let is_even = duration_ms * 2 <= epoch.usual_duration_ms() * 3;
            if !is_complete && is_even && self.timing.is_none() {
                let needed_ms = part_ms.max(epoch.longest_part_ms) + PART_SLACK_MS;
                is_complete = is_long_enough(part_ms, needed_ms);
                if is_complete {
                    self.first_part_limit_ms = needed_ms;
                }
            }
            if is_complete {
                self.write_part(epoch.part.end_ms, true)?;
            }
        }
        let Some(epoch) = &mut self.epoch else { return Ok(()) };
        let begins_ms = held.decode_ms;
        epoch.add(held, duration_ms);
        epoch.part.end_ms = until_ms.max(begins_ms);
        let segment_ms = (epoch.part.end_ms - epoch.segment_start_ms).max(BURST_MS);
        if epoch.segment_bytes as i64 > segment_ms * i64::from(BURST_MBPS) * 125 {
            return Err(MediaRefusal::BitrateTooHigh { max_mbps: MAX_MBPS });
        }
        self.end_full_parts(duration_ms)
    }

    /// The picture that was placed last stays until this time.
    pub(super) fn stay(&mut self, until_ms: i64) -> Result<(), MediaRefusal> {
        let Some(epoch) = &mut self.epoch else { return Ok(()) };
        let stays_ms = until_ms - epoch.part.end_ms;
        if stays_ms <= 0 {
            return Ok(());
        }
        epoch.part.end_ms = until_ms;
        self.end_full_parts(stays_ms)
    }

    /// Writes what the growing part has, or that there is nothing in it: a segment that ends under a picture must have begun.
    pub(super) fn write_rest(&mut self) -> Result<(), MediaRefusal> {
        let rest = self.epoch.as_ref().filter(|epoch| epoch.part.length_ms() > 0).map(|epoch| epoch.part.end_ms);
        rest.map_or(Ok(()), |end_ms| self.write_part(end_ms, true))
    }

    /// Ends parts that have no room for another picture like the last, without waiting for it.
    fn end_full_parts(&mut self, duration_ms: i64) -> Result<(), MediaRefusal> {
        let limit_ms = self.part_limit_ms();
        let target_ms = limit_ms - PART_SLACK_MS;
        // Parts that end under a picture, and such as lie under it altogether: these have sound alone, or nothing.
        while let Some(epoch) = &self.epoch
            && epoch.part.length_ms() > limit_ms
        {
            self.write_part(epoch.part.start_ms + target_ms, true)?;
        }
        let Some(epoch) = &self.epoch else { return Ok(()) };
        let length_ms = epoch.part.length_ms();
        if length_ms + duration_ms > limit_ms && is_long_enough(length_ms, limit_ms) {
            self.end_part(epoch.part.end_ms)?;
        }
        Ok(())
    }

    /// Goes on to where the sound ends, in an epoch without pictures: the parts that are full are written, and segments end
    /// with them.
    pub(super) fn follow_sound(&mut self) -> Result<(), MediaRefusal> {
        let target_ms = self.part_limit_ms() - PART_SLACK_MS;
        loop {
            let limit_ms = self.part_limit_ms();
            let Some(epoch) = &mut self.epoch else { return Ok(()) };
            let Some(sound) = epoch.sound.as_ref().filter(|_| epoch.video.is_none()) else { return Ok(()) };
            let end_ms = sound.reached_ms().unwrap_or(epoch.part.end_ms).max(epoch.part.end_ms);
            epoch.part.end_ms = end_ms;
            if epoch.part.length_ms() + sound.frame_ms() <= limit_ms {
                return Ok(());
            }
            let start_ms = epoch.part.start_ms;
            // Where no silence is known, a frame may last longer than a part.
            let until_ms = match sound.frames_end_ms(start_ms + limit_ms) {
                Some(until_ms) if until_ms > start_ms => until_ms,
                _ => (start_ms + target_ms).min(end_ms),
            };
            if until_ms <= start_ms {
                // A frame longer than a part can be: the next one brings both on.
                return Ok(());
            }
            epoch.part.end_ms = until_ms;
            self.write_part(until_ms, true)?;
            if self.segment_ms() + (until_ms - start_ms) > SOUND_SEGMENT_MS {
                self.end_segment()?;
            }
        }
    }

    /// Writes the part up to this time, if there is anything in it.
    fn end_part(&mut self, until_ms: i64) -> Result<(), MediaRefusal> {
        self.write_part(until_ms, false)
    }

    /// Writes the part up to this time; what is declared of a picture beyond it belongs to the next part. Where there is
    /// nothing in it, it is written if it `may_be_empty`.
    fn write_part(&mut self, until_ms: i64, may_be_empty: bool) -> Result<(), MediaRefusal> {
        let Some(epoch) = &mut self.epoch else { return Ok(()) };
        let cut = epoch.cut();
        let Some(written) = epoch.write_part(self.next_part, until_ms, may_be_empty) else { return Ok(()) };
        let start_ms = epoch.part.start_ms;
        let duration_ms = until_ms - start_ms;
        let start = (!epoch.is_segment_open).then(|| epoch.start_segment(cut));
        epoch.longest_part_ms = epoch.longest_part_ms.max(duration_ms);
        epoch.part.start_ms = until_ms;
        epoch.part.is_independent = false;
        let part = NewPart {
            start,
            duration_ms: u32::try_from(duration_ms).unwrap_or(0),
            is_independent: written.is_independent,
            start_ms,
            end_ms: until_ms,
            sound_bytes: written.sound_bytes,
            bytes: written.bytes,
        };
        self.next_part = self.rendition.write(self.writer, |window| window.add_part(part))?;
        Ok(())
    }

    /// Ends the segment; with the first one the playlist comes out.
    pub(super) fn end_segment(&mut self) -> Result<(), MediaRefusal> {
        let part_limit_ms = self.part_limit_ms();
        let Some(end_ms) = self.epoch.as_ref().map(|epoch| epoch.part.end_ms) else { return Ok(()) };
        if let Some(epoch) = self.epoch.as_ref().filter(|epoch| epoch.part.length_ms() > 0) {
            self.write_part(end_ms, epoch.is_segment_open)?;
        }
        let Some(epoch) = &mut self.epoch else { return Ok(()) };
        if !epoch.is_segment_open {
            return Ok(());
        }
        let length_ms = epoch.part.start_ms - epoch.segment_start_ms;
        epoch.is_segment_open = false;
        // Where not even a part was open, the time is left to the next segment.
        epoch.segment_start_ms = epoch.part.start_ms;
        epoch.segment_bytes = 0;
        self.ends_at = Some(epoch.at(end_ms));
        self.segments += 1;
        let timing = *self.timing.get_or_insert_with(|| {
            let part_target_ms = match length_ms >= MIN_SEGMENT_MS {
                true if epoch.longest_part_ms > 0 => epoch.longest_part_ms + PART_SLACK_MS,
                _ => part_limit_ms,
            };
            Timing {
                // A group may be a little longer than the one measured.
                target_duration_s: (length_ms + 899).div_euclid(1_000).clamp(2, 4) as u32,
                part_target_ms: part_target_ms.clamp(1, part_limit_ms) as u32,
            }
        });
        self.next_part = self.rendition.write(self.writer, |window| {
            window.timing = Some(timing);
            window.end_segment();
        })?;
        Ok(())
    }

    /// The last picture before a break, and how long it is to last.
    pub(super) fn take_last(&mut self) -> Option<(Held, i64)> {
        let epoch = self.epoch.as_mut()?;
        let held = epoch.held.take()?;
        Some((held, epoch.usual_duration_ms().min(MAX_LAST_PICTURE_MS)))
    }

    /// Writes out all that is held back.
    pub(super) fn end_epoch(&mut self) -> Result<(), MediaRefusal> {
        if let Some((held, duration_ms)) = self.take_last() {
            let until_ms = held.decode_ms + duration_ms;
            self.place(held, duration_ms, until_ms)?;
        }
        if let Some(epoch) = &mut self.epoch {
            epoch.is_ending = true;
        }
        self.end_segment()?;
        if let Some(epoch) = self.epoch.take() {
            let sound_ms = epoch.sound.as_ref().and_then(Sound::end_ms).unwrap_or(0);
            self.end_ms = epoch.part.end_ms.max(sound_ms);
        }
        Ok(())
    }

    /// The growing segment ends here, before the source's does: what comes next does not go on from it.
    pub(super) fn tear(&mut self) -> Result<(), MediaRefusal> {
        self.next_part = self.rendition.write(self.writer, |window| window.tear())?;
        Ok(())
    }

    pub(super) fn part_limit_ms(&self) -> i64 {
        match self.timing {
            Some(timing) => i64::from(timing.part_target_ms),
            None => self.first_part_limit_ms,
        }
    }

    pub(super) fn segment_limit_ms(&self) -> i64 {
        match self.timing {
            Some(timing) => i64::from(timing.target_duration_s) * 1_000 + SEGMENT_SLACK_MS,
            None => MAX_FIRST_SEGMENT_MS,
        }
    }
}

/// Whether a part has what it must of the part target.
fn is_long_enough(part_ms: i64, target_ms: i64) -> bool {
    part_ms * 100 >= target_ms * MIN_PART_PERCENT
}
