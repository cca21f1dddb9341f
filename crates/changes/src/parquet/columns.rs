//! The typed columns of a batch of archived changes.

use arrow_array::{Array, RecordBatch, StringArray};
use parquet::errors::ParquetError;

/// A file is not an archived one, or is damaged.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file is not readable as Parquet.
    #[error("cannot read the Parquet file: {0}")]
    Parquet(#[from] ParquetError),
    /// A batch of rows cannot be read.
    #[error("cannot read the rows: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// The columns are not those of an archived change.
    #[error("column {column} is missing or not of type {expected}")]
    Column {
        /// The column.
        column: String,
        /// The column that is expected.
        expected: String,
    },
    /// The file is damaged in a way that the Parquet library does not expect.
    #[error("the file is damaged: the Parquet library cannot read it")]
    Damaged,
    /// A value is not allowed in its column.
    #[error("row {row}: {column} has a value that is not allowed there")]
    Value {
        /// The row of the file, from 0.
        row: u64,
        /// The column.
        column: &'static str,
    },
}

pub(super) fn column<'a, A>(
    batch: &'a RecordBatch,
    name: &str,
    as_type: impl Fn(&'a dyn Array) -> Option<&'a A>,
) -> Result<&'a A, DecodeError> {
    let array = batch.column_by_name(name).map(AsRef::as_ref);
    array.and_then(as_type).ok_or_else(|| DecodeError::Column {
        column: name.to_owned(),
        expected: std::any::type_name::<A>().to_owned(),
    })
}

pub(super) fn text(array: &StringArray, at: usize) -> String {
    if array.is_null(at) {
        String::new()
    } else {
        array.value(at).to_owned()
    }
}
