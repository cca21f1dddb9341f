//! The access policy in use, which follows its file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::policy::{AccessPolicy, PolicyError};
use crate::reloaded::Reloaded;

/// The access policy in use, reloaded when its file changes.
pub struct PolicyFile {
    path: PathBuf,
    current: RwLock<Arc<AccessPolicy>>,
    /// The last failure, kept so that it is reported only once.
    told: Mutex<Option<String>>,
}

impl PolicyFile {
    /// Reads the access policy from its file.
    ///
    /// # Errors
    /// [`PolicyError`] says what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        Ok(Self {
            path: path.to_owned(),
            current: RwLock::new(Arc::new(AccessPolicy::read(path)?)),
            told: Mutex::new(None),
        })
    }

    /// Returns the access policy in use.
    pub fn current(&self) -> Arc<AccessPolicy> {
        Arc::clone(&self.current.read())
    }

    /// Reads the file again, and uses its rules when they are new and valid.
    pub fn look_again(&self) -> Reloaded {
        match AccessPolicy::read(&self.path) {
            Ok(policy) => {
                *self.told.lock() = None;
                if policy == *self.current() {
                    return Reloaded::Unchanged;
                }
                *self.current.write() = Arc::new(policy);
                Reloaded::Swapped
            }
            Err(error) => {
                let message = error.to_string();
                let mut told = self.told.lock();
                if told.as_ref() == Some(&message) {
                    return Reloaded::Unchanged;
                }
                *told = Some(message.clone());
                Reloaded::Kept(message)
            }
        }
    }
}
