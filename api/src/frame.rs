//! What lies around every route: the request's id, the time limit, panics, problem documents, headers for browsers, and
//! one log line a call, also of one whose client hangs up.

use std::{
    any::Any,
    error::Error,
    fmt::Write,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    body::Body,
    extract::{FromRequestParts, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
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
    client_address::{self, ClientAddress},
    error::{ApiError, ApiResult, Failure, generic},
    headers,
    limits::{Policy, Quota},
    server::Server,
    web_app,
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
    /// The id, unless it was given by a proxy and is no UUID: what the log keeps as the request of its commands.
    correlation_id: Uuid,
    client: ClientAddress,
    account_id: OnceLock<AccountId>,
    /// What was taken for this request, the strictest policy first.
    quotas: Mutex<Vec<Quota>>,
    has_used_code: AtomicBool,
}

impl RequestContext {
    /// `given` is the id by which a trusted proxy knows the request.
    fn new(given: Option<&HeaderValue>, client: ClientAddress) -> Self {
        // It goes into logs, which are kept for ever, and headers, so it has to be harmless.
        let given = given.and_then(|id| id.to_str().ok()).filter(|id| {
            (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        });
        let id = given.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let correlation_id = Uuid::parse_str(&id).unwrap_or_else(|_| Uuid::now_v7());
        let (account_id, quotas, has_used_code) = (OnceLock::new(), Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Inner { id, correlation_id, client, account_id, quotas, has_used_code }))
    }

    /// Notes that a code of the second factor is used up by this request: whatever fails from here on, asking the same again would not
    /// do, and is not to be told so.
    pub(crate) fn used_code(&self) {
        self.0.has_used_code.store(true, Ordering::Relaxed);
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
    fn count(&self, server: &Server, stricter: Option<Policy>, usual: Option<Policy>) -> ApiResult<()> {
        let Some(limits) = &server.access.rate_limits else { return Ok(()) };
        let Some(address) = self.0.client.network().map(|address| address.to_string()) else { return Ok(()) };
        for policy in stricter.into_iter().chain(usual) {
            let taken = limits.take(policy, &address);
            let (Ok(quota) | Err(quota)) = taken;
            self.note(quota);
            taken.map_err(Quota::refusal)?;
        }
        Ok(())
    }

    /// Gives back what an answer with this status, and this code of a problem, does not cost, and says what is left.
    fn settle(&self, server: &Server, status: u16, code: Option<&str>) -> Option<[(HeaderName, HeaderValue); 2]> {
        let limits = server.access.rate_limits.as_ref()?;
        let quotas = self.0.quotas.lock().unwrap_or_else(PoisonError::into_inner);
        quotas.iter().filter(|quota| quota.policy().forgives(status, code)).for_each(|quota| limits.give_back(*quota));
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
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self::new(None, ClientAddress(None))))
    }
}

/// The middleware around everything.
pub(crate) async fn frame(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let client = ClientAddress::of(request.extensions(), request.headers(), &server.access.trusted_proxies);
    // Anybody else could give many requests one id, or take that of another.
    let is_proxys = client_address::is_trusted_proxys(request.extensions(), &server.access.trusted_proxies);
    let given = request.headers().get(X_REQUEST_ID).filter(|_| is_proxys);
    let context = RequestContext::new(given, client);
    let call = Call::begin(&request, context.clone());
    let (method, route, is_api) = (&call.method, call.route(), call.is_api);
    let origin = if is_api { request.headers().get(header::ORIGIN).cloned() } else { None };
    request.extensions_mut().insert(context.clone());
    request.extensions_mut().insert(client);
    if !is_proxys {
        server.warn_of_untrusted_proxy(client, request.headers());
    }

    let counted = match is_api {
        true => context.count(&server, Policy::of_route(method, route), Some(Policy::Address)),
        false => context.count(&server, None, Policy::of_page(request.uri().path())),
    };
    let is_page_refused = counted.is_err() && !is_api && web_app::is_navigation(&request);
    let response = match (counted, headers::preflight(&server, method, request.headers()).filter(|_| is_api)) {
        (Err(refused), _) => refused.into_response(),
        (Ok(()), Some(allowed)) => allowed,
        (Ok(()), None) => handle(next, request, &context, method).await,
    };
    let (mut response, failure) = with_problem(response, &context.0);
    if is_page_refused {
        response = web_app::page_in_place_of(&server, response);
    }
    let status = response.status().as_u16();
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(&context.0.id) {
        headers.insert(X_REQUEST_ID, id);
    }
    let code = failure.as_ref().map(|failure| failure.problem.code.as_ref());
    headers.extend(context.settle(&server, status, code).into_iter().flatten());
    headers::add(headers, &server, is_api);
    if is_api {
        headers::share(headers, &server, origin);
    }
    call.answered(&response, failure.as_ref());
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
fn with_problem(mut response: Response, context: &Inner) -> (Response, Option<Failure>) {
    let failure = response.extensions_mut().remove::<Failure>();
    let failure = match context.has_used_code.load(Ordering::Relaxed) {
        true => failure.map(Failure::half_done),
        false => failure,
    };
    let request_id = &context.id;
    let status = response.status();
    if let Some(mut failure) = failure {
        failure.problem.request_id = Some(request_id.to_owned());
        let (mut parts, _) = response.into_parts();
        parts.status = StatusCode::from_u16(failure.problem.status).unwrap_or(status);
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

/// What the log says of a call whose client hung up before there was an answer, as nginx does: whatever it was to do may have been
/// done.
const HUNG_UP: u16 = 499;

/// A call that is being answered. It has one line in the log, whatever becomes of it: it is dropped when its client hangs up.
struct Call {
    method: Method,
    route: Option<MatchedPath>,
    is_api: bool,
    started: Instant,
    context: RequestContext,
    is_answered: bool,
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.is_answered {
            self.log(HUNG_UP, None);
        }
    }
}

impl Call {
    fn begin(request: &Request, context: RequestContext) -> Self {
        Self {
            method: request.method().clone(),
            route: request.extensions().get::<MatchedPath>().cloned(),
            is_api: is_api(request.uri().path()),
            started: Instant::now(),
            context,
            is_answered: false,
        }
    }

    /// The pattern of its path; empty where there is no such route.
    fn route(&self) -> &str {
        self.route.as_ref().map_or("", MatchedPath::as_str)
    }

    fn answered(mut self, response: &Response, failure: Option<&Failure>) {
        self.is_answered = true;
        self.log(response.status().as_u16(), failure);
    }

    fn log(&self, status: u16, failure: Option<&Failure>) {
        let source = failure.and_then(|failure| failure.source.as_deref()).map(|source| chain(source));
        let context = &self.context.0;
        macro_rules! line {
            ($level:ident) => {
                $level!(
                    http.method = %self.method,
                    http.route = self.route(),
                    http.status = status,
                    duration_ms = self.started.elapsed().as_micros() as f64 / 1_000.0,
                    request.id = %context.id,
                    client.address = context.client.shortened().map(tracing::field::display),
                    account.id = context.account_id.get().map(tracing::field::display),
                    problem.code = failure.map(|failure| failure.problem.code.as_ref()),
                    error = source,
                    "request"
                )
            };
        }
        match status {
            500 => line!(error),
            501.. => line!(warn),
            _ if self.is_api => line!(info),
            _ => line!(debug),
        }
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
