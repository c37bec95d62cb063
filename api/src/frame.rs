//! What lies around every route: the request's id, the time limit, panics, problem documents, headers for browsers, and
//! one log line a call.

use std::{
    any::Any,
    error::Error,
    fmt::Write,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, OnceLock, PoisonError},
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
    client_address::ClientAddress,
    error::{ApiError, ApiResult, Failure, generic},
    headers,
    limits::{Policy, Quota},
    server::Server,
};

/// How long a request may take until its answer begins.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request's id, where it comes from, who turned out to make it, and what that one has left of what may be asked.
#[derive(Debug, Clone)]
pub(crate) struct RequestContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: String,
    /// The id, unless it was given and is no UUID: what the log keeps as the request of its commands.
    correlation_id: Uuid,
    client: ClientAddress,
    account_id: OnceLock<AccountId>,
    /// What was taken for this request, the strictest policy first.
    quotas: Mutex<Vec<Quota>>,
}

impl RequestContext {
    fn new(headers: &HeaderMap, client: ClientAddress) -> Self {
        // Whatever is in front may give an id; it goes into logs and headers, so it has to be harmless.
        let given = headers.get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| {
            (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        });
        let id = given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let correlation_id = Uuid::parse_str(&id).unwrap_or_else(|_| Uuid::now_v7());
        Self(Arc::new(Inner { id, correlation_id, client, account_id: OnceLock::new(), quotas: Mutex::default() }))
    }

    /// Notes for the log whose request it is.
    pub(crate) fn signed_in(&self, account_id: AccountId) {
        // Asked a second time it is the same account.
        let _ = self.0.account_id.set(account_id);
    }

    /// Where it comes from.
    pub(crate) fn client(&self) -> ClientAddress {
        self.0.client
    }

    /// Notes for the client what is left under a policy.
    pub(crate) fn note(&self, quota: Quota) {
        let mut quotas = self.0.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        quotas.retain(|noted| noted.policy() != quota.policy());
        quotas.push(quota);
    }

    /// Counts the request for the account that makes it, and no longer for its address: behind one may be many.
    ///
    /// # Errors
    /// `rate_limited`, when that has asked too often.
    pub(crate) fn count_for(&self, server: &Server, account_id: AccountId) -> ApiResult<()> {
        // Asked a second time it is the same account.
        if self.0.account_id.get().is_some() {
            return Ok(());
        }
        let Some(limits) = &server.access.rate_limits else { return Ok(()) };
        let mut quotas = self.0.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        for quota in quotas.extract_if(.., |quota| quota.policy() == Policy::Address) {
            limits.give_back(quota);
        }
        let taken = limits.take(Policy::Account, &account_id.to_string());
        let (Ok(quota) | Err(quota)) = taken;
        quotas.push(quota);
        taken.map(drop).map_err(Quota::refusal)
    }

    /// Counts the request for where it comes from, before anything of it is looked at.
    fn count(&self, server: &Server, method: &Method, route: &str) -> ApiResult<()> {
        let Some(limits) = &server.access.rate_limits else { return Ok(()) };
        let Some(address) = self.0.client.network().map(|address| address.to_string()) else { return Ok(()) };
        for policy in Policy::of_route(method, route).into_iter().chain([Policy::Address]) {
            let taken = limits.take(policy, &address);
            let (Ok(quota) | Err(quota)) = taken;
            self.note(quota);
            taken.map_err(Quota::refusal)?;
        }
        Ok(())
    }

    /// Gives back what an answer with this status does not cost, and says what is left.
    fn settle(&self, server: &Server, status: u16) -> Option<[(HeaderName, HeaderValue); 2]> {
        let limits = server.access.rate_limits.as_ref()?;
        let quotas = self.0.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        quotas.iter().filter(|quota| quota.policy().forgives(status)).for_each(|quota| limits.give_back(*quota));
        Quota::headers(&quotas)
    }

    /// For a command that this request gives.
    pub(crate) fn metadata(&self, actor: Actor) -> Metadata {
        Metadata { correlation_id: self.0.correlation_id, ..Metadata::new(actor) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self::new(&parts.headers, ClientAddress(None))))
    }
}

/// The middleware around everything.
pub(crate) async fn frame(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let client = ClientAddress::of(request.extensions(), request.headers(), &server.access.trusted_proxies);
    let context = RequestContext::new(request.headers(), client);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("", MatchedPath::as_str);
    let is_api = is_api(request.uri().path());
    let origin = if is_api { request.headers().get(header::ORIGIN).cloned() } else { None };
    request.extensions_mut().insert(context.clone());
    request.extensions_mut().insert(client);
    server.warn_of_untrusted_proxy(client, request.headers());

    let counted = if is_api { context.count(&server, &method, route) } else { Ok(()) };
    let response = match (counted, headers::preflight(&server, &method, request.headers()).filter(|_| is_api)) {
        (Err(refused), _) => refused.into_response(),
        (Ok(()), Some(allowed)) => allowed,
        (Ok(()), None) => handle(next, request, &context, &method).await,
    };
    let (mut response, failure) = with_problem(response, &context.0.id);
    let status = response.status().as_u16();
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&context.0.id) {
        headers.insert(X_REQUEST_ID, id);
    }
    headers.extend(context.settle(&server, status).into_iter().flatten());
    headers::add(headers, &server, is_api);
    if is_api {
        headers::share(headers, &server, origin);
    }
    log(&method, route, is_api, &response, failure.as_ref(), started, &context);
    response
}

async fn handle(next: Next, request: Request, context: &RequestContext, method: &Method) -> Response {
    let span = info_span!("request", request.id = %context.0.id);
    let handled = commands::correlated(context.0.correlation_id, next.run(request));
    let handled = tokio::time::timeout(REQUEST_TIMEOUT, AssertUnwindSafe(handled).catch_unwind());
    match handled.instrument(span).await {
        Ok(Ok(response)) => response,
        Ok(Err(panic)) => ApiError::internal(panic_text(panic.as_ref())).into_response(),
        Err(_) => timed_out(method).into_response(),
    }
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
                client.address = context.0.client.shortened().map(tracing::field::display),
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
