//! How a client proves who it is, and whom it believes.

use std::fmt;
use std::path::{Path, PathBuf};

use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// The certificates of a client, as PEM. They are taken as they are now: a client that lives longer than its certificate is
/// made anew.
#[derive(Clone)]
pub struct ClientTls {
    /// The CAs of the nodes: who shows a certificate of another is not spoken to.
    pub ca: Vec<u8>,
    /// The client's certificate, with what is between it and its CA. The name in it is the principal that the cluster sees.
    pub certificate: Vec<u8>,
    /// The private key of it.
    pub key: Vec<u8>,
}

impl fmt::Debug for ClientTls {
    // Not what is in it: there is a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// A file of certificates that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {}: {source}; it must be a PEM file that this user may read", path.display())]
pub struct ClientTlsError {
    /// Which file.
    pub path: PathBuf,
    /// Why.
    pub source: std::io::Error,
}

impl ClientTls {
    /// Reads three PEM files.
    ///
    /// # Errors
    /// [`ClientTlsError`] names the file that cannot be read.
    pub fn read(ca: &Path, certificate: &Path, key: &Path) -> Result<Self, ClientTlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| ClientTlsError {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            ca: read(ca)?,
            certificate: read(certificate)?,
            key: read(key)?,
        })
    }

    pub(crate) fn config(&self) -> ClientTlsConfig {
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.ca))
            .identity(Identity::from_pem(&self.certificate, &self.key))
    }
}
