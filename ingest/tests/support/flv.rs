//! What real encoders send: ffmpeg writes FLV, whose tags are the messages of RTMP.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test that includes this file uses a part of it")]

use std::process::Command;

use bytes::Bytes;
use ingest::packager::{Tag, TagKind};

/// Runs ffmpeg with these arguments and returns the media tags that it writes.
pub fn encode(arguments: &str) -> Vec<Tag> {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-v", "error", "-nostdin"])
        .args(arguments.split_whitespace())
        .args(["-f", "flv", "-flvflags", "no_duration_filesize", "pipe:1"])
        .output()
        .expect("ffmpeg runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    read(&output.stdout.into())
}

/// Reads a whole FLV file: Adobe Flash Video File Format 10.1, annex E.3 and E.4.1.
pub fn read(file: &Bytes) -> Vec<Tag> {
    assert_eq!(&file[..3], b"FLV");
    let mut tags = Vec::new();
    let mut at = 9 + 4;
    while at + 11 <= file.len() {
        let header = &file[at..at + 11];
        let length = usize::from(header[1]) << 16 | usize::from(header[2]) << 8 | usize::from(header[3]);
        let timestamp_ms = u32::from_be_bytes([header[7], header[4], header[5], header[6]]);
        let body = file.slice(at + 11..at + 11 + length);
        match header[0] {
            8 => tags.push(Tag { kind: TagKind::Audio, timestamp_ms, body }),
            9 => tags.push(Tag { kind: TagKind::Video, timestamp_ms, body }),
            _ => {}
        }
        at += 11 + length + 4;
    }
    tags
}

/// Decode time, composition time and data of each picture.
pub fn pictures(tags: &[Tag]) -> Vec<(i64, i64, Bytes)> {
    tags.iter()
        .filter(|tag| tag.kind == TagKind::Video && tag.body.len() > 5 && tag.body[1] == 1)
        .map(|tag| {
            let composition = i32::from_be_bytes([tag.body[2], tag.body[3], tag.body[4], 0]) >> 8;
            (i64::from(tag.timestamp_ms), i64::from(composition), tag.body.slice(5..))
        })
        .collect()
}

/// Time and data of each frame of sound.
pub fn sounds(tags: &[Tag]) -> Vec<(i64, Bytes)> {
    tags.iter()
        .filter(|tag| tag.kind == TagKind::Audio && tag.body.len() > 2 && tag.body[1] == 1)
        .map(|tag| (i64::from(tag.timestamp_ms), tag.body.slice(2..)))
        .collect()
}
