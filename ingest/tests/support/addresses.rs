//! One address at least of each kind that viewers may ask for, of a stream that is live and of a recording.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test that includes this file uses a part of it")]

use ingest::origin::{Audience, Kind};

/// What is there to be asked for.
#[derive(Debug, Clone)]
pub struct Shown {
    pub stream: String,
    pub channel: String,
    /// Of which segment 0 is kept.
    pub recording: String,
    /// A segment that the live playlist names, or has named: its number.
    pub finished: u64,
    /// The segment that grows.
    pub growing: u64,
    /// A part of one of the last segments.
    pub part: u64,
}

/// An address, without its token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub kind: Kind,
    /// `live` or `vod`.
    pub area: &'static str,
    /// What comes after that, and after the token.
    pub rest: String,
    /// Its answer goes on until more has come from the encoder.
    pub grows: bool,
}

impl Row {
    /// The path that is asked for.
    pub fn path(&self, token: Option<&str>) -> String {
        match token {
            Some(token) => format!("/{}/t/{token}/{}", self.area, self.rest),
            None => format!("/{}/{}", self.area, self.rest),
        }
    }

    /// What is asked for, and the address that a cache shows in a header where it asks whether it may give that out.
    pub fn request(&self, token: Option<&str>) -> (String, Option<String>) {
        match self.kind {
            Kind::Authorise => ("/live/authorise".to_owned(), Some(self.path(token))),
            _ => (self.path(token), None),
        }
    }
}

/// All of them. Panics where a kind that viewers ask for is not among them.
pub fn all(shown: &Shown) -> Vec<Row> {
    let Shown { stream, channel, recording, finished, growing, part } = shown;
    let live = [
        "S/index.m3u8".to_owned(),
        "S/source/index.m3u8".to_owned(),
        "S/source/index.m3u8?_HLS_skip=YES".to_owned(),
        "S/audio/index.m3u8".to_owned(),
        "S/source/init0.mp4".to_owned(),
        "S/audio/init0.mp4".to_owned(),
        "S/source/s0.m4s".to_owned(),
        format!("S/source/s{finished}.m4s"),
        format!("S/audio/s{finished}.m4s"),
        format!("S/source/p{part}.m4s"),
        format!("S/audio/p{part}.m4s"),
        "S/rewind.m3u8".to_owned(),
        "S/source/rewind.m3u8".to_owned(),
        "S/audio/rewind.m3u8".to_owned(),
        "S/index.mpd".to_owned(),
        "S/source/v/init0.mp4".to_owned(),
        "S/source/a/init0.mp4".to_owned(),
        "S/source/v/s0.m4s".to_owned(),
        format!("S/source/v/s{finished}.m4s"),
        format!("S/source/a/s{finished}.m4s"),
        format!("S/source/v/s{growing}.m4s"),
        "S/thumbnail.jpg".to_owned(),
        "S/thumbnail.webp".to_owned(),
        "S/thumbnail-small.jpg".to_owned(),
        "S/thumbnail-small.webp".to_owned(),
        format!("channels/{channel}/index.m3u8"),
        format!("channels/{channel}/index.mpd"),
    ];
    let recorded = [
        "index.m3u8",
        "source/index.m3u8",
        "source/init0.mp4",
        "source/s0.m4s",
        "download.mp4",
        "download-1.mp4",
        "downloads.json",
        "thumbnail.jpg",
        "sheets/index.vtt",
        "sheets/0.jpg",
    ];
    let live = live.into_iter().map(|rest| ("live", rest.replace("S/", &format!("{stream}/"))));
    let recorded = recorded.into_iter().map(|rest| ("vod", format!("{recording}/{rest}")));
    let grows = format!("/v/s{growing}.m4s");
    let mut rows: Vec<Row> = live
        .chain(recorded)
        .map(|(area, rest)| {
            let path = format!("/{area}/{}", rest.split('?').next().unwrap_or_default());
            let kind = Kind::of(&path).unwrap_or_else(|| panic!("{path} is of no kind"));
            Row { kind, area, grows: rest.ends_with(&grows), rest }
        })
        .collect();
    rows.push(Row { kind: Kind::Authorise, ..rows[1].clone() });
    for kind in Kind::ALL.iter().filter(|kind| kind.audience() == Audience::Viewers) {
        assert!(rows.iter().any(|row| row.kind == *kind), "{kind:?} is an address of which nothing is tested here");
    }
    rows
}
