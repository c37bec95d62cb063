//! An encoder of Enhanced RTMP, which Debian's ffmpeg and OBS are not: what ffmpeg writes as fragmented MP4, as the tags of
//! Enhanced RTMP v2.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test that includes this file uses a part of it")]

use std::process::Command;

use bytes::Bytes;
use ingest::packager::{Tag, TagKind};

pub const SEQUENCE_START: u8 = 0;
pub const CODED_FRAMES: u8 = 1;
pub const CODED_FRAMES_X: u8 = 3;

/// Runs ffmpeg with these arguments, one output with one picture and perhaps AAC, and returns what it makes as tags in
/// the order of their times; the configurations come first.
pub fn encode(arguments: &str) -> Vec<Tag> {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-v", "error", "-nostdin"])
        .args(arguments.split_whitespace())
        .args(["-movflags", "delay_moov+default_base_moof+frag_keyframe", "-f", "mp4", "pipe:1"])
        // SVT-AV1 talks whatever ffmpeg is told.
        .env("SVT_LOG", "0")
        .output()
        .expect("ffmpeg runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    read(&output.stdout)
}

/// A video tag: "Enhanced Video" of Enhanced RTMP v2.
pub fn video(fourcc: &[u8; 4], packet: u8, is_key: bool, timestamp_ms: u32, content: &[u8]) -> Tag {
    let first = 0x80 | if is_key { 0x10 } else { 0x20 } | packet;
    let body = [&[first][..], fourcc, content].concat();
    Tag { kind: TagKind::Video, timestamp_ms, body: body.into() }
}

struct Track {
    number: u32,
    timescale: u64,
    codec: Codec,
    /// Duration, size and flags of samples that do not say.
    defaults: [u32; 3],
}

#[derive(Clone, Copy)]
enum Codec {
    Video([u8; 4]),
    Aac,
}

fn read(file: &[u8]) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut tracks = Vec::new();
    let mut at = 0;
    for (name, content) in boxes(file) {
        let whole = content.len() + 8;
        match &name {
            b"moov" => tracks = read_tracks(content, &mut tags),
            b"moof" => {
                for (_, traf) in boxes(content).filter(|(name, _)| name == b"traf") {
                    read_run(traf, &file[at..], &tracks, &mut tags);
                }
            }
            _ => {}
        }
        at += whole;
    }
    tags.sort_by_key(|tag| tag.timestamp_ms);
    tags
}

fn read_tracks(moov: &[u8], tags: &mut Vec<Tag>) -> Vec<Track> {
    let mut tracks = Vec::new();
    for (_, trak) in boxes(moov).filter(|(name, _)| name == b"trak") {
        let number = u32_at(find(trak, b"tkhd"), 12);
        let mdia = find(trak, b"mdia");
        let timescale = u64::from(u32_at(find(mdia, b"mdhd"), 12));
        let stsd = find(find(find(mdia, b"minf"), b"stbl"), b"stsd");
        let (entry, content) = boxes(&stsd[8..]).next().expect("a sample entry");
        let configuration = |name: &[u8; 4]| find(&content[78..], name).to_vec();
        let codec = match &entry {
            b"av01" => Codec::Video(*b"av01"),
            b"hvc1" | b"hev1" => Codec::Video(*b"hvc1"),
            b"avc1" => Codec::Video(*b"avc1"),
            b"mp4a" => Codec::Aac,
            other => panic!("{}", other.escape_ascii()),
        };
        match codec {
            Codec::Video(fourcc) => {
                let name = match &fourcc {
                    b"av01" => b"av1C",
                    b"hvc1" => b"hvcC",
                    _ => b"avcC",
                };
                tags.push(video(&fourcc, SEQUENCE_START, true, 0, &configuration(name)));
            }
            Codec::Aac => {
                let esds = find(&content[28..], b"esds");
                // Tag 5 with a length in four bytes, as ffmpeg writes it.
                let specific =
                    esds.windows(4).position(|bytes| bytes == [5, 0x80, 0x80, 0x80]).expect("a configuration");
                let length = usize::from(esds[specific + 4]);
                let body = [&[0xaf, 0][..], &esds[specific + 5..specific + 5 + length]].concat();
                tags.push(Tag { kind: TagKind::Audio, timestamp_ms: 0, body: body.into() });
            }
        }
        let defaults = boxes(find(moov, b"mvex"))
            .find(|(name, trex)| name == b"trex" && u32_at(trex, 4) == number)
            .map_or([0; 3], |(_, trex)| [u32_at(trex, 12), u32_at(trex, 16), u32_at(trex, 20)]);
        tracks.push(Track { number, timescale, codec, defaults });
    }
    tracks
}

/// The samples of one track in one fragment: ISO/IEC 14496-12 sections 8.8.7, 8.8.8 and 8.8.12.
fn read_run(traf: &[u8], from_moof: &[u8], tracks: &[Track], tags: &mut Vec<Tag>) {
    let tfhd = find(traf, b"tfhd");
    let track = tracks.iter().find(|track| track.number == u32_at(tfhd, 4)).expect("a track");
    let flags = u32_at(tfhd, 0) & 0xff_ffff;
    let mut at = 8;
    let mut field = |flag: u32, length: usize| {
        let value = (flags & flag != 0).then(|| u32_at(tfhd, at));
        at += if value.is_some() { length } else { 0 };
        value
    };
    let (_, _) = (field(1, 8), field(2, 4));
    let [duration, size, sample_flags] = track.defaults;
    let defaults =
        [field(8, 4).unwrap_or(duration), field(0x10, 4).unwrap_or(size), field(0x20, 4).unwrap_or(sample_flags)];
    let tfdt = find(traf, b"tfdt");
    let mut time = match tfdt[0] {
        0 => u64::from(u32_at(tfdt, 4)),
        _ => u64::from(u32_at(tfdt, 4)) << 32 | u64::from(u32_at(tfdt, 8)),
    };
    for (_, trun) in boxes(traf).filter(|(name, _)| name == b"trun") {
        let flags = u32_at(trun, 0) & 0xff_ffff;
        assert!(flags & 1 != 0, "a run has a data offset");
        let mut data_at = u32_at(trun, 8) as usize;
        let mut at = 12;
        let first_flags = (flags & 4 != 0).then(|| u32_at(trun, at));
        at += if first_flags.is_some() { 4 } else { 0 };
        for index in 0..u32_at(trun, 4) {
            let mut field = |flag: u32| {
                let value = (flags & flag != 0).then(|| u32_at(trun, at));
                at += if value.is_some() { 4 } else { 0 };
                value
            };
            let duration = field(0x100).unwrap_or(defaults[0]);
            let size = field(0x200).unwrap_or(defaults[1]) as usize;
            let own_flags = field(0x400);
            let sample_flags = first_flags.filter(|_| index == 0).or(own_flags).unwrap_or(defaults[2]);
            let composition = field(0x800).unwrap_or(0) as i32;
            let data = &from_moof[data_at..data_at + size];
            data_at += size;
            let ms = |ticks: i64| (ticks * 1_000 + track.timescale as i64 / 2).div_euclid(track.timescale as i64);
            let timestamp_ms = u32::try_from(ms(time as i64)).expect("a short clip");
            time += u64::from(duration);
            let is_key = sample_flags & 0x1_0000 == 0;
            tags.push(match track.codec {
                Codec::Aac => {
                    let body = [&[0xaf, 1][..], data].concat();
                    Tag { kind: TagKind::Audio, timestamp_ms, body: body.into() }
                }
                Codec::Video(fourcc) if &fourcc == b"av01" || composition == 0 => {
                    // What has no composition time may go without one; AV1 never has one.
                    let packet = if &fourcc == b"av01" { CODED_FRAMES } else { CODED_FRAMES_X };
                    video(&fourcc, packet, is_key, timestamp_ms, data)
                }
                Codec::Video(fourcc) => {
                    let composition_ms = ms(i64::from(composition)) as i32;
                    let content = [&composition_ms.to_be_bytes()[1..], data].concat();
                    video(&fourcc, CODED_FRAMES, is_key, timestamp_ms, &content)
                }
            });
        }
    }
}

/// How many pictures there are in these tags.
pub fn pictures(tags: &[Tag]) -> usize {
    let is_picture =
        |tag: &&Tag| tag.kind == TagKind::Video && matches!(tag.body[0] & 0x0f, CODED_FRAMES | CODED_FRAMES_X);
    tags.iter().filter(is_picture).count()
}

/// The configuration of the picture, without what is in front of it.
pub fn configuration(tags: &[Tag]) -> Bytes {
    tags.iter().find(|tag| tag.kind == TagKind::Video).expect("a configuration").body.slice(5..)
}

fn find<'a>(content: &'a [u8], wanted: &[u8; 4]) -> &'a [u8] {
    let found = boxes(content).find(|(name, _)| name == wanted).map(|(_, content)| content);
    found.unwrap_or_else(|| panic!("no {}", wanted.escape_ascii()))
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
