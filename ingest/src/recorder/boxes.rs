//! The boxes that make one file of a recording's segments: an index in front of them (`sidx`, ISO/IEC 14496-12 section 8.16.3)
//! and one behind them (`mfra`, section 8.8.9), so that a player finds any moment of a long file with two reads. The segments
//! keep their pictures and their sound; only their times are moved to where they are in the file.

use crate::media::fragment::{AUDIO_TRACK, VIDEO_TIMESCALE};

/// A segment as it lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Of the picture's first sample, in ticks of [`VIDEO_TIMESCALE`].
    pub decode_time: u64,
    pub duration_ms: u32,
    pub size_bytes: u64,
    /// Whether it begins with a key frame.
    pub is_key: bool,
}

/// How many ticks a second the sound's track has, by the initialisation segment; `None` without sound.
pub(crate) fn sound_timescale(init: &[u8]) -> Option<u32> {
    let moov = children(init).find(|(kind, _)| *kind == b"moov")?.1;
    children(moov).filter(|(kind, _)| *kind == b"trak").find_map(|(_, trak)| {
        let tkhd = children(trak).find(|(kind, _)| *kind == b"tkhd")?.1;
        let mdia = children(trak).find(|(kind, _)| *kind == b"mdia")?.1;
        let mdhd = children(mdia).find(|(kind, _)| *kind == b"mdhd")?.1;
        // Behind two times, which take 4 or 8 bytes each.
        let (id, scale) = if tkhd.first()? == &0 { (12, 12) } else { (20, 20) };
        let number = |bytes: &[u8], at: usize| Some(u32::from_be_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        (number(tkhd, id)? == AUDIO_TRACK).then(|| number(mdhd, scale)).flatten()
    })
}

/// Moves all times of a segment by so many ticks of the picture's track, in place; never before zero.
pub(crate) fn shift(segment: &mut [u8], ticks: i64, sound_timescale: Option<u32>) {
    let sound_ticks = i128::from(ticks) * i128::from(sound_timescale.unwrap_or(0)) / i128::from(VIDEO_TIMESCALE);
    let mut places = Vec::new();
    for_each(segment, 0, b"moof", &mut |moof, at| {
        for_each(moof, at, b"traf", &mut |traf, at| {
            let tfhd = children(traf).find(|(kind, _)| *kind == b"tfhd").and_then(|(_, tfhd)| tfhd.get(4..8));
            let is_sound = tfhd.is_some_and(|track| track == AUDIO_TRACK.to_be_bytes());
            for_each(traf, at, b"tfdt", &mut |tfdt, at| places.push((at, is_sound, tfdt.first() == Some(&1))));
        });
    });
    for (at, is_sound, is_long) in places {
        let by = if is_sound { sound_ticks } else { i128::from(ticks) };
        let length = if is_long { 8 } else { 4 };
        let Some(field) = segment.get_mut(at + 4..at + 4 + length) else { continue };
        let mut time = [0; 8];
        time[8 - length..].copy_from_slice(field);
        let moved = (i128::from(u64::from_be_bytes(time)) + by).max(0);
        let moved = u64::try_from(moved).unwrap_or(u64::MAX).to_be_bytes();
        field.copy_from_slice(&moved[8 - length..]);
    }
}

/// Hands on the content of each box of a kind, and where that begins.
fn for_each(bytes: &[u8], begins: usize, wanted: &[u8; 4], act: &mut dyn FnMut(&[u8], usize)) {
    let mut at = begins;
    for (kind, content) in children(bytes) {
        if kind == wanted {
            act(content, at + 8);
        }
        at += 8 + content.len();
    }
}

/// The boxes in some bytes, up to the first that is not whole.
fn children(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (size, rest) = bytes.split_first_chunk::<4>()?;
        let (kind, _) = rest.split_first_chunk::<4>()?;
        let size = u32::from_be_bytes(*size) as usize;
        let content = bytes.get(8..size)?;
        bytes = &bytes[size..];
        Some((kind, content))
    })
}

/// The index in front of the segments. One that is longer than `u16` can say names as many as it can: players find the rest
/// by the boxes themselves.
///
/// Its times are in ticks of the track itself: ffmpeg takes them for that whatever the box says.
pub(crate) fn sidx(segments: &[Placed], (track, timescale): (u32, u32)) -> Vec<u8> {
    let segments = &segments[..segments.len().min(usize::from(u16::MAX))];
    let mut out = Vec::with_capacity(40 + 12 * segments.len());
    put_u32(&mut out, (40 + 12 * segments.len()) as u32);
    out.extend_from_slice(b"sidx");
    put_u32(&mut out, 0x0100_0000);
    put_u32(&mut out, track);
    put_u32(&mut out, timescale);
    put_u64(&mut out, segments.first().map_or(0, |first| in_ticks(first.decode_time, timescale)));
    // The first segment follows at once.
    put_u64(&mut out, 0);
    put_u32(&mut out, segments.len() as u32);
    for (at, segment) in segments.iter().enumerate() {
        put_u32(&mut out, (segment.size_bytes & 0x7fff_ffff) as u32);
        // To where the next one begins, so that times stay right where something is missing.
        let ticks = u64::from(segment.duration_ms) * u64::from(VIDEO_TIMESCALE / 1_000);
        let until_next = segments.get(at + 1).and_then(|next| next.decode_time.checked_sub(segment.decode_time));
        let lasts = until_next.filter(|ticks| *ticks > 0).unwrap_or(ticks);
        let begins = in_ticks(segment.decode_time, timescale);
        let ends = in_ticks(segment.decode_time.saturating_add(lasts), timescale);
        put_u32(&mut out, u32::try_from(ends - begins).unwrap_or(u32::MAX));
        // Begins with a stream access point of type 1.
        put_u32(&mut out, if segment.is_key { 0x9000_0000 } else { 0 });
    }
    out
}

/// A time of the picture's track in ticks of another.
fn in_ticks(time: u64, timescale: u32) -> u64 {
    let ticks = u128::from(time) * u128::from(timescale) / u128::from(VIDEO_TIMESCALE);
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

/// How long [`mfra`] is for so many segments, in bytes.
fn mfra_len(segments: &[Placed]) -> u64 {
    8 + 24 + 19 * segments.iter().filter(|segment| segment.is_key).count() as u64 + 16
}

/// The index behind the segments, the first of which begins at `first_offset` of the file.
pub(crate) fn mfra(segments: &[Placed], first_offset: u64, (track, timescale): (u32, u32)) -> Vec<u8> {
    let keys = segments.iter().filter(|segment| segment.is_key).count();
    let length = mfra_len(segments) as u32;
    let mut out = Vec::with_capacity(length as usize);
    put_u32(&mut out, length);
    out.extend_from_slice(b"mfra");
    put_u32(&mut out, (24 + 19 * keys) as u32);
    out.extend_from_slice(b"tfra");
    put_u32(&mut out, 0x0100_0000);
    put_u32(&mut out, track);
    // Numbers of traf, trun and sample take a byte each.
    put_u32(&mut out, 0);
    put_u32(&mut out, keys as u32);
    let mut offset = first_offset;
    for segment in segments {
        if segment.is_key {
            put_u64(&mut out, in_ticks(segment.decode_time, timescale));
            put_u64(&mut out, offset);
            out.extend_from_slice(&[1, 1, 1]);
        }
        offset += segment.size_bytes;
    }
    put_u32(&mut out, 16);
    out.extend_from_slice(b"mfro");
    put_u32(&mut out, 0);
    put_u32(&mut out, length);
    out
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(&number.to_be_bytes());
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::{
        fragment::{self, Run, Sample, VIDEO_TRACK},
        times::Times,
    };

    #[test]
    fn boxes_say_how_long_they_are() {
        for count in [0, 1, 7] {
            let placed: Vec<Placed> = (0..count)
                .map(|at| Placed {
                    decode_time: at * 360_000,
                    duration_ms: 4_000,
                    size_bytes: 1_000,
                    is_key: at % 2 == 0,
                })
                .collect();
            assert_eq!(mfra(&placed, 700, (VIDEO_TRACK, VIDEO_TIMESCALE)).len() as u64, mfra_len(&placed));
            let front = sidx(&placed, (VIDEO_TRACK, VIDEO_TIMESCALE));
            assert_eq!(front[..4], u32::try_from(front.len()).unwrap().to_be_bytes());
        }
    }

    #[test]
    fn times_are_moved_and_nothing_else() {
        let sample = Sample { duration: 3_000, composition: 0, is_sync: true, data: Bytes::from(vec![1; 30]) };
        let samples = [sample];
        let write = |video, audio| {
            let run = |decode_time| Run { decode_time, samples: &samples };
            [fragment::write(1, run(video), run(audio)), fragment::write(2, run(video + 3_000), run(audio + 1_600))]
                .concat()
        };
        let mut segment = write(900_000, 480_000);
        shift(&mut segment, -810_000, Some(48_000));
        assert_eq!(segment, write(90_000, 48_000));
        // Not before the beginning.
        shift(&mut segment, -900_000, Some(48_000));
        let begins = Times::read(&segment, VIDEO_TRACK).map(|times| times.decode);
        assert_eq!(begins, Some(0));
        let mut broken = vec![0; 20];
        shift(&mut broken, 5, None);
        assert_eq!(broken, [0; 20]);
    }
}
