//! Requests to the origin.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    body::{Body, HttpBody, to_bytes},
    http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header},
    response::Response,
};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use thiserror::Error;
use tokio::time::timeout;

use super::{accepted, answer::Answer, tls::OriginTls};
use crate::origin::recordings::RELAY;
use crate::rights::{Bearer, LONGEST_S, Pass, PlaybackKeys, now_s};

/// How long an origin may take to be connected to.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take as a whole: a blocked reload is answered within three target durations.
pub(super) const WHOLE: Duration = Duration::from_secs(40);
/// How long an unused connection is kept. A node closes its end after 75 s.
const KEPT: Duration = Duration::from_secs(30);
/// How soon an origin that has vanished in the middle of an answer is noticed.
const PROBE: Duration = Duration::from_secs(2);
/// What an answer may have: a segment of ten seconds at 100 Mbit/s.
pub(super) const LARGEST: usize = 128 << 20;

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

/// How much of one answer, and of all of a connection, HTTP/2 lets the origin send before it hears of what was read.
const HTTP2_WINDOW: u32 = 4 << 20;
const HTTP2_CONNECTION_WINDOW: u32 = 16 << 20;

/// What an origin has begun to answer.
pub(super) enum Opened {
    Whole(Answer),
    /// Its length is not known yet: it is sent as it comes to be.
    Growing(StatusCode, HeaderMap, Body),
}

type Connections = Client<HttpsConnector<HttpConnector>, Body>;

/// The connections to the origins.
pub(super) struct Upstream {
    /// HTTP/2 over TLS where the origin speaks it, so that many requests share a connection.
    client: Connections,
    /// Always HTTP/1.1: for what the origin holds until there is something. An HTTP/2 connection has room for so many requests
    /// at once, and those that are held would stand in the way of the others.
    waiting: Connections,
    origins: Vec<String>,
    /// Which of them answered last.
    current: AtomicUsize,
    keys: PlaybackKeys,
    token: Mutex<Option<(u64, String)>>,
    count: AtomicU64,
}

impl Upstream {
    pub(super) fn new(origins: Vec<String>, keys: PlaybackKeys, tls: &OriginTls) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_keepalive(Some(PROBE));
        connector.set_keepalive_interval(Some(PROBE));
        connector.set_keepalive_retries(Some(2));
        // What is after the scheme is for TLS to see to.
        connector.enforce_http(false);
        let secure = || HttpsConnectorBuilder::new().with_tls_config(tls.config()).https_or_http();
        let mut builder = Client::builder(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(KEPT)
            .http2_initial_stream_window_size(HTTP2_WINDOW)
            .http2_initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .http2_keep_alive_interval(PROBE)
            .http2_keep_alive_timeout(2 * PROBE);
        let client = builder.build(secure().enable_all_versions().wrap_connector(connector.clone()));
        let waiting = builder.build(secure().enable_http1().wrap_connector(connector));
        let (current, token, count) = (AtomicUsize::new(0), Mutex::default(), AtomicU64::new(0));
        Self { client, waiting, origins, current, keys, token, count }
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

    /// As [`Upstream::get`], of what may still grow.
    ///
    /// # Errors
    /// When no origin answers.
    pub(super) async fn open(&self, path: &str) -> Result<Opened, Lost> {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.ask_for(path, true).await
    }

    /// Asks the origin that answered last, and then the others, for a path with its query.
    ///
    /// # Errors
    /// When none answers.
    pub(super) async fn ask(&self, path: &str) -> Result<Answer, Lost> {
        match self.ask_for(path, false).await? {
            Opened::Whole(answer) => Ok(answer),
            // It was not asked for.
            Opened::Growing(..) => Err(Lost::Slow),
        }
    }

    async fn ask_for(&self, path: &str, may_grow: bool) -> Result<Opened, Lost> {
        let first = self.current.load(Ordering::Relaxed);
        let mut lost = Lost::Slow;
        for attempt in 0..self.origins.len() {
            let number = (first + attempt) % self.origins.len();
            match self.ask_one(&self.origins[number], path, may_grow).await {
                // It is stopping, or stands before one that is away; another may not.
                Ok(Opened::Whole(answer))
                    if answer.status == StatusCode::BAD_GATEWAY && attempt + 1 < self.origins.len() => {}
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

    /// Passes a viewer's request on, with its path and query, to the origin that answered last, or else to the others, and the
    /// answer back as it comes.
    ///
    /// # Errors
    /// When no origin begins to answer.
    pub(super) async fn pass(&self, method: &Method, path: &str, sent: &HeaderMap) -> Result<Response, Lost> {
        let first = self.current.load(Ordering::Relaxed);
        let mut lost = Lost::Slow;
        for attempt in 0..self.origins.len() {
            let number = (first + attempt) % self.origins.len();
            match self.pass_to(&self.origins[number], method, path, sent).await {
                Ok(answer) if answer.status() == StatusCode::BAD_GATEWAY && attempt + 1 < self.origins.len() => {}
                Ok(answer) => {
                    self.current.store(number, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => lost = error,
            }
        }
        Err(lost)
    }

    async fn pass_to(&self, origin: &str, method: &Method, path: &str, sent: &HeaderMap) -> Result<Response, Lost> {
        /// What a viewer may say to an origin.
        const PASSED_ON: [HeaderName; 6] = [
            header::RANGE,
            header::IF_RANGE,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::ACCEPT_ENCODING,
            header::ACCEPT,
        ];
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

    async fn ask_one(&self, origin: &str, path: &str, may_grow: bool) -> Result<Opened, Lost> {
        let token = self.authority()?;
        let uri = Uri::try_from(format!("{origin}{path}")).map_err(axum::http::Error::from)?;
        let mut request = Request::get(uri).body(Body::empty())?;
        let (name, value) = accepted();
        request.headers_mut().insert(name, value);
        let sensitive = |text: String| {
            HeaderValue::try_from(text).map_err(axum::http::Error::from).map(|mut value| {
                value.set_sensitive(true);
                value
            })
        };
        request.headers_mut().insert(header::AUTHORIZATION, sensitive(format!("Bearer {token}"))?);
        if path.starts_with("/vod/") {
            // In no address, which proxies on the way write into their logs.
            request.headers_mut().insert(RELAY, sensitive(token)?);
        }
        let client = if is_held(path) { &self.waiting } else { &self.client };
        let asked = async {
            let (head, body) = client.request(request).await.map_err(Lost::Answer)?.into_parts();
            let is_growing = head.status == StatusCode::OK
                && body.size_hint().exact().is_none()
                && !head.headers.contains_key(header::CONTENT_ENCODING);
            if may_grow && is_growing {
                return Ok(Opened::Growing(head.status, head.headers, Body::new(body)));
            }
            let body = to_bytes(Body::new(body), LARGEST).await.map_err(Lost::Body)?;
            Ok(Opened::Whole(Answer::new(head.status, head.headers, body)))
        };
        timeout(WHOLE, asked).await.unwrap_or(Err(Lost::Slow))
    }

    /// What gives us the right to everything; another one every hour.
    fn authority(&self) -> Result<String, Lost> {
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
        *token = Some((now, text.clone()));
        Ok(text)
    }
}

/// Whether the origin answers only once there is something: a playlist with a position, news of rights, and segments for DASH,
/// which are sent as they grow.
fn is_held(path: &str) -> bool {
    path.contains("_HLS_msn=")
        || path.starts_with("/live/revocations")
        || (path.ends_with(".m4s") && (path.contains("/v/s") || path.contains("/a/s")))
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::to_bytes};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// An origin that answers all with this status, and its own number.
    async fn origin(status: StatusCode, number: u8) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(async move || (status, number.to_string()));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        format!("http://{address}")
    }

    /// An address at which nobody listens, for as long as the socket is kept.
    fn nobody() -> (TcpSocket, String) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = format!("http://{}", socket.local_addr().unwrap());
        (socket, address)
    }

    async fn passed(upstream: &Upstream) -> Result<(StatusCode, String), Lost> {
        let answer = upstream.pass(&Method::GET, "/vod/x/download.mp4", &HeaderMap::new()).await?;
        let (head, body) = answer.into_parts();
        Ok((head.status, String::from_utf8(to_bytes(body, 16).await.unwrap().to_vec()).unwrap()))
    }

    #[tokio::test]
    async fn what_is_passed_on_goes_to_the_next_origin_too() {
        let good = origin(StatusCode::OK, 1).await;
        let (_taken, nobody) = nobody();
        // Another node that stands before one that is away says 502.
        let others = [nobody, origin(StatusCode::BAD_GATEWAY, 2).await];
        for before in [&others[..1], &others[1..], &others] {
            let origins = before.iter().chain([&good]).cloned().collect();
            let upstream = Upstream::new(origins, PlaybackKeys::new([7; 32], []), &OriginTls::none());
            for _ in 0..2 {
                assert_eq!(passed(&upstream).await.unwrap(), (StatusCode::OK, "1".to_owned()), "{before:?}");
            }
            // The one that answered is asked first from then on.
            assert_eq!(upstream.count(), before.len() as u64 + 2, "{before:?}");
        }
    }

    #[tokio::test]
    async fn what_no_origin_has_is_what_the_last_of_them_says() {
        let (_taken, away) = nobody();
        let upstream = Upstream::new(vec![away.clone()], PlaybackKeys::new([7; 32], []), &OriginTls::none());
        assert!(passed(&upstream).await.is_err());
        let lost = origin(StatusCode::BAD_GATEWAY, 2).await;
        let upstream = Upstream::new(vec![away.clone(), lost], PlaybackKeys::new([7; 32], []), &OriginTls::none());
        assert_eq!(passed(&upstream).await.unwrap().0, StatusCode::BAD_GATEWAY);
        let refused = origin(StatusCode::FORBIDDEN, 3).await;
        let upstream = Upstream::new(vec![refused, away], PlaybackKeys::new([7; 32], []), &OriginTls::none());
        assert_eq!(passed(&upstream).await.unwrap().0, StatusCode::FORBIDDEN, "what an origin refuses stays refused");
    }
}
