//! Making sure of what was read after a start.

use std::io;

use super::recover::Recovered;
use super::{LogError, segment};
use crate::DiskFile;
use crate::disk::rewrite;

/// Writes and syncs the records again that nothing on disk knows to be synced: they may be there in memory only, and from now
/// on they count as durable.
pub(super) fn rewrite_unproven(found: &Recovered) -> Result<(), LogError> {
    let Some(file) = found.files.get(&found.last_segment) else {
        return Ok(());
    };
    let unproven = u64::from(found.unproven.start)..u64::from(found.unproven.end);
    rewrite(&**file, unproven)
        .and_then(|()| file.sync_data())
        .map_err(|error| LogError::io("repair", segment::path(found.last_segment), error))
}

/// Overwrites a torn tail with zeros: left there, its intact records could follow a later end by chance. Syncs in any case,
/// because what was read may so far have been in memory only.
pub(super) fn clear(file: &dyn DiskFile, offset: u32, bytes: u64) -> io::Result<()> {
    const STEP: u64 = 1 << 20;
    let end = (u64::from(offset) + bytes).min(file.size_bytes()?);
    let mut offset = u64::from(offset);
    while offset < end {
        let step = STEP.min(end - offset);
        file.write_at(&vec![0; step as usize], offset)?;
        offset += step;
    }
    file.sync_data()
}
