//! TLS to the origin: rustls on ring, by the certificate authorities of the system, or by one of one's own.

use std::{fmt, io, path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject},
    },
};
use thiserror::Error;

/// Whom an edge believes to be its origin. Cheap to clone.
#[derive(Clone)]
pub struct OriginTls(Arc<ClientConfig>);

/// Why there is nobody to be believed.
#[derive(Debug, Error)]
pub enum OriginTlsError {
    /// The file cannot be read, or holds no certificate in PEM.
    #[error("read the certificate authorities of {path}")]
    File {
        /// Which.
        path: String,
        /// What is wrong with it.
        #[source]
        source: pem::Error,
    },
    /// None of the certificates can be used.
    #[error("use the certificate authorities of {path}")]
    Unusable {
        /// Which file.
        path: String,
    },
    /// The system has no certificate authorities, or they cannot be read.
    #[error("find certificate authorities on this system: install ca-certificates, or name a file")]
    System(#[source] io::Error),
}

impl OriginTls {
    /// Believes certificates of the authorities in `file` (PEM) alone, or of those that the system knows.
    ///
    /// # Errors
    /// When there are none.
    pub fn load(file: Option<&Path>) -> Result<Self, OriginTlsError> {
        let mut roots = RootCertStore::empty();
        match file {
            Some(file) => {
                let path = file.display().to_string();
                let found = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
                let found = found.map_err(|source| OriginTlsError::File { path: path.clone(), source })?;
                roots.add_parsable_certificates(found);
                if roots.is_empty() {
                    return Err(OriginTlsError::Unusable { path });
                }
            }
            None => {
                let found = rustls_native_certs::load_native_certs();
                roots.add_parsable_certificates(found.certs);
                if roots.is_empty() {
                    let why = found.errors.into_iter().next().map(|error| error.to_string()).unwrap_or_default();
                    return Err(OriginTlsError::System(io::Error::new(io::ErrorKind::NotFound, why)));
                }
            }
        }
        Ok(Self::trusting(roots))
    }

    /// Believes nobody: for origins in plain text.
    #[must_use]
    pub fn none() -> Self {
        Self::trusting(RootCertStore::empty())
    }

    fn trusting(roots: RootCertStore) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has what the default versions of TLS need")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self(Arc::new(config))
    }

    /// Without a choice of protocols, which who connects makes.
    pub(super) fn config(&self) -> ClientConfig {
        ClientConfig::clone(&self.0)
    }
}

impl fmt::Debug for OriginTls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("OriginTls")
    }
}
