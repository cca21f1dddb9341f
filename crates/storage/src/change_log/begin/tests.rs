//! Tests of dropping the beginning of a change log.

use std::sync::Arc;

use super::super::tests::{append, open, read_all, run};
use super::super::{ChangeLog, ChangeLogError, ChangeRecord};
use crate::FaultDisk;
use crate::inspect::inspect_disk;

const LAST: u64 = 200;

/// Writes a change log of several segments, and returns it with its disk and its records.
fn written() -> (FaultDisk, ChangeLog, Vec<ChangeRecord>) {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    let records = run(1, LAST);
    append(&log, &records);
    log.sync().unwrap();
    assert!(log.segment_starts().len() > 4);
    (disk, log, records)
}

fn from(records: &[ChangeRecord], first_seq: u64) -> Vec<ChangeRecord> {
    let kept = records.iter().filter(|record| record.first_seq >= first_seq);
    kept.cloned().collect()
}

/// Checks a log as it is, and as it is after a crash.
fn before_and_after_a_crash(disk: &FaultDisk, log: ChangeLog, check: impl Fn(&ChangeLog)) {
    check(&log);
    drop(log);
    check(&open(&disk.crash()).0);
}

fn files(disk: &FaultDisk) -> usize {
    disk.paths()
        .iter()
        .filter(|path| path.ends_with(".changes"))
        .count()
}

#[test]
fn whole_segments_are_dropped_and_what_is_left_says_where_it_begins() {
    let (disk, log, records) = written();
    let starts = log.segment_starts();
    assert_eq!((log.begins_at(), log.drop_before(starts[1] - 1).unwrap()), (1, 0));
    assert!(log.drop_before(starts[2] + 1).unwrap() > 0);
    assert_eq!(files(&disk), starts.len() - 2);
    let report = inspect_disk(Arc::new(disk.clone()));
    assert_eq!(report.damage, Vec::<String>::new());
    let contents = &report.change_logs[0];
    assert_eq!((contents.begins_at, contents.first_seq), (starts[2], starts[2]));
    assert_eq!(contents.gaps, []);
    before_and_after_a_crash(&disk, log, |log| {
        assert_eq!((log.begins_at(), log.first_seq()), (starts[2], starts[2]));
        assert_eq!(log.gaps(), []);
        assert_eq!(read_all(log, starts[2]).unwrap(), from(&records, starts[2]));
        for seq in [1, starts[2] - 1] {
            let dropped = log.read(seq, 100).unwrap_err();
            assert!(
                matches!(dropped, ChangeLogError::Dropped { begins_at } if begins_at == starts[2]),
                "{dropped}"
            );
        }
    });
}

#[test]
fn the_last_segment_stays_and_the_log_goes_on() {
    let (disk, log, records) = written();
    let last = *log.segment_starts().last().unwrap();
    log.drop_before(u64::MAX).unwrap();
    assert_eq!(log.segment_starts(), [last]);
    let more = run(log.last_seq() + 1, 2 * LAST);
    append(&log, &more);
    log.sync().unwrap();
    drop(log);
    let (log, _) = open(&disk.crash());
    let mut expected = from(&records, last);
    expected.extend(more);
    assert_eq!(read_all(&log, last).unwrap(), expected);
}

#[test]
fn records_that_are_repeated_from_before_the_beginning_are_skipped() {
    let (_, log, records) = written();
    let begin = log.segment_starts()[2];
    log.drop_before(begin).unwrap();
    append(&log, &records);
    assert_eq!(log.begins_at(), begin);
    assert_eq!(read_all(&log, begin).unwrap(), from(&records, begin));
}

#[test]
fn a_power_cut_at_any_write_leaves_the_old_beginning_or_the_new_one() {
    let (disk, log, records) = written();
    let begin = log.segment_starts()[3];
    drop(log);
    let mut begins = Vec::new();
    for cut_after in 0..20 {
        let disk = disk.duplicate();
        let (log, _) = open(&disk);
        disk.cut_power_after(cut_after);
        let done = log.drop_before(begin).is_ok();
        drop(log);
        let disk = disk.crash();
        let (log, _) = open(&disk);
        let begins_at = log.begins_at();
        assert!(begins_at == 1 || begins_at == begin, "{cut_after}: {begins_at}");
        assert!(!done || begins_at == begin, "{cut_after}");
        assert_eq!(log.gaps(), [], "{cut_after}");
        assert_eq!(read_all(&log, begins_at).unwrap(), from(&records, begins_at));
        // A drop that was begun is finished when the log is opened.
        let left = log.segment_starts().len();
        log.sync().unwrap();
        drop(log);
        assert_eq!(files(&disk.crash()), left, "{cut_after}");
        begins.push(begins_at);
    }
    assert!(begins.contains(&1) && begins.contains(&begin));
}

#[test]
fn a_lost_file_at_the_beginning_is_a_gap_and_not_dropped_history() {
    let (disk, log, records) = written();
    let starts = log.segment_starts();
    log.drop_before(starts[1]).unwrap();
    drop(log);
    let lost = disk
        .paths()
        .into_iter()
        .find(|path| path.ends_with(".changes"))
        .unwrap();
    crate::Disk::remove(&disk, &lost).unwrap();
    let report = inspect_disk(Arc::new(disk.clone()));
    assert!(
        report.damage.iter().any(|line| line.contains("a file is lost")),
        "{:?}",
        report.damage
    );
    let (log, _) = open(&disk);
    assert_eq!(log.begins_at(), 1);
    assert_eq!(log.gaps(), vec![1..starts[2]]);
    assert!(matches!(log.read(1, 10), Err(ChangeLogError::Gap { .. })));
    // A peer says that it has dropped what comes before its second segment too.
    log.drop_before(starts[1]).unwrap();
    assert_eq!(log.gaps(), vec![starts[1]..starts[2]]);
    let missing: Vec<ChangeRecord> = from(&records, starts[1]);
    log.fill(&missing).unwrap();
    let log = open(&disk.crash()).0;
    assert_eq!((log.begins_at(), log.gaps()), (starts[1], vec![]));
    assert_eq!(read_all(&log, starts[1]).unwrap(), missing);
}

#[test]
fn a_replica_that_joins_gives_up_the_part_of_its_gap_that_its_peers_have_dropped() {
    let all = run(1, LAST);
    let late = all.iter().position(|record| record.first_seq > 120).unwrap();
    let begin = all[late / 2].first_seq;
    for cut_after in 0..12 {
        let disk = FaultDisk::new(1);
        let (log, _) = open(&disk);
        log.reset_to(all[late].first_seq).unwrap();
        append(&log, &all[late..]);
        log.sync().unwrap();
        disk.cut_power_after(cut_after);
        log.drop_before(begin).ok();
        drop(log);
        let disk = disk.crash();
        let (log, _) = open(&disk);
        log.drop_before(begin).unwrap();
        assert_eq!(log.begins_at(), begin, "{cut_after}");
        assert_eq!(log.gaps(), vec![begin..all[late].first_seq], "{cut_after}");
        log.fill(&from(&all, begin)).unwrap();
        before_and_after_a_crash(&disk, log, |log| {
            assert_eq!((log.begins_at(), log.gaps()), (begin, vec![]), "{cut_after}");
            assert_eq!(read_all(log, begin).unwrap(), from(&all, begin));
        });
    }
}

#[test]
fn a_gap_before_the_beginning_is_given_up() {
    let all = run(1, LAST);
    let late = all
        .iter()
        .find(|record| record.first_seq > 120)
        .unwrap()
        .first_seq;
    for seq in [late, late + 5] {
        let disk = FaultDisk::new(1);
        let (log, _) = open(&disk);
        log.reset_to(late).unwrap();
        append(&log, &from(&all, late));
        log.drop_before(seq).unwrap();
        log.sync().unwrap();
        before_and_after_a_crash(&disk, log, |log| {
            assert_eq!((log.begins_at(), log.gaps()), (late, vec![]));
            assert_eq!(read_all(log, late).unwrap(), from(&all, late));
        });
    }
}

#[test]
fn damage_at_the_beginning_stays_a_gap_behind_it() {
    let (disk, log, records) = written();
    let begin = log.segment_starts()[2];
    log.drop_before(begin).unwrap();
    let path = disk
        .paths()
        .into_iter()
        .find(|path| path.ends_with(".changes"))
        .unwrap();
    assert!(disk.flip_bit(&path, 70, 2));
    assert!(log.check_segment(begin).unwrap());
    let lost_to = from(&records, begin)[1].first_seq;
    before_and_after_a_crash(&disk, log, |log| {
        let gaps = log.gaps();
        assert_eq!((log.begins_at(), gaps.len()), (begin, 1));
        assert_eq!(gaps[0], begin..lost_to);
    });
}

#[test]
fn a_read_beside_a_drop_gets_what_it_asked_for_or_is_told_where_the_log_begins() {
    let (_, log, records) = written();
    let starts = log.segment_starts();
    let reader = {
        let (log, records) = (log.clone(), records.clone());
        std::thread::spawn(move || {
            for _ in 0..50 {
                for record in &records {
                    match log.read(record.first_seq, 1) {
                        Ok(read) => assert_eq!(read[0], *record),
                        Err(ChangeLogError::Dropped { begins_at }) => assert!(record.first_seq < begins_at),
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        })
    };
    for start in starts {
        log.drop_before(start).unwrap();
        log.sync().unwrap();
    }
    reader.join().unwrap();
}
