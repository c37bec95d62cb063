//! AAC: the AudioSpecificConfig of ISO/IEC 14496-3 section 1.6.2.1.

use bytes::Bytes;

use super::bits::{Bits, OutOfBits};
use crate::packager::MediaRefusal;

/// Samples in a frame, whatever the profile: HE-AAC doubles them only when it is played.
pub(crate) const FRAME_SAMPLES: u32 = 1024;

const LOW_COMPLEXITY: u32 = 2;
const SPECTRAL_BAND_REPLICATION: u32 = 5;
const PARAMETRIC_STEREO: u32 = 29;
const ESCAPE: u32 = 31;

const SAMPLE_RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// What the configuration says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AacConfig {
    /// The AudioSpecificConfig as sent.
    pub record: Bytes,
    /// MPEG-4 audio object type: 2, 5 or 29.
    pub object_type: u32,
    /// Of the coded frames, in hertz: the track's timescale.
    pub sample_rate: u32,
    /// What comes out of the loudspeakers, in hertz.
    pub played_sample_rate: u32,
    /// Coded channels, 1 to 8.
    pub channels: u8,
}

impl AacConfig {
    pub(crate) fn read(record: Bytes) -> Result<Self, MediaRefusal> {
        if record.len() > 64 {
            return Err(malformed("it is too long"));
        }
        let fields = Fields::read(&mut Bits::new(&record)).map_err(|OutOfBits| malformed("it ends early"))?;
        if !matches!(fields.object_type, LOW_COMPLEXITY | SPECTRAL_BAND_REPLICATION | PARAMETRIC_STEREO) {
            return Err(unsupported(format!("object type {}", fields.object_type)));
        }
        if fields.has_short_frames {
            return Err(unsupported("frames of 960 samples".to_owned()));
        }
        let channels = match fields.channel_configuration {
            channels @ 1..=6 => channels as u8,
            7 => 8,
            0 => return Err(unsupported("a channel layout of its own".to_owned())),
            other => return Err(unsupported(format!("channel layout {other}"))),
        };
        for rate in [fields.sample_rate, fields.played_sample_rate] {
            if !(7_350..=96_000).contains(&rate) {
                return Err(unsupported(format!("a sample rate of {rate} Hz")));
            }
        }
        Ok(Self {
            record,
            object_type: fields.object_type,
            sample_rate: fields.sample_rate,
            played_sample_rate: fields.played_sample_rate,
            channels,
        })
    }

    /// As in RFC 6381.
    pub(crate) fn codec(&self) -> String {
        format!("mp4a.40.{}", self.object_type)
    }

    /// A coded frame of silence, where one is known for the layout.
    ///
    /// Single-channel and channel-pair elements with all spectral data absent; any AAC-LC decoder makes zeros of it.
    pub(crate) fn silence(&self) -> Option<Bytes> {
        let frame: &'static [u8] = match self.channels {
            1 => &[0x00, 0xc8, 0x00, 0x80, 0x23, 0x80],
            2 => &[0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80],
            _ => return None,
        };
        Some(Bytes::from_static(frame))
    }
}

struct Fields {
    object_type: u32,
    sample_rate: u32,
    played_sample_rate: u32,
    channel_configuration: u32,
    has_short_frames: bool,
}

impl Fields {
    fn read(bits: &mut Bits<'_>) -> Result<Self, OutOfBits> {
        let object_type = object_type(bits)?;
        let sample_rate = sample_rate(bits)?;
        let channel_configuration = bits.field(4)?;
        let mut played_sample_rate = sample_rate;
        if matches!(object_type, SPECTRAL_BAND_REPLICATION | PARAMETRIC_STEREO) {
            played_sample_rate = self::sample_rate(bits)?;
            let _core = self::object_type(bits)?;
        }
        let has_short_frames = bits.bit()?;
        Ok(Self { object_type, sample_rate, played_sample_rate, channel_configuration, has_short_frames })
    }
}

fn object_type(bits: &mut Bits<'_>) -> Result<u32, OutOfBits> {
    match bits.field(5)? {
        ESCAPE => Ok(32 + bits.field(6)?),
        plain => Ok(plain),
    }
}

/// In hertz; 0 for a reserved index, which no range check lets through.
fn sample_rate(bits: &mut Bits<'_>) -> Result<u32, OutOfBits> {
    match bits.field(4)? {
        15 => bits.field(24),
        index => Ok(SAMPLE_RATES.get(index as usize).copied().unwrap_or(0)),
    }
}

fn malformed(reason: &'static str) -> MediaRefusal {
    MediaRefusal::MalformedAudioConfig { reason }
}

fn unsupported(format: String) -> MediaRefusal {
    MediaRefusal::AudioFormatUnsupported { format }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &'static [u8]) -> Result<AacConfig, MediaRefusal> {
        AacConfig::read(Bytes::from_static(bytes))
    }

    #[test]
    fn configurations_of_common_encoders_are_read() {
        let config = read(&[0x11, 0x90]).unwrap();
        assert_eq!((config.codec().as_str(), config.sample_rate, config.channels), ("mp4a.40.2", 48_000, 2));
        let config = read(&[0x12, 0x08, 0x56, 0xe5, 0x00]).unwrap();
        assert_eq!((config.codec().as_str(), config.sample_rate, config.channels), ("mp4a.40.2", 44_100, 1));
        // HE-AAC, 24 kHz core played at 48 kHz.
        let config = read(&[0x2b, 0x11, 0x88, 0x00]).unwrap();
        assert_eq!(config.codec(), "mp4a.40.5");
        assert_eq!((config.sample_rate, config.played_sample_rate, config.channels), (24_000, 48_000, 2));
    }

    #[test]
    fn what_browsers_do_not_play_is_refused() {
        assert_eq!(read(&[]).unwrap_err().code(), "malformed_audio_config");
        assert_eq!(read(&[0x11]).unwrap_err().code(), "malformed_audio_config");
        for bytes in [&[0x09, 0x90][..], &[0x11, 0x80], &[0x11, 0x94], &[0x16, 0x90], &[0xff; 8]] {
            assert_eq!(
                AacConfig::read(Bytes::copy_from_slice(bytes)).unwrap_err().code(),
                "audio_format_unsupported",
                "{bytes:?}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_record_makes_the_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..70)) {
            if let Ok(config) = AacConfig::read(Bytes::from(bytes)) {
                proptest::prop_assert!(config.sample_rate > 0);
            }
        }
    }
}
