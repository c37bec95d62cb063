//! The picture, whichever codec it comes in: one configuration and one look at what is in a message.

use bytes::Bytes;

use super::{
    av1::{self, Av1Config},
    avc::{self, AvcConfig},
    hevc::{self, HevcConfig},
};
use crate::packager::MediaRefusal;

/// Widest and highest picture taken, in pixels.
const MAX_SIDE: u32 = 8_192;

/// Whether a picture may be so wide or so high, in pixels.
pub(super) fn is_side(pixels: u32) -> bool {
    (1..=MAX_SIDE).contains(&pixels)
}

/// How the picture is coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VideoCodec {
    Avc,
    Hevc,
    Av1,
}

/// What the encoder says of its pictures before the first of them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum VideoConfig {
    Avc(AvcConfig),
    Hevc(HevcConfig),
    Av1(Av1Config),
}

/// What is in a message with a picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// A decoder makes a picture of it.
    pub has_slice: bool,
    /// A decoder can begin with it.
    pub is_key: bool,
}

impl VideoConfig {
    pub(crate) fn read(codec: VideoCodec, record: Bytes) -> Result<Self, MediaRefusal> {
        match codec {
            VideoCodec::Avc => AvcConfig::read(record).map(Self::Avc),
            VideoCodec::Hevc => HevcConfig::read(record).map(Self::Hevc),
            VideoCodec::Av1 => Av1Config::read(record).map(Self::Av1),
        }
    }

    pub(crate) fn video_codec(&self) -> VideoCodec {
        match self {
            Self::Avc(_) => VideoCodec::Avc,
            Self::Hevc(_) => VideoCodec::Hevc,
            Self::Av1(_) => VideoCodec::Av1,
        }
    }

    /// In pixels, after cropping.
    pub(crate) fn width(&self) -> u32 {
        match self {
            Self::Avc(config) => config.width,
            Self::Hevc(config) => config.width,
            Self::Av1(config) => config.width,
        }
    }

    /// In pixels, after cropping.
    pub(crate) fn height(&self) -> u32 {
        match self {
            Self::Avc(config) => config.height,
            Self::Hevc(config) => config.height,
            Self::Av1(config) => config.height,
        }
    }

    /// Frames a second where the configuration says so.
    pub(crate) fn frame_rate(&self) -> Option<f64> {
        match self {
            Self::Avc(config) => config.frame_rate,
            Self::Hevc(config) => config.frame_rate,
            Self::Av1(config) => config.frame_rate,
        }
    }

    /// As in RFC 6381, `av01.0.08M.08` for example.
    pub(crate) fn codec(&self) -> String {
        match self {
            Self::Avc(config) => config.codec(),
            Self::Hevc(config) => config.codec(),
            Self::Av1(config) => config.codec(),
        }
    }

    /// The sample entry's name, and its configuration box with what is in it.
    pub(crate) fn sample_entry(&self) -> (&'static [u8; 4], &'static [u8; 4], &Bytes) {
        match self {
            Self::Avc(config) => (b"avc1", b"avcC", &config.record),
            Self::Hevc(config) => (b"hvc1", b"hvcC", &config.record),
            Self::Av1(config) => (b"av01", b"av1C", &config.record),
        }
    }

    /// Looks at a picture, and takes out of it what is not to be stored. `is_flagged_key` is what the encoder calls it: for
    /// H.264 that counts too, since its streams without IDR pictures have other places where decoders can begin.
    ///
    /// `None` when it is broken: players give up for good on such a picture, so it must not reach them.
    pub(crate) fn inspect(&self, data: &Bytes, is_flagged_key: bool) -> Option<(Picture, Bytes)> {
        match self {
            Self::Avc(config) => {
                let avc::Picture { has_slice, is_idr } = avc::inspect(data, config.length_size)?;
                Some((Picture { has_slice, is_key: is_idr || is_flagged_key }, data.clone()))
            }
            Self::Hevc(config) => Some((hevc::inspect(data, config.length_size)?, data.clone())),
            Self::Av1(_) => av1::inspect(data),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            for codec in [VideoCodec::Avc, VideoCodec::Hevc, VideoCodec::Av1] {
                if let Ok(config) = VideoConfig::read(codec, Bytes::from(bytes.clone())) {
                    proptest::prop_assert!(is_side(config.width()) && is_side(config.height()));
                }
            }
        }
    }
}
