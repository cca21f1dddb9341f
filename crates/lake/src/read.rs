//! Reads files and proves that they are what was written. Lists folders.

use bytes::Bytes;
use futures::TryStreamExt as _;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStoreExt as _};

use crate::{Location, ReadError, Sha256};

/// The description of a file as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The SHA-256 of its content.
    pub sha256: Sha256,
    /// Its size.
    pub bytes: u64,
    /// The version to read; None reads the newest one.
    pub version: Option<String>,
}

impl Location {
    /// Reads a file and checks its size and its SHA-256. A file of another size is not read.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn read_checked(&self, path: &Path, expected: &Expected) -> Result<Bytes, ReadError> {
        let options = GetOptions {
            version: expected.version.clone(),
            ..GetOptions::default()
        };
        let found = match self.store().get_opts(path, options).await {
            Ok(found) => found,
            Err(object_store::Error::NotFound { .. }) => {
                return Err(ReadError::Missing {
                    path: path.to_string(),
                });
            }
            Err(error) => return Err(error.into()),
        };
        let changed = |what: String| ReadError::Changed {
            path: path.to_string(),
            what,
        };
        if found.meta.size != expected.bytes {
            let (size, written) = (found.meta.size, expected.bytes);
            return Err(changed(format!("it has {size} bytes, {written} were written")));
        }
        let bytes = found.bytes().await?;
        let sha256 = Sha256::of(&bytes);
        if sha256 != expected.sha256 {
            let written = expected.sha256;
            return Err(changed(format!(
                "its SHA-256 is {sha256}, that of what was written is {written}"
            )));
        }
        Ok(bytes)
    }

    /// Reads a file of at most this many bytes. Returns None when it does not exist.
    ///
    /// # Errors
    /// [`ReadError::Changed`] when it is larger; [`ReadError::Store`].
    pub async fn read_small(&self, path: &Path, limit_bytes: u64) -> Result<Option<Bytes>, ReadError> {
        match self.find(path).await? {
            Some(found) if found.meta.size > limit_bytes => Err(ReadError::Changed {
                path: path.to_string(),
                what: format!(
                    "it has {} bytes, at most {limit_bytes} are allowed",
                    found.meta.size
                ),
            }),
            Some(found) => Ok(Some(found.bytes().await?)),
            None => Ok(None),
        }
    }

    /// Describes the newest version of a file. Returns None when it does not exist or is marked as deleted.
    ///
    /// # Errors
    /// The store fails.
    pub async fn newest(&self, path: &Path) -> Result<Option<ObjectMeta>, ReadError> {
        match self.store().head(path).await {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Lists the names of the folders directly in a folder, in byte order. A folder that does not exist is
    /// empty.
    ///
    /// # Errors
    /// The store fails.
    pub async fn list_folders(&self, folder: &Path) -> Result<Vec<String>, ReadError> {
        let found = self.store().list_with_delimiter(Some(folder)).await?;
        let name = |path: &Path| path.filename().map(str::to_owned);
        let mut folders: Vec<String> = found.common_prefixes.iter().filter_map(name).collect();
        folders.sort_unstable();
        Ok(folders)
    }

    /// Lists the files below a folder, in byte order, each relative to the folder. A folder that does not
    /// exist is empty. The listing ends when there are too many, so its memory is bounded.
    ///
    /// # Errors
    /// [`ReadError::TooMany`] when there are more than `limit` files; [`ReadError::Store`].
    pub async fn list_files(&self, folder: &Path, limit: usize) -> Result<Vec<String>, ReadError> {
        let mut files = Vec::new();
        let mut found = self.store().list(Some(folder));
        while let Some(file) = found.try_next().await? {
            if files.len() == limit {
                return Err(ReadError::TooMany {
                    folder: folder.to_string(),
                    limit,
                });
            }
            let parts = file.location.prefix_match(folder).into_iter().flatten();
            files.push(parts.collect::<Path>().to_string());
        }
        files.sort_unstable();
        Ok(files)
    }

    /// Returns some file below a folder, at any depth, or None when there is none.
    ///
    /// # Errors
    /// The store fails.
    pub async fn any_file(&self, folder: &Path) -> Result<Option<Path>, ReadError> {
        let found = self.store().list(Some(folder)).try_next().await?;
        Ok(found.map(|file| file.location))
    }
}

#[cfg(test)]
mod tests;
