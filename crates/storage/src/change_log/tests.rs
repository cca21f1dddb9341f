//! Tests of the change log.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{ChangeLog, ChangeLogError, ChangeLogOptions, ChangeLogReport, ChangeRecord};
use crate::inspect::inspect_disk;
use crate::{FaultDisk, FileError};

fn options() -> ChangeLogOptions {
    ChangeLogOptions {
        segment_bytes: 1000,
        max_record_bytes: 500,
        index_every_bytes: 200,
    }
}

pub(super) fn open(disk: &FaultDisk) -> (ChangeLog, ChangeLogReport) {
    ChangeLog::open(Arc::new(disk.clone()), 0, options()).unwrap()
}

/// Makes the changes of one entry. `first_seq` decides everything else, as for a replayed entry.
pub(super) fn record(first_seq: u64) -> ChangeRecord {
    let last_seq = first_seq + first_seq % 3;
    let payload = Bytes::from(vec![first_seq as u8; 20 + (first_seq * 7 % 90) as usize]);
    ChangeRecord {
        first_seq,
        last_seq,
        log_index: first_seq + 100,
        payload,
    }
}

/// Makes all entries from change `first` to the first entry that ends at or after `through`.
pub(super) fn run(first: u64, through: u64) -> Vec<ChangeRecord> {
    let mut records = Vec::new();
    let mut next = first;
    while next <= through {
        records.push(record(next));
        next = record(next).last_seq + 1;
    }
    records
}

pub(super) fn append(log: &ChangeLog, records: &[ChangeRecord]) {
    records
        .iter()
        .for_each(|record| log.append(record.clone()).unwrap());
}

pub(super) fn read_all(log: &ChangeLog, from_seq: u64) -> Result<Vec<ChangeRecord>, ChangeLogError> {
    let mut all = Vec::new();
    let mut next = from_seq;
    loop {
        let records = log.read(next, 300)?;
        let Some(last) = records.last() else {
            return Ok(all);
        };
        next = last.last_seq + 1;
        all.extend(records);
    }
}

#[test]
fn changes_are_read_from_any_place_over_segments() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    assert_eq!((log.first_seq(), log.last_seq()), (1, 0));
    assert_eq!(log.read(1, 100).unwrap(), []);
    let records = run(1, 200);
    append(&log, &records);
    assert!(disk.paths().len() > 5);
    for log in [log, open(&disk).0] {
        assert_eq!(log.first_seq(), 1);
        assert_eq!(log.last_seq(), records.last().unwrap().last_seq);
        for from in 0..=log.last_seq() {
            let expected: Vec<_> = records
                .iter()
                .filter(|record| record.last_seq >= from)
                .cloned()
                .collect();
            assert_eq!(read_all(&log, from).unwrap(), expected);
        }
        assert_eq!(log.read(5, 0).unwrap().len(), 1);
        assert_eq!(log.read(log.last_seq() + 1, 100).unwrap(), []);
    }
}

#[test]
fn a_replayed_record_is_compared_and_skipped() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    let records = run(1, 100);
    append(&log, &records);
    let paths = disk.paths();
    append(&log, &records[10..]);
    append(&log, &records[3..9]);
    assert_eq!(disk.paths(), paths);
    assert_eq!(read_all(&log, 1).unwrap(), records);
    let other = ChangeRecord {
        payload: Bytes::from_static(b"other"),
        ..records[5].clone()
    };
    assert!(matches!(log.append(other), Err(ChangeLogError::Diverged { .. })));
    let longer = ChangeRecord {
        last_seq: log.last_seq() + 1,
        ..records[5].clone()
    };
    assert!(matches!(log.append(longer), Err(ChangeLogError::Diverged { .. })));
    append(&log, &[record(log.last_seq() + 1)]);
}

#[test]
fn what_does_not_continue_the_sequence_is_refused() {
    let (log, _) = open(&FaultDisk::new(1));
    append(&log, &run(1, 10));
    let next = log.last_seq() + 1;
    for wrong in [
        record(next + 1),
        ChangeRecord {
            first_seq: 0,
            ..record(1)
        },
        ChangeRecord {
            last_seq: next - 1,
            ..record(next)
        },
    ] {
        assert!(matches!(
            log.append(wrong),
            Err(ChangeLogError::NotContiguous { .. })
        ));
    }
    let large = ChangeRecord {
        payload: Bytes::from(vec![0; 501]),
        ..record(next)
    };
    assert!(matches!(
        log.append(large),
        Err(ChangeLogError::RecordTooLarge {
            bytes: 501,
            limit_bytes: 500
        })
    ));
    append(&log, &[record(next)]);
}

#[test]
fn after_a_snapshot_older_history_is_readable_up_to_the_gap() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    let old = run(1, 50);
    append(&log, &old);
    let gap_from = log.last_seq() + 1;
    log.reset_to(gap_from).unwrap();
    log.reset_to(3).unwrap();
    assert_eq!(log.first_seq(), 1);
    log.reset_to(1000).unwrap();
    let disk = disk.crash();
    let (log, _) = open(&disk);
    assert_eq!((log.first_seq(), log.last_seq()), (1000, 999));
    let new = run(1000, 1100);
    append(&log, &new);
    log.sync().unwrap();
    let disk = disk.crash();
    for log in [log_of(&disk), log_of(&disk)] {
        assert_eq!(log.first_seq(), 1000);
        assert_eq!(read_all(&log, 1000).unwrap(), new);
        assert_eq!(log.read(1, usize::MAX).unwrap(), old);
        for seq in [gap_from, 700, 999] {
            let gap = log.read(seq, 100);
            assert!(
                matches!(gap, Err(ChangeLogError::Gap { missing_from, next_seq: 1000 }) if missing_from == seq)
            );
        }
        log.append(record(700)).unwrap();
        assert!(matches!(log.read(700, 10), Err(ChangeLogError::Gap { .. })));
    }
}

fn log_of(disk: &FaultDisk) -> ChangeLog {
    open(disk).0
}

#[test]
fn a_failed_sync_ends_the_log() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    append(&log, &run(1, 10));
    disk.fail_sync_after(0);
    assert!(log.sync().is_err());
    assert!(log.append(record(log.last_seq() + 1)).is_err());
    assert!(log.sync().is_err());
}

#[test]
fn every_flipped_bit_is_found_or_in_the_unsynced_tail() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    let mut records = run(1, 40);
    append(&log, &records);
    log.sync().unwrap();
    // This record is written after the sync, so it reports everything before it as durable.
    let synced = log.last_seq();
    records.push(record(synced + 1));
    append(&log, &records[records.len() - 1..]);
    drop(log);
    for path in disk.paths() {
        let original = disk.content(&path).unwrap();
        for offset in 0..original.len() {
            let bit = (offset % 8) as u8;
            let copy = FaultDisk::new(1);
            disk.paths()
                .iter()
                .for_each(|path| copy.set_content(path, disk.content(path).unwrap()));
            copy.flip_bit(&path, offset as u64, bit);
            let damage = inspect_disk(Arc::new(copy.clone())).damage;
            let (log, report) = open(&copy);
            match read_all(&log, 1) {
                // A bit of the header may not affect what is read.
                Ok(read) if offset < 64 => assert!(read == records || report.torn.is_some()),
                Ok(read) => assert!(
                    records.starts_with(&read)
                        && read.last().unwrap().last_seq >= synced
                        && report.torn.is_some()
                ),
                Err(ChangeLogError::File(FileError::Corrupt { file, .. })) => {
                    assert_eq!(file, path);
                    assert!(
                        damage.iter().any(|line| line.contains(&path)),
                        "{path} byte {offset}: {damage:?}"
                    );
                }
                Err(error) => panic!("{path} byte {offset}: {error}"),
            }
        }
    }
}

#[test]
fn a_log_cut_anywhere_in_its_last_segment_gives_a_prefix() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    let records = run(1, 40);
    append(&log, &records);
    drop(log);
    let path = disk.paths().pop().unwrap();
    let original = disk.content(&path).unwrap();
    for length in 0..original.len() {
        disk.set_content(&path, original[..length].to_vec());
        let (log, report) = open(&disk);
        let read = read_all(&log, 1).unwrap();
        assert!(records.starts_with(&read));
        assert!(report.torn.is_some() || length == 64 || read.len() < records.len());
        append(&log, &records[read.len()..]);
        assert_eq!(read_all(&log, 1).unwrap(), records);
    }
}

#[derive(Debug, Clone)]
enum Call {
    Append(u8),
    Sync,
    Crash,
    Reset(u64),
    Replay(u64),
    Drop(u64),
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    let call = prop_oneof![
        6 => (1u8..12).prop_map(Call::Append),
        3 => Just(Call::Sync),
        3 => Just(Call::Crash),
        1 => (1u64..60).prop_map(Call::Reset),
        2 => (0u64..30).prop_map(Call::Replay),
        2 => (0u64..40).prop_map(Call::Drop),
    ];
    prop::collection::vec(call, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn what_was_synced_survives_and_the_rest_is_a_prefix(seed in any::<u64>(), calls in calls()) {
        let mut disk = FaultDisk::new(seed);
        let mut log = log_of(&disk);
        let mut run_start = 1;
        let mut records: Vec<ChangeRecord> = Vec::new();
        let mut synced = 0;
        for call in calls {
            match call {
                Call::Append(count) => for _ in 0..count {
                    let next = record(log.last_seq() + 1);
                    log.append(next.clone()).unwrap();
                    records.push(next);
                },
                Call::Sync => {
                    log.sync().unwrap();
                    synced = records.len();
                }
                Call::Crash => {
                    disk = disk.crash();
                    log = log_of(&disk);
                    let found = read_all(&log, run_start).unwrap();
                    prop_assert!(found.len() >= synced && records.starts_with(&found));
                    records = found;
                    synced = records.len();
                }
                Call::Reset(skip) => {
                    run_start = log.last_seq() + 1 + skip;
                    log.reset_to(run_start).unwrap();
                    records.clear();
                    synced = 0;
                }
                Call::Replay(back) => {
                    let from = records.len().saturating_sub(back as usize);
                    append(&log, &records[from..]);
                }
                Call::Drop(back) => {
                    log.sync().unwrap();
                    log.drop_before((log.last_seq() + 1).saturating_sub(back)).unwrap();
                    let begins_at = log.begins_at();
                    run_start = run_start.max(begins_at);
                    records.retain(|record| record.first_seq >= begins_at);
                    synced = records.len();
                }
            }
            prop_assert_eq!(log.first_seq(), run_start);
            prop_assert_eq!(&read_all(&log, run_start).unwrap(), &records);
        }
    }

    #[test]
    fn garbage_is_never_served_and_never_panics(
        garbage in prop::collection::vec(any::<u8>(), 0..2500),
        at in 0usize..1100,
        segment in 0usize..3,
    ) {
        let disk = FaultDisk::new(1);
        let records = run(1, 40);
        append(&log_of(&disk), &records);
        let path = disk.paths()[segment].clone();
        let mut content = disk.content(&path).unwrap();
        content.truncate(at);
        content.extend_from_slice(&garbage);
        disk.set_content(&path, content);
        let log = log_of(&disk);
        let mut next = 1;
        while let Ok(read) = log.read(next, 1) {
            let Some(read) = read.first() else { break };
            prop_assert!(records.contains(read));
            next = read.last_seq + 1;
        }
    }
}

/// Repeats a case that `what_was_synced_survives_and_the_rest_is_a_prefix` found; its seed is kept beside it.
#[test]
fn a_segment_whose_header_lost_only_zeros_is_made_anew() {
    let records = run(1, 40);
    for length in 44..64 {
        let disk = FaultDisk::new(1);
        let log = log_of(&disk);
        append(&log, &records);
        drop(log);
        let path = disk.paths().pop().unwrap();
        let original = disk.content(&path).unwrap();
        disk.set_content(&path, original[..length].to_vec());
        let log = log_of(&disk);
        let kept = read_all(&log, 1).unwrap().len();
        append(&log, &records[kept..]);
        log.sync().unwrap();
        drop(log);
        let disk = disk.crash();
        assert_eq!(
            read_all(&log_of(&disk), 1).unwrap(),
            records,
            "cut to {length} bytes"
        );
    }
}

#[test]
fn what_a_failed_sync_left_in_memory_is_durable_after_the_next_one() {
    for seed in 0..50 {
        let disk = FaultDisk::new(seed);
        let (log, _) = open(&disk);
        let records = run(1, 40);
        append(&log, &records[..5]);
        log.sync().unwrap();
        append(&log, &records[5..]);
        disk.fail_sync_after(0);
        assert!(log.sync().is_err());
        drop(log);
        // The process ends and starts again. The power was never cut, so it reads everything that it wrote.
        let (log, _) = open(&disk);
        let last_seq = log.last_seq();
        log.sync().unwrap();
        drop(log);
        assert_eq!(open(&disk.crash()).0.last_seq(), last_seq, "seed {seed}");
    }
}
