//! HEVC: the HEVCDecoderConfigurationRecord (ISO/IEC 14496-15 section 8.3.3.1), the sequence parameter set in it
//! (ITU-T H.265 section 7.3.2.2.1) and the NAL units of a picture.

use bytes::{Bytes, BytesMut};

use super::{
    bits::{Bits, OutOfBits},
    video::{Picture, is_side},
};
use crate::packager::MediaRefusal;

/// Real records have some 100 bytes.
const MAX_RECORD_BYTES: usize = 16 << 10;
/// The fields before the arrays of parameter sets.
const HEADER_BYTES: usize = 23;

/// Types of NAL units: ITU-T H.265, table 7-1.
const FIRST_IRAP: u8 = 16;
const LAST_IRAP: u8 = 23;
const LAST_SLICE: u8 = 31;
const VIDEO_PARAMETERS: u8 = 32;
const SEQUENCE_PARAMETERS: u8 = 33;
const PICTURE_PARAMETERS: u8 = 34;

/// What the configuration says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HevcConfig {
    /// The record, without what some encoders leave behind it, and marked as holding all parameter sets: `hvc1` says
    /// that they are in it alone.
    pub record: Bytes,
    /// Bytes of the length before each NAL unit: 1, 2 or 4.
    pub length_size: u8,
    /// In pixels, after cropping.
    pub width: u32,
    /// In pixels, after cropping.
    pub height: u32,
    /// Frames a second where the record says so.
    pub frame_rate: Option<f64>,
    codec: String,
}

impl HevcConfig {
    pub(crate) fn read(record: Bytes) -> Result<Self, MediaRefusal> {
        if record.len() > MAX_RECORD_BYTES {
            return Err(malformed("it is too long"));
        }
        let header: [u8; HEADER_BYTES] =
            record.get(..HEADER_BYTES).and_then(|header| header.try_into().ok()).ok_or(malformed("it ends early"))?;
        // Some encoders wrote 0 while the standard was a draft.
        if header[0] > 1 {
            return Err(malformed("its version is not 1"));
        }
        let length_size = (header[21] & 3) + 1;
        if length_size == 3 {
            return Err(malformed("NAL unit lengths of 3 bytes"));
        }
        let mut whole = BytesMut::from(&record[..]);
        let mut at = HEADER_BYTES;
        let mut parameters = None;
        let mut has_pictures = false;
        let mut has_video = false;
        for _ in 0..header[22] {
            let kind = *record.get(at).ok_or(malformed("it ends early"))? & 0x3f;
            if matches!(kind, VIDEO_PARAMETERS..=PICTURE_PARAMETERS) {
                whole[at] |= 0x80;
            }
            let units = u16_at(&record, at + 1)?;
            at += 3;
            for _ in 0..units {
                let length = usize::from(u16_at(&record, at)?);
                let unit = record.get(at + 2..at + 2 + length).ok_or(malformed("it ends early"))?;
                at += 2 + length;
                let is_of_kind = unit.len() >= 2 && unit[0] >> 1 & 0x3f == kind;
                match kind {
                    VIDEO_PARAMETERS..=PICTURE_PARAMETERS if !is_of_kind => {
                        return Err(malformed("its parameter sets are something else"));
                    }
                    VIDEO_PARAMETERS => has_video = true,
                    SEQUENCE_PARAMETERS if parameters.is_none() => {
                        parameters = Some(SequenceParameters::read(&unit[2..])?);
                    }
                    PICTURE_PARAMETERS => has_pictures = true,
                    _ => {}
                }
            }
        }
        let parameters = parameters.ok_or(malformed("it has no sequence parameter set"))?;
        if !has_pictures || !has_video {
            return Err(malformed("it has no picture or video parameter set"));
        }
        // In frames per 256 seconds; 0 where it is not said.
        let frame_rate = f64::from(u16::from_be_bytes([header[19], header[20]])) / 256.0;
        Ok(Self {
            length_size,
            width: parameters.width,
            height: parameters.height,
            frame_rate: Some(frame_rate).filter(|rate| (0.1..=1_000.0).contains(rate)),
            codec: codec(&header),
            record: whole.freeze().slice(..at),
        })
    }

    /// As in ISO/IEC 14496-15 annex E.3.
    pub(crate) fn codec(&self) -> String {
        self.codec.clone()
    }
}

/// `hvc1.1.6.L93.B0`: profile, compatibility, tier with level, and constraints.
fn codec(header: &[u8; HEADER_BYTES]) -> String {
    let space = ["", "A", "B", "C"][usize::from(header[1] >> 6)];
    let tier = if header[1] & 0x20 == 0 { 'L' } else { 'H' };
    let profile = header[1] & 0x1f;
    // Written with the first flag as the lowest bit.
    let compatibility = u32::from_be_bytes([header[2], header[3], header[4], header[5]]).reverse_bits();
    let level = header[12];
    let mut codec = format!("hvc1.{space}{profile}.{compatibility:X}.{tier}{level}");
    let constraints = &header[6..12];
    let said = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in &constraints[..said] {
        codec.push_str(&format!(".{byte:X}"));
    }
    codec
}

/// Walks the length-prefixed NAL units of a picture; `None` when a length does not fit.
pub(crate) fn inspect(mut data: &[u8], length_size: u8) -> Option<Picture> {
    let mut picture = Picture::default();
    while !data.is_empty() {
        let (length, rest) = data.split_at_checked(usize::from(length_size))?;
        let length = length.iter().fold(0_usize, |length, &byte| length << 8 | usize::from(byte));
        let (unit, rest) = rest.split_at_checked(length)?;
        data = rest;
        // A NAL unit's header has two bytes.
        let [first, _, ..] = unit else { return None };
        let kind = first >> 1 & 0x3f;
        if kind <= LAST_SLICE {
            picture.has_slice = true;
            picture.is_key |= (FIRST_IRAP..=LAST_IRAP).contains(&kind);
        }
    }
    Some(picture)
}

struct SequenceParameters {
    width: u32,
    height: u32,
}

impl SequenceParameters {
    fn read(payload: &[u8]) -> Result<Self, MediaRefusal> {
        let payload = super::avc::without_emulation_prevention(payload);
        let fields = Fields::read(&mut Bits::new(&payload))
            .map_err(|OutOfBits| malformed("its sequence parameter set ends early"))?;
        if fields.chroma_format > 3 || fields.bit_depth > 16 {
            return Err(malformed("its sequence parameter set makes no sense"));
        }
        if fields.bit_depth > 10 {
            return Err(unsupported(format!("{} bits", fields.bit_depth)));
        }
        if fields.chroma_format > 1 {
            return Err(unsupported(if fields.chroma_format == 2 { "4:2:2" } else { "4:4:4" }.to_owned()));
        }
        // ITU-T H.265, table 6-1: 4:2:0 halves both, monochrome neither.
        let unit = if fields.chroma_format == 1 { 2 } else { 1 };
        let side = |length: u32, start: u32, end: u32| {
            let cropped = (u64::from(start) + u64::from(end)) * unit;
            u64::from(length)
                .checked_sub(cropped)
                .and_then(|side| u32::try_from(side).ok())
                .filter(|side| is_side(*side))
        };
        let [left, right, top, bottom] = fields.crop;
        match (side(fields.width, left, right), side(fields.height, top, bottom)) {
            (Some(width), Some(height)) => Ok(Self { width, height }),
            _ => Err(malformed("its picture size makes no sense")),
        }
    }
}

/// As far as the size and the depth are concerned.
struct Fields {
    chroma_format: u32,
    bit_depth: u32,
    width: u32,
    height: u32,
    /// Left, right, top, bottom.
    crop: [u32; 4],
}

impl Fields {
    fn read(bits: &mut Bits<'_>) -> Result<Self, OutOfBits> {
        bits.skip(4)?;
        let sub_layers = bits.field(3)?;
        bits.skip(1)?;
        skip_profile_tier_level(bits, sub_layers)?;
        bits.unsigned_golomb()?;
        let chroma_format = bits.unsigned_golomb()?;
        if chroma_format == 3 {
            bits.skip(1)?;
        }
        let (width, height) = (bits.unsigned_golomb()?, bits.unsigned_golomb()?);
        let mut crop = [0; 4];
        if bits.bit()? {
            for edge in &mut crop {
                *edge = bits.unsigned_golomb()?;
            }
        }
        let bit_depth = bits.unsigned_golomb()?.max(bits.unsigned_golomb()?).saturating_add(8);
        Ok(Self { chroma_format, bit_depth, width, height, crop })
    }
}

/// ITU-T H.265 section 7.3.3: what is said of the whole stream, then of each sub-layer that says something.
fn skip_profile_tier_level(bits: &mut Bits<'_>, sub_layers: u32) -> Result<(), OutOfBits> {
    const PROFILE_BITS: u32 = 88;
    const LEVEL_BITS: u32 = 8;
    let skip = |bits: &mut Bits<'_>, count: u32| (0..count / 8).try_for_each(|_| bits.skip(8));
    skip(bits, PROFILE_BITS + LEVEL_BITS)?;
    let mut said = 0;
    for _ in 0..sub_layers {
        said += if bits.bit()? { PROFILE_BITS } else { 0 };
        said += if bits.bit()? { LEVEL_BITS } else { 0 };
    }
    if sub_layers > 0 {
        // The flags of eight sub-layers are there, used or not.
        bits.skip(2 * (8 - sub_layers))?;
    }
    skip(bits, said)
}

fn u16_at(record: &[u8], at: usize) -> Result<u16, MediaRefusal> {
    match record.get(at..at + 2) {
        Some(&[high, low]) => Ok(u16::from_be_bytes([high, low])),
        _ => Err(malformed("it ends early")),
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

    /// Of x265: 1280x720 at 30 frames a second, Main, level 3.1.
    const RECORD: &[u8] = b"\x01\x01\x60\x00\x00\x00\x90\x00\x00\x00\x00\x00\x5d\xf0\x00\xfc\xfd\xf8\xf8\x00\x00\x0f\x03\
        \xa0\x00\x01\x00\x18\x40\x01\x0c\x01\xff\xff\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x5d\x95\x94\x09\
        \xa1\x00\x01\x00\x2b\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x5d\xa0\x02\x80\x80\x2d\x16\
        \x59\x59\x52\x93\x0b\xc0\x5a\x02\x00\x00\x03\x00\x02\x00\x00\x03\x00\x3c\x10\
        \xa2\x00\x01\x00\x06\x44\x01\xc0\x73\xc1\x89";

    fn changed(at: usize, byte: u8) -> Result<HevcConfig, MediaRefusal> {
        let mut record = RECORD.to_vec();
        record[at] = byte;
        HevcConfig::read(record.into())
    }

    #[test]
    fn size_and_codec_are_read() {
        let config = HevcConfig::read(Bytes::from_static(RECORD)).unwrap();
        assert_eq!((config.width, config.height, config.length_size), (1280, 720, 4));
        assert_eq!(config.codec(), "hvc1.1.6.L93.90");
        assert_eq!(config.frame_rate, None);
        // 30 frames a second, in 256ths.
        let config = changed(19, 0x1e).unwrap();
        assert_eq!(config.frame_rate, Some(30.0));
    }

    #[test]
    fn the_codec_follows_annex_e() {
        // The example of the standard: Main, level 3.1, progressive and interlaced flags alone.
        let mut header = [0; HEADER_BYTES];
        header[1..13].copy_from_slice(&[0x01, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93]);
        assert_eq!(codec(&header), "hvc1.1.6.L93.B0");
        // The second profile space, high tier, a constraint further behind.
        header[1..13].copy_from_slice(&[0x64, 0x08, 0, 0, 0, 0xb0, 0x23, 0, 0x01, 0, 0, 120]);
        assert_eq!(codec(&header), "hvc1.A4.10.H120.B0.23.0.1");
        header[6..12].fill(0);
        assert_eq!(codec(&header), "hvc1.A4.10.H120");
    }

    #[test]
    fn the_record_says_that_it_holds_all_parameter_sets() {
        let open: Vec<u8> = {
            let mut record = RECORD.to_vec();
            // The array of the video parameter set begins behind the header.
            record[HEADER_BYTES] &= 0x7f;
            record.extend([1, 2, 3]);
            record
        };
        assert_eq!(HevcConfig::read(open.into()).unwrap().record, RECORD);
    }

    #[test]
    fn malformed_records_are_refused() {
        for length in 0..RECORD.len() {
            let refusal = HevcConfig::read(Bytes::from_static(&RECORD[..length])).unwrap_err();
            assert_eq!(refusal.code(), "malformed_video_config", "{length}");
        }
        // A version to come, lengths of 3 bytes, no arrays, another kind of unit in the first array.
        for (at, byte) in [(0, 2), (21, 0x0e), (22, 0), (28, 0x42)] {
            assert_eq!(changed(at, byte).unwrap_err().code(), "malformed_video_config", "{at}");
        }
    }

    #[test]
    fn pictures_are_told_apart() {
        let unit = |kind: u8| vec![0, 0, 0, 3, kind << 1, 1, 0xaf];
        let look = |kinds: &[u8]| inspect(&kinds.iter().flat_map(|kind| unit(*kind)).collect::<Vec<_>>(), 4);
        for irap in [16, 19, 20, 21] {
            assert_eq!(look(&[VIDEO_PARAMETERS, 39, irap]), Some(Picture { has_slice: true, is_key: true }), "{irap}");
        }
        for other in [0, 1, 9] {
            assert_eq!(look(&[other]), Some(Picture { has_slice: true, is_key: false }), "{other}");
        }
        assert_eq!(look(&[VIDEO_PARAMETERS, 39]), Some(Picture::default()));
        for broken in [&[0, 0, 0, 4, 0x26, 1, 0xaf][..], &[0, 0, 0], &[0, 0, 0, 1, 0x26], &[0, 0, 0, 0]] {
            assert_eq!(inspect(broken, 4), None, "{broken:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_record_makes_the_reader_panic(
            head in 0..RECORD.len(),
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120),
        ) {
            let _ = HevcConfig::read([&RECORD[..head], &bytes].concat().into());
        }

        #[test]
        fn no_changed_byte_makes_the_reader_panic(at in 0..RECORD.len(), byte in proptest::num::u8::ANY) {
            if let Ok(config) = changed(at, byte) {
                proptest::prop_assert!(is_side(config.width) && is_side(config.height));
            }
        }

        #[test]
        fn no_picture_makes_the_walk_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64),
            size in 1_u8..5,
        ) {
            let _ = inspect(&bytes, size);
        }
    }
}
