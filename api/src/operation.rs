//! Operation: whether the server lives and can serve; and the forms that answers of all capabilities share.

use std::{str::FromStr, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use openapi::{
    Page, Problem,
    operation::{Accepted, Health, ReadinessCheck, ReadinessReport},
};
use projections::Cursor;
use serde::Serialize;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    conditional,
    error::{ApiError, ApiResult},
    server::Server,
};

pub(crate) fn routes() -> OpenApiRouter<Arc<Server>> {
    OpenApiRouter::new().routes(routes!(check_health)).routes(routes!(check_readiness))
}

/// Does the process live
#[utoipa::path(
    get, path = "/healthz", operation_id = "check_health", tag = "operation",
    responses((status = 200, description = "It does.", body = Health)),
)]
async fn check_health() -> Json<Health> {
    Json(Health { status: "ok".to_owned() })
}

/// Can the server serve
#[utoipa::path(
    get, path = "/readyz", operation_id = "check_readiness", tag = "operation",
    responses(
        (status = 200, description = "It can.", body = ReadinessReport),
        (status = 503, description = "`not_ready`: `errors` names what is missing.", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn check_readiness(State(server): State<Arc<Server>>) -> ApiResult<Response> {
    let checks = server.readiness.check().await;
    if checks.iter().all(|check| check.ok) {
        let checks = checks
            .into_iter()
            .map(|check| ReadinessCheck { name: check.name.to_owned(), ok: check.ok, detail: check.detail })
            .collect();
        let report = ReadinessReport { status: "ready".to_owned(), checks };
        return Ok(([(header::CACHE_CONTROL, "no-store")], Json(report)).into_response());
    }
    let mut problem =
        Problem::new(503, "not_ready", "Weir cannot serve yet").detail("What `errors` names is not as it must be.");
    for check in checks.into_iter().filter(|check| !check.ok) {
        problem = problem.error(check.name, "failing", check.detail);
    }
    Err(ApiError::from(problem).header(header::RETRY_AFTER, HeaderValue::from_static("1")))
}

/// 202: done and recorded, but not to be read yet.
pub(crate) fn accepted(position: i64, location: String) -> Response {
    let header = [(header::LOCATION, location.clone())];
    (StatusCode::ACCEPTED, header, Json(Accepted { position, location })).into_response()
}

/// The cursor that a client gave, if any.
///
/// # Errors
/// `cursor_invalid` when no page ever ended with it.
pub(crate) fn cursor(after: Option<&str>) -> ApiResult<Option<Cursor>> {
    after.map(Cursor::from_str).transpose().map_err(|_| ApiError::cursor_invalid())
}

/// A page of a list as JSON, with its ETag and the address of the next one.
pub(crate) fn page<R, T: Serialize>(
    path: &str,
    query: &[(&str, String)],
    found: projections::Page<R>,
    request: &HeaderMap,
    render: impl FnMut(R) -> T,
) -> ApiResult<Response> {
    let next_cursor = found.next.map(|cursor| cursor.to_string());
    let link = next_cursor.as_deref().map(|cursor| {
        let query =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(query).append_pair("after", cursor).finish();
        format!("<{path}?{query}>; rel=\"next\"")
    });
    let page = Page { items: found.items.into_iter().map(render).collect(), next_cursor };
    let mut response = conditional::json(request, &page)?;
    if let Some(link) = link.and_then(|link| HeaderValue::try_from(link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    Ok(response)
}
