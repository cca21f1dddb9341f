//! Tests of the write-ahead log.

mod damage;
mod model;
mod reclaim;
mod threads;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Log, LogError, LogOptions, LogRecord, LogReport, Synced, Writer};
use crate::{FaultDisk, GroupId};

/// Makes options with small segments, a small cache, and no threads.
fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        max_record_bytes: 16 << 10,
        cache_bytes_per_group: 500,
        writer: Writer::Caller,
        expects_mark: false,
    }
}

fn open(disk: &FaultDisk) -> (Log, LogReport) {
    Log::open(Arc::new(disk.clone()), options()).unwrap()
}

fn record(index: u64, bytes: usize) -> LogRecord {
    let content = format!("entry {index} ");
    LogRecord {
        index,
        payload: Bytes::from(content.bytes().cycle().take(bytes).collect::<Vec<u8>>()),
    }
}

fn records(range: Range<u64>, bytes: usize) -> Vec<LogRecord> {
    range.map(|index| record(index, bytes)).collect()
}

fn ignore() -> Synced {
    Box::new(|_| {})
}

type Told = Arc<Mutex<Option<Result<(), LogError>>>>;

/// Makes a callback, and the place where its result will be.
fn told() -> (Synced, Told) {
    let result = Arc::new(Mutex::new(None));
    let told = result.clone();
    let synced = move |outcome| {
        let earlier = told.lock().replace(outcome);
        assert!(earlier.is_none(), "called twice");
    };
    (Box::new(synced), result)
}

fn read_all(log: &Log, group: GroupId) -> Vec<LogRecord> {
    let state = log.state(group);
    let (Some(first), Some(last)) = (state.first_index, state.last_index) else {
        return Vec::new();
    };
    log.read(group, first..last + 1, usize::MAX).unwrap()
}

#[test]
fn entries_are_readable_at_once_and_told_after_the_sync() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    let (synced, result) = told();
    log.append(7, records(0..3, 300), synced).unwrap();
    assert_eq!(read_all(&log, 7), records(0..3, 300));
    assert!(result.lock().is_none());
    log.drain();
    assert!(matches!(*result.lock(), Some(Ok(()))));
    assert_eq!(read_all(&log, 7), records(0..3, 300));
}

#[test]
fn everything_is_there_after_a_close() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    log.append(1, records(5..10, 100), ignore()).unwrap();
    log.append(2, records(0..4, 100), ignore()).unwrap();
    log.truncate_from(1, 8, ignore()).unwrap();
    log.purge_through(2, 1, Bytes::from_static(b"marker"), ignore())
        .unwrap();
    log.save_vote(1, Bytes::from_static(b"vote"), ignore()).unwrap();
    log.save_committed(2, Bytes::from_static(b"committed")).unwrap();
    let states = [log.state(1), log.state(2)];
    log.close().unwrap();

    let (log, report) = open(&disk);
    assert_eq!(report.groups, [1, 2]);
    assert_eq!(report.torn, None);
    assert_eq!([log.state(1), log.state(2)], states);
    assert_eq!(read_all(&log, 1), records(5..8, 100));
    assert_eq!(read_all(&log, 2), records(2..4, 100));
    assert_eq!(log.state(2).purge_marker.as_deref(), Some(&b"marker"[..]));
}

#[test]
fn a_saved_commit_position_causes_no_sync_of_its_own() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    let before = disk.syncs();
    log.save_committed(1, Bytes::from_static(b"1")).unwrap();
    log.drain();
    assert_eq!(disk.syncs(), before);
    assert_eq!(log.state(1).committed.as_deref(), Some(&b"1"[..]));
    log.append(1, records(0..1, 10), ignore()).unwrap();
    log.drain();
    assert_eq!(disk.syncs(), before + 1);
    let (log, _) = open(&disk.crash());
    assert_eq!(log.state(1).committed.as_deref(), Some(&b"1"[..]));
}

#[test]
fn many_waiting_groups_share_one_sync() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    let before = disk.syncs();
    for group in 0..50 {
        log.append(group, records(0..2, 20), ignore()).unwrap();
    }
    log.drain();
    assert_eq!(disk.syncs(), before + 1);
}

#[test]
fn what_does_not_continue_the_log_is_refused_and_changes_nothing() {
    let (log, _) = open(&FaultDisk::new(1));
    log.append(1, records(3..6, 10), ignore()).unwrap();
    for wrong in [
        records(5..6, 10),
        records(7..8, 10),
        vec![record(6, 10), record(8, 10)],
    ] {
        assert!(matches!(
            log.append(1, wrong, ignore()),
            Err(LogError::NotContiguous { group: 1, .. })
        ));
    }
    let large = log.append(1, records(6..7, (16 << 10) + 1), ignore());
    assert!(matches!(
        large,
        Err(LogError::RecordTooLarge {
            bytes: 16385,
            limit_bytes: 16384
        })
    ));
    let vote = log.save_vote(1, Bytes::from(vec![0; 1025]), ignore());
    assert!(matches!(vote, Err(LogError::RecordTooLarge { .. })));
    assert_eq!(read_all(&log, 1), records(3..6, 10));

    log.purge_through(1, 9, Bytes::new(), ignore()).unwrap();
    assert_eq!(log.state(1).last_index, None);
    assert!(matches!(
        log.append(1, records(9..10, 1), ignore()),
        Err(LogError::NotContiguous { expected: 10, .. })
    ));
    assert!(matches!(
        log.truncate_from(1, 9, ignore()),
        Err(LogError::Purged {
            index: 9,
            purged_through: 9,
            ..
        })
    ));
    assert!(matches!(log.read(1, 9..11, 100), Err(LogError::Purged { .. })));
    log.append(1, records(10..11, 1), ignore()).unwrap();
}

#[test]
fn a_read_is_bounded_by_bytes_but_gives_at_least_one_entry() {
    let (log, _) = open(&FaultDisk::new(1));
    log.append(1, records(0..10, 1000), ignore()).unwrap();
    log.drain();
    assert_eq!(log.read(1, 2..9, 3500).unwrap(), records(2..5, 1000));
    assert_eq!(log.read(1, 2..9, 1).unwrap(), records(2..3, 1000));
    assert_eq!(log.read(1, 8..50, 1 << 20).unwrap(), records(8..10, 1000));
    assert_eq!(log.read(1, 10..50, 1 << 20).unwrap(), []);
    assert_eq!(log.read(99, 0..50, 1 << 20).unwrap(), []);
}

#[test]
fn a_failed_sync_is_told_to_all_who_wait_and_all_who_come() {
    for writes_fail in [false, true] {
        let disk = FaultDisk::new(1);
        let (log, _) = open(&disk);
        let (noticed, failure) = told();
        log.on_failure(Box::new(move |error| noticed(Err(error))));
        if writes_fail {
            disk.fail_write_after(0)
        } else {
            disk.fail_sync_after(0)
        }
        let (first, first_result) = told();
        let (second, second_result) = told();
        log.append(1, records(0..1, 10), first).unwrap();
        log.save_vote(2, Bytes::from_static(b"v"), second).unwrap();
        log.drain();
        for result in [first_result, second_result, failure] {
            assert!(matches!(*result.lock(), Some(Err(LogError::Failed { .. }))));
        }
        assert!(log.failed().is_some());
        // The disk would work again, but the log does not.
        assert!(matches!(
            log.append(1, records(1..2, 10), ignore()),
            Err(LogError::Failed { .. })
        ));
        assert!(matches!(log.read(1, 0..1, 100), Err(LogError::Failed { .. })));
        let (late, late_result) = told();
        log.on_failure(Box::new(move |error| late(Err(error))));
        assert!(late_result.lock().is_some());
        assert!(log.close().is_err());
    }
}

#[test]
fn a_full_disk_fails_the_log_and_loses_nothing_acknowledged() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    disk.set_capacity_bytes(Some(100 << 10));
    let mut acknowledged = 0;
    while log.failed().is_none() {
        let (synced, result) = told();
        log.append(1, records(acknowledged..acknowledged + 1, 5000), synced)
            .unwrap();
        log.drain();
        if matches!(*result.lock(), Some(Ok(()))) {
            acknowledged += 1;
        }
    }
    assert!(acknowledged > 5);
    let (log, _) = open(&disk.crash());
    assert!(read_all(&log, 1).starts_with(&records(0..acknowledged, 5000)));
}

#[test]
fn bad_options_are_refused() {
    for options in [
        LogOptions {
            segment_bytes: 4096,
            ..options()
        },
        LogOptions {
            max_record_bytes: 40 << 10,
            ..options()
        },
    ] {
        let opened = Log::open(Arc::new(FaultDisk::new(1)), options);
        assert!(matches!(opened, Err(LogError::BadOptions(_))));
    }
}

#[test]
fn what_a_failed_sync_left_in_memory_is_durable_before_it_counts() {
    for seed in 0..50 {
        let disk = FaultDisk::new(seed);
        let (log, _) = open(&disk);
        log.append(1, records(0..3, 700), ignore()).unwrap();
        log.drain();
        disk.fail_sync_after(0);
        log.append(1, records(3..9, 700), ignore()).unwrap();
        log.drain();
        drop(log);
        // The process ends and starts again. The power was never cut, so it reads everything that it wrote.
        let (log, _) = open(&disk);
        let read = read_all(&log, 1);
        let next = read.len() as u64;
        let (synced, result) = told();
        log.append(1, records(next..next + 2, 700), synced).unwrap();
        log.drain();
        assert!(matches!(*result.lock(), Some(Ok(()))));
        drop(log);
        let (log, report) = open(&disk.crash());
        assert!(read_all(&log, 1).starts_with(&read), "seed {seed}: {report:?}");
        assert_eq!(read_all(&log, 1).len(), read.len() + 2, "seed {seed}");
    }
}
