//! The runner's knowledge of each shard of each sink.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

use crate::clock;
use crate::ends::Ends;
use crate::sink::Position;

/// The work of the task of one shard of a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It asks the target where it is.
    Opening,
    /// It delivers changes.
    Delivering,
    /// The target or the cluster cannot be reached; it tries again soon.
    Waiting,
    /// The target says no, and a person must act; it tries again seldom.
    Refused,
    /// Another runner delivers; it takes over when that one stops.
    Standby,
    /// It has stopped.
    Stopped,
}

/// How one shard of a sink stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardStatus {
    /// The state of its task.
    pub state: State,
    /// The last change that the target has.
    pub through_seq: u64,
    /// The log time of that change, in milliseconds since the Unix epoch; 0 when it is not known.
    pub log_time_ms: u64,
    /// The last change that was read from the cluster.
    pub read_through_seq: u64,
    /// The log time of the oldest change that was read and is not in the target yet; 0 when there is none.
    pub oldest_waiting_ms: u64,
    /// Changes that the target took, since the runner began.
    pub delivered: u64,
    /// Errors since the runner began.
    pub errors: u64,
    /// The error that it waits for, in words.
    pub error: Option<String>,
}

/// How one shard of a sink stands, beside the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The name of the sink.
    pub sink: String,
    /// The shard.
    pub shard: u32,
    /// How it stands.
    #[serde(flatten)]
    pub status: ShardStatus,
    /// The last change of the cluster; 0 when it is not known.
    pub last_seq: u64,
    /// Changes that the target lacks.
    pub lag_changes: u64,
    /// The age of the oldest change that the target lacks, in milliseconds; 0 when it lacks none.
    pub lag_ms: u64,
}

impl Report {
    fn new(sink: &str, shard: u32, status: &ShardStatus, ends: &Ends) -> Self {
        let last_seq = ends
            .last_seq(shard)
            .unwrap_or_default()
            .max(status.read_through_seq);
        let lag_changes = last_seq.saturating_sub(status.through_seq);
        // What was not even read is at most as old as what the target has.
        let oldest_ms = match status.oldest_waiting_ms {
            0 => status.log_time_ms,
            oldest_ms => oldest_ms,
        };
        let lag_ms = match (lag_changes, oldest_ms) {
            (0, _) | (_, 0) => 0,
            _ => clock::now_ms().saturating_sub(oldest_ms),
        };
        Self {
            sink: sink.to_owned(),
            shard,
            status: status.clone(),
            last_seq,
            lag_changes,
            lag_ms,
        }
    }
}

type Entries = BTreeMap<(String, u32), ShardStatus>;

/// The status of all shards of all sinks. Cheap to clone: all clones show the same.
#[derive(Debug, Clone)]
pub struct Board {
    entries: Arc<Mutex<Entries>>,
    ends: watch::Receiver<Ends>,
}

impl Board {
    pub(crate) fn new(ends: watch::Receiver<Ends>) -> Self {
        Self {
            entries: Arc::default(),
            ends,
        }
    }

    /// Returns how everything stands, in order of sink and shard.
    pub fn all(&self) -> Vec<Report> {
        let ends = self.ends.borrow().clone();
        let entries = self.lock();
        let reports = entries.iter();
        reports
            .map(|((sink, shard), status)| Report::new(sink, *shard, status, &ends))
            .collect()
    }

    /// Makes the entry of one shard of a sink.
    pub(crate) fn entry(&self, sink: &str, shard: u32) -> Entry {
        let status = ShardStatus {
            state: State::Opening,
            through_seq: 0,
            log_time_ms: 0,
            read_through_seq: 0,
            oldest_waiting_ms: 0,
            delivered: 0,
            errors: 0,
            error: None,
        };
        self.lock().insert((sink.to_owned(), shard), status);
        Entry {
            board: self.clone(),
            sink: sink.to_owned(),
            shard,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // A status is never half written: each update assigns plain values.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The entry of one shard of a sink, which its task keeps up to date.
#[derive(Debug)]
pub(crate) struct Entry {
    board: Board,
    sink: String,
    shard: u32,
}

impl Entry {
    /// Returns the name of the sink.
    pub(crate) fn sink(&self) -> &str {
        &self.sink
    }

    /// Returns how it stands.
    pub(crate) fn now(&self) -> Option<ShardStatus> {
        self.board.lock().get(&(self.sink.clone(), self.shard)).cloned()
    }

    pub(crate) fn update(&self, update: impl FnOnce(&mut ShardStatus)) {
        if let Some(status) = self.board.lock().get_mut(&(self.sink.clone(), self.shard)) {
            update(status);
        }
    }

    pub(crate) fn state(&self, state: State) {
        self.update(|status| status.state = state);
    }

    pub(crate) fn opened(&self, at: Position) {
        self.update(|status| {
            status.state = State::Delivering;
            status.through_seq = at.through_seq;
            status.log_time_ms = at.log_time_ms;
            status.read_through_seq = at.through_seq;
            status.oldest_waiting_ms = 0;
            status.error = None;
        });
    }

    pub(crate) fn failed(&self, state: State, error: String) {
        self.update(|status| {
            status.state = state;
            status.errors += 1;
            status.error = Some(error);
        });
    }
}
