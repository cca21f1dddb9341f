//! Writes large files in parts.

use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectStore;
use object_store::buffered::BufWriter;
use object_store::path::Path;
use tokio::io::AsyncWriteExt as _;

use crate::{Location, PutError};

/// A file that is being written in parts. It appears when it is [finished](Upload::finish), or not at all.
/// The caller must know by other means that nobody else writes a file of this name.
#[derive(Debug)]
pub struct Upload {
    writer: BufWriter,
}

impl Location {
    /// Begins to write a file in parts, for content that does not fit into memory.
    pub fn upload(&self, path: &Path) -> Upload {
        Upload {
            writer: BufWriter::new(Arc::clone(self.store()) as Arc<dyn ObjectStore>, path.clone()),
        }
    }
}

impl Upload {
    /// Adds bytes at the end.
    ///
    /// # Errors
    /// The store fails. Drop the upload after [`Upload::abort`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), PutError> {
        Ok(self.writer.put(bytes).await?)
    }

    /// Completes the file.
    ///
    /// # Errors
    /// The store fails, and the file does not exist.
    pub async fn finish(mut self) -> Result<(), PutError> {
        self.writer
            .shutdown()
            .await
            .map_err(|error| match error.downcast() {
                Ok(error) => PutError::Store(error),
                Err(error) => PutError::Store(object_store::Error::Generic {
                    store: "upload",
                    source: error.into(),
                }),
            })
    }

    /// Gives up, and removes the parts that the store has already taken.
    ///
    /// # Errors
    /// The store fails. It may keep the parts until its own rules remove them.
    pub async fn abort(mut self) -> Result<(), PutError> {
        Ok(self.writer.abort().await?)
    }
}
