//! Playlists of what is over: RFC 8216, sections 4.3.3.5 and 4.3.3.4.

use std::fmt::Write as _;

use time::{OffsetDateTime, UtcOffset, macros::format_description};

use crate::recorder::index::Index;

/// Fragmented MP4 with `EXT-X-MAP`.
const VERSION: u32 = 7;

pub(super) fn master(index: &Index) -> String {
    let mut text = format!("#EXTM3U\n#EXT-X-VERSION:{VERSION}\n");
    if all_independent(index) {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let bytes: u64 = index.segments.iter().map(|segment| segment.size_bytes).sum();
    let ms: u64 = index.segments.iter().map(|segment| u64::from(segment.duration_ms)).sum();
    let average = (bytes * 8_000).checked_div(ms).unwrap_or(0).max(1);
    let half_target_ms = target_s(index) * 500;
    let peak = index
        .segments
        .iter()
        .filter(|segment| u64::from(segment.duration_ms) >= half_target_ms)
        .filter_map(|segment| (segment.size_bytes * 8_000).checked_div(u64::from(segment.duration_ms)))
        .max()
        .unwrap_or(average)
        .max(average);
    // Writing to a text cannot fail, here and below.
    let _ = write!(text, "#EXT-X-STREAM-INF:BANDWIDTH={peak},AVERAGE-BANDWIDTH={average}");
    if let Some(init) = index.inits.last() {
        let _ = write!(text, ",CODECS=\"{}\"", init.codecs);
        if init.has_picture() {
            let _ = write!(text, ",RESOLUTION={}x{}", init.width, init.height);
        }
        if init.frame_rate > 0.0 {
            let _ = write!(text, ",FRAME-RATE={:.3}", init.frame_rate);
        }
    }
    text.push_str("\nsource/index.m3u8\n");
    text
}

pub(super) fn media(index: &Index) -> String {
    let mut text = String::with_capacity(200 + 40 * index.segments.len());
    let target_s = target_s(index);
    let _ = write!(
        text,
        "#EXTM3U\n#EXT-X-VERSION:{VERSION}\n#EXT-X-TARGETDURATION:{target_s}\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXT-X-PLAYLIST-TYPE:VOD\n"
    );
    if all_independent(index) {
        text.push_str("#EXT-X-INDEPENDENT-SEGMENTS\n");
    }
    let mut init = None;
    for (place, segment) in index.segments.iter().enumerate() {
        let is_first = place == 0;
        if segment.is_after_discontinuity && !is_first {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        if init != Some(segment.init) {
            init = Some(segment.init);
            let _ = writeln!(text, "#EXT-X-MAP:URI=\"init{}.mp4\"", segment.init);
        }
        if is_first || segment.is_after_discontinuity {
            let _ = writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", date(segment.starts_at));
        }
        let (s, ms) = (segment.duration_ms / 1_000, segment.duration_ms % 1_000);
        let _ = write!(text, "#EXTINF:{s}.{ms:03},\ns{}.m4s\n", segment.number);
    }
    text.push_str("#EXT-X-ENDLIST\n");
    text
}

/// Each duration, rounded, is at most the target.
fn target_s(index: &Index) -> u64 {
    let longest_ms = index.segments.iter().map(|segment| segment.duration_ms).max().unwrap_or(0);
    u64::from((longest_ms + 500) / 1_000).max(1)
}

fn all_independent(index: &Index) -> bool {
    index.segments.iter().all(|segment| segment.key_frame_bytes > 0)
}

fn date(time: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    // All that it asks for is there.
    time.to_offset(UtcOffset::UTC).format(form).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::recorder::index::{KeptInit, KeptSegment};

    #[test]
    fn what_is_over_says_so_and_keeps_its_breaks() {
        let mut index = Index::new(uuid::Uuid::nil().into());
        let init = |number| KeptInit {
            number,
            size_bytes: 700,
            codecs: "avc1.64001f,mp4a.40.2".to_owned(),
            width: 1_280,
            height: 720,
            frame_rate: 30.0,
        };
        let segment = |number, duration_ms, init, is_after_discontinuity| KeptSegment {
            number,
            duration_ms,
            size_bytes: u64::from(duration_ms) * 250,
            init,
            is_after_discontinuity,
            is_gap: false,
            starts_at: datetime!(2026-11-21 10:00:00.123456 UTC),
            key_frame_bytes: 9,
            decode_time: 0,
        };
        index.push_init(init(0));
        index.push_segment(segment(0, 4_000, 0, true));
        index.push_segment(segment(1, 4_033, 0, false));
        index.push_init(init(7));
        index.push_segment(segment(7, 600, 7, true));
        assert_eq!(
            media(&index),
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:4\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:VOD\n\
             #EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-MAP:URI=\"init0.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:00.123Z\n\
             #EXTINF:4.000,\ns0.m4s\n#EXTINF:4.033,\ns1.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init7.mp4\"\n\
             #EXT-X-PROGRAM-DATE-TIME:2026-11-21T10:00:00.123Z\n#EXTINF:0.600,\ns7.m4s\n#EXT-X-ENDLIST\n"
        );
        assert_eq!(
            master(&index),
            "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n#EXT-X-STREAM-INF:BANDWIDTH=2000000,\
             AVERAGE-BANDWIDTH=2000000,CODECS=\"avc1.64001f,mp4a.40.2\",RESOLUTION=1280x720,FRAME-RATE=30.000\n\
             source/index.m3u8\n"
        );
    }
}
