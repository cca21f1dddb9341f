//! Checks the content of a file of changes against its manifest entry.

use bytes::Bytes;
use holdfast_api::v1::Change;

use super::{ArchiveError, ManifestEntry};

/// Decodes a file and checks that its changes are those that its entry names. Passes them on, some thousands
/// at a time; what is passed on before an error must not be used.
///
/// # Errors
/// The file cannot be decoded, or its changes do not fit its entry.
pub(super) fn check(
    entry: &ManifestEntry,
    file: Bytes,
    mut take: impl FnMut(Vec<Change>),
) -> Result<(), ArchiveError> {
    let unfit = |what: &str| ArchiveError::Content {
        path: entry.file.clone(),
        what: what.to_owned(),
    };
    let format = entry
        .format()
        .ok_or_else(|| unfit("its name is not that of a file of changes"))?;
    let mut next_seq = entry.first_seq;
    let mut log_time_ms = entry.first_log_time_ms;
    let mut entry_ends = true;
    format.decode_in_parts(&entry.file, file, |changes| {
        for change in &changes {
            if change.shard != entry.shard || change.seq != next_seq {
                return Err(unfit("its changes are not those that its manifest entry names"));
            }
            let is_first = next_seq == entry.first_seq;
            if change.log_time_ms < log_time_ms || (is_first && change.log_time_ms != log_time_ms) {
                return Err(unfit("its log times are not those that its manifest entry names"));
            }
            if entry_ends && change.entry_offset != 0 {
                return Err(unfit("it has part of a log entry"));
            }
            entry_ends = change.entry_offset.checked_add(1) == Some(change.entry_changes);
            log_time_ms = change.log_time_ms;
            next_seq += 1;
        }
        take(changes);
        Ok(())
    })?;
    if next_seq != entry.last_seq + 1 {
        return Err(unfit("its changes are not those that its manifest entry names"));
    }
    if log_time_ms != entry.last_log_time_ms {
        return Err(unfit("its log times are not those that its manifest entry names"));
    }
    if !entry_ends {
        return Err(unfit("it has part of a log entry"));
    }
    Ok(())
}
