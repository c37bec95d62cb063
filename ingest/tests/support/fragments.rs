//! Reads fragments back: what is in them, and whether their times go on without a hole.
//!
//! Like the playlist checker it knows only the standard library, so that any test can include this file.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test that includes this file uses a part of it")]

use std::collections::BTreeMap;

pub const VIDEO: u32 = 1;
pub const AUDIO: u32 = 2;

/// Ticks a second of each track of an initialisation segment.
pub fn timescales(init: &[u8]) -> BTreeMap<u32, u64> {
    let moov = find(init, b"moov").expect("an initialisation segment has a moov");
    boxes(moov)
        .filter(|(name, _)| name == b"trak")
        .map(|(_, trak)| {
            let tkhd = find(trak, b"tkhd").expect("a track has a header");
            let mdhd = find(find(trak, b"mdia").expect("a track has media"), b"mdhd").expect("media have a header");
            (u32_at(tkhd, 12), u64::from(u32_at(mdhd, 12)))
        })
        .collect()
}

/// One track's samples in one fragment.
#[derive(Clone, Debug)]
pub struct Run {
    pub track: u32,
    pub decode_time: u64,
    pub samples: Vec<Sample>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    pub duration: u64,
    pub composition: i64,
    pub is_sync: bool,
    pub data: Vec<u8>,
}

impl Run {
    pub fn end(&self) -> u64 {
        self.decode_time + self.samples.iter().map(|sample| sample.duration).sum::<u64>()
    }
}

/// All runs of a part or a segment, in order.
pub fn runs(bytes: &[u8]) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = u32_at(bytes, at) as usize;
        if &bytes[at + 4..at + 8] == b"moof" {
            let moof = &bytes[at + 8..at + length];
            let tracks = boxes(moof).filter(|(name, _)| name == b"traf").map(|(_, traf)| traf);
            // A track without a run has nothing in this fragment.
            for traf in tracks.filter(|traf| find(traf, b"trun").is_some()) {
                runs.push(run(traf, &bytes[at..]));
            }
        }
        at += length;
    }
    runs
}

fn run(traf: &[u8], from_moof: &[u8]) -> Run {
    let tfhd = find(traf, b"tfhd").expect("tfhd");
    let tfdt = find(traf, b"tfdt").expect("tfdt");
    let trun = find(traf, b"trun").expect("trun");
    let track = u32_at(tfhd, 4);
    let tfhd_flags = u32_at(tfhd, 0) & 0xff_ffff;
    let mut at = 8;
    let mut default = |flag: u32| {
        let value = (tfhd_flags & flag != 0).then(|| u32_at(tfhd, at));
        at += if value.is_some() { 4 } else { 0 };
        value
    };
    let (_, _, default_duration, default_size, default_flags) =
        (default(1), default(2), default(8), default(0x10), default(0x20));
    assert!(default_size.is_none());
    assert_eq!(tfdt[0], 1, "tfdt version");
    let decode_time = u64::from(u32_at(tfdt, 4)) << 32 | u64::from(u32_at(tfdt, 8));
    assert_eq!(trun[0], 1, "trun version");
    let flags = u32_at(trun, 0) & 0xff_ffff;
    assert!(flags & 1 != 0, "a run has a data offset");
    let count = u32_at(trun, 4) as usize;
    let mut data_at = u32_at(trun, 8) as usize;
    let mut at = 12;
    let mut samples = Vec::new();
    for _ in 0..count {
        let mut field = |flag: u32| {
            let value = (flags & flag != 0).then(|| u32_at(trun, at));
            at += if value.is_some() { 4 } else { 0 };
            value
        };
        let duration = field(0x100).or(default_duration).expect("a duration");
        let size = field(0x200).expect("a size") as usize;
        let sample_flags = field(0x400).or(default_flags).expect("flags");
        let composition = field(0x800).unwrap_or(0) as i32;
        samples.push(Sample {
            duration: u64::from(duration),
            composition: i64::from(composition),
            is_sync: sample_flags & 0x1_0000 == 0,
            data: from_moof[data_at..data_at + size].to_vec(),
        });
        data_at += size;
    }
    assert_eq!(at, trun.len(), "a run is as long as it says");
    Run { track, decode_time, samples }
}

/// Whether each track's decode times go on without a hole or an overlap; what `runs` are in order.
pub fn findings(runs: &[Run]) -> Vec<String> {
    let mut ends = BTreeMap::new();
    let mut findings = Vec::new();
    for run in runs {
        if let Some(end) = ends.insert(run.track, run.end())
            && end != run.decode_time
        {
            findings.push(format!("track {} goes on at {} and not at {end}", run.track, run.decode_time));
        }
    }
    findings
}

/// One track's samples with their decode times.
pub fn track(runs: &[Run], track: u32) -> Vec<(u64, Sample)> {
    samples(runs, track).map(|(time, sample)| (time, sample.clone())).collect()
}

/// The same where they are, for hours of them.
pub fn samples(runs: &[Run], track: u32) -> impl Iterator<Item = (u64, &Sample)> {
    runs.iter().filter(move |run| run.track == track).flat_map(|run| {
        run.samples.iter().scan(run.decode_time, |next, sample| {
            let time = *next;
            *next += sample.duration;
            Some((time, sample))
        })
    })
}

fn find<'a>(content: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(content).find(|(name, _)| name == wanted).map(|(_, content)| content)
}

fn boxes(mut content: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let header = content.get(..8)?;
        let length = u32_at(header, 0) as usize;
        let name = header[4..8].try_into().ok()?;
        let inside = &content[8..length];
        content = &content[length..];
        Some((name, inside))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
