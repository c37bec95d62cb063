//! Writes the manifest: ISO/IEC 23009-1 with what DASH-IF's guidelines for low latency ask for. Addresses are relative, so
//! that a path in front (a token for private playback, a proxy's prefix) is inherited.
//!
//! Time zero is 1970, so that what is presented when needs no beginning to be remembered: a period begins at what the
//! wall's clock was at its first picture. Each stretch without a break in times and tracks is a period. Numbers are those
//! of HLS; a segment that grows is listed as far as it has come.

use std::fmt::Write;

use time::OffsetDateTime;

use super::timeline::Timeline;
use crate::{
    media::{
        fragment::{AUDIO_TRACK, VIDEO_TRACK},
        times,
    },
    packager::{DateTime, Init, Rendition, SOURCE, Segment, View},
};

/// A stretch of the source without a break.
struct Period<'a> {
    init: &'a Init,
    discontinuity: u64,
    first: u64,
    /// `None` for the one that goes on.
    last: Option<u64>,
}

/// One track of a rendition in a period.
struct Representation<'a> {
    name: &'a str,
    bandwidth: u64,
    init: &'a Init,
    timescale: u32,
    timeline: Timeline,
}

/// The manifest; the first is the source, and has been out.
pub(super) fn write<'a>(variants: impl Iterator<Item = (&'a Rendition, &'a View)>) -> String {
    let variants: Vec<_> = variants.collect();
    let mut text = String::with_capacity(4_096);
    let Some((_, source)) = variants.first() else { return text };
    let facts = &source.facts;
    let (target_s, part_ms) = (facts.timing.target_duration_s, facts.timing.part_target_ms);
    let periods = periods(source);
    let listed: Vec<&Segment> = listed(source).collect();
    let depth_ms: u64 = listed.iter().map(|segment| u64::from(segment.duration_ms)).sum();
    let longest_ms = listed.iter().map(|segment| segment.duration_ms).max().unwrap_or(0).max(target_s * 1_000);
    // Writing to a string does not fail, here and below.
    let _ = write!(
        text,
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"dynamic\" \
         profiles=\"urn:mpeg:dash:profile:isoff-live:2011,http://www.dashif.org/guidelines/low-latency-live-v5\" \
         availabilityStartTime=\"1970-01-01T00:00:00Z\" publishTime=\"{}\" minBufferTime=\"{}\" \
         maxSegmentDuration=\"{}\" timeShiftBufferDepth=\"{}\" suggestedPresentationDelay=\"{}\"",
        DateTime(published_at(&listed)),
        Duration(i128::from(part_ms) * 2),
        Duration(longest_ms.into()),
        Duration(depth_ms.into()),
        Duration(i128::from(latency_ms(part_ms))),
    );
    match listed.last().filter(|_| facts.is_ended) {
        // It does not change any more.
        Some(last) => {
            let end = since_1970_ms(last.starts_at) + i128::from(last.duration_ms);
            let _ = write!(text, " mediaPresentationDuration=\"{}\"", Duration(end));
        }
        None => {
            let _ = write!(text, " minimumUpdatePeriod=\"{}\"", Duration(part_ms.into()));
        }
    }
    let latency = latency_ms(part_ms);
    let _ = write!(
        text,
        ">\n<ServiceDescription id=\"0\"><Latency target=\"{latency}\" min=\"{}\" max=\"{}\"/>\
         <PlaybackRate min=\"0.95\" max=\"1.1\"/></ServiceDescription>\n",
        part_ms * 2,
        latency * 2,
    );
    for period in &periods {
        write_period(&mut text, period, &variants);
    }
    text.push_str("<UTCTiming schemeIdUri=\"urn:mpeg:dash:utc:http-iso:2014\" value=\"../time\"/>\n</MPD>\n");
    text
}

/// How far behind live a player should be: three parts to hold, and one for its way.
fn latency_ms(part_ms: u32) -> u32 {
    4 * part_ms
}

/// What the playlist lists, and what grows.
fn listed(view: &View) -> impl Iterator<Item = &Segment> {
    view.segments().skip(view.facts.listed_from)
}

fn periods(source: &View) -> Vec<Period<'_>> {
    let mut periods: Vec<Period<'_>> = Vec::new();
    for segment in listed(source) {
        if periods.last().is_none_or(|last| last.init.number != segment.init.number) {
            if let Some(last) = periods.last_mut() {
                last.last = Some(segment.number - 1);
            }
            let (init, discontinuity, first) = (&*segment.init, segment.discontinuity, segment.number);
            periods.push(Period { init, discontinuity, first, last: None });
        }
    }
    periods
}

fn write_period(text: &mut String, period: &Period<'_>, variants: &[(&Rendition, &View)]) {
    let pictures: Vec<_> =
        variants.iter().filter_map(|(rendition, view)| representation(period, rendition, view, VIDEO_TRACK)).collect();
    let sound = variants.first().and_then(|(rendition, view)| representation(period, rendition, view, AUDIO_TRACK));
    // Where there is a picture, sound that is there before it waits for it.
    if pictures.is_empty() && (period.init.media.has_picture() || sound.is_none()) {
        return;
    }
    let starts_ms = since_1970_ms(period.init.begins_at);
    // None says how long it is: it lasts until the next, which may begin later than the last picture ends. Players jump over
    // that, and ffmpeg plays the last period of those that do not say.
    let _ = writeln!(text, "<Period id=\"{}\" start=\"{}\">", period.init.number, Duration(starts_ms));
    // A player changes between pictures of one kind only.
    let kind = |picture: &Representation<'_>| picture.init.media.codecs.get(..4).unwrap_or_default().to_owned();
    for (id, set) in pictures.chunk_by(|one, next| kind(one) == kind(next)).enumerate() {
        let _ = writeln!(
            text,
            "<AdaptationSet id=\"{}\" contentType=\"video\" mimeType=\"video/mp4\" segmentAlignment=\"true\" \
             startWithSAP=\"1\">",
            id + 1
        );
        for picture in set {
            let media = &picture.init.media;
            let codec = media.codecs.split(',').next().unwrap_or_default();
            let _ = write!(
                text,
                "<Representation id=\"{}\" bandwidth=\"{}\" codecs=\"{codec}\" width=\"{}\" height=\"{}\"",
                picture.name, picture.bandwidth, media.width, media.height
            );
            if media.frame_rate > 0.0 {
                let _ = write!(text, " frameRate=\"{}\"", FrameRate(media.frame_rate));
            }
            text.push_str(">\n");
            write_template(text, period, picture, 'v', variants);
        }
        text.push_str("</AdaptationSet>\n");
    }
    if let Some(sound) = &sound
        && let Some(codec) = &sound.init.media.sound_codec
    {
        let _ = write!(
            text,
            "<AdaptationSet id=\"0\" contentType=\"audio\" mimeType=\"audio/mp4\" segmentAlignment=\"true\" \
             startWithSAP=\"1\">\n<Representation id=\"audio\" bandwidth=\"{}\" codecs=\"{codec}\" \
             audioSamplingRate=\"{}\">\n",
            sound.bandwidth, sound.timescale
        );
        write_template(text, period, sound, 'a', variants);
        text.push_str("</AdaptationSet>\n");
    }
    text.push_str("</Period>\n");
}

fn write_template(
    text: &mut String,
    period: &Period<'_>,
    of: &Representation<'_>,
    folder: char,
    variants: &[(&Rendition, &View)],
) {
    let Representation { name, init, timescale, timeline, .. } = of;
    let _ = write!(
        text,
        "<SegmentTemplate timescale=\"{timescale}\" presentationTimeOffset=\"{}\" startNumber=\"{}\" \
         initialization=\"{name}/{folder}/init{}.mp4\" media=\"{name}/{folder}/s$Number$.m4s\"",
        offset(period, *timescale),
        timeline.first,
        init.number,
    );
    if period.last.is_none()
        && let Some((_, source)) = variants.first()
    {
        let timing = source.facts.timing;
        let early_ms = (timing.target_duration_s * 1_000).saturating_sub(timing.part_target_ms);
        let _ = write!(
            text,
            " availabilityTimeOffset=\"{}.{:03}\" availabilityTimeComplete=\"false\"",
            early_ms / 1_000,
            early_ms % 1_000
        );
    }
    let _ = write!(text, "><SegmentTimeline>{timeline}</SegmentTimeline></SegmentTemplate>\n</Representation>\n");
}

/// What a rendition has of a track in a period; `None` where it has nothing.
fn representation<'a>(
    period: &Period<'_>,
    rendition: &'a Rendition,
    view: &'a View,
    track: u32,
) -> Option<Representation<'a>> {
    let is_of_period = |segment: &&'a Segment| {
        segment.number >= period.first
            && period.last.is_none_or(|last| segment.number <= last)
            && segment.discontinuity == period.discontinuity
    };
    let init: &'a Init = listed(view).filter(is_of_period).last().map(|segment| &*segment.init)?;
    let of_init: Vec<_> =
        listed(view).filter(is_of_period).filter(|segment| segment.init.number == init.number).collect();
    let has_complete = of_init.first().is_some_and(|first| !first.bytes.is_empty());
    if !has_complete && rendition.name() != SOURCE {
        return None;
    }
    let timescale = times::timescale(&init.media.bytes, track)?;
    let timeline = Timeline::read(of_init.into_iter(), track, timescale);
    let rate = if track == VIDEO_TRACK { view.facts.rate } else { view.facts.sound_rate };
    let declared = u64::from(rendition.spec().bitrate_kbps.unwrap_or(0)) * 1_000;
    let bandwidth = match track {
        VIDEO_TRACK => rate.peak_bits_per_second().max(declared),
        _ => rate.peak_bits_per_second(),
    };
    (!timeline.is_empty()).then(|| Representation {
        name: rendition.name(),
        bandwidth: bandwidth.max(1),
        init,
        timescale,
        timeline,
    })
}

/// Where the period begins, in ticks of a track.
fn offset(period: &Period<'_>, timescale: u32) -> u64 {
    let begins_ms = u64::try_from(period.init.cut.presents_ms).unwrap_or(0);
    begins_ms * u64::from(timescale) / 1_000
}

/// When the latest of what is listed came.
fn published_at(listed: &[&Segment]) -> OffsetDateTime {
    listed.last().map_or(OffsetDateTime::UNIX_EPOCH, |last| {
        last.starts_at + time::Duration::milliseconds(i64::from(last.duration_ms))
    })
}

fn since_1970_ms(time: OffsetDateTime) -> i128 {
    time.unix_timestamp_nanos() / 1_000_000
}

/// Milliseconds as an `xs:duration`.
struct Duration(i128);

impl std::fmt::Display for Duration {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "PT{}.{:03}S", self.0 / 1_000, self.0 % 1_000)
    }
}

/// A whole number, or that over 1001, as NTSC has it.
struct FrameRate(f64);

impl std::fmt::Display for FrameRate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, ntsc) = (self.0.round(), (self.0 * 1.001).round());
        if (self.0 - whole).abs() >= 0.005 && (self.0 * 1.001 - ntsc).abs() < 0.005 {
            write!(formatter, "{}/1001", ntsc * 1_000.0)
        } else {
            write!(formatter, "{}", whole.max(1.0))
        }
    }
}
