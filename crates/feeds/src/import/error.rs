//! Failures of an import.

use std::io;
use std::path::PathBuf;

use holdfast_client::ClientError;

use super::applied::ScanError;
use super::rejects_file::RejectsFileError;
use super::state::StateError;

/// The reason why an import could not begin, or could not write its files.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The cluster did not answer a question.
    #[error("the cluster did not answer a question")]
    Client(#[from] ClientError),
    /// Slots without a shard would cause rejects only because the topology is incomplete at the moment.
    #[error("the cluster's topology is not whole: {owned} of {slots} slots have a shard")]
    TopologyNotWhole {
        /// Slots that have a shard.
        owned: u64,
        /// All slots.
        slots: u32,
    },
    /// A path cannot be made absolute.
    #[error("{:?} is no file name", path.display().to_string())]
    NoFileName {
        /// The path.
        path: PathBuf,
        /// The fault of the path.
        source: io::Error,
    },
    /// Two of the files of an import are one file.
    #[error("the order file, --state and --rejects must be three files")]
    NotThreeFiles,
    /// The lock of the source cannot be written.
    #[error("cannot write {}", path.display())]
    Lock {
        /// Path of the lock.
        path: PathBuf,
        /// The fault of the file system.
        source: io::Error,
    },
    /// Another import of the source has the lock.
    #[error(
        "another import of the source {source_name} is running; wait for its end, or name another source with \
         --source"
    )]
    SourceBusy {
        /// Name of the source.
        source_name: String,
    },
    /// The state file is not usable.
    #[error(transparent)]
    State(#[from] StateError),
    /// The changes of earlier imports cannot be read.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// A document of this very file took effect under other ids.
    #[error(
        "document {document} of this very file is in the ledger already, under another --source, by another \
         mapping, or by an older version of this program: to import the file again would do it twice. Name the \
         same --source and --mapping as then"
    )]
    ImportedOtherwise {
        /// The document's number.
        document: String,
    },
    /// The rejects file cannot be written.
    #[error(transparent)]
    RejectsFile(#[from] RejectsFileError),
}

/// The reason why a run did not come to the end of its plan.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// An operation, or a look at a reservation, has no outcome.
    #[error("an operation has no outcome")]
    Client(#[from] ClientError),
    /// An operation was refused for a reason that all later operations would meet too.
    #[error("{advice}")]
    Pointless {
        /// The remedy, for a person.
        advice: &'static str,
        /// The refusal.
        source: ClientError,
    },
    /// The initial stock was refused. The text is the refusal's message.
    #[error("cannot stock the cells: {0}")]
    NotStocked(String),
    /// The target returned fewer answers than it got operations.
    #[error("an operation was not answered")]
    Unanswered,
    /// A shard did not give back in time what it had taken for a refused sale.
    #[error("document {document} was refused, and shard {shard} still holds units for it")]
    StillHeld {
        /// The document's number.
        document: String,
        /// The shard.
        shard: u32,
    },
    /// The caller did not want to wait for the operations in flight.
    #[error("stopped at once; the next run settles the operations in flight")]
    StoppedAtOnce,
    /// The state file could not be written during the run.
    #[error(transparent)]
    State(#[from] StateError),
}
