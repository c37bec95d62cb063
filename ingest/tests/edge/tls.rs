//! A relay that asks its origin over TLS.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, http::StatusCode};
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use ingest::edge::{OriginTls, OriginTlsError};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use crate::{
    node::{Origin, get},
    settled,
};

/// Serves `router` over TLS by a certificate for localhost, and counts the connections of each protocol.
async fn secure(router: Router, folder: &std::path::Path) -> (u16, Arc<[AtomicUsize; 2]>) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("ca.pem"), made.cert.pem()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(made.cert.pem().as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let counts: Arc<[AtomicUsize; 2]> = Arc::default();
    let counting = Arc::clone(&counts);
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let (acceptor, router, counts) = (acceptor.clone(), router.clone(), Arc::clone(&counting));
            tokio::spawn(async move {
                let Ok(socket) = acceptor.accept(socket).await else { return };
                let is_http2 = socket.get_ref().1.alpn_protocol() == Some(b"h2");
                counts[usize::from(is_http2)].fetch_add(1, Ordering::Relaxed);
                let service = service_fn(move |request| router.clone().oneshot(request));
                let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    (port, counts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_come_over_tls_by_http2_and_what_is_held_by_http1() {
    let mut origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (port, connections) = secure(origin.straight.clone(), folder.path()).await;
    let edge = origin.edge_with(|config| {
        config.origins = vec![format!("https://localhost:{port}")];
        config.tls = OriginTls::load(Some(&folder.path().join("ca.pem"))).unwrap();
    });
    let router = edge.service();
    let playlist = origin.path("source/index.m3u8");
    let (status, _, body) = settled(&router, &playlist).await;
    assert_eq!(status, StatusCode::OK);
    let (segment, part) = crate::read(&body).next_position();
    let waiting = {
        let (router, path) = (router.clone(), format!("{playlist}?_HLS_msn={segment}&_HLS_part={part}"));
        tokio::spawn(async move { settled(&router, &path).await })
    };
    for rest in ["source/init0.mp4", "source/s0.m4s", "source/p1.m4s", "source/p2.m4s"] {
        let (status, _, body) = settled(&router, &origin.path(rest)).await;
        let straight = get(&origin.straight, &format!("/live{}", origin.path(rest))).await;
        assert_eq!((status, body), (StatusCode::OK, straight.2), "{rest}");
    }
    origin.push_until(6_000);
    assert_eq!(waiting.await.unwrap().0, StatusCode::OK);
    let [http1, http2] = [0, 1].map(|which| connections[which].load(Ordering::Relaxed));
    assert_eq!(http2, 1, "all that is not held shares a connection");
    assert!(http1 >= 1, "what is held has connections of its own");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_origin_with_the_certificate_of_somebody_else_is_not_believed() {
    let origin = Origin::start().await;
    let folder = tempfile::tempdir().unwrap();
    let (port, connections) = secure(origin.straight.clone(), folder.path()).await;
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = folder.path().join("other.pem");
    fs::write(&other, stranger.cert.pem()).unwrap();
    let edge = origin.edge_with(|config| {
        config.origins = vec![format!("https://localhost:{port}")];
        config.tls = OriginTls::load(Some(&other)).unwrap();
    });
    let (status, _, _) = get(&edge.service(), &origin.path("source/s0.m4s")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(!edge.is_connected());
    assert_eq!(connections.iter().map(|count| count.load(Ordering::Relaxed)).sum::<usize>(), 0);
}

#[test]
fn a_file_without_certificates_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    assert!(matches!(OriginTls::load(Some(&path)), Err(OriginTlsError::File { .. })));
    fs::write(&path, "nothing of the kind").unwrap();
    assert!(OriginTls::load(Some(&path)).is_err());
}
