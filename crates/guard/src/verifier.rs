//! Decides which certificates are accepted at which port. rustls checks signatures, dates and purposes. This
//! module adds the check of who may be a node.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{VerifierBuilderError, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
};

use crate::certificates::{HolderError, holder, node_name};
use crate::claim;
use crate::port::Port;

/// The reason why a genuine certificate is refused.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum PeerRejected {
    #[error(transparent)]
    Holder(#[from] HolderError),
    #[error("`{0}` is not a node, and this port is only for the nodes of the cluster: use the client port")]
    NotANode(String),
    #[error(
        "the certificate belongs to `{found}` and not to `{expected}`: correct the addresses in peers or the certificate"
    )]
    AnotherNode { expected: String, found: String },
}

impl From<PeerRejected> for Error {
    fn from(why: PeerRejected) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(why))))
    }
}

/// Checks the certificate of a caller: a node's against the CA of the nodes, any other against the CA of the
/// clients. So the CA of the clients cannot make a caller a node.
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
        nodes: &NodeAuthorities,
        revoked: &[CertificateRevocationListDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        Ok(Self {
            port,
            clients: against(client_roots, revoked, provider)?,
            nodes: Arc::clone(&nodes.callers),
        })
    }
}

/// Returns a verifier against these roots. A CA without a revocation list has revoked nothing. A list that
/// has expired still counts.
fn against(
    roots: Arc<RootCertStore>,
    revoked: &[CertificateRevocationListDer<'static>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider))
        .with_crls(revoked.iter().cloned())
        .allow_unknown_revocation_status()
        .build()
}

/// The CAs of the nodes, and their revocation lists.
#[derive(Debug)]
pub(crate) struct NodeAuthorities {
    /// The verifier of nodes that connect to this one.
    callers: Arc<dyn ClientCertVerifier>,
    /// The verifier of nodes that this one connects to.
    reached: Arc<WebPkiServerVerifier>,
}

impl NodeAuthorities {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        revoked: &[CertificateRevocationListDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let reached = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider));
        Ok(Self {
            callers: against(roots, revoked, provider)?,
            reached: reached
                .with_crls(revoked.iter().cloned())
                .allow_unknown_revocation_status()
                .build()?,
        })
    }
}

impl ClientCertVerifier for CallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // No hints: a caller has only one certificate, and the names of our CAs need not be public.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let holder = holder(end_entity).map_err(PeerRejected::from)?;
        claim::claims_to_be(&holder.principal);
        match (holder.node_id, self.port) {
            (Some(_), _) => self.nodes.verify_client_cert(end_entity, intermediates, now),
            (None, Port::Client | Port::Admin) => {
                self.clients.verify_client_cert(end_entity, intermediates, now)
            }
            (None, Port::Peer) => Err(PeerRejected::NotANode(holder.principal.to_string()).into()),
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

/// Checks that the server at the other end is the expected node. Does not check its host name: a node is
/// identified by the name in its certificate.
#[derive(Debug)]
pub(crate) struct NodeVerifier {
    node_id: u64,
    authorities: Arc<NodeAuthorities>,
}

impl NodeVerifier {
    pub(crate) fn new(node_id: u64, authorities: Arc<NodeAuthorities>) -> Self {
        Self { node_id, authorities }
    }

    /// Checks that the certificate is valid now and names the expected node.
    pub(crate) fn check(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let any_name = ServerName::from(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let checked =
            self.authorities
                .reached
                .verify_server_cert(end_entity, intermediates, &any_name, &[], now);
        match checked {
            // rustls checks the host name last, and the host name does not identify a node.
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => {}
            Err(error) => return Err(error),
        }
        let holder = holder(end_entity).map_err(PeerRejected::from)?;
        if holder.node_id == Some(self.node_id) {
            return Ok(());
        }
        let (expected, found) = (node_name(self.node_id), holder.principal.to_string());
        Err(PeerRejected::AnotherNode { expected, found }.into())
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
        self.authorities
            .reached
            .verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities
            .reached
            .verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.reached.supported_verify_schemes()
    }
}
