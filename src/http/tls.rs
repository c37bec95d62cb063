//! TLS in this process, for installs without a reverse proxy.

use std::{path::Path, sync::Arc};

use anyhow::Context;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio_rustls::TlsAcceptor;

/// Takes TLS connections with a certificate and its chain, and its key, both as PEM files. HTTP/2 is offered first.
///
/// # Errors
/// When a file cannot be read, holds something else, or key and certificate are not a pair.
pub fn acceptor(certificate: &Path, key: &Path) -> anyhow::Result<TlsAcceptor> {
    let chain: Vec<_> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("the certificate {} cannot be read as PEM", certificate.display()))?;
    let private_key = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("the private key {} cannot be read as PEM", key.display()))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, private_key)
        .with_context(|| format!("{} is not the key of the certificate {}", key.display(), certificate.display()))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}
