//! The playlist checker: what a strict player may expect of a live media playlist and of the segments that it names.
//!
//! It works on texts and bytes, wherever they come from, and knows only the standard library, so that any test can
//! include this file. Rules are those of draft-pantos-hls-rfc8216bis; findings are sentences, empty when all is well.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test that includes this file uses a part of it")]

use std::collections::HashMap;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct MediaPlaylist {
    pub version: u64,
    pub target_duration_s: u64,
    pub part_target_ms: Option<u64>,
    pub part_hold_back_ms: Option<u64>,
    pub can_block_reload: bool,
    pub media_sequence: u64,
    pub discontinuity_sequence: u64,
    pub has_independent_segments: bool,
    /// The last one may be growing: then it has no address.
    pub segments: Vec<Segment>,
    pub preload_hint: Option<String>,
    pub is_ended: bool,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    pub number: u64,
    pub duration_ms: Option<u64>,
    pub uri: Option<String>,
    pub init: String,
    pub is_after_discontinuity: bool,
    pub program_date_time: Option<String>,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    pub duration_ms: u64,
    pub uri: String,
    pub is_independent: bool,
}

impl MediaPlaylist {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut lines = text.lines();
        if lines.next() != Some("#EXTM3U") {
            return Err("it does not begin with #EXTM3U".to_owned());
        }
        let mut playlist = Self::default();
        let mut segment = Segment::default();
        let mut init = String::new();
        let mut is_begun = false;
        for line in lines {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            let number = || value.parse::<u64>().map_err(|error| format!("{line}: {error}"));
            match tag {
                "#EXT-X-VERSION" => playlist.version = number()?,
                "#EXT-X-TARGETDURATION" => playlist.target_duration_s = number()?,
                "#EXT-X-MEDIA-SEQUENCE" => playlist.media_sequence = number()?,
                "#EXT-X-DISCONTINUITY-SEQUENCE" => playlist.discontinuity_sequence = number()?,
                "#EXT-X-INDEPENDENT-SEGMENTS" => playlist.has_independent_segments = true,
                "#EXT-X-ENDLIST" => playlist.is_ended = true,
                "#EXT-X-SERVER-CONTROL" => {
                    let attributes = attributes(value)?;
                    playlist.can_block_reload = attributes.get("CAN-BLOCK-RELOAD").is_some_and(|value| value == "YES");
                    playlist.part_hold_back_ms =
                        attributes.get("PART-HOLD-BACK").map(|value| milliseconds(value)).transpose()?;
                }
                "#EXT-X-PART-INF" => {
                    playlist.part_target_ms =
                        attributes(value)?.get("PART-TARGET").map(|value| milliseconds(value)).transpose()?;
                }
                "#EXT-X-DISCONTINUITY" => (segment.is_after_discontinuity, is_begun) = (true, true),
                "#EXT-X-MAP" => init = required(&attributes(value)?, "URI")?,
                "#EXT-X-PROGRAM-DATE-TIME" => (segment.program_date_time, is_begun) = (Some(value.to_owned()), true),
                "#EXT-X-PART" => {
                    let attributes = attributes(value)?;
                    segment.parts.push(Part {
                        duration_ms: milliseconds(&required(&attributes, "DURATION")?)?,
                        uri: required(&attributes, "URI")?,
                        is_independent: attributes.get("INDEPENDENT").is_some_and(|value| value == "YES"),
                    });
                    is_begun = true;
                }
                "#EXTINF" => (segment.duration_ms, is_begun) = (Some(milliseconds(value.trim_end_matches(','))?), true),
                "#EXT-X-PRELOAD-HINT" => {
                    let attributes = attributes(value)?;
                    if required(&attributes, "TYPE")? == "PART" {
                        playlist.preload_hint = Some(required(&attributes, "URI")?);
                    }
                }
                _ if line.starts_with('#') || line.is_empty() => return Err(format!("an unknown line: {line:?}")),
                _ => {
                    segment.uri = Some(line.to_owned());
                    segment.init.clone_from(&init);
                    segment.number = playlist.media_sequence + playlist.segments.len() as u64;
                    playlist.segments.push(std::mem::take(&mut segment));
                    is_begun = false;
                }
            }
        }
        if is_begun {
            segment.init = init;
            segment.number = playlist.media_sequence + playlist.segments.len() as u64;
            playlist.segments.push(segment);
        }
        Ok(playlist)
    }

    /// Segments with an address.
    pub fn complete(&self) -> impl DoubleEndedIterator<Item = &Segment> {
        self.segments.iter().filter(|segment| segment.uri.is_some())
    }

    /// The segment and the part that a blocked reload should ask for next.
    pub fn next_position(&self) -> (u64, u64) {
        match self.segments.last() {
            Some(open) if open.uri.is_none() => (open.number, open.parts.len() as u64),
            Some(last) => (last.number + 1, 0),
            None => (self.media_sequence, 0),
        }
    }

    /// What is wrong with this playlist, looked at alone.
    pub fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut claim = |is_true: bool, otherwise: String| {
            if !is_true {
                findings.push(otherwise);
            }
        };
        claim(self.version >= 6, format!("version {} knows no EXT-X-MAP", self.version));
        claim(self.target_duration_s >= 1, "there is no target duration".to_owned());
        let target_ms = self.target_duration_s * 1_000;
        let part_target_ms = self.part_target_ms.unwrap_or(0);
        claim(part_target_ms > 0, "there is no part target".to_owned());
        claim(self.can_block_reload, "reloads cannot block".to_owned());
        claim(
            self.part_hold_back_ms.is_some_and(|hold_back| hold_back >= 3 * part_target_ms),
            format!("PART-HOLD-BACK {:?} is shorter than three parts", self.part_hold_back_ms),
        );
        claim(self.preload_hint.is_some() != self.is_ended, "the preload hint is missing, or one too many".to_owned());
        let mut is_open_seen = false;
        let mut last_date_time = "";
        for segment in &self.segments {
            let number = segment.number;
            claim(!is_open_seen, format!("segment {number} follows one that grows"));
            is_open_seen = segment.uri.is_none();
            claim(!segment.init.is_empty(), format!("segment {number} has no initialisation segment"));
            let date_time = segment.program_date_time.as_deref().unwrap_or("");
            claim(
                date_time > last_date_time,
                format!("segment {number} is not later than the one before: {date_time}"),
            );
            last_date_time = date_time;
            if let Some(duration_ms) = segment.duration_ms {
                claim(
                    (duration_ms + 500) / 1_000 <= self.target_duration_s,
                    format!("segment {number} of {duration_ms} ms is longer than the target duration"),
                );
            }
            let parts_ms: u64 = segment.parts.iter().map(|part| part.duration_ms).sum();
            if let (false, Some(duration_ms)) = (segment.parts.is_empty(), segment.duration_ms) {
                claim(
                    parts_ms == duration_ms,
                    format!("the parts of segment {number} last {parts_ms} ms, not {duration_ms}"),
                );
            }
            for (index, part) in segment.parts.iter().enumerate() {
                let (uri, duration_ms) = (&part.uri, part.duration_ms);
                claim(
                    duration_ms <= part_target_ms,
                    format!("part {uri} of {duration_ms} ms is longer than the part target"),
                );
                let is_last = index + 1 == segment.parts.len() && segment.uri.is_some();
                let is_long_enough = duration_ms * 100 >= part_target_ms * 85;
                // A growing segment's last part may turn out to be its last.
                let may_be_last = index + 1 == segment.parts.len() && segment.uri.is_none();
                claim(
                    is_long_enough || part.is_independent || is_last || may_be_last,
                    format!("part {uri} of {duration_ms} ms is shorter than 85 % of the part target"),
                );
            }
        }
        let listed_ms: u64 = self.complete().filter_map(|segment| segment.duration_ms).sum();
        let shown_ms: u64 =
            self.segments.iter().rev().take_while(|segment| !segment.parts.is_empty()).map(Segment::length_ms).sum();
        claim(
            shown_ms >= (3 * target_ms).min(listed_ms + self.growing_ms()),
            format!("parts are named for {shown_ms} ms only"),
        );
        claim(
            shown_ms < 3 * target_ms + self.segments.iter().map(Segment::length_ms).max().unwrap_or(0) + 1,
            format!("parts are named for {shown_ms} ms"),
        );
        let uris: Vec<&str> = self.uris().collect();
        let unique: std::collections::HashSet<&&str> = uris.iter().collect();
        claim(unique.len() == uris.len(), "an address comes twice".to_owned());
        claim(
            self.preload_hint.as_deref().is_none_or(|hint| !uris.contains(&hint)),
            "the hinted part is already there".to_owned(),
        );
        if self.has_independent_segments {
            for segment in &self.segments {
                let is_independent = segment.parts.first().is_none_or(|part| part.is_independent);
                claim(is_independent, format!("segment {} does not begin with a key frame", segment.number));
            }
        }
        findings
    }

    /// What is wrong with this playlist as the successor of an earlier one.
    pub fn findings_after(&self, earlier: &Self) -> Vec<String> {
        let mut findings = Vec::new();
        let mut claim = |is_true: bool, otherwise: String| {
            if !is_true {
                findings.push(otherwise);
            }
        };
        claim(self.target_duration_s == earlier.target_duration_s, "the target duration has changed".to_owned());
        claim(self.part_target_ms == earlier.part_target_ms, "the part target has changed".to_owned());
        claim(self.media_sequence >= earlier.media_sequence, "the media sequence went back".to_owned());
        claim(self.next_position() >= earlier.next_position(), "the position went back".to_owned());
        claim(!earlier.is_ended || self == earlier, "it changed after its end".to_owned());
        let removed = usize::try_from(self.media_sequence - earlier.media_sequence).unwrap_or(usize::MAX);
        let gone = earlier.segments.iter().take(removed);
        let discontinuities = gone.filter(|segment| segment.is_after_discontinuity).count() as u64;
        claim(
            self.discontinuity_sequence == earlier.discontinuity_sequence + discontinuities,
            format!("discontinuity sequence {} after {}", self.discontinuity_sequence, earlier.discontinuity_sequence),
        );
        for (old, new) in earlier.segments.iter().skip(removed).zip(&self.segments) {
            let number = old.number;
            let is_same = old.init == new.init
                && old.is_after_discontinuity == new.is_after_discontinuity
                && old.program_date_time == new.program_date_time;
            claim(is_same, format!("segment {number} has changed"));
            if old.uri.is_some() {
                claim(
                    old.uri == new.uri && old.duration_ms == new.duration_ms,
                    format!("segment {number} has changed"),
                );
            }
            if !new.parts.is_empty() {
                claim(new.parts.starts_with(&old.parts), format!("the parts of segment {number} have changed"));
            }
        }
        if let Some(hint) = &earlier.preload_hint {
            let (segment, part) = earlier.next_position();
            let come = self.segments.iter().filter(|new| new.number >= segment).flat_map(|new| {
                let skipped = if new.number == segment { part as usize } else { 0 };
                new.parts.iter().skip(skipped)
            });
            if let Some(first) = come.into_iter().next() {
                claim(&first.uri == hint, format!("{hint} was hinted, {} came", first.uri));
            }
        }
        findings
    }

    fn uris(&self) -> impl Iterator<Item = &str> {
        let segments = self.segments.iter().filter_map(|segment| segment.uri.as_deref());
        let parts = self.segments.iter().flat_map(|segment| &segment.parts).map(|part| part.uri.as_str());
        segments.chain(parts)
    }

    fn growing_ms(&self) -> u64 {
        self.segments.last().filter(|segment| segment.uri.is_none()).map_or(0, Segment::length_ms)
    }
}

impl Segment {
    pub fn length_ms(&self) -> u64 {
        self.duration_ms.unwrap_or_else(|| self.parts.iter().map(|part| part.duration_ms).sum())
    }
}

fn attributes(mut text: &str) -> Result<HashMap<String, String>, String> {
    let mut attributes = HashMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once('=').ok_or_else(|| format!("an attribute without a value: {text}"))?;
        let (value, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').ok_or_else(|| format!("a quote is open: {text}"))?,
            None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
        };
        attributes.insert(name.to_owned(), value.to_owned());
        text = rest.strip_prefix(',').unwrap_or(rest);
    }
    Ok(attributes)
}

fn required(attributes: &HashMap<String, String>, name: &str) -> Result<String, String> {
    attributes.get(name).cloned().ok_or_else(|| format!("{name} is missing"))
}

fn milliseconds(seconds: &str) -> Result<u64, String> {
    let value: f64 = seconds.parse().map_err(|error| format!("{seconds}: {error}"))?;
    Ok((value * 1_000.0).round() as u64)
}
