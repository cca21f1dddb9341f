//! A folder, or a prefix of an S3 bucket.

use std::sync::Arc;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, Checksum};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetResult, ObjectStore, ObjectStoreExt as _};
use url::Url;

use crate::lock::LockingConnector;

/// The region when no variable names one, which is also that of `object_store`.
const DEFAULT_REGION: &str = "us-east-1";

/// A text that names no usable location.
#[derive(Debug, thiserror::Error)]
#[error("{location} cannot be used: {reason}; write a folder, file:///folder or s3://bucket/prefix")]
pub struct LocationError {
    /// The location as it was given.
    pub location: String,
    /// The fault, in words.
    pub reason: String,
}

/// A store, and the prefix below which its files are.
#[derive(Debug, Clone)]
pub struct Location {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    /// The same store, if it is a folder.
    folder: Option<Arc<LocalFileSystem>>,
    is_bucket: bool,
    /// The days for which new files are locked.
    lock_days: Option<u32>,
}

/// The treatment of a missing folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Make,
    Refuse,
}

impl Location {
    /// Opens a location: a folder's path, `file:///folder`, or `s3://bucket/prefix`. A missing folder is
    /// made. Credentials, region and endpoint of S3 come from the usual `AWS_*` variables.
    ///
    /// # Errors
    /// [`LocationError`]: it is not understood or not usable.
    pub fn open(location: &str) -> Result<Self, LocationError> {
        open(location, Missing::Make)
    }

    /// Opens a location like [`Location::open`], for reading. A missing folder is an error, and is not made.
    ///
    /// # Errors
    /// The same as of [`Location::open`].
    pub fn open_existing(location: &str) -> Result<Self, LocationError> {
        open(location, Missing::Refuse)
    }

    /// Makes the location below a prefix of a store.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self {
            store,
            prefix,
            folder: None,
            is_bucket: false,
            lock_days: None,
        }
    }

    /// Returns the store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Returns the prefix of all files here.
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Reads a file. Returns None when it does not exist.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn find(&self, path: &Path) -> Result<Option<GetResult>, object_store::Error> {
        match self.store.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Locks each file that is written from here on, for this many days from its log time. In S3 the lock has
    /// the mode `COMPLIANCE`: nobody can delete a locked file, or shorten the lock, before its date. The
    /// bucket needs versions and object lock.
    ///
    /// # Errors
    /// [`LocationError`]: a folder has no locks.
    pub fn with_lock(mut self, days: u32) -> Result<Self, LocationError> {
        if !self.is_bucket {
            return Err(LocationError {
                location: "the folder".to_owned(),
                reason: "a folder cannot lock files until a date: leave the lock out, or use a bucket with object lock \
                         (files in a folder are only made read-only, which their owner can undo)"
                    .to_owned(),
            });
        }
        self.lock_days = Some(days);
        Ok(self)
    }

    /// Returns for how many days files are locked, if they are.
    pub(crate) fn lock_days(&self) -> Option<u32> {
        self.lock_days
    }

    /// Makes a file read-only if it is in a folder. This only prevents mistakes, so a failure is ignored.
    pub(crate) fn protect(&self, path: &Path) {
        let file = self
            .folder
            .as_ref()
            .and_then(|folder| folder.path_to_filesystem(path).ok());
        let Some(file) = file else { return };
        if let Ok(metadata) = std::fs::metadata(&file) {
            let mut permissions = metadata.permissions();
            permissions.set_readonly(true);
            drop(std::fs::set_permissions(&file, permissions));
        }
    }
}

fn open(location: &str, missing: Missing) -> Result<Location, LocationError> {
    find_store(location, missing).map_err(|reason| LocationError {
        location: location.to_owned(),
        reason,
    })
}

fn find_store(location: &str, missing: Missing) -> Result<Location, String> {
    if location.is_empty() {
        return Err("it is empty".into());
    }
    if !location.contains("://") {
        return folder(std::path::Path::new(location), missing);
    }
    let url = Url::parse(location).map_err(|error| error.to_string())?;
    match url.scheme() {
        "file" => {
            let path = url.to_file_path().map_err(|()| "it names no local folder")?;
            folder(&path, missing)
        }
        "s3" | "s3a" => bucket(&url),
        other => Err(format!("{other}:// is not supported")),
    }
}

/// Opens a folder whose files are synced before they count as written.
fn folder(path: &std::path::Path, missing: Missing) -> Result<Location, String> {
    if missing == Missing::Make {
        std::fs::create_dir_all(path).map_err(|error| error.to_string())?;
    } else if !path.is_dir() {
        return Err("there is no such folder".into());
    }
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| error.to_string())?;
    let store = Arc::new(store.with_fsync(true));
    Ok(Location {
        folder: Some(Arc::clone(&store)),
        ..Location::new(store, Path::default())
    })
}

fn bucket(url: &Url) -> Result<Location, String> {
    let name = url
        .host_str()
        .filter(|name| !name.is_empty())
        .ok_or("it names no bucket")?;
    let prefix = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
    let builder = AmazonS3Builder::from_env()
        .with_bucket_name(name)
        .with_checksum_algorithm(Checksum::SHA256);
    let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
    // The first store only finds the credentials, with which requests that lock a file are signed again.
    let credentials = builder.clone().build().map_err(|error| error.to_string())?;
    let connector = LockingConnector {
        credentials: Arc::clone(credentials.credentials()),
        region: region.unwrap_or_else(|| DEFAULT_REGION.to_owned()),
    };
    let store = builder
        .with_credentials(Arc::clone(credentials.credentials()))
        .with_http_connector(connector)
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Location {
        is_bucket: true,
        ..Location::new(Arc::new(store), prefix)
    })
}

/// Returns the whole path of a folder, so that the place means the same everywhere. A URL, and no place at
/// all, stay as they are.
///
/// # Errors
/// [`LocationError`]: the path is not UTF-8, or this process has no working folder.
pub fn whole_place(place: &str) -> Result<String, LocationError> {
    if place.is_empty() || place.contains("://") {
        return Ok(place.to_owned());
    }
    let wrong = |reason: String| LocationError {
        location: place.to_owned(),
        reason,
    };
    let path = std::path::absolute(place).map_err(|error| wrong(error.to_string()))?;
    match path.to_str() {
        Some(path) => Ok(path.to_owned()),
        None => Err(wrong("its whole path is not UTF-8".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_no_store_is_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let missing = missing.to_str().unwrap();
        for (location, reason) in [
            ("", "it is empty"),
            ("ftp://host/x", "ftp:// is not supported"),
            ("s3://", "bucket"),
            (missing, "there is no such folder"),
        ] {
            let error = Location::open_existing(location).unwrap_err().to_string();
            assert!(
                error.contains(reason) && error.contains("write a folder"),
                "{error}"
            );
        }
        Location::open(missing).unwrap();
        Location::open_existing(&format!("file://{missing}")).unwrap();
    }

    #[test]
    fn a_folder_refuses_a_lock_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::open(folder.path().to_str().unwrap()).unwrap();
        let error = location.with_lock(180).unwrap_err().to_string();
        assert!(error.contains("a folder cannot lock files"), "{error}");
    }
}
