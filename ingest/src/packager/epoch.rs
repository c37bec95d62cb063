//! A stretch of a stream without a break in times and tracks: what is known of it, and the part and segment that grow.

use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;

use super::{
    MediaRefusal,
    cutter::{Configs, Picture},
    gops::Gops,
    sound::{Sound, TooLate},
    window::{Cut, InitMedia, SegmentStart, Twin},
};
use crate::media::{
    aac::AacConfig,
    fragment::{self, Run, Sample, VIDEO_TIMESCALE},
    init,
    video::VideoConfig,
};

/// A part's pictures last this much more or less by a millisecond clock.
pub(super) const PART_SLACK_MS: i64 = 5;
/// So many pictures in a row whose time had to be moved are no accident.
const MAX_MOVED_PICTURES: u32 = 250;
/// Without sound for this long, silence goes out.
const SILENCE_AFTER_MS: i64 = 1_000;

const TICKS_PER_MS: i64 = VIDEO_TIMESCALE as i64 / 1_000;

#[derive(Debug)]
pub(super) struct Epoch {
    /// `None` where there is sound alone.
    pub video: Option<Arc<VideoConfig>>,
    pub sound: Option<Sound>,
    /// Not written yet: whether sound comes is known with the first part.
    pub is_init_due: bool,
    /// From the encoder's times to the broadcast's.
    pub offset_ms: i64,
    pub begins_ms: i64,
    pub begins_at: OffsetDateTime,
    /// Presentation less decode time of the first picture: sound is presented when it is decoded.
    pub reorder_ms: i64,
    /// The last picture, whose duration is known when the next comes.
    pub held: Option<Held>,
    last_durations_ms: [i64; 2],
    pub moved_pictures: u32,
    pub gops: Gops,
    pub segment_start_ms: i64,
    pub segment_bytes: usize,
    pub is_segment_open: bool,
    /// The source's segment that the next one to begin goes beside.
    pub twin: Option<Twin>,
    /// Nothing comes after the present part.
    pub is_ending: bool,
    /// When the segment ends, and where the source's sound of it does, on the track's own clock, if that is known: segments of
    /// all renditions have the same sound, so that a player can change between them.
    pub sound_ends: Option<(i64, i64)>,
    /// What even pictures fill, from which the part target is made.
    pub longest_part_ms: i64,
    pub part: OpenPart,
    pub sound_came_at_ms: i64,
    /// Reused from part to part.
    pub sound_samples: Vec<Sample>,
}

/// A part's fragment, and what is in it.
#[derive(Debug)]
pub(super) struct Written {
    pub is_independent: bool,
    pub sound_bytes: usize,
    pub bytes: Bytes,
}

#[derive(Debug)]
pub(super) struct Held {
    pub decode_ms: i64,
    pub composition_ms: i64,
    pub is_key: bool,
    pub data: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct OpenPart {
    pub start_ms: i64,
    pub end_ms: i64,
    pub first_decode_ms: i64,
    pub is_independent: bool,
    pub samples: Vec<Sample>,
}

impl OpenPart {
    pub(super) fn length_ms(&self) -> i64 {
        self.end_ms - self.start_ms
    }
}

impl Epoch {
    /// Begins with a key frame at this time.
    pub(super) fn new(begins_ms: i64, begins_at: OffsetDateTime, first: Picture, configs: Configs<'_>) -> Self {
        let held = Held { decode_ms: begins_ms, composition_ms: first.composition_ms, is_key: true, data: first.data };
        Self {
            video: Some(Arc::clone(configs.video)),
            sound: configs.audio.map(|config| Sound::new(Arc::clone(config), begins_ms + first.composition_ms)),
            reorder_ms: first.composition_ms.max(0),
            held: Some(held),
            ..Self::empty(begins_ms, begins_at, first.time_ms)
        }
    }

    /// Begins with a frame of sound at this time, `time_ms` on the encoder's clock, and has no picture.
    pub(super) fn of_sound(begins_ms: i64, begins_at: OffsetDateTime, time_ms: i64, config: &Arc<AacConfig>) -> Self {
        Self { sound: Some(Sound::new(Arc::clone(config), begins_ms)), ..Self::empty(begins_ms, begins_at, time_ms) }
    }

    fn empty(begins_ms: i64, begins_at: OffsetDateTime, time_ms: i64) -> Self {
        Self {
            video: None,
            sound: None,
            is_init_due: true,
            offset_ms: begins_ms - time_ms,
            begins_ms,
            begins_at,
            reorder_ms: 0,
            held: None,
            last_durations_ms: [33; 2],
            moved_pictures: 0,
            gops: Gops::new(begins_ms),
            segment_start_ms: begins_ms,
            segment_bytes: 0,
            is_segment_open: false,
            twin: None,
            is_ending: false,
            sound_ends: None,
            longest_part_ms: 0,
            part: OpenPart { start_ms: begins_ms, end_ms: begins_ms, ..OpenPart::default() },
            sound_came_at_ms: begins_ms,
            sound_samples: Vec::new(),
        }
    }

    /// Whether its pictures are of this configuration.
    pub(super) fn shows(&self, video: &Arc<VideoConfig>) -> bool {
        self.video.as_ref().is_some_and(|own| Arc::ptr_eq(own, video))
    }

    /// Puts a picture after the one that is held.
    pub(super) fn follow(&mut self, picture: Picture) -> Result<Held, MediaRefusal> {
        let wanted_ms = picture.time_ms + self.offset_ms;
        let earliest_ms = self.held.as_ref().map_or(self.part.end_ms, |held| held.decode_ms + 1);
        let decode_ms = wanted_ms.max(earliest_ms);
        if decode_ms == wanted_ms {
            self.moved_pictures = 0;
        } else {
            self.moved_pictures += 1;
            if self.moved_pictures > MAX_MOVED_PICTURES {
                return Err(MediaRefusal::ErraticTimestamps);
            }
        }
        Ok(Held {
            decode_ms,
            // It is still shown when the encoder meant it to be.
            composition_ms: picture.composition_ms - (decode_ms - wanted_ms),
            is_key: picture.is_key,
            data: picture.data,
        })
    }

    pub(super) fn add(&mut self, held: Held, duration_ms: i64) {
        let part = &mut self.part;
        if part.samples.is_empty() {
            part.first_decode_ms = held.decode_ms;
        }
        part.end_ms = held.decode_ms + duration_ms;
        part.is_independent |= held.is_key;
        self.segment_bytes += held.data.len();
        self.last_durations_ms = [self.last_durations_ms[1], duration_ms];
        part.samples.push(Sample {
            duration: (duration_ms * TICKS_PER_MS) as u32,
            composition: (held.composition_ms * TICKS_PER_MS) as i32,
            is_sync: held.is_key,
            data: held.data,
        });
    }

    /// How long pictures last at present; a single stall does not count.
    pub(super) fn usual_duration_ms(&self) -> i64 {
        self.last_durations_ms[0].min(self.last_durations_ms[1])
    }

    /// Writes the fragment with the pictures that are there and the sound that belongs to them. When there is neither, it
    /// is `None`, or a fragment without samples.
    pub(super) fn write_part(&mut self, number: u64, until_ms: i64, may_be_empty: bool) -> Option<Written> {
        let is_first = self.is_init_due && self.twin.is_none();
        if is_first && self.sound.as_ref().is_some_and(|sound| !sound.is_waiting()) {
            // It was announced and has not come. Players would wait for it. Beside a source it will come.
            self.sound = None;
        }
        let mut sound_start = 0;
        self.sound_samples.clear();
        if let Some(sound) = &mut self.sound {
            // What is presented with the pictures beyond this has not come yet: encoders send by decode time. At the end
            // nothing else will.
            let sound_until_ms = if self.is_ending { until_ms + self.reorder_ms } else { until_ms };
            if until_ms - self.sound_came_at_ms > SILENCE_AFTER_MS {
                sound.fill_until(sound_until_ms);
            }
            sound_start = match self.sound_ends.filter(|(segment_ends_ms, _)| until_ms >= *segment_ends_ms) {
                Some((_, end)) => sound.take_frames_until(end, &mut self.sound_samples),
                None => sound.take_until(sound_until_ms, &mut self.sound_samples),
            };
        }
        let part = &mut self.part;
        if part.samples.is_empty() && self.sound_samples.is_empty() {
            let (track, decode_time) = match (&self.video, &self.sound) {
                (None, Some(sound)) => (fragment::AUDIO_TRACK, sound.ticks(part.start_ms)),
                _ => (fragment::VIDEO_TRACK, part.start_ms * TICKS_PER_MS),
            };
            let bytes = may_be_empty.then(|| fragment::write_empty(track, number as u32, decode_time as u64))?;
            let is_independent = part.is_independent || self.video.is_none();
            return Some(Written { is_independent, sound_bytes: 0, bytes });
        }
        let video = Run { decode_time: (part.first_decode_ms * TICKS_PER_MS) as u64, samples: &part.samples };
        let audio = Run { decode_time: sound_start as u64, samples: &self.sound_samples };
        let bytes = fragment::write(number as u32, video, audio);
        let sound_bytes = fragment::audio_bytes(&self.sound_samples);
        self.sound_samples.clear();
        part.samples.clear();
        // Each frame of sound can be decoded by itself.
        let is_independent = part.is_independent || self.video.is_none();
        Some(Written { is_independent, sound_bytes, bytes })
    }

    /// When the picture that is held is decoded, or the next will be.
    pub(super) fn picture_ms(&self) -> i64 {
        self.held.as_ref().map_or(self.part.end_ms, |held| held.decode_ms)
    }

    /// Takes in a frame of sound at the encoder's time; of another configuration it is dropped.
    pub(super) fn push_sound(&mut self, time_ms: i64, config: &AacConfig, data: Bytes) -> Result<(), TooLate> {
        // Under a picture that stays, sound goes on.
        let came_at_ms = self.picture_ms().max(time_ms + self.offset_ms);
        let Some(sound) = self.sound.as_mut().filter(|sound| sound.config() == config) else { return Ok(()) };
        self.sound_came_at_ms = came_at_ms;
        self.segment_bytes += data.len();
        sound.push(time_ms + self.offset_ms, data)
    }

    /// Where the segment begins whose first part is about to be written.
    pub(super) fn cut(&self) -> Cut {
        let key_frame = self.part.samples.first().filter(|first| first.is_sync);
        Cut {
            decode_ms: self.segment_start_ms,
            presents_ms: match key_frame {
                Some(first) => self.part.first_decode_ms + i64::from(first.composition) / TICKS_PER_MS,
                None => self.segment_start_ms + self.reorder_ms,
            },
            is_key: key_frame.is_some() || self.video.is_none(),
        }
    }

    pub(super) fn start_segment(&mut self, cut: Cut) -> SegmentStart {
        self.is_segment_open = true;
        let twin = self.twin.take();
        let starts_at = twin.map_or_else(|| self.at(self.segment_start_ms), |twin| twin.starts_at);
        let init = std::mem::take(&mut self.is_init_due).then(|| self.init_media());
        let sound_phase = self.sound.as_ref().and_then(Sound::phase);
        SegmentStart { starts_at, init, cut, sound_phase, twin }
    }

    pub(super) fn init_media(&self) -> InitMedia {
        let audio = self.sound.as_ref().map(Sound::config);
        let video = self.video.as_deref();
        let codecs: Vec<String> =
            video.map(VideoConfig::codec).into_iter().chain(audio.map(AacConfig::codec)).collect();
        InitMedia {
            bytes: match (video, audio) {
                (Some(video), _) => init::write(video, audio),
                (None, Some(audio)) => init::write_sound(audio),
                // No epoch has neither.
                (None, None) => Bytes::new(),
            },
            codecs: codecs.join(","),
            sound_codec: audio.map(AacConfig::codec),
            sound_sample_rate: audio.map(|audio| audio.sample_rate),
            width: video.map_or(0, VideoConfig::width),
            height: video.map_or(0, VideoConfig::height),
            frame_rate: video.map_or(0.0, |video| {
                // Without timing in the stream, the last picture's duration has to do.
                video.frame_rate().unwrap_or(1_000.0 / self.usual_duration_ms().max(1) as f64)
            }),
        }
    }

    /// A time of the broadcast on the wall's clock.
    pub(super) fn at(&self, time_ms: i64) -> OffsetDateTime {
        self.begins_at + time::Duration::milliseconds(time_ms - self.begins_ms)
    }
}
