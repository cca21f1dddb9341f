//! The reasons why a node did not start, or did not stop cleanly.

use holdfast_guard::certificates::CertificateFileError;
use holdfast_guard::policy::PolicyError;

use crate::directory::MembershipStartError;
use crate::stores::StoresError;

/// The reason why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] crate::ConfigError),
    /// A port cannot be listened on.
    #[error(
        "cannot listen on {address} ({key}): {source}; stop the process that uses it, or write an address of this machine"
    )]
    Listen {
        /// The key of the configuration.
        key: &'static str,
        /// The address that this key gives.
        address: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificateFileError),
    /// The access policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Stores(#[from] StoresError),
    /// The node cannot take its part in the cluster.
    #[error(transparent)]
    Membership(#[from] MembershipStartError),
    /// A server did not start.
    #[error("the {server} server did not start: {message}")]
    Server {
        /// The server's name.
        server: &'static str,
        /// The reason.
        message: String,
    },
    /// Bytes on the disk differ from what was written, and the node could not replace its data from the other
    /// nodes.
    #[error("{damage}. This node does not start on damaged data, and leaves the files as they are: {why}")]
    Damaged {
        /// The damage that was found.
        damage: String,
        /// The reason why the data was not replaced.
        why: String,
    },
}

/// The reason why a node did not stop cleanly. No acknowledged change is lost: the log was synced before each
/// answer.
#[derive(Debug, thiserror::Error)]
#[error("the node did not stop cleanly: {0}")]
pub struct StopError(pub String);
