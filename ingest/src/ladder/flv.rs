//! What ffmpeg writes for a rendition: an FLV file that never ends. Adobe Flash Video File Format 10.1, annexes E.2 to
//! E.4.1.
//!
//! The reader is given bytes as they come and hands out tags; it does no reading of its own, and holds one tag at most.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

use crate::packager::TagKind;

/// Far above a picture of any rendition: a picture of 1080p at 50 Mbit/s that has a whole second's bits has 6 MB.
const MAX_TAG_BYTES: usize = 8 << 20;
const FILE_HEADER_BYTES: usize = 9;
/// The length of the tag before, after each tag and after the file's header.
const BACK_POINTER_BYTES: usize = 4;
const TAG_HEADER_BYTES: usize = 11;
const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
const SCRIPT: u8 = 18;

/// A tag with picture or sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FlvTag {
    pub kind: TagKind,
    /// 31 bits of milliseconds: ffmpeg leaves the highest out, since the field has a sign.
    pub time_ms: u32,
    pub body: Bytes,
}

/// What came is no FLV, or none that an encoder of ours makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum FlvError {
    #[error("it does not begin like an FLV file")]
    Header,
    #[error("it has a tag of the unknown type {0}")]
    TagType(u8),
    #[error("it has a tag of {0} bytes")]
    TagLength(usize),
}

/// Reads an FLV file piece by piece.
#[derive(Debug, Default)]
pub(super) struct FlvReader {
    buffer: BytesMut,
    is_begun: bool,
    error: Option<FlvError>,
}

impl FlvReader {
    /// Takes in what has come. Call [`FlvReader::next`] until it has nothing more, or memory grows.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        if self.error.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next tag with picture or sound; `None` when more bytes are needed. Tags with data about the file are left out.
    /// After an error there is nothing but the same error.
    pub(super) fn next(&mut self) -> Result<Option<FlvTag>, FlvError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        self.read().inspect_err(|error| {
            self.error = Some(*error);
            self.buffer = BytesMut::new();
        })
    }

    fn read(&mut self) -> Result<Option<FlvTag>, FlvError> {
        if !self.is_begun && !self.read_file_header()? {
            return Ok(None);
        }
        loop {
            let Some(&[kind, l2, l1, l0, t2, t1, t0, t3, ..]) = self.buffer.first_chunk::<TAG_HEADER_BYTES>() else {
                return Ok(None);
            };
            let kind = match kind {
                AUDIO => Some(TagKind::Audio),
                VIDEO => Some(TagKind::Video),
                SCRIPT => None,
                // Encrypted tags have a bit set that nobody here sets.
                other => return Err(FlvError::TagType(other)),
            };
            let length = u32::from_be_bytes([0, l2, l1, l0]) as usize;
            if length > MAX_TAG_BYTES {
                return Err(FlvError::TagLength(length));
            }
            if self.buffer.len() < TAG_HEADER_BYTES + length + BACK_POINTER_BYTES {
                return Ok(None);
            }
            self.buffer.advance(TAG_HEADER_BYTES);
            let body = self.buffer.split_to(length).freeze();
            self.buffer.advance(BACK_POINTER_BYTES);
            if let Some(kind) = kind {
                let time_ms = u32::from_be_bytes([t3, t2, t1, t0]);
                return Ok(Some(FlvTag { kind, time_ms, body }));
            }
        }
    }

    /// Whether the header was there and is passed.
    fn read_file_header(&mut self) -> Result<bool, FlvError> {
        const SIGNATURE: &[u8] = b"FLV\x01";
        let known = self.buffer.len().min(SIGNATURE.len());
        if self.buffer[..known] != SIGNATURE[..known] {
            return Err(FlvError::Header);
        }
        if self.buffer.len() < FILE_HEADER_BYTES + BACK_POINTER_BYTES {
            return Ok(false);
        }
        // Bytes 5 to 8 tell where the tags begin: right here in version 1.
        if self.buffer[5..FILE_HEADER_BYTES] != [0, 0, 0, 9] {
            return Err(FlvError::Header);
        }
        self.buffer.advance(FILE_HEADER_BYTES + BACK_POINTER_BYTES);
        self.is_begun = true;
        Ok(true)
    }

    #[cfg(test)]
    fn held(&self) -> usize {
        self.buffer.len()
    }
}

/// The time that 31 bits of it stand for, given one that it cannot be far from.
pub(super) fn unwrap_time(time_ms: u32, near_ms: i64) -> i64 {
    const SPAN: i64 = 1 << 31;
    let ahead = (i64::from(time_ms) - near_ms).rem_euclid(SPAN);
    near_ms + if ahead >= SPAN / 2 { ahead - SPAN } else { ahead }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn file() -> Vec<u8> {
        b"FLV\x01\x05\0\0\0\x09\0\0\0\0".to_vec()
    }

    fn put(out: &mut Vec<u8>, kind: u8, time_ms: u32, body: &[u8]) {
        out.push(kind);
        out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
        let [t3, t2, t1, t0] = time_ms.to_be_bytes();
        out.extend_from_slice(&[t2, t1, t0, t3, 0, 0, 0]);
        out.extend_from_slice(body);
        out.extend_from_slice(&(body.len() as u32 + 11).to_be_bytes());
    }

    fn all(reader: &mut FlvReader) -> Result<Vec<FlvTag>, FlvError> {
        let mut tags = Vec::new();
        while let Some(tag) = reader.next()? {
            tags.push(tag);
        }
        Ok(tags)
    }

    #[test]
    fn data_about_the_file_is_left_out() {
        let mut bytes = file();
        put(&mut bytes, SCRIPT, 0, b"\x02\0\x0aonMetaData");
        put(&mut bytes, VIDEO, 0x7fff_fffe, &[0x17, 0]);
        let mut reader = FlvReader::default();
        reader.extend(&bytes);
        let tag = FlvTag { kind: TagKind::Video, time_ms: 0x7fff_fffe, body: Bytes::from_static(&[0x17, 0]) };
        assert_eq!(reader.next(), Ok(Some(tag)));
        assert_eq!(reader.next(), Ok(None));
    }

    #[test]
    fn what_is_no_flv_is_told_at_once_and_for_good() {
        for bytes in [&b"GIF8"[..], b"FLV\x02", b"FLV\x01\x05\0\0\0\x0a\0\0\0\0", b"\0"] {
            let mut reader = FlvReader::default();
            reader.extend(bytes);
            assert_eq!(reader.next(), Err(FlvError::Header), "{bytes:?}");
            reader.extend(&file());
            assert_eq!(reader.next(), Err(FlvError::Header));
            assert_eq!(reader.held(), 0);
        }
    }

    #[test]
    fn tags_that_nobody_makes_are_refused() {
        let mut reader = FlvReader::default();
        reader.extend(&file());
        reader.extend(&[VIDEO, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(reader.next(), Err(FlvError::TagLength(0xff_ffff)));
        let mut reader = FlvReader::default();
        reader.extend(&file());
        reader.extend(&[VIDEO | 0x20, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(reader.next(), Err(FlvError::TagType(VIDEO | 0x20)));
    }

    #[test]
    fn times_go_on_where_31_bits_wrap() {
        let wrap = 1_i64 << 31;
        for (time_ms, near_ms, expected) in [
            (12_000, 11_500, 12_000),
            (5, wrap - 20, wrap + 5),
            (0x7fff_fff0, wrap + 10, wrap - 16),
            (0x7fff_fff0, 10, -16),
            (40, 3 * wrap, 3 * wrap + 40),
        ] {
            assert_eq!(unwrap_time(time_ms, near_ms), expected);
        }
    }

    proptest! {
        #[test]
        fn tags_come_out_as_they_went_in_however_they_are_cut(
            tags in vec((any::<bool>(), 0..1_u32 << 31, vec(any::<u8>(), 0..50)), 0..12),
            cuts in vec(1..40_usize, 1..30),
        ) {
            let mut bytes = file();
            for (is_video, time_ms, body) in &tags {
                put(&mut bytes, if *is_video { VIDEO } else { AUDIO }, *time_ms, body);
            }
            let mut reader = FlvReader::default();
            let (mut read, mut rest, mut at) = (Vec::new(), &bytes[..], 0);
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts[at % cuts.len()].min(rest.len()));
                reader.extend(piece);
                read.extend(all(&mut reader).unwrap());
                (rest, at) = (after, at + 1);
            }
            let expected: Vec<_> = tags
                .into_iter()
                .map(|(is_video, time_ms, body)| FlvTag {
                    kind: if is_video { TagKind::Video } else { TagKind::Audio },
                    time_ms,
                    body: body.into(),
                })
                .collect();
            prop_assert_eq!(read, expected);
            prop_assert_eq!(reader.held(), 0);
        }

        #[test]
        fn garbage_makes_no_panic_and_takes_no_memory(
            has_header in any::<bool>(),
            pieces in vec(vec(any::<u8>(), 0..200), 0..40),
        ) {
            let mut reader = FlvReader::default();
            if has_header {
                reader.extend(&file());
            }
            for piece in pieces {
                reader.extend(&piece);
                let read = all(&mut reader);
                prop_assert!(reader.held() <= MAX_TAG_BYTES + TAG_HEADER_BYTES + BACK_POINTER_BYTES);
                if read.is_err() {
                    prop_assert_eq!(reader.held(), 0);
                }
            }
        }

        #[test]
        fn a_time_is_found_again_near_any_other(time_ms in 0..1_i64 << 45, away_ms in -1_000_000_i64..1_000_000) {
            let low = (time_ms & 0x7fff_ffff) as u32;
            prop_assert_eq!(unwrap_time(low, time_ms + away_ms), time_ms);
        }
    }
}
