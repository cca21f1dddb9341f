//! PEM files, and the holder that a certificate names.

use std::path::{Path, PathBuf};

use holdfast_api::names::{IdError, Principal};
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// The prefix of a node's id in the name of its certificate.
const NODE_PREFIX: &str = "spiffe://holdfast/node/";
/// Names that no certificate may have, because a node gives them to callers without a certificate and to its
/// own work.
const KEPT_NAMES: [&str; 2] = ["anonymous", "holdfast"];

/// Returns the URI that a node's certificate must carry.
pub fn node_name(node_id: u64) -> String {
    format!("{NODE_PREFIX}{node_id}")
}

/// The holder of a certificate, and when the certificate expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The first URI in the certificate's subject alternative names, or its common name when it has no URI.
    pub principal: Principal,
    /// The id of the node when that URI is a node's.
    pub node_id: Option<u64>,
    /// The moment when the certificate expires, in seconds since the Unix epoch.
    pub expires_s: i64,
    /// The certificate's name in a revocation list.
    pub certificate: CertificateId,
}

/// The name of a certificate in a revocation list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CertificateId {
    /// The issuer's distinguished name, as DER.
    pub issuer: Vec<u8>,
    /// The serial number, big endian, without leading zeros.
    pub serial: Vec<u8>,
}

/// The reason why a certificate has no usable holder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HolderError {
    /// The certificate is not a readable X.509 certificate.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// The certificate has neither a URI nor a common name.
    #[error(
        "the certificate names nobody: put a URI such as spiffe://shop/checkout into its subject alternative names, or give it a common name"
    )]
    Nameless,
    /// The name has characters that a principal cannot have, or is too long.
    #[error("the certificate's name cannot be a principal: {0}; letters, digits and ._:/-# are allowed")]
    BadName(#[from] IdError),
    /// The name is one that a node gives to itself or to callers without a certificate.
    #[error("the certificate is named `{0}`, which is reserved for Holdfast: choose another name")]
    KeptName(String),
    /// The name begins with a node's prefix, but is a common name or does not go on with a node's id.
    #[error(
        "the certificate's name begins with {NODE_PREFIX}, but no node's id follows: use {NODE_PREFIX} only for nodes, as in {NODE_PREFIX}1"
    )]
    BadNode,
}

/// Reads the holder of a certificate. Does not check whether the certificate is genuine.
///
/// # Errors
/// [`HolderError`] says what is wrong with the certificate or its name.
pub fn holder(certificate: &CertificateDer<'_>) -> Result<Holder, HolderError> {
    let unreadable = |error: &dyn std::fmt::Display| HolderError::Unreadable(error.to_string());
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|error| unreadable(&error))?;
    let names = certificate
        .subject_alternative_name()
        .map_err(|error| unreadable(&error))?;
    let uri = names.and_then(|names| {
        names.value.general_names.iter().find_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
    });
    let name = match uri {
        Some(uri) => uri,
        None => {
            let common_name = certificate.subject().iter_common_name().next();
            let common_name = common_name.ok_or(HolderError::Nameless)?;
            common_name.as_str().map_err(|error| unreadable(&error))?
        }
    };
    if KEPT_NAMES.contains(&name) {
        return Err(HolderError::KeptName(name.to_owned()));
    }
    let node_id = match uri.and_then(|uri| uri.strip_prefix(NODE_PREFIX)) {
        Some(id) => {
            let number = id.parse().ok().filter(|number: &u64| number.to_string() == id);
            Some(number.ok_or(HolderError::BadNode)?)
        }
        // Only a URI can name a node, not a common name.
        None if name.starts_with(NODE_PREFIX) => return Err(HolderError::BadNode),
        None => None,
    };
    Ok(Holder {
        principal: Principal::new(name)?,
        node_id,
        expires_s: certificate.validity().not_after.timestamp(),
        certificate: CertificateId {
            issuer: certificate.issuer().as_raw().to_vec(),
            serial: certificate.tbs_certificate.serial.to_bytes_be(),
        },
    })
}

/// The reason why certificate files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateFileError {
    /// A file cannot be read.
    #[error("cannot read {} ({key}): {source}", path.display())]
    Read {
        /// The configuration key that names the file.
        key: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// A file does not contain the PEM that it should.
    #[error("{} ({key}) holds no usable PEM: {message}", path.display())]
    Pem {
        /// The configuration key that names the file.
        key: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The mistake in the file.
        message: String,
    },
    /// Each file is readable, but together they are not this node's identity.
    #[error("{} (tls.certificate) cannot be this node's certificate: {message}", path.display())]
    Unusable {
        /// The path of the certificate file.
        path: PathBuf,
        /// The mistake, and how to correct it.
        message: String,
    },
}

/// The text of a PEM file that the configuration names.
pub(crate) struct PemFile<'a> {
    pub(crate) key: &'static str,
    pub(crate) path: &'a Path,
    pub(crate) text: &'a [u8],
}

impl PemFile<'_> {
    pub(crate) fn wrong(&self, message: impl Into<String>) -> CertificateFileError {
        CertificateFileError::Pem {
            key: self.key,
            path: self.path.to_owned(),
            message: message.into(),
        }
    }

    /// Returns all certificates in the file. There is at least one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, CertificateFileError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(self.text)
            .collect::<Result<_, _>>()
            .map_err(|error| self.wrong(error.to_string()))?;
        if certificates.is_empty() {
            return Err(self.wrong("there is no CERTIFICATE in it"));
        }
        Ok(certificates)
    }

    /// Returns the private key in the file.
    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, CertificateFileError> {
        PrivateKeyDer::from_pem_slice(self.text).map_err(|error| self.wrong(error.to_string()))
    }

    /// Returns the certificates in the file as trusted roots.
    pub(crate) fn roots(&self) -> Result<RootCertStore, CertificateFileError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots
                .add(certificate)
                .map_err(|error| self.wrong(error.to_string()))?;
        }
        Ok(roots)
    }
}

/// Reads a file that the configuration names under `key`.
pub(crate) fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, CertificateFileError> {
    std::fs::read(path).map_err(|source| CertificateFileError::Read {
        key,
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(uris: &[&str], common_name: Option<&str>) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = uris
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()))
            .collect();
        params.not_after = rcgen::date_time_ymd(2031, 2, 3);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    #[test]
    fn the_first_uri_names_the_holder_and_else_the_common_name() {
        let both = holder(&certificate(&["spiffe://shop/checkout"], Some("other"))).unwrap();
        assert_eq!(both.principal.as_str(), "spiffe://shop/checkout");
        assert_eq!((both.node_id, both.expires_s), (None, 1_927_843_200));
        let name_only = holder(&certificate(&[], Some("erp-1"))).unwrap();
        assert_eq!(name_only.principal.as_str(), "erp-1");
        let node = holder(&certificate(&["spiffe://holdfast/node/12"], None)).unwrap();
        assert_eq!(node.node_id, Some(12));
    }

    #[test]
    fn a_name_that_cannot_be_a_principal_is_refused() {
        assert_eq!(holder(&certificate(&[], None)), Err(HolderError::Nameless));
        let long = "x".repeat(65);
        for bad in ["Jane Doe", "jane@shop.example", long.as_str()] {
            let refused = holder(&certificate(&[], Some(bad)));
            assert!(matches!(refused, Err(HolderError::BadName(_))), "{refused:?}");
        }
        for kept in KEPT_NAMES {
            let refused = holder(&certificate(&[], Some(kept)));
            assert_eq!(refused, Err(HolderError::KeptName(kept.to_owned())));
        }
        let none = CertificateDer::from(b"not a certificate".to_vec());
        assert!(matches!(holder(&none), Err(HolderError::Unreadable(_))));
    }

    #[test]
    fn only_a_uri_with_a_plain_number_makes_a_node() {
        for bad in ["", "0x1", "+1", "01", "1/2", "one", "99999999999999999999"] {
            let uri = format!("spiffe://holdfast/node/{bad}");
            assert_eq!(
                holder(&certificate(&[&uri], None)),
                Err(HolderError::BadNode),
                "{uri}"
            );
        }
        let common_name = holder(&certificate(&[], Some("spiffe://holdfast/node/1")));
        assert_eq!(common_name, Err(HolderError::BadNode));
        let second = holder(&certificate(
            &["spiffe://shop/a", "spiffe://holdfast/node/1"],
            None,
        ));
        assert_eq!(second.unwrap().node_id, None);
    }
}
