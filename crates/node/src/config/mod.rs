//! The configuration of a node: a TOML file that an operator writes, and overrides from the environment.
//!
//! Every key is described once, by its doc comment and attributes in [`sections`](self). [`schema()`] returns
//! that as a JSON Schema, and [`reference()`] as a commented file. A key that is not known is an error, in
//! the file and in the environment. Times and sizes are written with their [units](TimeSpan).
//!
//! A new key is a field with a doc comment, a default and, by an attribute, its range. Then
//! `UPDATE_DOCS=1 cargo test -p holdfast-node --lib config` prints the reference and the chart's copy of the
//! schema, and `helm/tests/config_schema.py` and `helm/tests/values_table.py` bring the chart up to date.

mod old_keys;
mod overrides;
mod reference;
mod schema;
mod sections;
mod security;
mod telemetry;
mod units;
mod validate;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use old_keys::OldSpelling;
pub use reference::reference;
pub use schema::schema;
pub use sections::{
    ClusterSection, LedgerSection, LimitsSection, ListenSection, LogFormat, LogSection, NodeSection,
    PeerSection, RaftSection, ShardsSection, StorageSection,
};
pub use security::{SecuritySection, TlsSection};
pub use telemetry::TelemetrySection;
pub use units::{ByteSize, TimeSpan, UnitError};
pub use validate::check_log_level;

/// The prefix of the environment variables that override the file.
pub const ENV_PREFIX: &str = "HOLDFAST__";

/// The configuration of one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// The node itself: its id, its cluster, its data folder, its threads and its zone. Required.
    pub node: NodeSection,
    /// The addresses on which the node listens.
    #[serde(default)]
    pub listen: ListenSection,
    /// The nodes of the cluster, this one included. Without a list, this node is a cluster of its own.
    #[serde(default)]
    pub peers: Vec<PeerSection>,
    /// The replication in the cluster. It is fixed when the cluster is founded.
    #[serde(default)]
    pub cluster: ClusterSection,
    /// The division of the stock into shards. It is chosen once, when the cluster is founded.
    #[serde(default)]
    pub shards: ShardsSection,
    /// The settings of Raft, the protocol by which replicas agree.
    #[serde(default)]
    pub raft: RaftSection,
    /// The time limits of the ledger. They must be the same on every node of a cluster.
    #[serde(default)]
    pub ledger: LedgerSection,
    /// The files of the log and the change log, and the free space on their disk.
    #[serde(default)]
    pub storage: StorageSection,
    /// The certificates, as PEM files. Without them, everything is plaintext.
    #[serde(default)]
    pub tls: TlsSection,
    /// The access to the node: which callers are let in, and what they may do.
    #[serde(default)]
    pub security: SecuritySection,
    /// The limits on what clients may ask for.
    #[serde(default)]
    pub limits: LimitsSection,
    /// The log lines that the node writes to standard error.
    #[serde(default)]
    pub log: LogSection,
    /// The export of traces and metrics.
    #[serde(default)]
    pub telemetry: TelemetrySection,
}

/// The reason why a configuration was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file that could not be read.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// The text is not TOML, has a key that is not known, or has a value of another type.
    #[error("the configuration {origin} is not valid: {message}")]
    Parse {
        /// The name of the text, most often the path of the file.
        origin: String,
        /// The place in the text, and what is wrong there.
        message: String,
    },
    /// An environment variable with the prefix [`ENV_PREFIX`] does not name a key.
    #[error("the environment variable {name} does not name a configuration key: {message}")]
    UnknownOverride {
        /// The name of the variable.
        name: String,
        /// The keys or sections that are known there.
        message: String,
    },
    /// An environment variable has a value of another type.
    #[error("the environment variable {name} has a value that is not valid: {message}")]
    BadOverride {
        /// The name of the variable.
        name: String,
        /// The reason why the value is not valid.
        message: String,
    },
    /// The values have the right types, but a node cannot work with them. Lists every problem.
    #[error("the configuration cannot work:{}", .0.iter().map(|p| format!("\n  - {p}")).collect::<String>())]
    Invalid(Vec<String>),
}

/// A configuration as it was read, with the old spellings in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedConfig {
    /// The configuration itself.
    pub config: NodeConfig,
    /// The old spellings in the file and in the environment. They are read, and somebody should be told.
    pub old_spellings: Vec<OldSpelling>,
}

impl LoadedConfig {
    /// Reads a file, applies the overrides from the environment of this process, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`] names the file or the variable, and says what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
            path: path.to_owned(),
            source,
        })?;
        // A variable that is not UTF-8 cannot be an override: all overrides have names and values of text.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::parse(&text, &path.display().to_string(), environment)
    }

    /// Reads TOML text, applies the overrides from environment variables, and checks the result. Skips
    /// variables without [`ENV_PREFIX`].
    ///
    /// # Errors
    /// [`ConfigError`] says what is wrong, and calls the text by the name `origin`.
    pub fn parse(
        text: &str,
        origin: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let refused = |message: String| ConfigError::Parse {
            origin: origin.to_owned(),
            message,
        };
        let parse_error = |e: toml::de::Error| refused(e.to_string());
        let mut table: toml::Table = toml::from_str(text).map_err(parse_error)?;
        check_sections(&table).map_err(refused)?;
        let mut old_spellings = old_keys::replace(&mut table).map_err(refused)?;
        let overrides = overrides::apply(&mut table, environment, &mut old_spellings)?;
        // The text itself is decoded if nothing was changed, so that an error can name the line of the file.
        let config: NodeConfig = if overrides == 0 && old_spellings.is_empty() {
            toml::from_str(text).map_err(parse_error)?
        } else {
            table.try_into().map_err(parse_error)?
        };
        config.validate()?;
        Ok(Self {
            config,
            old_spellings,
        })
    }
}

/// Checks that sections are written as sections. Otherwise the values of a list would be taken for the keys
/// of a section in their order.
fn check_sections(table: &toml::Table) -> Result<(), String> {
    for section in schema::sections() {
        if table.get(section).is_some_and(|value| !value.is_table()) {
            return Err(format!(
                "`{section}` is a section: write [{section}], and its keys below it"
            ));
        }
    }
    let is_list = |value: &toml::Value| {
        let entries = value.as_array();
        entries.is_some_and(|entries| entries.iter().all(toml::Value::is_table))
    };
    match table.get("peers") {
        Some(peers) if !is_list(peers) => {
            Err("`peers` is a list of nodes: write [[peers]] for each, and its keys below it".to_owned())
        }
        _ => Ok(()),
    }
}

impl NodeConfig {
    /// Reads a file as [`LoadedConfig::load`] does, for a caller that tells nobody about old spellings.
    ///
    /// # Errors
    /// [`ConfigError`] names the file or the variable, and says what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Ok(LoadedConfig::load(path)?.config)
    }

    /// Returns whether the node does everything on one thread. It does not if `node.threads` is missing,
    /// because [`Node::start`](crate::Node::start) may then be called in any runtime.
    pub(crate) fn has_one_thread(&self) -> bool {
        self.node.threads == Some(1)
    }

    /// Returns the nodes of the cluster in order of their ids: [`NodeConfig::peers`], or this node alone.
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
