//! Certificate authorities that the tests make.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber,
};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};

/// A certificate authority.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) certificate: String,
    pub(crate) key: String,
    serial: SerialNumber,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    fn issue(&self, uri: &str, change: impl FnOnce(&mut CertificateParams)) -> Credentials {
        let mut params =
            CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params
            .subject_alt_names
            .push(SanType::URI(uri.try_into().unwrap()));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::ServerAuth,
        ];
        change(&mut params);
        let serial = SerialNumber::from(uuid::Uuid::now_v7().as_bytes().to_vec());
        params.serial_number = Some(serial.clone());
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Credentials {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
            serial,
        }
    }

    /// Returns the list of the certificates that the CA revoked, as PEM.
    pub(crate) fn revoke(&self, revoked: &[&Credentials]) -> String {
        let entry = |credentials: &&Credentials| RevokedCertParams {
            serial_number: credentials.serial.clone(),
            revocation_time: rcgen::date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 1, 1),
            next_update: rcgen::date_time_ymd(2099, 1, 2),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// Makes a certificate with this name.
    pub(crate) fn certify(&self, uri: &str) -> Credentials {
        self.issue(uri, |_| {})
    }

    /// Makes a certificate with this name that has expired.
    pub(crate) fn certify_expired(&self, uri: &str) -> Credentials {
        self.issue(uri, |params| {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        })
    }

    /// Makes a certificate with this name that is valid for this long.
    pub(crate) fn certify_for(&self, uri: &str, time: Duration) -> Credentials {
        #[expect(clippy::disallowed_methods, reason = "rustls reads the wall clock too")]
        let ends = SystemTime::now() + time;
        self.issue(uri, |params| params.not_after = ends.into())
    }

    pub(crate) fn certify_node(&self, node_id: u64) -> Credentials {
        self.certify(&format!("spiffe://holdfast/node/{node_id}"))
    }
}

/// Returns the TLS of a client that trusts servers of this CA, and shows a certificate if it has one.
pub(crate) fn client_tls(servers: &Authority, shown: Option<&Credentials>) -> ClientTlsConfig {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(servers.pem()))
        .domain_name("localhost");
    match shown {
        Some(shown) => tls.identity(Identity::from_pem(&shown.certificate, &shown.key)),
        None => tls,
    }
}
