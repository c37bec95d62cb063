//! The document of this very API.

use std::sync::Arc;

use axum::{extract::State, http::HeaderMap, response::Response};

use crate::{conditional, server::Server};

/// Where the document is.
pub(crate) const PATH: &str = "/api/v1/openapi.json";

/// Get this document
#[utoipa::path(
    get, path = "/api/v1/openapi.json", operation_id = "get_document", tag = "operation",
    params(("If-None-Match" = Option<String>, Header, nullable = false, description = "An `ETag` from before: 304 when nothing has changed.")),
    responses(
        (status = 200, description = "The OpenAPI document of this server.", body = serde_json::Value, headers(("ETag" = String, description = "Of the body."))),
        (status = 304, description = "Nothing has changed."),
    ),
)]
pub(crate) async fn get_document(State(server): State<Arc<Server>>, headers: HeaderMap) -> Response {
    let body = server.document.clone();
    let tag = conditional::etag(&body);
    conditional::bytes(&headers, "application/json", body, tag)
}
