//! RTMPS: the same server behind TLS, with a certificate that is read again when its files change.
//!
//! TLS 1.2 and 1.3 (RFC 5246, RFC 8446) by rustls on ring; no client certificates. The files are PEM (RFC 7468).

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{Arc, PoisonError, RwLock},
    task::{Context, Poll},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    signal::unix::{Signal, SignalKind, signal},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The first byte of every TLS handshake: RFC 8446 section 5.1.
pub(crate) const TLS_HANDSHAKE: u8 = 0x16;
/// The first byte of every RTMP handshake, its version: RTMP 1.0 section 5.2.2.
pub(crate) const RTMP_VERSION: u8 = 3;

/// Where RTMPS is spoken, and by which certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RtmpsConfig {
    /// Where encoders connect; port 0 takes any that is free.
    pub address: SocketAddr,
    /// The chain in PEM, the server's own certificate first.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
    /// How often both files are looked at, beside when SIGHUP comes; connections that stand keep the certificate that they
    /// began with.
    pub look_every: Duration,
}

impl RtmpsConfig {
    /// With these files, looked at every half minute.
    #[must_use]
    pub fn new(address: SocketAddr, certificate: PathBuf, key: PathBuf) -> Self {
        Self { address, certificate, key, look_every: Duration::from_secs(30) }
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, Error)]
pub enum CertificateError {
    /// A file is not there, or may not be read.
    #[error("read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file holds no PEM of the kind that it should.
    #[error("{} holds no {wanted} in PEM", path.display())]
    Pem {
        /// Which.
        path: PathBuf,
        /// A certificate or a private key.
        wanted: &'static str,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// The two do not belong together, or are of a kind that is not known.
    #[error("{} and {} do not make a certificate", certificate.display(), key.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong with them.
        #[source]
        source: rustls::Error,
    },
}

/// The certificate in force.
pub(crate) struct Certificate {
    config: RtmpsConfig,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
    /// Of the files that `current` was made of.
    first_fingerprint: u64,
}

impl Certificate {
    pub(crate) async fn load(config: RtmpsConfig) -> Result<Arc<Self>, CertificateError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let files = Files::read(&config).await?;
        let current = RwLock::new(Arc::new(files.certified(&config, &provider)?));
        Ok(Arc::new(Self { first_fingerprint: files.fingerprint(), config, provider, current }))
    }

    /// What takes connections in, always by the certificate in force.
    ///
    /// # Errors
    /// Never in practice: ring has what the default versions of TLS need.
    pub(crate) fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, rustls::Error> {
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Looks at the files until `stopping`, now and then and whenever `hangups` says, and takes what is new in them. What cannot
    /// be used is said once, and the certificate of before stays in force: a renewal may be half written.
    pub(crate) async fn watch(self: Arc<Self>, mut hangups: Option<Signal>, stopping: CancellationToken) {
        let mut used = self.first_fingerprint;
        let mut complaint = String::new();
        loop {
            let hangup = async {
                match &mut hangups {
                    Some(hangups) => hangups.recv().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                _ = hangup => info!("told to look at the certificate of RTMPS"),
                () = tokio::time::sleep(self.config.look_every) => {}
            }
            match self.renew(used).await {
                Ok(fingerprint) => {
                    complaint.clear();
                    if fingerprint != used {
                        used = fingerprint;
                        let path = self.config.certificate.display();
                        info!(%path, "RTMPS goes on with the new certificate");
                    }
                }
                Err(error) => {
                    let text = super::Chain(&error).to_string();
                    if text != complaint {
                        warn!(error = text, "the new RTMPS certificate cannot be used; the old one stays in force");
                        complaint = text;
                    }
                }
            }
        }
    }

    /// Takes the files if they are others than those used; the fingerprint of what is in force then.
    async fn renew(&self, used: u64) -> Result<u64, CertificateError> {
        let files = Files::read(&self.config).await?;
        let fingerprint = files.fingerprint();
        if fingerprint != used {
            let certified = Arc::new(files.certified(&self.config, &self.provider)?);
            *self.current.write().unwrap_or_else(PoisonError::into_inner) = certified;
        }
        Ok(fingerprint)
    }
}

/// SIGHUP, by which a process is told to look at its certificates, from this moment on; `None` where it cannot be heard.
pub(crate) fn hangups() -> Option<Signal> {
    signal(SignalKind::hangup())
        .inspect_err(
            |error| warn!(%error, "SIGHUP cannot be heard; the certificate is looked at now and then all the same"),
        )
        .ok()
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Certificate").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What is in the two files.
struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    async fn read(config: &RtmpsConfig) -> Result<Self, CertificateError> {
        async fn read(path: &Path) -> Result<Vec<u8>, CertificateError> {
            tokio::fs::read(path).await.map_err(|source| CertificateError::Read { path: path.to_owned(), source })
        }
        Ok(Self { certificate: read(&config.certificate).await?, key: read(&config.key).await? })
    }

    /// Tells new files from old ones; it keeps nobody out.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.certificate.hash(&mut hasher);
        self.key.hash(&mut hasher);
        hasher.finish()
    }

    fn certified(&self, config: &RtmpsConfig, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
        let pem_error = |path: &Path, wanted, source| CertificateError::Pem { path: path.to_owned(), wanted, source };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(|source| pem_error(&config.certificate, "certificate", source))?;
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|source| pem_error(&config.key, "private key", source))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|source| CertificateError::Unusable {
            certificate: config.certificate.clone(),
            key: config.key.clone(),
            source,
        })
    }
}

/// A peer's connection, with TLS or without.
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Waits until there may be something to read. Under TLS that is not known before it is tried: bytes that were
    /// taken off the line may wait in the session.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.readable().await,
            Self::Tls(_) => Ok(()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, into),
            Self::Tls(socket) => match Pin::new(socket.as_mut()).poll_read(context, into) {
                // Encoders that stop close the connection without a word of TLS; RTMP has ends of its own.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                other => other,
            },
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(socket) => Pin::new(socket.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(socket) => Pin::new(socket.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(socket) => Pin::new(socket.as_mut()).poll_shutdown(context),
        }
    }
}
