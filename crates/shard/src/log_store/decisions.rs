//! Decisions on entries (`halt.rs`) that are in a group's log.
//!
//! A replica looks for one before it applies an entry, so they are kept in memory. Decisions are very rare,
//! and no caller can make one.

use std::collections::BTreeMap;
use std::sync::Arc;

use openraft::EntryPayload;
use parking_lot::Mutex;

use crate::halt::EntryDecision;
use crate::raft_types::RaftEntry;

/// Largest size in the log of an entry with a decision, in bytes. Longer entries need not be read to look for
/// one.
pub(super) const MAX_DECISION_BYTES: usize = 1 << 10;

/// Decisions by their own index in the log. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Decisions(Arc<Mutex<BTreeMap<u64, EntryDecision>>>);

impl Decisions {
    /// Records the decision of an entry that is in the log, if it has one.
    pub(super) fn note(&self, entry: &RaftEntry) {
        if let EntryPayload::Normal(bytes) = &entry.payload
            && let Some(decision) = bytes.read_decision()
        {
            self.0.lock().insert(entry.log_id.index, decision);
        }
    }

    /// Forgets decisions from an index on, because they are not in the log any more.
    pub(super) fn truncate(&self, from: u64) {
        self.0.lock().retain(|at, _| *at < from);
    }

    /// Returns the first decision on an entry among those up to `committed`.
    pub(super) fn on(&self, index: u64, committed: u64) -> Option<EntryDecision> {
        let all = self.0.lock();
        let committed = all.range(..=committed);
        let mut about = committed.filter(|(_, decision)| decision.index == index);
        about.next().map(|(_, decision)| decision.clone())
    }

    /// Returns whether a decision on an entry up to `applied` stands behind it in the log.
    pub(super) fn awaited(&self, applied: u64) -> bool {
        let all = self.0.lock();
        let mut behind = all.range(applied.saturating_add(1)..);
        behind.any(|(_, decision)| decision.index <= applied)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}
