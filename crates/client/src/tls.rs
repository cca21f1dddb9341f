//! The certificates of a client: those that prove its identity, and those that it trusts.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// gRPC is HTTP/2 (<https://www.iana.org/assignments/tls-extensiontype-values>, ALPN).
const ALPN_HTTP_2: &[u8] = b"h2";

/// The certificates of a client, as PEM. Certificates that were read from files follow those files: later
/// connections use what the files hold then. So a client can live longer than its certificate.
#[derive(Clone)]
pub struct ClientTls {
    pem: Pem,
    files: Option<Arc<Files>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Pem {
    ca: Vec<u8>,
    certificate: Vec<u8>,
    key: Vec<u8>,
}

#[derive(Debug)]
struct Files {
    ca: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl fmt::Debug for ClientTls {
    // The content is left out because it includes a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// A certificate file cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}; it must be a PEM file that this user may read", path.display())]
pub struct ClientTlsError {
    /// The file.
    pub path: PathBuf,
    /// The error of the read.
    pub source: std::io::Error,
}

impl Files {
    fn read(&self) -> Result<Pem, ClientTlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| ClientTlsError {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Pem {
            ca: read(&self.ca)?,
            certificate: read(&self.certificate)?,
            key: read(&self.key)?,
        })
    }
}

impl ClientTls {
    /// Takes PEM that never changes. `ca` has the CAs of the nodes; the client does not talk to a node with a
    /// certificate of any other CA. `certificate` has the client's certificate and the ones between it and
    /// its CA; the name in it is the principal that the cluster sees. `key` has its private key.
    pub fn from_pem(ca: Vec<u8>, certificate: Vec<u8>, key: Vec<u8>) -> Self {
        Self {
            pem: Pem { ca, certificate, key },
            files: None,
        }
    }

    /// Reads three PEM files with the content that [`ClientTls::from_pem`] expects. They are read again while
    /// the client lives.
    ///
    /// # Errors
    /// [`ClientTlsError`] names the file that cannot be read.
    pub fn read(ca: &Path, certificate: &Path, key: &Path) -> Result<Self, ClientTlsError> {
        let files = Files {
            ca: ca.to_owned(),
            certificate: certificate.to_owned(),
            key: key.to_owned(),
        };
        Ok(Self {
            pem: files.read()?,
            files: Some(Arc::new(files)),
        })
    }

    pub(crate) fn follows_files(&self) -> bool {
        self.files.is_some()
    }

    /// Returns the new content of the files; None when it has not changed. Blocks on the disk.
    ///
    /// # Errors
    /// [`ClientTlsError`] when a file cannot be read.
    pub(crate) fn read_again(&self) -> Result<Option<Self>, ClientTlsError> {
        let Some(files) = &self.files else {
            return Ok(None);
        };
        let pem = files.read()?;
        Ok((pem != self.pem).then(|| Self {
            pem,
            files: Some(Arc::clone(files)),
        }))
    }

    /// Makes the TLS configuration of connections.
    ///
    /// # Errors
    /// Names the one of the three that is not good, and the reason.
    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>, String> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("CA", &self.pem.ca)? {
            roots
                .add(authority)
                .map_err(|error| format!("the CA cannot be used: {error}"))?;
        }
        let chain = certificates("certificate", &self.pem.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.pem.key)
            .map_err(|error| format!("the private key cannot be read: {error}"))?;
        let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(|error| format!("the certificate and the key cannot be used: {error}"))?;
        config.alpn_protocols = vec![ALPN_HTTP_2.to_vec()];
        Ok(Arc::new(config))
    }
}

/// Returns the certificates in a PEM file, at least one.
fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err(format!("there is no certificate in the {what}")),
        Ok(all) => Ok(all),
        Err(error) => Err(format!("the {what} cannot be read: {error}")),
    }
}
