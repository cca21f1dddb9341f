//! Removal of segments that nobody needs.
//!
//! Segments are removed strictly oldest first, so a later record about an earlier one (truncated, purged,
//! moved) never outlives that one. A group that purges rarely would pin them all. So when the oldest segment
//! is old and has few live entries left, those are copied to the end of the log.

use std::sync::Arc;

use parking_lot::Mutex;

use super::core::Core;
use super::group::Group;
use super::record::{Kind, RecordAddress};
use super::{DIRECTORY, LogError, read_payload, segment};
use crate::GroupId;

/// Distance in segments behind the active one from which on a segment's last entries are moved.
const OLD_SEGMENTS: u32 = 4;
/// Divisor of the segment size: a segment with more live bytes than the quotient is not touched.
const MOVE_BELOW_SHARE: u64 = 4;
/// Bytes that are moved at once; the queue is checked in between.
const MOVE_BYTES: usize = 256 << 10;

impl Core {
    /// Removes the segments that it can. Returns whether there is more to do at once.
    pub(super) fn reclaim(&mut self) -> Result<bool, LogError> {
        if self.reclaim_stopped_in == self.active {
            return Ok(false);
        }
        let Some(oldest) = self.oldest() else {
            return Ok(false);
        };
        let groups: Vec<(GroupId, Arc<Mutex<Group>>)> = self
            .shared
            .groups
            .read()
            .iter()
            .map(|(id, group)| (*id, group.clone()))
            .collect();
        let needed = groups
            .iter()
            .filter_map(|(_, group)| group.lock().oldest_segment())
            .min();
        let needed = needed.unwrap_or(self.active).min(self.active);
        // Memory is ahead of the disk: the record that made a segment unneeded may still be in the queue.
        // Everything that was in the queue when `condemned_below` was noted has been written since.
        let written = self.shared.queue.lock().requests.is_empty();
        let removable = if written {
            needed
        } else {
            self.condemned_below.min(needed)
        };
        self.condemned_below = needed;
        for id in oldest..removable {
            if !self.remove(id) {
                return Ok(false);
            }
        }
        let Some(oldest) = self.oldest() else {
            return Ok(false);
        };
        if self.active - oldest < OLD_SEGMENTS {
            return Ok(false);
        }
        let live: u64 = groups
            .iter()
            .map(|(_, group)| group.lock().live_in(oldest).bytes)
            .sum();
        if live == 0 || live > u64::from(self.options.segment_bytes) / MOVE_BELOW_SHARE {
            return Ok(false);
        }
        self.move_from(oldest, &groups)
    }

    /// Returns the oldest segment, if it is not the only one.
    fn oldest(&self) -> Option<u32> {
        let oldest = self.shared.files.read().first_key_value().map(|(id, _)| *id)?;
        (oldest < self.active).then_some(oldest)
    }

    fn remove(&mut self, id: u32) -> bool {
        let path = segment::path(id);
        let removed = if self.recyclable.is_none() {
            let recyclable = format!("{DIRECTORY}/recycled-{id:010}.tmp");
            let renamed = self.disk.rename(&path, &recyclable);
            renamed.map(|()| self.recyclable = Some(recyclable))
        } else {
            self.disk.remove(&path)
        };
        // Segments are removed one at a time: after a crash the removed ones must be the oldest.
        match removed.and_then(|()| self.disk.sync_dir(DIRECTORY)) {
            Ok(()) => {
                self.shared.files.write().remove(&id);
                true
            }
            Err(error) => {
                self.reclaim_stopped_in = self.active;
                tracing::warn!(file = path, %error, "could not remove an old log segment");
                false
            }
        }
    }

    fn move_from(&mut self, segment: u32, groups: &[(GroupId, Arc<Mutex<Group>>)]) -> Result<bool, LogError> {
        let Some(file) = self.shared.files.read().get(&segment).cloned() else {
            return Ok(false);
        };
        let mut moved: Vec<(&Mutex<Group>, u64, RecordAddress, RecordAddress)> = Vec::new();
        let mut left = MOVE_BYTES;
        for (id, group) in groups {
            let entries = group.lock().entries_in(segment, left);
            for (index, payload_bytes, from) in entries {
                let payload = match read_payload(&*file, from, payload_bytes) {
                    Ok(payload) => payload,
                    Err(error) => {
                        self.reclaim_stopped_in = self.active;
                        tracing::error!(%error, "an old log segment cannot be removed");
                        return Ok(false);
                    }
                };
                left = left.saturating_sub(payload.len());
                let to = self.put(Kind::Moved, *id, index, &payload)?;
                moved.push((group, index, from, to));
            }
            if left == 0 {
                break;
            }
        }
        self.write_buffer()?;
        self.sync()?;
        let any = !moved.is_empty();
        for (group, index, from, to) in moved {
            group.lock().moved(index, from, to);
        }
        Ok(any)
    }
}
