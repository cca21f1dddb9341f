//! Tests of old segments: they go when nobody needs them.

use bytes::Bytes;

use super::super::segment;
use super::{Log, ignore, open, read_all, record, records};
use crate::FaultDisk;

fn segments(disk: &FaultDisk) -> Vec<u32> {
    let paths = disk.paths();
    paths
        .iter()
        .filter_map(|path| segment::id_of(path.strip_prefix("log/")?))
        .collect()
}

/// Appends to group 1 and purges all except the last few entries, as a busy group does.
fn busy(log: &Log, from: u64, entries: u64) -> u64 {
    for index in from..from + entries {
        log.append(1, vec![record(index, 4000)], ignore()).unwrap();
        if index % 8 == 7 {
            log.purge_through(1, index - 4, Bytes::from_static(b"p"), ignore())
                .unwrap();
        }
        log.drain();
    }
    from + entries
}

#[test]
fn purged_segments_are_given_up_and_used_again() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    let next = busy(&log, 0, 400);
    let left = segments(&disk);
    assert!(left.len() <= 3 && left[0] > 15, "{left:?}");
    let (log, report) = open(&disk.crash());
    assert_eq!(report.torn, None);
    let first = log.state(1).first_index.unwrap();
    assert_eq!(read_all(&log, 1), records(first..next, 4000));
}

#[test]
fn a_lagging_group_does_not_pin_old_segments() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    log.append(2, records(0..5, 700), ignore()).unwrap();
    log.save_vote(2, Bytes::from_static(b"vote"), ignore()).unwrap();
    log.purge_through(3, 9, Bytes::from_static(b"marker"), ignore())
        .unwrap();
    let next = busy(&log, 0, 100);
    log.append(2, records(5..7, 700), ignore()).unwrap();
    log.truncate_from(2, 6, ignore()).unwrap();
    let next = busy(&log, next, 400);
    let left = segments(&disk);
    assert!(left.len() <= 7, "{left:?}");
    assert_eq!(read_all(&log, 2), records(0..6, 700));
    let (log, _) = open(&disk.crash());
    assert_eq!(read_all(&log, 2), records(0..6, 700));
    assert_eq!(log.state(2).vote.as_deref(), Some(&b"vote"[..]));
    assert_eq!(log.state(3).purged_through, Some(9));
    assert_eq!(log.state(1).last_index, Some(next - 1));
    log.append(2, records(6..8, 700), ignore()).unwrap();
    busy(&log, next, 300);
    let (log, _) = open(&disk.crash());
    assert_eq!(read_all(&log, 2), records(0..8, 700));
}

#[test]
fn a_damaged_old_entry_stays_an_error_and_is_not_copied() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    log.append(2, records(0..5, 700), ignore()).unwrap();
    log.append(2, records(5..6, 700), ignore()).unwrap();
    busy(&log, 0, 20);
    assert!(disk.flip_bit(&segment::path(1), 4096 + 200, 1));
    busy(&log, 20, 200);
    assert!(log.failed().is_none());
    assert!(log.read(2, 0..1, 1000).is_err());
    assert!(segments(&disk).contains(&1));
}
