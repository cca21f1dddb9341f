//! The formats of archived files.

use bytes::Bytes;
use holdfast_api::v1::Change;
use object_store::path::Path;

use super::ArchiveError;
use crate::{json, parquet};

/// The format in which the changes of a file are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// [`crate::parquet`], for the warehouse.
    Parquet,
    /// [`crate::json`], one line for each change.
    Jsonl,
}

impl Format {
    /// Returns the end of its file names, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Jsonl => "jsonl",
        }
    }

    pub(super) fn encode(self, changes: &[Change]) -> Result<Bytes, ArchiveError> {
        match self {
            Self::Parquet => Ok(parquet::encode(changes)?),
            Self::Jsonl => {
                let mut lines = String::new();
                for change in changes {
                    lines.push_str(&json::encode(change)?);
                    lines.push('\n');
                }
                Ok(lines.into())
            }
        }
    }

    pub(super) fn decode(self, path: &Path, file: Bytes) -> Result<Vec<Change>, ArchiveError> {
        match self {
            Self::Parquet => parquet::decode(file).map_err(|source| ArchiveError::Decode {
                path: path.to_string(),
                source,
            }),
            Self::Jsonl => {
                let lines = file.split_inclusive(|byte| *byte == b'\n').enumerate();
                let decode = |(at, line): (usize, &[u8])| {
                    json::decode(line).map_err(|source| ArchiveError::DecodeJson {
                        path: path.to_string(),
                        line: at + 1,
                        source,
                    })
                };
                lines.map(decode).collect()
            }
        }
    }
}
