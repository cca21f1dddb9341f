//! Finds the object store and the prefix that a person's text means.

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use url::Url;

use super::ArchiveError;

/// The treatment of a missing folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folder {
    /// The folder is made.
    Make,
    /// The place is refused.
    MustExist,
}

/// Opens the object store of a place, and returns the prefix in it. A place is a folder's path,
/// `file:///folder`, or `s3://bucket/prefix`. Credentials, region and endpoint of S3 come from the usual
/// `AWS_*` variables.
///
/// # Errors
/// [`ArchiveError::Location`]: the place is not understood or not usable.
pub fn open(place: &str, missing: Folder) -> Result<(Arc<dyn ObjectStore>, Path), ArchiveError> {
    let unusable = |reason: String| ArchiveError::Location {
        place: place.to_owned(),
        reason,
    };
    if place.is_empty() {
        return Err(unusable("it is empty".into()));
    }
    if !place.contains("://") {
        return folder(std::path::Path::new(place), missing).map_err(unusable);
    }
    let url = Url::parse(place).map_err(|error| unusable(error.to_string()))?;
    match url.scheme() {
        "file" => {
            let path = url.to_file_path();
            folder(
                &path.map_err(|()| unusable("it names no local folder".into()))?,
                missing,
            )
            .map_err(unusable)
        }
        "s3" | "s3a" => bucket(&url).map_err(unusable),
        other => Err(unusable(format!("{other}:// is not supported"))),
    }
}

/// Opens a folder whose files are synced before they count as written.
fn folder(path: &std::path::Path, missing: Folder) -> Result<(Arc<dyn ObjectStore>, Path), String> {
    if missing == Folder::Make {
        std::fs::create_dir_all(path).map_err(|error| error.to_string())?;
    } else if !path.is_dir() {
        return Err("there is no such folder".into());
    }
    let store = LocalFileSystem::new_with_prefix(path).map_err(|error| error.to_string())?;
    Ok((Arc::new(store.with_fsync(true)), Path::default()))
}

fn bucket(url: &Url) -> Result<(Arc<dyn ObjectStore>, Path), String> {
    let name = url
        .host_str()
        .filter(|name| !name.is_empty())
        .ok_or("it names no bucket")?;
    let prefix = Path::from_url_path(url.path()).map_err(|error| error.to_string())?;
    let store = AmazonS3Builder::from_env().with_bucket_name(name).build();
    Ok((Arc::new(store.map_err(|error| error.to_string())?), prefix))
}
