//! Streams of any shape, made by rule and not by an encoder: hours of them take a moment. Pictures and sound are a few
//! bytes that say which they are; no decoder takes them, and nothing here decodes.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test that includes this file uses a part of it")]

use bytes::Bytes;
use ingest::packager::{Tag, TagKind};

/// The parameter sets of x264 for 1920x1080, without timing: 30 frames a second are not promised.
pub const LARGE: &[u8] = &[
    1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 27, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44,
    0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58, 1, 0, 4, 0x68, 0xeb, 0xe3,
    0xcb,
];

/// The same, of another picture parameter set: another configuration.
pub const OTHER: &[u8] = &[
    1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 27, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44,
    0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58, 1, 0, 4, 0x68, 0xeb, 0xe3,
    0xcc,
];

/// What an encoder is set to.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// Frames a second, as a fraction.
    pub rate: (u64, u64),
    /// Pictures from key frame to key frame.
    pub group: usize,
    /// Pictures between two that others lean on; 0 or 2.
    pub reordered: usize,
    /// Now and then a picture is left out, as capturing a quiet screen does.
    pub is_variable: bool,
    /// Of each ten seconds only the first and the last one and a half have pictures, as a desktop does on which hardly
    /// anything changes.
    pub is_still: bool,
    pub sound: Option<Sound>,
    pub video_config: &'static [u8],
    /// When its pictures begin; `None` where it sends sound alone.
    pub pictures_from_ms: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
pub struct Sound {
    pub sample_rate: u64,
    /// The AudioSpecificConfig.
    pub config: &'static [u8],
    /// When it begins.
    pub from_ms: u64,
}

pub const STEREO_48: Sound = Sound { sample_rate: 48_000, config: &[0x11, 0x90], from_ms: 0 };
pub const STEREO_44: Sound = Sound { sample_rate: 44_100, config: &[0x12, 0x10], from_ms: 0 };
pub const MONO_44: Sound = Sound { sample_rate: 44_100, config: &[0x12, 0x08], from_ms: 0 };

impl Default for Encoder {
    fn default() -> Self {
        Self {
            rate: (30, 1),
            group: 60,
            reordered: 0,
            is_variable: false,
            is_still: false,
            sound: Some(STEREO_48),
            video_config: LARGE,
            pictures_from_ms: Some(0),
        }
    }
}

/// A picture as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    pub decode_ms: u64,
    pub composition_ms: u64,
    pub is_key: bool,
    pub number: u32,
}

impl Encoder {
    /// All pictures that begin before this time, in the order in which they are sent.
    pub fn pictures(&self, length_ms: u64) -> Vec<Sent> {
        let (numerator, denominator) = self.rate;
        let time_ms = |slot: u64| slot * 1_000 * denominator / numerator;
        // The slots on the encoder's grid that have a picture.
        let is_left_out = |slot: &u64| {
            let is_passed_over = self.is_variable && (slot % 7 == 3 || slot % 11 == 5 || (slot / 40) % 9 == 4);
            is_passed_over || (self.is_still && (1_000..8_500).contains(&(time_ms(*slot) % 10_000)))
        };
        let mut slots: Vec<u64> = (0..)
            .take_while(|slot| time_ms(*slot) < length_ms)
            .filter(|slot| slot % self.group as u64 == 0 || !is_left_out(slot))
            .collect();
        let ends_at = slots.last().map_or(0, |slot| slot + 1);
        slots.push(ends_at);
        let count = slots.len() - 1;
        let mut sent = Vec::with_capacity(count);
        let delay = u64::from(self.reordered > 0);
        let mut first = 0;
        while first < count {
            let last =
                (first + 1..count).find(|index| slots[*index].is_multiple_of(self.group as u64)).unwrap_or(count);
            // The key frame, then runs of pictures that are sent after the one that they lean on.
            let mut order = vec![first];
            let mut at = first + 1;
            while at < last {
                let run = (self.reordered + 1).min(last - at);
                order.push(at + run - 1);
                order.extend(at..at + run - 1);
                at += run;
            }
            for (offset, shown) in order.into_iter().enumerate() {
                let decode_ms = time_ms(slots[first + offset]);
                // Presented a slot later than taken, so that none is presented before it is decoded.
                let presents_ms = match delay {
                    0 => time_ms(slots[shown]),
                    _ => time_ms(slots[shown + 1]),
                };
                let is_key = offset == 0;
                let number = shown as u32;
                sent.push(Sent { decode_ms, composition_ms: presents_ms - decode_ms, is_key, number });
            }
            first = last;
        }
        sent
    }

    /// When the frames of sound are sent, in milliseconds rounded down as RTMP has them.
    pub fn sounds(&self, length_ms: u64) -> Vec<u64> {
        let Some(sound) = self.sound else { return Vec::new() };
        (0..)
            .map(|frame: u64| sound.from_ms + frame * 1_024_000 / sound.sample_rate)
            .take_while(|time_ms| *time_ms < length_ms)
            .collect()
    }

    /// The messages of so much media, by decode time, beginning at this time on the encoder's clock.
    pub fn tags(&self, length_ms: u64, begins_ms: u64) -> Vec<Tag> {
        let mut tags = Vec::new();
        if self.pictures_from_ms == Some(0) {
            tags.push(self.video_config_tag(begins_ms));
        }
        let mut is_announced = false;
        if self.sound.is_some_and(|sound| sound.from_ms == 0) {
            tags.extend(self.audio_config_tag(begins_ms));
            is_announced = true;
        }
        let mut sounds = self.sounds(length_ms).into_iter().peekable();
        let mut push_sound = |tags: &mut Vec<Tag>, until_ms: u64| {
            let Some(sound) = self.sound else { return };
            while let Some(time_ms) = sounds.next_if(|time_ms| *time_ms < until_ms) {
                if !std::mem::replace(&mut is_announced, true) {
                    let body = [&[0xaf, 0], sound.config].concat();
                    tags.push(tag(TagKind::Audio, begins_ms + time_ms, body));
                }
                tags.push(tag(TagKind::Audio, begins_ms + time_ms, vec![0xaf, 1, 0x21, 0x10, 0x04, 0x60, 0x8c, 0x1c]));
            }
        };
        let pictures = self.pictures_from_ms.map(|from_ms| (from_ms, self.pictures(length_ms - from_ms)));
        let (from_ms, pictures) = pictures.unwrap_or_default();
        for picture in pictures {
            let picture = Sent { decode_ms: picture.decode_ms + from_ms, ..picture };
            push_sound(&mut tags, picture.decode_ms);
            if from_ms > 0 && picture.decode_ms == from_ms {
                tags.push(self.video_config_tag(begins_ms + from_ms));
            }
            tags.push(picture_tag(&picture, begins_ms));
        }
        push_sound(&mut tags, u64::MAX);
        tags
    }

    pub fn video_config_tag(&self, time_ms: u64) -> Tag {
        tag(TagKind::Video, time_ms, [&[0x17, 0, 0, 0, 0], self.video_config].concat())
    }

    pub fn audio_config_tag(&self, time_ms: u64) -> Option<Tag> {
        self.sound.map(|sound| tag(TagKind::Audio, time_ms, [&[0xaf, 0], sound.config].concat()))
    }
}

/// A picture whose slice says its number.
pub fn picture_tag(picture: &Sent, begins_ms: u64) -> Tag {
    let composition = (picture.composition_ms as u32).to_be_bytes();
    let mut body = vec![if picture.is_key { 0x17 } else { 0x27 }, 1, composition[1], composition[2], composition[3]];
    body.extend_from_slice(&[0, 0, 0, 5, if picture.is_key { 0x65 } else { 0x41 }]);
    body.extend_from_slice(&picture.number.to_be_bytes());
    tag(TagKind::Video, begins_ms + picture.decode_ms, body)
}

fn tag(kind: TagKind, time_ms: u64, body: Vec<u8>) -> Tag {
    Tag { kind, timestamp_ms: time_ms as u32, body: Bytes::from(body) }
}
