//! Reads the times of one track out of fragments of [`super::fragment`].

use super::{
    fragment::VIDEO_TRACK,
    split::{Atom, atoms},
};

/// When one track of a fragment, or of several that follow each other, is decoded and presented, in ticks of the track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Times {
    /// When the first sample is decoded.
    pub decode: u64,
    /// When the first to be seen is presented.
    pub presents: u64,
    /// Of all samples together.
    pub duration: u64,
}

impl Times {
    /// Of these fragments; `None` where there is nothing of the track in them, or they are not ours.
    pub(crate) fn read(fragments: &[u8], track: u32) -> Option<Self> {
        atoms(fragments)
            .filter(|atom| atom.name == b"moof")
            .flat_map(|moof| moof.children(0))
            .filter(|atom| atom.name == b"traf")
            .filter_map(|traf| {
                let header = traf.child(b"tfhd")?;
                if header.u32_at(4) != Some(track) {
                    return None;
                }
                let time = traf.child(b"tfdt")?;
                let decode = u64::from(time.u32_at(4)?) << 32 | u64::from(time.u32_at(8)?);
                let (duration, earliest) = samples(header, traf.child(b"trun")?)?;
                Some(Self { decode, presents: decode.saturating_add_signed(earliest), duration })
            })
            .reduce(Self::and)
    }

    /// With what follows.
    #[must_use]
    pub(crate) fn and(self, next: Self) -> Self {
        Self {
            decode: self.decode,
            presents: self.presents.min(next.presents),
            duration: (next.decode + next.duration).saturating_sub(self.decode),
        }
    }
}

/// Ticks a second of a track, from an initialisation segment; `None` where there is no such track.
pub(crate) fn timescale(init: &[u8], track: u32) -> Option<u32> {
    atoms(init)
        .filter(|atom| atom.name == b"moov")
        .flat_map(|moov| moov.children(0))
        .filter(|atom| atom.name == b"trak")
        .find(|trak| trak.child(b"tkhd").and_then(|header| header.u32_at(12)) == Some(track))
        .and_then(|trak| trak.child(b"mdia")?.child(b"mdhd")?.u32_at(12))
}

/// When each picture of these fragments is decoded and presented, in ticks of the track and in the order in which they are
/// decoded; nothing of what is not ours.
pub(crate) fn pictures(fragments: &[u8]) -> impl Iterator<Item = (i64, i64)> {
    atoms(fragments)
        .filter(|atom| atom.name == b"moof")
        .flat_map(|moof| moof.children(0))
        .filter(|atom| atom.name == b"traf")
        .filter_map(of_pictures)
        .flatten()
}

/// Of one run, as [`super::fragment`] writes it: each picture has its duration, its size, its flags and its composition time.
fn of_pictures(traf: Atom<'_>) -> Option<impl Iterator<Item = (i64, i64)>> {
    const FIELDS: u32 = 0x00_0f01;
    if traf.child(b"tfhd")?.u32_at(4) != Some(VIDEO_TRACK) {
        return None;
    }
    let (time, run) = (traf.child(b"tfdt")?, traf.child(b"trun")?);
    let mut decode = i64::try_from(u64::from(time.u32_at(4)?) << 32 | u64::from(time.u32_at(8)?)).ok()?;
    let count =
        usize::try_from(run.u32_at(4)?).ok().filter(|_| run.u32_at(0).map(|head| head & 0xff_ffff) == Some(FIELDS))?;
    Some((0..count).map_while(move |picture| {
        let field = |at: usize| run.u32_at(12 + 4 * (picture * 4 + at));
        let times = (decode, decode.checked_add(i64::from(field(3)?.cast_signed()))?);
        decode = decode.checked_add(i64::from(field(0)?))?;
        Some(times)
    }))
}

/// How long a run's samples last, and when the first is presented after the first is decoded.
fn samples(header: Atom<'_>, run: Atom<'_>) -> Option<(u64, i64)> {
    const DEFAULT_DURATION: u32 = 0x8;
    const FIRST_FLAGS: u32 = 0x4;
    let flags = run.u32_at(0)? & 0xff_ffff;
    let usual = match header.u32_at(0)? & DEFAULT_DURATION {
        0 => None,
        // Ours have neither a base nor a description before it.
        _ => Some(header.u32_at(8)?),
    };
    let count = usize::try_from(run.u32_at(4)?).ok()?;
    let fields = (flags & 0xf00).count_ones() as usize;
    let has = |flag: u32| flags & flag != 0;
    if !has(1) || has(FIRST_FLAGS) {
        return None;
    }
    let composition_at = (flags & 0x700).count_ones() as usize;
    let (mut time, mut earliest) = (0_u64, i64::MAX);
    for sample in 0..count {
        let field = |at: usize| run.u32_at(12 + 4 * (sample * fields + at));
        let composition = if has(0x800) { field(composition_at)?.cast_signed() } else { 0 };
        earliest = earliest.min(i64::try_from(time).ok()? + i64::from(composition));
        time += u64::from(if has(0x100) { field(0)? } else { usual? });
    }
    (count > 0).then_some((time, earliest))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::media::fragment::{self, AUDIO_TRACK, Run, Sample, VIDEO_TRACK};

    fn sample(duration: u32, composition: i32) -> Sample {
        Sample { duration, composition, is_sync: false, data: Bytes::from_static(b"x") }
    }

    #[test]
    fn each_track_has_times_of_its_own() {
        let video = [sample(3_000, 6_000), sample(3_000, 9_000), sample(3_300, -3_000)];
        let audio = [sample(1_024, 0), sample(1_024, 0)];
        let first = fragment::write(
            1,
            Run { decode_time: 90_000, samples: &video },
            Run { decode_time: 48_000, samples: &audio },
        );
        let read = |bytes: &[u8], track| Times::read(bytes, track);
        let of_video = Times { decode: 90_000, presents: 93_000, duration: 9_300 };
        assert_eq!(read(&first, VIDEO_TRACK), Some(of_video));
        assert_eq!(read(&first, AUDIO_TRACK), Some(Times { decode: 48_000, presents: 48_000, duration: 2_048 }));
        let second =
            fragment::write(2, Run { decode_time: 99_300, samples: &video }, Run { decode_time: 0, samples: &[] });
        let both = [&first[..], &second[..]].concat();
        assert_eq!(read(&both, VIDEO_TRACK), Some(Times { duration: 18_600, ..of_video }));
        assert_eq!(read(&second, AUDIO_TRACK), None);
        let each: Vec<_> = pictures(&both).collect();
        assert_eq!(each[..3], [(90_000, 96_000), (93_000, 102_000), (96_000, 93_000)]);
        assert_eq!((each.len(), each[3]), (6, (99_300, 105_300)));
        assert_eq!(pictures(&first[..40]).count(), 0);
        assert_eq!(read(&first[..40], VIDEO_TRACK), None);
    }
}
