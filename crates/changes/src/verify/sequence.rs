//! Checks that the stream is a gap-free sequence of whole entries.

use holdfast_api::v1::Change;

use super::finding::{Check, Findings};

/// The entry of the last change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Current {
    log_index: u64,
    log_time_ms: u64,
    entry_changes: u32,
    next_offset: u32,
}

/// The effect of a change on the current entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// The change came before; it is not replayed.
    Again,
    /// The change is the next one.
    Next {
        /// True when it begins an entry, so the entry before is over.
        begins: bool,
        /// True when it ends its entry.
        ends: bool,
    },
}

#[derive(Debug, Default)]
pub(super) struct Sequence {
    pub(super) last_seq: u64,
    pub(super) changes: u64,
    pub(super) entries: u64,
    pub(super) lost: u64,
    current: Option<Current>,
}

impl Sequence {
    pub(super) fn log_time_ms(&self) -> u64 {
        self.current.map_or(0, |current| current.log_time_ms)
    }

    pub(super) fn place(&mut self, shard: u32, change: &Change, findings: &mut Findings) -> Placed {
        let seq = change.seq;
        let expected = self.last_seq.saturating_add(1);
        if seq < expected {
            findings.add(Check::OutOfSequence, shard, seq, || {
                format!("change {seq} came after change {}", self.last_seq)
            });
            return Placed::Again;
        }
        if seq > expected {
            self.lost += seq - expected;
            findings.add(Check::Lost, shard, seq, || match seq - expected {
                1 => format!("change {expected} is missing"),
                _ => format!("changes {expected} to {} are missing", seq - 1),
            });
        }
        self.last_seq = seq;
        self.changes += 1;
        let begins = self.enter(shard, change, findings);
        let ends = change.entry_offset.checked_add(1) == Some(change.entry_changes);
        Placed::Next { begins, ends }
    }

    /// Checks at the end of the stream that the last entry was whole.
    pub(super) fn end(&self, shard: u32, findings: &mut Findings) {
        if let Some(current) = self
            .current
            .filter(|current| current.next_offset < current.entry_changes)
        {
            findings.add(Check::SplitEntry, shard, self.last_seq, || {
                let (there, of) = (current.next_offset, current.entry_changes);
                format!(
                    "the stream ends after {there} of {of} changes of entry {}",
                    current.log_index
                )
            });
        }
    }

    fn enter(&mut self, shard: u32, change: &Change, findings: &mut Findings) -> bool {
        let (seq, offset, of) = (change.seq, change.entry_offset, change.entry_changes);
        let before = self.current;
        self.current = Some(Current {
            log_index: change.log_index,
            log_time_ms: change
                .log_time_ms
                .max(before.map_or(0, |before| before.log_time_ms)),
            entry_changes: of,
            next_offset: offset.saturating_add(1),
        });
        let inside = before.filter(|entry| entry.next_offset < entry.entry_changes);
        if let Some(entry) = inside {
            let told = (change.log_index, offset, of);
            if told == (entry.log_index, entry.next_offset, entry.entry_changes)
                && change.log_time_ms == entry.log_time_ms
            {
                return false;
            }
        }
        if inside.is_some() || offset != 0 || of == 0 {
            findings.add(Check::SplitEntry, shard, seq, || {
                format!(
                    "number {offset} of {of} in entry {} does not follow what came before",
                    change.log_index
                )
            });
        }
        self.entries += 1;
        let Some(before) = before else { return true };
        if change.log_index <= before.log_index {
            findings.add(Check::LogIndexWentBack, shard, seq, || {
                format!(
                    "entry {} comes after entry {}",
                    change.log_index, before.log_index
                )
            });
        }
        if change.log_time_ms < before.log_time_ms {
            findings.add(Check::LogTimeWentBack, shard, seq, || {
                format!(
                    "log time {} comes after {}",
                    change.log_time_ms, before.log_time_ms
                )
            });
        }
        true
    }
}
