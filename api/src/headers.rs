//! What browsers are told with every answer: what a page may load and do, who may frame it, and which other sites' pages
//! may read the API.

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::server::Server;

/// What the page may load and who may frame it: measured to play, and as strict as that allows.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
     font-src 'self'; connect-src 'self'; media-src 'self' blob:; worker-src 'self'; manifest-src 'self'; \
     object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// What no page of ours needs, and no script that got in shall have.
const PERMISSIONS_POLICY: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), browsing-topics=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), hid=(), \
     magnetometer=(), microphone=(), midi=(), payment=(), serial=(), usb=(), xr-spatial-tracking=()",
);

/// A year, as browsers' own lists and ASVS 3.4.1 want it. The host of Weir is Weir's: what is below it as well.
const STRICT_TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=31536000; includeSubDomains");

/// What other sites' pages may send with a call.
const CORS_REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, idempotency-key, if-match, if-none-match, last-event-id, x-request-id",
);

/// What they may read of an answer, beside its body.
const CORS_RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "etag, idempotency-replayed, link, location, ratelimit, ratelimit-policy, retry-after, weir-head-position, \
     x-request-id",
);

/// Adds what every answer says; `is_api` when it is one of the API.
pub(crate) fn add(headers: &mut HeaderMap, server: &Server, is_api: bool) {
    let same_origin = HeaderValue::from_static("same-origin");
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin"));
    headers.insert(HeaderName::from_static("permissions-policy"), PERMISSIONS_POLICY);
    headers.insert(HeaderName::from_static("cross-origin-opener-policy"), same_origin.clone());
    headers.insert(HeaderName::from_static("cross-origin-resource-policy"), same_origin);
    if server.addresses.is_https() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT_SECURITY);
    }
    if is_api {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
}

/// Lets a page of another site read the answer, if the operator has named it. Never with cookies: the API goes by the
/// header `Authorization`, and what goes by a cookie is for our own pages.
pub(crate) fn share(headers: &mut HeaderMap, server: &Server, origin: Option<HeaderValue>) {
    if server.access.cors_origins.is_empty() {
        return;
    }
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = origin.filter(|origin| is_named(server, origin)) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, CORS_RESPONSE_HEADERS);
    }
}

/// What a browser is told that asks whether a page of another site may make a call.
pub(crate) fn preflight(server: &Server, method: &Method, headers: &HeaderMap) -> Option<Response> {
    let origin = headers.get(header::ORIGIN)?;
    if *method != Method::OPTIONS
        || !headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        || !is_named(server, origin)
    {
        return None;
    }
    let methods = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE");
    let answer = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, CORS_REQUEST_HEADERS),
        (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
    ];
    Some((StatusCode::NO_CONTENT, answer).into_response())
}

fn is_named(server: &Server, origin: &HeaderValue) -> bool {
    server.access.cors_origins.iter().any(|named| named.as_bytes() == origin.as_bytes())
}
