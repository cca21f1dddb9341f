//! The formats of archived files.

use bytes::Bytes;
use holdfast_api::v1::Change;

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

    /// Returns the format of files with this end of their names.
    pub(super) fn of_extension(extension: &str) -> Option<Self> {
        [Self::Parquet, Self::Jsonl]
            .into_iter()
            .find(|format| format.extension() == extension)
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

    /// Reads the changes of a file, some thousands at a time.
    pub(super) fn decode_in_parts(
        self,
        path: &str,
        file: Bytes,
        mut take: impl FnMut(Vec<Change>) -> Result<(), ArchiveError>,
    ) -> Result<(), ArchiveError> {
        match self {
            Self::Parquet => {
                let unreadable = |source| ArchiveError::Decode {
                    path: path.to_owned(),
                    source,
                };
                for changes in parquet::Decoder::open(file).map_err(unreadable)? {
                    take(changes.map_err(unreadable)?)?;
                }
            }
            Self::Jsonl => {
                for (at, line) in file.split_inclusive(|byte| *byte == b'\n').enumerate() {
                    let change = json::decode(line).map_err(|source| ArchiveError::DecodeJson {
                        path: path.to_owned(),
                        line: at + 1,
                        source,
                    })?;
                    take(vec![change])?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn decode(self, path: &str, file: Bytes) -> Result<Vec<Change>, ArchiveError> {
        let mut all = Vec::new();
        self.decode_in_parts(path, file, |changes| {
            all.extend(changes);
            Ok(())
        })?;
        Ok(all)
    }
}
