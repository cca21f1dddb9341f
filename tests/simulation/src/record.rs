//! The record of what the replicas did: applied entries and changes, compared between replicas as they come.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_ledger::{Change, Entry, encode_entry};
use holdfast_shard::{EntryObserver, GivenVote, ReplicaId};
use parking_lot::Mutex;

use crate::time::{EPOCH_MS, TrueTime};
use crate::trace::Trace;

/// Most milliseconds by which log time may be ahead of true time: the error of the right clocks.
pub const CLOCK_ERROR_MS: u64 = 25;

/// One committed entry with commands or time.
#[derive(Debug, Clone)]
pub struct AppliedEntry {
    /// The content of the entry.
    pub entry: Entry,
    /// Time when a replica first applied it, in milliseconds since the beginning.
    pub first_applied_ms: u64,
}

/// The record of a run. Clones share its content.
#[derive(Clone)]
pub struct Record {
    time: TrueTime,
    trace: Trace,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Entries by shard, then by index.
    entries: BTreeMap<u32, BTreeMap<u64, AppliedEntry>>,
    /// Changes by shard, then by sequence number.
    changes: BTreeMap<u32, BTreeMap<u64, Change>>,
    /// Times at which a clock was wrong and others could not be asked.
    disputed_ms: BTreeSet<u64>,
    /// The last vote that each replica told a peer, by replica and shard.
    votes: BTreeMap<(ReplicaId, u32), GivenVote>,
    applied: u64,
    tailed: u64,
    violations: BTreeSet<String>,
}

impl Record {
    /// Makes an empty record.
    pub fn new(time: TrueTime, trace: Trace) -> Self {
        Self {
            time,
            trace,
            state: Arc::default(),
        }
    }

    /// Notes that something happened which must not.
    pub fn violation(&self, what: impl Into<String>) {
        self.state.lock().violations.insert(what.into());
    }

    /// Returns everything that happened and must not.
    pub fn violations(&self) -> Vec<String> {
        self.state.lock().violations.iter().cloned().collect()
    }

    /// Returns an observer of the entries that one replica applies.
    pub fn observer(&self, node: u64, shard: u32) -> EntryObserver {
        let record = self.clone();
        Arc::new(move |index, entry| record.applied(node, shard, index, entry))
    }

    fn applied(&self, node: u64, shard: u32, index: u64, entry: &Entry) {
        let bytes = encode_entry(entry);
        self.trace
            .event("applied", &[node, u64::from(shard), index], &bytes);
        let now_ms = self.time.now_ms();
        let mut state = self.state.lock();
        state.applied += 1;
        let entries = state.entries.entry(shard).or_default();
        let wrong = match entries.get(&index) {
            Some(known) if known.entry == *entry => None,
            Some(_) => Some(format!(
                "node {node} applied another entry at {index} of shard {shard}"
            )),
            None => {
                let ahead_ms = entry.log_time_ms.saturating_sub(EPOCH_MS + now_ms);
                let first = AppliedEntry {
                    entry: entry.clone(),
                    first_applied_ms: now_ms,
                };
                entries.insert(index, first);
                (ahead_ms > CLOCK_ERROR_MS).then(|| {
                    format!("entry {index} of shard {shard} is stamped {ahead_ms} ms ahead of the time")
                })
            }
        };
        state.violations.extend(wrong);
    }

    /// Notes a change that a reader of the change stream got from a node.
    pub fn change(&self, node: u64, shard: u32, change: Change) {
        let mut state = self.state.lock();
        state.tailed += 1;
        let changes = state.changes.entry(shard).or_default();
        let seq = change.seq;
        let wrong = match changes.get(&seq) {
            Some(known) if *known == change => None,
            Some(known) => Some(format!(
                "node {node} streams another change {seq} of shard {shard}:\n  {change:?}\n  {known:?}"
            )),
            None => {
                changes.insert(seq, change);
                None
            }
        };
        state.violations.extend(wrong);
    }

    /// Notes that a replica told a peer that it gave its vote.
    pub fn vote_given(&self, replica: ReplicaId, shard: u32, vote: GivenVote) {
        let mut state = self.state.lock();
        let last = state.votes.entry((replica, shard)).or_insert(vote);
        *last = vote.max(*last);
    }

    /// Notes that a replica starts with this vote in its log. It must be the last one that it told a peer, or
    /// a later one.
    pub fn vote_found(&self, replica: ReplicaId, shard: u32, found: Option<GivenVote>) {
        let mut state = self.state.lock();
        let told = state.votes.get(&(replica, shard)).copied();
        if found < told {
            state.violations.insert(format!(
                "replica {replica} gave {told:?} in shard {shard} and knows only {found:?} after it lost power"
            ));
        }
    }

    /// Notes that a minority of clocks is wrong at this moment and some of the right ones cannot be asked.
    /// Then log time may be late, and holds of that time end early when it is right again: that is one fault
    /// more than a cluster promises to bear.
    pub fn clocks_disputed(&self) {
        self.state.lock().disputed_ms.insert(self.time.now_ms());
    }

    /// Returns whether clocks were disputed at any time between these two.
    pub fn were_clocks_disputed(&self, from_ms: u64, to_ms: u64) -> bool {
        self.state
            .lock()
            .disputed_ms
            .range(from_ms.min(to_ms)..=to_ms)
            .next()
            .is_some()
    }

    /// Returns the committed entries of a shard that any replica applied.
    pub fn entries(&self, shard: u32) -> BTreeMap<u64, AppliedEntry> {
        self.state.lock().entries.get(&shard).cloned().unwrap_or_default()
    }

    /// Returns the changes of a shard that any reader got.
    pub fn changes(&self, shard: u32) -> BTreeMap<u64, Change> {
        self.state.lock().changes.get(&shard).cloned().unwrap_or_default()
    }

    /// Returns how often replicas applied an entry, and how many changes readers got.
    pub fn work(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.applied, state.tailed)
    }
}
