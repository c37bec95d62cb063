//! Answers to `GET` that a client may keep and ask again for: an ETag of the body, and 304 when it is still the same.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{ApiError, ApiResult};

/// `body` as JSON, or 304 when `request` already has it.
pub(crate) fn json(request: &HeaderMap, body: &impl Serialize) -> ApiResult<Response> {
    let body = serde_json::to_vec(body).map_err(ApiError::internal)?;
    let tag = etag(&body);
    Ok(bytes(request, "application/json", body, tag))
}

/// `body` of a kind and with a tag, or 304 when `request` already has it. It may be kept, but not used without asking.
pub(crate) fn bytes(request: &HeaderMap, kind: &'static str, body: impl Into<Body>, tag: HeaderValue) -> Response {
    let headers = [(header::ETAG, tag.clone()), (header::CACHE_CONTROL, HeaderValue::from_static("no-cache"))];
    if has(request, &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(kind))];
    (headers, kind, body.into()).into_response()
}

/// The tag of a body; weak, because the same tag goes with every encoding of it.
pub(crate) fn etag(body: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(body);
    HeaderValue::from_str(&format!("W/\"{}\"", hex::encode(&digest[..16]))).expect("hex is fine in a header")
}

/// Whether `request` says that it has what `tag` stands for (RFC 9110, section 13.1.2).
pub(crate) fn has(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let Ok(tag) = tag.to_str().map(opaque) else { return false };
    request
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|candidate| candidate.trim() == "*" || opaque(candidate) == tag)
}
