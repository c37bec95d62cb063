//! All that is under `/live`, as one service.

use std::{
    convert::Infallible,
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use axum::{
    extract::Request,
    http::{StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use futures::{
    FutureExt,
    future::{BoxFuture, ready},
};
use tower::Service;

/// Answers what viewers ask for under `/live`, which it does not see in addresses. Cheap to clone.
///
/// No router, and no bodies, which nobody reads here: thousands of reloads are held, and what is kept for each of them is kept as
/// often.
#[derive(Clone)]
pub struct LiveService(Arc<dyn Fn(Parts) -> BoxFuture<'static, Response> + Send + Sync>);

impl LiveService {
    /// One that answers by `answer`.
    pub fn new(answer: impl Fn(Parts) -> BoxFuture<'static, Response> + Send + Sync + 'static) -> Self {
        Self(Arc::new(answer))
    }

    /// The answer to a request.
    #[must_use]
    pub fn answer(&self, request: Parts) -> BoxFuture<'static, Response> {
        (self.0)(request)
    }
}

/// One that has nothing.
impl Default for LiveService {
    fn default() -> Self {
        Self::new(|_| ready(StatusCode::NOT_FOUND.into_response()).boxed())
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
        self.answer(request.into_parts().0).map(Ok)
    }
}

impl fmt::Debug for LiveService {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("LiveService(…)")
    }
}
