//! Movie fragments: `moof` and `mdat` of ISO/IEC 14496-12 section 8.8, one for each part of a segment.

use bytes::Bytes;

/// The picture's track.
pub(crate) const VIDEO_TRACK: u32 = 1;
/// The sound's track.
pub(crate) const AUDIO_TRACK: u32 = 2;
/// Ticks a second of the picture's track: a whole number for each millisecond and each usual frame rate.
pub(crate) const VIDEO_TIMESCALE: u32 = 90_000;

const FLAGS_SYNC: u32 = 0x0200_0000;
const FLAGS_DELTA: u32 = 0x0101_0000;

/// A picture, or a frame of sound. Times are in ticks of its track.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    pub duration: u32,
    /// Presentation time less decode time: may be negative, hence `trun` version 1.
    pub composition: i32,
    pub is_sync: bool,
    pub data: Bytes,
}

/// What one track has in a fragment: samples that follow each other without a gap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    /// Of the first sample.
    pub decode_time: u64,
    pub samples: &'a [Sample],
}

/// Writes a fragment. A track without samples is left out.
pub(crate) fn write(sequence: u32, video: Run<'_>, audio: Run<'_>) -> Bytes {
    let payload: usize = video.samples.iter().chain(audio.samples).map(|sample| sample.data.len()).sum();
    let tables = 160 + 16 * video.samples.len() + 8 * audio.samples.len();
    let mut out = Vec::with_capacity(tables + payload);
    let mut video_offset = None;
    let mut audio_offset = None;
    atom(&mut out, b"moof", |out| {
        full_atom(out, b"mfhd", 0, 0, |out| put_u32(out, sequence));
        if !video.samples.is_empty() {
            video_offset = Some(write_video(out, video));
        }
        if !audio.samples.is_empty() {
            audio_offset = Some(write_audio(out, audio));
        }
    });
    // Data offsets count from the start of the moof; the payload follows the eight bytes of the mdat's header.
    let mut at = out.len() + 8;
    for (offset, run) in [(video_offset, video), (audio_offset, audio)] {
        if let Some(offset) = offset {
            out[offset..offset + 4].copy_from_slice(&(at as u32).to_be_bytes());
            at += run.samples.iter().map(|sample| sample.data.len()).sum::<usize>();
        }
    }
    atom(&mut out, b"mdat", |out| {
        for sample in video.samples.iter().chain(audio.samples) {
            out.extend_from_slice(&sample.data);
        }
    });
    out.into()
}

/// Writes a fragment for a time in which nothing of the track begins. It has no run, so that its decode time, in ticks of
/// the track, is only where it is.
pub(crate) fn write_empty(track: u32, sequence: u32, decode_time: u64) -> Bytes {
    let mut out = Vec::with_capacity(80);
    atom(&mut out, b"moof", |out| {
        full_atom(out, b"mfhd", 0, 0, |out| put_u32(out, sequence));
        atom(out, b"traf", |out| {
            full_atom(out, b"tfhd", 0, 0x02_0000, |out| put_u32(out, track));
            full_atom(out, b"tfdt", 1, 0, |out| put_u64(out, decode_time));
        });
    });
    atom(&mut out, b"mdat", |_| {});
    out.into()
}

/// How long a fragment with this sound alone is.
pub(crate) fn audio_bytes(samples: &[Sample]) -> usize {
    const BOXES: usize = 116;
    match samples.is_empty() {
        true => 0,
        false => BOXES + samples.iter().map(|sample| 4 + sample.data.len()).sum::<usize>(),
    }
}

/// Returns where the data offset is to be written.
fn write_video(out: &mut Vec<u8>, run: Run<'_>) -> usize {
    let mut offset = 0;
    atom(out, b"traf", |out| {
        // default-base-is-moof
        full_atom(out, b"tfhd", 0, 0x02_0000, |out| put_u32(out, VIDEO_TRACK));
        full_atom(out, b"tfdt", 1, 0, |out| put_u64(out, run.decode_time));
        // data offset; duration, size, flags and composition time of each sample
        full_atom(out, b"trun", 1, 0x00_0f01, |out| {
            put_u32(out, run.samples.len() as u32);
            offset = out.len();
            put_u32(out, 0);
            for sample in run.samples {
                put_u32(out, sample.duration);
                put_u32(out, sample.data.len() as u32);
                put_u32(out, if sample.is_sync { FLAGS_SYNC } else { FLAGS_DELTA });
                put_u32(out, sample.composition as u32);
            }
        });
    });
    offset
}

/// Returns where the data offset is to be written.
fn write_audio(out: &mut Vec<u8>, run: Run<'_>) -> usize {
    let default_duration = run.samples.first().map_or(0, |sample| sample.duration);
    let is_even = run.samples.iter().all(|sample| sample.duration == default_duration);
    let mut offset = 0;
    atom(out, b"traf", |out| {
        // default-base-is-moof, default duration, default flags
        full_atom(out, b"tfhd", 0, 0x02_0028, |out| {
            put_u32(out, AUDIO_TRACK);
            put_u32(out, default_duration);
            put_u32(out, FLAGS_SYNC);
        });
        full_atom(out, b"tfdt", 1, 0, |out| put_u64(out, run.decode_time));
        // data offset, size of each sample, and its duration where they differ
        full_atom(out, b"trun", 1, if is_even { 0x00_0201 } else { 0x00_0301 }, |out| {
            put_u32(out, run.samples.len() as u32);
            offset = out.len();
            put_u32(out, 0);
            for sample in run.samples {
                if !is_even {
                    put_u32(out, sample.duration);
                }
                put_u32(out, sample.data.len() as u32);
            }
        });
    });
    offset
}

/// Writes a box: its length is known when its content is written.
pub(super) fn atom(out: &mut Vec<u8>, name: &[u8; 4], content: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    put_u32(out, 0);
    out.extend_from_slice(name);
    content(out);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Writes a box with version and flags.
pub(super) fn full_atom(
    out: &mut Vec<u8>,
    name: &[u8; 4],
    version: u8,
    flags: u32,
    content: impl FnOnce(&mut Vec<u8>),
) {
    atom(out, name, |out| {
        put_u32(out, u32::from(version) << 24 | flags);
        content(out);
    });
}

pub(super) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u32(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_be_bytes());
}

pub(super) fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_be_bytes());
}
