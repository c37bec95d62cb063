//! HTTP connections: how many there are, and how long a client may leave one unused or unread.
//!
//! HTTP/1.1 and HTTP/2 come to the same address: in plain text HTTP/2 by its preface (RFC 9113 section 3.3), over TLS by
//! ALPN. A watch over all connections closes those that ask nothing or take nothing; it costs a request no timer.

mod cores;
mod http1;
mod pages;
mod places;
mod socket;
mod tls;
mod traffic;
mod watch;

use std::{
    convert::Infallible,
    error::Error,
    future::{pending, poll_fn},
    io,
    net::SocketAddr,
    panic::resume_unwind,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, HttpBody as _, to_bytes},
    extract::{ConnectInfo, Request},
    response::Response,
};
use bytes::BytesMut;
use hyper::{
    Method, StatusCode, Uri, Version,
    body::Incoming,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
    http::uri::PathAndQuery,
    server::conn::http1 as hyper1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use ingest::origin::LiveService;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::Semaphore,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};
use tower::ServiceExt;
use tracing::{debug, error, warn};

use self::{
    cores::{Cores, Seat},
    http1::Left,
    pages::Pages,
    places::{Place, Places, Refused},
    socket::Watched,
    traffic::{Held, Sent, Traffic},
    watch::{Activity, Answering, GOODBYE, Told, Watch},
};

pub use tls::acceptor;

/// What a request's line and headers may weigh together.
const HEAD_BYTES: u32 = 64 * 1024;
/// Requests that an HTTP/2 client may have under way at once: a player has a playlist and a few parts.
const STREAMS: u32 = 128;
/// How much of one answer is handed to HTTP/2 at once: the rest waits until the client has taken that.
const HTTP2_PIECE_BYTES: usize = 256 * 1024;
/// How often a silent HTTP/2 client is asked whether it is still there, and how long it has to answer.
const PING: Duration = Duration::from_secs(20);
/// How soon a body that nobody asks for any more is let go of: within two of these.
const SWEPT_EVERY: Duration = Duration::from_secs(5);
/// How many refused clients are told why at once.
const REFUSALS: usize = 64;

/// What clients may take of a server.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// Held at once. Whoever is beyond that is answered 503.
    pub connections: usize,
    /// From one public address at once; beyond that the answer is 429. 0 sets no limit.
    pub per_address: usize,
    /// Whether private addresses and those of this machine are counted too: proxies and other nodes are there.
    pub counts_private: bool,
    /// For the head of a request to come, counted from the answer before it. Longer than reverse proxies keep
    /// connections that they do not use (nginx: 60 s), so that it is they who close them.
    pub head: Duration,
    /// Without taking any of an answer.
    pub unread: Duration,
}

impl HttpLimits {
    /// What an address has unless the settings say otherwise: a few hundred viewers behind one router.
    pub const PER_ADDRESS: usize = 1_024;

    /// Leaves a quarter of the process's file descriptors to encoders, to Postgres and to files.
    pub fn of_this_process() -> Self {
        const UNLIMITED: u64 = 1 << 20;
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED).min(UNLIMITED);
        let connections = usize::try_from(descriptors / 4 * 3).unwrap_or(usize::MAX);
        Self {
            connections,
            per_address: Self::PER_ADDRESS,
            counts_private: false,
            head: Duration::from_secs(75),
            unread: Duration::from_secs(30),
        }
    }
}

/// Takes as many file descriptors as the system grants: the usual 1,024 are a thousand viewers.
pub fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        warn!(%error, limit = current, "the limit of file descriptors cannot be raised");
    }
}

/// What is served.
#[derive(Debug)]
pub struct Site {
    /// All that is under `/live`. Answered on the thread of its connection: nothing here
    /// may compute for long.
    pub live: LiveService,
    /// Everything else, answered on the runtime that [`serve_tls`] was called on.
    pub rest: Router,
    /// Called for each answer of `live`. A middleware would cost each request that is held 2 KiB.
    pub answered: fn(&Method, &mut Response),
}

/// Serves `router` in plain text until `stopping`, and then the requests that are under way.
pub async fn serve(listener: TcpListener, router: Router, limits: HttpLimits, stopping: CancellationToken) {
    serve_tls(
        listener,
        None,
        Site { live: LiveService::default(), rest: router, answered: |_, _| {} },
        limits,
        stopping,
    )
    .await;
}

/// The same over TLS, where there is an acceptor.
pub async fn serve_tls(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    site: Site,
    limits: HttpLimits,
    stopping: CancellationToken,
) {
    let connections = TaskTracker::new();
    let cores = Cores::get();
    let traffic = Traffic::get();
    let places = Places::new(limits, traffic);
    let refusals = Arc::new(Semaphore::new(REFUSALS));
    let elsewhere = Handle::current();
    let server = Arc::new(Server { protocols: protocols(), site, elsewhere, limits, traffic });
    let mut sweeps = interval(SWEPT_EVERY);
    let mut watch = Watch::new(limits);
    let mut looks = interval(watch.every());
    // After a standstill there is one to do.
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let (socket, peer) = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            _ = sweeps.tick() => {
                Pages::get().sweep(SWEPT_EVERY / 2);
                continue;
            }
            _ = looks.tick() => {
                watch.look();
                continue;
            }
            accepted = accept(&listener) => accepted,
        };
        let place = match places.take(peer.ip()) {
            Ok(place) => place,
            Err(refused) => {
                // Over TLS it would cost more than the connection that is refused.
                if let (None, Ok(permit)) = (&tls, Arc::clone(&refusals).try_acquire_owned()) {
                    connections.spawn(async move {
                        let _ = timeout(GOODBYE, refuse(socket, refused)).await;
                        drop(permit);
                    });
                }
                continue;
            }
        };
        if let Err(error) = tune(&socket, limits.unread) {
            debug!(%peer, %error, "an HTTP connection was gone at once");
            continue;
        }
        // It is watched by the reactor of the thread that it goes to.
        let socket = match socket.into_std() {
            Ok(socket) => socket,
            Err(error) => {
                debug!(%peer, %error, "an HTTP connection was gone at once");
                continue;
            }
        };
        let (server, tls, seat) = (Arc::clone(&server), tls.clone(), cores.seat());
        let runtime = seat.runtime.clone();
        let activity = watch.begin();
        connections
            .spawn_on(async move { server.connection(socket, peer, tls, activity, (place, seat)).await }, &runtime);
    }
    drop(listener);
    watch.end();
    connections.close();
    loop {
        tokio::select! {
            () = connections.wait() => break,
            _ = looks.tick() => watch.look(),
        }
    }
}

/// What all connections share.
struct Server {
    protocols: (hyper1::Builder, auto::Builder<TokioExecutor>),
    site: Site,
    /// Where everything but media is answered.
    elsewhere: Handle,
    limits: HttpLimits,
    traffic: &'static Traffic,
}

/// HTTP/1.1, and whichever it is.
fn protocols() -> (hyper1::Builder, auto::Builder<TokioExecutor>) {
    let mut first = hyper1::Builder::new();
    first.max_buf_size(HEAD_BYTES as usize);
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    protocol.http1().max_buf_size(HEAD_BYTES as usize);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    (first, protocol)
}

impl Server {
    async fn connection(
        self: Arc<Self>,
        socket: std::net::TcpStream,
        peer: SocketAddr,
        tls: Option<TlsAcceptor>,
        activity: Arc<Activity>,
        place: (Place, Seat),
    ) {
        let socket = match TcpStream::from_std(socket) {
            Ok(socket) => socket,
            Err(error) => {
                error!(%error, "an HTTP connection cannot be watched");
                return;
            }
        };
        let mut socket = Watched::new(socket, Arc::clone(&activity), self.traffic, self.limits.unread);
        match tls {
            None => {
                let media = http1::serve(&mut socket, &self.site, self.traffic, &activity);
                let left = self.answer(media, |_| {}, peer, &activity).await;
                // What hyper and TLS need is a box apart, so that the task of a viewer stays small.
                if let Some(left) = left.flatten() {
                    Box::pin(self.others(socket, left, peer, &activity)).await;
                }
            }
            Some(tls) => {
                let any = &self.protocols.1;
                let answering = async {
                    match timeout(self.limits.head, tls.accept(socket)).await {
                        Ok(Ok(socket)) => {
                            let service = self.service((peer, false), &activity);
                            let connection = any.serve_connection_with_upgrades(TokioIo::new(socket), service);
                            self.answer(connection, auto::UpgradeableConnection::graceful_shutdown, peer, &activity)
                                .await;
                        }
                        Ok(Err(error)) => debug!(%peer, %error, "no TLS came about"),
                        Err(_) => debug!(%peer, "TLS was begun and never finished"),
                    }
                };
                Box::pin(answering).await;
            }
        }
        drop(place);
    }

    /// Has hyper answer what is left and whatever comes after it. HTTP/2 begins with its connection, and the first letter of its
    /// preface is that of a few methods, too.
    ///
    /// What detects it while reading (`auto`) hands its 24 bytes on apart, and the buffer that they do not fit into as well
    /// is 16 KiB from then on, for as long as the connection lasts.
    async fn others(self: &Arc<Self>, socket: Watched, left: Left, peer: SocketAddr, activity: &Arc<Activity>) {
        let (first, any) = &self.protocols;
        let may_be_http2 = left.is_first && left.come.first() == Some(&b'P');
        let (socket, service) = (TokioIo::new(socket.after(left.come)), self.service((peer, true), activity));
        if may_be_http2 {
            let connection = any.serve_connection_with_upgrades(socket, service);
            self.answer(connection, auto::UpgradeableConnection::graceful_shutdown, peer, activity).await;
        } else {
            let connection = first.serve_connection(socket, service).with_upgrades();
            self.answer(connection, hyper1::UpgradeableConnection::graceful_shutdown, peer, activity).await;
        }
    }

    fn service(
        self: &Arc<Self>,
        from: (SocketAddr, bool),
        activity: &Arc<Activity>,
    ) -> impl Service<Request<Incoming>, Response = Response<Sent>, Error = Infallible, Future: Send> + use<> {
        let (server, activity) = (Arc::clone(self), Arc::clone(activity));
        service_fn(move |mut request: Request<Incoming>| {
            let held = server.traffic.asked(request.uri().path(), request.uri().query());
            let is_live = is_live(request.uri().path());
            apart(&mut request, if is_live { LIVE.len() } else { 0 });
            let by = match is_live {
                true => By::Here(server.site.live.clone(), server.site.answered),
                false => By::Others(server.site.rest.clone(), server.elsewhere.clone()),
            };
            respond(by, (held, Answering::begin(Arc::clone(&activity))), from, request)
        })
    }

    /// Answers what comes on a connection until it ends, and what it ended with; `end` ends it once its requests are answered.
    async fn answer<C, T, E>(
        &self,
        connection: C,
        end: impl Fn(Pin<&mut C>),
        peer: SocketAddr,
        activity: &Activity,
    ) -> Option<T>
    where
        C: Future<Output = Result<T, E>>,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut connection = pin!(connection);
        let mut is_ended = false;
        let served = poll_fn(|context| {
            loop {
                if let Poll::Ready(served) = connection.as_mut().poll(context) {
                    return Poll::Ready(Ok(served));
                }
                match activity.told(context.waker()) {
                    Told::End if !is_ended => {
                        is_ended = true;
                        end(connection.as_mut());
                    }
                    Told::Nothing | Told::End => return Poll::Pending,
                    told @ (Told::Leave | Told::Cut) => return Poll::Ready(Err(told)),
                }
            }
        });
        let served = match served.await {
            Ok(served) => served,
            Err(told) => {
                if told == Told::Cut {
                    if activity.cut() {
                        self.traffic.slow_readers.increment(1);
                    }
                    debug!(%peer, "an HTTP client takes nothing of its answer");
                }
                return None;
            }
        };
        let served = served.map_err(|error| {
            debug!(%peer, error = &*error.into() as &dyn Error, "an HTTP connection ended early");
        });
        served.ok()
    }
}

/// Who answers.
enum By {
    /// This thread, and then what is told of the answer.
    Here(LiveService, fn(&Method, &mut Response)),
    /// The threads of a runtime that may take long.
    Others(Router, Handle),
}

async fn respond(
    by: By,
    (held, answering): (Option<Held>, Answering),
    (peer, is_plain): (SocketAddr, bool),
    mut request: Request<Incoming>,
) -> Result<Response<Sent>, Infallible> {
    // Only of HTTP/1.1 in plain text does a body come to the socket as it is.
    let (at_most, pages) = match request.version() {
        Version::HTTP_2 => (HTTP2_PIECE_BYTES, None),
        _ => (usize::MAX, is_plain.then(Pages::get)),
    };
    let response = match by {
        By::Here(live, answered) => {
            let method = request.method().clone();
            let mut response = for_method(&method, live.answer(request.into_parts().0).await);
            answered(&method, &mut response);
            response
        }
        By::Others(router, runtime) => {
            request.extensions_mut().insert(ConnectInfo(peer));
            let answering = async move {
                let Ok(response) = router.oneshot(request).await;
                computed(response).await
            };
            match AbortOnDropHandle::new(runtime.spawn(answering)).await {
                Ok(response) => response,
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => resume_unwind(panic),
                    // The runtime has ended, and with it the process.
                    Err(_) => pending().await,
                },
            }
        }
    };
    drop(held);
    Ok(response.map(|body| Sent::new(body, at_most, pages, answering)))
}

/// The answer to a request by this method: to HEAD without its body, of which it is said how long it would be.
fn for_method(method: &Method, response: Response) -> Response {
    if method != Method::HEAD {
        return response;
    }
    let (mut head, body) = response.into_parts();
    if let Some(length) = body.size_hint().exact().filter(|length| *length > 0) {
        head.headers.entry(CONTENT_LENGTH).or_insert_with(|| length.into());
    }
    Response::from_parts(head, Body::empty())
}

/// JSON is compressed while its body is read, and that is on the thread of the connection: here it is done before. It is in
/// memory as it is, so that this takes no more.
async fn computed(response: Response) -> Response {
    let headers = response.headers();
    let is_json = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().windows(4).any(|part| part == b"json"));
    let is_to_do = headers.contains_key(CONTENT_ENCODING) && response.body().size_hint().exact().is_none();
    if !is_json || !is_to_do {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = match to_bytes(body, usize::MAX).await {
        Ok(bytes) => Body::from(bytes),
        Err(error) => {
            error!(%error, "an answer cannot be compressed");
            head.status = StatusCode::INTERNAL_SERVER_ERROR;
            Body::empty()
        }
    };
    Response::from_parts(head, body)
}

/// Takes a request's head out of the buffer that it was read into, so that the connection has that again while the request is
/// held: it would take another 8 KiB to notice that the client is gone. What is `before` the path is left out of it.
fn apart(request: &mut Request<Incoming>, before: usize) {
    let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str).get(before..).unwrap_or_default();
    let slash = if target.starts_with('/') { "" } else { "/" };
    let length = slash.len() + target.len();
    let mut copy = BytesMut::with_capacity(length + request.headers().values().map(HeaderValue::len).sum::<usize>());
    copy.extend_from_slice(slash.as_bytes());
    copy.extend_from_slice(target.as_bytes());
    for value in request.headers().values() {
        copy.extend_from_slice(value.as_bytes());
    }
    let mut copy = copy.freeze();
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = PathAndQuery::from_maybe_shared(copy.split_to(length)).ok();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
    for value in request.headers_mut().values_mut() {
        let bytes = copy.split_to(value.len());
        if let Ok(copied) = HeaderValue::from_maybe_shared(bytes) {
            *value = copied;
        }
    }
}

const LIVE: &str = "/live";

/// Whether what is asked for is answered from memory, for the most part, on the thread of its connection.
fn is_live(path: &str) -> bool {
    path.strip_prefix(LIVE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Says why there is no place, in HTTP/1.1, which every client reads.
async fn refuse(mut socket: TcpStream, refused: Refused) -> io::Result<()> {
    let (status, code, detail) = match refused {
        Refused::Connections => {
            ("503 Service Unavailable", "server_full", "This server has as many connections as it can hold: try again.")
        }
        Refused::Address => {
            ("429 Too Many Requests", "too_many_connections", "Your address has too many connections open: close some.")
        }
    };
    let (number, title) = status.split_at(3);
    let title = title.trim_start();
    let body = format!(
        r#"{{"type":"urn:weir:problem:{code}","title":"{title}","status":{number},"detail":"{detail}","code":"{code}"}}"#
    );
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {length}\r\nretry-after: 5\r\n\
         cache-control: no-store\r\naccess-control-allow-origin: *\r\nconnection: close\r\n\r\n{body}"
    );
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    // What has come is read, or the system would tell the client of an error instead of the answer.
    let mut bin = [0; 1024];
    while socket.read(&mut bin).await? > 0 {}
    Ok(())
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            // The client was gone before we came to it.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                error!(%error, "accepting HTTP connections fails");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

fn tune(socket: &TcpStream, unread: Duration) -> io::Result<()> {
    // A part of a segment is one write; waiting for more of it would only delay it.
    socket.set_nodelay(true)?;
    // The kernel drops a peer that has stopped reading, or is gone, while there is something to send; nothing else
    // would, and what is being sent would stay in memory.
    SockRef::from(socket).set_tcp_user_timeout(Some(unread))
}

#[cfg(test)]
mod tests;
