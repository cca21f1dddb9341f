//! State of one group's log in memory.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;

use super::record::{RecordAddress, record_bytes};
use super::{GroupState, LogError, LogRecord};
use crate::GroupId;

/// One entry: in memory, on disk, or both.
#[derive(Debug, Clone)]
pub(super) struct IndexedEntry {
    /// Number of the append that brought the entry. It tells the entry from an older one with the same index.
    pub(super) ticket: u64,
    pub(super) payload_bytes: u32,
    /// The place on disk; `None` while the entry waits in the queue.
    pub(super) place: Option<RecordAddress>,
    /// The payload in memory. It is always there while `place` is `None`.
    pub(super) payload: Option<Bytes>,
}

/// Live entries of a group in one segment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Live {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// One group: all its live entries and their places. Memory is ahead of the disk by the length of the queue.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) entries: BTreeMap<u64, IndexedEntry>,
    pub(super) purged_through: Option<u64>,
    pub(super) purge_marker: Option<Bytes>,
    pub(super) vote: Option<Bytes>,
    pub(super) committed: Option<Bytes>,
    /// Live entries by their segment. An entry that is not written yet is in none.
    live: BTreeMap<u32, Live>,
    cached_bytes: usize,
    /// The payloads below this index were dropped from memory.
    cached_from: u64,
}

/// Result of a read: payloads in memory and places on disk.
pub(super) enum Found {
    InMemory(LogRecord),
    OnDisk {
        index: u64,
        payload_bytes: u32,
        place: RecordAddress,
    },
}

impl Group {
    pub(super) fn state(&self) -> GroupState {
        GroupState {
            first_index: self.entries.first_key_value().map(|(index, _)| *index),
            last_index: self.last_index(),
            purged_through: self.purged_through,
            purge_marker: self.purge_marker.clone(),
            vote: self.vote.clone(),
            committed: self.committed.clone(),
        }
    }

    fn last_index(&self) -> Option<u64> {
        self.entries.last_key_value().map(|(index, _)| *index)
    }

    /// Refuses records that do not continue this log without a gap.
    pub(super) fn check_append(&self, group: GroupId, records: &[LogRecord]) -> Result<(), LogError> {
        let Some(first) = records.first() else {
            return Ok(());
        };
        let mut expected = self
            .last_index()
            .or(self.purged_through)
            .map_or(first.index, |last| last.saturating_add(1));
        for record in records {
            if record.index != expected {
                return Err(LogError::NotContiguous {
                    group,
                    expected,
                    index: record.index,
                });
            }
            expected = expected.saturating_add(1);
        }
        Ok(())
    }

    pub(super) fn check_not_purged(&self, group: GroupId, index: u64) -> Result<(), LogError> {
        match self.purged_through {
            Some(purged_through) if index <= purged_through => Err(LogError::Purged {
                group,
                index,
                purged_through,
            }),
            _ => Ok(()),
        }
    }

    pub(super) fn append(&mut self, ticket: u64, records: &[LogRecord]) {
        for record in records {
            self.cached_bytes += record.payload.len();
            self.cached_from = self.cached_from.min(record.index);
            let payload_bytes = record.payload.len() as u32;
            let entry = IndexedEntry {
                ticket,
                payload_bytes,
                place: None,
                payload: Some(record.payload.clone()),
            };
            self.entries.insert(record.index, entry);
        }
    }

    pub(super) fn truncate_from(&mut self, index: u64) {
        let gone = self.entries.split_off(&index);
        self.forget(gone);
    }

    pub(super) fn purge_through(&mut self, index: u64, marker: Bytes) {
        if self.purged_through.is_some_and(|purged| purged > index) {
            return;
        }
        let kept = index
            .checked_add(1)
            .map(|next| self.entries.split_off(&next))
            .unwrap_or_default();
        let gone = std::mem::replace(&mut self.entries, kept);
        self.forget(gone);
        self.purged_through = Some(index);
        self.purge_marker = Some(marker);
    }

    fn forget(&mut self, gone: BTreeMap<u64, IndexedEntry>) {
        for entry in gone.into_values() {
            self.cached_bytes -= entry.payload.as_ref().map_or(0, Bytes::len);
            self.leave(&entry);
        }
    }

    fn leave(&mut self, entry: &IndexedEntry) {
        let Some(place) = entry.place else { return };
        let Some(live) = self.live.get_mut(&place.segment) else {
            return;
        };
        live.records -= 1;
        live.bytes -= record_bytes(entry.payload_bytes as usize) as u64;
        if live.records == 0 {
            self.live.remove(&place.segment);
        }
    }

    fn enter(&mut self, place: RecordAddress, payload_bytes: u32) {
        let live = self.live.entry(place.segment).or_default();
        live.records += 1;
        live.bytes += record_bytes(payload_bytes as usize) as u64;
    }

    /// Records that the entry which `ticket` appended is on disk.
    pub(super) fn written(&mut self, index: u64, ticket: u64, place: RecordAddress) {
        let Some(entry) = self.entries.get_mut(&index) else {
            return;
        };
        if entry.ticket == ticket && entry.place.is_none() {
            entry.place = Some(place);
            let payload_bytes = entry.payload_bytes;
            self.enter(place, payload_bytes);
        }
    }

    /// Records the new place of an entry that was copied, unless the entry is gone.
    pub(super) fn moved(&mut self, index: u64, from: RecordAddress, to: RecordAddress) {
        let Some(entry) = self.entries.get_mut(&index) else {
            return;
        };
        if entry.place == Some(from) {
            let old = entry.clone();
            entry.place = Some(to);
            self.leave(&old);
            self.enter(to, old.payload_bytes);
        }
    }

    /// Adds an entry that was found on disk. Returns the place that it replaced.
    pub(super) fn recovered(
        &mut self,
        index: u64,
        place: RecordAddress,
        payload: &[u8],
        cache_bytes: usize,
    ) -> Option<RecordAddress> {
        let payload_bytes = payload.len() as u32;
        let payload = (payload.len() <= cache_bytes).then(|| Bytes::copy_from_slice(payload));
        self.cached_bytes += payload.as_ref().map_or(0, Bytes::len);
        self.cached_from = self.cached_from.min(index);
        let old = self.entries.insert(
            index,
            IndexedEntry {
                ticket: 0,
                payload_bytes,
                place: Some(place),
                payload,
            },
        );
        if let Some(old) = &old {
            self.cached_bytes -= old.payload.as_ref().map_or(0, Bytes::len);
            self.leave(old);
        }
        self.enter(place, payload_bytes);
        self.shrink_cache(cache_bytes);
        old.and_then(|entry| entry.place)
    }

    /// Drops the oldest payloads that are on disk until the rest fits into `cache_bytes`.
    pub(super) fn shrink_cache(&mut self, cache_bytes: usize) {
        if self.cached_bytes <= cache_bytes {
            return;
        }
        for (index, entry) in self.entries.range_mut(self.cached_from..) {
            if self.cached_bytes <= cache_bytes || entry.place.is_none() {
                break;
            }
            self.cached_bytes -= entry.payload.take().map_or(0, |payload| payload.len());
            self.cached_from = index + 1;
        }
    }

    /// Returns entries of the range: at least one if there is one, and no more than fit into `max_bytes`.
    pub(super) fn find(&self, range: Range<u64>, max_bytes: usize) -> Vec<Found> {
        let mut found = Vec::new();
        let mut bytes = 0;
        if range.start >= range.end {
            return found;
        }
        for (index, entry) in self.entries.range(range) {
            bytes += entry.payload_bytes as usize;
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            match (&entry.payload, entry.place) {
                (Some(payload), _) => {
                    found.push(Found::InMemory(LogRecord {
                        index: *index,
                        payload: payload.clone(),
                    }));
                }
                (None, Some(place)) => {
                    found.push(Found::OnDisk {
                        index: *index,
                        payload_bytes: entry.payload_bytes,
                        place,
                    });
                }
                (None, None) => break,
            }
        }
        found
    }

    /// Returns the live entries in this segment.
    pub(super) fn live_in(&self, segment: u32) -> Live {
        self.live.get(&segment).copied().unwrap_or_default()
    }

    /// Returns the oldest segment with a live entry.
    pub(super) fn oldest_segment(&self) -> Option<u32> {
        self.live.first_key_value().map(|(segment, _)| *segment)
    }

    /// Returns up to `max_bytes` of the live entries in this segment, and at least one.
    pub(super) fn entries_in(&self, segment: u32, max_bytes: usize) -> Vec<(u64, u32, RecordAddress)> {
        let mut left = self.live_in(segment).records;
        let mut bytes = 0;
        let mut found = Vec::new();
        for (index, entry) in &self.entries {
            if left == 0 || (bytes >= max_bytes && !found.is_empty()) {
                break;
            }
            if let Some(place) = entry.place.filter(|place| place.segment == segment) {
                found.push((*index, entry.payload_bytes, place));
                bytes += entry.payload_bytes as usize;
                left -= 1;
            }
        }
        found
    }

    /// Returns the first index after the purged ones, or between two entries, that is missing.
    pub(super) fn first_missing(&self) -> Option<u64> {
        let mut expected = self.purged_through.map(|purged| purged.saturating_add(1));
        for index in self.entries.keys() {
            if expected.is_some_and(|expected| expected != *index) {
                return expected;
            }
            expected = Some(index.saturating_add(1));
        }
        None
    }
}
