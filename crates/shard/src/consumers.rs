//! Registered consumers as a replica sees them, and the history that it keeps for them.
//!
//! Every replica decides by itself what it drops, by its own ledger and log time. Both only move forward, so a
//! replica that is behind keeps more, never less. Whole segments are dropped, so replicas may differ by a part of
//! a segment.

use std::io;
use std::time::Duration;

use holdfast_ledger::{Change, ConsumerView};
use holdfast_storage::ChangeLog;
use tokio::sync::watch;

use crate::health::Health;
use crate::state_machine::SharedState;
use crate::{Host, codec};

/// Longest and shortest pause between two looks at the consumers.
const MOST_PAUSE: Duration = Duration::from_secs(5);
const LEAST_PAUSE: Duration = Duration::from_millis(100);

/// A registered consumer, as a replica sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerStatus {
    /// The consumer.
    pub consumer: ConsumerView,
    /// The number of changes that it has not passed.
    pub lag_changes: u64,
    /// The time for which the oldest of these changes has waited, in milliseconds by this node's clock. 0 when
    /// none waits, and when this replica does not have that change.
    pub lag_ms: u64,
    /// The time since its last advance, in milliseconds by this node's clock.
    pub advanced_ago_ms: u64,
}

/// Task that watches the consumers and drops what they have passed.
pub(crate) struct HistoryKeeper {
    pub(crate) shard: u32,
    pub(crate) changes: ChangeLog,
    pub(crate) state: SharedState,
    pub(crate) host: Host,
    pub(crate) health: Health,
    pub(crate) history_ms: u64,
    pub(crate) consumers: watch::Sender<Vec<ConsumerStatus>>,
}

/// The part of the ledger that the task looks at.
struct Seen {
    consumers: Vec<ConsumerView>,
    passed_seq: Option<u64>,
    log_time_ms: u64,
    last_seq: u64,
}

impl HistoryKeeper {
    pub(crate) async fn run(self, mut stopped: watch::Receiver<bool>) {
        let pause = Duration::from_millis(self.history_ms / 10).clamp(LEAST_PAUSE, MOST_PAUSE);
        let looking = async {
            loop {
                tokio::time::sleep(pause).await;
                if let Err(error) = self.look().await {
                    tracing::error!(shard = self.shard, %error, "old changes could not be dropped");
                }
            }
        };
        tokio::select! {
            () = looking => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    }

    async fn look(&self) -> io::Result<()> {
        let seen = {
            let state = self.state.read().await;
            // A ledger that halted may be between two entries.
            if !self.health.can_answer() {
                return Ok(());
            }
            Seen {
                consumers: state.ledger.consumers().collect(),
                passed_seq: state.ledger.passed_seq(),
                log_time_ms: state.ledger.log_time_ms(),
                last_seq: state.ledger.last_seq(),
            }
        };
        if seen.consumers.is_empty() {
            self.consumers
                .send_if_modified(|known| !std::mem::take(known).is_empty());
            return Ok(());
        }
        let (changes, now_ms) = (self.changes.clone(), (self.host.wall_clock)());
        let droppable = seen
            .passed_seq
            .map(|passed_seq| (passed_seq, seen.log_time_ms.saturating_sub(self.history_ms)));
        let shard = self.shard;
        let work = move || {
            if let Some((passed_seq, before_ms)) = droppable {
                drop_passed(shard, &changes, passed_seq, before_ms)?;
            }
            Ok(statuses(&changes, &seen, now_ms))
        };
        let statuses = self.host.threads.in_background(work).await?;
        self.consumers.send_replace(statuses);
        Ok(())
    }
}

/// Drops the segments whose changes are all passed, and older than a log time.
fn drop_passed(shard: u32, changes: &ChangeLog, passed_seq: u64, before_ms: u64) -> io::Result<()> {
    // Every start of a segment is a possible beginning. Log time grows with the changes, so those whose first
    // change is old enough come first.
    let starts = changes.segment_starts();
    let starts = starts.get(1..).unwrap_or_default();
    let passed = starts.partition_point(|start| *start <= passed_seq.saturating_add(1));
    let is_old = |start: &u64| log_time_ms(changes, *start).is_some_and(|at_ms| at_ms < before_ms);
    let old = starts[..passed].partition_point(is_old);
    let Some(begin) = old.checked_sub(1).map(|last| starts[last]) else {
        return Ok(());
    };
    let bytes = changes.drop_before(begin).map_err(io::Error::other)?;
    if bytes > 0 {
        tracing::info!(
            shard,
            begin,
            bytes,
            "changes that every required consumer has passed were dropped"
        );
    }
    Ok(())
}

/// Returns the log time of a change. None when this replica does not have it.
fn log_time_ms(changes: &ChangeLog, seq: u64) -> Option<u64> {
    let record = changes.read(seq, 1).ok()?.into_iter().next()?;
    let changes: Vec<Change> = codec::decode(&record.payload).ok()?;
    changes.first().map(|change| change.log_time_ms)
}

fn statuses(changes: &ChangeLog, seen: &Seen, now_ms: u64) -> Vec<ConsumerStatus> {
    let status = |consumer: &ConsumerView| {
        let lag_changes = seen.last_seq.saturating_sub(consumer.through_seq);
        let waits_since_ms = match lag_changes {
            0 => None,
            _ => log_time_ms(changes, consumer.through_seq + 1),
        };
        ConsumerStatus {
            consumer: consumer.clone(),
            lag_changes,
            lag_ms: waits_since_ms.map_or(0, |since_ms| now_ms.saturating_sub(since_ms)),
            advanced_ago_ms: now_ms.saturating_sub(consumer.advanced_at_ms),
        }
    };
    seen.consumers.iter().map(status).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use holdfast_ledger::{
        Action, Command, Details, Entry, Ledger, LedgerOptions, OperationId, Principal, Sku, WarehouseId,
    };
    use holdfast_storage::{ChangeLogOptions, ChangeRecord, FaultDisk};

    use super::*;

    const START_MS: u64 = 1_800_000_000_000;

    fn receive(number: u64) -> Command {
        let mut id = [0; 16];
        id[..6].copy_from_slice(&START_MS.to_be_bytes()[2..]);
        (id[6], id[8], id[15]) = (0x70, 0x80, number as u8);
        Command {
            operation_id: OperationId::from_slice(&id).unwrap(),
            principal: Principal::new("test").unwrap(),
            reference: Default::default(),
            reason: Default::default(),
            details: Details::default(),
            action: Action::Receive {
                sku: Sku::new("tea").unwrap(),
                warehouse: WarehouseId::new("north").unwrap(),
                quantity: 1,
                supply_id: None,
            },
        }
    }

    /// Writes ten segments of one change each. Change n has the log time 1,000 n after the start.
    fn written() -> ChangeLog {
        let options = ChangeLogOptions {
            segment_bytes: 100,
            ..ChangeLogOptions::default()
        };
        let (log, _) = ChangeLog::open(Arc::new(FaultDisk::new(1)), 1, options).unwrap();
        let mut ledger = Ledger::new(LedgerOptions::default());
        for seq in 1..11 {
            let entry = Entry {
                log_time_ms: START_MS + 1_000 * seq,
                commands: vec![receive(seq)],
            };
            let changes = ledger.apply(seq, &entry).unwrap().changes;
            assert_eq!((changes.len(), changes[0].seq), (1, seq));
            let record = ChangeRecord {
                first_seq: seq,
                last_seq: seq,
                log_index: seq,
                payload: codec::encode(&changes).unwrap(),
            };
            log.append(record).unwrap();
        }
        log.sync().unwrap();
        log
    }

    #[test]
    fn a_change_is_dropped_when_it_is_passed_and_old() {
        for (passed_seq, before_ms, begins_at) in [
            // Nobody has passed anything.
            (0, 20_000, 1),
            (4, 20_000, 5),
            (9, 20_000, 10),
            // Nothing is old enough.
            (9, 1_000, 1),
            // A segment goes when the first change after it is old enough.
            (9, 2_001, 2),
            (9, 2_000, 1),
            (3, 8_000, 4),
            // The segment that is being written stays.
            (10, 20_000, 10),
        ] {
            let log = written();
            drop_passed(7, &log, passed_seq, START_MS + before_ms).unwrap();
            assert_eq!(log.begins_at(), begins_at, "{passed_seq} {before_ms}");
        }
    }
}
