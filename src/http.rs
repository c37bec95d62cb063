//! HTTP connections: how many there are, and how long a client may leave one unused or unread.

use std::{io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{Router, extract::ConnectInfo, extract::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt;
use tracing::{debug, error, warn};

/// What a request's line and headers may weigh together.
const HEAD_BYTES: usize = 64 * 1024;

/// What clients may take of a server.
#[derive(Debug, Clone, Copy)]
pub struct HttpLimits {
    /// Held at once. Whoever is beyond that waits to be accepted.
    pub connections: usize,
    /// For the head of a request to come, counted from the answer before it. Longer than reverse proxies keep
    /// connections that they do not use (nginx: 60 s), so that it is they who close them.
    pub head: Duration,
    /// Without taking any of an answer.
    pub unread: Duration,
}

impl HttpLimits {
    /// Leaves a quarter of the process's file descriptors to encoders, to Postgres and to files.
    pub fn of_this_process() -> Self {
        const UNLIMITED: u64 = 1 << 20;
        let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED).min(UNLIMITED);
        let connections = usize::try_from(descriptors / 4 * 3).unwrap_or(usize::MAX);
        Self { connections, head: Duration::from_secs(75), unread: Duration::from_secs(30) }
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

/// Serves `router` until `stopping`, and then the requests that are under way.
pub async fn serve(listener: TcpListener, router: Router, limits: HttpLimits, stopping: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS)));
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD_BYTES);
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            (place, accept(&listener).await)
        };
        let (place, (socket, peer)) = tokio::select! {
            biased;
            () = stopping.cancelled() => break,
            accepted = accepted => accepted,
        };
        if let Err(error) = tune(&socket, limits.unread) {
            debug!(%peer, %error, "an HTTP connection was gone at once");
            continue;
        }
        let router = router.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            router.clone().oneshot(request)
        });
        let connection = protocol.serve_connection(TokioIo::new(socket), service).with_upgrades();
        let stopping = stopping.clone();
        connections.spawn(async move {
            let mut connection = pin!(connection);
            let served = tokio::select! {
                biased;
                served = connection.as_mut() => served,
                () = stopping.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                debug!(%peer, error = &error as &dyn std::error::Error, "an HTTP connection ended early");
            }
            drop(place);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
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
mod tests {
    use axum::routing::get;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        task::JoinHandle,
        time::{Instant, sleep, timeout},
    };

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    struct Serving {
        address: SocketAddr,
        stopping: CancellationToken,
        server: JoinHandle<()>,
    }

    impl Serving {
        async fn start(limits: HttpLimits) -> Self {
            let router = Router::new()
                .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
                .route("/slow", get(async || sleep(Duration::from_secs(1)).await))
                .route("/large", get(async || vec![7; 64 << 20]));
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let stopping = CancellationToken::new();
            let server = tokio::spawn(serve(listener, router, limits, stopping.clone()));
            Self { address, stopping, server }
        }

        async fn connect(&self, said: &str) -> TcpStream {
            let mut socket = TcpStream::connect(self.address).await.unwrap();
            socket.write_all(said.as_bytes()).await.unwrap();
            socket
        }
    }

    fn limits() -> HttpLimits {
        HttpLimits { connections: 100, head: Duration::from_secs(1), unread: Duration::from_secs(1) }
    }

    async fn all_of(mut socket: TcpStream) -> String {
        let mut text = String::new();
        timeout(LONG, socket.read_to_string(&mut text)).await.unwrap().unwrap();
        text
    }

    #[tokio::test]
    async fn who_never_finishes_a_request_is_left() {
        let serving = Serving::start(limits()).await;
        for said in ["", "GET / HTTP/1.1\r\nHost: weir\r\n", "GET / HTTP/1.1\r\nHost: weir\r\n\r\n"] {
            let began = Instant::now();
            let answer = all_of(serving.connect(said).await).await;
            assert_eq!(answer.contains("200 OK"), said.ends_with("\r\n\r\n"), "{answer}");
            assert!(began.elapsed() > Duration::from_millis(900), "{said:?}");
        }
    }

    #[tokio::test]
    async fn the_answer_knows_who_asked_and_may_take_longer_than_the_question() {
        let serving = Serving::start(HttpLimits { head: Duration::from_millis(300), ..limits() }).await;
        let socket = serving.connect("GET / HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n").await;
        let own = socket.local_addr().unwrap().to_string();
        assert!(all_of(socket).await.ends_with(&own));
        let slow = serving.connect("GET /slow HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n").await;
        assert!(all_of(slow).await.starts_with("HTTP/1.1 200 OK"));
    }

    #[tokio::test]
    async fn who_does_not_read_is_left() {
        let serving = Serving::start(HttpLimits { connections: 1, ..limits() }).await;
        let unread = serving.connect("GET /large HTTP/1.1\r\nHost: weir\r\n\r\n").await;
        // There is room for one, so this one is answered once the other is gone.
        let next = serving.connect("GET / HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n").await;
        assert!(all_of(next).await.starts_with("HTTP/1.1 200 OK"));
        drop(unread);
    }

    #[tokio::test]
    async fn heads_are_bounded() {
        let serving = Serving::start(limits()).await;
        let mut socket = serving.connect("GET / HTTP/1.1\r\nHost: weir\r\nX: ").await;
        // It may hang up before it has all.
        let _ = socket.write_all(&vec![b'x'; 2 * HEAD_BYTES]).await;
        let mut status = [0; 12];
        timeout(LONG, socket.read_exact(&mut status)).await.unwrap().unwrap();
        assert_eq!(&status, b"HTTP/1.1 431");
    }

    #[tokio::test]
    async fn a_stop_lets_requests_finish_and_leaves_idle_connections() {
        let serving = Serving::start(HttpLimits { head: LONG, ..limits() }).await;
        let idle = serving.connect("").await;
        let slow = serving.connect("GET /slow HTTP/1.1\r\nHost: weir\r\n\r\n").await;
        sleep(Duration::from_millis(300)).await;
        serving.stopping.cancel();
        assert!(all_of(slow).await.starts_with("HTTP/1.1 200 OK"));
        assert_eq!(all_of(idle).await, "");
        timeout(LONG, serving.server).await.unwrap().unwrap();
    }
}
