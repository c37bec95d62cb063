//! A media playlist as the origin sent it, and how far it is.

use std::sync::Arc;

use axum::{
    http::{HeaderMap, HeaderValue},
    response::Response,
};

use super::answer::Answer;
use crate::{
    origin::address::{Position, ReloadQuery},
    packager::Reload,
};

/// How many parts of a segment that has not begun may be asked for, where the playlist does not say how long they are.
const ADVANCE_PARTS: u64 = 3;

/// A media playlist.
#[derive(Debug)]
pub(super) struct Playlist {
    answer: Arc<Answer>,
    pub(super) target_s: u64,
    /// The number of the segment that is not complete yet.
    pub(super) next_segment: u64,
    /// How many of its parts are there.
    pub(super) open_parts: u64,
    /// How many parts the last complete segment has.
    last_parts: u64,
    pub(super) has_parts: bool,
    pub(super) is_ended: bool,
}

/// Whether this is the address of a playlist that grows: `/<stream>/<rendition>/index.m3u8`, or `rewind.m3u8`.
pub(super) fn is_followed(path: &str) -> bool {
    let is_playlist = path.ends_with("/index.m3u8") || path.ends_with("/rewind.m3u8");
    is_playlist && path.matches('/').count() == 3 && !path.starts_with("/channels/")
}

impl Playlist {
    /// Reads the lines that say how far it is: RFC 8216bis sections 4.4.3 and 4.4.4. `None` when it is no playlist.
    pub(super) fn read(answer: Arc<Answer>) -> Option<Self> {
        let text = std::str::from_utf8(answer.body()).ok()?;
        if !text.starts_with("#EXTM3U") {
            return None;
        }
        let (mut first, mut complete, mut parts, mut last_parts, mut target_s) = (0, 0, 0, 0, None);
        let (mut has_parts, mut is_ended) = (false, false);
        for line in text.lines() {
            if let Some(number) = line.strip_prefix("#EXT-X-MEDIA-SEQUENCE:") {
                first = number.parse().ok()?;
            } else if let Some(seconds) = line.strip_prefix("#EXT-X-TARGETDURATION:") {
                target_s = seconds.parse().ok();
            } else if line.starts_with("#EXT-X-PART:") {
                parts += 1;
            } else if line.starts_with("#EXT-X-PART-INF:") {
                has_parts = true;
            } else if line.starts_with("#EXTINF:") {
                complete += 1;
                (last_parts, parts) = (parts, 0);
            } else if line == "#EXT-X-ENDLIST" {
                is_ended = true;
            }
        }
        let next_segment = first + complete;
        let target_s = target_s?;
        Some(Self { answer, target_s, next_segment, open_parts: parts, last_parts, has_parts, is_ended })
    }

    /// What to wait for next.
    pub(super) fn next_query(&self) -> String {
        match self.has_parts {
            true => format!("_HLS_msn={}&_HLS_part={}", self.next_segment, self.open_parts),
            false => format!("_HLS_msn={}", self.next_segment),
        }
    }

    /// Whether it has what is asked for, as the origin decides it.
    pub(super) fn reload(&self, reload: ReloadQuery) -> Reload {
        let Some(Position { segment, part }) = reload.position else { return Reload::Ready };
        let next = self.next_segment;
        if self.is_ended || segment + 1 < next {
            return Reload::Ready;
        }
        if segment > next + 1 {
            return Reload::TooFar;
        }
        let is_ready = match part {
            None => segment < next,
            Some(part) if segment + 1 == next => part < self.last_parts || self.open_parts > 0,
            Some(part) => segment == next && part < self.open_parts,
        };
        if is_ready {
            return Reload::Ready;
        }
        // The origin knows how long a part is and allows fewer; what it would refuse is not answered here either.
        let limit = ADVANCE_PARTS.max(self.target_s * 5);
        let is_far = match part {
            Some(part) if segment == next => part >= self.open_parts + limit,
            Some(part) if segment == next + 1 => part >= limit,
            _ => false,
        };
        if is_far { Reload::TooFar } else { Reload::Wait }
    }

    /// For a viewer with these headers; whole also where a delta would do, which every player must bear. How long it may be kept is as at the origin: RFC 8216bis section 6.2.5.
    pub(super) fn respond(&self, reload: ReloadQuery, request: &HeaderMap) -> Response {
        let fresh_s = if reload.position.is_some() { 6 * self.target_s } else { self.target_s / 2 };
        let cache = HeaderValue::try_from(format!("public, max-age={fresh_s}")).ok();
        self.answer.respond_with(request, cache.as_ref())
    }

    /// Whether not everybody may have it, as the origin says.
    pub(super) fn is_restricted(&self) -> bool {
        self.answer.is_restricted
    }

    pub(super) fn tag(&self) -> &str {
        self.answer.tag()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    const LIVE: &str = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n#EXT-X-PART-INF:PART-TARGET=0.5\n\
        #EXT-X-MEDIA-SEQUENCE:7\n#EXTINF:2.0,\ns7.m4s\n#EXT-X-PART:DURATION=0.5,URI=\"p30.m4s\"\n\
        #EXT-X-PART:DURATION=0.5,URI=\"p31.m4s\"\n#EXTINF:1.0,\ns8.m4s\n#EXT-X-PART:DURATION=0.5,URI=\"p32.m4s\"\n\
        #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"p33.m4s\"\n";

    fn read(text: &str) -> Option<Playlist> {
        let body = bytes::Bytes::copy_from_slice(text.as_bytes());
        Playlist::read(Arc::new(Answer::new(StatusCode::OK, HeaderMap::new(), body)))
    }

    #[test]
    fn how_far_it_is_is_read_from_its_lines() {
        let live = read(LIVE).unwrap();
        assert_eq!((live.next_segment, live.open_parts, live.target_s, live.is_ended), (9, 1, 2, false));
        assert_eq!(live.next_query(), "_HLS_msn=9&_HLS_part=1");
        assert!(read(&format!("{LIVE}#EXT-X-ENDLIST\n")).unwrap().is_ended);
        assert!(read("<html>").is_none());
        assert!(read("#EXTM3U\n").is_none());
    }

    #[test]
    fn it_has_what_the_origin_would_have() {
        let live = read(LIVE).unwrap();
        let reload =
            |segment, part| live.reload(ReloadQuery { position: Some(Position { segment, part }), is_delta: false });
        for (segment, part) in [(0, None), (7, Some(9)), (8, None), (8, Some(0)), (8, Some(5)), (9, Some(0))] {
            assert_eq!(reload(segment, part), Reload::Ready, "{segment} {part:?}");
        }
        for (segment, part) in [(9, None), (9, Some(1)), (10, None), (10, Some(0))] {
            assert_eq!(reload(segment, part), Reload::Wait, "{segment} {part:?}");
        }
        for (segment, part) in [(11, None), (9, Some(99)), (10, Some(99))] {
            assert_eq!(reload(segment, part), Reload::TooFar, "{segment} {part:?}");
        }
    }

    #[test]
    fn only_media_playlists_are_followed() {
        for (path, expected) in [
            ("/0192/source/index.m3u8", true),
            ("/0192/720p/index.m3u8", true),
            ("/0192/index.m3u8", false),
            ("/0192/source/rewind.m3u8", true),
            ("/0192/rewind.m3u8", false),
            ("/channels/0192/index.m3u8", false),
            ("/0192/source/p1.m4s", false),
        ] {
            assert_eq!(is_followed(path), expected, "{path}");
        }
    }
}
