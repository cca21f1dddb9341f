//! What an operator writes about a node: a TOML file, and overrides from the environment.
//!
//! Every key is described where it is defined, in [`sections`](self); [`reference`] is the same as a commented file.
//! A key that is not known is an error, in the file and in the environment.

mod overrides;
mod reference;
mod sections;
mod security;
mod telemetry;
mod validate;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use reference::reference;
pub use sections::{
    ClusterSection, LedgerSection, LimitsSection, ListenSection, LogFormat, LogSection, NodeSection,
    PeerSection, RaftSection, ShardsSection, StorageSection,
};
pub use security::{SecuritySection, TlsSection};
pub use telemetry::TelemetrySection;
pub use validate::check_log_level;

/// The prefix of the environment variables that override the file.
pub const ENV_PREFIX: &str = "HOLDFAST__";

/// The configuration of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Who this node is, and where its data lives. Required.
    pub node: NodeSection,
    /// Where it listens.
    #[serde(default)]
    pub listen: ListenSection,
    /// All nodes of the cluster, this one among them. Without any, this node is a cluster of its own.
    #[serde(default)]
    pub peers: Vec<PeerSection>,
    /// How the cluster is made. Chosen once, when it is founded.
    #[serde(default)]
    pub cluster: ClusterSection,
    /// How the stock is dealt out. Chosen once, when a cluster is made.
    #[serde(default)]
    pub shards: ShardsSection,
    /// How replicas agree.
    #[serde(default)]
    pub raft: RaftSection,
    /// How long the ledger remembers. The same on every node of a cluster.
    #[serde(default)]
    pub ledger: LedgerSection,
    /// How the log and the change log lie on the disk.
    #[serde(default)]
    pub storage: StorageSection,
    /// The certificates.
    #[serde(default)]
    pub tls: TlsSection,
    /// Who may come in.
    #[serde(default)]
    pub security: SecuritySection,
    /// How much a client may ask for.
    #[serde(default)]
    pub limits: LimitsSection,
    /// What the node says about itself on standard error.
    #[serde(default)]
    pub log: LogSection,
    /// Where traces and metrics are sent.
    #[serde(default)]
    pub telemetry: TelemetrySection,
}

/// Why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, has a key that is not known, or a value of another type.
    #[error("the configuration {origin} is not valid: {message}")]
    Parse {
        /// Which file, or `text`.
        origin: String,
        /// Where and what.
        message: String,
    },
    /// An environment variable with our prefix does not name a key.
    #[error("the environment variable {name} does not name a configuration key: {message}")]
    UnknownOverride {
        /// The variable.
        name: String,
        /// What is known there.
        message: String,
    },
    /// An environment variable has a value of another type.
    #[error("the environment variable {name} has a value that is not valid: {message}")]
    BadOverride {
        /// The variable.
        name: String,
        /// What is wrong.
        message: String,
    },
    /// The values are of the right type, but do not make a node.
    #[error("the configuration cannot work:{}", .0.iter().map(|p| format!("\n  - {p}")).collect::<String>())]
    Invalid(Vec<String>),
}

impl NodeConfig {
    /// Reads a file, overrides it from the environment of this process, and checks the whole.
    ///
    /// # Errors
    /// [`ConfigError`] says which file or variable, and what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        // Variables that are not UTF-8 cannot be ours: all our names and values are text.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::parse(&text, &path.display().to_string(), environment)
    }

    /// Takes TOML text and environment variables (those without [`ENV_PREFIX`] are passed over) and checks the whole.
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong; `origin` names the text in it.
    pub fn parse(
        text: &str,
        origin: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let parse_error = |e: toml::de::Error| ConfigError::Parse {
            origin: origin.to_owned(),
            message: e.to_string(),
        };
        // Once without overrides, so that a message can point at the line of the file.
        let mut table: toml::Table = toml::from_str(text).map_err(parse_error)?;
        if overrides::apply(&mut table, environment)? == 0 {
            let config: Self = toml::from_str(text).map_err(parse_error)?;
            config.validate()?;
            return Ok(config);
        }
        let config: Self = table.try_into().map_err(parse_error)?;
        config.validate()?;
        Ok(config)
    }

    /// Does the node do everything on one thread? Without a number it is never taken for granted: [`Node::start`](crate::Node::start)
    /// may then be called in any runtime.
    pub(crate) fn has_one_thread(&self) -> bool {
        self.node.threads == Some(1)
    }

    /// The nodes of the cluster in order of their ids: [`NodeConfig::peers`], or this node alone.
    pub fn cluster_nodes(&self) -> Vec<PeerSection> {
        if self.peers.is_empty() {
            return vec![PeerSection {
                node_id: self.node.node_id,
                client_address: self.listen.client.clone(),
                peer_address: self.listen.peer.clone(),
                admin_address: Some(self.listen.admin.clone()),
            }];
        }
        let mut nodes = self.peers.clone();
        nodes.sort_by_key(|peer| peer.node_id);
        nodes
    }
}
