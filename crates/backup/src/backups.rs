//! The backups at one location.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt as _;
use holdfast_lake::{Location, PutError};
use object_store::ObjectStore;
use object_store::path::Path;
use uuid::Uuid;

use crate::{Backup, BackupError, Manifest};

const FOLDER: &str = "backups";
const MANIFEST: &str = "manifest.json";
/// The first file under a name. It names the backup that writes there.
const WRITER: &str = "writer";
const MAX_NAME_CHARS: usize = 64;
/// The largest manifest that is read. A shard needs some 300 bytes in it.
const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// The backups at one location.
#[derive(Debug, Clone)]
pub struct Backups {
    location: Location,
}

/// The content under one name.
#[derive(Debug)]
pub enum Listed {
    /// A complete backup.
    Whole(Manifest),
    /// Files without a manifest: the backup is still being written, or was interrupted.
    Unfinished {
        /// Its name.
        name: String,
    },
    /// A backup whose manifest cannot be used.
    Unusable {
        /// Its name.
        name: String,
        /// The fault of the manifest.
        error: BackupError,
    },
}

/// Checks that the name can be a folder's name on every system.
pub(crate) fn check_name(name: &str) -> Result<(), BackupError> {
    let known = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    if name.is_empty() || name.len() > MAX_NAME_CHARS || name.starts_with('.') || !name.chars().all(known) {
        return Err(BackupError::Name {
            name: name.to_owned(),
        });
    }
    Ok(())
}

impl Backups {
    /// Opens a location: a folder's path, `file:///folder`, or `s3://bucket/prefix`. A missing folder is
    /// made. Credentials, region and endpoint of S3 come from the usual `AWS_*` variables.
    ///
    /// # Errors
    /// [`BackupError::Location`]: it is not understood or not usable.
    pub fn open(place: &str) -> Result<Self, BackupError> {
        let location = Location::open(place)?;
        Ok(Self { location })
    }

    /// Opens a location like [`Backups::open`], for reading. A missing folder is an error, and is not made.
    ///
    /// # Errors
    /// The same as of [`Backups::open`].
    pub fn open_existing(place: &str) -> Result<Self, BackupError> {
        let location = Location::open_existing(place)?;
        Ok(Self { location })
    }

    /// Makes the backups below a prefix of a store.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path) -> Self {
        Self {
            location: Location::new(store, prefix),
        }
    }

    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    pub(crate) fn path(&self, name: &str, file: &str) -> Path {
        self.location.prefix().clone().join(FOLDER).join(name).join(file)
    }

    /// Lists everything there, by name.
    ///
    /// # Errors
    /// The store cannot be listed.
    pub async fn list(&self) -> Result<Vec<Listed>, BackupError> {
        let mut is_whole: BTreeMap<String, bool> = BTreeMap::new();
        let folder = self.location.prefix().clone().join(FOLDER);
        let mut objects = self.location.store().list(Some(&folder));
        while let Some(object) = objects.try_next().await? {
            let Some(rest) = object.location.prefix_match(&folder) else {
                continue;
            };
            let parts: Vec<_> = rest.collect();
            if let [name, file] = parts.as_slice() {
                *is_whole.entry(name.as_ref().to_owned()).or_default() |= file.as_ref() == MANIFEST;
            }
        }
        let mut listed = Vec::new();
        for (name, is_whole) in is_whole {
            listed.push(if is_whole {
                match self.backup(&name).await {
                    Ok(backup) => Listed::Whole(backup.manifest().clone()),
                    Err(error) => Listed::Unusable { name, error },
                }
            } else {
                Listed::Unfinished { name }
            });
        }
        Ok(listed)
    }

    /// Opens one backup. Its manifest is read and checked.
    ///
    /// # Errors
    /// No backup has that name, it is unfinished, or its manifest is damaged or of another version.
    pub async fn backup(&self, name: &str) -> Result<Backup, BackupError> {
        check_name(name)?;
        let path = self.path(name, MANIFEST);
        let bytes = match self.location.read_small(&path, MAX_MANIFEST_BYTES).await? {
            Some(bytes) => bytes,
            None => {
                let name = name.to_owned();
                return Err(match self.has_files(&name).await? {
                    true => BackupError::Unfinished { name },
                    false => BackupError::NotFound { name },
                });
            }
        };
        let manifest = Manifest::decode(name, path.as_ref(), &bytes)?;
        Ok(Backup::new(self.clone(), manifest))
    }

    /// Returns whether anything exists under this name.
    pub(crate) async fn has_files(&self, name: &str) -> Result<bool, BackupError> {
        let folder = self.location.prefix().clone().join(FOLDER).join(name);
        Ok(self.location.any_file(&folder).await?.is_some())
    }

    /// Claims a name for this backup. When several backups begin under one name at once, one of them goes on.
    ///
    /// # Errors
    /// [`BackupError::Exists`]: another backup has it.
    pub(crate) async fn claim(&self, name: &str, backup_id: Uuid) -> Result<(), BackupError> {
        self.create(name, WRITER, backup_id.to_string().into()).await
    }

    /// Completes the backup by writing its manifest. Never replaces another one.
    pub(crate) async fn finish(&self, manifest: &Manifest) -> Result<(), BackupError> {
        self.create(&manifest.name, MANIFEST, manifest.encode()?.into())
            .await
    }

    /// Writes a file that does not exist yet.
    async fn create(&self, name: &str, file: &str, content: Bytes) -> Result<(), BackupError> {
        // A backup is of no moment of one log, so no lock counts from its log time.
        match self.location.put_once(&self.path(name, file), content, 0).await {
            Ok(_) => Ok(()),
            Err(PutError::OtherContent { .. }) => Err(BackupError::Exists {
                name: name.to_owned(),
            }),
            Err(error) => Err(error.into()),
        }
    }
}
