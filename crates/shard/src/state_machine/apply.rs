//! Application of one entry, to the ledger and to the change log.

use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use holdfast_ledger::{Applied, Entry, Ledger, Violation};
use holdfast_storage::ChangeLog;
use openraft::EntryPayload;

use super::State;
use super::records::{self, NotWritten};
use crate::defect;
use crate::halt::{EntryRule, Halt, HaltCause};
use crate::host::EntryObserver;
use crate::metrics::{Counters, add};
use crate::raft_types::{RaftEntry, Response, StoredMembership};
use crate::trace::Traces;

/// Parts that are needed to apply an entry.
pub(super) struct Applying {
    pub(super) changes: ChangeLog,
    pub(super) observer: Option<EntryObserver>,
    pub(super) counters: Arc<Counters>,
    pub(super) traces: Traces,
}

/// Reason why an entry was not applied.
#[derive(Debug)]
pub(super) enum NotApplied {
    /// The entry is an obstacle. The ledger may be between two entries.
    Halted(Box<Halt>),
    /// A disk failed.
    Failed(io::Error),
}

impl From<io::Error> for NotApplied {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Content of an entry.
pub(super) enum Work {
    /// Commands of a ledger entry.
    Entry(Entry),
    /// A decision on the entry with this index.
    Decision(u64),
    /// The entry is one of Raft's own and has no content.
    Nothing,
    /// The bytes are not an entry, for this reason.
    Unreadable(String),
}

impl Work {
    pub(super) fn read(entry: &RaftEntry) -> Self {
        let EntryPayload::Normal(bytes) = &entry.payload else {
            return Self::Nothing;
        };
        if let Some(decision) = bytes.read_decision() {
            return Self::Decision(decision.index);
        }
        match bytes.read() {
            Ok(work) => Self::Entry(work),
            Err(error) => Self::Unreadable(error.to_string()),
        }
    }
}

impl Applying {
    /// Applies an entry, by the rule that was decided for it if there is one.
    pub(super) fn apply(
        &self,
        state: &mut State,
        entry: RaftEntry,
        work: &Work,
        rule: Option<EntryRule>,
    ) -> Result<Response, NotApplied> {
        let log_id = entry.log_id;
        let response = match (work, rule) {
            (Work::Entry(_) | Work::Unreadable(_), Some(EntryRule::Refuse)) => {
                tracing::warn!(index = log_id.index, "an entry is refused by a rule in the log");
                state.refused.insert(log_id.index);
                Response::Nothing
            }
            (Work::Entry(work), None) => self.apply_work(&mut state.ledger, log_id.index, work)?,
            (Work::Unreadable(what), None) => {
                return Err(halted(HaltCause::Unreadable, log_id.index, None, what));
            }
            (Work::Decision(about), _) => {
                // A decision on an entry that is not applied yet takes effect with that entry:
                // `log_store/decisions.rs`.
                let is_known = *about > log_id.index || state.refused.contains(about);
                if !is_known {
                    let what = format!(
                        "entry {} refuses entry {about}, which this replica has applied: it differs from the others",
                        log_id.index
                    );
                    return Err(halted(HaltCause::DecidedOtherwise, log_id.index, None, what));
                }
                Response::Nothing
            }
            (Work::Nothing, _) => Response::Nothing,
        };
        if let EntryPayload::Membership(membership) = entry.payload {
            state.membership = StoredMembership::new(Some(log_id), membership);
        }
        state.applied = Some(log_id);
        add(&self.counters.entries_applied, 1);
        Ok(response)
    }

    /// Applies commands. The changes are written before the lock is released, so a snapshot never misses one.
    /// They are not synced: the log is, and they can be derived from it again.
    fn apply_work(&self, ledger: &mut Ledger, log_index: u64, work: &Entry) -> Result<Response, NotApplied> {
        let Applied { outcomes, changes } = apply_to_ledger(ledger, log_index, work).map_err(|what| {
            add(&self.counters.invariant_violations, 1);
            halted(HaltCause::Violation, log_index, Some(work), what)
        })?;
        let unrecordable = |what: String| halted(HaltCause::Unrecordable, log_index, Some(work), what);
        records::write(&self.changes, log_index, &changes).map_err(|error| match error {
            NotWritten::Unrecordable(what) => unrecordable(what),
            // All other errors concern this replica's disk.
            NotWritten::Failed(error) => NotApplied::Failed(io::Error::other(error)),
        })?;
        if let Some(observer) = &self.observer {
            observer(log_index, work);
        }
        add(&self.counters.commands_applied, work.commands.len());
        Ok(Response::Outcomes(outcomes))
    }
}

/// Checks every invariant on the whole state.
pub(super) fn check(ledger: &Ledger) -> Result<(), Violation> {
    if defect::of_state(ledger) {
        return Err(Violation("the state is wrong, as planted".to_owned()));
    }
    ledger.check()
}

fn halted(cause: HaltCause, index: u64, entry: Option<&Entry>, what: impl std::fmt::Display) -> NotApplied {
    NotApplied::Halted(Box::new(Halt::new(cause, index, entry, what)))
}

/// Applies commands to the ledger. A panic counts as a violation that the ledger did not foresee, and must
/// not end the other shards of the node.
fn apply_to_ledger(ledger: &mut Ledger, log_index: u64, work: &Entry) -> Result<Applied, String> {
    let applying = AssertUnwindSafe(|| ledger.apply(log_index, work));
    let applied = match std::panic::catch_unwind(applying) {
        Ok(applied) => applied.map_err(|violation: Violation| violation.to_string())?,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            return Err(format!("applying panicked: {}", text.unwrap_or("without a text")));
        }
    };
    // The defect strikes after the ledger's work, like a violation that is noticed late.
    match defect::of(work) {
        Some(what) => Err(what),
        None => Ok(applied),
    }
}
