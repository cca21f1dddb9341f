//! The section `[tls]` of a configuration.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The certificates, as PEM files. They are read again while the node runs. When they are set, clients and
/// nodes must show a certificate too. Without them, everything is plaintext. `docs/security.md` shows how to
/// make them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSection {
    /// This node's certificate, with the certificates between it and its CA. Clients check the host name that
    /// they dial; other nodes check the URI `spiffe://holdfast/node/<node_id>`. Both must be in the subject
    /// alternative names.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/etc/holdfast/node.pem")]
    pub certificate: Option<PathBuf>,
    /// The private key of the certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/etc/holdfast/node.key")]
    pub key: Option<PathBuf>,
    /// The CAs whose clients are accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/etc/holdfast/client-ca.pem")]
    pub client_ca: Option<PathBuf>,
    /// The CAs of the nodes. If it differs from `client_ca`, a CA that signs for clients cannot sign for
    /// nodes. Default: `client_ca`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "/etc/holdfast/peer-ca.pem")]
    pub peer_ca: Option<PathBuf>,
    /// Files with certificate revocation lists, for clients and nodes alike. A CA without a list has revoked
    /// nothing.
    pub revocation_lists: Vec<PathBuf>,
    /// Whether the HTTP port speaks TLS too. It asks for no certificate.
    pub http: bool,
}

impl Default for TlsSection {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            client_ca: None,
            peer_ca: None,
            revocation_lists: Vec::new(),
            http: true,
        }
    }
}

impl TlsSection {
    /// Returns whether the section names any file.
    pub fn is_set(&self) -> bool {
        [&self.certificate, &self.key, &self.client_ca, &self.peer_ca]
            .iter()
            .any(|path| path.is_some())
            || !self.revocation_lists.is_empty()
    }

    /// Returns the file with the CAs of the nodes.
    pub fn peer_ca_or_client_ca(&self) -> Option<&Path> {
        self.peer_ca.as_deref().or(self.client_ca.as_deref())
    }
}
