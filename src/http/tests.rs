//! Real sockets against a server. Its limits of time are long, but for the one that a test is about: a test that is kept waiting is not
//! to be taken for a client that is slow.

mod media;

use std::{sync::LazyLock, task::Context, time::Instant};

use axum::{
    body::Body,
    http::{StatusCode, header},
    routing::{any, get},
};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use tokio::{sync::watch, task::JoinHandle, time::sleep};

use super::*;

const LONG: Duration = Duration::from_secs(120);
const LARGE: usize = 64 << 20;

/// As many bytes as a part of a stream has, of which no two pages are the same.
static PART: LazyLock<Bytes> = LazyLock::new(|| body(150_001));
/// Bytes that are sent from pages, and that no socket takes at once.
static LONG_PART: LazyLock<Bytes> = LazyLock::new(|| body(7 << 20));

fn body(length: u32) -> Bytes {
    (0..length).map(|index| (index / 7 % 251) as u8).collect::<Vec<_>>().into()
}

struct Serving {
    address: SocketAddr,
    stopping: CancellationToken,
    server: JoinHandle<()>,
    /// Sent to once for all who are held.
    bell: watch::Sender<bool>,
}

impl Serving {
    async fn start(limits: HttpLimits) -> Self {
        Self::start_tls(limits, None).await
    }

    async fn start_tls(limits: HttpLimits, tls: Option<TlsAcceptor>) -> Self {
        let bell = watch::Sender::new(false);
        let (rung, rung_elsewhere) = (bell.clone(), bell.clone());
        let router = Router::new()
            .route("/", get(|ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() }))
            .route("/slow", get(async || sleep(Duration::from_secs(1)).await))
            .route("/held", get(async move || held(&rung_elsewhere).await))
            .route("/part", get(async || PART.clone()))
            .route("/long-part", get(async || LONG_PART.clone()))
            .route("/large", get(async || Bytes::from_static(&[7; LARGE])))
            .route("/livestream", get(async || "not media"))
            .route(
                "/compressed",
                get(async || ([(CONTENT_TYPE, "application/json"), (CONTENT_ENCODING, "gzip")], read_by())),
            )
            .route("/as-it-is", get(async || ([(CONTENT_TYPE, "application/json")], read_by())));
        let grown = bell.clone();
        let live = Router::new()
            .route("/a/source/index.m3u8", get(async move || held(&rung).await))
            .route("/part", get(async || PART.clone()))
            .route("/large", get(async || Bytes::from_static(&[7; LARGE])))
            .route("/long-part", get(async || LONG_PART.clone()))
            .route("/long-part-in-chunks", get(async || in_chunks(LONG_PART.clone())))
            .route("/grows", get(async move || grows(&grown)))
            .route("/breaks", get(async || breaks()))
            .route("/known", any(async || (StatusCode::NOT_MODIFIED, [(header::ETAG, "\"s1\"")])))
            .route("/nothing", any(async || StatusCode::NO_CONTENT))
            .fallback(async |request: Request| {
                let headers = request.headers();
                let said = headers.get("x-said").map_or("nothing", |said| said.to_str().unwrap());
                format!("{} {} {said} {}", request.method(), request.uri(), headers.len())
            });
        let answered = |method: &Method, response: &mut Response| {
            response.headers_mut().insert("x-answered", method.as_str().parse().unwrap());
        };
        // A router leaves out what HEAD does not want.
        let live = LiveService::new(move |request| {
            let live = live.clone();
            async move {
                match request.uri.path() {
                    "/as-it-is" => Response::new(Body::from("as it is")),
                    "/shorter-than-said" => Response::new(Body::new(Said(Some(Bytes::from_static(b"short")), 9))),
                    "/longer-than-said" => Response::new(Body::new(Said(Some(Bytes::from_static(b"longer")), 3))),
                    _ => live.oneshot(Request::from_parts(request, Body::empty())).await.unwrap(),
                }
            }
            .boxed()
        });
        let site = Site { live, rest: router, answered };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = CancellationToken::new();
        let server = tokio::spawn(serve_tls(listener, tls, site, limits, stopping.clone()));
        Self { address, stopping, server, bell }
    }

    async fn connect(&self, said: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        // It may be left already.
        let _ = socket.write_all(said.as_bytes()).await;
        socket
    }

    /// Waits until so many are held.
    async fn held(&self, count: usize) {
        let held = timeout(LONG, async {
            while self.bell.receiver_count() < count {
                sleep(Duration::from_millis(20)).await;
            }
        });
        held.await.expect("all are held");
    }

    /// An HTTP/2 client of which each answer may be `window` bytes ahead.
    async fn http2(&self, window: u32) -> hyper::Result<http2::SendRequest<Empty<Bytes>>> {
        let socket = TcpStream::connect(self.address).await.unwrap();
        let mut client = http2::Builder::new(TokioExecutor::new());
        client.initial_stream_window_size(window);
        let (sender, connection) = client.handshake(TokioIo::new(socket)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }
}

/// The answer to who waits for the bell.
async fn held(bell: &watch::Sender<bool>) -> &'static str {
    let _ = bell.subscribe().wait_for(|is_rung| *is_rung).await;
    "#EXTM3U"
}

/// A body that goes on when the bell is rung, and is long enough to be sent from pages.
fn grows(bell: &watch::Sender<bool>) -> Body {
    let mut bell = bell.subscribe();
    let rest = async move {
        let _ = bell.wait_for(|is_rung| *is_rung).await;
        PART.clone()
    };
    let begun = async { Bytes::from_static(b"begun") };
    Body::from_stream(begun.into_stream().chain(rest.into_stream()).map(Ok::<_, io::Error>))
}

/// A body of one piece whose length is not said.
fn in_chunks(piece: Bytes) -> Body {
    Body::from_stream(async { Ok::<_, io::Error>(piece) }.into_stream())
}

/// A body, and how long it says that it is.
struct Said(Option<Bytes>, u64);

impl hyper::body::Body for Said {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<hyper::body::Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(hyper::body::Frame::data(bytes))))
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.1)
    }
}

/// A body that breaks off.
fn breaks() -> Body {
    let pieces = [Ok(Bytes::from_static(b"begun")), Err(io::Error::other("broken"))];
    Body::from_stream(futures::stream::iter(pieces))
}

/// A body that says which thread it is read on.
fn read_by() -> Body {
    let name = async { Ok::<_, io::Error>(std::thread::current().name().unwrap_or_default().to_owned()) };
    Body::from_stream(futures::stream::once(name))
}

fn ask(path: &str) -> hyper::Request<Empty<Bytes>> {
    hyper::Request::get(format!("http://weir.test{path}")).body(Empty::new()).unwrap()
}

fn limits() -> HttpLimits {
    HttpLimits { connections: 100, per_address: 0, counts_private: true, head: LONG, unread: LONG }
}

/// What comes until the server hangs up, in whatever way: one that was told no more of may reset the connection.
async fn all_of(socket: TcpStream) -> String {
    String::from_utf8(all_bytes_of(socket).await).unwrap()
}

#[tokio::test]
async fn media_is_answered_below_its_address_and_the_rest_as_it_was_asked_for() {
    let serving = Serving::start(limits()).await;
    let said = async |line: &str| {
        let request = format!("{line} HTTP/1.1\r\nHost: weir\r\nX-Said: a word\r\nConnection: close\r\n\r\n");
        all_of(serving.connect(&request).await).await
    };
    for (line, answer) in [
        ("GET /live/x/p1.m4s?a=b", "GET /x/p1.m4s?a=b a word 3"),
        ("POST /live/x", "POST /x a word 3"),
        ("GET /live/", "GET / a word 3"),
        ("GET /live", "GET / a word 3"),
        ("GET /live?a", "GET /?a a word 3"),
        ("GET http://weir.test/live/x", "GET http://weir.test/x a word 3"),
    ] {
        let whole = said(line).await;
        assert!(whole.ends_with(&format!("\r\n\r\n{answer}")), "{line}: {whole}");
        let method = line.split(' ').next().unwrap();
        assert!(whole.contains(&format!("x-answered: {method}\r\n")), "{whole}");
    }
    let rest = said("GET /livestream").await;
    assert!(rest.ends_with("not media") && !rest.contains("x-answered"), "{rest}");
    let mut client = serving.http2(65_535).await.unwrap();
    let answer = client.send_request(ask("/live/x?y")).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "GET http://weir.test/x?y nothing 0");
}

#[tokio::test]
async fn a_head_over_http2_has_no_body() {
    let serving = Serving::start(limits()).await;
    let mut client = serving.http2(65_535).await.unwrap();
    for path in ["/live/as-it-is", "/live/part"] {
        let request = hyper::Request::head(format!("http://weir.test{path}")).body(Empty::new()).unwrap();
        let answer = timeout(LONG, client.send_request(request)).await.unwrap().unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert!(answer.headers().contains_key(header::CONTENT_LENGTH));
        assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty(), "{path}");
    }
}

#[tokio::test]
async fn what_is_compressed_is_not_compressed_on_the_thread_that_has_the_viewers() {
    let serving = Serving::start(limits()).await;
    let by = async |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n");
        all_of(serving.connect(&request).await).await
    };
    let (compressed, plain) = (by("/compressed").await, by("/as-it-is").await);
    assert!(compressed.contains("200 OK") && !compressed.contains("http-"), "{compressed}");
    assert!(plain.contains("http-"), "bodies are read where they are sent: {plain}");
}

const GET: &str = "GET / HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n";

/// Tries until a connection is taken again.
async fn once_there_is_room(serving: &Serving) -> String {
    let tried = async {
        loop {
            let answer = all_of(serving.connect(GET).await).await;
            if answer.starts_with("HTTP/1.1 200 OK") {
                return answer;
            }
            // Nothing: it took longer to ask than there is time for that.
            let is_refused = answer.starts_with("HTTP/1.1 503 ") && answer.contains("server_full");
            assert!(answer.is_empty() || is_refused, "{answer}");
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(LONG, tried).await.expect("there is room again")
}

/// Says it, anew where that took longer than there is time for, until it is answered.
async fn once_answered(serving: &Serving, said: &str) -> String {
    let tried = async {
        loop {
            let answer = all_of(serving.connect(said).await).await;
            if !answer.is_empty() {
                return answer;
            }
        }
    };
    timeout(LONG, tried).await.expect("it is answered")
}

/// The same over HTTP/2, by a client of which each answer may be `window` bytes ahead.
async fn once_answered_by_http2(
    serving: &Serving,
    window: u32,
    path: &str,
) -> (http2::SendRequest<Empty<Bytes>>, hyper::Response<Incoming>) {
    let tried = async {
        loop {
            let Ok(mut client) = serving.http2(window).await else { continue };
            if let Ok(answer) = client.send_request(ask(path)).await {
                return (client, answer);
            }
        }
    };
    let (client, answer) = timeout(LONG, tried).await.expect("it is answered");
    assert_eq!(answer.status(), StatusCode::OK);
    (client, answer)
}

#[tokio::test]
async fn who_never_finishes_a_request_is_left() {
    let serving = Serving::start(HttpLimits { head: Duration::from_secs(1), ..limits() }).await;
    // The last is the beginning of HTTP/2's preface.
    for said in ["", "GET / HTTP/1.1\r\nHost: weir\r\n", "GET /live/x HTTP/1.1\r\nHost: weir\r\n", "PRI * HTTP/2.0\r\n"]
    {
        let began = Instant::now();
        let answer = all_of(serving.connect(said).await).await;
        assert!(!answer.contains("200 OK"), "{answer}");
        assert!(began.elapsed() > Duration::from_millis(900), "{said:?}");
    }
    for said in ["GET / HTTP/1.1\r\nHost: weir\r\n\r\n", "GET /live/x HTTP/1.1\r\nHost: weir\r\n\r\n"] {
        let began = Instant::now();
        let answer = once_answered(&serving, said).await;
        assert!(answer.contains("200 OK"), "{answer}");
        assert!(began.elapsed() > Duration::from_millis(900), "it is waited for the next");
    }
}

#[tokio::test]
async fn the_answer_knows_who_asked_and_may_take_longer_than_the_question() {
    let serving = Serving::start(HttpLimits { head: Duration::from_millis(300), ..limits() }).await;
    let answer = timeout(LONG, async {
        loop {
            let socket = serving.connect(GET).await;
            let own = socket.local_addr().unwrap().to_string();
            let answer = all_of(socket).await;
            if !answer.is_empty() {
                return (answer, own);
            }
        }
    });
    let (answer, own) = answer.await.expect("it is answered");
    assert!(answer.ends_with(&own), "{own}: {answer}");
    let slow = once_answered(&serving, "GET /slow HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n").await;
    assert!(slow.starts_with("HTTP/1.1 200 OK"), "{slow}");
}

#[tokio::test]
async fn who_does_not_read_is_left() {
    let serving = Serving::start(HttpLimits { connections: 1, unread: Duration::from_secs(1), ..limits() }).await;
    for path in ["/large", "/live/large"] {
        let unread = timeout(LONG, async {
            loop {
                let mut socket = serving.connect(&format!("GET {path} HTTP/1.1\r\nHost: weir\r\n\r\n")).await;
                let mut begun = [0; 15];
                // The one before may not have given its place back.
                if socket.read_exact(&mut begun).await.is_ok() && begun == *b"HTTP/1.1 200 OK" {
                    return socket;
                }
            }
        });
        let unread = unread.await.expect("there is room");
        let began = Instant::now();
        // There is room for one, so another is answered once this one is gone.
        once_there_is_room(&serving).await;
        assert!(began.elapsed() > Duration::from_millis(800), "{path}");
        drop(unread);
    }
}

#[tokio::test]
async fn who_reads_slowly_is_served_to_the_end() {
    let limit = Duration::from_secs(12);
    let serving = Serving::start(HttpLimits { head: limit, unread: limit, ..limits() }).await;
    let began = Instant::now();
    let mut socket = serving.connect("GET /large HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n").await;
    let mut piece = vec![0; 1 << 20];
    let mut read = 0;
    loop {
        let bytes = timeout(LONG, socket.read(&mut piece)).await.unwrap().unwrap();
        if bytes == 0 {
            break;
        }
        read += bytes;
        // Slower than the limit for the whole, never slower than that for a byte.
        if read / (4 << 20) != (read - bytes) / (4 << 20) {
            sleep(Duration::from_millis(900)).await;
        }
    }
    assert!(read > LARGE && began.elapsed() > limit, "{read}");
}

#[tokio::test]
async fn who_takes_nothing_of_a_stream_of_http2_is_left() {
    let limit = Duration::from_secs(1);
    let serving = Serving::start(HttpLimits { connections: 1, head: limit, unread: limit, ..limits() }).await;
    let (_client, answer) = once_answered_by_http2(&serving, 1_000, "/large").await;
    once_there_is_room(&serving).await;
    assert!(answer.into_body().collect().await.is_err(), "the rest never came");
}

#[tokio::test]
async fn heads_are_bounded() {
    let serving = Serving::start(limits()).await;
    let mut socket = serving.connect("GET / HTTP/1.1\r\nHost: weir\r\nX: ").await;
    // It may hang up before it has all.
    let _ = socket.write_all(&vec![b'x'; 2 * HEAD_BYTES as usize]).await;
    let mut status = [0; 12];
    timeout(LONG, socket.read_exact(&mut status)).await.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 431");
}

#[tokio::test]
async fn a_stop_lets_requests_finish_and_leaves_idle_connections() {
    let serving = Serving::start(limits()).await;
    let idle = serving.connect("").await;
    let held = serving.connect("GET /held HTTP/1.1\r\nHost: weir\r\n\r\n").await;
    let reload = serving.connect("GET /live/a/source/index.m3u8?_HLS_msn=1 HTTP/1.1\r\nHost: weir\r\n\r\n").await;
    let mut client = serving.http2(65_535).await.unwrap();
    let also_held = tokio::spawn(client.send_request(ask("/held")));
    let growing = serving.connect("GET /live/grows HTTP/1.1\r\n\r\n").await;
    serving.held(4).await;
    serving.stopping.cancel();
    assert_eq!(all_of(idle).await, "");
    serving.bell.send_replace(true);
    assert!(all_of(held).await.starts_with("HTTP/1.1 200 OK"));
    let reloaded = all_of(reload).await;
    assert!(reloaded.ends_with("#EXTM3U"), "{reloaded}");
    assert!(all_bytes_of(growing).await.ends_with(b"\r\n0\r\n\r\n"), "it is sent to its end");
    assert_eq!(timeout(LONG, also_held).await.unwrap().unwrap().unwrap().status(), StatusCode::OK);
    timeout(LONG, serving.server).await.unwrap().unwrap();
}

#[tokio::test]
async fn http2_is_spoken_where_it_is_known_to_be() {
    let serving = Serving::start(limits()).await;
    let mut client = serving.http2(65_535).await.unwrap();
    for _ in 0..3 {
        let answer = timeout(LONG, client.send_request(ask("/"))).await.unwrap().unwrap();
        assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
        let whole = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(whole.starts_with(b"127.0.0.1:"), "{whole:?}");
    }
    let large = timeout(LONG, client.send_request(ask("/large"))).await.unwrap().unwrap();
    assert_eq!(large.headers()[header::CONTENT_LENGTH], LARGE.to_string());
    assert_eq!(timeout(LONG, large.into_body().collect()).await.unwrap().unwrap().to_bytes().len(), LARGE);
}

#[tokio::test]
async fn an_idle_http2_client_is_left() {
    let serving = Serving::start(HttpLimits { connections: 1, head: Duration::from_secs(1), ..limits() }).await;
    let (mut client, _) = once_answered_by_http2(&serving, 65_535, "/").await;
    once_there_is_room(&serving).await;
    assert!(client.ready().await.is_err(), "it was told to go");
}

#[tokio::test]
async fn tls_offers_http2_and_http1() {
    let made = rcgen::generate_simple_self_signed(vec!["weir.test".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    // The other tests of this process may have done so before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let tls = acceptor(&certificate, &key).unwrap();
    assert!(acceptor(&key, &key).is_err());

    let serving = Serving::start_tls(limits(), Some(tls)).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    for (offered, spoken) in [(vec!["h2", "http/1.1"], "h2"), (vec!["http/1.1"], "http/1.1")] {
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let socket = TcpStream::connect(serving.address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let mut socket = connector.connect("weir.test".try_into().unwrap(), socket).await.unwrap();
        assert_eq!(socket.get_ref().1.alpn_protocol().unwrap(), spoken.as_bytes());
        if spoken == "h2" {
            let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
            tokio::spawn(connection);
            let answer: hyper::Response<_> = client.send_request(ask("/")).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK);
        } else {
            socket.write_all(GET.as_bytes()).await.unwrap();
            let mut text = String::new();
            timeout(LONG, socket.read_to_string(&mut text)).await.unwrap().unwrap();
            assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        }
    }
    // Plain text is answered by nothing, and does no harm.
    let _ = all_bytes_of(serving.connect(GET).await).await;
}

/// A new pair in both files, and what trusts it.
fn write_pair(certificate: &std::path::Path, key: &std::path::Path) -> rustls::RootCertStore {
    let made = rcgen::generate_simple_self_signed(vec!["weir.test".to_owned()]).unwrap();
    std::fs::write(certificate, made.cert.pem()).unwrap();
    std::fs::write(key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    roots
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_connections_that_stand_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    let _ = rustls::crypto::ring::default_provider().install_default();
    let old = write_pair(&certificate, &key);
    let tls = tls::acceptor_looking(&certificate, &key, Duration::from_millis(10)).unwrap();
    let serving = Serving::start_tls(limits(), Some(tls)).await;
    let connect = async |roots: &rustls::RootCertStore| {
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let socket = TcpStream::connect(serving.address).await.unwrap();
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect("weir.test".try_into().unwrap(), socket).await
    };
    let standing = connect(&old).await.unwrap();
    let (mut client, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(standing)).await.unwrap();
    tokio::spawn(connection);
    // Half of a renewal: the old pair goes on being used.
    std::fs::write(&key, "half").unwrap();
    assert!(connect(&old).await.is_ok());
    let new = write_pair(&certificate, &key);
    timeout(LONG, async {
        while connect(&new).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    assert!(connect(&old).await.is_err(), "the old one is used no more");
    let answer: hyper::Response<_> = client.send_request(ask("/")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "the connection of before goes on");
}

async fn all_bytes_of(mut socket: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let _ = timeout(LONG, socket.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

#[tokio::test]
async fn an_address_has_so_many_connections_and_no_more() {
    let serving = Serving::start(HttpLimits { per_address: 2, ..limits() }).await;
    let first = serving.connect(GET.replace("close", "keep-alive").as_str()).await;
    let _second = serving.connect(GET.replace("close", "keep-alive").as_str()).await;
    let refused = timeout(LONG, async {
        loop {
            let answer = all_of(serving.connect(GET).await).await;
            if !answer.starts_with("HTTP/1.1 200 OK") {
                return answer;
            }
        }
    });
    let refused = refused.await.unwrap();
    assert!(refused.starts_with("HTTP/1.1 429 ") && refused.contains("\r\nretry-after: 5\r\n"), "{refused}");
    let (_, body) = refused.split_once("\r\n\r\n").unwrap();
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((&problem["status"], &problem["code"]), (&429.into(), &"too_many_connections".into()));
    drop(first);
    let answered = timeout(LONG, async {
        while !all_of(serving.connect(GET).await).await.starts_with("HTTP/1.1 200 OK") {
            sleep(Duration::from_millis(50)).await;
        }
    });
    answered.await.expect("a place was given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocked_reloads_that_are_dropped_give_everything_back() {
    const HELD: usize = 400;
    let serving = Serving::start(HttpLimits { connections: HELD + 10, ..limits() }).await;
    let round = async || {
        let mut sockets = Vec::new();
        for _ in 0..HELD {
            let said = "GET /live/a/source/index.m3u8?_HLS_msn=4&_HLS_part=1 HTTP/1.1\r\nHost: weir\r\n\r\n";
            sockets.push(serving.connect(said).await);
        }
        serving.held(HELD).await;
        drop(sockets);
        let gone = timeout(LONG, async {
            while serving.bell.receiver_count() > 0 {
                sleep(Duration::from_millis(20)).await;
            }
        });
        gone.await.expect("whoever hung up waits no more");
    };
    // Were a place or a task not given back, the second round would find none.
    for _ in 0..4 {
        round().await;
        once_there_is_room(&serving).await;
    }
    // The server goes on, and a bell is still heard.
    let waiting = serving
        .connect("GET /live/a/source/index.m3u8?_HLS_msn=4 HTTP/1.1\r\nHost: weir\r\nConnection: close\r\n\r\n")
        .await;
    serving.bell.send_replace(true);
    assert!(all_of(waiting).await.ends_with("#EXTM3U"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_in_demand_arrives_as_it_is() {
    let serving = Serving::start(limits()).await;
    let fetch = async |path: &str, pause: bool| {
        // Two on one connection, so that whatever is written too much or too little would show.
        let one = format!("GET {path} HTTP/1.1\r\nHost: weir\r\n");
        let mut socket = serving.connect(&format!("{one}\r\n{one}Connection: close\r\n\r\n")).await;
        let (mut whole, mut piece) = (Vec::new(), vec![0; 20_000]);
        loop {
            let read = timeout(LONG, socket.read(&mut piece)).await.unwrap().unwrap();
            whole.extend_from_slice(&piece[..read]);
            if read == 0 {
                return whole;
            }
            if pause {
                sleep(Duration::from_millis(1)).await;
            }
        }
    };
    for round in 0..6 {
        let path = if round < 3 { "/part" } else { "/live/part" };
        let answers = futures::future::join_all((0..8).map(|_| fetch(path, round % 2 == 1))).await;
        for whole in answers {
            let mut rest = &whole[..];
            for _ in 0..2 {
                let head = rest.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
                assert!(rest.starts_with(b"HTTP/1.1 200 OK\r\n"));
                assert!(rest[head..].starts_with(&PART), "the body is what it was");
                rest = &rest[head + PART.len()..];
            }
            assert!(rest.is_empty());
        }
    }
    // The servers of other tests let go of what is not asked for, too.
    let in_pages = async {
        while Pages::get().find(&PART).is_none() {
            fetch("/live/part", false).await;
        }
    };
    timeout(LONG, in_pages).await.expect("it is sent from pages");
}

#[tokio::test]
async fn an_answer_says_how_long_it_is() {
    let sent = |body: Body| {
        let activity = Arc::new(Activity::new());
        Sent::new(body, 10, None, Answering::begin(activity))
    };
    use hyper::body::Body as _;
    let body = sent(Body::from(vec![1; 25]));
    assert_eq!(body.size_hint().exact(), Some(25));
    let mut frames = Vec::new();
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        frames.push(frame.unwrap().into_data().unwrap().len());
    }
    assert_eq!(frames, [10, 10, 5]);
    assert!(sent(Body::empty()).is_end_stream());
}
