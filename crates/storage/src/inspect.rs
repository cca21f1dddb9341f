//! A read-only look at a data directory.
use std::path::Path;

/// What a data directory holds and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {}

/// Scans the data directory without changing it.
#[allow(unused_variables)]
pub fn inspect(dir: &Path) -> std::io::Result<Report> {
    Ok(Report {})
}
