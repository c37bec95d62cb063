//! H.264: the AVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 5.3.3.1), the sequence parameter set in it
//! (ISO/IEC 14496-10 section 7.3.2.1.1) and the NAL units of a picture.

use bytes::Bytes;

use super::{
    bits::{Bits, OutOfBits},
    video::is_side,
};
use crate::packager::MediaRefusal;

/// Real records have some 50 bytes.
const MAX_RECORD_BYTES: usize = 16 << 10;

/// What the configuration says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AvcConfig {
    /// The record, without what some encoders leave behind it.
    pub record: Bytes,
    /// Bytes of the length before each NAL unit: 1, 2 or 4.
    pub length_size: u8,
    /// In pixels, after cropping.
    pub width: u32,
    /// In pixels, after cropping.
    pub height: u32,
    /// Frames a second where the parameter set has timing.
    pub frame_rate: Option<f64>,
    profile: [u8; 3],
}

impl AvcConfig {
    pub(crate) fn read(record: Bytes) -> Result<Self, MediaRefusal> {
        if record.len() > MAX_RECORD_BYTES {
            return Err(malformed("it is too long"));
        }
        let mut reader = Reader(&record);
        if reader.byte()? != 1 {
            return Err(malformed("its version is not 1"));
        }
        reader.take(3)?;
        let length_size = (reader.byte()? & 3) + 1;
        if length_size == 3 {
            return Err(malformed("NAL unit lengths of 3 bytes"));
        }
        let mut sets = 0_usize;
        let mut first_set: &[u8] = &[];
        for _ in 0..reader.byte()? & 0x1f {
            let set = reader.parameter_set()?;
            if sets == 0 {
                first_set = set;
            }
            sets += 1;
        }
        if sets == 0 {
            return Err(malformed("it has no sequence parameter set"));
        }
        let pictures = reader.byte()?;
        for _ in 0..pictures {
            reader.parameter_set()?;
        }
        if pictures == 0 {
            return Err(malformed("it has no picture parameter set"));
        }
        if first_set.first().is_none_or(|kind| kind & 0x1f != 7) {
            return Err(malformed("its sequence parameter set is something else"));
        }
        let set = SequenceParameters::read(first_set)?;
        // The extension of high profiles: formats and depths, then sequence parameter set extensions.
        if matches!(set.profile[0], 100 | 110 | 122 | 144) && reader.0.len() >= 4 {
            reader.take(3)?;
            for _ in 0..reader.byte()? {
                reader.parameter_set()?;
            }
        }
        let used = record.len() - reader.0.len();
        Ok(Self {
            length_size,
            width: set.width,
            height: set.height,
            frame_rate: set.frame_rate,
            profile: set.profile,
            record: record.slice(..used),
        })
    }

    /// As in RFC 6381.
    pub(crate) fn codec(&self) -> String {
        let [profile, constraints, level] = self.profile;
        format!("avc1.{profile:02x}{constraints:02x}{level:02x}")
    }
}

/// What a picture's NAL units are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// There is a slice, so a decoder makes a picture of it.
    pub has_slice: bool,
    /// It is an instantaneous decoder refresh.
    pub is_idr: bool,
}

/// Walks the length-prefixed NAL units of a picture; `None` when a length does not fit. Players give up for good on
/// such a picture, so it must not reach them.
pub(crate) fn inspect(mut data: &[u8], length_size: u8) -> Option<Picture> {
    let mut picture = Picture::default();
    while !data.is_empty() {
        let (length, rest) = data.split_at_checked(usize::from(length_size))?;
        let length = length.iter().fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        data = rest;
        match unit.first()? & 0x1f {
            5 => {
                picture.is_idr = true;
                picture.has_slice = true;
            }
            1..=4 => picture.has_slice = true,
            _ => {}
        }
    }
    Some(picture)
}

struct SequenceParameters {
    profile: [u8; 3],
    width: u32,
    height: u32,
    frame_rate: Option<f64>,
}

impl SequenceParameters {
    fn read(unit: &[u8]) -> Result<Self, MediaRefusal> {
        let payload = without_emulation_prevention(unit.get(1..).unwrap_or_default());
        let fields = Fields::read(&mut Bits::new(&payload))
            .map_err(|OutOfBits| malformed("its sequence parameter set ends early"))?;
        if fields.chroma_format > 3 || fields.bit_depth > 14 {
            return Err(malformed("its sequence parameter set makes no sense"));
        }
        if fields.bit_depth > 8 {
            return Err(unsupported(format!("{} bits", fields.bit_depth)));
        }
        if fields.chroma_format > 1 {
            return Err(unsupported(if fields.chroma_format == 2 { "4:2:2" } else { "4:4:4" }.to_owned()));
        }
        let (crop_x, crop_y) = match fields.chroma_format {
            0 => (1, fields.heights_per_frame),
            _ => (2, 2 * fields.heights_per_frame),
        };
        let width = side(fields.width_blocks, fields.crop[0], fields.crop[1], crop_x);
        let height =
            side(fields.height_blocks * u64::from(fields.heights_per_frame), fields.crop[2], fields.crop[3], crop_y);
        let (Some(width), Some(height)) = (width, height) else {
            return Err(malformed("its picture size makes no sense"));
        };
        // A time scale counts fields: two a frame.
        let frame_rate = fields
            .timing
            .map(|(units, scale)| f64::from(scale) / (2.0 * f64::from(units)))
            .filter(|rate| (0.1..=1_000.0).contains(rate));
        Ok(Self { profile: fields.profile, width, height, frame_rate })
    }
}

/// A side in pixels: blocks of 16 less what is cropped at both ends; `None` when nothing is left or it is too long.
fn side(blocks: u64, crop_start: u32, crop_end: u32, crop_unit: u32) -> Option<u32> {
    let cropped = (u64::from(crop_start) + u64::from(crop_end)) * u64::from(crop_unit);
    let side = (blocks * 16).checked_sub(cropped)?;
    u32::try_from(side).ok().filter(|side| is_side(*side))
}

struct Fields {
    profile: [u8; 3],
    chroma_format: u32,
    bit_depth: u32,
    width_blocks: u64,
    height_blocks: u64,
    /// 1, or 2 where a frame may be coded as two fields.
    heights_per_frame: u32,
    /// Left, right, top, bottom.
    crop: [u32; 4],
    /// Units in a tick, time scale.
    timing: Option<(u32, u32)>,
}

impl Fields {
    fn read(bits: &mut Bits<'_>) -> Result<Self, OutOfBits> {
        let profile = [bits.field(8)? as u8, bits.field(8)? as u8, bits.field(8)? as u8];
        bits.unsigned_golomb()?;
        let mut chroma_format = 1;
        let mut bit_depth = 8;
        if matches!(profile[0], 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 134 | 135 | 138 | 139) {
            chroma_format = bits.unsigned_golomb()?;
            if chroma_format == 3 {
                bits.bit()?;
            }
            bit_depth = bits.unsigned_golomb()?.max(bits.unsigned_golomb()?).saturating_add(8);
            bits.bit()?;
            if bits.bit()? {
                for list in 0..if chroma_format == 3 { 12 } else { 8 } {
                    if bits.bit()? {
                        skip_scaling_list(bits, if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        bits.unsigned_golomb()?;
        match bits.unsigned_golomb()? {
            0 => {
                bits.unsigned_golomb()?;
            }
            1 => {
                bits.bit()?;
                bits.signed_golomb()?;
                bits.signed_golomb()?;
                for _ in 0..bits.unsigned_golomb()? {
                    bits.signed_golomb()?;
                }
            }
            _ => {}
        }
        bits.unsigned_golomb()?;
        bits.bit()?;
        let width_blocks = u64::from(bits.unsigned_golomb()?) + 1;
        let height_blocks = u64::from(bits.unsigned_golomb()?) + 1;
        let heights_per_frame = if bits.bit()? { 1 } else { 2 };
        if heights_per_frame == 2 {
            bits.bit()?;
        }
        bits.bit()?;
        let mut crop = [0; 4];
        if bits.bit()? {
            for edge in &mut crop {
                *edge = bits.unsigned_golomb()?;
            }
        }
        // Some encoders cut the usability information short: what is before it counts.
        let timing = if bits.bit()? { timing(bits).unwrap_or(None) } else { None };
        Ok(Self { profile, chroma_format, bit_depth, width_blocks, height_blocks, heights_per_frame, crop, timing })
    }
}

fn skip_scaling_list(bits: &mut Bits<'_>, size: usize) -> Result<(), OutOfBits> {
    let (mut last, mut next) = (8_i64, 8_i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.signed_golomb()?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Ok(())
}

/// Video usability information up to its timing, ISO/IEC 14496-10 annex E.1.1.
fn timing(bits: &mut Bits<'_>) -> Result<Option<(u32, u32)>, OutOfBits> {
    if bits.bit()? && bits.field(8)? == 255 {
        bits.skip(32)?;
    }
    if bits.bit()? {
        bits.bit()?;
    }
    if bits.bit()? {
        bits.skip(4)?;
        if bits.bit()? {
            bits.skip(24)?;
        }
    }
    if bits.bit()? {
        bits.unsigned_golomb()?;
        bits.unsigned_golomb()?;
    }
    if !bits.bit()? {
        return Ok(None);
    }
    let (units, scale) = (bits.field(32)?, bits.field(32)?);
    Ok((units > 0).then_some((units, scale)))
}

/// Drops the 3 of each 0 0 3, ISO/IEC 14496-10 section 7.4.1.
pub(super) fn without_emulation_prevention(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for &byte in bytes {
        if zeros >= 2 && byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        plain.push(byte);
    }
    plain
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], MediaRefusal> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(malformed("it ends early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, MediaRefusal> {
        Ok(self.take(1)?[0])
    }

    fn parameter_set(&mut self) -> Result<&'a [u8], MediaRefusal> {
        let length = usize::from(self.byte()?) << 8 | usize::from(self.byte()?);
        self.take(length)
    }
}

fn malformed(reason: &'static str) -> MediaRefusal {
    MediaRefusal::MalformedVideoConfig { reason }
}

fn unsupported(format: String) -> MediaRefusal {
    MediaRefusal::VideoFormatUnsupported { format }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of x264: 1920x1080 (cropped from 1088), 30 frames a second, High 4.0.
    const SET: &[u8] = &[
        0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5, 0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04,
        0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58,
    ];

    fn record(set: &[u8], rest: &[u8]) -> Bytes {
        let mut record = vec![1, 0x64, 0, 0x28, 0xff, 0xe1, 0, set.len() as u8];
        record.extend_from_slice(set);
        record.extend_from_slice(&[1, 0, 4, 0x68, 0xeb, 0xe3, 0xcb]);
        record.extend_from_slice(rest);
        record.into()
    }

    #[test]
    fn size_codec_and_rate_are_read() {
        let config = AvcConfig::read(record(SET, &[0xfd, 0xf8, 0xf8, 0])).unwrap();
        assert_eq!((config.width, config.height), (1920, 1080));
        assert_eq!(config.codec(), "avc1.640028");
        assert_eq!(config.frame_rate, Some(30.0));
        assert_eq!(config.length_size, 4);
    }

    #[test]
    fn what_is_left_behind_the_record_is_dropped() {
        let whole = record(SET, &[0xfd, 0xf8, 0xf8, 0]);
        let config = AvcConfig::read(record(SET, &[0xfd, 0xf8, 0xf8, 0, 1, 2, 3])).unwrap();
        assert_eq!(config.record, whole);
    }

    #[test]
    fn a_truncated_record_is_refused() {
        let whole = record(SET, &[]);
        for length in 0..whole.len() {
            let refusal = AvcConfig::read(whole.slice(..length)).unwrap_err();
            assert_eq!(refusal.code(), "malformed_video_config", "{length}");
        }
    }

    #[test]
    fn ten_bits_are_refused() {
        // High 10, chroma format 1 (010), depths 10 (011, 011).
        let set = [0x67, 110, 0, 40, 0b1010_0110, 0b1110_1101, 0b1001_0101, 0x80, 0x55, 0x55, 0x55, 0xff, 0xff];
        assert_eq!(
            AvcConfig::read(record(&set, &[])).unwrap_err(),
            MediaRefusal::VideoFormatUnsupported { format: "10 bits".to_owned() }
        );
    }

    #[test]
    fn pictures_are_told_apart() {
        let idr = [0, 0, 0, 2, 0x06, 1, 0, 0, 0, 1, 0x65];
        assert_eq!(inspect(&idr, 4), Some(Picture { has_slice: true, is_idr: true }));
        assert_eq!(inspect(&[0, 0, 0, 1, 0x41], 4), Some(Picture { has_slice: true, is_idr: false }));
        assert_eq!(inspect(&[], 4), Some(Picture::default()));
        for broken in [&[0, 0, 0, 2, 0x41][..], &[0, 0, 0], &[0xff, 0xff, 0xff, 0xff, 0x65], &[0, 0, 0, 0]] {
            assert_eq!(inspect(broken, 4), None, "{broken:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_record_makes_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let _ = AvcConfig::read(Bytes::from(bytes));
        }

        #[test]
        fn no_parameter_set_makes_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..80)) {
            let mut set = vec![0x67, 100];
            set.extend(bytes);
            if let Ok(config) = AvcConfig::read(record(&set, &[])) {
                proptest::prop_assert!(is_side(config.width) && is_side(config.height));
            }
        }

        #[test]
        fn no_picture_makes_the_walk_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64), size in 1_u8..5) {
            let _ = inspect(&bytes, size);
        }
    }
}
