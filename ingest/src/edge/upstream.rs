//! Requests to the origin.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, to_bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header},
    response::Response,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use thiserror::Error;
use tokio::time::timeout;

use super::{accepted, answer::Answer};
use crate::rights::{Bearer, LONGEST_S, Pass, PlaybackKeys, now_s};

/// How long an origin may take to be connected to.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take as a whole: a blocked reload is answered within three target durations.
const WHOLE: Duration = Duration::from_secs(40);
/// How long an unused connection is kept. A node closes its end after 75 s.
const KEPT: Duration = Duration::from_secs(30);
/// How soon an origin that has vanished in the middle of an answer is noticed.
const PROBE: Duration = Duration::from_secs(2);
/// What an answer may have: a segment of ten seconds at 100 Mbit/s.
const LARGEST: usize = 128 << 20;

/// No origin has answered.
#[derive(Debug, Error)]
pub(super) enum Lost {
    #[error("make a request for the origin")]
    Address(#[from] axum::http::Error),
    #[error("get an answer from the origin")]
    Answer(#[source] hyper_util::client::legacy::Error),
    #[error("read the origin's answer")]
    Body(#[source] axum::Error),
    #[error("wait for the origin's answer")]
    Slow,
    #[error("find a key of tokens")]
    Keyless,
}

/// The connections to the origins.
pub(super) struct Upstream {
    client: Client<HttpConnector, Body>,
    origins: Vec<String>,
    /// Which of them answered last.
    current: AtomicUsize,
    keys: PlaybackKeys,
    token: Mutex<Option<(u64, HeaderValue)>>,
    count: AtomicU64,
}

impl Upstream {
    pub(super) fn new(origins: Vec<String>, keys: PlaybackKeys) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(PROBE));
        connector.set_keepalive_interval(Some(PROBE));
        connector.set_keepalive_retries(Some(2));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .build(connector);
        Self { client, origins, current: AtomicUsize::new(0), keys, token: Mutex::default(), count: AtomicU64::new(0) }
    }

    /// How often something of a stream was asked for.
    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Asks for something of a stream.
    ///
    /// # Errors
    /// When no origin answers.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Lost> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.ask(path).await
    }

    /// Asks the origin that answered last, and then the others, for a path with its query.
    ///
    /// # Errors
    /// When none answers.
    pub(super) async fn ask(&self, path: &str) -> Result<Answer, Lost> {
        let first = self.current.load(Ordering::Relaxed);
        let mut lost = Lost::Slow;
        for attempt in 0..self.origins.len() {
            let number = (first + attempt) % self.origins.len();
            match self.ask_one(&self.origins[number], path).await {
                // It is stopping, or stands before one that is away; another may not.
                Ok(answer) if answer.status == StatusCode::BAD_GATEWAY && attempt + 1 < self.origins.len() => {}
                Ok(answer) => {
                    self.current.store(number, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => lost = error,
            }
        }
        tracing::debug!(error = &lost as &dyn std::error::Error, path, "no origin answers");
        Err(lost)
    }

    /// Passes a viewer's request on, with its path and query, and the answer back as it comes.
    ///
    /// # Errors
    /// When the origin that answered last does not begin to answer.
    pub(super) async fn pass(&self, method: Method, path: &str, sent: &HeaderMap) -> Result<Response, Lost> {
        /// What a viewer may say to an origin.
        const PASSED_ON: [HeaderName; 6] = [
            header::RANGE,
            header::IF_RANGE,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::ACCEPT_ENCODING,
            header::ACCEPT,
        ];
        let origin = &self.origins[self.current.load(Ordering::Relaxed) % self.origins.len()];
        let uri = Uri::try_from(format!("{origin}{path}")).map_err(axum::http::Error::from)?;
        let mut request = Request::builder().method(method).uri(uri).body(Body::empty())?;
        for name in PASSED_ON {
            if let Some(value) = sent.get(&name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        let answer = timeout(WHOLE, self.client.request(request)).await.map_err(|_| Lost::Slow)?;
        let mut answer = answer.map_err(Lost::Answer)?.map(Body::new);
        for name in [header::CONNECTION, header::TRANSFER_ENCODING, HeaderName::from_static("keep-alive")] {
            answer.headers_mut().remove(name);
        }
        Ok(answer)
    }

    async fn ask_one(&self, origin: &str, path: &str) -> Result<Answer, Lost> {
        let uri = Uri::try_from(format!("{origin}{path}")).map_err(axum::http::Error::from)?;
        let mut request = Request::get(uri).body(Body::empty())?;
        let (name, value) = accepted();
        request.headers_mut().insert(name, value);
        request.headers_mut().insert(header::AUTHORIZATION, self.authority()?);
        let asked = async {
            let (head, body) = self.client.request(request).await.map_err(Lost::Answer)?.into_parts();
            let body = to_bytes(Body::new(body), LARGEST).await.map_err(Lost::Body)?;
            Ok(Answer::new(head.status, head.headers, body))
        };
        timeout(WHOLE, asked).await.unwrap_or(Err(Lost::Slow))
    }

    /// What gives us the right to everything; another one every hour.
    fn authority(&self) -> Result<HeaderValue, Lost> {
        const RENEWED_S: u64 = 60 * 60;
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let now = now_s();
        if let Some((made_s, value)) = &*token
            && now.saturating_sub(*made_s) < RENEWED_S
        {
            return Ok(value.clone());
        }
        let pass = Pass { bearer: Bearer::Edge, version: 0, expires_at_s: now + LONGEST_S };
        let text = self.keys.mint(&pass).ok_or(Lost::Keyless)?;
        let mut value = HeaderValue::try_from(format!("Bearer {text}")).map_err(axum::http::Error::from)?;
        value.set_sensitive(true);
        *token = Some((now, value.clone()));
        Ok(value)
    }
}
