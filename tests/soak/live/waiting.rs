//! A viewer of low-latency HLS who never asks for what is there already: it waits for each part, reads it, takes
//! delta updates in turn with whole playlists, and asks for a part that is only hinted at.

use std::{collections::BTreeMap, thread, time::Duration, time::Instant};

use super::{
    Report,
    fetch::{fetch, get, text},
    playlist::MediaPlaylist,
};

pub struct Waiting {
    address: String,
    /// The playlist as it is known, and the last one that came whole.
    known: Option<MediaPlaylist>,
    whole: Option<MediaPlaylist>,
    /// Parts that were read, by their addresses, while their segments grow.
    parts: BTreeMap<String, Vec<u8>>,
    reloads: u64,
    deltas: u64,
    /// Reloads that were held until the server gave up, as while the encoder is away.
    in_vain: u64,
    read: u64,
    segments: u64,
    findings: Vec<String>,
}

impl Waiting {
    /// Watches the first rendition of a multivariant playlist.
    pub fn new(master: &str) -> Result<Self, String> {
        let listed = text(master)?;
        let first = listed.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
        let first = first.ok_or_else(|| format!("{master} lists nothing"))?;
        let folder = master.rsplit_once('/').expect("an address has a path").0;
        Ok(Self {
            address: format!("{folder}/{first}"),
            known: None,
            whole: None,
            parts: BTreeMap::new(),
            reloads: 0,
            deltas: 0,
            in_vain: 0,
            read: 0,
            segments: 0,
            findings: Vec::new(),
        })
    }

    pub fn follow_until(mut self, until: Instant) -> Report {
        while Instant::now() < until && self.known.as_ref().is_none_or(|known| !known.is_ended) {
            let before = self.findings.len();
            if let Err(error) = self.step() {
                self.findings.push(error);
                // It begins anew, and not a thousand times a second.
                (self.known, self.whole) = (None, None);
                self.parts.clear();
                thread::sleep(Duration::from_secs(1));
            }
            for finding in &self.findings[before..] {
                println!("{} reload {}: {finding}", self.address, self.reloads);
            }
        }
        let Self { address, reloads, deltas, in_vain, read, segments, findings, .. } = self;
        Report {
            told: format!(
                "{address}: {reloads} blocked reloads, {deltas} delta updates, {in_vain} in vain, {read} parts, {segments} segments of them",
            ),
            has_seen: read > 0 && segments > 0,
            findings,
        }
    }

    fn step(&mut self) -> Result<(), String> {
        let Some(known) = self.known.take() else {
            let first = MediaPlaylist::parse(&text(&self.address)?)?;
            (self.whole, self.known) = (Some(first.clone()), Some(first));
            return Ok(());
        };
        let (segment, part) = known.next_position();
        self.reloads += 1;
        let takes_delta = self.reloads.is_multiple_of(2);
        // One in ten asks for the part itself first, which is held in the same way.
        let hinted = known.preload_hint.clone().filter(|_| self.reloads.is_multiple_of(10));
        if let Some(hint) = &hinted
            && !self.read_part(hint)?
        {
            self.known = Some(known);
            return Ok(());
        }
        let skip = if takes_delta { "&_HLS_skip=YES" } else { "" };
        let address = format!("{}?_HLS_msn={segment}&_HLS_part={part}{skip}", self.address);
        let (status, body) = fetch(&address)?;
        if status == 503 {
            self.in_vain += 1;
            self.known = Some(known);
            return Ok(());
        }
        if status != 200 {
            return Err(format!("{address}: {status}"));
        }
        let body = String::from_utf8(body).map_err(|error| format!("{address}: {error}"))?;
        let update = MediaPlaylist::parse(&body)?;
        self.deltas += u64::from(update.skipped_segments > 0);
        let now = update.whole(&known)?;
        let mut findings = Vec::new();
        if !now.is_ended && now.next_position() <= (segment, part) {
            findings.push(format!("asked for {segment}.{part}, and it ends before {:?}", now.next_position()));
        }
        if update.skipped_segments == 0 {
            findings.extend(now.findings());
            findings.extend(self.whole.iter().flat_map(|earlier| now.findings_after(earlier)));
            self.whole = Some(now.clone());
        }
        self.findings.extend(findings.into_iter().map(|finding| format!("{address}: {finding}\n{body}")));
        self.take(&now, (segment, part), hinted.as_deref())?;
        self.known = Some(now);
        Ok(())
    }

    /// Reads what has come, and holds each complete segment against its parts.
    fn take(&mut self, now: &MediaPlaylist, from: (u64, u64), hinted: Option<&str>) -> Result<(), String> {
        let folder = self.folder();
        for segment in now.segments.iter().filter(|segment| segment.number >= from.0 && !segment.is_gap) {
            for part in &segment.parts {
                if !part.is_gap && !self.parts.contains_key(&part.uri) && !self.read_part(&part.uri)? {
                    return Err(format!("{} is listed, and is waited for", part.uri));
                }
            }
            let Some(uri) = &segment.uri else { continue };
            let pieces: Option<Vec<_>> = segment.parts.iter().map(|part| self.parts.get(&part.uri)).collect();
            if let Some(pieces) = pieces.filter(|pieces| !pieces.is_empty()) {
                let joined: Vec<u8> = pieces.into_iter().flatten().copied().collect();
                if get(&format!("{folder}/{uri}"))? != joined {
                    self.findings.push(format!("{uri} is not what its parts are"));
                }
                self.segments += 1;
            }
        }
        if let Some(hint) =
            hinted.filter(|hint| !now.segments.iter().any(|one| one.parts.iter().any(|part| part.uri == **hint)))
        {
            self.findings.push(format!("{hint} was there, and is not listed"));
        }
        let listed = |uri: &String| now.segments.iter().any(|one| one.parts.iter().any(|part| &part.uri == uri));
        self.parts.retain(|uri, _| listed(uri));
        Ok(())
    }

    /// Whether the part came; not where the server gave up waiting for it.
    fn read_part(&mut self, uri: &str) -> Result<bool, String> {
        let address = format!("{}/{uri}", self.folder());
        let (status, bytes) = fetch(&address)?;
        match status {
            200 => {
                self.read += 1;
                self.parts.insert(uri.to_owned(), bytes);
                Ok(true)
            }
            503 => {
                self.in_vain += 1;
                Ok(false)
            }
            _ => Err(format!("{address}: {status}")),
        }
    }

    fn folder(&self) -> String {
        self.address.rsplit_once('/').expect("an address has a path").0.to_owned()
    }
}
