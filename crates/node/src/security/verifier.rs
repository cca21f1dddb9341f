//! Whose certificate is good at which port. rustls checks signatures, dates and purposes; what is added here is who may be a
//! node.

use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::verify_server_cert_signed_by_trust_anchor;
use tokio_rustls::rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use super::Port;
use super::audit;
use super::certificates::{HolderError, holder, node_name};

/// Why a genuine certificate is refused all the same.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum Unwelcome {
    #[error(transparent)]
    Holder(#[from] HolderError),
    #[error("`{0}` is no node: this port is for the nodes of the cluster")]
    NotANode(String),
    #[error(
        "the certificate is that of `{found}`, expected was `{expected}`: correct the addresses in peers or the certificate"
    )]
    AnotherNode { expected: String, found: String },
}

impl From<Unwelcome> for Error {
    fn from(why: Unwelcome) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
    }
}

/// Checks who connects: nodes against the CA of the nodes, all others against the CA of the clients. So the CA of the clients
/// can make nobody a node.
#[derive(Debug)]
pub(crate) struct CallerVerifier {
    port: Port,
    clients: Arc<dyn ClientCertVerifier>,
    nodes: Arc<dyn ClientCertVerifier>,
}

impl CallerVerifier {
    pub(crate) fn new(
        port: Port,
        client_roots: Arc<RootCertStore>,
        node_roots: Arc<RootCertStore>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let against =
            |roots| WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
        Ok(Self {
            port,
            clients: against(client_roots)?,
            nodes: against(node_roots)?,
        })
    }
}

impl ClientCertVerifier for CallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // None: a caller has one certificate, and the names of our CAs are nobody's business.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let holder = holder(end_entity).map_err(Unwelcome::from)?;
        audit::claims_to_be(&holder.principal);
        match (holder.node_id, self.port) {
            (Some(_), _) => self.nodes.verify_client_cert(end_entity, intermediates, now),
            (None, Port::Client | Port::Admin) => {
                self.clients.verify_client_cert(end_entity, intermediates, now)
            }
            (None, Port::Peer) => Err(Unwelcome::NotANode(holder.principal.to_string()).into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.nodes.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.nodes.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.nodes.supported_verify_schemes()
    }
}

/// Checks that whom we reached is the node we meant. Its address is not looked at: a node is known by its name.
#[derive(Debug)]
pub(crate) struct NodeVerifier {
    node_id: u64,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl NodeVerifier {
    pub(crate) fn new(node_id: u64, roots: Arc<RootCertStore>, provider: &CryptoProvider) -> Self {
        Self {
            node_id,
            roots,
            algorithms: provider.signature_verification_algorithms,
        }
    }

    /// Is this certificate that node's, now?
    pub(crate) fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &parsed,
            &self.roots,
            intermediates,
            now,
            self.algorithms.all,
        )?;
        let holder = holder(end_entity).map_err(Unwelcome::from)?;
        if holder.node_id == Some(self.node_id) {
            return Ok(());
        }
        let (expected, found) = (node_name(self.node_id), holder.principal.to_string());
        Err(Unwelcome::AnotherNode { expected, found }.into())
    }
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.check(end_entity, intermediates, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
