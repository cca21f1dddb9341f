//! Errors of an archive.

use holdfast_lake::{LocationError, PutError, ReadError};
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
    /// A file was not written.
    #[error(transparent)]
    Put(#[from] PutError),
    /// A file was not read, or is not what was written.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A manifest entry is damaged, missing, or does not follow the one before.
    #[error("{path}: {what}; `holdfast archive verify` names everything that is wrong")]
    Manifest {
        /// The entry.
        path: String,
        /// The fault, in words.
        what: String,
    },
    /// A file is whole, and its changes are not those that its manifest entry names.
    #[error("{path}: {what}")]
    Content {
        /// The file.
        path: String,
        /// The fault, in words.
        what: String,
    },
    /// The name of a folder is not one of the archive.
    #[error("{path} does not belong into an archive: move it to another place")]
    ForeignFile {
        /// The folder.
        path: String,
    },
    /// The archive has files and no manifest.
    #[error(
        "{path} was written by an earlier version, whose archives have no manifest: export into a new place \
         (`holdfast changes export --to NEW`), as long as the nodes have all changes"
    )]
    OldLayout {
        /// One of the files.
        path: String,
    },
    /// The archive has files of another format.
    #[error("the archive has files of the format {found}, and not {wanted}: give a place of its own")]
    OtherFormat {
        /// The format of its last file.
        found: &'static str,
        /// The format of the writer.
        wanted: &'static str,
    },
    /// The log time of a change has no day.
    #[error("change {seq} has the log time {log_time_ms} ms, which is after the year 9999")]
    LogTime {
        /// The change.
        seq: u64,
        /// Its log time, in milliseconds since the Unix epoch.
        log_time_ms: u64,
    },
    /// Log time is earlier than that of the change before.
    #[error("change {seq} has the log time {log_time_ms} ms, after {before_ms} ms: the stream is damaged")]
    LogTimeWentBack {
        /// The change.
        seq: u64,
        /// Its log time, in milliseconds since the Unix epoch.
        log_time_ms: u64,
        /// The log time of the change before.
        before_ms: u64,
    },
    /// The changes of one file are too large together.
    #[error("a file of {rows} changes would have {bytes} bytes: write fewer rows into each file")]
    TooLarge {
        /// The number of changes.
        rows: usize,
        /// The bytes that they need.
        bytes: usize,
    },
    /// A thread that encodes or decodes a file ended early.
    #[error("a file could not be encoded or decoded because of a defect of this program: {0}")]
    Defect(String),
    /// Another exporter has archived other changes under the same numbers.
    #[error(
        "{path} has other changes under the same numbers: it belongs to another cluster, or the cluster has lost changes; \
         nothing was written"
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
    /// The archive has changes and does not name its cluster.
    #[error(
        "the archive has changes, and changes/owner.json is missing: it was removed; put it back, or export into a new place"
    )]
    NoOwner,
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
