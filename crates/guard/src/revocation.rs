//! Certificates that their CA has revoked: the revocation lists of `tls.revocation_lists` (RFC 5280, section
//! 5).
//!
//! rustls checks new handshakes. Open connections are checked against the same lists at every call, because a
//! connection may stay open for a long time.

use std::collections::HashSet;

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use crate::certificates::{CertificateFileError, CertificateId, PemFile};

/// The revocation lists of all files together.
#[derive(Default)]
pub(crate) struct RevocationLists {
    /// The lists in the form that rustls takes.
    pub(crate) lists: Vec<CertificateRevocationListDer<'static>>,
    /// The moment when the first list expires, in seconds since the Unix epoch; 0 when no list has such a
    /// moment.
    pub(crate) expire_s: i64,
    revoked: HashSet<CertificateId>,
}

impl RevocationLists {
    /// Reads the files. If a list's issuer is the subject of one of `authorities`, that authority must have
    /// signed the list. A list of another CA, such as an intermediate CA, is accepted without this check.
    ///
    /// # Errors
    /// A file contains no list, or a list that would make its CA's certificates unusable.
    pub(crate) fn read(
        files: &[PemFile<'_>],
        authorities: &[CertificateDer<'_>],
    ) -> Result<Self, CertificateFileError> {
        let mut all = Self::default();
        for file in files {
            let lists = CertificateRevocationListDer::pem_slice_iter(file.text)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|error| file.wrong(error.to_string()))?;
            if lists.is_empty() {
                return Err(file.wrong("it has no block `X509 CRL`"));
            }
            for list in lists {
                all.add(&list, authorities)
                    .map_err(|message| file.wrong(message))?;
                all.lists.push(list);
            }
        }
        Ok(all)
    }

    fn add(
        &mut self,
        der: &CertificateRevocationListDer<'_>,
        authorities: &[CertificateDer<'_>],
    ) -> Result<(), String> {
        let (_, list) = CertificateRevocationList::from_der(der).map_err(|error| error.to_string())?;
        let issuer = list.issuer().as_raw();
        let mut refused = None;
        for authority in authorities {
            let (_, authority) = X509Certificate::from_der(authority).map_err(|error| error.to_string())?;
            if authority.subject().as_raw() != issuer {
                continue;
            }
            let usage = authority.key_usage().map_err(|error| error.to_string())?;
            if usage.is_some_and(|usage| !usage.value.crl_sign()) {
                refused = Some("its CA may not sign such lists: its key usage lacks cRLSign".to_owned());
            } else if list.verify_signature(authority.public_key()).is_err() {
                refused = Some(format!("it is not signed by the CA `{}`", authority.subject()));
            } else {
                refused = None;
                break;
            }
        }
        if let Some(why) = refused {
            return Err(why);
        }
        if let Some(next) = list.next_update() {
            let at_s = next.timestamp();
            self.expire_s = if self.expire_s == 0 {
                at_s
            } else {
                self.expire_s.min(at_s)
            };
        }
        self.revoked
            .extend(list.iter_revoked_certificates().map(|entry| CertificateId {
                issuer: issuer.to_vec(),
                serial: entry.serial().to_bytes_be(),
            }));
        Ok(())
    }

    pub(crate) fn contain(&self, certificate: &CertificateId) -> bool {
        !self.revoked.is_empty() && self.revoked.contains(certificate)
    }
}
