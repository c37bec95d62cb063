//! A live DASH manifest, by the checker of the packager's own tests, each second; and whether what it names has the
//! times that it says.

use std::{collections::BTreeMap, thread, time::Duration, time::Instant};

use super::{
    Report,
    fetch::{get, text},
    fragments::{self, AUDIO, VIDEO},
    manifest::{Manifest, Representation},
};

pub struct Manifests {
    address: String,
    last: Option<Manifest>,
    /// The last segment that was read, by period and representation.
    read: BTreeMap<(String, String), u64>,
    looks: u64,
    changes: u64,
    segments: u64,
    bytes: u64,
    findings: Vec<String>,
}

impl Manifests {
    pub fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            last: None,
            read: BTreeMap::new(),
            looks: 0,
            changes: 0,
            segments: 0,
            bytes: 0,
            findings: Vec::new(),
        }
    }

    pub fn look_until(mut self, until: Instant) -> Report {
        let mut next = Instant::now();
        while next < until {
            let before = self.findings.len();
            if let Err(error) = self.look() {
                self.findings.push(error);
            }
            for finding in &self.findings[before..] {
                println!("{} look {}: {finding}", self.address, self.looks);
            }
            next = (next + Duration::from_secs(1)).max(Instant::now());
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        let Self { address, looks, changes, segments, bytes, findings, .. } = self;
        let megabytes = bytes / 1_000_000;
        let told = format!("{address}: {looks} looks, {changes} manifests, {segments} segments of {megabytes} MB");
        Report { told, has_seen: segments > 0, findings }
    }

    fn look(&mut self) -> Result<(), String> {
        self.looks += 1;
        let body = text(&self.address)?;
        let manifest = Manifest::parse(&body)?;
        let mut findings = manifest.findings();
        if let Some(earlier) = &self.last {
            findings.extend(manifest.findings_after(earlier));
        }
        self.changes += u64::from(self.last.as_ref() != Some(&manifest));
        self.findings.extend(findings.into_iter().map(|finding| format!("{finding}\n{body}")));
        if let Some(period) = manifest.periods.last() {
            for representation in &period.representations {
                // The last one grows.
                let complete = representation.segments.len().saturating_sub(usize::from(representation.is_growing));
                let key = (period.id.clone(), representation.id.clone());
                let newest = representation.segments[..complete].last().map(|segment| segment.number);
                let first = self.read.get(&key).map(|number| number + 1).or(newest);
                self.read_from(representation, &representation.segments[..complete], first)?;
                if let Some(newest) = newest {
                    self.read.insert(key, newest);
                }
            }
        }
        self.last = Some(manifest);
        Ok(())
    }

    /// Each has one track, begins when the manifest says, and lasts as long.
    fn read_from(
        &mut self,
        of: &Representation,
        complete: &[super::manifest::Segment],
        first: Option<u64>,
    ) -> Result<(), String> {
        let folder = self.address.rsplit_once('/').expect("an address has a path").0.to_owned();
        let track = if of.is_video { VIDEO } else { AUDIO };
        for segment in complete.iter().filter(|segment| Some(segment.number) >= first) {
            let bytes = get(&format!("{folder}/{}", segment.uri))?;
            self.segments += 1;
            self.bytes += bytes.len() as u64;
            let runs = fragments::runs(&bytes);
            let samples = fragments::track(&runs, track);
            let (Some(last), Some(first)) = (samples.last(), samples.first()) else {
                self.findings.push(format!("{} has no sample of track {track}", segment.uri));
                continue;
            };
            let presented = samples.iter().map(|(time, sample)| time.cast_signed() + sample.composition).min();
            if presented != Some(segment.start.cast_signed()) {
                self.findings.push(format!("{} begins at {presented:?} and not {}", segment.uri, segment.start));
            }
            // Pictures that are reordered end a little beside where the next ones begin.
            let lasts = last.0 + last.1.duration - first.0;
            let may_differ = if of.is_video { of.timescale / 20 } else { 0 };
            if lasts.abs_diff(segment.duration) > may_differ {
                self.findings.push(format!("{} lasts {lasts} and not {}", segment.uri, segment.duration));
            }
        }
        Ok(())
    }
}
