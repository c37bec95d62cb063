//! Decides where segments of the source end, and with them those of all renditions.
//!
//! A segment begins at a key frame, unless the target duration would be broken: then it begins at any picture. A
//! stretch without a break in times and tracks is an *epoch*: each begins with a key frame, after a discontinuity and
//! with an initialisation segment of its own.

use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;

use super::{
    Broadcast, MediaRefusal,
    broadcast::StoredKeyFrame,
    epoch::{Epoch, Held},
    lane::{Lane, MIN_SEGMENT_MS},
    sound::TooLate,
};
use crate::media::{aac::AacConfig, init, video::VideoConfig};

/// For so long a picture may stay, with sound or without: an encoder of a still desktop sends none while nothing changes.
/// Until the next one comes it is not known how long it stays, and nothing is written. Who joins meanwhile needs a key frame
/// in the playlist, which may be no longer than 12 s; and 10 s without a message are a jump of the clock.
pub(crate) const MAX_PICTURE_MS: i64 = 8_000;
/// For so long there may be nothing where sound comes alone; beyond it is a hole in the stream.
const MAX_SILENCE_MS: i64 = 2_400;
/// How far a picture may lie before the one it follows and still be put after it.
const MAX_BACKWARDS_MS: i64 = 500;
/// Breaks in a row that are forgiven; each regular segment takes one away.
const MAX_BREAKS: u32 = 10;

/// A picture as the encoder sent it, with its time unwrapped.
#[derive(Debug)]
pub(super) struct Picture {
    pub time_ms: i64,
    pub composition_ms: i64,
    pub is_key: bool,
    pub data: Bytes,
}

impl Picture {
    pub(super) fn presents_ms(&self) -> i64 {
        self.time_ms + self.composition_ms
    }

    /// The same, shown when it was and decoded at another time.
    pub(super) fn decoded_at(self, time_ms: i64) -> Self {
        Self { time_ms, composition_ms: self.presents_ms() - time_ms, ..self }
    }
}

/// The configurations in force.
#[derive(Clone, Copy, Debug)]
pub(super) struct Configs<'a> {
    pub video: &'a Arc<VideoConfig>,
    /// Present when sound is announced.
    pub audio: Option<&'a Arc<AacConfig>>,
    /// Frames of it have come of late.
    pub is_audio_coming: bool,
}

/// Cuts what one connection sends.
#[derive(Debug)]
pub(super) struct Cutter {
    broadcast: Arc<Broadcast>,
    lane: Lane,
    breaks: u32,
    started_ms: i64,
}

impl Cutter {
    pub(super) fn new(broadcast: Arc<Broadcast>) -> Self {
        let lane = Lane::new(Arc::clone(broadcast.source()), broadcast.config().part_target_ms);
        let started_ms = lane.end_ms;
        Self { broadcast, lane, breaks: 0, started_ms }
    }

    /// Whether this connection may still write.
    pub(super) fn check(&self) -> Result<(), MediaRefusal> {
        self.lane.check()
    }

    /// Whether a key frame has come since the last break.
    pub(super) fn is_running(&self) -> bool {
        self.lane.is_running()
    }

    /// The same for a stream with pictures.
    pub(super) fn shows_pictures(&self) -> bool {
        self.lane.epoch.as_ref().is_some_and(|epoch| epoch.video.is_some())
    }

    /// How much media this connection has brought.
    pub(super) fn media_ms(&self) -> i64 {
        self.lane.reached_ms() - self.started_ms
    }

    /// Takes in a picture.
    pub(super) fn push_picture(&mut self, picture: Picture, configs: Configs<'_>) -> Result<(), MediaRefusal> {
        if self.lane.epoch.as_ref().is_some_and(|epoch| epoch.video.is_none()) {
            if !picture.is_key {
                return Ok(());
            }
            // There was sound alone: viewers cross a discontinuity to the picture.
            self.break_off()?;
        }
        if let Some(epoch) = &self.lane.epoch {
            let held_ms = epoch.held.as_ref().map_or(epoch.part.end_ms, |held| held.decode_ms);
            let step_ms = picture.time_ms + epoch.offset_ms - held_ms;
            if step_ms > MAX_PICTURE_MS && !picture.is_key {
                // It cannot be decoded after a discontinuity, and nobody should find out by what is missing.
                return Err(MediaRefusal::VideoStopped);
            }
            if !(-MAX_BACKWARDS_MS..=MAX_PICTURE_MS).contains(&step_ms) {
                self.break_off()?;
            }
        }
        if picture.is_key {
            let init = init::write(configs.video, None);
            self.broadcast.set_key_frame(StoredKeyFrame { init, data: picture.data.clone() });
        }
        let Some(epoch) = &mut self.lane.epoch else {
            if picture.is_key {
                self.begin_epoch(picture, configs);
            }
            return Ok(());
        };
        if !picture.is_key && !epoch.shows(configs.video) {
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
        let Some(epoch) = &mut self.lane.epoch else { return Ok(()) };
        if time_ms + epoch.offset_ms > epoch.picture_ms() + MAX_PICTURE_MS {
            return Err(MediaRefusal::VideoStopped);
        }
        match epoch.push_sound(time_ms, config, data) {
            Ok(()) => Ok(()),
            Err(TooLate) => self.break_off(),
        }
    }

    /// Takes in a frame of sound where there is no picture.
    pub(super) fn push_sound_alone(
        &mut self,
        time_ms: i64,
        config: &Arc<AacConfig>,
        data: Bytes,
    ) -> Result<(), MediaRefusal> {
        if let Some(epoch) = &self.lane.epoch {
            let is_other =
                epoch.video.is_some() || epoch.sound.as_ref().is_none_or(|sound| sound.config() != &**config);
            let step_ms = time_ms + epoch.offset_ms - epoch.part.end_ms;
            if is_other || !(-MAX_BACKWARDS_MS..=MAX_SILENCE_MS).contains(&step_ms) {
                self.break_off()?;
            }
        }
        if self.lane.epoch.is_none() {
            let begins_at = self.begins_at();
            self.lane.epoch = Some(Epoch::of_sound(self.lane.end_ms, begins_at, time_ms, config));
        }
        let Some(epoch) = &mut self.lane.epoch else { return Ok(()) };
        if let Err(TooLate) = epoch.push_sound(time_ms, config, data) {
            return self.break_off();
        }
        let segments = self.lane.segments;
        self.lane.follow_sound()?;
        if self.lane.segments > segments {
            self.breaks = self.breaks.saturating_sub(1);
        }
        Ok(())
    }

    /// Ends what has no sensible continuation; the next key frame goes on after a discontinuity.
    pub(super) fn break_off(&mut self) -> Result<(), MediaRefusal> {
        self.breaks += 1;
        self.end_epoch()?;
        if self.breaks > MAX_BREAKS { Err(MediaRefusal::ErraticTimestamps) } else { Ok(()) }
    }

    /// Writes out all that is held back.
    pub(super) fn end_epoch(&mut self) -> Result<(), MediaRefusal> {
        if let Some((held, duration_ms)) = self.lane.take_last() {
            self.place(held, duration_ms)?;
        }
        let segments = self.lane.segments;
        let segment_ms = self.lane.segment_ms();
        self.lane.end_epoch()?;
        self.forgive(segments, segment_ms);
        Ok(())
    }

    fn end_segment(&mut self) -> Result<(), MediaRefusal> {
        let segments = self.lane.segments;
        let segment_ms = self.lane.segment_ms();
        self.lane.end_segment()?;
        self.forgive(segments, segment_ms);
        Ok(())
    }

    /// A regular segment takes a break away.
    fn forgive(&mut self, segments: i64, segment_ms: i64) {
        if self.lane.segments > segments && segment_ms >= MIN_SEGMENT_MS {
            self.breaks = self.breaks.saturating_sub(1);
        }
    }

    fn begin_epoch(&mut self, first: Picture, configs: Configs<'_>) {
        let begins_at = self.begins_at();
        self.lane.epoch = Some(Epoch::new(self.lane.end_ms, begins_at, first, configs));
    }

    fn begins_at(&self) -> OffsetDateTime {
        let now = OffsetDateTime::now_utc();
        self.lane.ends_at.map_or(now, |ends_at| now.max(ends_at))
    }

    /// A key frame has come, and all before it is placed.
    fn reach_key_frame(&mut self, decode_ms: i64, configs: Configs<'_>) -> Result<(), MediaRefusal> {
        let limit_ms = self.lane.segment_limit_ms();
        let segment_ms = self.lane.segment_ms();
        let Some(epoch) = &mut self.lane.epoch else { return Ok(()) };
        epoch.gops.reach_key_frame(decode_ms);
        let is_long_enough = segment_ms >= MIN_SEGMENT_MS;
        let is_video_new = !epoch.shows(configs.video);
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
        let has_spare_numbers = (self.lane.segments + 1) * 1_000 <= self.media_ms();
        if is_long_enough || (would_overflow && has_spare_numbers) { self.end_segment() } else { Ok(()) }
    }

    /// Puts a picture whose duration is known into its segment. Where it stays for longer than that may be, other segments
    /// follow under it, with sound alone or with nothing.
    fn place(&mut self, held: Held, duration_ms: i64) -> Result<(), MediaRefusal> {
        let segment_ms = self.lane.segment_ms();
        let ends_ms = held.decode_ms + duration_ms;
        let mut begins_ms = held.decode_ms;
        if segment_ms > 0 && segment_ms + duration_ms > self.lane.segment_limit_ms() {
            if self.lane.timing.is_none() && !held.is_key && duration_ms > MIN_SEGMENT_MS {
                // The first segment is filled up: the target duration is made from it.
                begins_ms -= segment_ms;
            } else {
                self.lane.write_rest()?;
                self.end_segment()?;
            }
        }
        let mut until_ms = self.cut_under(begins_ms, ends_ms);
        self.lane.place(held, duration_ms, until_ms)?;
        while until_ms < ends_ms {
            self.lane.write_rest()?;
            self.end_segment()?;
            until_ms = self.cut_under(until_ms, ends_ms);
            self.lane.stay(until_ms)?;
        }
        Ok(())
    }

    /// Where the segment that begins at this time ends under a picture that stays until `ends_ms`; the latter where it need
    /// not end.
    fn cut_under(&self, begins_ms: i64, ends_ms: i64) -> i64 {
        let limit_ms = self.lane.segment_limit_ms();
        let rest_ms = ends_ms - begins_ms;
        if rest_ms <= limit_ms {
            return ends_ms;
        }
        if self.lane.timing.is_none() {
            // The playlist has waited long enough.
            return begins_ms + limit_ms;
        }
        // Of equal lengths, so that none is short.
        let count = (rest_ms + limit_ms - 1) / limit_ms;
        begins_ms + (rest_ms + count - 1) / count
    }
}
