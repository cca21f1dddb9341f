//! How a cell or a reservation stood, from an archive and, behind its end, from a stream.
//!
//! ```text
//!   archive   1 ............ 4096 │              files follow each other, each is what its name says
//!   stream                        │ 4097 ..... 5000   begins with [`Reading::next_seq`], unfiltered
//!             └──────── one Reading ───────────┘       refuses a gap, passes over what it had
//! ```
//!
//! Reading takes time in proportion to the changes from the shard's first one to the moment, and memory for one archived file.

#[cfg(test)]
mod tests;

pub use holdfast_history::{AsOfError, At, Fault, Reading, Reservation, Stock, Subject};

use crate::archive::{Archive, ArchiveError};

/// Why an archive was not read to the moment.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Its changes contradict each other.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Adds up the archived changes of the reading's shard, up to the moment or to the archive's end. Whether the moment is reached
/// says [`Reading::is_passed`]; if it is not, a stream from [`Reading::next_seq`] on goes on.
///
/// # Errors
/// [`ReadError`]: the store fails, files are missing or damaged, or their changes contradict each other.
pub async fn read_archive<S: Subject>(archive: &Archive, reading: &mut Reading<S>) -> Result<(), ReadError> {
    for file in archive.files(reading.shard()).await? {
        if reading.is_passed() {
            break;
        }
        if file.last_seq < reading.next_seq() {
            continue;
        }
        for change in archive.read(&file).await? {
            reading.observe(&change)?;
        }
    }
    Ok(())
}
