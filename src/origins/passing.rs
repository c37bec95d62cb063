//! Passes a request on to another node, and its answer back, without keeping either.

use std::time::Duration;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header, request::Parts, uri::PathAndQuery},
    response::Response,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use thiserror::Error;
use tokio::time::timeout;

use super::FROM_A_NODE;

/// How long a node may take to be connected to: it is in the same network.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take to begin. A blocked reload is answered within three target durations.
const BEGIN: Duration = Duration::from_secs(60);
/// How long an unused connection is kept. A node closes its end after 75 s.
const KEPT: Duration = Duration::from_secs(30);
/// How many unused connections are kept to each node: as many as viewers that ask at the same moment, within reason.
const KEPT_AT_MOST: usize = 1_024;
/// How soon a node that has vanished in the middle of an answer is noticed.
const PROBE: Duration = Duration::from_secs(5);

/// Headers that are about one connection, not about what is passed on: RFC 9110 section 7.6.1.
const HOP_BY_HOP: [HeaderName; 8] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Why there is no answer from another node.
#[derive(Debug, Error)]
pub(super) enum PassingError {
    #[error("make a request for the node")]
    Address(#[from] axum::http::Error),
    #[error("get an answer from the node")]
    Answer(#[source] hyper_util::client::legacy::Error),
    #[error("wait for the node's answer to begin")]
    Slow,
}

/// The connections to other nodes.
pub(super) struct Passing {
    client: Client<HttpConnector, Body>,
}

impl Passing {
    pub(super) fn new() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(PROBE));
        connector.set_keepalive_interval(Some(PROBE));
        connector.set_keepalive_retries(Some(2));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .pool_max_idle_per_host(KEPT_AT_MOST)
            .build(connector);
        Self { client }
    }

    /// The answer of `node` to a request under `/live`, of which the path says only what comes after that.
    ///
    /// The answer's body comes as the node sends it; dropping it, or this, closes what is under way.
    ///
    /// # Errors
    /// When the node does not begin to answer. Once it has, a body that breaks off breaks off here too.
    pub(super) async fn pass(&self, node: &str, request: &Parts) -> Result<Response, PassingError> {
        let path = request.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let uri = Uri::try_from(format!("{node}/live{path}")).map_err(axum::http::Error::from)?;
        let mut passed = Request::builder().method(request.method.clone()).uri(uri).body(Body::empty())?;
        let headers = passed.headers_mut();
        *headers = request.headers.clone();
        without_hops(headers);
        // What a request for media might bring along is not read by anybody.
        headers.remove(header::CONTENT_LENGTH);
        headers.remove(header::HOST);
        headers.insert(FROM_A_NODE, HeaderValue::from_static("1"));
        let answer = timeout(BEGIN, self.client.request(passed)).await;
        let mut answer = answer.map_err(|_| PassingError::Slow)?.map_err(PassingError::Answer)?;
        without_hops(answer.headers_mut());
        Ok(answer.map(Body::new))
    }
}

fn without_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}
