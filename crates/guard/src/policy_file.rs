//! The policy in use, and its file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use crate::policy::{Policy, PolicyError};
use crate::reloaded::Reloaded;

/// A policy that follows its file.
pub struct PolicyFile {
    path: PathBuf,
    current: RwLock<Arc<Policy>>,
    /// The last failure, so that it is told once.
    told: Mutex<Option<String>>,
}

impl PolicyFile {
    /// Reads the file.
    ///
    /// # Errors
    /// [`PolicyError`] says what is wrong with it.
    pub fn load(path: &Path) -> Result<Self, PolicyError> {
        Ok(Self {
            path: path.to_owned(),
            current: RwLock::new(Arc::new(Policy::read(path)?)),
            told: Mutex::new(None),
        })
    }

    /// The rules as they are now.
    pub fn current(&self) -> Arc<Policy> {
        Arc::clone(&self.current.read())
    }

    /// Looks at the file again, and swaps its rules in when they are new and good.
    pub fn look_again(&self) -> Reloaded {
        match Policy::read(&self.path) {
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
