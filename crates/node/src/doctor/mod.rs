//! The examination of a node from outside: its configuration, disk, ports, peers and clock. It works whether
//! the node runs or not, and changes nothing.

mod certificate;
mod data;
mod descriptors;
mod network;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use crate::NodeConfig;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The area is as it should be.
    Good,
    /// The finding is worth a look, but the node can work.
    Warning,
    /// The node cannot work, or cannot work safely.
    Problem,
}

/// The area that was examined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Area {
    /// The configuration.
    Configuration,
    /// The data folder.
    Disk,
    /// The addresses to listen on.
    Ports,
    /// The other nodes.
    Peers,
    /// The wall clocks.
    Clock,
    /// This node's certificate.
    Certificate,
    /// The ledgers of the shards.
    Ledger,
    /// The limit of file descriptors.
    Descriptors,
}

/// One result of an examination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The area that was examined.
    pub area: Area,
    /// The severity of the finding.
    pub severity: Severity,
    /// The text for the operator.
    pub message: String,
    /// The advice; empty where nothing has to be done.
    pub advice: String,
}

impl Finding {
    fn good(area: Area, message: impl Into<String>) -> Self {
        Self {
            area,
            severity: Severity::Good,
            message: message.into(),
            advice: String::new(),
        }
    }

    fn warning(area: Area, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            area,
            severity: Severity::Warning,
            message: message.into(),
            advice: advice.into(),
        }
    }

    fn problem(area: Area, message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            area,
            severity: Severity::Problem,
            message: message.into(),
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Warning => "warning",
            Self::Problem => "problem",
        })
    }
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configuration => "configuration",
            Self::Disk => "disk",
            Self::Ports => "ports",
            Self::Peers => "peers",
            Self::Clock => "clock",
            Self::Certificate => "certificate",
            Self::Ledger => "ledger",
            Self::Descriptors => "descriptors",
        })
    }
}

/// Examines the node that this configuration describes. The worst severity found is the verdict.
pub async fn examine(config: &NodeConfig) -> Vec<Finding> {
    let mut findings = vec![match config.validate() {
        Ok(()) => Finding::good(Area::Configuration, "the configuration is valid"),
        Err(error) => Finding::problem(
            Area::Configuration,
            error.to_string(),
            "correct the configuration",
        ),
    }];
    findings.push(descriptors::examine(config));
    findings.extend(data::examine(config).await);
    let (tls, found) = certificate::examine(config);
    findings.extend(found);
    findings.extend(network::examine(config, tls.as_ref()).await);
    findings
}
