//! Refusals as problem documents (RFC 9457).

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::Response,
};
use serde::Serialize;

use super::reply;

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: &'static str,
}

#[derive(Serialize)]
struct Document {
    r#type: String,
    title: &'static str,
    status: u16,
    detail: &'static str,
    code: &'static str,
}

impl Problem {
    pub(crate) const NOT_FOUND: Self =
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address.");
    pub(crate) const STREAM_NOT_FOUND: Self =
        Self::new(StatusCode::NOT_FOUND, "stream_not_found", "This stream is not live here, and no longer kept.");
    pub(crate) const MEDIA_NOT_FOUND: Self = Self::new(
        StatusCode::NOT_FOUND,
        "media_not_found",
        "This part of the stream is no longer kept, or does not exist yet.",
    );
    pub(crate) const RENDITION_NOT_FOUND: Self = Self::new(
        StatusCode::NOT_FOUND,
        "rendition_not_found",
        "The stream is not offered in this quality at the moment: load the multivariant playlist again.",
    );
    pub(crate) const NOTHING_TO_PLAY: Self =
        Self::new(StatusCode::NOT_FOUND, "nothing_to_play", "This stream ended before it could be played.");
    pub(crate) const THUMBNAIL_NOT_FOUND: Self =
        Self::new(StatusCode::NOT_FOUND, "thumbnail_not_found", "There is no picture of this stream yet.");
    pub(crate) const REWIND_OFF: Self = Self::new(
        StatusCode::NOT_FOUND,
        "rewind_off",
        "Streams of this server cannot be rewound: play them from index.m3u8.",
    );
    pub(crate) const CHANNEL_OFFLINE: Self =
        Self::new(StatusCode::NOT_FOUND, "channel_offline", "This channel is not live at the moment.");
    pub(crate) const PLAYBACK_REFUSED: Self = Self::new(
        StatusCode::FORBIDDEN,
        "playback_refused",
        "Not everybody may watch this, and the address gives no right to it, or no longer: get a new one from the channel.",
    );
    pub(crate) const RECORDING_NOT_FOUND: Self = Self::new(
        StatusCode::NOT_FOUND,
        "recording_not_found",
        "There is no such recording, it is not ready yet, or it was deleted.",
    );
    pub(crate) const RECORDING_UNAVAILABLE: Self = Self::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "recording_unavailable",
        "This recording cannot be read at the moment: try again.",
    );
    pub(crate) const RECORDING_NOT_ONE_FILE: Self = Self::new(
        StatusCode::CONFLICT,
        "recording_not_one_file",
        "The stream changed its picture or sound in between: its recording is several files, which downloads.json names.",
    );
    pub(crate) const RANGE_NOT_SATISFIABLE: Self =
        Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "range_not_satisfiable", "This file is shorter than that.");
    pub(crate) const RELOAD_INVALID: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "reload_invalid",
        "_HLS_msn and _HLS_part are whole numbers, _HLS_part needs _HLS_msn, and _HLS_skip is YES or v2.",
    );
    pub(crate) const RELOAD_TOO_FAR: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "reload_too_far",
        "The segment or part asked for is too far ahead: load the playlist without _HLS_msn first.",
    );
    pub(crate) const METHOD_NOT_ALLOWED: Self = Self::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "Only GET, HEAD and OPTIONS are possible here.",
    );
    pub(crate) const NOT_READY: Self = Self::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "not_ready",
        "The encoder has not sent what was asked for in time: try again.",
    );
    pub(crate) const ORIGIN_LOST: Self = Self::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "origin_unavailable",
        "The server that has this stream does not answer at the moment: try again.",
    );
    pub(crate) const PICTURE_UNAVAILABLE: Self = Self::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "picture_unavailable",
        "The storage that has the picture does not answer: try again.",
    );
    pub(crate) const INTERNAL: Self =
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on the server. It was logged.");

    const fn new(status: StatusCode, code: &'static str, detail: &'static str) -> Self {
        Self { status, code, detail }
    }

    pub(crate) fn into_response(self) -> Response {
        let document = Document {
            r#type: format!("urn:weir:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code,
        };
        // A struct of texts and a number always has a JSON form.
        let body = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        reply::allow_every_origin(headers);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
