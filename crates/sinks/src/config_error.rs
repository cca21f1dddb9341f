//! Faults of a configuration.

use std::path::PathBuf;

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key or a value that is not known.
    #[error("{}: {source}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The fault, with its line.
        source: Box<toml::de::Error>,
    },
    /// A secret cannot be read.
    #[error("{name}: {reason}")]
    Secret {
        /// The setting.
        name: String,
        /// The fault, in words. Never the secret.
        reason: String,
    },
    /// A setting has a value that cannot work.
    #[error("sink {sink}: {reason}")]
    Sink {
        /// The name of the sink.
        sink: String,
        /// The fault, in words.
        reason: String,
    },
}
