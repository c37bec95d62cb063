//! What a browser is shown that goes to a page and is refused it: it would show a problem document as it stands.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, header},
    response::Response,
};

use crate::server::Server;

/// Whether a browser goes to a page by this request.
pub(crate) fn is_navigation(request: &Request) -> bool {
    let path = request.uri().path();
    let accepts_html = |accepted: &HeaderValue| accepted.to_str().is_ok_and(|kinds| kinds.contains("text/html"));
    request.method().is_safe()
        && !path.starts_with("/media/")
        && path != "/readyz"
        && request.headers().get_all(header::ACCEPT).iter().any(accepts_html)
}

/// The page, which is in memory, with the status and the headers of an answer that is a problem: what it then asks for is refused as
/// well, or not, and it says so in the reader's language. The problem itself where there is no page.
pub(crate) fn page_in_place_of(server: &Server, problem: Response) -> Response {
    let Some(index) = server.web_app.index() else { return problem };
    let html = index.plain();
    let (mut parts, _) = problem.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(html.len()));
    Response::from_parts(parts, Body::from(html))
}
