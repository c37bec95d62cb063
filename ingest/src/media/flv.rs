//! Bodies of FLV tags, which are the bodies of RTMP messages 8 and 9: Adobe Flash Video File Format 10.1, annex E.4.2
//! and E.4.3, and the tags of Enhanced RTMP v2 as far as they carry H.264 and AAC.

use bytes::Bytes;

use crate::packager::MediaRefusal;

/// What a video message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VideoTag {
    /// An AVCDecoderConfigurationRecord.
    Config(Bytes),
    /// One picture as length-prefixed NAL units.
    Frame {
        /// Whether the encoder calls it a key frame.
        is_key: bool,
        /// Presentation time less decode time.
        composition_ms: i32,
        data: Bytes,
    },
    /// Nothing to broadcast: an end of sequence, a command, nothing at all.
    Nothing,
}

/// What an audio message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AudioTag {
    /// An AudioSpecificConfig.
    Config(Bytes),
    /// One raw AAC frame.
    Frame(Bytes),
    /// Nothing to broadcast.
    Nothing,
}

const CODEC_AVC: u8 = 7;
const FORMAT_EXTENDED: u8 = 9;
const FORMAT_AAC: u8 = 10;

const FRAME_KEY: u8 = 1;
const FRAME_COMMAND: u8 = 5;

const TRUNCATED: MediaRefusal = MediaRefusal::MalformedMedia { reason: "a message ends early" };

/// Reads a body of message type 9.
pub(crate) fn read_video(body: &Bytes) -> Result<VideoTag, MediaRefusal> {
    let Some(&first) = body.first() else { return Ok(VideoTag::Nothing) };
    if first & 0x80 != 0 {
        return read_extended_video(first, body);
    }
    let frame_type = first >> 4;
    if frame_type == FRAME_COMMAND {
        return Ok(VideoTag::Nothing);
    }
    let codec = match first & 0x0f {
        CODEC_AVC => None,
        2 => Some("Sorenson H.263"),
        3 | 6 => Some("Screen video"),
        4 | 5 => Some("VP6"),
        8 => Some("H.263"),
        9 => Some("MPEG-4 part 2"),
        12 => Some("HEVC"),
        13 => Some("AV1"),
        _ => Some("An unknown video codec"),
    };
    if let Some(codec) = codec {
        return Err(MediaRefusal::VideoCodecUnsupported { codec: codec.to_owned() });
    }
    match body.get(1) {
        Some(0) => Ok(VideoTag::Config(body.slice(body.len().min(5)..))),
        Some(1) => avc_frame(frame_type, body, 2),
        Some(_) => Ok(VideoTag::Nothing),
        None => Err(TRUNCATED),
    }
}

/// Enhanced RTMP v2, "Enhanced Video": the low four bits are the packet's type and a FourCC follows.
fn read_extended_video(first: u8, body: &Bytes) -> Result<VideoTag, MediaRefusal> {
    let frame_type = first >> 4 & 0x07;
    let packet_type = first & 0x0f;
    if frame_type == FRAME_COMMAND {
        return Ok(VideoTag::Nothing);
    }
    let fourcc: [u8; 4] = body.get(1..5).and_then(|bytes| bytes.try_into().ok()).ok_or(TRUNCATED)?;
    match (&fourcc, packet_type) {
        (b"avc1", 0) => Ok(VideoTag::Config(body.slice(5..))),
        (b"avc1", 1) => avc_frame(frame_type, body, 5),
        (b"avc1", 3) => {
            Ok(VideoTag::Frame { is_key: frame_type == FRAME_KEY, composition_ms: 0, data: body.slice(5..) })
        }
        (b"avc1", 2 | 4) => Ok(VideoTag::Nothing),
        (b"avc1", _) => Err(MediaRefusal::MalformedMedia { reason: "multitrack video" }),
        _ => Err(MediaRefusal::VideoCodecUnsupported { codec: codec_name(fourcc) }),
    }
}

/// A picture whose composition time, 24 bits with a sign, is at `offset`.
fn avc_frame(frame_type: u8, body: &Bytes, offset: usize) -> Result<VideoTag, MediaRefusal> {
    let Some(&[high, middle, low]) = body.get(offset..offset + 3).and_then(|bytes| <&[u8; 3]>::try_from(bytes).ok())
    else {
        return Err(TRUNCATED);
    };
    let composition_ms = i32::from_be_bytes([high, middle, low, 0]) >> 8;
    Ok(VideoTag::Frame { is_key: frame_type == FRAME_KEY, composition_ms, data: body.slice(offset + 3..) })
}

/// Reads a body of message type 8.
pub(crate) fn read_audio(body: &Bytes) -> Result<AudioTag, MediaRefusal> {
    let Some(&first) = body.first() else { return Ok(AudioTag::Nothing) };
    let codec = match first >> 4 {
        FORMAT_AAC => None,
        FORMAT_EXTENDED => return read_extended_audio(first, body),
        0 | 3 => Some("PCM"),
        1 => Some("ADPCM"),
        2 | 14 => Some("MP3"),
        4..=6 => Some("Nellymoser"),
        7 | 8 => Some("G.711"),
        11 => Some("Speex"),
        _ => Some("An unknown audio codec"),
    };
    if let Some(codec) = codec {
        return Err(MediaRefusal::AudioCodecUnsupported { codec: codec.to_owned() });
    }
    match body.get(1) {
        Some(0) => Ok(AudioTag::Config(body.slice(2..))),
        Some(1) => Ok(AudioTag::Frame(body.slice(2..))),
        Some(_) => Ok(AudioTag::Nothing),
        // An encoder that has no sound yet sends the first byte alone.
        None => Ok(AudioTag::Nothing),
    }
}

/// Enhanced RTMP v2, "Enhanced Audio".
fn read_extended_audio(first: u8, body: &Bytes) -> Result<AudioTag, MediaRefusal> {
    let fourcc: [u8; 4] = body.get(1..5).and_then(|bytes| bytes.try_into().ok()).ok_or(TRUNCATED)?;
    match (&fourcc, first & 0x0f) {
        (b"mp4a", 0) => Ok(AudioTag::Config(body.slice(5..))),
        (b"mp4a", 1) => Ok(AudioTag::Frame(body.slice(5..))),
        (b"mp4a", 2 | 4) => Ok(AudioTag::Nothing),
        (b"mp4a", _) => Err(MediaRefusal::MalformedMedia { reason: "multitrack audio" }),
        _ => Err(MediaRefusal::AudioCodecUnsupported { codec: codec_name(fourcc) }),
    }
}

fn codec_name(fourcc: [u8; 4]) -> String {
    match &fourcc {
        b"hvc1" | b"hev1" => "HEVC".to_owned(),
        b"vvc1" | b"vvi1" => "VVC".to_owned(),
        b"av01" => "AV1".to_owned(),
        b"vp08" => "VP8".to_owned(),
        b"vp09" => "VP9".to_owned(),
        b"Opus" => "Opus".to_owned(),
        b"fLaC" => "FLAC".to_owned(),
        b"ac-3" | b"ec-3" => "Dolby Digital".to_owned(),
        b".mp3" => "MP3".to_owned(),
        _ => format!("The codec “{}”", fourcc.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn video(bytes: &'static [u8]) -> Result<VideoTag, MediaRefusal> {
        read_video(&Bytes::from_static(bytes))
    }

    #[test]
    fn composition_times_have_a_sign() {
        for (bytes, expected) in [
            (&[0x27, 1, 0, 0, 66, 9][..], 66),
            (&[0x27, 1, 0xff, 0xff, 0xbe, 9], -66),
            (&[0x27, 1, 0x80, 0, 0, 9], -8_388_608),
        ] {
            let Ok(VideoTag::Frame { composition_ms, data, is_key }) = read_video(&Bytes::from_static(bytes)) else {
                panic!("not a frame");
            };
            assert_eq!((composition_ms, data.as_ref(), is_key), (expected, &[9][..], false));
        }
    }

    #[test]
    fn both_ways_to_send_h264_are_read() {
        assert_eq!(video(&[0x17, 0, 0, 0, 0, 1, 2]), Ok(VideoTag::Config(Bytes::from_static(&[1, 2]))));
        assert_eq!(video(b"\x90avc1\x01\x02"), Ok(VideoTag::Config(Bytes::from_static(&[1, 2]))));
        let frame =
            |composition_ms| Ok(VideoTag::Frame { is_key: true, composition_ms, data: Bytes::from_static(&[9]) });
        assert_eq!(video(&[0x17, 1, 0, 0, 3, 9]), frame(3));
        assert_eq!(video(b"\x91avc1\x00\x00\x03\x09"), frame(3));
        assert_eq!(video(b"\x93avc1\x09"), frame(0));
    }

    #[test]
    fn other_codecs_are_named() {
        for (bytes, name) in [
            (&b"\x90hvc1\x01"[..], "HEVC"),
            (b"\x1c\x00\x00\x00\x00\x01", "HEVC"),
            (b"\x90av01\x01", "AV1"),
            (b"\x12\x00", "Sorenson H.263"),
        ] {
            let refusal = video(bytes).unwrap_err();
            assert_eq!(refusal.code(), "video_codec_unsupported");
            assert!(
                refusal.to_string().starts_with(&format!("{name} is not supported yet: choose H.264")),
                "{refusal}"
            );
        }
        let refusal = read_audio(&Bytes::from_static(&[0x2f, 1, 2])).unwrap_err();
        assert_eq!(refusal.to_string(), "MP3 is not supported yet: choose AAC as the audio encoder");
        let refusal = read_audio(&Bytes::from_static(b"\x90Opus")).unwrap_err();
        assert_eq!(refusal, MediaRefusal::AudioCodecUnsupported { codec: "Opus".to_owned() });
    }

    #[test]
    fn empty_and_truncated_bodies_are_nothing_or_refused() {
        assert_eq!(video(&[]), Ok(VideoTag::Nothing));
        assert_eq!(read_audio(&Bytes::new()), Ok(AudioTag::Nothing));
        assert_eq!(read_audio(&Bytes::from_static(&[0xaf])), Ok(AudioTag::Nothing));
        for bytes in [&[0x17][..], &[0x17, 1], &[0x17, 1, 0, 0], &[0x90], b"\x90avc", b"\x91avc1\x00"] {
            assert!(read_video(&Bytes::from_static(bytes)).is_err(), "{bytes:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_body_makes_a_reader_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let body = Bytes::from(bytes);
            let _ = read_video(&body);
            let _ = read_audio(&body);
        }
    }
}
