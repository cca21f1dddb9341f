//! Recovery of a replica's state from its disk: the newest snapshot, and the log after it.

use std::collections::BTreeSet;
use std::io;

use holdfast_ledger::{Ledger, LedgerOptions};
use holdfast_storage::SnapshotStore;

use super::apply::{self, Applying, NotApplied, Work};
use super::{State, snapshot};
use crate::halt::{Halt, HaltCause};
use crate::log_store::LogStore;
use crate::raft_types::{RaftEntry, StoredMembership};

/// Stores from which a state is read.
pub(super) struct Source<'a> {
    pub(super) options: &'a LedgerOptions,
    pub(super) snapshots: &'a SnapshotStore,
    pub(super) log: &'a LogStore,
    pub(super) applying: &'a Applying,
    /// Number of entries after a snapshot from which on the whole state is checked: the snapshot that was due
    /// may be missing because the state is wrong.
    pub(super) check_after_entries: u64,
}

impl Source<'_> {
    /// Returns the state after everything that the log is known to have committed, or before the entry that
    /// cannot be applied. Reads from disk, and may take long.
    pub(super) fn recover(&self) -> io::Result<(State, Option<Halt>)> {
        let state = self.snapshot()?;
        self.log.find_decisions(state.applied)?;
        let Some(committed) = self.log.committed()? else {
            return Ok((state, None));
        };
        self.from(Some(state), committed.index, committed.index)
    }

    /// Returns the state after `last`, or before an entry that cannot be applied. `committed` is known to be
    /// committed, and not before `last`.
    pub(super) fn through(&self, last: u64, committed: u64) -> io::Result<(State, Option<Halt>)> {
        self.from(None, last, committed)
    }

    /// Returns the state after `last`, like [`Self::through`]. Begins with a state that was just read, or
    /// else with the snapshot.
    fn from(&self, mut read: Option<State>, last: u64, committed: u64) -> io::Result<(State, Option<Halt>)> {
        let mut halt = None;
        let mut last = last;
        loop {
            let mut state = match read.take() {
                Some(state) => state,
                None => self.snapshot()?,
            };
            let first = state.applied.map_or(0, |applied| applied.index + 1);
            match self.replay(&mut state, last, committed) {
                Ok(()) => {
                    let entries = last.saturating_sub(first);
                    let halt = halt.or_else(|| self.check(&state, entries));
                    return Ok((state, halt));
                }
                Err(NotApplied::Failed(error)) => return Err(error),
                // Tried once more, up to the entry before: the ledger may be between two entries.
                Err(NotApplied::Halted(obstacle)) if obstacle.index > 0 && obstacle.index <= last => {
                    last = obstacle.index - 1;
                    halt = Some(*obstacle);
                }
                Err(NotApplied::Halted(obstacle)) => return Err(io::Error::other(obstacle.to_string())),
            }
        }
    }

    /// Applies the entries after a state in the log, up to `last`. Decisions count when they stand at or
    /// before `committed`.
    pub(super) fn replay(&self, state: &mut State, last: u64, committed: u64) -> Result<(), NotApplied> {
        let from = state.applied;
        let apply = |entry: RaftEntry| {
            let index = entry.log_id.index;
            let decision = self.log.decision_on(index, committed)?;
            let work = Work::read(&entry);
            let rule = decision.map(|decision| decision.rule);
            self.applying.apply(state, entry, &work, rule).map(drop)
        };
        self.log.replay_through(from, last, apply)
    }

    fn snapshot(&self) -> io::Result<State> {
        let (applied, membership, ledger) =
            match snapshot::read_newest(self.snapshots, self.log, snapshot::decode_ledger)? {
                Some((meta, ledger)) => (meta.last_log_id, meta.last_membership, ledger),
                None => (
                    None,
                    StoredMembership::default(),
                    Ledger::new(self.options.clone()),
                ),
            };
        super::skip_changes_in_snapshot(&self.applying.changes, &ledger)?;
        Ok(State {
            ledger,
            applied,
            membership,
            refused: BTreeSet::new(),
        })
    }

    fn check(&self, state: &State, entries: u64) -> Option<Halt> {
        if entries < self.check_after_entries {
            return None;
        }
        let violation = apply::check(&state.ledger).err()?;
        let index = state.applied.map_or(0, |applied| applied.index);
        Some(Halt::new(HaltCause::State, index, None, violation))
    }
}
