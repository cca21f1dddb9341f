//! Errors of an archive.

use holdfast_lake::LocationError;
use uuid::Uuid;

use crate::cursor::SequenceError;
use crate::json::JsonError;
use crate::parquet::{DecodeError, EncodeError};

/// The reason why something was not archived or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The location is not understood or not usable.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The object store failed.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// The files of a shard do not follow each other.
    #[error(
        "shard {shard}: the file {path} is where a file that begins with change {expected} should be; \
         two archives are mixed, or a file was removed"
    )]
    NotContiguous {
        /// The shard.
        shard: u32,
        /// The change that the next file should begin with.
        expected: u64,
        /// The file that is there.
        path: String,
    },
    /// A file was not written by the archive, or its content does not match its name.
    #[error("{path} was not written by this archive, because its name does not fit its content")]
    ForeignFile {
        /// The file.
        path: String,
    },
    /// A file with this name exists and has other changes.
    #[error(
        "{path} exists and has other changes: it belongs to another cluster, or somebody changed it; nothing was written"
    )]
    OtherContent {
        /// The file.
        path: String,
    },
    /// The archive holds the history of another cluster.
    #[error(
        "the archive holds the history of cluster {owner}, this is cluster {cluster}; give a place of its own, or after a \
         restore cut the archive first (holdfast backup cut-archive)"
    )]
    OtherCluster {
        /// The cluster of the archive.
        owner: Uuid,
        /// The cluster that wants to continue it.
        cluster: Uuid,
    },
    /// The archive was cut at a backup for a restored cluster, and this is the cluster that was backed up.
    #[error(
        "the archive was cut at a backup of cluster {cluster} for the cluster that is restored from it; {cluster} itself \
         goes on in its own archive"
    )]
    CutForRestored {
        /// The cluster that was backed up.
        cluster: Uuid,
    },
    /// The archive was cut at a backup from which this cluster was not restored.
    #[error(
        "the archive was cut at a backup of cluster {backed_up} whose last change of shard {shard} is {last_seq}; the stream of \
         cluster {cluster} does not begin behind it, so it was not restored from that backup"
    )]
    NotRestoredFrom {
        /// The cluster that wants to continue it.
        cluster: Uuid,
        /// The cluster that was backed up.
        backed_up: Uuid,
        /// The shard.
        shard: u32,
        /// The backup's last change of the shard.
        last_seq: u64,
    },
    /// The archive was cut at another backup.
    #[error("this place has an archive that was cut at another backup: give an empty place")]
    OtherCut,
    /// The cluster's stream ends before the archive does.
    #[error(
        "the archive of shard {shard} ends with change {archived}, the cluster's stream with {last_seq}: the cluster \
         has lost changes, or this is not its archive"
    )]
    EndsBefore {
        /// The shard.
        shard: u32,
        /// The last archived change.
        archived: u64,
        /// The last change of the stream.
        last_seq: u64,
    },
    /// A small file of the archive is damaged.
    #[error("{path} cannot be read: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// The fault, in words.
        reason: String,
    },
    /// The stream has a gap or a broken entry.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// A change does not fit the columns.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A Parquet file is damaged.
    #[error("{path}: {source}")]
    Decode {
        /// The file.
        path: String,
        /// The fault.
        source: DecodeError,
    },
    /// A change cannot be written as JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A file of JSON lines is damaged.
    #[error("{path}, line {line}: {source}")]
    DecodeJson {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The fault.
        source: JsonError,
    },
}
