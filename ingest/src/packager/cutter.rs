//! Decides where parts and segments end.
//!
//! A segment begins at a key frame, unless the target duration would be broken: then it begins at any picture. A part
//! is as long as fits under the part target; sound that has come goes with the picture it belongs to. A stretch without
//! a break in times and tracks is an *epoch*: each begins with a key frame, after a discontinuity and with an
//! initialisation segment of its own.

use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;

use super::{
    Broadcast, MediaRefusal,
    broadcast::{Claim, StoredKeyFrame},
    epoch::{Epoch, Held, PART_SLACK_MS},
    sound::{Sound, TooLate},
    window::{NewPart, Timing},
};
use crate::media::{aac::AacConfig, avc::AvcConfig, init};

/// Where a broadcast's timeline begins, so that no presentation time is negative however far the encoder reorders.
const TIMELINE_START_MS: i64 = 10_000;
/// Segments shorter than this are joined, so that their numbers do not outrun the seconds; a millisecond clock makes
/// 990 of a second's pictures.
const MIN_SEGMENT_MS: i64 = 990;
/// The playlist is out after this, however long the first group of pictures is.
const MAX_FIRST_SEGMENT_MS: i64 = 4_000;
/// A duration is rounded before it is compared with the target duration; a little is left for the clock.
const SEGMENT_SLACK_MS: i64 = 400;
/// What a part must have of its target, in per cent.
const MIN_PART_PERCENT: i64 = 85;
/// A picture that lasts longer is a hole in the stream.
const MAX_PICTURE_MS: i64 = 2_400;
/// The last picture before a break lasts as long as those before it, up to this.
const MAX_LAST_PICTURE_MS: i64 = 1_000;
/// How far a picture may lie before the one it follows and still be put after it.
const MAX_BACKWARDS_MS: i64 = 500;
/// How far sound may be ahead of the picture. Beyond it the picture has stopped.
const MAX_SOUND_AHEAD_MS: i64 = 5_000;
/// Breaks in a row that are forgiven; each regular segment takes one away.
const MAX_BREAKS: u32 = 10;
/// What one broadcast may take in; a segment of twice the bits is refused.
const MAX_MBPS: u32 = 100;
/// Sound may end this much after the picture.
const SOUND_TAIL_MS: i64 = 1_000;

/// A picture as the encoder sent it, with its time unwrapped.
#[derive(Debug)]
pub(super) struct Picture {
    pub time_ms: i64,
    pub composition_ms: i64,
    pub is_key: bool,
    pub data: Bytes,
}

/// The configurations in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Configs<'a> {
    pub video: &'a Arc<AvcConfig>,
    /// Present when sound is announced.
    pub audio: Option<&'a Arc<AacConfig>>,
    /// Frames of it have come of late.
    pub is_audio_coming: bool,
}

/// Cuts what one connection sends.
#[derive(Debug)]
pub(super) struct Cutter {
    broadcast: Arc<Broadcast>,
    writer: u64,
    next_part: u64,
    timing: Option<Timing>,
    /// Where the next epoch begins.
    end_ms: i64,
    /// When the last segment ends on the wall's clock: times there do not go backwards either.
    ends_at: Option<OffsetDateTime>,
    epoch: Option<Epoch>,
    breaks: u32,
    segments: i64,
    started_ms: i64,
}

impl Cutter {
    pub(super) fn new(broadcast: Arc<Broadcast>) -> Self {
        let Claim { writer, next_part, timing, ends_at, end_ms } = broadcast.claim();
        // Sound may have gone on a little longer than the picture.
        let end_ms = end_ms.map_or(TIMELINE_START_MS, |end_ms| end_ms + SOUND_TAIL_MS);
        Self {
            broadcast,
            writer,
            next_part,
            timing,
            end_ms,
            ends_at,
            epoch: None,
            breaks: 0,
            segments: 0,
            started_ms: end_ms,
        }
    }

    /// Whether this connection may still write.
    pub(super) fn check(&self) -> Result<(), MediaRefusal> {
        self.broadcast.check(self.writer)
    }

    /// Whether a key frame has come since the last break.
    pub(super) fn is_running(&self) -> bool {
        self.epoch.is_some()
    }

    /// How much media this connection has brought.
    pub(super) fn media_ms(&self) -> i64 {
        let end_ms = self.epoch.as_ref().map_or(self.end_ms, |epoch| epoch.part.end_ms);
        end_ms - self.started_ms
    }

    /// Takes in a picture.
    pub(super) fn push_picture(&mut self, picture: Picture, configs: Configs<'_>) -> Result<(), MediaRefusal> {
        if let Some(epoch) = &self.epoch {
            let held_ms = epoch.held.as_ref().map_or(epoch.part.end_ms, |held| held.decode_ms);
            let step_ms = picture.time_ms + epoch.offset_ms - held_ms;
            if !(-MAX_BACKWARDS_MS..=MAX_PICTURE_MS).contains(&step_ms) {
                self.break_off()?;
            }
        }
        if picture.is_key {
            let init = init::write(configs.video, None);
            self.broadcast.set_key_frame(StoredKeyFrame { init, data: picture.data.clone() });
        }
        let Some(epoch) = &mut self.epoch else {
            if picture.is_key {
                self.begin_epoch(picture, configs);
            }
            return Ok(());
        };
        if !picture.is_key && !Arc::ptr_eq(&epoch.video, configs.video) {
            // Of a configuration that has no key frame yet: no player can decode it.
            return Ok(());
        }
        let held = epoch.follow(picture)?;
        let (is_key, decode_ms) = (held.is_key, held.decode_ms);
        if let Some(previous) = epoch.held.replace(held) {
            let duration_ms = decode_ms - previous.decode_ms;
            self.place(previous, duration_ms)?;
        }
        if is_key { self.reach_key_frame(decode_ms, configs) } else { Ok(()) }
    }

    /// Takes in a frame of sound.
    pub(super) fn push_sound(
        &mut self,
        time_ms: i64,
        config: &Arc<AacConfig>,
        data: Bytes,
    ) -> Result<(), MediaRefusal> {
        let Some(epoch) = &mut self.epoch else { return Ok(()) };
        let picture_ms = epoch.held.as_ref().map_or(epoch.part.end_ms, |held| held.decode_ms);
        let time_ms = time_ms + epoch.offset_ms;
        if time_ms > picture_ms + MAX_SOUND_AHEAD_MS {
            return self.break_off();
        }
        let Some(sound) = &mut epoch.sound else { return Ok(()) };
        if sound.config() != &**config {
            return Ok(());
        }
        epoch.sound_came_at_ms = picture_ms;
        epoch.segment_bytes += data.len();
        match sound.push(time_ms, data) {
            Ok(()) => Ok(()),
            Err(TooLate) => self.break_off(),
        }
    }

    /// Ends what has no sensible continuation; the next key frame goes on after a discontinuity.
    pub(super) fn break_off(&mut self) -> Result<(), MediaRefusal> {
        self.breaks += 1;
        self.end_epoch()?;
        if self.breaks > MAX_BREAKS { Err(MediaRefusal::ErraticTimestamps) } else { Ok(()) }
    }

    /// Writes out all that is held back.
    pub(super) fn end_epoch(&mut self) -> Result<(), MediaRefusal> {
        if let Some(held) = self.epoch.as_mut().and_then(|epoch| epoch.held.take()) {
            let usual_ms = self.epoch.as_ref().map_or(33, Epoch::usual_duration_ms);
            let duration_ms = usual_ms.min(MAX_LAST_PICTURE_MS);
            self.place(held, duration_ms)?;
        }
        self.end_segment()?;
        if let Some(epoch) = self.epoch.take() {
            let sound_ms = epoch.sound.as_ref().and_then(Sound::end_ms).unwrap_or(0);
            self.end_ms = epoch.part.end_ms.max(sound_ms);
        }
        Ok(())
    }

    fn begin_epoch(&mut self, first: Picture, configs: Configs<'_>) {
        let now = OffsetDateTime::now_utc();
        let begins_at = self.ends_at.map_or(now, |ends_at| now.max(ends_at));
        self.epoch = Some(Epoch::new(self.end_ms, begins_at, first, configs));
    }

    /// A key frame has come, and all before it is placed.
    fn reach_key_frame(&mut self, decode_ms: i64, configs: Configs<'_>) -> Result<(), MediaRefusal> {
        let limit_ms = self.segment_limit_ms();
        let Some(epoch) = &mut self.epoch else { return Ok(()) };
        epoch.gops.reach_key_frame(decode_ms);
        let segment_ms = epoch.part.end_ms - epoch.segment_start_ms;
        let is_long_enough = segment_ms >= MIN_SEGMENT_MS;
        let is_video_new = !Arc::ptr_eq(&epoch.video, configs.video);
        let is_audio_new = configs.is_audio_coming
            && configs.audio.is_some_and(|config| epoch.sound.as_ref().is_none_or(|sound| sound.config() != &**config));
        if is_video_new || (is_audio_new && is_long_enough) {
            let held = epoch.held.take();
            let offset_ms = epoch.offset_ms;
            self.breaks += u32::from(!is_long_enough);
            self.end_epoch()?;
            if self.breaks > MAX_BREAKS {
                return Err(MediaRefusal::ErraticTimestamps);
            }
            if let Some(Held { decode_ms, composition_ms, data, .. }) = held {
                let first = Picture { time_ms: decode_ms - offset_ms, composition_ms, is_key: true, data };
                self.begin_epoch(first, configs);
            }
            return Ok(());
        }
        // Short groups are joined, unless the next one would then have to be cut where it has no key frame.
        let would_overflow = segment_ms + epoch.gops.longest_ms() > limit_ms;
        let has_spare_numbers = (self.segments + 1) * 1_000 <= epoch.part.end_ms - self.started_ms;
        if is_long_enough || (would_overflow && has_spare_numbers) { self.end_segment() } else { Ok(()) }
    }

    /// Puts a picture whose duration is known into a part.
    fn place(&mut self, held: Held, duration_ms: i64) -> Result<(), MediaRefusal> {
        let (part_limit_ms, segment_limit_ms) = (self.part_limit_ms(), self.segment_limit_ms());
        let Some(epoch) = &self.epoch else { return Ok(()) };
        let segment_ms = epoch.part.end_ms - epoch.segment_start_ms;
        let part_ms = epoch.part.length_ms();
        if segment_ms > 0 && segment_ms + duration_ms > segment_limit_ms {
            self.end_segment()?;
        } else if part_ms > 0 && part_ms + duration_ms > part_limit_ms {
            // A part that would be too short takes the picture in and is cut under it. While the part target is not out
            // yet, it will be what even pictures need.
            let is_long_enough = part_ms * 100 >= part_limit_ms * MIN_PART_PERCENT;
            let is_even = duration_ms * 2 <= epoch.usual_duration_ms() * 3;
            if is_long_enough || (self.timing.is_none() && is_even) {
                self.end_part(epoch.part.end_ms)?;
            }
        }
        let Some(epoch) = &mut self.epoch else { return Ok(()) };
        epoch.add(held, duration_ms);
        if epoch.segment_bytes as i64 > segment_limit_ms * i64::from(MAX_MBPS) * 250 {
            return Err(MediaRefusal::BitrateTooHigh { max_mbps: MAX_MBPS });
        }
        self.end_full_parts(duration_ms)
    }

    /// Ends parts that have no room for another picture like the last, without waiting for it.
    fn end_full_parts(&mut self, duration_ms: i64) -> Result<(), MediaRefusal> {
        let limit_ms = self.part_limit_ms();
        let target_ms = limit_ms - PART_SLACK_MS;
        // Parts that end under a picture, and such as lie under it altogether: these have sound alone. Where there is
        // none, nothing can be in them, and one part is too long.
        while let Some(epoch) = &self.epoch
            && epoch.part.length_ms() > limit_ms
            && epoch.can_be_cut_at(epoch.part.start_ms + target_ms, target_ms)
        {
            if !self.end_part(epoch.part.start_ms + target_ms)? {
                break;
            }
        }
        let Some(epoch) = &self.epoch else { return Ok(()) };
        let length_ms = epoch.part.length_ms();
        let is_full = length_ms + duration_ms > limit_ms && length_ms * 100 >= limit_ms * MIN_PART_PERCENT;
        if is_full {
            self.end_part(epoch.part.end_ms)?;
        }
        Ok(())
    }

    /// Writes the part up to this time; what is declared of a picture beyond it belongs to the next part. Says whether
    /// there was anything to write.
    fn end_part(&mut self, until_ms: i64) -> Result<bool, MediaRefusal> {
        let limit_ms = self.part_limit_ms();
        let Some(epoch) = &mut self.epoch else { return Ok(false) };
        let Some((is_independent, bytes)) = epoch.write_part(self.next_part, until_ms) else {
            return Ok(false);
        };
        let duration_ms = until_ms - epoch.part.start_ms;
        let start = (!epoch.is_segment_open).then(|| epoch.start_segment());
        epoch.part_lengths.count(duration_ms, limit_ms);
        epoch.part.start_ms = until_ms;
        epoch.part.is_independent = false;
        self.next_part += 1;
        let duration_ms = u32::try_from(duration_ms).unwrap_or(0);
        let part = NewPart { start, duration_ms, is_independent, end_ms: until_ms, bytes };
        self.broadcast.write(self.writer, |window| window.add_part(part))?;
        Ok(true)
    }

    /// Ends the segment; with the first one the playlist comes out.
    fn end_segment(&mut self) -> Result<(), MediaRefusal> {
        let part_limit_ms = self.part_limit_ms();
        let Some(end_ms) = self.epoch.as_ref().map(|epoch| epoch.part.end_ms) else { return Ok(()) };
        if self.epoch.as_ref().is_some_and(|epoch| epoch.part.length_ms() > 0) {
            self.end_part(end_ms)?;
        }
        let Some(epoch) = &mut self.epoch else { return Ok(()) };
        if !epoch.is_segment_open {
            return Ok(());
        }
        let length_ms = epoch.part.start_ms - epoch.segment_start_ms;
        epoch.is_segment_open = false;
        // Time in which nothing began is left to the next segment.
        epoch.segment_start_ms = epoch.part.start_ms;
        epoch.segment_bytes = 0;
        self.ends_at = Some(epoch.at(end_ms));
        self.segments += 1;
        if length_ms >= MIN_SEGMENT_MS {
            self.breaks = self.breaks.saturating_sub(1);
        }
        let timing = *self.timing.get_or_insert_with(|| {
            let part_target_ms = match length_ms >= MIN_SEGMENT_MS {
                true => epoch.part_lengths.target_ms().unwrap_or(part_limit_ms),
                false => part_limit_ms,
            };
            Timing {
                // A group may be a little longer than the one measured.
                target_duration_s: (length_ms + 899).div_euclid(1_000).clamp(2, 4) as u32,
                part_target_ms: part_target_ms.clamp(1, MAX_FIRST_SEGMENT_MS) as u32,
            }
        });
        self.broadcast.write(self.writer, |window| {
            window.timing = Some(timing);
            window.end_segment();
        })
    }

    fn part_limit_ms(&self) -> i64 {
        match self.timing {
            Some(timing) => i64::from(timing.part_target_ms),
            None => i64::from(self.broadcast.config().part_target_ms.clamp(100, 2_000)) + PART_SLACK_MS,
        }
    }

    fn segment_limit_ms(&self) -> i64 {
        match self.timing {
            Some(timing) => i64::from(timing.target_duration_s) * 1_000 + SEGMENT_SLACK_MS,
            None => MAX_FIRST_SEGMENT_MS,
        }
    }
}
