//! Repair after a start: makes durable what was read.

use std::io;

use super::recover::Recovered;
use super::{LogError, segment};
use crate::DiskFile;
use crate::disk::rewrite;

/// Writes and syncs again the records that nothing on disk reports as synced. They may be in memory only, and
/// from here on they count as durable.
pub(super) fn rewrite_unproven(found: &Recovered) -> Result<(), LogError> {
    let Some(file) = found.files.get(&found.last_segment) else {
        return Ok(());
    };
    let unproven = u64::from(found.unproven.start)..u64::from(found.unproven.end);
    rewrite(&**file, unproven)
        .and_then(|()| file.sync_data())
        .map_err(|error| LogError::io("repair", segment::path(found.last_segment), error))
}

/// Overwrites a torn tail with zeros. Otherwise its intact records could follow a later end by chance. Syncs
/// in any case, because the bytes that were read may be in memory only.
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
