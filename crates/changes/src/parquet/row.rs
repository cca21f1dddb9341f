//! One row of archived changes: whether the values of a change fit their columns.

use parquet::errors::ParquetError;

/// The columns cannot hold a change, or the writer fails.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// A number does not fit its column.
    #[error("change {seq}: {column} is {value}, more than its column holds")]
    OutOfRange {
        /// The change.
        seq: u64,
        /// The column.
        column: &'static str,
        /// The number.
        value: u64,
    },
    /// An enum's number has no name in this version.
    #[error("change {seq}: {column} has the number {value}, which this version does not know")]
    UnknownNumber {
        /// The change.
        seq: u64,
        /// The column.
        column: &'static str,
        /// The number.
        value: i32,
    },
    /// One bucket moved twice in one change.
    #[error("change {seq} moves {bucket} twice")]
    BucketTwice {
        /// The change.
        seq: u64,
        /// The bucket's name.
        bucket: &'static str,
    },
    /// An id is not 16 bytes.
    #[error("change {seq}: {column} has {bytes} bytes instead of 16")]
    NotAUuid {
        /// The change.
        seq: u64,
        /// The column.
        column: &'static str,
        /// The number of its bytes.
        bytes: usize,
    },
    /// The Parquet writer failed.
    #[error("cannot write the Parquet file: {0}")]
    Parquet(#[from] ParquetError),
    /// The Arrow arrays failed.
    #[error("cannot build the rows: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
}

/// The row of a change, to name the change in an error.
#[derive(Clone, Copy)]
pub(super) struct Row {
    pub(super) seq: u64,
}

impl Row {
    pub(super) fn int32(self, column: &'static str, value: u32) -> Result<i32, EncodeError> {
        let error = EncodeError::OutOfRange {
            seq: self.seq,
            column,
            value: u64::from(value),
        };
        i32::try_from(value).map_err(|_| error)
    }

    pub(super) fn int64(self, column: &'static str, value: u64) -> Result<i64, EncodeError> {
        i64::try_from(value).map_err(|_| EncodeError::OutOfRange {
            seq: self.seq,
            column,
            value,
        })
    }

    pub(super) fn uuid(self, column: &'static str, bytes: &[u8]) -> Result<String, EncodeError> {
        let error = EncodeError::NotAUuid {
            seq: self.seq,
            column,
            bytes: bytes.len(),
        };
        uuid::Uuid::from_slice(bytes)
            .map(|id| id.to_string())
            .map_err(|_| error)
    }

    pub(super) fn unknown_number(self, column: &'static str, value: i32) -> EncodeError {
        EncodeError::UnknownNumber {
            seq: self.seq,
            column,
            value,
        }
    }
}
