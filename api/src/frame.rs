//! What lies around every route: the request's id, the time limit, panics, problem documents, headers for browsers, and
//! one log line a call.

use std::{
    any::Any,
    error::Error,
    fmt::Write,
    panic::AssertUnwindSafe,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use commands::{Actor, Metadata};
use domain::ids::AccountId;
use futures::FutureExt;
use openapi::{PROBLEM_JSON, Problem};
use tracing::{Instrument, debug, error, info, info_span, warn};
use uuid::Uuid;

use crate::{
    error::{ApiError, Failure, generic},
    server::Server,
};

/// How long a request may take until its answer begins.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the page may load and who may frame it: measured to play, and as strict as that allows.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
     font-src 'self'; connect-src 'self'; media-src 'self' blob:; worker-src 'self'; manifest-src 'self'; \
     object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
);

/// A request's id, and who turned out to make it.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: String,
    /// The id, unless it was given and is no UUID: what the log keeps as the request of its commands.
    correlation_id: Uuid,
    account_id: OnceLock<AccountId>,
}

impl RequestContext {
    fn new(headers: &HeaderMap) -> Self {
        // Whatever is in front may give an id; it goes into logs and headers, so it has to be harmless.
        let given = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
            (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        });
        let id = given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let correlation_id = Uuid::parse_str(&id).unwrap_or_else(|_| Uuid::now_v7());
        Self(Arc::new(Inner { id, correlation_id, account_id: OnceLock::new() }))
    }

    /// Notes for the log whose request it is.
    pub(crate) fn signed_in(&self, account_id: AccountId) {
        // Asked a second time it is the same account.
        let _ = self.0.account_id.set(account_id);
    }

    /// For a command that this request gives.
    pub(crate) fn metadata(&self, actor: Actor) -> Metadata {
        Metadata { correlation_id: self.0.correlation_id, ..Metadata::new(actor) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self::new(&parts.headers)))
    }
}

/// The middleware around everything.
pub(crate) async fn frame(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let context = RequestContext::new(request.headers());
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let is_api = is_api(request.uri().path());
    request.extensions_mut().insert(context.clone());

    let span = info_span!("request", request.id = %context.0.id);
    let handled = commands::correlated(context.0.correlation_id, next.run(request));
    let handled = tokio::time::timeout(REQUEST_TIMEOUT, AssertUnwindSafe(handled).catch_unwind());
    let response = match handled.instrument(span).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => ApiError::internal(panic_text(panic.as_ref())).into_response(),
        Err(_) => timed_out(&method).into_response(),
    };
    let (mut response, failure) = with_problem(response, &context.0.id);
    add_headers(response.headers_mut(), &server, is_api, &context.0.id);

    let route = route.as_ref().map_or("", MatchedPath::as_str);
    log(&method, route, is_api, &response, failure.as_ref(), started, &context);
    response
}

fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a handler panicked: {}", text.unwrap_or("without a text"))
}

fn timed_out(method: &Method) -> ApiError {
    if method.is_safe() {
        ApiError::unavailable("the time for the request was over")
    } else {
        ApiError::outcome_unknown()
    }
}

/// Writes out the problem of a response that has failed; also where it came from something that knows no problems.
fn with_problem(mut response: Response, request_id: &str) -> (Response, Option<Failure>) {
    let failure = response.extensions_mut().remove::<Failure>();
    let status = response.status();
    if let Some(mut failure) = failure {
        failure.problem.request_id = Some(request_id.to_owned());
        let (mut parts, _) = response.into_parts();
        for (name, value) in failure.headers.drain(..) {
            parts.headers.append(name, value);
        }
        return (problem_response(parts, &failure.problem), Some(failure));
    }
    let is_error = status.is_client_error() || status.is_server_error();
    let is_problem =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == PROBLEM_JSON.as_bytes());
    if is_error && !is_problem {
        let mut problem = generic(status);
        problem.request_id = Some(request_id.to_owned());
        let (parts, _) = response.into_parts();
        return (problem_response(parts, &problem), None);
    }
    (response, None)
}

fn problem_response(mut parts: axum::http::response::Parts, problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).expect("a problem is texts and numbers");
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    parts.headers.remove(header::CONTENT_ENCODING);
    parts.headers.remove(header::ETAG);
    parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if problem.status == 401 {
        parts.headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    Response::from_parts(parts, Body::from(body))
}

fn add_headers(headers: &mut HeaderMap, server: &Server, is_api: bool, request_id: &str) {
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert(X_REQUEST_ID, id);
    }
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("strict-origin-when-cross-origin"));
    if server.addresses.is_https() {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
    }
    if is_api {
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    }
}

fn log(
    method: &Method,
    route: &str,
    is_api: bool,
    response: &Response,
    failure: Option<&Failure>,
    started: Instant,
    context: &RequestContext,
) {
    let status = response.status();
    let source = failure.and_then(|failure| failure.source.as_deref()).map(|source| chain(source));
    macro_rules! line {
        ($level:ident) => {
            $level!(
                http.method = %method,
                http.route = route,
                http.status = status.as_u16(),
                duration_ms = started.elapsed().as_micros() as f64 / 1_000.0,
                request.id = %context.0.id,
                account.id = context.0.account_id.get().map(tracing::field::display),
                problem.code = failure.map(|failure| failure.problem.code.as_ref()),
                error = source,
                "request"
            )
        };
    }
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        line!(error);
    } else if status.is_server_error() {
        line!(warn);
    } else if is_api {
        line!(info);
    } else {
        line!(debug);
    }
}

/// An error with its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        // Writing into a String cannot fail.
        let _ = write!(text, ": {cause}");
        source = cause.source();
    }
    text
}
