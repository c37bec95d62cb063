//! RTMPS: encoders that speak TLS, peers that knock at the wrong port, and certificates that are renewed.

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use ingest::{Ingest, IngestConfig, PublishState, Publishing, RtmpsConfig};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use storage::Storage;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    encoder::Encoder,
    log,
    peer::Peer,
    platform::{LONG, Plane, Platform},
};

/// A folder with a certificate for localhost, made for the occasion.
struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    fn new() -> Self {
        let certificate = Self { folder: tempfile::tempdir().unwrap() };
        certificate.renew();
        certificate
    }

    /// Writes another pair; what it replaces is of no use any more.
    fn renew(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.key(), made.signing_key.serialize_pem()).unwrap();
        fs::write(self.chain(), made.cert.pem()).unwrap();
    }

    fn chain(&self) -> PathBuf {
        self.folder.path().join("chain.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    fn config(&self) -> RtmpsConfig {
        let config = RtmpsConfig::new("127.0.0.1:0".parse().unwrap(), self.chain(), self.key());
        RtmpsConfig { look_every: Duration::from_millis(20), ..config }
    }

    /// A client that trusts this certificate alone, as it is now.
    fn connector(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(&fs::read(self.chain()).unwrap()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Each connection sees the certificate.
        config.resumption = rustls::client::Resumption::disabled();
        TlsConnector::from(Arc::new(config))
    }

    async fn connect(&self, plane: &Plane) -> std::io::Result<TlsStream<TcpStream>> {
        let socket = TcpStream::connect(plane.ingest.rtmps_addr().unwrap()).await.unwrap();
        self.connector().connect(ServerName::try_from("localhost").unwrap(), socket).await
    }
}

async fn secured(certificate: &Certificate, change: impl FnOnce(&mut IngestConfig)) -> Plane {
    let rtmps = certificate.config();
    Plane::start_with(|config| {
        config.rtmps = Some(rtmps);
        change(config);
    })
    .await
}

/// The handshake of RTMP and the answer to it.
async fn shake_hands(socket: &mut TlsStream<TcpStream>) {
    socket.write_all(&[&[3][..], &[7; 1536]].concat()).await.unwrap();
    socket.flush().await.unwrap();
    let mut answer = vec![0; 1 + 2 * 1536];
    timeout(LONG, socket.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer[0], 3);
}

#[tokio::test]
async fn ffmpeg_publishes_and_the_stream_plays() {
    let certificate = Certificate::new();
    let plane = secured(&certificate, |_| {}).await;
    let channel = plane.platform.channel("key");
    // Debian's ffmpeg looks at no certificate unless it is told to.
    let address = plane.ingest.rtmps_addr().unwrap();
    let encoder = Encoder::publish(&format!("rtmps://{address}/live/key"));
    plane.state(channel, PublishState::Live).await;
    let stream = plane.platform.started().await;
    let path = format!("{stream}/source/index.m3u8");
    let start = Instant::now();
    let playlist = loop {
        let (status, playlist) = plane.get(&path).await;
        if status == 200 && playlist.contains("#EXTINF") {
            break playlist;
        }
        assert!(start.elapsed() < LONG, "{status} {playlist}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(playlist.contains("EXT-X-MAP"), "{playlist}");
    encoder.stop().await;
    // It says that it stops, under TLS as well.
    assert_eq!(plane.platform.wait_for(2).await.len(), 2);
}

#[tokio::test]
async fn plain_rtmp_at_the_port_of_rtmps_is_closed_and_said() {
    let certificate = Certificate::new();
    let plane = secured(&certificate, |_| {}).await;
    let mut peer = Peer::connect(plane.ingest.rtmps_addr().unwrap()).await;
    peer.send(&[&[3][..], &[7; 1536]].concat()).await;
    peer.closed().await;
    said(&peer, "it spoke plain RTMP at the port of RTMPS").await;
    assert!(peer.heard.is_empty());
}

#[tokio::test]
async fn tls_at_the_port_of_plain_rtmp_is_closed_and_said() {
    let certificate = Certificate::new();
    let plane = secured(&certificate, |_| {}).await;
    let Peer { socket, heard } = Peer::connect(plane.ingest.rtmp_addr()).await;
    let addr = socket.local_addr().unwrap();
    let connecting = certificate.connector().connect(ServerName::try_from("localhost").unwrap(), socket);
    let error = timeout(LONG, connecting).await.unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof, "{error}");
    drop(heard);
    said_about(addr, "it spoke TLS at the port of plain RTMP").await;
}

async fn said(peer: &Peer, because: &str) {
    said_about(peer.addr(), because).await;
}

/// One line, which operators see: the first of the minute.
async fn said_about(addr: std::net::SocketAddr, because: &str) {
    let start = Instant::now();
    while log::about(addr).is_empty() {
        assert!(start.elapsed() < LONG, "no line about {addr}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let lines = log::about(addr);
    assert!(matches!(&lines[..], [(tracing::Level::INFO, line)] if line.contains(because)), "{lines:?}");
}

#[tokio::test]
async fn a_handshake_that_is_none_or_takes_too_long() {
    let certificate = Certificate::new();
    let plane = secured(&certificate, |config| config.timeouts.handshake = Duration::from_millis(300)).await;
    let address = plane.ingest.rtmps_addr().unwrap();
    for (bytes, because) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "no TLS handshake"),
        (&[0x16, 3, 1, 0, 4, 1, 0, 0, 0], "no TLS handshake"),
        (&[0x16, 3, 1], "no handshake within"),
        (&[], "no handshake within"),
    ] {
        let mut peer = Peer::connect(address).await;
        peer.send(bytes).await;
        peer.closed().await;
        let start = Instant::now();
        while log::about(peer.addr()).is_empty() {
            assert!(start.elapsed() < LONG, "no line about {bytes:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let lines = log::about(peer.addr());
        assert!(lines.iter().any(|(_, line)| line.contains(because)), "{bytes:?}: {lines:?}");
    }
    // TLS alone is no handshake of RTMP. It may have taken too long already, where this machine is slow.
    let start = Instant::now();
    let mut socket = loop {
        match certificate.connect(&plane).await {
            Ok(socket) => break socket,
            Err(error) => assert!(start.elapsed() < LONG, "{error}"),
        }
    };
    let mut rest = Vec::new();
    timeout(LONG, socket.read_to_end(&mut rest)).await.expect("the server closes the connection").ok();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn both_ports_share_the_limits() {
    let certificate = Certificate::new();
    let plane = secured(&certificate, |config| config.limits.connections = 2).await;
    let _plain = Peer::shaken(plane.ingest.rtmp_addr()).await;
    let mut secure = certificate.connect(&plane).await.unwrap();
    shake_hands(&mut secure).await;
    assert!(timeout(LONG, certificate.connect(&plane)).await.unwrap().is_err());
    let mut third = Peer::connect(plane.ingest.rtmp_addr()).await;
    third.closed().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_taken_and_connections_stay() {
    let certificate = Certificate::new();
    let plane = secured(&certificate, |_| {}).await;
    let channel = plane.platform.channel("key");
    let address = plane.ingest.rtmps_addr().unwrap();
    let encoder = Encoder::publish(&format!("rtmps://{address}/live/key"));
    plane.state(channel, PublishState::Live).await;

    // Half written: what was there before stays in force.
    let old = certificate.connector();
    fs::write(certificate.key(), b"-----BEGIN PRIV").unwrap();
    let start = Instant::now();
    while log::with("the old one stays in force").is_empty() {
        assert!(start.elapsed() < LONG, "nothing is said of a certificate that cannot be used");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let socket = TcpStream::connect(address).await.unwrap();
    let mut socket = old.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap();
    shake_hands(&mut socket).await;

    // And whole.
    certificate.renew();
    let start = Instant::now();
    let mut new = loop {
        match certificate.connect(&plane).await {
            Ok(socket) => break socket,
            Err(error) => assert!(start.elapsed() < LONG, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    shake_hands(&mut new).await;
    let socket = TcpStream::connect(address).await.unwrap();
    assert!(old.connect(ServerName::try_from("localhost").unwrap(), socket).await.is_err());

    // The encoder has noticed nothing: the stream is the same, and its figures go on being renewed.
    plane.status(channel, |status| status.health.is_some_and(|health| health.bitrate_kbps > 100)).await;
    assert_eq!(plane.platform.reports().len(), 1);
    encoder.stop().await;
}

#[tokio::test]
async fn a_hangup_has_the_certificate_looked_at_at_once() {
    let certificate = Certificate::new();
    let mut rtmps = certificate.config();
    rtmps.look_every = Duration::from_secs(24 * 60 * 60);
    let plane = Plane::start_with(|config| config.rtmps = Some(rtmps)).await;
    let old = certificate.connect(&plane).await.unwrap();
    certificate.renew();
    assert!(certificate.connect(&plane).await.is_err(), "nobody has told it yet");
    // It is heard from the start on, so that this does not end the process.
    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::HUP).unwrap();
    let start = Instant::now();
    while let Err(error) = certificate.connect(&plane).await {
        assert!(start.elapsed() < LONG, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(old);
}

#[tokio::test]
async fn files_that_are_no_certificate_are_refused_by_name() {
    let certificate = Certificate::new();
    let other = Certificate::new();
    let start = async |rtmps| {
        let folder = tempfile::tempdir().unwrap();
        let storage = Storage::open_disk(folder.path()).await.unwrap();
        let mut config = IngestConfig::new("127.0.0.1:0".parse().unwrap());
        config.rtmps = Some(rtmps);
        let publishing: Arc<dyn Publishing> = Arc::<Platform>::default();
        let error = Ingest::start(config, publishing, storage).await.err().expect("it does not start");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        format!("{error}: {cause}")
    };
    let good = certificate.config();
    let missing = RtmpsConfig { key: "/nowhere/key.pem".into(), ..good.clone() };
    assert_eq!(start(missing).await, "take up the certificate of RTMPS: read /nowhere/key.pem");
    let swapped = RtmpsConfig { certificate: certificate.key(), key: certificate.chain(), ..good.clone() };
    let text = start(swapped).await;
    assert!(text.ends_with("key.pem holds no certificate in PEM"), "{text}");
    let of_another = RtmpsConfig { key: other.key(), ..good };
    let text = start(of_another).await;
    assert!(text.ends_with("do not make a certificate"), "{text}");
}
