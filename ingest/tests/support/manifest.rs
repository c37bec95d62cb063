//! The manifest checker: what a strict player may expect of a live DASH manifest and of the segments that it names.
//!
//! It works on texts and bytes and knows only the standard library. Rules are those of ISO/IEC 23009-1; findings are
//! sentences, empty when all is well.

#![allow(dead_code, missing_docs, unreachable_pub, reason = "each test that includes this file uses a part of it")]

use std::collections::BTreeMap;

/// An XML element.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Element {
    pub name: String,
    pub attributes: BTreeMap<String, String>,
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document of elements and attributes: no text, no comments, no entities.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text.trim();
        if let Some(after) = rest.strip_prefix("<?xml") {
            rest = after.split_once("?>").ok_or("the declaration is open")?.1;
        }
        let mut open: Vec<Self> = Vec::new();
        loop {
            rest = rest.trim_start();
            let inside = rest.strip_prefix('<').ok_or_else(|| format!("text between elements: {rest:.40}"))?;
            let (tag, after) = inside.split_once('>').ok_or("a tag is open")?;
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                let done =
                    open.pop().filter(|done| done.name == name).ok_or_else(|| format!("</{name}> closes nothing"))?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None if rest.trim().is_empty() => return Ok(done),
                    None => return Err(format!("something follows the document: {rest:.40}")),
                }
                continue;
            }
            let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let element = Self::open(tag)?;
            match (is_empty, open.last_mut()) {
                (false, _) => open.push(element),
                (true, Some(parent)) => parent.children.push(element),
                (true, None) => return Err("the document is one empty element".to_owned()),
            }
        }
    }

    fn open(tag: &str) -> Result<Self, String> {
        let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
        if name.is_empty() || !name.chars().all(|letter| letter.is_ascii_alphanumeric()) {
            return Err(format!("<{tag}> has no name"));
        }
        let mut element = Self { name: name.to_owned(), ..Self::default() };
        while !rest.trim().is_empty() {
            let (name, after) = rest.trim_start().split_once("=\"").ok_or_else(|| format!("<{tag}>: {rest}"))?;
            let (value, after) = after.split_once('"').ok_or_else(|| format!("<{tag}>: a value is open"))?;
            if value.contains(['<', '&']) || element.attributes.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(format!("<{tag}>: {name} is not right"));
            }
            rest = after;
        }
        Ok(element)
    }

    pub fn get(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }

    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn one(&self, name: &str) -> Result<&Self, String> {
        let mut all = self.all(name);
        match (all.next(), all.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => Err(format!("{} has no {name}", self.name)),
            _ => Err(format!("{} has more than one {name}", self.name)),
        }
    }

    fn number(&self, name: &str) -> Result<u64, String> {
        self.get(name).parse().map_err(|error| format!("{}@{name} {:?}: {error}", self.name, self.get(name)))
    }

    fn duration_ms(&self, name: &str) -> Result<u64, String> {
        let text = self.get(name);
        let seconds = text.strip_prefix("PT").and_then(|text| text.strip_suffix('S'));
        let seconds: Option<f64> = seconds.and_then(|text| text.parse().ok());
        seconds
            .map(|seconds| (seconds * 1_000.0).round() as u64)
            .ok_or_else(|| format!("{}@{name} {text:?}", self.name))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    pub text: String,
    pub periods: Vec<Period>,
    pub is_over: bool,
    pub minimum_update_ms: Option<u64>,
    pub latency_ms: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Period {
    pub id: String,
    pub start_ms: u64,
    pub representations: Vec<Representation>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Representation {
    pub id: String,
    pub is_video: bool,
    pub codecs: String,
    pub timescale: u64,
    pub offset: u64,
    pub init: String,
    pub is_growing: bool,
    pub segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Segment {
    pub number: u64,
    pub uri: String,
    pub start: u64,
    pub duration: u64,
}

impl Manifest {
    pub fn parse(text: &str) -> Result<Self, String> {
        let mpd = Element::parse(text)?;
        for (name, value) in [
            ("xmlns", "urn:mpeg:dash:schema:mpd:2011"),
            ("type", "dynamic"),
            ("availabilityStartTime", "1970-01-01T00:00:00Z"),
        ] {
            if mpd.get(name) != value {
                return Err(format!("MPD@{name} is {:?}", mpd.get(name)));
            }
        }
        for name in ["publishTime", "minBufferTime", "profiles"] {
            if mpd.get(name).is_empty() {
                return Err(format!("MPD@{name} is missing"));
            }
        }
        mpd.duration_ms("maxSegmentDuration")?;
        mpd.duration_ms("timeShiftBufferDepth")?;
        let is_over = mpd.attributes.contains_key("mediaPresentationDuration");
        let minimum_update_ms = mpd.duration_ms("minimumUpdatePeriod").ok();
        if is_over == minimum_update_ms.is_some() {
            return Err("it is over and is updated, or neither".to_owned());
        }
        let timing = mpd.one("UTCTiming")?;
        if timing.get("schemeIdUri") != "urn:mpeg:dash:utc:http-iso:2014" || timing.get("value").is_empty() {
            return Err("UTCTiming leads nowhere".to_owned());
        }
        let latency_ms = mpd.one("ServiceDescription")?.one("Latency")?.number("target")?;
        let periods = mpd.all("Period").map(Period::read).collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), periods, is_over, minimum_update_ms, latency_ms })
    }

    /// What is wrong with it, looked at alone.
    pub fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        if self.periods.is_empty() {
            findings.push("there is no period".to_owned());
        }
        for pair in self.periods.windows(2) {
            for representation in &pair[0].representations {
                let Some(last) = representation.segments.last() else { continue };
                let from_start = (last.start + last.duration).saturating_sub(representation.offset);
                let end_ms = pair[0].start_ms + from_start * 1_000 / representation.timescale;
                // Sound may last a little longer than its pictures.
                if end_ms > pair[1].start_ms + 100 {
                    findings
                        .push(format!("{} ends at {end_ms} ms, after period {} begins", representation.id, pair[1].id));
                }
            }
        }
        for period in &self.periods {
            if !period.representations.iter().any(|representation| representation.is_video) {
                findings.push(format!("period {} has no picture", period.id));
            }
            for representation in &period.representations {
                let id = &representation.id;
                let codec = if representation.is_video { "avc1." } else { "mp4a." };
                if !representation.codecs.starts_with(codec) || representation.codecs.contains(',') {
                    findings.push(format!("{id} has codecs {:?}", representation.codecs));
                }
                if representation.segments.is_empty() {
                    findings.push(format!("{id} has no segments"));
                }
                for pair in representation.segments.windows(2) {
                    let end = pair[0].start + pair[0].duration;
                    if end != pair[1].start {
                        findings.push(format!(
                            "{id}: {} ends at {end}, {} begins at {}",
                            pair[0].uri, pair[1].uri, pair[1].start
                        ));
                    }
                }
                for segment in &representation.segments {
                    if segment.start < representation.offset {
                        findings.push(format!("{} begins before its period", segment.uri));
                    }
                }
            }
        }
        findings
    }

    /// What is wrong with it as the successor of an earlier one: what is there stays as it is, but for the last segment of
    /// each, which may have grown.
    pub fn findings_after(&self, earlier: &Self) -> Vec<String> {
        let mut findings = Vec::new();
        for old in &earlier.periods {
            let Some(new) = self.periods.iter().find(|new| new.id == old.id) else { continue };
            if old.start_ms != new.start_ms {
                findings.push(format!("period {} has moved", old.id));
            }
            for old in &old.representations {
                let Some(new) = new.representations.iter().find(|new| new.id == old.id) else { continue };
                if (&old.init, old.offset, old.timescale) != (&new.init, new.offset, new.timescale) {
                    findings.push(format!("{} has changed", old.id));
                }
                for (index, segment) in old.segments.iter().enumerate() {
                    let Some(now) = new.segments.iter().find(|now| now.number == segment.number) else { continue };
                    let is_last = index + 1 == old.segments.len();
                    let is_same = now == segment || (is_last && now.start == segment.start && now.uri == segment.uri);
                    if !is_same {
                        findings.push(format!("{segment:?} has become {now:?}"));
                    }
                }
                let (first, last) = (old.segments[0].number, old.segments[old.segments.len() - 1].number);
                if new.segments[0].number < first || new.segments[new.segments.len() - 1].number < last {
                    findings.push(format!("{} went back", old.id));
                }
            }
        }
        if self.periods.last().map(|last| last.start_ms) < earlier.periods.last().map(|last| last.start_ms) {
            findings.push("the last period has gone".to_owned());
        }
        findings
    }
}

impl Period {
    fn read(element: &Element) -> Result<Self, String> {
        let mut representations = Vec::new();
        for set in element.all("AdaptationSet") {
            for representation in set.all("Representation") {
                representations.push(Representation::read(set, representation)?);
            }
        }
        Ok(Self { id: element.get("id").to_owned(), start_ms: element.duration_ms("start")?, representations })
    }
}

impl Representation {
    fn read(set: &Element, element: &Element) -> Result<Self, String> {
        let is_video = match (set.get("contentType"), set.get("mimeType")) {
            ("video", "video/mp4") => true,
            ("audio", "audio/mp4") => false,
            other => return Err(format!("{other:?} is neither picture nor sound")),
        };
        element.number("bandwidth")?;
        if is_video {
            element.number("width")?;
            element.number("height")?;
        } else {
            element.number("audioSamplingRate")?;
        }
        let template = element.one("SegmentTemplate")?;
        let first = template.number("startNumber")?;
        let mut segments: Vec<Segment> = Vec::new();
        for run in template.one("SegmentTimeline")?.all("S") {
            let duration = run.number("d")?;
            if duration == 0 {
                return Err("a segment lasts no time".to_owned());
            }
            let repeats = if run.get("r").is_empty() { 0 } else { run.number("r")? };
            let mut start = match (run.number("t"), segments.last()) {
                (Ok(start), _) => start,
                (Err(_), Some(last)) => last.start + last.duration,
                (Err(error), None) => return Err(error),
            };
            for _ in 0..=repeats {
                let number = first + segments.len() as u64;
                let uri = template.get("media").replace("$Number$", &number.to_string());
                segments.push(Segment { number, uri, start, duration });
                start += duration;
            }
        }
        Ok(Self {
            id: element.get("id").to_owned(),
            is_video,
            codecs: element.get("codecs").to_owned(),
            timescale: template.number("timescale")?,
            offset: template.number("presentationTimeOffset")?,
            init: template.get("initialization").to_owned(),
            is_growing: template.get("availabilityTimeComplete") == "false",
            segments,
        })
    }
}
