//! Repair after a start: makes durable what was read.

use super::{ChangeLog, ChangeLogError, open_file};
use crate::FileError;
use crate::disk::rewrite;

impl ChangeLog {
    /// Writes again all records that nothing on disk reports as synced.
    pub(super) fn rewrite_unproven(&self) -> Result<(), ChangeLogError> {
        let mut state = self.inner.state.lock();
        let unproven_seq = state.synced_seq + 1;
        let first = state.unsynced_from;
        let (first, start) = match self.look_up(&mut state, unproven_seq) {
            _ if unproven_seq > state.last_seq => (state.segments.len() - 1, 0),
            Ok(cursor) if state.segments[cursor.segment].first_seq < unproven_seq => {
                (cursor.segment, cursor.offset)
            }
            Ok(cursor) => (cursor.segment, 0),
            Err(_) => (first, 0),
        };
        for position in first..state.segments.len() {
            let limit = self.limit(&mut state, position)?;
            let segment = &mut state.segments[position];
            let start = if position == first { start } else { 0 };
            let file = open_file(&*self.inner.disk, segment)?;
            rewrite(&*file, start..limit).map_err(FileError::io("repair", &segment.path))?;
        }
        Ok(())
    }
}
