//! Looks at a node from outside: its configuration, its disk, its ports, its peers, its clock. Works whether the node runs
//! or not, and changes nothing.

mod certificate;
mod data;
mod descriptors;
mod network;

#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

use crate::NodeConfig;

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Good,
    /// Worth a look; the node can work.
    Warning,
    /// The node cannot work, or not safely.
    Problem,
}

/// What was looked at.
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

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub area: Area,
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub message: String,
    /// What to do about it; empty where nothing is to do.
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
