//! Tests of the store: openraft's own suite for log stores and state machines, and whether a vote is on disk,
//! which that suite does not check.

use std::sync::Arc;

use futures::FutureExt as _;
use holdfast_ledger::LedgerOptions;
use holdfast_storage::{ChangeLog, ChangeLogOptions, FaultDisk, Log, LogOptions, SnapshotStore, Writer};
use openraft::StorageError;
use openraft::storage::RaftLogStorage as _;
use openraft::testing::log::{StoreBuilder, Suite};

use super::LogStore;
use crate::Host;
use crate::clock::LogClock;
use crate::health::Health;
use crate::raft_types::{Types, Vote};
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
            (LedgerOptions::default(), 1_000),
            log.clone(),
            (snapshots, changes),
            &Host::default(),
            (
                LogClock::new(Host::default().wall_clock, 1, [1].into()),
                Health::new(0),
            ),
            Arc::default(),
            tokio::sync::watch::channel(false).1,
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

#[test]
fn a_vote_is_saved_only_when_it_is_on_disk() {
    let disk = FaultDisk::new(1);
    let options = LogOptions {
        segment_bytes: 1 << 20,
        max_record_bytes: 1 << 18,
        writer: Writer::Caller,
        ..LogOptions::default()
    };
    let (log, _) = Log::open(Arc::new(disk.clone()), options.clone()).unwrap();
    let mut store = LogStore::new(log.clone(), 0);
    let vote = Vote::new(7, 2);
    let mut saving = Box::pin(store.save_vote(&vote));
    assert!(
        (&mut saving).now_or_never().is_none(),
        "a node that answers now and loses its power votes again"
    );
    log.drain();
    let saved = saving.now_or_never();
    assert!(matches!(saved, Some(Ok(()))), "{saved:?}");

    let (log, _) = Log::open(Arc::new(disk.crash()), options).unwrap();
    let found = super::read_optional::<Vote>(log.state(0).vote).unwrap();
    assert_eq!(found, Some(vote));
}
