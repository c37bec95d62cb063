//! TLS in this process, for installs without a reverse proxy, with a certificate that is read again when its files change.

use std::{
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, Weak},
    time::Duration,
};

use anyhow::Context;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;
use tracing::{info, warn};

/// How often the files are looked at; SIGHUP has them looked at at once.
const LOOKED_AT_EVERY: Duration = Duration::from_secs(10);

/// Takes TLS connections with a certificate and its chain, and its key, both as PEM files. HTTP/2 is offered first.
///
/// The files are read again when they change, and new connections get what is in them then; those that stand go on. What cannot
/// be used is said once, and the certificate of before stays in force: a renewal may be half written. That ends with the
/// acceptor. To be called on a tokio runtime.
///
/// # Errors
/// When a file cannot be read, holds something else, or key and certificate are not a pair.
pub fn acceptor(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    acceptor_looking(certificate, key, LOOKED_AT_EVERY)
}

pub(super) fn acceptor_looking(certificate: &Path, key: &Path, every: Duration) -> anyhow::Result<TlsAcceptor> {
    let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
    let (certified, fingerprint) = files.read()?;
    let current = Arc::new(Current(RwLock::new(Arc::new(certified))));
    tokio::spawn(watch(files, Arc::downgrade(&current), fingerprint, every));
    let mut config = ServerConfig::builder().with_no_client_auth().with_cert_resolver(current);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// The certificate in force.
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Current").finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    /// What is in them, and by what it is told from something else: it keeps nobody out.
    fn read(&self) -> anyhow::Result<(CertifiedKey, u64)> {
        let Self { certificate, key } = self;
        let unreadable = || format!("the certificate {} cannot be read as PEM", certificate.display());
        let pem = fs::read(certificate).with_context(unreadable)?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().with_context(unreadable)?;
        anyhow::ensure!(!chain.is_empty(), "{} holds no certificate in PEM", certificate.display());
        let unreadable = || format!("the private key {} cannot be read as PEM", key.display());
        let key_pem = fs::read(key).with_context(unreadable)?;
        let private_key = PrivateKeyDer::from_pem_slice(&key_pem).with_context(unreadable)?;
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, private_key, &provider).with_context(|| {
            format!("{} is not the key of the certificate {}", key.display(), certificate.display())
        })?;
        let mut hasher = DefaultHasher::new();
        (pem, key_pem).hash(&mut hasher);
        Ok((certified, hasher.finish()))
    }
}

/// Looks at the files for as long as somebody accepts connections by them.
async fn watch(files: Files, current: Weak<Current>, mut used: u64, every: Duration) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => Some(hangups),
        Err(error) => {
            warn!(%error, "SIGHUP cannot be heard; certificates are looked at now and then all the same");
            None
        }
    };
    let mut complaint = String::new();
    loop {
        let hangup = async {
            match &mut hangups {
                Some(hangups) => hangups.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            _ = hangup => info!("told to look at the certificates"),
        }
        let Some(current) = current.upgrade() else { return };
        let looked = files.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || looked.read()).await else { continue };
        match read {
            Ok((_, fingerprint)) if fingerprint == used => complaint.clear(),
            Ok((certified, fingerprint)) => {
                *current.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                used = fingerprint;
                complaint.clear();
                info!(path = %files.certificate.display(), "HTTPS goes on with the new certificate");
            }
            Err(error) => {
                let text = format!("{error:#}");
                if text != complaint {
                    warn!(error = text, "the new HTTPS certificate cannot be used; the old one stays in force");
                    complaint = text;
                }
            }
        }
    }
}
