//! The web app's files, as they were built into the binary.
//!
//! Hashed files under `/assets/` never change and are kept for ever; `index.html` answers for every address that is a page,
//! and is asked for again each time. What is no file and looks like one is 404, so that a stale page does not get HTML
//! where it wants a script.

mod files;
mod head;
mod page;
mod refused;

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header},
    response::Response,
};

pub use self::files::WebApp;
pub(crate) use self::refused::{is_navigation, page_in_place_of};
use crate::{
    error::{ApiError, ApiResult, generic},
    server::Server,
};

/// Everything that is no route.
pub(crate) async fn serve(
    State(server): State<Arc<Server>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> ApiResult<Response> {
    let path = uri.path();
    if ["/api", "/live"]
        .iter()
        .any(|area| path.strip_prefix(area).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    {
        return Err(ApiError::not_found("There is nothing at this address."));
    }
    if method != Method::GET && method != Method::HEAD {
        return Err(ApiError::from(generic(StatusCode::METHOD_NOT_ALLOWED))
            .header(header::ALLOW, HeaderValue::from_static("GET,HEAD")));
    }
    let file = path.trim_start_matches('/');
    if file != page::INDEX
        && let Some(file) = server.web_app.file(file)
    {
        return Ok(file.respond(&headers, path.starts_with("/assets/")));
    }
    let looks_like_a_file = path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    if path.starts_with("/assets/") || (looks_like_a_file && file != page::INDEX) {
        return Err(ApiError::not_found("There is no such file."));
    }
    Ok(page::respond(&server, file, &headers).await)
}
