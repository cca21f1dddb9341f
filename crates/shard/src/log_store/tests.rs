//! openraft's own suite for log stores and state machines.

use std::sync::Arc;

use holdfast_ledger::LedgerOptions;
use holdfast_storage::{ChangeLog, ChangeLogOptions, FaultDisk, Log, LogOptions, SnapshotStore};
use openraft::StorageError;
use openraft::testing::log::{StoreBuilder, Suite};

use super::LogStore;
use crate::Host;
use crate::clock::LogClock;
use crate::health::Health;
use crate::raft_types::Types;
use crate::state_machine::StateMachine;

struct FreshStores;

impl StoreBuilder<Types, LogStore, StateMachine, ()> for FreshStores {
    async fn build(&self) -> Result<((), LogStore, StateMachine), StorageError<Types>> {
        let disk = Arc::new(FaultDisk::new(1));
        let log_options = LogOptions {
            segment_bytes: 1 << 20,
            max_record_bytes: 1 << 18,
            ..LogOptions::default()
        };
        let (log, _) = Log::open(disk.clone(), log_options).unwrap();
        let snapshots = SnapshotStore::open(disk.clone(), 0).unwrap();
        let (changes, _) = ChangeLog::open(disk, 0, ChangeLogOptions::default()).unwrap();
        let log = LogStore::new(log, 0);
        let (machine, _) = StateMachine::recover(
            LedgerOptions::default(),
            &log,
            (snapshots, changes),
            &Host::default(),
            LogClock::new(Host::default().wall_clock, 1, [1].into()),
            Health::new(0),
            Arc::default(),
        )
        .unwrap();
        Ok(((), log, machine))
    }
}

#[test]
fn openraft_accepts_the_store() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(Suite::test_all(FreshStores)).unwrap();
}
