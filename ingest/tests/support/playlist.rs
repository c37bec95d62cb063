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
    pub can_skip_until_ms: Option<u64>,
    pub media_sequence: u64,
    /// Absent is not the same as 0: the tag may not come and go.
    pub has_discontinuity_sequence: bool,
    pub discontinuity_sequence: u64,
    pub has_independent_segments: bool,
    /// Of a delta update; 0 in a whole playlist.
    pub skipped_segments: u64,
    /// The last one may be growing: then it has no address.
    pub segments: Vec<Segment>,
    pub preload_hint: Option<String>,
    pub reports: Vec<Report>,
    pub is_ended: bool,
}

/// Where another rendition is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub uri: String,
    pub last_segment: u64,
    pub last_part: Option<u64>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    pub number: u64,
    pub duration_ms: Option<u64>,
    pub uri: Option<String>,
    pub init: String,
    pub is_after_discontinuity: bool,
    /// There is nothing at its address.
    pub is_gap: bool,
    pub program_date_time: Option<String>,
    pub parts: Vec<Part>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    pub duration_ms: u64,
    pub uri: String,
    pub is_independent: bool,
    pub is_gap: bool,
}

/// Tags of the whole playlist: each may be there once, before the segments (RFC 8216bis section 4.4.3).
const OF_PLAYLIST: [&str; 6] = [
    "#EXT-X-VERSION",
    "#EXT-X-TARGETDURATION",
    "#EXT-X-MEDIA-SEQUENCE",
    "#EXT-X-DISCONTINUITY-SEQUENCE",
    "#EXT-X-SERVER-CONTROL",
    "#EXT-X-PART-INF",
];

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
        let mut seen = Vec::new();
        for line in lines {
            let (tag, value) = line.split_once(':').unwrap_or((line, ""));
            if OF_PLAYLIST.contains(&tag) {
                if seen.contains(&tag) {
                    return Err(format!("{tag} comes twice"));
                }
                if is_begun || !playlist.segments.is_empty() || playlist.skipped_segments > 0 {
                    return Err(format!("{tag} comes after a segment"));
                }
                seen.push(tag);
            }
            let number = || value.parse::<u64>().map_err(|error| format!("{line}: {error}"));
            match tag {
                "#EXT-X-VERSION" => playlist.version = number()?,
                "#EXT-X-TARGETDURATION" => playlist.target_duration_s = number()?,
                "#EXT-X-MEDIA-SEQUENCE" => playlist.media_sequence = number()?,
                "#EXT-X-DISCONTINUITY-SEQUENCE" => {
                    playlist.has_discontinuity_sequence = true;
                    playlist.discontinuity_sequence = number()?;
                }
                "#EXT-X-SKIP" => {
                    if is_begun || !playlist.segments.is_empty() || playlist.skipped_segments > 0 {
                        return Err("EXT-X-SKIP does not come first".to_owned());
                    }
                    let skipped = required(&attributes(value)?, "SKIPPED-SEGMENTS")?;
                    playlist.skipped_segments = skipped.parse().map_err(|error| format!("{line}: {error}"))?;
                    if playlist.skipped_segments == 0 {
                        return Err("nothing is skipped".to_owned());
                    }
                }
                "#EXT-X-INDEPENDENT-SEGMENTS" => playlist.has_independent_segments = true,
                "#EXT-X-ENDLIST" => playlist.is_ended = true,
                "#EXT-X-SERVER-CONTROL" => {
                    let attributes = attributes(value)?;
                    playlist.can_block_reload = attributes.get("CAN-BLOCK-RELOAD").is_some_and(|value| value == "YES");
                    playlist.part_hold_back_ms =
                        attributes.get("PART-HOLD-BACK").map(|value| milliseconds(value)).transpose()?;
                    playlist.can_skip_until_ms =
                        attributes.get("CAN-SKIP-UNTIL").map(|value| milliseconds(value)).transpose()?;
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
                        is_gap: attributes.get("GAP").is_some_and(|value| value == "YES"),
                    });
                    is_begun = true;
                }
                "#EXTINF" => (segment.duration_ms, is_begun) = (Some(milliseconds(value.trim_end_matches(','))?), true),
                "#EXT-X-GAP" => segment.is_gap = true,
                "#EXT-X-RENDITION-REPORT" => {
                    let attributes = attributes(value)?;
                    let number = |name: &str| -> Result<Option<u64>, String> {
                        let value = attributes.get(name).map(|value| value.parse());
                        value.transpose().map_err(|error| format!("{line}: {error}"))
                    };
                    playlist.reports.push(Report {
                        uri: required(&attributes, "URI")?,
                        last_segment: number("LAST-MSN")?.ok_or_else(|| format!("{line}: LAST-MSN is missing"))?,
                        last_part: number("LAST-PART")?,
                    });
                }
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
                    segment.number = playlist.next_number();
                    playlist.segments.push(std::mem::take(&mut segment));
                    is_begun = false;
                }
            }
        }
        if is_begun {
            segment.init = init;
            segment.number = playlist.next_number();
            playlist.segments.push(segment);
        }
        Ok(playlist)
    }

    fn next_number(&self) -> u64 {
        self.media_sequence + self.skipped_segments + self.segments.len() as u64
    }

    /// The whole playlist that a delta update stands for, made as a client does it: RFC 8216bis section 6.3.7.
    pub fn whole(&self, earlier: &Self) -> Result<Self, String> {
        if self.skipped_segments == 0 {
            return Ok(self.clone());
        }
        let mut whole = Self { skipped_segments: 0, ..self.clone() };
        let first_kept = self.media_sequence + self.skipped_segments;
        let mut segments: Vec<Segment> = (self.media_sequence..first_kept)
            .map(|number| earlier.segments.iter().find(|old| old.number == number && old.uri.is_some()).cloned())
            .collect::<Option<_>>()
            .ok_or("a segment was skipped that the client cannot know")?;
        // Their parts may be gone by now.
        segments.iter_mut().for_each(|segment| segment.parts.clear());
        let mut init = segments.last().map(|last| last.init.clone()).unwrap_or_default();
        for mut segment in std::mem::take(&mut whole.segments) {
            if segment.init.is_empty() {
                segment.init.clone_from(&init);
            }
            init.clone_from(&segment.init);
            segments.push(segment);
        }
        whole.segments = segments;
        Ok(whole)
    }

    /// What is wrong with a delta update, given the whole playlist of the same moment.
    pub fn findings_of_delta(&self, whole: &Self) -> Vec<String> {
        let mut findings = Vec::new();
        let skipped = usize::try_from(self.skipped_segments).unwrap_or(usize::MAX);
        if self.version < 9 && skipped > 0 {
            findings.push(format!("version {} knows no EXT-X-SKIP", self.version));
        }
        let after_ms: u64 = whole.segments.iter().skip(skipped).map(Segment::length_ms).sum();
        if skipped > 0 && self.can_skip_until_ms.is_none_or(|boundary_ms| after_ms < boundary_ms) {
            findings.push(format!("what is skipped ends {after_ms} ms from the end"));
        }
        match self.whole(whole) {
            Ok(merged) => {
                let without_old_parts = |playlist: &Self| {
                    let mut playlist = playlist.clone();
                    playlist.segments.iter_mut().take(skipped).for_each(|segment| segment.parts.clear());
                    playlist
                };
                if without_old_parts(&merged) != without_old_parts(whole) {
                    findings.push("the delta update makes another playlist than the whole one".to_owned());
                }
            }
            Err(error) => findings.push(error),
        }
        findings
    }

    /// What is wrong with this playlist beside that of another rendition of the stream, read at any other moment:
    /// RFC 8216bis section 6.2.4.
    pub fn findings_beside(&self, other: &Self) -> Vec<String> {
        let mut findings = Vec::new();
        if self.target_duration_s != other.target_duration_s {
            findings.push("the target durations of renditions differ".to_owned());
        }
        let numbers = |playlist: &Self| {
            let mut sequence = playlist.discontinuity_sequence;
            let count = |segment: &Segment| {
                sequence += u64::from(segment.is_after_discontinuity);
                (segment.number, sequence)
            };
            playlist.segments.iter().map(count).collect::<HashMap<_, _>>()
        };
        let (own, others) = (numbers(self), numbers(other));
        for segment in &self.segments {
            let number = segment.number;
            let Some(twin) = other.segments.iter().find(|twin| twin.number == number) else { continue };
            if own[&number] != others[&number] {
                findings.push(format!("the discontinuity sequences of segment {number} differ"));
            }
            if segment.program_date_time != twin.program_date_time {
                findings.push(format!("the times of segment {number} differ"));
            }
            if let (Some(length), Some(twin)) = (segment.duration_ms, twin.duration_ms)
                && length.abs_diff(twin) > 100
            {
                findings.push(format!("segment {number} lasts {length} ms here and {twin} ms there"));
            }
        }
        findings
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
            None => (self.media_sequence + self.skipped_segments, 0),
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
        claim(self.has_discontinuity_sequence, "there is no discontinuity sequence".to_owned());
        claim(
            self.can_skip_until_ms.is_none_or(|boundary_ms| boundary_ms >= 6 * target_ms),
            format!("CAN-SKIP-UNTIL {:?} is shorter than six target durations", self.can_skip_until_ms),
        );
        for report in &self.reports {
            let once = self.reports.iter().filter(|other| other.uri == report.uri).count() == 1;
            claim(once && !report.uri.is_empty(), format!("{} is reported twice", report.uri));
            claim(report.last_part.is_some(), format!("the report of {} has no part", report.uri));
        }
        claim(
            self.part_hold_back_ms.is_some_and(|hold_back| hold_back >= 3 * part_target_ms),
            format!("PART-HOLD-BACK {:?} is shorter than three parts", self.part_hold_back_ms),
        );
        claim(self.preload_hint.is_some() != self.is_ended, "the preload hint is missing, or one too many".to_owned());
        let mut is_open_seen = false;
        let mut last_date_time = "";
        let mut ends_ms: Option<(u64, u64)> = None;
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
            if let (Some((end_ms, previous)), Some(time_ms)) = (ends_ms, time_ms(date_time)) {
                let is_close = time_ms.abs_diff(end_ms) <= 2 || segment.is_after_discontinuity;
                claim(is_close, format!("segment {number} begins {time_ms} ms, {previous} ends {end_ms} ms"));
            }
            ends_ms = time_ms(date_time).map(|time_ms| (time_ms + segment.length_ms(), number));
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
        claim(
            (self.version, self.part_hold_back_ms, self.can_skip_until_ms, self.can_block_reload)
                == (earlier.version, earlier.part_hold_back_ms, earlier.can_skip_until_ms, earlier.can_block_reload),
            "what the server can do has changed".to_owned(),
        );
        claim(
            self.has_independent_segments == earlier.has_independent_segments,
            "EXT-X-INDEPENDENT-SEGMENTS has come or gone".to_owned(),
        );
        let left_ms: u64 = self.complete().map(Segment::length_ms).sum();
        claim(
            self.media_sequence == earlier.media_sequence || left_ms >= 3 * self.target_duration_s * 1_000,
            format!("segments were removed, and {left_ms} ms are left"),
        );
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
            // What is too old to have its parts named says nothing of them.
            let are_named = self.media_sequence <= segment
                && self.segments.iter().filter(|new| new.number == segment).all(|new| !new.parts.is_empty());
            let come = self.segments.iter().filter(|new| are_named && new.number >= segment).flat_map(|new| {
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

/// Milliseconds since 1970 of a time in UTC as RFC 3339 with milliseconds.
fn time_ms(text: &str) -> Option<u64> {
    let field = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (field(0, 4)?, field(5, 7)?, field(8, 10)?);
    // Days of the civil calendar, counted from 1 March so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    let seconds = (days - 719_468) * 86_400 + field(11, 13)? * 3_600 + field(14, 16)? * 60 + field(17, 19)?;
    Some(seconds * 1_000 + field(20, 23)?)
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
