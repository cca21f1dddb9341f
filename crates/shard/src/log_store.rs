//! Store of openraft's log and vote in the node's write-ahead log.

mod decisions;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};

use bytes::Bytes;
use futures::Stream;
use holdfast_storage::{GroupId, Log, LogError, LogRecord, Synced};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{EntryPayload, LogState, OptionalSend, RaftLogReader};
use tokio::sync::oneshot;

use crate::codec;
use crate::halt::EntryDecision;
use crate::raft_types::{LogId, RaftEntry, Types, Vote};
use crate::trace::Traces;

use decisions::{Decisions, MAX_DECISION_BYTES};

/// Approximate limit for the bytes of entries that are read, and sent to a peer, at once.
const READ_BYTES: usize = 1 << 20;

/// One group's part of the node's log. It is both reader and writer; cheap to clone.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Log,
    group: GroupId,
    traces: Traces,
    decisions: Decisions,
}

impl LogStore {
    pub(crate) fn new(log: Log, group: GroupId) -> Self {
        Self {
            log,
            group,
            traces: Traces::default(),
            decisions: Decisions::default(),
        }
    }

    /// Returns the traced entries that are in the log and not applied.
    pub(crate) fn traces(&self) -> Traces {
        self.traces.clone()
    }

    /// Returns the last entry that was known to be committed when this was last saved. Later ones may be
    /// committed too.
    pub(crate) fn committed(&self) -> io::Result<Option<LogId>> {
        Ok(read_optional::<Option<LogId>>(self.log.state(self.group).committed)?.flatten())
    }

    /// Looks for decisions on entries behind `applied`, once, before anything is applied.
    pub(crate) fn find_decisions(&self, applied: Option<LogId>) -> io::Result<()> {
        let state = self.log.state(self.group);
        let (Some(first), Some(last)) = (state.first_index, state.last_index) else {
            return Ok(());
        };
        let mut next = applied.map_or(0, |applied| applied.index + 1).max(first);
        while next <= last {
            let records = self
                .log
                .read(self.group, next..last + 1, READ_BYTES)
                .map_err(io::Error::other)?;
            // Raft itself reports a hole in the log when it starts.
            let Some(end) = records.last().map(|record| record.index + 1) else {
                break;
            };
            for record in records
                .iter()
                .filter(|record| record.payload.len() <= MAX_DECISION_BYTES)
            {
                self.decisions.note(&codec::decode(&record.payload)?);
            }
            next = end;
        }
        Ok(())
    }

    /// Returns the decision in the log on an entry, if the decision is known to be committed. `handed_over`
    /// is the last entry that Raft has handed over to be applied, so it is committed too.
    pub(crate) fn decision_on(&self, index: u64, handed_over: u64) -> io::Result<Option<EntryDecision>> {
        if self.decisions.is_empty() {
            return Ok(None);
        }
        let written_down = self.committed()?.map_or(0, |committed| committed.index);
        Ok(self.decisions.on(index, written_down.max(handed_over)))
    }

    /// Returns whether a decision on an entry up to `applied` follows later in the log.
    pub(crate) fn awaits_decision(&self, applied: u64) -> bool {
        self.decisions.awaited(applied)
    }

    /// Returns whether the log has every entry after this one. `None` means before the first entry.
    pub(crate) fn goes_on_from(&self, log_id: Option<LogId>) -> bool {
        let purged = self.log.state(self.group).purged_through;
        purged.is_none_or(|purged| log_id.is_some_and(|log_id| log_id.index >= purged))
    }

    /// Returns entries from `start` on, before `end`: as many as fit, and at least one if there is one.
    pub(crate) fn read_some(&self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        let state = self.log.state(self.group);
        let (Some(first), Some(last)) = (state.first_index, state.last_index) else {
            return Ok(Vec::new());
        };
        let start = start.max(first);
        let end = end.min(last.saturating_add(1));
        if start >= end {
            return Ok(Vec::new());
        }
        let records = self
            .log
            .read(self.group, start..end, READ_BYTES)
            .map_err(io::Error::other)?;
        if records.is_empty() {
            return Err(io::Error::other(format!(
                "log of group {}: entry {start} is missing",
                self.group
            )));
        }
        records
            .iter()
            .enumerate()
            .map(|(offset, record)| read_record(record, start + offset as u64))
            .collect()
    }

    /// Passes on the committed entries after `applied`, in order, as far as this node knows them. These are
    /// the entries that a replica must apply again when it starts.
    pub(crate) fn replay<E: From<io::Error>>(
        &self,
        applied: Option<LogId>,
        apply: impl FnMut(RaftEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        match self.committed()? {
            Some(committed) => self.replay_through(applied, committed.index, apply),
            None => Ok(()),
        }
    }

    /// Passes on the entries after `applied`, in order, up to one that is known to be committed.
    pub(crate) fn replay_through<E: From<io::Error>>(
        &self,
        applied: Option<LogId>,
        through: u64,
        mut apply: impl FnMut(RaftEntry) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut next = applied.map_or(0, |applied| applied.index + 1);
        while next <= through {
            let entries = self.read_some(next, through + 1)?;
            // Raft itself reports a hole in the log when it starts.
            if entries.first().is_none_or(|first| first.log_id.index != next) {
                break;
            }
            for entry in entries {
                next = entry.log_id.index + 1;
                apply(entry)?;
            }
        }
        Ok(())
    }

    /// Returns all entries from `start` on, before `end`.
    pub(crate) fn read_all(&self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        let mut entries = self.read_some(start, end)?;
        while let Some(last) = entries.last() {
            let more = self.read_some(last.log_id.index + 1, end)?;
            if more.is_empty() {
                break;
            }
            entries.extend(more);
        }
        Ok(entries)
    }

    /// Hands over work that calls back once it is on disk, and waits for the call.
    async fn synced(&self, work: impl FnOnce(Synced) -> Result<(), LogError>) -> io::Result<()> {
        let (sender, receiver) = oneshot::channel();
        let synced: Synced = Box::new(move |result| {
            sender.send(result).ok();
        });
        work(synced).map_err(io::Error::other)?;
        match receiver.await {
            Ok(result) => result.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("the log was closed before the sync")),
        }
    }
}

fn read_record(record: &LogRecord, expected_index: u64) -> io::Result<RaftEntry> {
    let entry: RaftEntry = codec::decode(&record.payload)?;
    if record.index == expected_index && entry.log_id.index == expected_index {
        Ok(entry)
    } else {
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "entry {} of the log is stored at {}",
                entry.log_id.index, record.index
            ),
        ))
    }
}

fn read_optional<T: serde::de::DeserializeOwned>(bytes: Option<Bytes>) -> io::Result<Option<T>> {
    bytes
        .map(|bytes| codec::decode(&bytes))
        .transpose()
        .map_err(io::Error::from)
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<RaftEntry>> {
        let (start, end) = bounds(&range);
        self.read_all(start, end)
    }

    /// Reads in portions, so that a long replay does not hold everything in memory.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<RaftEntry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let portions = futures::stream::unfold(Some((self.clone(), start)), move |state| async move {
            let (store, start) = state?;
            match store.read_some(start, end) {
                Ok(entries) if entries.is_empty() => None,
                Ok(entries) => {
                    let next = start.max(entries.last().map_or(start, |last| last.log_id.index + 1));
                    Some((entries.into_iter().map(Ok).collect(), Some((store, next))))
                }
                Err(error) => Some((vec![Err(error)], None)),
            }
        });
        Box::pin(futures::StreamExt::flat_map(portions, futures::stream::iter))
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        read_optional(self.log.state(self.group).vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<RaftEntry>> {
        self.read_some(start, end)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let state = self.log.state(self.group);
        let last_purged_log_id: Option<LogId> = read_optional(state.purge_marker)?;
        let last_log_id = match state.last_index {
            Some(last) => self.read_some(last, last + 1)?.pop().map(|entry| entry.log_id),
            None => last_purged_log_id,
        };
        Ok(LogState {
            last_purged_log_id,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let vote = codec::encode(vote)?;
        self.synced(|synced| self.log.save_vote(self.group, vote, synced))
            .await
    }

    /// Saves without a sync, because openraft waits for this on every commit.
    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let committed = codec::encode(&committed)?;
        self.log
            .save_committed(self.group, committed)
            .map_err(io::Error::other)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.committed()
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = RaftEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut syncs = Vec::new();
        let records = entries
            .into_iter()
            .map(|entry| {
                let trace = match &entry.payload {
                    EntryPayload::Normal(bytes) => bytes.trace.as_ref(),
                    EntryPayload::Blank | EntryPayload::Membership(_) => None,
                };
                self.traces.written(entry.log_id.index, trace);
                self.decisions.note(&entry);
                if let Some(trace) = trace {
                    syncs.extend(trace.sync());
                }
                Ok(LogRecord {
                    index: entry.log_id.index,
                    payload: codec::encode(&entry)?,
                })
            })
            .collect::<io::Result<Vec<_>>>()?;
        // This is the only place where an append is reported as durable.
        let synced: Synced = Box::new(move |result| {
            drop(syncs);
            callback.io_completed(result.map_err(io::Error::other));
        });
        self.log
            .append(self.group, records, synced)
            .map_err(io::Error::other)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let from = last_log_id.map_or(0, |last| last.index + 1);
        self.decisions.truncate(from);
        self.synced(|synced| self.log.truncate_from(self.group, from, synced))
            .await
    }

    /// Purges without waiting: after a crash an extra entry does no harm, and the next append reports a
    /// failure.
    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let marker = codec::encode(&log_id)?;
        self.log
            .purge_through(self.group, log_id.index, marker, Box::new(|_| ()))
            .map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests;
