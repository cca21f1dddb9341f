//! Errors that every file in a data directory can have, whoever reads or writes it.

use std::io;
use std::sync::Arc;

/// Reason why a file could not be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FileError {
    /// The operating system refused.
    #[error("cannot {operation} {file}: {source}")]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The file, relative to the data directory.
        file: String,
        /// Error of the operating system.
        source: Arc<io::Error>,
    },
    /// Bytes that were once synced differ from those that were written. They are never served.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Corrupt {
        /// The file, relative to the data directory.
        file: String,
        /// Offset in bytes.
        offset: u64,
        /// Description of the damage.
        what: String,
    },
    /// The file was written by another version of this program.
    #[error(
        "{file} has format version {found}, and this program reads version {supported}; use the program that wrote the file"
    )]
    UnknownVersion {
        /// The file, relative to the data directory.
        file: String,
        /// The version in the file.
        found: u32,
        /// The version this program reads.
        supported: u32,
    },
}

impl FileError {
    /// Returns a function that makes an [`FileError::Io`] of an operating system's error. Copies the path
    /// only when there is an error.
    pub(crate) fn io(operation: &'static str, file: &str) -> impl FnOnce(io::Error) -> FileError {
        move |source| FileError::Io {
            operation,
            file: file.to_owned(),
            source: Arc::new(source),
        }
    }

    /// Returns whether bytes on disk differ from those that were written.
    pub fn is_damage(&self) -> bool {
        matches!(self, FileError::Corrupt { .. })
    }
}
