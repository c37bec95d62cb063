//! Takes picture and sound apart again: from fragments and initialisation segments of [`super::fragment`] and
//! [`super::init`], which have both tracks, ones with a single track. For players that want them apart, and only when
//! they ask.

use bytes::{Bytes, BytesMut};

use super::fragment::{AUDIO_TRACK, VIDEO_TRACK};

/// The picture of a part, or of a segment of several fragments; `None` when there is none in it.
pub(crate) fn video_only(fragments: &[u8]) -> Option<Bytes> {
    fragments_of(fragments, VIDEO_TRACK)
}

/// The sound of a part, or of a segment of several fragments; `None` when there is none in it.
pub(crate) fn audio_only(fragments: &[u8]) -> Option<Bytes> {
    fragments_of(fragments, AUDIO_TRACK)
}

/// The initialisation segment of the picture alone; `None` when there is no picture.
pub(crate) fn init_video_only(init: &[u8]) -> Option<Bytes> {
    init_of(init, VIDEO_TRACK)
}

/// The initialisation segment of the sound alone; `None` when there is no sound.
pub(crate) fn init_audio_only(init: &[u8]) -> Option<Bytes> {
    init_of(init, AUDIO_TRACK)
}

/// A box with its header.
#[derive(Clone, Copy)]
pub(super) struct Atom<'a> {
    pub(super) name: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Atom<'a> {
    /// What follows the first `skipped` bytes of the content.
    pub(super) fn children(self, skipped: usize) -> impl Iterator<Item = Atom<'a>> {
        atoms(self.whole.get(8 + skipped..).unwrap_or_default())
    }

    pub(super) fn child(self, wanted: &[u8; 4]) -> Option<Atom<'a>> {
        self.children(0).find(|atom| atom.name == wanted)
    }

    /// A field of the content.
    pub(super) fn u32_at(self, at: usize) -> Option<u32> {
        let field = self.whole.get(8 + at..12 + at)?;
        Some(u32::from_be_bytes(field.try_into().ok()?))
    }
}

/// Boxes with a length of 32 bits, as ours are. Ends where a length does not fit.
pub(super) fn atoms(mut bytes: &[u8]) -> impl Iterator<Item = Atom<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
        let (whole, rest) = bytes.split_at_checked(usize::try_from(length).ok()?)?;
        let name = whole.get(4..8)?;
        bytes = rest;
        Some(Atom { name, whole })
    })
}

fn fragments_of(bytes: &[u8], track: u32) -> Option<Bytes> {
    let mut out = BytesMut::new();
    let mut at = 0;
    while at < bytes.len() {
        let mut pair = atoms(bytes.get(at..)?);
        let (moof, mdat) = (pair.next()?, pair.next()?);
        if moof.name != b"moof" || mdat.name != b"mdat" {
            return None;
        }
        let length = moof.whole.len() + mdat.whole.len();
        write_fragment(&mut out, moof, bytes.get(at..at + length)?, track)?;
        at += length;
    }
    (!out.is_empty()).then(|| out.freeze())
}

/// Writes the track's half of a fragment; nothing where the fragment has nothing of it. `None` for what is not ours.
fn write_fragment(out: &mut BytesMut, moof: Atom<'_>, fragment: &[u8], track: u32) -> Option<()> {
    let is_wanted = |traf: &Atom<'_>| traf.child(b"tfhd").and_then(|tfhd| tfhd.u32_at(4)) == Some(track);
    let Some(traf) = moof.children(0).filter(|atom| atom.name == b"traf").find(is_wanted) else { return Some(()) };
    // A fragment for a time in which nothing begins has a track, and nothing in it.
    let Some(run) = traf.child(b"trun") else { return Some(()) };
    let header = moof.child(b"mfhd")?;
    let payload = payload_of(run, fragment)?;
    let moof_length = 8 + header.whole.len() + traf.whole.len();
    out.reserve(moof_length + 8 + payload.len());
    put_header(out, b"moof", moof_length)?;
    out.extend_from_slice(header.whole);
    let traf_at = out.len();
    out.extend_from_slice(traf.whole);
    // Where the run's data begins, counted from the start of the moof.
    let run_at = run.whole.as_ptr() as usize - traf.whole.as_ptr() as usize;
    let offset_at = traf_at + run_at + 16;
    let offset = u32::try_from(moof_length + 8).ok()?;
    out.get_mut(offset_at..offset_at + 4)?.copy_from_slice(&offset.to_be_bytes());
    put_header(out, b"mdat", 8 + payload.len())?;
    out.extend_from_slice(payload);
    Some(())
}

/// The bytes of a run's samples.
fn payload_of<'a>(run: Atom<'_>, fragment: &'a [u8]) -> Option<&'a [u8]> {
    const DATA_OFFSET: u32 = 0x001;
    const SAMPLE_SIZE: u32 = 0x200;
    let flags = run.u32_at(0)? & 0xff_ffff;
    if flags & DATA_OFFSET == 0 || flags & 0x004 != 0 || flags & SAMPLE_SIZE == 0 {
        return None;
    }
    let count = usize::try_from(run.u32_at(4)?).ok()?;
    // Duration, size, flags and composition time, each where its flag says so.
    let fields = (flags & 0xf00).count_ones() as usize;
    let before_size = usize::from(flags & 0x100 != 0);
    let mut length = 0;
    for sample in 0..count {
        length += usize::try_from(run.u32_at(12 + 4 * (sample * fields + before_size))?).ok()?;
    }
    let start = usize::try_from(run.u32_at(8)?).ok()?;
    fragment.get(start..start.checked_add(length)?)
}

fn init_of(init: &[u8], track: u32) -> Option<Bytes> {
    let moov = atoms(init).find(|atom| atom.name == b"moov")?;
    let is_other = |atom: &Atom<'_>| match atom.name {
        b"trak" => atom.child(b"tkhd").and_then(|header| header.u32_at(12)) != Some(track),
        b"trex" => atom.u32_at(4) != Some(track),
        _ => false,
    };
    if !moov.children(0).any(|atom| atom.name == b"trak" && !is_other(&atom)) {
        return None;
    }
    let mut content = BytesMut::with_capacity(init.len());
    for atom in moov.children(0).filter(|atom| !is_other(atom)) {
        if atom.name == b"mvex" {
            let kept: Vec<_> = atom.children(0).filter(|atom| !is_other(atom)).collect();
            put_header(&mut content, b"mvex", 8 + kept.iter().map(|atom| atom.whole.len()).sum::<usize>())?;
            kept.iter().for_each(|atom| content.extend_from_slice(atom.whole));
        } else {
            content.extend_from_slice(atom.whole);
        }
    }
    let mut out = BytesMut::with_capacity(init.len());
    for atom in atoms(init) {
        if atom.name == b"moov" {
            put_header(&mut out, b"moov", 8 + content.len())?;
            out.extend_from_slice(&content);
        } else {
            out.extend_from_slice(atom.whole);
        }
    }
    Some(out.freeze())
}

fn put_header(out: &mut BytesMut, name: &[u8; 4], length: usize) -> Option<()> {
    out.extend_from_slice(&u32::try_from(length).ok()?.to_be_bytes());
    out.extend_from_slice(name);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{
        aac::AacConfig,
        fragment::{self, Run, Sample},
        video::{VideoCodec, VideoConfig},
    };

    fn samples(count: u8, duration: u32, first: u8) -> Vec<Sample> {
        let sample = |index| Sample {
            duration,
            composition: 0,
            is_sync: index == 0,
            data: Bytes::from(vec![first + index; usize::from(index) + 3]),
        };
        (0..count).map(sample).collect()
    }

    fn both(video: &[Sample], audio: &[Sample]) -> Bytes {
        fragment::write(7, Run { decode_time: 900, samples: video }, Run { decode_time: 480, samples: audio })
    }

    #[test]
    fn a_track_alone_is_as_if_it_had_been_written_alone() {
        let (video, audio) = (samples(5, 3_000, 10), samples(9, 1_024, 100));
        let mixed = both(&video, &audio);
        assert_eq!(video_only(&mixed), Some(both(&video, &[])));
        assert_eq!(audio_only(&mixed), Some(both(&[], &audio)));
        let mut uneven = audio;
        uneven[3].duration = 4_096;
        assert_eq!(audio_only(&both(&video, &uneven)), Some(both(&[], &uneven)));
    }

    #[test]
    fn a_segment_is_the_sum_of_its_parts() {
        let parts = [both(&samples(2, 3_000, 1), &samples(3, 1_024, 9)), both(&samples(2, 3_000, 5), &[])];
        let whole = Bytes::from(parts.concat());
        assert_eq!(audio_only(&whole), audio_only(&parts[0]));
        let videos: Vec<u8> = parts.iter().flat_map(|part| video_only(part).unwrap().to_vec()).collect();
        assert_eq!(video_only(&whole).unwrap(), videos);
        assert_eq!(audio_only(&parts[1]), None);
    }

    #[test]
    fn an_initialisation_segment_keeps_one_track() {
        let audio = AacConfig::read(Bytes::from_static(&[0x11, 0x90])).unwrap();
        let record = Bytes::from_static(&[
            1, 0x64, 0, 0x28, 0xff, 0xe1, 0, 27, 0x67, 0x64, 0x00, 0x28, 0xac, 0xd9, 0x40, 0x78, 0x02, 0x27, 0xe5,
            0xc0, 0x44, 0x00, 0x00, 0x03, 0x00, 0x04, 0x00, 0x00, 0x03, 0x00, 0xf0, 0x3c, 0x60, 0xc6, 0x58, 1, 0, 4,
            0x68, 0xeb, 0xe3, 0xcb,
        ]);
        let video = VideoConfig::read(VideoCodec::Avc, record).unwrap();
        let (mixed, alone) = (crate::media::init::write(&video, Some(&audio)), crate::media::init::write(&video, None));
        assert_eq!(init_video_only(&mixed), Some(alone.clone()));
        assert_eq!(init_audio_only(&alone), None);
        let sound = init_audio_only(&mixed).unwrap();
        assert!(!sound.windows(4).any(|name| name == b"avc1") && sound.windows(4).any(|name| name == b"mp4a"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), at in 0_usize..200) {
            let mut mixed = both(&samples(2, 3_000, 1), &samples(3, 1_024, 9)).to_vec();
            for (index, byte) in bytes.iter().enumerate() {
                if let Some(place) = mixed.get_mut(at + index) {
                    *place = *byte;
                }
            }
            for bytes in [&bytes, &mixed] {
                let _ = (video_only(bytes), audio_only(bytes), init_video_only(bytes), init_audio_only(bytes));
            }
        }
    }
}
