//! Certificates that their CA took back: the revocation lists of `tls.revocation_lists` (RFC 5280, section 5).
//!
//! New handshakes are checked by rustls. Connections that are up are checked call by call against the same lists, because they
//! live longer than anybody wants to wait.

use std::collections::HashSet;

use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use crate::certificates::{CertificateFileError, CertificateId, PemFile};

/// The lists of all files together.
#[derive(Default)]
pub(crate) struct RevocationLists {
    /// As rustls wants them.
    pub(crate) lists: Vec<CertificateRevocationListDer<'static>>,
    /// When the first of them is out of date, in seconds since the Unix epoch; 0 when none says so.
    pub(crate) expire_s: i64,
    revoked: HashSet<CertificateId>,
}

impl RevocationLists {
    /// Reads the files. Each list must be signed by the CA of these that bears its issuer's name; a list of another CA, such as
    /// one between a CA and its certificates, is taken as it is.
    ///
    /// # Errors
    /// A file holds no list, or one that would make its CA's certificates unusable.
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
                return Err(file.wrong("there is no X509 CRL in it"));
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

    pub(crate) fn hold(&self, certificate: &CertificateId) -> bool {
        !self.revoked.is_empty() && self.revoked.contains(certificate)
    }
}
