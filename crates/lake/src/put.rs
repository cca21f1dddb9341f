//! Writes files, each once.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt as _, PutMode, PutOptions};

use crate::lock::LockUntil;
use crate::{Location, PutError, Sha256, clock};

/// How often a put is tried. Each try follows an answer that says nothing certain, or a conflict that is over
/// in a moment. `object_store` itself repeats what certainly did not reach the store.
const TRIES: u32 = 6;
/// The pause after the first try. It doubles each time.
const PAUSE: Duration = Duration::from_millis(50);

/// A file that is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The SHA-256 of its content.
    pub sha256: Sha256,
    /// The version id that the store gave it; None in a folder, and in a bucket without versions.
    pub version: Option<String>,
    /// False when the same content was there before.
    pub is_new: bool,
}

impl Location {
    /// Writes a file that does not exist yet. The same content may be there already; other content is an
    /// error, and stays as it is. S3 gets the SHA-256 and refuses content that differs from it. With
    /// [`Location::with_lock`] the file is locked for the configured days from `log_time_ms` on, which is in
    /// milliseconds since the Unix epoch. A lock that would already be over is left out.
    ///
    /// An answer may be lost, or another writer may have been faster. Both look the same to a second try: the
    /// file exists. Its content then decides.
    ///
    /// # Errors
    /// [`PutError`].
    pub async fn put_once(&self, path: &Path, content: Bytes, log_time_ms: u64) -> Result<Stored, PutError> {
        let sha256 = Sha256::of(&content);
        let mut pause = PAUSE;
        let mut tries = 1;
        loop {
            let options = self.options(path, log_time_ms)?;
            let error = match self.store().put_opts(path, content.clone().into(), options).await {
                Ok(put) => {
                    self.protect(path);
                    return Ok(Stored {
                        sha256,
                        version: put.version,
                        is_new: true,
                    });
                }
                Err(error) if is_certain(&error) => return Err(error.into()),
                Err(source) if self.lock_days().is_some() && says_no_lock(&source) => {
                    let path = path.to_string();
                    return Err(PutError::NoLock { path, source });
                }
                Err(error) => error,
            };
            if let Some(version) = self.same_content(path, &content, sha256).await? {
                return Ok(Stored {
                    sha256,
                    version,
                    is_new: false,
                });
            }
            if tries == TRIES {
                return Err(error.into());
            }
            tries += 1;
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    fn options(&self, path: &Path, log_time_ms: u64) -> Result<PutOptions, PutError> {
        let mut options = PutOptions::from(PutMode::Create);
        if let Some(days) = self.lock_days() {
            let until = LockUntil::after(log_time_ms, days).ok_or_else(|| PutError::NoLockDate {
                path: path.to_string(),
                log_time_ms,
                days,
            })?;
            if !until.is_over(clock::now_ms()) {
                options.extensions.insert(until);
            }
        }
        Ok(options)
    }

    /// Returns the version of the file if it has this content, and None when there is no file.
    async fn same_content(
        &self,
        path: &Path,
        content: &Bytes,
        sha256: Sha256,
    ) -> Result<Option<Option<String>>, PutError> {
        let found = match self.store().get(path).await {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let other = |found: String| PutError::OtherContent {
            path: path.to_string(),
            found,
        };
        let (size, version) = (found.meta.size, found.meta.version.clone());
        if size != content.len() as u64 {
            return Err(other(format!("it has {size} bytes instead of {}", content.len())));
        }
        let there = Sha256::of(&found.bytes().await?);
        if there != sha256 {
            return Err(other(format!("its SHA-256 is {there} instead of {sha256}")));
        }
        Ok(Some(version))
    }
}

/// Returns whether nothing was written and another try would fail in the same way.
fn is_certain(error: &Error) -> bool {
    matches!(
        error,
        Error::NotImplemented { .. }
            | Error::NotSupported { .. }
            | Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::InvalidPath { .. }
            | Error::UnknownConfigurationKey { .. }
    )
}

/// Returns whether S3 refused a lock because the bucket has none. It says so only in the text of its answer.
fn says_no_lock(error: &Error) -> bool {
    let text = error.to_string().replace(' ', "");
    text.contains("<Code>InvalidRequest</Code>") && text.contains("ObjectLockConfiguration")
}

#[cfg(test)]
mod tests;
