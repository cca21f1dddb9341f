//! Tests of mending a change log.

use super::super::tests::{append, open, read_all, record, run};
use super::super::{ChangeLog, ChangeLogError};
use crate::{Disk, FaultDisk};

const LAST: u64 = 120;

/// Writes a change log of several segments, and returns its disk and files.
fn written() -> (FaultDisk, Vec<String>) {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    // Each later record reports that this one was synced.
    for record in run(1, LAST) {
        append(&log, &[record]);
        log.sync().unwrap();
    }
    let files = disk.paths().into_iter().filter(|path| path.ends_with(".changes"));
    let files: Vec<String> = files.collect();
    assert!(files.len() > 3);
    (disk, files)
}

fn check(log: &ChangeLog) -> bool {
    let mut damaged = false;
    let mut checked = 0;
    while let Some(next) = log
        .segment_starts()
        .into_iter()
        .find(|first_seq| *first_seq > checked)
    {
        damaged |= log.check_segment(next).unwrap();
        checked = next;
    }
    damaged
}

/// Fills every gap as a peer would, a few records at a time.
fn fill_all(log: &ChangeLog) {
    while let Some(gap) = log.gaps().into_iter().next() {
        let from = run(1, LAST);
        let missing = from.iter().filter(|record| record.first_seq >= gap.start);
        log.fill(&missing.take(2).cloned().collect::<Vec<_>>()).unwrap();
        assert_ne!(log.gaps().first(), Some(&gap));
    }
}

#[test]
fn every_flipped_byte_becomes_a_gap_that_a_peer_fills() {
    let (disk, files) = written();
    let all = read_all(&open(&disk).0, 1).unwrap();
    for file in &files {
        let size = disk.content(file).unwrap().len();
        for at in (0..size).step_by(7) {
            let disk = disk.duplicate();
            let (log, _) = open(&disk);
            assert!(disk.flip_bit(file, at as u64, 2));
            if !check(&log) {
                // The zeros after a header are not part of it.
                assert_eq!(read_all(&log, 1).unwrap(), all, "{file} {at}");
                continue;
            }
            for gap in log.gaps() {
                assert!(matches!(log.read(gap.start, 10), Err(ChangeLogError::Gap { .. })));
            }
            // Intact records are still there, both at once and after a restart.
            assert!(!check(&log));
            drop(log);
            let disk = disk.crash();
            let (log, _) = open(&disk);
            assert_eq!(log.last_seq(), all.last().unwrap().last_seq);
            assert!(log.gaps().iter().map(|gap| gap.end - gap.start).sum::<u64>() < 15);
            fill_all(&log);
            assert_eq!(read_all(&log, 1).unwrap(), all, "{file} {at}");
            let next = all.last().unwrap().last_seq + 1;
            append(&log, &[record(next)]);
            log.sync().unwrap();
            drop(log);
            let (log, _) = open(&disk);
            assert!(log.last_seq() >= next - 1);
        }
    }
}

#[test]
fn a_power_cut_while_it_is_mended_loses_nothing_that_was_intact() {
    let (disk, files) = written();
    let all = read_all(&open(&disk).0, 1).unwrap();
    for cut_after in 0..40 {
        let disk = disk.duplicate();
        let (log, _) = open(&disk);
        assert!(disk.flip_bit(&files[1], 200, 2));
        disk.cut_power_after(cut_after);
        let mended = log.check_segment(log.segment_starts()[1]).and_then(|_| {
            let gap = log.gaps().into_iter().next();
            let missing = all
                .iter()
                .find(|record| gap.as_ref().is_some_and(|gap| gap.start == record.first_seq));
            missing.map_or(Ok(()), |record| log.fill(std::slice::from_ref(record)))
        });
        drop(log);
        let disk = disk.crash();
        let (log, _) = open(&disk);
        check(&log);
        fill_all(&log);
        assert_eq!(read_all(&log, 1).unwrap(), all, "{cut_after} {mended:?}");
    }
}

#[test]
fn records_that_are_repeated_replace_damaged_ones() {
    let (disk, files) = written();
    let all = read_all(&open(&disk).0, 1).unwrap();
    for (file, at) in files.iter().flat_map(|file| [(file, 70), (file, 300)]) {
        let disk = disk.duplicate();
        let (log, _) = open(&disk);
        assert!(disk.flip_bit(file, at, 2));
        append(&log, &all);
        assert_eq!(read_all(&log, 1).unwrap(), all, "{file}");
        log.sync().unwrap();
        drop(log);
        let (log, _) = open(&disk.crash());
        assert_eq!(read_all(&log, 1).unwrap(), all, "{file}");
    }
}

#[test]
fn a_history_that_begins_late_is_filled_from_its_beginning() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    let all = run(1, LAST);
    let begin = all.iter().position(|record| record.first_seq > 60).unwrap();
    log.reset_to(all[begin].first_seq).unwrap();
    append(&log, &all[begin..]);
    assert_eq!(log.gaps(), vec![1..all[begin].first_seq]);
    assert!(matches!(
        log.fill(&all[3..5]),
        Err(ChangeLogError::NotContiguous { .. })
    ));
    fill_all(&log);
    assert_eq!(log.first_seq(), 1);
    assert_eq!(read_all(&log, 1).unwrap(), all);
    assert!(
        disk.list("changes/0")
            .unwrap()
            .iter()
            .all(|name| !name.ends_with(".tmp"))
    );
}
