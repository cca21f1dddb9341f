//! Reads cells and reservations as they were, from an archive and, after its end, from a stream.
//!
//! ```text
//!   archive   1 ............ 4096 │              files follow each other, each is what its name says
//!   stream                        │ 4097 ..... 5000   begins with [`Reading::next_seq`], unfiltered
//!             └──────── one Reading ───────────┘       refuses a gap, skips what it had
//! ```
//!
//! The time grows with the number of changes from the shard's first one to the moment. The memory is that of
//! one archived file.

#[cfg(test)]
mod tests;

pub use holdfast_history::{AsOfError, At, Fault, Reading, Reservation, Stock, Subject};

use crate::archive::{Archive, ArchiveError};

/// The reason why an archive was not read up to the moment.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The archive cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The archived changes contradict each other.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Adds up the archived changes of the reading's shard, up to the moment or to the archive's end. Afterwards
/// [`Reading::is_passed`] tells whether the moment is reached. If not, a stream from [`Reading::next_seq`] on
/// continues.
///
/// # Errors
/// [`ReadError`]: the store fails, files are missing or damaged, or their changes contradict each other.
pub async fn read_archive<S: Subject>(archive: &Archive, reading: &mut Reading<S>) -> Result<(), ReadError> {
    let mut chain = archive.chain(reading.shard()).await?;
    while !reading.is_passed()
        && let Some(entry) = chain.next().await?
    {
        if entry.last_seq < reading.next_seq() {
            continue;
        }
        for change in archive.read(&entry).await? {
            reading.observe(&change)?;
        }
    }
    Ok(())
}
