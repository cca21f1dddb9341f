//! The outcome of a reload of files.

/// The outcome of a reload of files.
#[derive(Debug)]
pub enum Reloaded {
    /// The files have not changed, or are invalid in the way that was last reported.
    Unchanged,
    /// The files have changed, and the new version is in use.
    Swapped,
    /// The files have changed and are invalid, for this reason. The old version stays in use.
    Kept(String),
}
