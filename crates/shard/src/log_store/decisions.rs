//! Decisions on entries (`halt.rs`) that stand in a group's log.
//!
//! A replica asks before it applies an entry, so they are kept in memory. There are hardly ever any, and no caller can make one.

use std::collections::BTreeMap;
use std::sync::Arc;

use openraft::EntryPayload;
use parking_lot::Mutex;

use crate::halt::EntryDecision;
use crate::raft_types::RaftEntry;

/// No entry with a decision takes more bytes in the log, so longer ones need not be read to look for them.
pub(super) const MAX_ENTRY_BYTES: usize = 1 << 10;

/// The decisions by their own place in the log. Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Decisions(Arc<Mutex<BTreeMap<u64, EntryDecision>>>);

impl Decisions {
    /// Takes note of an entry that is in the log now.
    pub(super) fn note(&self, entry: &RaftEntry) {
        if let EntryPayload::Normal(bytes) = &entry.payload
            && let Some(decision) = bytes.read_decision()
        {
            self.0.lock().insert(entry.log_id.index, decision);
        }
    }

    /// Forgets entries from an index on: they are not in the log any more.
    pub(super) fn truncate(&self, from: u64) {
        self.0.lock().retain(|at, _| *at < from);
    }

    /// The first decision on an entry that stands at or before `committed`.
    pub(super) fn on(&self, index: u64, committed: u64) -> Option<EntryDecision> {
        let all = self.0.lock();
        let committed = all.range(..=committed);
        let mut about = committed.filter(|(_, decision)| decision.index == index);
        about.next().map(|(_, decision)| decision.clone())
    }

    /// Stands a decision on an entry up to `applied` behind it?
    pub(super) fn awaited(&self, applied: u64) -> bool {
        let all = self.0.lock();
        let mut behind = all.range(applied.saturating_add(1)..);
        behind.any(|(_, decision)| decision.index <= applied)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}
