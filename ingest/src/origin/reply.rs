//! Answers with their headers.

use std::time::SystemTime;

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use storage::Object;
use time::{OffsetDateTime, UtcOffset};

use super::address::MediaFile;
use crate::{packager::Document, thumbnails::Picture};

const PLAYLIST_TYPE: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("video/mp4");
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// No answer here has more headers.
const MOST_HEADERS: usize = 10;

/// A playlist, compressed where the client can take it.
///
/// How long caches may keep it, in seconds, is what RFC 8216bis section 6.2.5 recommends: six target durations for an
/// address that names a position, half of one for others.
pub(super) fn playlist(document: &Document, fresh_s: u32, request: &HeaderMap) -> Response {
    let is_gzip = accepts_gzip(request);
    let tag = format!("\"{}{}\"", document.tag, if is_gzip { "-gzip" } else { "" });
    let body = if is_gzip { document.gzip() } else { &document.plain };
    let cache = text(&format!("public, max-age={fresh_s}"));
    let mut response = tagged(request, &tag, || body.clone());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, PLAYLIST_TYPE);
    headers.insert(header::CACHE_CONTROL, cache);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if is_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// A segment, a part or an initialisation segment: what an address names never changes.
pub(super) fn media(bytes: Bytes, file: MediaFile, request: &HeaderMap) -> Response {
    let tag = match file {
        MediaFile::Init(number) => format!("\"init{number}\""),
        MediaFile::Segment(number) => format!("\"s{number}\""),
        MediaFile::Part(number) => format!("\"p{number}\""),
    };
    let mut response = tagged(request, &tag, || bytes);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, MEDIA_TYPE);
    headers.insert(header::CACHE_CONTROL, FOR_EVER);
    response
}

/// A segment that still grows, sent as it comes.
pub(super) fn growing(body: Body, file: MediaFile) -> Response {
    // What it will be is what its address names for ever; who has it already does not ask for it again.
    let mut response = media(Bytes::new(), file, &HeaderMap::new());
    *response.body_mut() = body;
    response
}

/// A manifest for DASH: players and caches ask each time whether theirs is still the latest, and hear so in a few bytes.
pub(super) fn manifest(document: &Document, request: &HeaderMap) -> Response {
    let mut response = playlist(document, 0, request);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/dash+xml"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, no-cache"));
    response
}

/// What time it is, for clocks of viewers that are wrong.
pub(super) fn time(now: &str) -> Response {
    let mut response = Response::new(Body::from(now.to_owned()));
    let headers = response.headers_mut();
    allow_every_origin(headers);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// A still picture, replaced every now and then.
pub(super) fn thumbnail(object: Object, picture: Picture, request: &HeaderMap) -> Response {
    let since_epoch = object.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let tag = format!("\"{:x}-{:x}\"", since_epoch.as_nanos(), object.bytes.len());
    let mut response = tagged(request, &tag, || object.bytes);
    let headers = response.headers_mut();
    let media_type = if picture.is_webp() { "image/webp" } else { "image/jpeg" };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=10"));
    headers.insert(header::LAST_MODIFIED, text(&http_date(object.modified)));
    response
}

/// To where a channel's stream is now.
pub(super) fn redirect(to: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::FOUND;
    let headers = response.headers_mut();
    allow_every_origin(headers);
    headers.insert(header::LOCATION, text(to));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What a browser asks before it sends headers of its own to another origin.
pub(crate) fn preflight() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    allow_every_origin(headers);
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

/// Streams may be played by pages of any site; nothing here depends on who asks.
pub(crate) fn allow_every_origin(headers: &mut HeaderMap) {
    const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

/// The body, or 304 when the client has it.
fn tagged(request: &HeaderMap, tag: &str, body: impl FnOnce() -> Bytes) -> Response {
    let is_known = request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == tag);
    let mut response = if is_known {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        Response::new(Body::from(body()))
    };
    let headers = response.headers_mut();
    // For all of them: a map that grows is built anew.
    headers.reserve(MOST_HEADERS);
    allow_every_origin(headers);
    headers.insert(header::ETAG, text(tag));
    response
}

pub(crate) fn accepts_gzip(request: &HeaderMap) -> bool {
    request
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|coding| {
            let (name, weight) = coding.split_once(';').unwrap_or((coding, "q=1"));
            let is_refused = weight.trim().strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()) == Some(0.0);
            name.trim().eq_ignore_ascii_case("gzip") && !is_refused
        })
}

/// A header of our own making, which is plain ASCII.
fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or(HeaderValue::from_static(""))
}

/// RFC 9110 section 5.6.7.
fn http_date(time: SystemTime) -> String {
    let time = OffsetDateTime::from(time).to_offset(UtcOffset::UTC);
    let (year, month, day) = time.to_calendar_date();
    let (hour, minute, second) = time.to_hms();
    let weekday = &time.weekday().to_string()[..3];
    let month = &month.to_string()[..3];
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_written_as_http_wants_them() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        assert_eq!(http_date(time), "Sun, 06 Nov 1994 08:49:37 GMT");
    }

    #[test]
    fn compression_is_used_where_it_is_accepted() {
        let accepts = |value: &'static str| {
            accepts_gzip(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        assert!(accepts("gzip, deflate, br"));
        assert!(accepts("br;q=1.0, GZIP;q=0.5"));
        assert!(!accepts("gzip;q=0"));
        assert!(!accepts("br"));
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
