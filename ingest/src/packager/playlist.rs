//! Writes playlists: draft-pantos-hls-rfc8216bis, section 4.4. Addresses are relative, so that a path in front (a token
//! for private playback, a proxy's prefix) is inherited.

use std::{fmt::Write, sync::Arc};

use time::OffsetDateTime;

use super::{
    view::{Facts, MasterFacts},
    window::{Init, Segment},
};

/// The name of the one rendition that is passed through; also a folder in the addresses.
pub(crate) const SOURCE: &str = "source";

/// The multivariant playlist.
pub(super) fn master(facts: &MasterFacts) -> String {
    let media = &facts.init.media;
    let mut text = String::with_capacity(256);
    text.push_str("#EXTM3U\n#EXT-X-VERSION:6\n");
    // Writing to a string does not fail, here and below.
    let _ = write!(
        text,
        "#EXT-X-STREAM-INF:BANDWIDTH={},AVERAGE-BANDWIDTH={},CODECS=\"{}\",RESOLUTION={}x{}",
        facts.peak_bits_per_second.max(1),
        facts.average_bits_per_second.max(1),
        media.codecs,
        media.width,
        media.height,
    );
    if media.frame_rate > 0.0 {
        let _ = write!(text, ",FRAME-RATE={:.3}", media.frame_rate);
    }
    let _ = write!(text, "\n{SOURCE}/index.m3u8\n");
    text
}

/// The media playlist.
pub(super) fn media(facts: &Facts) -> String {
    let target_ms = facts.timing.target_duration_s * 1_000;
    let listed = facts.segments.get(facts.listed_from..).unwrap_or_default();
    let mut text = String::with_capacity(2_048);
    let first = listed.first().map_or(facts.next_segment, |segment| segment.number);
    let _ = write!(
        text,
        "#EXTM3U\n#EXT-X-VERSION:6\n#EXT-X-TARGETDURATION:{}\n\
         #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={}\n\
         #EXT-X-PART-INF:PART-TARGET={}\n#EXT-X-MEDIA-SEQUENCE:{first}\n",
        facts.timing.target_duration_s,
        Seconds(facts.timing.part_target_ms * 3),
        Seconds(facts.timing.part_target_ms),
    );
    if facts.discontinuity_sequence > 0 {
        let _ = writeln!(text, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", facts.discontinuity_sequence);
    }
    let all = || listed.iter().map(|segment| &**segment).chain(&facts.open);
    if all().all(Segment::is_independent) {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    // Parts are named while they are within three target durations of the end.
    let mut from_end_ms: u32 = all().map(|segment| segment.duration_ms).sum();
    let mut init: Option<&Arc<Init>> = None;
    for segment in all() {
        from_end_ms -= segment.duration_ms;
        if segment.is_after_discontinuity {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if init.is_none_or(|init| init.number != segment.init.number) {
            let _ = writeln!(text, "#EXT-X-MAP:URI=\"init{}.mp4\"", segment.init.number);
            init = Some(&segment.init);
        }
        let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", DateTime(segment.starts_at));
        if from_end_ms < 3 * target_ms {
            for part in &segment.parts {
                let independent = if part.is_independent { ",INDEPENDENT=YES" } else { "" };
                let _ = writeln!(
                    text,
                    "#EXT-X-PART:DURATION={},URI=\"p{}.m4s\"{independent}",
                    Seconds(part.duration_ms),
                    part.number,
                );
            }
        }
        if !segment.bytes.is_empty() {
            let _ = writeln!(text, "#EXTINF:{},\ns{}.m4s", Seconds(segment.duration_ms), segment.number);
        }
    }
    if facts.is_ended {
        text.push_str("#EXT-X-ENDLIST\n");
    } else {
        let _ = writeln!(text, "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p{}.m4s\"", facts.next_part);
    }
    text
}

/// Milliseconds as decimal seconds.
struct Seconds(u32);

impl std::fmt::Display for Seconds {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// A time in UTC as RFC 3339, to the millisecond.
struct DateTime(OffsetDateTime);

impl std::fmt::Display for DateTime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let time = self.0.to_offset(time::UtcOffset::UTC);
        let (year, month, day) = time.to_calendar_date();
        let (hour, minute, second, milli) = time.to_hms_milli();
        write!(formatter, "{year:04}-{:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z", u8::from(month))
    }
}
