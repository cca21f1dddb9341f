//! Entries with more changes than one record holds.

use std::sync::Arc;

use holdfast_ledger::{
    Action, Change, Command, Details, Entry, Ledger, LedgerOptions, OperationId, Principal, ReserveLine,
    ReserveMode, Rules, Sku, Source, Sourcing, StorefrontId, WarehouseId,
};
use holdfast_storage::{ChangeLog, ChangeLogOptions, FaultDisk};

use super::write;
use crate::codec;
use crate::limits::RECORD_CHANGES;

const LINES: u64 = 1024;
const ORDERS: u64 = 70;
const NOW_MS: u64 = 1_800_000_000_000;

fn id(number: u64) -> OperationId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&NOW_MS.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[8] = 0x80;
    OperationId::from_slice(&bytes).unwrap()
}

fn sku(number: u64) -> Sku {
    Sku::new(format!("{number:0128}")).unwrap()
}

fn command(number: u64, action: Action) -> Command {
    Command {
        operation_id: id(number),
        principal: Principal::new("p".repeat(Principal::MAX_BYTES)).unwrap(),
        reference: Default::default(),
        reason: Default::default(),
        details: Details::default(),
        action,
    }
}

fn receive(number: u64) -> Command {
    let action = Action::Receive {
        sku: sku(number),
        warehouse: WarehouseId::new("w".repeat(WarehouseId::MAX_BYTES)).unwrap(),
        quantity: 1_000_000,
        supply_id: None,
    };
    command(1_000_000 + number, action)
}

fn reserve(number: u64) -> Command {
    let line = |number| ReserveLine {
        sku: sku(number),
        quantity: 1,
        source: Source::Any,
    };
    let action = Action::Reserve {
        storefront: StorefrontId::new("s".repeat(StorefrontId::MAX_BYTES)).unwrap(),
        lines: (0..LINES).map(line).collect(),
        ttl_ms: 60_000,
        mode: ReserveMode::AllOrNothing,
        sourcing: Sourcing::AsGiven,
    };
    command(number, action)
}

/// Returns the changes of three entries: stock, orders, and the commits of all orders.
fn entries() -> Vec<Vec<Change>> {
    let mut ledger = Ledger::with_rules(LedgerOptions::default(), Rules::NEWEST);
    let commit = |number| {
        let reservation_id = id(number);
        command(2_000_000 + number, Action::Commit { reservation_id })
    };
    let entries: [Vec<Command>; 3] = [
        (0..LINES).map(receive).collect(),
        (0..ORDERS).map(reserve).collect(),
        (0..ORDERS).map(commit).collect(),
    ];
    let mut apply = |(index, commands)| {
        let entry = Entry {
            log_time_ms: NOW_MS,
            commands,
        };
        let applied = ledger.apply(index, &entry).unwrap();
        assert!(applied.outcomes.iter().all(Result::is_ok));
        applied.changes
    };
    (1..).zip(entries).map(&mut apply).collect()
}

fn open(disk: &FaultDisk) -> ChangeLog {
    let options = ChangeLogOptions::default();
    ChangeLog::open(Arc::new(disk.clone()), 0, options).unwrap().0
}

fn read_all(log: &ChangeLog) -> Vec<Change> {
    let mut all: Vec<Change> = Vec::new();
    while (all.len() as u64) < log.last_seq() {
        for record in log.read(all.len() as u64 + 1, 1 << 20).unwrap() {
            all.extend(codec::decode::<Vec<Change>>(&record.payload).unwrap());
        }
    }
    all
}

#[test]
fn no_entry_is_too_large_for_the_change_log() {
    let entries = entries();
    let disk = FaultDisk::new(1);
    let log = open(&disk);
    for (index, changes) in (1..).zip(&entries) {
        write(&log, index, changes).unwrap();
    }
    let written = entries.concat();
    assert_eq!(read_all(&log), written);
    // The last entry is in several records, and one of them starts in its middle.
    let middle = written.len() as u64 - 1;
    let record = log.read(middle, 0).unwrap().remove(0);
    assert_eq!(record.log_index, 3);
    assert!(record.first_seq > entries[0].len() as u64 + entries[1].len() as u64 + 1);
    assert!(record.last_seq - record.first_seq < RECORD_CHANGES as u64);
    // After a restart, the entries are applied again and match the existing records.
    drop(log);
    let log = open(&disk);
    for (index, changes) in (1..).zip(&entries) {
        write(&log, index, changes).unwrap();
    }
    assert_eq!(read_all(&log), written);
}

#[test]
fn an_entry_that_a_crash_left_in_part_is_completed_when_it_is_applied_again() {
    let entries = entries();
    let disk = FaultDisk::new(2);
    let log = open(&disk);
    write(&log, 1, &entries[0]).unwrap();
    write(&log, 2, &entries[1]).unwrap();
    let whole = codec::encode(&entries[2]).unwrap();
    assert!(whole.len() > log.max_record_bytes());
    let part = &entries[2][..3 * RECORD_CHANGES];
    for piece in part.chunks(RECORD_CHANGES) {
        let record = holdfast_storage::ChangeRecord {
            first_seq: piece[0].seq,
            last_seq: piece[RECORD_CHANGES - 1].seq,
            log_index: 3,
            payload: codec::encode(piece).unwrap(),
        };
        log.append(record).unwrap();
    }
    log.sync().unwrap();
    drop(log);
    let log = open(&disk.crash());
    assert_eq!(log.last_seq(), part[part.len() - 1].seq);
    write(&log, 3, &entries[2]).unwrap();
    assert_eq!(read_all(&log), entries.concat());
}
