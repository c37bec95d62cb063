//! Answers of the origin, kept and given to many.

use std::{io::Read, sync::OnceLock};

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use bytes::Bytes;
use flate2::read::GzDecoder;

use crate::origin::{recordings, reply, rights::RESTRICTED};

/// The headers that viewers get of what the origin sent.
const PASSED_ON: [HeaderName; 7] = [
    header::CONTENT_TYPE,
    header::CACHE_CONTROL,
    header::ETAG,
    header::LAST_MODIFIED,
    header::LOCATION,
    header::RETRY_AFTER,
    header::VARY,
];

/// An answer of the origin.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    /// As it came: compressed where `is_gzip`.
    pub(super) body: Bytes,
    is_gzip: bool,
    /// Not everybody may have it, the origin says.
    pub(super) is_restricted: bool,
    plain: OnceLock<Bytes>,
}

impl Answer {
    pub(super) fn new(status: StatusCode, sent: HeaderMap, body: Bytes) -> Self {
        let is_gzip = sent.get(header::CONTENT_ENCODING).is_some_and(|coding| coding == "gzip");
        let is_restricted = sent.contains_key(RESTRICTED);
        Self { status, headers: passed_on(&sent), body, is_gzip, is_restricted, plain: OnceLock::new() }
    }

    /// Without compression.
    pub(super) fn body(&self) -> &Bytes {
        if !self.is_gzip {
            return &self.body;
        }
        self.plain.get_or_init(|| {
            let mut plain = Vec::with_capacity(self.body.len() * 4);
            match GzDecoder::new(&self.body[..]).read_to_end(&mut plain) {
                Ok(_) => plain.into(),
                Err(error) => {
                    tracing::warn!(%error, "the origin's answer is not what it says");
                    Bytes::new()
                }
            }
        })
    }

    /// How long it may be kept, in seconds, as the origin says; 0 where it says nothing.
    pub(super) fn fresh_s(&self) -> u64 {
        let cache = self.headers.get(header::CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let age = cache.split(',').find_map(|directive| directive.trim().strip_prefix("max-age="));
        age.and_then(|age| age.parse().ok()).unwrap_or(0)
    }

    /// What it weighs.
    pub(super) fn weight(&self) -> usize {
        const OVERHEAD: usize = 512;
        self.body.len() + OVERHEAD
    }

    pub(super) fn tag(&self) -> &str {
        self.headers.get(header::ETAG).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// For a viewer with these headers.
    pub(super) fn respond(&self, request: &HeaderMap) -> Response {
        self.respond_with(request, self.headers.get(header::CACHE_CONTROL))
    }

    /// As [`Answer::respond`], with another `Cache-Control`.
    pub(super) fn respond_with(&self, request: &HeaderMap, cache: Option<&HeaderValue>) -> Response {
        if !self.status.is_success() {
            return self.as_it_came();
        }
        let sends_gzip = self.is_gzip && reply::accepts_gzip(request);
        let mut headers = self.headers.clone();
        if let Some(cache) = cache {
            headers.insert(header::CACHE_CONTROL, cache.clone());
        }
        if self.is_gzip && !sends_gzip {
            // The origin names its forms so.
            if let Ok(tag) = HeaderValue::try_from(self.tag().replace("-gzip\"", "\"")) {
                headers.insert(header::ETAG, tag);
            }
        }
        let is_known = headers.get(header::ETAG).is_some_and(|tag| is_known(request, tag));
        let mut response = if is_known {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            Response::new(Body::from(if sends_gzip { self.body.clone() } else { self.body().clone() }))
        };
        if sends_gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        *response.headers_mut() = headers;
        reply::allow_every_origin(response.headers_mut());
        response
    }

    /// As [`Answer::respond_with`], or the part of it that is asked for: of something that is never compressed.
    pub(super) fn respond_part(&self, request: &HeaderMap, cache: &'static str) -> Response {
        let cache = HeaderValue::from_static(cache);
        let size_bytes = self.body.len() as u64;
        let part = match recordings::asked_for(request, self.tag(), size_bytes) {
            Ok(part) => part,
            Err(problem) => return problem.into_response(),
        };
        let mut whole = self.respond_with(request, Some(&cache));
        if !self.is_gzip {
            whole.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        }
        let Some(part) = part.filter(|_| !self.is_gzip && whole.status() == StatusCode::OK) else { return whole };
        let (start, length) = recordings::place(Some(&part), size_bytes);
        let (Ok(start), Ok(length)) = (usize::try_from(start), usize::try_from(length)) else { return whole };
        let mut response =
            recordings::partial(Body::from(self.body.slice(start..start + length)), Some(part), size_bytes);
        response.headers_mut().extend(whole.headers().clone());
        response
    }

    /// A refusal, or a redirection.
    pub(super) fn as_it_came(&self) -> Response {
        let mut response = Response::new(Body::from(self.body().clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers.clone();
        response.headers_mut().remove(RESTRICTED);
        reply::allow_every_origin(response.headers_mut());
        response
    }
}

/// What viewers get of the headers that the origin sent.
pub(super) fn passed_on(sent: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in PASSED_ON {
        if let Some(value) = sent.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers
}

fn is_known(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let Ok(tag) = tag.to_str() else { return false };
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| {
            matches!(known.trim(), "*") || known.trim().trim_start_matches("W/") == tag.trim_start_matches("W/")
        })
}
