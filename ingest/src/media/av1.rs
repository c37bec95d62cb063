//! AV1: the AV1CodecConfigurationRecord (AV1 Codec ISO Media File Format Binding, section 2.3), the sequence header in
//! it and the open bitstream units of a picture (AV1 Bitstream & Decoding Process Specification, section 5).

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    bits::{Bits, OutOfBits},
    video::{Picture, is_side},
};
use crate::packager::MediaRefusal;

/// Real records have some 20 bytes.
const MAX_RECORD_BYTES: usize = 4 << 10;
/// The fields before the units.
const HEADER_BYTES: usize = 4;

/// Types of open bitstream units: section 6.2.2.
const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;
const FRAME_HEADER: u8 = 3;
const TILE_GROUP: u8 = 4;
const FRAME: u8 = 6;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// What the configuration says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Av1Config {
    /// The record as sent.
    pub record: Bytes,
    /// In pixels, of the largest frame.
    pub width: u32,
    /// In pixels, of the largest frame.
    pub height: u32,
    /// Frames a second where the sequence header has timing.
    pub frame_rate: Option<f64>,
    codec: String,
}

impl Av1Config {
    pub(crate) fn read(record: Bytes) -> Result<Self, MediaRefusal> {
        if record.len() > MAX_RECORD_BYTES {
            return Err(malformed("it is too long"));
        }
        let header: [u8; HEADER_BYTES] =
            record.get(..HEADER_BYTES).and_then(|header| header.try_into().ok()).ok_or(malformed("it ends early"))?;
        if header[0] != 0x81 {
            return Err(malformed("its version is not 1"));
        }
        let mut sequence = None;
        let mut rest = &record[HEADER_BYTES..];
        while !rest.is_empty() {
            let unit = Unit::split(&mut rest).ok_or(malformed("its units do not fit"))?;
            if unit.kind == SEQUENCE_HEADER && sequence.is_none() {
                let fields = Sequence::read(&mut Bits::new(unit.payload))
                    .map_err(|OutOfBits| malformed("its sequence header ends early"))?;
                sequence = Some(fields);
            }
        }
        // The record may leave it to the key frames; no encoder does, and players want the size before the first.
        let sequence = sequence.ok_or(malformed("it has no sequence header"))?;
        if sequence.is_still {
            return Err(unsupported("a single picture".to_owned()));
        }
        if sequence.bit_depth > 10 {
            return Err(unsupported(format!("{} bits", sequence.bit_depth)));
        }
        match (sequence.is_monochrome, sequence.subsampling) {
            (true, _) | (_, (true, true)) => {}
            (_, (true, false)) => return Err(unsupported("4:2:2".to_owned())),
            _ => return Err(unsupported("4:4:4".to_owned())),
        }
        if !is_side(sequence.width) || !is_side(sequence.height) {
            return Err(malformed("its picture size makes no sense"));
        }
        // What is said of the profile twice must be the same: players believe one or the other.
        let said = (header[1] >> 5, header[1] & 0x1f, header[2] & 0x40 != 0);
        if said != (sequence.profile, sequence.level, sequence.bit_depth > 8) {
            return Err(malformed("it contradicts its sequence header"));
        }
        Ok(Self {
            width: sequence.width,
            height: sequence.height,
            frame_rate: sequence.frame_rate(),
            codec: sequence.codec(),
            record,
        })
    }

    /// As in section 5 of the binding.
    pub(crate) fn codec(&self) -> String {
        self.codec.clone()
    }
}

/// Looks at the units of a picture and takes out what is not to be stored: temporal delimiters, padding and tile lists
/// (section 2.4 of the binding). `None` when a length does not fit.
///
/// A key frame is one that players can begin with: shown at once, and with a sequence header before it.
pub(crate) fn inspect(data: &Bytes) -> Option<(Picture, Bytes)> {
    let mut picture = Picture::default();
    let mut has_sequence = false;
    let mut is_first_frame = true;
    let mut unwanted = 0;
    let mut rest = &data[..];
    while !rest.is_empty() {
        let before = rest.len();
        let unit = Unit::split(&mut rest)?;
        match unit.kind {
            SEQUENCE_HEADER => has_sequence = true,
            FRAME_HEADER | FRAME => {
                // show_existing_frame, frame_type, show_frame: a key frame that is shown begins with 0 00 1.
                let is_shown_key = unit.payload.first()? >> 4 == 0b0001;
                picture.is_key |= is_first_frame && has_sequence && is_shown_key;
                picture.has_slice = true;
                is_first_frame = false;
            }
            TILE_GROUP => picture.has_slice = true,
            TEMPORAL_DELIMITER | TILE_LIST | PADDING => unwanted += before - rest.len(),
            _ => {}
        }
    }
    Some((picture, if unwanted == 0 { data.clone() } else { without_unwanted(data, unwanted) }))
}

/// The units of a picture that was walked before.
fn without_unwanted(data: &Bytes, unwanted: usize) -> Bytes {
    // What encoders leave in is one delimiter at the front.
    if data.first().is_some_and(|first| first >> 3 & 0x0f == TEMPORAL_DELIMITER) && unwanted == 2 {
        return data.slice(2..);
    }
    let mut wanted = BytesMut::with_capacity(data.len() - unwanted);
    let mut rest = &data[..];
    while !rest.is_empty() {
        let whole = rest;
        let Some(unit) = Unit::split(&mut rest) else { break };
        if !matches!(unit.kind, TEMPORAL_DELIMITER | TILE_LIST | PADDING) {
            wanted.put_slice(&whole[..whole.len() - rest.len()]);
        }
    }
    wanted.freeze()
}

/// One open bitstream unit: section 5.3.
struct Unit<'a> {
    kind: u8,
    payload: &'a [u8],
}

impl<'a> Unit<'a> {
    /// Takes the first unit off; `None` when it does not fit.
    fn split(bytes: &mut &'a [u8]) -> Option<Self> {
        let (&header, mut rest) = bytes.split_first()?;
        let is_forbidden = header & 0x80 != 0;
        let (has_extension, has_size) = (header & 0x04 != 0, header & 0x02 != 0);
        if is_forbidden {
            return None;
        }
        if has_extension {
            rest = rest.split_first()?.1;
        }
        // A unit without a size is the last one.
        let size = if has_size { leb128(&mut rest)? } else { rest.len() };
        let (payload, rest) = rest.split_at_checked(size)?;
        *bytes = rest;
        Some(Self { kind: header >> 3 & 0x0f, payload })
    }
}

/// Section 4.10.5: at most eight bytes, below 2^32.
fn leb128(bytes: &mut &[u8]) -> Option<usize> {
    let mut value = 0_u64;
    for index in 0..8 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return u32::try_from(value).ok().and_then(|value| usize::try_from(value).ok());
        }
    }
    None
}

/// The sequence header: section 5.5.
#[derive(Debug, Default)]
struct Sequence {
    profile: u8,
    is_still: bool,
    /// Of the first operating point.
    level: u8,
    is_high_tier: bool,
    width: u32,
    height: u32,
    bit_depth: u8,
    is_monochrome: bool,
    /// Of the columns, of the rows.
    subsampling: (bool, bool),
    sample_position: u32,
    /// Primaries, transfer and matrix of ISO/IEC 23091-2; 2 is unknown.
    colours: [u32; 3],
    is_full_range: bool,
    /// Units in a tick, time scale, ticks a picture.
    timing: Option<(u32, u32, u32)>,
}

impl Sequence {
    fn read(bits: &mut Bits<'_>) -> Result<Self, OutOfBits> {
        let mut sequence = Self { profile: bits.field(3)? as u8, ..Self::default() };
        sequence.is_still = bits.bit()?;
        let is_reduced = bits.bit()?;
        if is_reduced {
            sequence.level = bits.field(5)? as u8;
        } else {
            sequence.read_operating_points(bits)?;
        }
        let (width_bits, height_bits) = (bits.field(4)? + 1, bits.field(4)? + 1);
        sequence.width = bits.field(width_bits)? + 1;
        sequence.height = bits.field(height_bits)? + 1;
        if !is_reduced && bits.bit()? {
            bits.skip(4 + 3)?;
        }
        // 128x128 superblocks, filter intra, intra edge filter.
        bits.skip(3)?;
        if !is_reduced {
            read_tools(bits)?;
        }
        // Superres, CDEF, restoration.
        bits.skip(3)?;
        sequence.read_colours(bits)?;
        Ok(sequence)
    }

    fn read_operating_points(&mut self, bits: &mut Bits<'_>) -> Result<(), OutOfBits> {
        let mut delay_bits = None;
        if bits.bit()? {
            let (units, scale) = (bits.field(32)?, bits.field(32)?);
            // Without equal intervals the time scale says nothing about the rate.
            if bits.bit()? {
                let ticks = variable_length(bits)?.saturating_add(1);
                self.timing = Some((units, scale, ticks));
            }
            if bits.bit()? {
                delay_bits = Some(bits.field(5)? + 1);
                bits.skip(32)?;
                bits.skip(5 + 5)?;
            }
        }
        let has_display_delay = bits.bit()?;
        let points = bits.field(5)? + 1;
        for point in 0..points {
            bits.skip(12)?;
            let level = bits.field(5)? as u8;
            let is_high_tier = level > 7 && bits.bit()?;
            if point == 0 {
                (self.level, self.is_high_tier) = (level, is_high_tier);
            }
            if let Some(width) = delay_bits
                && bits.bit()?
            {
                bits.skip(width)?;
                bits.skip(width)?;
                bits.skip(1)?;
            }
            if has_display_delay && bits.bit()? {
                bits.skip(4)?;
            }
        }
        Ok(())
    }

    /// Section 5.5.2.
    fn read_colours(&mut self, bits: &mut Bits<'_>) -> Result<(), OutOfBits> {
        let is_high = bits.bit()?;
        self.bit_depth = match (self.profile, is_high) {
            (_, false) => 8,
            (2, true) => {
                if bits.bit()? {
                    12
                } else {
                    10
                }
            }
            (_, true) => 10,
        };
        self.is_monochrome = self.profile != 1 && bits.bit()?;
        self.colours = if bits.bit()? { [bits.field(8)?, bits.field(8)?, bits.field(8)?] } else { [2; 3] };
        if self.is_monochrome {
            self.is_full_range = bits.bit()?;
            self.subsampling = (true, true);
            return Ok(());
        }
        if self.colours == [1, 13, 0] {
            // sRGB.
            self.is_full_range = true;
            return Ok(());
        }
        self.is_full_range = bits.bit()?;
        self.subsampling = match self.profile {
            0 => (true, true),
            1 => (false, false),
            _ if self.bit_depth == 12 => {
                let columns = bits.bit()?;
                (columns, columns && bits.bit()?)
            }
            _ => (true, false),
        };
        if self.subsampling == (true, true) {
            self.sample_position = bits.field(2)?;
        }
        Ok(())
    }

    fn frame_rate(&self) -> Option<f64> {
        let (units, scale, ticks) = self.timing?;
        let rate = f64::from(scale) / (f64::from(units) * f64::from(ticks));
        Some(rate).filter(|rate| (0.1..=1_000.0).contains(rate))
    }

    /// `av01.0.08M.08`; colour is said where it is not what the short form means: BT.709 or unknown, limited range.
    fn codec(&self) -> String {
        let tier = if self.is_high_tier { 'H' } else { 'M' };
        let mut codec = format!("av01.{}.{:02}{tier}.{:02}", self.profile, self.level, self.bit_depth);
        let is_usual_colour = self.colours.iter().all(|colour| matches!(colour, 1 | 2));
        if self.is_monochrome || self.is_full_range || !is_usual_colour {
            let [primaries, transfer, matrix] = self.colours;
            let position = if self.is_monochrome { 0 } else { self.sample_position };
            codec.push_str(&format!(
                ".{}.11{position}.{primaries:02}.{transfer:02}.{matrix:02}.{}",
                u8::from(self.is_monochrome),
                u8::from(self.is_full_range),
            ));
        }
        codec
    }
}

/// The tools that the stream may use, of which none matters here.
fn read_tools(bits: &mut Bits<'_>) -> Result<(), OutOfBits> {
    // Interintra, masked compound, warped motion, dual filter.
    bits.skip(4)?;
    let has_order_hint = bits.bit()?;
    if has_order_hint {
        bits.skip(2)?;
    }
    // Chosen by each frame, or for all of them.
    let may_have_screen_content = bits.bit()? || bits.bit()?;
    if may_have_screen_content && !bits.bit()? {
        bits.skip(1)?;
    }
    if has_order_hint {
        bits.skip(3)?;
    }
    Ok(())
}

/// `uvlc()` of section 4.10.3.
fn variable_length(bits: &mut Bits<'_>) -> Result<u32, OutOfBits> {
    let mut zeros = 0;
    while !bits.bit()? {
        zeros += 1;
        if zeros >= 32 {
            return Ok(u32::MAX);
        }
    }
    let rest = u64::from(bits.field(zeros)?);
    Ok(u32::try_from((1_u64 << zeros) - 1 + rest).unwrap_or(u32::MAX))
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

    /// Of SVT-AV1: 320x180, Main, 8 bits.
    const RECORD: &[u8] = b"\x81\x00\x0c\x00\x0a\x0b\x00\x00\x00\x04\x3c\xfe\xcc\x02\xf8\x00\x40";
    /// Of libaom: 320x180, Main, 10 bits.
    const DEEP: &[u8] = b"\x81\x00\x4c\x00\x0a\x0b\x00\x00\x00\x04\x3c\xfe\xcc\xda\xf9\x40\x40";

    fn read(record: &'static [u8]) -> Result<Av1Config, MediaRefusal> {
        Av1Config::read(Bytes::from_static(record))
    }

    fn written(record: [u8; 4], sequence: &str) -> Result<Av1Config, MediaRefusal> {
        let bits: String = sequence.chars().filter(|bit| *bit != ' ').collect();
        let mut payload: Vec<u8> = Vec::new();
        for byte in bits.as_bytes().chunks(8) {
            let byte = byte.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0')) << (8 - byte.len());
            payload.push(byte);
        }
        Av1Config::read([&record[..], &[0x0a, payload.len() as u8], &payload].concat().into())
    }

    #[test]
    fn size_depth_and_codec_are_read() {
        let config = read(RECORD).unwrap();
        assert_eq!((config.width, config.height, config.frame_rate), (320, 180, None));
        assert_eq!(config.codec(), "av01.0.00M.08");
        let config = read(DEEP).unwrap();
        assert_eq!((config.width, config.height), (320, 180));
        assert_eq!(config.codec(), "av01.0.00M.10");
        assert_eq!(config.record, DEEP);
    }

    /// Everything that a sequence header can have in front of the size: timing at 30 frames a second, a decoder model, two
    /// operating points, the first of level 5.1 in the high tier.
    const POINTS: &str = "1 00000000000000000000000000000001 00000000000000000000000000011110 1 1 \
        1 00111 00000000000000000000000000000001 00000 00000 1 00001 \
        000000000001 01101 1 1 00000000 00000000 0 1 0000 000000000000 00101 0 0";
    /// 1920x1080, and tools.
    const SIZE: &str = "1010 1010 11101111111 10000110111 0 000 0000 1 00 1 1 000 000";

    #[test]
    fn all_that_a_sequence_header_may_say_is_read() {
        let config = written([0x81, 0x0d, 0x8c, 0], &format!("000 0 0 {POINTS} {SIZE} 0 0 0 0 00 0 0")).unwrap();
        assert_eq!((config.width, config.height, config.frame_rate), (1920, 1080, Some(30.0)));
        assert_eq!(config.codec(), "av01.0.13H.08");
        // Ten bits, BT.2020 with PQ, as for high dynamic range.
        let hdr = format!("000 0 0 {POINTS} {SIZE} 1 0 1 00001001 00010000 00001001 0 10 0 0");
        assert_eq!(written([0x81, 0x0d, 0xcc, 0], &hdr).unwrap().codec(), "av01.0.13H.10.0.112.09.16.09.0");
        let grey = format!("000 0 0 {POINTS} {SIZE} 0 1 0 0 0 0");
        assert_eq!(written([0x81, 0x0d, 0x9c, 0], &grey).unwrap().codec(), "av01.0.13H.08.1.110.02.02.02.0");
    }

    #[test]
    fn what_browsers_do_not_play_is_refused() {
        let refused = |record, sequence: &str| written(record, sequence).unwrap_err().code();
        let full = format!("001 0 0 {POINTS} {SIZE} 0 0 0 0 0");
        assert_eq!(refused([0x81, 0x2d, 0x80, 0], &full), "video_format_unsupported");
        let twelve = format!("010 0 0 {POINTS} {SIZE} 1 1 0 0 0 1 0 0 0");
        assert_eq!(refused([0x81, 0x4d, 0xe0, 0], &twelve), "video_format_unsupported");
        let still = "000 1 1 00000 1010 1010 11101111111 10000110111 000 000 0 0 0 0 00 0 0";
        assert_eq!(refused([0x81, 0, 0x0c, 0], still), "video_format_unsupported");
    }

    #[test]
    fn malformed_records_are_refused() {
        for length in 0..RECORD.len() {
            let refusal = Av1Config::read(Bytes::from_static(&RECORD[..length])).unwrap_err();
            assert_eq!(refusal.code(), "malformed_video_config", "{length}");
        }
        // Another version, another level, another depth, a unit that is forbidden, no sequence header.
        for (at, byte) in [(0, 0x82), (1, 5), (2, 0x4c), (4, 0x8a), (4, 0x12)] {
            let mut record = RECORD.to_vec();
            record[at] = byte;
            assert_eq!(Av1Config::read(record.into()).unwrap_err().code(), "malformed_video_config", "{at} {byte}");
        }
    }

    const SEQUENCE: &[u8] = &[0x0a, 1, 0];
    const KEY: &[u8] = &[0x32, 2, 0x10, 9];
    const INTER: &[u8] = &[0x32, 2, 0x30, 9];

    fn look(units: &[&[u8]]) -> Option<(Picture, Bytes)> {
        inspect(&units.concat().into())
    }

    #[test]
    fn pictures_are_told_apart() {
        let kinds = |units: &[&[u8]]| look(units).map(|(picture, _)| (picture.has_slice, picture.is_key));
        assert_eq!(kinds(&[SEQUENCE, KEY]), Some((true, true)));
        assert_eq!(kinds(&[SEQUENCE, INTER]), Some((true, false)));
        // A player cannot begin without the sequence header, nor with a key frame that is kept for later.
        assert_eq!(kinds(&[KEY]), Some((true, false)));
        assert_eq!(kinds(&[SEQUENCE, &[0x32, 1, 0x00]]), Some((true, false)));
        assert_eq!(kinds(&[SEQUENCE, &[0x1a, 1, 0x90]]), Some((true, false)));
        assert_eq!(kinds(&[SEQUENCE, &[0x1a, 1, 0x10], &[0x22, 1, 9]]), Some((true, true)));
        assert_eq!(kinds(&[SEQUENCE]), Some((false, false)));
        assert_eq!(kinds(&[]), Some((false, false)));
        // Of a layer, with an extension; the last without a size.
        assert_eq!(kinds(&[SEQUENCE, &[0x34, 0x28, 0x10, 9]]), Some((true, true)));
        for broken in [&[0x32][..], &[0x32, 3, 0x10, 9], &[0x32, 0], &[0xb2, 1, 0x10], &[0x36], &[0x32, 0x80, 0x80]] {
            assert_eq!(look(&[SEQUENCE, broken]), None, "{broken:?}");
        }
    }

    #[test]
    fn what_is_not_to_be_stored_is_taken_out() {
        let (delimiter, padding) = (&[0x12_u8, 0][..], &[0x7a_u8, 2, 0, 0x80][..]);
        let wanted = [SEQUENCE, KEY].concat();
        for units in [
            &[SEQUENCE, KEY][..],
            &[delimiter, SEQUENCE, KEY],
            &[delimiter, SEQUENCE, padding, KEY],
            &[SEQUENCE, delimiter, KEY, padding],
        ] {
            assert_eq!(look(units).unwrap().1, wanted, "{units:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_record_makes_the_reader_panic(
            head in 0..RECORD.len(),
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..60),
        ) {
            if let Ok(config) = Av1Config::read([&RECORD[..head], &bytes].concat().into()) {
                proptest::prop_assert!(is_side(config.width) && is_side(config.height));
            }
        }

        #[test]
        fn no_picture_makes_the_walk_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let data = Bytes::from(bytes);
            if let Some((_, kept)) = inspect(&data) {
                proptest::prop_assert!(kept.len() <= data.len());
            }
        }
    }
}
