//! All that is under `/live`, as one service.

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use tower::Service;

/// Answers what viewers ask for under `/live`, which it does not see in addresses. Cheap to clone.
///
/// No router: thousands of reloads are held, and what a router keeps for each of them is kept as often.
#[derive(Clone)]
pub struct LiveService(Arc<dyn Fn(Request) -> BoxFuture<'static, Response> + Send + Sync>);

impl LiveService {
    /// One that answers by `answer`.
    pub fn new<F>(answer: impl Fn(Request) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Response> + Send + 'static,
    {
        Self(Arc::new(move |request| answer(request).boxed()))
    }

    /// The answer to a request.
    #[must_use]
    pub fn answer(&self, request: Request) -> BoxFuture<'static, Response> {
        (self.0)(request)
    }
}

/// One that has nothing.
impl Default for LiveService {
    fn default() -> Self {
        Self::new(|_| ready(StatusCode::NOT_FOUND.into_response()))
    }
}

impl Service<Request> for LiveService {
    type Response = Response;
    type Error = Infallible;
    type Future = futures::future::Map<BoxFuture<'static, Response>, fn(Response) -> Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.answer(request).map(Ok)
    }
}

impl fmt::Debug for LiveService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LiveService(…)")
    }
}
