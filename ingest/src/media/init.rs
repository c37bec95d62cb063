//! The initialisation segment: `ftyp` and `moov` of ISO/IEC 14496-12, with the sample entries of ISO/IEC 14496-15
//! (`avc1`, `hvc1`), of the AV1 Codec ISO Media File Format Binding (`av01`) and of ISO/IEC 14496-14 (`mp4a`).

use bytes::Bytes;

use super::{
    aac::AacConfig,
    fragment::{AUDIO_TRACK, VIDEO_TIMESCALE, VIDEO_TRACK, atom, full_atom, put_u16, put_u32},
    video::VideoConfig,
};

/// Writes the initialisation segment of a picture, and of a sound beside it.
pub(crate) fn write(video: &VideoConfig, audio: Option<&AacConfig>) -> Bytes {
    write_tracks(Some(video), audio)
}

/// Writes the initialisation segment of a sound without a picture.
pub(crate) fn write_sound(audio: &AacConfig) -> Bytes {
    write_tracks(None, Some(audio))
}

fn write_tracks(video: Option<&VideoConfig>, audio: Option<&AacConfig>) -> Bytes {
    let mut out = Vec::with_capacity(1_536);
    atom(&mut out, b"ftyp", |out| {
        out.extend_from_slice(b"iso6");
        put_u32(out, 0);
        out.extend_from_slice(b"iso6iso5mp41");
    });
    atom(&mut out, b"moov", |out| {
        full_atom(out, b"mvhd", 0, 0, |out| {
            put_u32s(out, &[0, 0, 1_000, 0, 0x0001_0000]);
            put_u16(out, 0x0100);
            put_zeros(out, 10);
            put_matrix(out);
            put_zeros(out, 24);
            put_u32(out, AUDIO_TRACK + 1);
        });
        if let Some(video) = video {
            write_video_track(out, video);
        }
        if let Some(audio) = audio {
            write_audio_track(out, audio);
        }
        atom(out, b"mvex", |out| {
            for track in [video.map(|_| VIDEO_TRACK), audio.map(|_| AUDIO_TRACK)].into_iter().flatten() {
                full_atom(out, b"trex", 0, 0, |out| put_u32s(out, &[track, 1, 0, 0, 0]));
            }
        });
    });
    out.into()
}

fn write_video_track(out: &mut Vec<u8>, video: &VideoConfig) {
    atom(out, b"trak", |out| {
        write_track_header(out, VIDEO_TRACK, 0, video.width(), video.height());
        atom(out, b"mdia", |out| {
            write_media_header(out, VIDEO_TIMESCALE, b"vide", b"Picture\0");
            atom(out, b"minf", |out| {
                full_atom(out, b"vmhd", 0, 1, |out| put_zeros(out, 8));
                write_data_information(out);
                write_sample_table(out, |out| {
                    let (entry, configuration, record) = video.sample_entry();
                    atom(out, entry, |out| {
                        put_zeros(out, 6);
                        put_u16(out, 1);
                        put_zeros(out, 16);
                        put_u16(out, video.width() as u16);
                        put_u16(out, video.height() as u16);
                        put_u32s(out, &[0x0048_0000, 0x0048_0000, 0]);
                        put_u16(out, 1);
                        put_zeros(out, 32);
                        put_u16(out, 24);
                        put_u16(out, 0xffff);
                        atom(out, configuration, |out| out.extend_from_slice(record));
                    });
                });
            });
        });
    });
}

fn write_audio_track(out: &mut Vec<u8>, audio: &AacConfig) {
    atom(out, b"trak", |out| {
        write_track_header(out, AUDIO_TRACK, 0x0100, 0, 0);
        atom(out, b"mdia", |out| {
            write_media_header(out, audio.sample_rate, b"soun", b"Sound\0");
            atom(out, b"minf", |out| {
                full_atom(out, b"smhd", 0, 0, |out| put_zeros(out, 4));
                write_data_information(out);
                write_sample_table(out, |out| {
                    atom(out, b"mp4a", |out| {
                        put_zeros(out, 6);
                        put_u16(out, 1);
                        put_zeros(out, 8);
                        put_u16(out, u16::from(audio.channels));
                        put_u16(out, 16);
                        put_zeros(out, 4);
                        // 16.16 fixed point, which has no room for more than 65,535 Hz.
                        put_u16(out, u16::try_from(audio.sample_rate).unwrap_or(0));
                        put_u16(out, 0);
                        full_atom(out, b"esds", 0, 0, |out| write_descriptors(out, audio));
                    });
                });
            });
        });
    });
}

/// ES, decoder configuration and sync layer descriptors, ISO/IEC 14496-1 section 7.2.6. Each is shorter than 128 bytes,
/// since the configuration is at most 64 long, so that one byte holds its length.
fn write_descriptors(out: &mut Vec<u8>, audio: &AacConfig) {
    let specific = audio.record.len() as u8;
    let decoder = 13 + 2 + specific;
    out.extend_from_slice(&[3, 3 + 2 + decoder + 3]);
    put_u16(out, AUDIO_TRACK as u16);
    out.push(0);
    // MPEG-4 audio, an audio stream; buffer size and bit rates are unknown.
    out.extend_from_slice(&[4, decoder, 0x40, 0x15]);
    put_zeros(out, 11);
    out.extend_from_slice(&[5, specific]);
    out.extend_from_slice(&audio.record);
    out.extend_from_slice(&[6, 1, 2]);
}

fn write_track_header(out: &mut Vec<u8>, track: u32, volume: u16, width: u32, height: u32) {
    // Enabled, in the movie, in the preview.
    full_atom(out, b"tkhd", 0, 7, |out| {
        put_u32s(out, &[0, 0, track, 0, 0]);
        put_zeros(out, 12);
        put_u16(out, volume);
        put_u16(out, 0);
        put_matrix(out);
        put_u32s(out, &[width << 16, height << 16]);
    });
}

fn write_media_header(out: &mut Vec<u8>, timescale: u32, handler: &[u8; 4], name: &[u8]) {
    full_atom(out, b"mdhd", 0, 0, |out| {
        put_u32s(out, &[0, 0, timescale, 0]);
        // "und", five bits a letter.
        put_u16(out, 0x55c4);
        put_u16(out, 0);
    });
    full_atom(out, b"hdlr", 0, 0, |out| {
        put_u32(out, 0);
        out.extend_from_slice(handler);
        put_zeros(out, 12);
        out.extend_from_slice(name);
    });
}

fn write_data_information(out: &mut Vec<u8>) {
    atom(out, b"dinf", |out| {
        full_atom(out, b"dref", 0, 0, |out| {
            put_u32(out, 1);
            // The data is in this file.
            full_atom(out, b"url ", 0, 1, |_| {});
        });
    });
}

/// The sample entry, and the tables that are empty where fragments have the samples.
fn write_sample_table(out: &mut Vec<u8>, entry: impl FnOnce(&mut Vec<u8>)) {
    atom(out, b"stbl", |out| {
        full_atom(out, b"stsd", 0, 0, |out| {
            put_u32(out, 1);
            entry(out);
        });
        full_atom(out, b"stts", 0, 0, |out| put_u32(out, 0));
        full_atom(out, b"stsc", 0, 0, |out| put_u32(out, 0));
        full_atom(out, b"stsz", 0, 0, |out| put_u32s(out, &[0, 0]));
        full_atom(out, b"stco", 0, 0, |out| put_u32(out, 0));
    });
}

fn put_matrix(out: &mut Vec<u8>) {
    put_u32s(out, &[0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000]);
}

fn put_u32s(out: &mut Vec<u8>, values: &[u32]) {
    for &value in values {
        put_u32(out, value);
    }
}

fn put_zeros(out: &mut Vec<u8>, count: usize) {
    out.resize(out.len() + count, 0);
}
