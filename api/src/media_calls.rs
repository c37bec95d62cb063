//! Calls for media, under `/live` and `/vod`: a viewer makes three a second, so that they are counted (by the HTTP server)
//! and told at debug alone. What fails gets a request id, by which it is found. A warning is for what should not happen: that
//! a stream or a recording cannot be had for a while (503) is met by all its viewers at once, and told where it is seen first.

use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use tracing::{debug, enabled, warn};
use uuid::Uuid;

use crate::frame::X_REQUEST_ID;

/// The middleware around media: a line without the path, in which a viewer's token may stand.
pub async fn media_call(request: Request, next: Next) -> Response {
    // What costs something is left out unless somebody looks at it.
    let told = enabled!(tracing::Level::DEBUG).then(|| {
        let route = request.extensions().get::<MatchedPath>().cloned();
        (Instant::now(), request.method().clone(), route)
    });
    let mut response = next.run(request).await;
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    response.headers_mut().entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    let id = is_error.then(|| {
        let id = Uuid::now_v7();
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(X_REQUEST_ID, value);
        }
        tracing::field::display(id)
    });
    if is_surprise(status) {
        warn!(http.status = status.as_u16(), request.id = id, "media request");
    } else if let Some((started, method, route)) = told {
        debug!(
            http.method = %method,
            http.route = route.as_ref().map_or("", MatchedPath::as_str),
            http.status = status.as_u16(),
            duration_ms = started.elapsed().as_micros() as f64 / 1_000.0,
            request.id = id,
            "media request"
        );
    }
    response
}

/// The same without the time that it took, for a server on whose way to each part no middleware lies.
pub fn media_answered(method: &Method, response: &mut Response) {
    let status = response.status();
    response.headers_mut().entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(HeaderValue::from_static("nosniff"));
    let id = (status.is_client_error() || status.is_server_error()).then(|| {
        let id = Uuid::now_v7();
        if let Ok(value) = HeaderValue::from_str(&id.to_string()) {
            response.headers_mut().insert(X_REQUEST_ID, value);
        }
        tracing::field::display(id)
    });
    if is_surprise(status) {
        warn!(http.method = %method, http.status = status.as_u16(), request.id = id, "media request");
    } else {
        debug!(http.method = %method, http.status = status.as_u16(), request.id = id, "media request");
    }
}

fn is_surprise(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_for_what_not_every_viewer_of_a_stream_meets_at_once() {
        for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::BAD_GATEWAY, StatusCode::GATEWAY_TIMEOUT] {
            assert!(is_surprise(status), "{status}");
        }
        // A stream that cannot be had for a while, a token that is over, a part that is gone.
        for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, StatusCode::OK] {
            assert!(!is_surprise(status), "{status}");
        }
        let answered = |status| {
            let mut response = Response::default();
            *response.status_mut() = status;
            media_answered(&Method::GET, &mut response);
            response.headers().contains_key("x-request-id")
        };
        // What fails can be found in the log, whatever its level.
        assert!(answered(StatusCode::SERVICE_UNAVAILABLE) && answered(StatusCode::INTERNAL_SERVER_ERROR));
        assert!(!answered(StatusCode::OK));
    }
}
