//! Writes playlists: draft-pantos-hls-rfc8216bis, section 4.4. Addresses are relative, so that a path in front (a token
//! for private playback, a proxy's prefix) is inherited.

use std::{fmt::Write, sync::Arc};

use time::OffsetDateTime;

use super::{
    view::Facts,
    window::{Init, Part, Rate, Segment, Timing},
};

/// The name of the rendition that is passed through; also a folder in the addresses.
pub(crate) const SOURCE: &str = "source";
/// The name of the rendition with the source's sound alone.
pub(crate) const AUDIO: &str = "audio";

/// The first version with `EXT-X-SKIP`: RFC 8216bis section 8.
const VERSION: u32 = 9;
/// `CAN-SKIP-UNTIL` in target durations: the least that RFC 8216bis section 4.4.3.8 allows.
const SKIP_TARGETS: u32 = 6;

/// One variant in the multivariant playlist.
#[derive(Clone, Debug)]
pub(crate) struct Variant {
    pub name: String,
    pub rate: Rate,
    /// What its encoder is told not to exceed, in bits a second; 0 where nobody is told.
    pub declared_bits_per_second: u64,
    pub init: Arc<Init>,
    /// Of the sound alone, where there is any.
    pub sound_rate: Rate,
}

/// The multivariant playlist. The first is the source: a variant of its sound alone is added where it has any beside a
/// picture.
pub(super) fn master(variants: &[Variant]) -> String {
    let mut text = String::with_capacity(256 * (variants.len() + 1));
    // Writing to a string does not fail, here and below.
    let _ = writeln!(text, "#EXTM3U\n#EXT-X-VERSION:{VERSION}");
    for variant in variants {
        let media = &variant.init.media;
        let peak = variant.rate.peak_bits_per_second().max(variant.declared_bits_per_second);
        write_bandwidth(&mut text, peak, variant.rate);
        let _ = write!(text, ",CODECS=\"{}\"", media.codecs);
        if media.has_picture() {
            let _ = write!(text, ",RESOLUTION={}x{}", media.width, media.height);
        }
        if media.frame_rate > 0.0 {
            let _ = write!(text, ",FRAME-RATE={:.3}", media.frame_rate);
        }
        let _ = write!(text, "\n{}/index.m3u8\n", variant.name);
    }
    if let Some((rate, codec)) = variants
        .first()
        .filter(|source| source.init.media.has_picture())
        .and_then(|source| source.init.media.sound_codec.as_ref().map(|codec| (source.sound_rate, codec)))
    {
        write_bandwidth(&mut text, rate.peak_bits_per_second(), rate);
        let _ = write!(text, ",CODECS=\"{codec}\"\n{AUDIO}/index.m3u8\n");
    }
    text
}

fn write_bandwidth(text: &mut String, peak: u64, rate: Rate) {
    let average = rate.average_bits_per_second().max(1);
    let _ = write!(text, "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={average}", peak.max(1));
}

/// How far another rendition is: `EXT-X-RENDITION-REPORT`, RFC 8216bis section 4.4.5.4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub name: String,
    pub last_segment: u64,
    pub last_part: Option<u64>,
}

/// What a media playlist lists.
#[derive(Debug)]
pub(crate) struct Listing<'a> {
    /// The playlist's own name, by which reports name those of other renditions.
    pub file: &'static str,
    pub timing: Timing,
    /// With consecutive numbers, oldest first; only the last may be growing.
    pub entries: Vec<Entry<'a>>,
    /// For a listing without entries: the numbers of the segment to come.
    pub next_segment: u64,
    pub discontinuity: u64,
    pub next_part: u64,
    pub is_ended: bool,
    /// Every segment there ever will be begins with what can be decoded by itself. It must be known from the first
    /// playlist on, since the tag may not come or go: RFC 8216bis section 6.2.1.
    pub is_independent: bool,
    pub reports: Vec<Report>,
}

/// One segment of a [`Listing`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub number: u64,
    pub duration_ms: u32,
    /// The number of its initialisation segment.
    pub init: u64,
    pub starts_at: OffsetDateTime,
    pub discontinuity: u64,
    pub is_after_discontinuity: bool,
    /// There is nothing of this rendition in it.
    pub is_gap: bool,
    /// False while it grows: then it has parts and no address.
    pub is_complete: bool,
    /// Named while they are within three target durations of the end; may be empty for older segments.
    pub parts: &'a [Part],
}

impl<'a> From<&'a Segment> for Entry<'a> {
    fn from(segment: &'a Segment) -> Self {
        Self {
            number: segment.number,
            duration_ms: segment.duration_ms,
            init: segment.init.number,
            starts_at: segment.starts_at,
            discontinuity: segment.discontinuity,
            is_after_discontinuity: segment.is_after_discontinuity,
            is_gap: false,
            is_complete: !segment.bytes.is_empty(),
            parts: &segment.parts,
        }
    }
}

impl<'a> Listing<'a> {
    /// What the live playlist of a moment lists; of the sound alone, if wanted.
    pub(super) fn live(facts: &'a Facts, is_audio: bool, reports: Vec<Report>) -> Self {
        let listed = facts.segments.get(facts.listed_from..).unwrap_or_default();
        let entry = |segment: &'a Segment| Entry {
            is_gap: is_audio && segment.init.media.sound_codec.is_none(),
            ..Entry::from(segment)
        };
        Self {
            file: "index.m3u8",
            timing: facts.timing,
            entries: listed.iter().map(|segment| entry(segment)).chain(facts.open.as_ref().map(entry)).collect(),
            next_segment: facts.next_segment,
            discontinuity: facts.discontinuity,
            next_part: facts.next_part,
            is_ended: facts.is_ended,
            is_independent: is_audio,
            reports,
        }
    }

    /// How many segments a delta update leaves out: those that end further from the end of the playlist than the skip
    /// boundary, RFC 8216bis section 6.2.5.1. With 0 it would be the whole playlist.
    pub(crate) fn skippable(&self) -> usize {
        let boundary_ms = u64::from(SKIP_TARGETS * self.timing.target_duration_s) * 1_000;
        let mut from_end_ms: u64 = self.entries.iter().map(|entry| u64::from(entry.duration_ms)).sum();
        self.entries
            .iter()
            .take_while(|entry| {
                from_end_ms -= u64::from(entry.duration_ms);
                entry.is_complete && from_end_ms > boundary_ms
            })
            .count()
    }
}

/// The media playlist, without its first `skipped` segments: with any it is a delta update.
pub(crate) fn media(listing: &Listing<'_>, skipped: usize) -> String {
    let Timing { target_duration_s, part_target_ms } = listing.timing;
    let mut text = String::with_capacity(2_048);
    let first = listing.entries.first();
    // The first segment's own tag stands before it, and counts.
    let discontinuity =
        first.map_or(listing.discontinuity, |first| first.discontinuity - u64::from(first.is_after_discontinuity));
    let _ = write!(
        text,
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target_duration_s}\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,CAN-SKIP-UNTIL={}.0,PART-HOLD-BACK={}\n\
         #EXT-X-PART-INF:PART-TARGET={}\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{discontinuity}\n",
        SKIP_TARGETS * target_duration_s,
        Seconds(part_target_ms * 3),
        Seconds(part_target_ms),
        first.map_or(listing.next_segment, |first| first.number),
    );
    if listing.is_independent {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    if skipped > 0 {
        let _ = writeln!(text, "#EXT-X-SKIP:SKIPPED-SEGMENTS={skipped}");
    }
    let shown = listing.entries.get(skipped..).unwrap_or_default();
    // Parts are named while they are within three target durations of the end.
    let parts_ms = u64::from(3 * target_duration_s) * 1_000;
    let mut from_end_ms: u64 = shown.iter().map(|entry| u64::from(entry.duration_ms)).sum();
    // A delta update's client knows the initialisation segment of what was left out.
    let mut init = skipped.checked_sub(1).and_then(|last| listing.entries.get(last)).map(|entry| entry.init);
    for entry in shown {
        from_end_ms -= u64::from(entry.duration_ms);
        if entry.is_after_discontinuity {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if init != Some(entry.init) {
            let _ = writeln!(text, "#EXT-X-MAP:URI=\"init{}.mp4\"", entry.init);
            init = Some(entry.init);
        }
        let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", DateTime(entry.starts_at));
        if from_end_ms < parts_ms {
            write_parts(&mut text, entry, listing.is_independent);
        }
        if entry.is_complete {
            let gap = if entry.is_gap { "#EXT-X-GAP\n" } else { "" };
            let _ = writeln!(text, "#EXTINF:{},\n{gap}s{}.m4s", Seconds(entry.duration_ms), entry.number);
        }
    }
    if listing.is_ended {
        text.push_str("#EXT-X-ENDLIST\n");
        return text;
    }
    let _ = writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p{}.m4s\"", listing.next_part);
    for Report { name, last_segment, last_part } in &listing.reports {
        let file = listing.file;
        let _ = write!(text, "#EXT-X-RENDITION-REPORT:URI=\"../{name}/{file}\",LAST-MSN={last_segment}");
        if let Some(part) = last_part {
            let _ = write!(text, ",LAST-PART={part}");
        }
        text.push('\n');
    }
    text
}

fn write_parts(text: &mut String, entry: &Entry<'_>, is_independent: bool) {
    for part in entry.parts {
        let _ = write!(text, "#EXT-X-PART:DURATION={},URI=\"p{}.m4s\"", Seconds(part.duration_ms), part.number);
        if is_independent || part.is_independent {
            text.push_str(",INDEPENDENT=YES");
        }
        text.push_str(if entry.is_gap { ",GAP=YES\n" } else { "\n" });
    }
}
/// Milliseconds as decimal seconds.
struct Seconds(u32);

impl std::fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// A time in UTC as RFC 3339, to the millisecond.
pub(crate) struct DateTime(pub OffsetDateTime);

impl std::fmt::Display for DateTime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = self.0.to_offset(time::UtcOffset::UTC);
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second, milli) = time.to_hms_milli();
        write!(formatter, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z", u8::from(month))
    }
}
