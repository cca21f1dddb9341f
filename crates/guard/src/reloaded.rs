//! The outcome of looking at files again.

/// The outcome of looking at files again.
#[derive(Debug)]
pub enum Reloaded {
    /// They are as they were, or as bad as when this was last said.
    Unchanged,
    /// They are new and in use.
    Swapped,
    /// They are new and not good, this is why: what was there stays in use.
    Kept(String),
}
