//! Bodies of FLV tags, which are the bodies of RTMP messages 8 and 9: Adobe Flash Video File Format 10.1, annex E.4.2
//! and E.4.3, and the tags of Enhanced RTMP v2 as far as they carry H.264, HEVC, AV1 and AAC.

use bytes::Bytes;

use super::video::VideoCodec;
use crate::packager::MediaRefusal;

/// What a video message carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum VideoTag {
    /// The codec's configuration record.
    Config { codec: VideoCodec, record: Bytes },
    /// One picture: length-prefixed NAL units, or the open bitstream units of AV1.
    Frame {
        codec: VideoCodec,
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
        // Before Enhanced RTMP some encoders and servers gave HEVC and AV1 numbers of their own, and no two the same.
        2 => Some("Sorenson H.263"),
        3 | 6 => Some("Screen video"),
        4 | 5 => Some("VP6"),
        8 => Some("H.263"),
        9 => Some("MPEG-4 part 2"),
        12 => Some("HEVC in an older form"),
        13 => Some("AV1 in an older form"),
        _ => Some("An unknown video codec"),
    };
    if let Some(codec) = codec {
        return Err(MediaRefusal::VideoCodecUnsupported { codec: codec.to_owned() });
    }
    match body.get(1) {
        Some(0) => Ok(VideoTag::Config { codec: VideoCodec::Avc, record: body.slice(body.len().min(5)..) }),
        Some(1) => reordered_frame(VideoCodec::Avc, frame_type, body, 2),
        Some(_) => Ok(VideoTag::Nothing),
        None => Err(TRUNCATED),
    }
}

/// Types of packets that video and sound share.
const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const MODIFIER: u8 = 7;

/// Enhanced RTMP v2, "Enhanced Video": the low four bits are the packet's type and a FourCC follows.
fn read_extended_video(first: u8, body: &Bytes) -> Result<VideoTag, MediaRefusal> {
    const CODED_FRAMES_X: u8 = 3;
    const METADATA: u8 = 4;
    const MULTITRACK: u8 = 6;
    let frame_type = first >> 4 & 0x07;
    let (packet_type, at) = skip_modifiers(first & 0x0f, body)?;
    if frame_type == FRAME_COMMAND && packet_type != METADATA {
        return Ok(VideoTag::Nothing);
    }
    if packet_type == MULTITRACK {
        return Err(MediaRefusal::MalformedMedia { reason: "several pictures in one stream" });
    }
    let fourcc = fourcc(body, at)?;
    let codec = match &fourcc {
        b"avc1" => VideoCodec::Avc,
        b"hvc1" => VideoCodec::Hevc,
        b"av01" => VideoCodec::Av1,
        _ => return Err(MediaRefusal::VideoCodecUnsupported { codec: codec_name(fourcc) }),
    };
    let at = at + 4;
    match (packet_type, codec) {
        (SEQUENCE_START, _) => Ok(VideoTag::Config { codec, record: body.slice(at..) }),
        (CODED_FRAMES, VideoCodec::Avc | VideoCodec::Hevc) => reordered_frame(codec, frame_type, body, at),
        // AV1 is sent in the order in which it is shown, and has no composition time.
        (CODED_FRAMES | CODED_FRAMES_X, _) => Ok(frame(codec, frame_type, 0, body.slice(at..))),
        // Ends of sequence, colour for high dynamic range, and what is not known yet.
        _ => Ok(VideoTag::Nothing),
    }
}

/// Goes over the modifiers in front of a packet: nanoseconds to add to its time, of which nothing is made here, and
/// whatever else may come. The packet's own type, and where its content begins.
fn skip_modifiers(mut packet_type: u8, body: &Bytes) -> Result<(u8, usize), MediaRefusal> {
    let mut at = 1;
    while packet_type == MODIFIER {
        let mut length = usize::from(*body.get(at).ok_or(TRUNCATED)?) + 1;
        at += 1;
        if length == 256 {
            let long = body.get(at..at + 2).and_then(|bytes| <[u8; 2]>::try_from(bytes).ok()).ok_or(TRUNCATED)?;
            length = usize::from(u16::from_be_bytes(long)) + 1;
            at += 2;
        }
        at += length;
        packet_type = body.get(at).ok_or(TRUNCATED)? & 0x0f;
        at += 1;
    }
    Ok((packet_type, at))
}

fn fourcc(body: &Bytes, at: usize) -> Result<[u8; 4], MediaRefusal> {
    body.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).ok_or(TRUNCATED)
}

fn frame(codec: VideoCodec, frame_type: u8, composition_ms: i32, data: Bytes) -> VideoTag {
    VideoTag::Frame { codec, is_key: frame_type == FRAME_KEY, composition_ms, data }
}

/// A picture whose composition time, 24 bits with a sign, is at `offset`.
fn reordered_frame(codec: VideoCodec, frame_type: u8, body: &Bytes, offset: usize) -> Result<VideoTag, MediaRefusal> {
    let Some(&[high, middle, low]) = body.get(offset..offset + 3).and_then(|bytes| <&[u8; 3]>::try_from(bytes).ok())
    else {
        return Err(TRUNCATED);
    };
    let composition_ms = i32::from_be_bytes([high, middle, low, 0]) >> 8;
    Ok(frame(codec, frame_type, composition_ms, body.slice(offset + 3..)))
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
    const MULTITRACK: u8 = 5;
    let (packet_type, at) = skip_modifiers(first & 0x0f, body)?;
    if packet_type == MULTITRACK {
        return Err(MediaRefusal::MalformedMedia { reason: "several sounds in one stream" });
    }
    let fourcc = fourcc(body, at)?;
    if &fourcc != b"mp4a" {
        return Err(MediaRefusal::AudioCodecUnsupported { codec: codec_name(fourcc) });
    }
    let content = body.slice(at + 4..);
    Ok(match packet_type {
        SEQUENCE_START => AudioTag::Config(content),
        CODED_FRAMES => AudioTag::Frame(content),
        _ => AudioTag::Nothing,
    })
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
            (b"\xa1hvc1\xff\xff\xbe\x09", -66),
        ] {
            let Ok(VideoTag::Frame { composition_ms, data, is_key, .. }) = read_video(&Bytes::from_static(bytes))
            else {
                panic!("not a frame");
            };
            assert_eq!((composition_ms, data.as_ref(), is_key), (expected, &[9][..], false));
        }
    }

    fn config(codec: VideoCodec) -> Result<VideoTag, MediaRefusal> {
        Ok(VideoTag::Config { codec, record: Bytes::from_static(&[1, 2]) })
    }

    fn key(codec: VideoCodec, composition_ms: i32) -> Result<VideoTag, MediaRefusal> {
        Ok(VideoTag::Frame { codec, is_key: true, composition_ms, data: Bytes::from_static(&[9]) })
    }

    #[test]
    fn both_ways_to_send_h264_are_read() {
        let avc = VideoCodec::Avc;
        assert_eq!(video(&[0x17, 0, 0, 0, 0, 1, 2]), config(avc));
        assert_eq!(video(b"\x90avc1\x01\x02"), config(avc));
        assert_eq!(video(&[0x17, 1, 0, 0, 3, 9]), key(avc, 3));
        assert_eq!(video(b"\x91avc1\x00\x00\x03\x09"), key(avc, 3));
        assert_eq!(video(b"\x93avc1\x09"), key(avc, 0));
    }

    #[test]
    fn hevc_and_av1_are_read() {
        assert_eq!(video(b"\x90hvc1\x01\x02"), config(VideoCodec::Hevc));
        assert_eq!(video(b"\x91hvc1\x00\x00\x03\x09"), key(VideoCodec::Hevc, 3));
        assert_eq!(video(b"\x93hvc1\x09"), key(VideoCodec::Hevc, 0));
        assert_eq!(video(b"\x90av01\x01\x02"), config(VideoCodec::Av1));
        assert_eq!(video(b"\x91av01\x09"), key(VideoCodec::Av1, 0));
        // An end of sequence, metadata, a description as MPEG-2 TS has it, a command.
        for bytes in [&b"\x92av01"[..], b"\x94hvc1\x02", b"\x95av01\x80", b"\xd1\x00"] {
            assert_eq!(video(bytes), Ok(VideoTag::Nothing), "{bytes:?}");
        }
    }

    #[test]
    fn modifiers_are_gone_over() {
        // Three bytes of nanoseconds.
        assert_eq!(video(b"\x97\x02\x00\x00\x07\x01av01\x09"), key(VideoCodec::Av1, 0));
        let long = [&b"\x97\xff\x01\x00"[..], &[0; 257], b"\x01av01\x09"].concat();
        assert_eq!(read_video(&long.clone().into()), key(VideoCodec::Av1, 0));
        for length in 0..long.len() - 1 {
            let Ok(VideoTag::Nothing) = read_video(&Bytes::copy_from_slice(&long[..length])).or_else(|refusal| {
                assert_eq!(refusal, TRUNCATED);
                Ok::<_, MediaRefusal>(VideoTag::Nothing)
            }) else {
                panic!("something in {length} bytes");
            };
        }
        let sound = b"\x97\x02\x00\x00\x07\x01mp4a\x09";
        assert_eq!(read_audio(&Bytes::from_static(sound)), Ok(AudioTag::Frame(Bytes::from_static(&[9]))));
    }

    #[test]
    fn several_tracks_are_refused() {
        for refusal in [video(b"\x96\x01av01\x00\x09"), video(b"\x96\x11av01")] {
            assert_eq!(refusal.unwrap_err().code(), "malformed_media");
        }
        assert_eq!(read_audio(&Bytes::from_static(b"\x95\x01mp4a")).unwrap_err().code(), "malformed_media");
    }

    #[test]
    fn other_codecs_are_named() {
        for (bytes, name) in [
            (&b"\x90vvc1\x01"[..], "VVC"),
            (b"\x1c\x00\x00\x00\x00\x01", "HEVC in an older form"),
            (b"\x90vp09\x01", "VP9"),
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
