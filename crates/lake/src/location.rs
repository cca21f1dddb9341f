//! A folder, or a prefix of an S3 bucket.

use std::sync::Arc;

use bytes::Bytes;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{GetResult, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions};
use url::Url;

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
        Self { store, prefix }
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
    pub async fn find(&self, path: &Path) -> Result<Option<GetResult>, object_store::Error> {
        match self.store.get(path).await {
            Ok(found) => Ok(Some(found)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a file that does not exist yet. Returns false, and changes nothing, when it exists.
    ///
    /// # Errors
    /// The store fails.
    pub async fn put_if_absent(&self, path: &Path, content: Bytes) -> Result<bool, object_store::Error> {
        let options = PutOptions {
            mode: PutMode::Create,
            ..PutOptions::default()
        };
        match self.store.put_opts(path, content.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(error),
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
    Ok(Location::new(Arc::new(store.with_fsync(true)), Path::default()))
}

fn bucket(url: &Url) -> Result<Location, String> {
    let name = url
        .host_str()
        .filter(|name| !name.is_empty())
        .ok_or("it names no bucket")?;
    let prefix = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
    let store = AmazonS3Builder::from_env().with_bucket_name(name).build();
    Ok(Location::new(
        Arc::new(store.map_err(|error| error.to_string())?),
        prefix,
    ))
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

    #[tokio::test]
    async fn a_file_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::open(folder.path().to_str().unwrap()).unwrap();
        let path = location.prefix().clone().join("a").join("b");
        assert!(location.find(&path).await.unwrap().is_none());
        assert!(location.put_if_absent(&path, "one".into()).await.unwrap());
        assert!(!location.put_if_absent(&path, "two".into()).await.unwrap());
        let found = location.find(&path).await.unwrap().unwrap();
        assert_eq!(found.bytes().await.unwrap(), "one");
    }
}
