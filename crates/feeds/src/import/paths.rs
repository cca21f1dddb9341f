//! The files that an import writes, and the lock that keeps its source to itself.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::error::ImportError;
use super::identity::Source;

/// The places that a caller chose for the files of an import.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportFiles {
    /// Path of the state file. By default it is in `data/imports`, with a name that follows from the file,
    /// its content and the cluster.
    pub state: Option<PathBuf>,
    /// Path of the rejects file. By default it is beside the state file.
    pub rejects: Option<PathBuf>,
}

/// The files that an import writes.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) state: PathBuf,
    pub(super) rejects: PathBuf,
}

impl Paths {
    /// Chooses the files for an import of this order file into this cluster.
    ///
    /// # Errors
    /// When a path is not usable, or when two of the three are one file.
    pub(super) fn choose(
        orders: &Path,
        files: &ImportFiles,
        source: &Source,
        cluster: &str,
    ) -> Result<Self, ImportError> {
        let default_state = || {
            let stem = orders.file_stem().unwrap_or_default().to_string_lossy();
            let cluster = last_digits(cluster);
            Path::new("data/imports").join(format!("{stem}-{}-{cluster}.json", source.short()))
        };
        let state = files.state.clone().unwrap_or_else(default_state);
        let rejects = files
            .rejects
            .clone()
            .unwrap_or_else(|| state.with_extension("rejects.csv"));
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(|source| ImportError::NoFileName {
                path: path.to_owned(),
                source,
            })
        };
        let (orders, state_file, rejects_file) = (absolute(orders)?, absolute(&state)?, absolute(&rejects)?);
        if orders == state_file || orders == rejects_file || state_file == rejects_file {
            return Err(ImportError::NotThreeFiles);
        }
        Ok(Self { state, rejects })
    }
}

/// Shortens a cluster's id for a file name. The end is taken, because the beginning is the time of the id's
/// creation.
fn last_digits(cluster: &str) -> &str {
    cluster
        .len()
        .checked_sub(8)
        .and_then(|at| cluster.get(at..))
        .unwrap_or(cluster)
}

/// Keeps others from importing files of this source into this cluster until the returned file is dropped. Two
/// imports that do not see each other's operations would both do a document that both have.
///
/// # Errors
/// When another import has the lock, or when it cannot be written.
pub(super) fn take_turn(state: &Path, source: &Source, cluster: &str) -> Result<File, ImportError> {
    let folder = state
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let cluster = last_digits(cluster);
    let path = folder.join(format!("{}-{cluster}.lock", source.name()));
    let cannot = |source| ImportError::Lock {
        path: path.clone(),
        source,
    };
    std::fs::create_dir_all(folder).map_err(cannot)?;
    let file = File::create(&path).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(ImportError::SourceBusy {
            source_name: source.name().to_owned(),
        }),
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}
