//! The certificates in use. A new handshake uses the newest ones; an open connection keeps those that it
//! began with.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use tokio_rustls::rustls::client::ClientConfig;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::{CryptoProvider, aws_lc_rs};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert, ServerConfig};
use tokio_rustls::rustls::sign::CertifiedKey;

use crate::certificates::{self, CertificateFileError, CertificateId, PemFile, holder, node_name};
use crate::port::Port;
use crate::reloaded::Reloaded;
use crate::revocation::RevocationLists;
use crate::tls_section::TlsSection;
use crate::verifier::{CallerVerifier, NodeAuthorities, NodeVerifier};

/// The protocol name of HTTP/2, which gRPC uses (<https://www.iana.org/assignments/tls-extensiontype-values>,
/// ALPN).
const ALPN_HTTP_2: &[u8] = b"h2";

/// The contents of the files when they were last valid.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Vec<u8>,
    peer_ca: Vec<u8>,
    revocation_lists: Vec<Vec<u8>>,
}

/// One version of the files, ready for handshakes.
struct Material {
    contents: Contents,
    client_port: Arc<ServerConfig>,
    peer_port: Arc<ServerConfig>,
    admin_port: Arc<ServerConfig>,
    certified: Arc<CertifiedKey>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    nodes: Arc<NodeAuthorities>,
    revoked: RevocationLists,
    expires_s: i64,
}

/// The certificates of a node, shared by everything that does handshakes.
pub struct Tls {
    files: TlsSection,
    node_id: u64,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<Material>>,
    /// The last failure, kept so that it is reported only once.
    told: Mutex<Option<String>>,
}

impl fmt::Debug for Tls {
    // The contents are left out because they include a private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files. Returns None when the section names no file.
    ///
    /// # Errors
    /// [`CertificateFileError`] names the file and what is wrong with it.
    pub fn load(files: &TlsSection, node_id: u64) -> Result<Option<Arc<Self>>, CertificateFileError> {
        if !files.is_set() {
            return Ok(None);
        }
        let provider = Arc::new(aws_lc_rs::default_provider());
        let contents = read(files)?;
        let material = material(files, node_id, &provider, contents)?;
        Ok(Some(Arc::new(Self {
            files: files.clone(),
            node_id,
            provider,
            current: RwLock::new(Arc::new(material)),
            told: Mutex::new(None),
        })))
    }

    fn current(&self) -> Arc<Material> {
        Arc::clone(&self.current.read())
    }

    /// Returns when the certificate in use expires, in seconds since the Unix epoch.
    pub fn expires_s(&self) -> i64 {
        self.current().expires_s
    }

    /// Returns when the first revocation list expires, in seconds since the Unix epoch; 0 when no list has
    /// such a moment.
    pub fn revocation_lists_expire_s(&self) -> i64 {
        self.current().revoked.expire_s
    }

    /// Returns whether the CA of this certificate has revoked it.
    pub fn has_revoked(&self, certificate: &CertificateId) -> bool {
        self.current.read().revoked.contain(certificate)
    }

    /// Returns the configuration for connections that arrive at a port.
    pub fn accepting(&self, port: Port) -> Arc<ServerConfig> {
        let current = self.current();
        Arc::clone(match port {
            Port::Client => &current.client_port,
            Port::Peer => &current.peer_port,
            Port::Admin => &current.admin_port,
        })
    }

    /// Returns the configuration to connect to any port of a node. The other end must prove that it is that
    /// node.
    ///
    /// # Errors
    /// The key does not fit the certificate. This was checked when the files were read.
    pub fn dialing(&self, node_id: u64) -> Result<ClientConfig, tokio_rustls::rustls::Error> {
        let current = self.current();
        let verifier = NodeVerifier::new(node_id, Arc::clone(&current.nodes));
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(current.chain.clone(), current.key.clone_key())?;
        config.alpn_protocols = vec![ALPN_HTTP_2.to_vec()];
        config.resumption = Resumption::disabled();
        Ok(config)
    }

    /// Returns the configuration for the HTTP port. It shows the node's newest certificate, and asks callers
    /// for none.
    ///
    /// # Errors
    /// The provider has no usable protocol version, which is a defect of the build.
    pub fn accepting_http(self: &Arc<Self>) -> Result<ServerConfig, tokio_rustls::rustls::Error> {
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Newest(Arc::clone(self))));
        Ok(config)
    }

    /// Reads the files again, and uses them when they are new and valid. Blocks on the disk for a moment.
    pub fn look_again(&self) -> Reloaded {
        let contents = match read(&self.files) {
            Ok(contents) if contents == self.current().contents => {
                *self.told.lock() = None;
                return Reloaded::Unchanged;
            }
            Ok(contents) => contents,
            Err(error) => return self.keep(&error),
        };
        match material(&self.files, self.node_id, &self.provider, contents) {
            Ok(material) => {
                *self.current.write() = Arc::new(material);
                *self.told.lock() = None;
                Reloaded::Swapped
            }
            Err(error) => self.keep(&error),
        }
    }

    fn keep(&self, error: &CertificateFileError) -> Reloaded {
        let message = error.to_string();
        let mut told = self.told.lock();
        if told.as_ref() == Some(&message) {
            return Reloaded::Unchanged;
        }
        *told = Some(message.clone());
        Reloaded::Kept(message)
    }
}

/// Resolves to the newest certificate, for servers whose configuration is not replaced.
#[derive(Debug)]
struct Newest(Arc<Tls>);

impl ResolvesServerCert for Newest {
    fn resolve(&self, _client_hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.current().certified))
    }
}

fn path(path: Option<&Path>) -> &Path {
    path.unwrap_or_else(|| Path::new(""))
}

fn read(files: &TlsSection) -> Result<Contents, CertificateFileError> {
    Ok(Contents {
        certificate: certificates::read("tls.certificate", path(files.certificate.as_deref()))?,
        key: certificates::read("tls.key", path(files.key.as_deref()))?,
        client_ca: certificates::read("tls.client_ca", path(files.client_ca.as_deref()))?,
        peer_ca: certificates::read("tls.peer_ca", path(files.peer_ca_or_client_ca()))?,
        revocation_lists: files
            .revocation_lists
            .iter()
            .map(|path| certificates::read("tls.revocation_lists", path))
            .collect::<Result<_, _>>()?,
    })
}

fn material(
    files: &TlsSection,
    node_id: u64,
    provider: &Arc<CryptoProvider>,
    contents: Contents,
) -> Result<Material, CertificateFileError> {
    let certificate_path = path(files.certificate.as_deref());
    let unusable = |message: String| CertificateFileError::Unusable {
        path: certificate_path.to_owned(),
        message,
    };
    let file = |key, path, text| PemFile { key, path, text };
    let certificate = file(
        "tls.certificate",
        certificate_path,
        contents.certificate.as_slice(),
    );
    let key_file = file("tls.key", path(files.key.as_deref()), contents.key.as_slice());
    let client_ca = file(
        "tls.client_ca",
        path(files.client_ca.as_deref()),
        contents.client_ca.as_slice(),
    );
    let peer_ca = file(
        "tls.peer_ca",
        path(files.peer_ca_or_client_ca()),
        contents.peer_ca.as_slice(),
    );

    let chain = certificate.certificates()?;
    let key = key_file.private_key()?;
    let client_roots = Arc::new(client_ca.roots()?);
    let node_roots = Arc::new(peer_ca.roots()?);
    let lists = files.revocation_lists.iter().zip(&contents.revocation_lists);
    let lists: Vec<PemFile<'_>> = lists
        .map(|(path, text)| file("tls.revocation_lists", path, text.as_slice()))
        .collect();
    let authorities = [client_ca.certificates()?, peer_ca.certificates()?].concat();
    let revoked = RevocationLists::read(&lists, &authorities)?;
    let nodes = NodeAuthorities::new(node_roots, &revoked.lists, provider)
        .map_err(|error| unusable(error.to_string()))?;
    let nodes = Arc::new(nodes);
    let holder = holder(&chain[0]).map_err(|error| unusable(error.to_string()))?;
    // The other nodes would refuse the certificate. An error here is easier to find than one in their logs.
    NodeVerifier::new(node_id, Arc::clone(&nodes))
        .check(&chain[0], &chain[1..], UnixTime::now())
        .map_err(|error| {
            unusable(format!(
                "the other nodes would refuse it ({error}): it must be in date, not revoked, signed by the CA in tls.peer_ca, and have the URI {} in its subject alternative names",
                node_name(node_id)
            ))
        })?;
    let certified = CertifiedKey::from_der(chain.clone(), key.clone_key(), provider)
        .map_err(|error| unusable(format!("it does not fit the key in tls.key: {error}")))?;
    let certified = Arc::new(certified);
    let accepting = |port| {
        let verifier = CallerVerifier::new(
            port,
            Arc::clone(&client_roots),
            nodes.as_ref(),
            &revoked.lists,
            provider,
        )
        .map_err(|error| unusable(error.to_string()))?;
        let resolver = Arc::new(tokio_rustls::rustls::sign::SingleCertAndKey::from(Arc::clone(
            &certified,
        )));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(error.to_string()))?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![ALPN_HTTP_2.to_vec()];
        // Every new connection shows its certificate again: a resumed session would outlive the certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    };
    Ok(Material {
        client_port: accepting(Port::Client)?,
        peer_port: accepting(Port::Peer)?,
        admin_port: accepting(Port::Admin)?,
        certified,
        chain,
        key,
        nodes,
        revoked,
        expires_s: holder.expires_s,
        contents,
    })
}
