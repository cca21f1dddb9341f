//! Errors of files in a location.

/// The reason why a file was not written.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The name is taken by a file with other content. Nothing was written.
    #[error("{path} exists and has other content: {found}; nothing was written")]
    OtherContent {
        /// The file.
        path: String,
        /// The content that is there, in words.
        found: String,
    },
    /// The bucket takes no locks.
    #[error(
        "{path} cannot be locked, because the bucket has no object lock: make one with versions and object lock, or write \
         without a lock ({source})"
    )]
    NoLock {
        /// The file.
        path: String,
        /// The answer of the store.
        source: object_store::Error,
    },
    /// The date of a lock cannot be computed.
    #[error("{path} cannot be locked: log time {log_time_ms} ms and {days} days make no date")]
    NoLockDate {
        /// The file.
        path: String,
        /// The log time from which the lock counts.
        log_time_ms: u64,
        /// The days of the lock.
        days: u32,
    },
    /// The object store failed.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
}

/// The reason why the content of a file is not known.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file does not exist.
    #[error("{path} is missing")]
    Missing {
        /// The file.
        path: String,
    },
    /// The file is not the one that was written.
    #[error("{path} was changed: {what}")]
    Changed {
        /// The file.
        path: String,
        /// The difference, in words.
        what: String,
    },
    /// A folder has more files than a reader takes.
    #[error("{folder} has more than {limit} files: that is more than this program reads from one folder")]
    TooMany {
        /// The folder.
        folder: String,
        /// The most files that are read.
        limit: usize,
    },
    /// The object store failed.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
}
