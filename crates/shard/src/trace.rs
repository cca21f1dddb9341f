//! Spans of a submission's stages, for callers that are traced. For all others each span is [`Span::none`],
//! which costs nothing.
//!
//! ```text
//! submit ───────────────────────────────────────────┐   on the node that was asked, until the answer
//!   forward ──────────────────────────────────────┐ │   when another node leads: its spans are below
//!   propose ─┐                                    │ │   waits for a place in an entry
//!            quorum ─────────────────┐            │ │   until the entry is committed and its turn comes
//!              sync ──────┐          │            │ │   this node's own write and data sync
//!                                    apply ─┐     │ │   the ledger decides
//!   confirm ─┘                                          instead of all this: answered from a confirmed read
//! ```
//!
//! The quorum may do without this node's `sync`. Many submissions share an entry. Each traced one has its own
//! spans for the entry's stages, with the same times.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tracing::{Span, info_span};

/// Target of every span of a trace. A submission is traced when its caller is in a span with this target.
pub const TRACE_TARGET: &str = "holdfast::trace";

/// Returns the caller's span when it is traced, and otherwise none.
pub(crate) fn current() -> Span {
    let span = Span::current();
    match span.metadata() {
        Some(metadata) if metadata.target() == TRACE_TARGET => span,
        _ => Span::none(),
    }
}

/// Begins the stage `submit`, which lasts until there is an answer.
pub(crate) fn submit(shard: u32, commands: usize) -> Span {
    let caller = current();
    match caller.is_disabled() {
        true => caller,
        false => {
            info_span!(target: TRACE_TARGET, parent: &caller, "submit", "holdfast.shard" = shard, "holdfast.commands" = commands)
        }
    }
}

/// Begins the stage `forward`, in which another node is asked.
pub(crate) fn forward(to: u64) -> Span {
    let caller = current();
    match caller.is_disabled() {
        true => caller,
        false => {
            info_span!(target: TRACE_TARGET, parent: &caller, "forward", "holdfast.to_node_id" = to, "otel.kind" = "client")
        }
    }
}

/// Begins the stage `propose`, in which a submission waits for a place in an entry.
pub(crate) fn propose(caller: &Span) -> Span {
    match caller.is_disabled() {
        true => Span::none(),
        false => info_span!(target: TRACE_TARGET, parent: caller, "propose"),
    }
}

/// Begins the stage `confirm`, in which a submission waits for a confirmed read that answers it.
pub(crate) fn confirm(caller: &Span) -> Span {
    match caller.is_disabled() {
        true => Span::none(),
        false => info_span!(target: TRACE_TARGET, parent: caller, "confirm"),
    }
}

/// Traces of the submissions in one entry, from the moment when it is handed to Raft.
#[derive(Debug)]
pub(crate) struct EntryTrace {
    waiting: Mutex<Vec<Waiting>>,
}

/// One traced submission of an entry.
#[derive(Debug)]
struct Waiting {
    caller: Span,
    quorum: Span,
}

impl EntryTrace {
    /// Begins the stage `quorum` for each caller. Returns `None` when no caller is traced.
    pub(crate) fn begin(callers: Vec<Span>, commands: usize) -> Option<Arc<Self>> {
        if callers.is_empty() {
            return None;
        }
        let wait = |caller: Span| {
            let quorum = info_span!(target: TRACE_TARGET, parent: &caller, "quorum", "holdfast.entry_commands" = commands);
            Waiting { caller, quorum }
        };
        let waiting = Mutex::new(callers.into_iter().map(wait).collect());
        Some(Arc::new(Self { waiting }))
    }

    /// Begins the stage `sync`, which ends when the returned spans are dropped.
    pub(crate) fn sync(&self) -> Vec<Span> {
        let sync = |each: &Waiting| info_span!(target: TRACE_TARGET, parent: &each.quorum, "sync");
        self.waiting.lock().iter().map(sync).collect()
    }

    /// Ends the stage `quorum` and begins `apply`, which ends when the returned spans are dropped.
    fn apply(&self, log_index: u64) -> Vec<Span> {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        let apply = |each: Waiting| {
            // A span ends at the moment when it is last left. This leaves it now, although a slow `sync`
            // below it may keep it open.
            each.quorum.in_scope(|| ());
            info_span!(target: TRACE_TARGET, parent: &each.caller, "apply", "holdfast.log_index" = log_index)
        };
        waiting.into_iter().map(apply).collect()
    }
}

/// Traces of one replica's entries that are in its log and not applied. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traces {
    /// Number of traced entries, so that no lock is taken in the usual case of none.
    count: Arc<AtomicUsize>,
    by_index: Arc<Mutex<BTreeMap<u64, Arc<EntryTrace>>>>,
}

impl Traces {
    /// Records the entry that is written at this index, in place of an earlier one.
    pub(crate) fn written(&self, log_index: u64, trace: Option<&Arc<EntryTrace>>) {
        if trace.is_none() && self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut by_index = self.by_index.lock();
        match trace {
            Some(trace) => by_index.insert(log_index, Arc::clone(trace)),
            None => by_index.remove(&log_index),
        };
        self.count.store(by_index.len(), Ordering::Relaxed);
    }

    /// Begins the stage `apply` of the entry at this index, which ends when the returned spans are dropped.
    /// Forgets older entries, which will not be applied any more.
    pub(crate) fn apply(&self, log_index: u64) -> Vec<Span> {
        if self.count.load(Ordering::Relaxed) == 0 {
            return Vec::new();
        }
        let mut by_index = self.by_index.lock();
        let later = by_index.split_off(&(log_index + 1));
        let trace = std::mem::replace(&mut *by_index, later).remove(&log_index);
        self.count.store(by_index.len(), Ordering::Relaxed);
        trace.map_or_else(Vec::new, |trace| trace.apply(log_index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace() -> Arc<EntryTrace> {
        EntryTrace::begin(vec![Span::none()], 1).unwrap()
    }

    #[test]
    fn an_entry_that_another_replaced_is_not_taken_for_it() {
        let traces = Traces::default();
        traces.written(7, Some(&trace()));
        traces.written(8, Some(&trace()));
        traces.written(7, None);
        assert_eq!(traces.apply(7).len(), 0);
        assert_eq!(traces.apply(8).len(), 1);
        assert_eq!(traces.apply(8).len(), 0, "an entry is applied once");
    }

    #[test]
    fn what_is_skipped_is_forgotten() {
        let traces = Traces::default();
        traces.written(7, Some(&trace()));
        traces.written(9, Some(&trace()));
        assert_eq!(traces.apply(8).len(), 0);
        assert_eq!(traces.by_index.lock().len(), 1);
        assert_eq!(traces.apply(9).len(), 1);
    }

    #[test]
    fn who_is_not_traced_has_no_spans() {
        assert!(submit(0, 1).is_none() && forward(2).is_none());
        assert!(propose(&Span::none()).is_none() && confirm(&Span::none()).is_none());
        assert!(EntryTrace::begin(Vec::new(), 3).is_none());
    }
}
