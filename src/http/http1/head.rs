//! Heads: reads those of requests that are ours, and writes those of answers.

use std::{cell::RefCell, io::Write, time::SystemTime};

use bytes::Bytes;
use httpdate::HttpDate;
use hyper::{
    Method, Request, Uri, Version,
    header::{self, HeaderName, HeaderValue},
    http::{request, response, uri::PathAndQuery},
};

use crate::http::LIVE;

/// A head that is longer than this is not ours.
const MOST_BYTES: usize = 8 * 1024;
/// One with more headers neither.
const MOST_HEADERS: usize = 32;

/// What has come of a request.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is passed on once for each request, and most are whole")]
pub(super) enum Come {
    /// Not all of its head yet.
    Part,
    /// Something that is not ours.
    Others,
    /// A request whose head has this length.
    Whole(Asked, usize),
}

/// A request.
#[derive(Debug)]
pub(super) struct Asked {
    /// Without `/live` in its address.
    pub(super) request: request::Parts,
    /// The client wants the connection to end with its answer.
    pub(super) is_last: bool,
}

/// Reads what has come. Ours is a GET or HEAD under `/live/` of HTTP/1.1, without a body and without a wish to change the protocol.
pub(super) fn read(come: &[u8]) -> Come {
    if !begins_as_ours(come) {
        return Come::Others;
    }
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(come) {
        Ok(httparse::Status::Complete(length)) if length <= MOST_BYTES => length,
        Ok(httparse::Status::Partial) if come.len() <= MOST_BYTES => return Come::Part,
        Ok(_) | Err(_) => return Come::Others,
    };
    match asked(&parsed, &come[..length]) {
        Some(asked) => Come::Whole(asked, length),
        None => Come::Others,
    }
}

/// Whether nothing speaks against it, as far as it has come.
fn begins_as_ours(come: &[u8]) -> bool {
    [b"GET /live/".as_slice(), b"HEAD /live/"].iter().any(|ours| {
        let length = ours.len().min(come.len());
        come[..length] == ours[..length]
    })
}

/// The request of a head; `None` when it is not ours.
fn asked(parsed: &httparse::Request<'_, '_>, head: &[u8]) -> Option<Asked> {
    if parsed.version != Some(1) {
        return None;
    }
    // The one copy that the request keeps: its address and all values are pieces of it.
    let copy = Bytes::copy_from_slice(head);
    let piece = |part: &[u8]| {
        let start = part.as_ptr().addr().checked_sub(head.as_ptr().addr())?;
        (start + part.len() <= copy.len()).then(|| copy.slice(start..start + part.len()))
    };
    let target = parsed.path?.strip_prefix(LIVE)?;
    let target = PathAndQuery::from_maybe_shared(piece(target.as_bytes())?).ok()?;
    let (mut request, ()) = Request::new(()).into_parts();
    request.method = if parsed.method? == "HEAD" { Method::HEAD } else { Method::GET };
    request.version = Version::HTTP_11;
    request.uri = Uri::from(target);
    let mut is_last = false;
    let headers = &mut request.headers;
    headers.reserve(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        match name {
            header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::UPGRADE | header::EXPECT => return None,
            header::CONNECTION if header.value.eq_ignore_ascii_case(b"close") => is_last = true,
            header::CONNECTION if !header.value.eq_ignore_ascii_case(b"keep-alive") => return None,
            _ => {}
        }
        headers.append(name, HeaderValue::from_maybe_shared(piece(header.value)?).ok()?);
    }
    Some(Asked { request, is_last })
}

/// How long the body of an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    /// There is none, and nothing is said of it.
    Unsaid,
    /// So many bytes.
    Bytes(u64),
    /// It is sent in chunks, until the last of them.
    Chunked,
}

/// Writes the head of an answer behind what is in `to`.
pub(super) fn write(parts: &response::Parts, length: Length, is_last: bool, to: &mut Vec<u8>) {
    let status = parts.status;
    to.extend_from_slice(b"HTTP/1.1 ");
    to.extend_from_slice(status.as_str().as_bytes());
    to.push(b' ');
    to.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    to.extend_from_slice(b"\r\n");
    for (name, value) in &parts.headers {
        if matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::CONNECTION) {
            continue;
        }
        line(to, name.as_str().as_bytes(), value.as_bytes());
    }
    match length {
        Length::Unsaid => {}
        Length::Bytes(length) => {
            // Writing to memory does not fail.
            let _ = write!(to, "content-length: {length}\r\n");
        }
        Length::Chunked => line(to, b"transfer-encoding", b"chunked"),
    }
    if is_last {
        line(to, b"connection", b"close");
    }
    if !parts.headers.contains_key(header::DATE) {
        with_date(|date| line(to, b"date", date));
    }
    to.extend_from_slice(b"\r\n");
}

fn line(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    to.extend_from_slice(name);
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

/// What day and time it is, written once a second.
fn with_date(take: impl FnOnce(&[u8])) {
    thread_local! {
        static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let now = SystemTime::now();
    let second = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    DATE.with_borrow_mut(|(written_at, date)| {
        if *written_at != second || date.is_empty() {
            *date = HttpDate::from(now).to_string();
            *written_at = second;
        }
        take(date.as_bytes());
    });
}

#[cfg(test)]
mod tests {
    use hyper::{Response, StatusCode};
    use proptest::prelude::*;

    use super::*;

    fn whole(come: &str) -> (Asked, usize) {
        match read(come.as_bytes()) {
            Come::Whole(asked, length) => (asked, length),
            other => panic!("{come:?}: {other:?}"),
        }
    }

    #[test]
    fn a_request_is_read_with_what_it_says() {
        let head = "GET /live/x/p1.m4s?a=b HTTP/1.1\r\nHost: weir\r\nX-Twice: 1\r\nx-twice: 2 \r\n\r\n";
        let (Asked { request, is_last }, length) = whole(&format!("{head}GET /live/"));
        assert_eq!((length, is_last, request.method), (head.len(), false, Method::GET));
        assert_eq!(request.uri.to_string(), "/x/p1.m4s?a=b");
        assert_eq!(request.headers["host"], "weir");
        let twice: Vec<_> = request.headers.get_all("x-twice").iter().collect();
        assert_eq!(twice, ["1", "2"]);
        let (Asked { request, is_last }, _) = whole("HEAD /live/ HTTP/1.1\r\nConnection: Close\r\n\r\n");
        assert_eq!((request.method, request.uri.path(), is_last), (Method::HEAD, "/", true));
        assert!(!whole("GET /live/x HTTP/1.1\r\nConnection: keep-alive\r\n\r\n").0.is_last);
    }

    #[test]
    fn what_is_not_plainly_ours_is_others() {
        let long = format!("GET /live/{} HTTP/1.1\r\n\r\n", "x".repeat(MOST_BYTES));
        let many = format!("GET /live/x HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(MOST_HEADERS + 1));
        for come in [
            "P",
            "PRI * HTTP/2.0\r\n",
            "\r\nGET /live/x HTTP/1.1\r\n\r\n",
            "GET / ",
            "GET /livestream",
            "GET /live HTTP/1.1\r\n\r\n",
            "GET http://weir/live/x HTTP/1.1\r\n\r\n",
            "POST /live/x HTTP/1.1\r\n\r\n",
            "OPTIONS /live/x HTTP/1.1\r\n\r\n",
            "GET /live/x HTTP/1.0\r\n\r\n",
            "GET /live/x HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
            "GET /live/x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET /live/x HTTP/1.1\r\nConnection: upgrade\r\n\r\n",
            "GET /live/x HTTP/1.1\r\nConnection: keep-alive, te\r\n\r\n",
            "GET /live/x HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
            "GET /live/x HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
            "GET /live/x HTTP/1.1\r\nA : b\r\n\r\n",
            "GET /live/x HTTP/1.1\r\nA: b\r\n c\r\n\r\n",
            "GET /live/\u{7f} HTTP/1.1\r\n\r\n",
            &long,
            &many,
        ] {
            assert!(matches!(read(come.as_bytes()), Come::Others), "{come:?}");
        }
    }

    #[test]
    fn what_may_become_ours_is_waited_for() {
        let head = "HEAD /live/x HTTP/1.1\r\nHost: weir\r\n\r\n";
        for end in 0..head.len() {
            assert!(matches!(read(&head.as_bytes()[..end]), Come::Part), "{end}");
        }
        whole(head);
        let begun = format!("GET /live/x HTTP/1.1\r\nA: {}", "b".repeat(MOST_BYTES));
        assert!(matches!(read(begun.as_bytes()), Come::Others), "hyper says how long a head may be");
    }

    proptest! {
        /// Whatever comes, in however many pieces: it is ours from the same byte on, to the same byte, or never.
        #[test]
        fn pieces_change_nothing(
            pieces in proptest::collection::vec(prop_oneof![
                Just("GET /live/x?a HTTP/1.1\r\n".as_bytes().to_vec()),
                Just(b"HEAD /live/ HTTP/1.1\r\n".to_vec()),
                Just(b"Connection: close\r\n".to_vec()),
                Just(b"Content-Length: 1\r\n".to_vec()),
                Just(b"\r\n".to_vec()),
                Just(b"\n".to_vec()),
                proptest::collection::vec(any::<u8>(), 0..20),
            ], 0..8)
        ) {
            let come = pieces.concat();
            let mut first = None;
            for end in 0..=come.len() {
                let found = match read(&come[..end]) {
                    Come::Part => None,
                    Come::Others => Some(None),
                    Come::Whole(asked, length) => {
                        prop_assert!(length <= end);
                        Some(Some((length, asked.is_last, asked.request.uri, asked.request.headers)))
                    }
                };
                match &first {
                    None => first = found,
                    first => prop_assert_eq!(&found, first),
                }
            }
        }
    }

    #[test]
    fn a_head_says_how_its_body_ends() {
        let written = |status: StatusCode, length, is_last| {
            let mut response = Response::new(());
            *response.status_mut() = status;
            response.headers_mut().insert("content-length", HeaderValue::from_static("9"));
            response.headers_mut().insert("etag", HeaderValue::from_static("\"s1\""));
            let mut to = Vec::new();
            write(&response.into_parts().0, length, is_last, &mut to);
            let text = String::from_utf8(to).unwrap();
            let (kept, date) = text.split_once("date: ").unwrap();
            assert!(date.ends_with(" GMT\r\n\r\n"), "{text}");
            kept.to_owned()
        };
        let head = |status: &str, rest: &str| format!("HTTP/1.1 {status}\r\netag: \"s1\"\r\n{rest}");
        assert_eq!(written(StatusCode::OK, Length::Bytes(7), false), head("200 OK", "content-length: 7\r\n"));
        assert_eq!(
            written(StatusCode::OK, Length::Chunked, true),
            head("200 OK", "transfer-encoding: chunked\r\nconnection: close\r\n")
        );
        assert_eq!(written(StatusCode::NOT_MODIFIED, Length::Unsaid, false), head("304 Not Modified", ""));
    }
}
