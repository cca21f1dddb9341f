//! Tests of damaged files: acknowledged entries are served as they were written, or an error says where they
//! are damaged.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::{mark, segment};
use super::{Log, LogError, ignore, open, options, read_all, records, told};
use crate::{FaultDisk, FileError};

/// Makes a closed log of two groups in one segment.
fn small_log() -> FaultDisk {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    for index in 0..3 {
        log.append(1, records(index..index + 1, 37), ignore()).unwrap();
        log.save_vote(1, Bytes::from(vec![index as u8; 5]), ignore())
            .unwrap();
        log.drain();
    }
    log.append(2, records(0..2, 64), ignore()).unwrap();
    log.close().unwrap();
    disk
}

fn opened(disk: &FaultDisk) -> Result<Log, LogError> {
    Log::open(Arc::new(disk.clone()), options()).map(|(log, _)| log)
}

/// Returns where the records of a segment end.
fn end_of_records(content: &[u8]) -> usize {
    content.iter().rposition(|byte| *byte != 0).unwrap() + 1
}

#[test]
fn every_flipped_bit_of_a_closed_log_is_found() {
    let disk = small_log();
    let path = segment::path(1);
    let original = disk.content(&path).unwrap();
    let end = end_of_records(&original);
    // The last record is the mark of the close, which holds nothing.
    let mark = (end - 1) / 8 * 8 + 8 - 32;
    // Only a sample of the zeros that fill the header page is tried.
    let in_header = (0..32).chain((32..4088).step_by(127)).chain(4088..4096);
    for offset in in_header.chain(4096..end) {
        for bit in 0..8 {
            disk.set_content(&path, original.clone());
            assert!(disk.flip_bit(&path, offset as u64, bit));
            match opened(&disk) {
                Err(LogError::File(FileError::Corrupt { file, offset: at, .. })) => {
                    assert_eq!(file, path);
                    assert!(at as usize <= offset);
                }
                Err(LogError::File(FileError::UnknownVersion { .. })) => panic!("a flipped bit is damage"),
                Err(error) => panic!("byte {offset} bit {bit}: {error}"),
                Ok(log) => {
                    assert!(offset >= mark, "byte {offset} bit {bit} went unseen");
                    assert_eq!(read_all(&log, 1), records(0..3, 37));
                    assert_eq!(read_all(&log, 2), records(0..2, 64));
                }
            }
        }
    }
}

#[test]
fn a_log_cut_anywhere_gives_a_prefix_or_an_error() {
    let disk = small_log();
    let path = segment::path(1);
    let original = disk.content(&path).unwrap();
    for length in (0..4096).step_by(64).chain(4096..end_of_records(&original)) {
        for zeros in [false, true] {
            let mut content = original[..length].to_vec();
            if zeros {
                content.resize(original.len(), 0);
            }
            disk.set_content(&path, content);
            let Ok(log) = opened(&disk) else { continue };
            assert!(records(0..3, 37).starts_with(&read_all(&log, 1)));
            assert!(records(0..2, 64).starts_with(&read_all(&log, 2)));
            let next = log.state(1).last_index.map_or(0, |last| last + 1);
            log.append(1, records(next..next + 1, 10), ignore()).unwrap();
            log.close().unwrap();
            assert_eq!(opened(&disk).unwrap().state(1).last_index, Some(next));
        }
    }
}

/// Makes a log over several segments that crashed after everything was acknowledged.
fn long_log() -> (FaultDisk, u64) {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    for index in 0..100 {
        log.append(1, records(index..index + 1, 2000), ignore()).unwrap();
        log.drain();
    }
    (disk.crash(), 100)
}

/// Makes a log whose last batch was acknowledged before the process was killed.
fn killed_log() -> FaultDisk {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    log.append(1, records(0..3, 100), ignore()).unwrap();
    log.drain();
    let (synced, result) = told();
    log.append(1, records(3..6, 100), synced).unwrap();
    log.save_vote(2, Bytes::from_static(b"vote"), ignore()).unwrap();
    log.drain();
    assert!(matches!(*result.lock(), Some(Ok(()))));
    disk
}

#[test]
fn a_flipped_bit_in_the_last_acknowledged_batch_is_damage_and_no_torn_tail() {
    let disk = killed_log();
    let path = segment::path(1);
    let original = disk.content(&path).unwrap();
    let intact = opened(&disk.duplicate()).unwrap();
    assert_eq!(read_all(&intact, 1), records(0..6, 100));
    for offset in 4096..end_of_records(&original) {
        let disk = disk.duplicate();
        assert!(disk.flip_bit(&path, offset as u64, 3));
        match opened(&disk) {
            Err(LogError::File(FileError::Corrupt { file, offset: at, .. })) => {
                assert_eq!(file, path);
                assert!(at as usize <= offset);
            }
            other => panic!("byte {offset}: {:?}", other.map(|log| read_all(&log, 1))),
        }
    }
}

#[test]
fn an_acknowledged_tail_that_is_gone_is_damage() {
    let disk = killed_log();
    let path = segment::path(1);
    let mut content = disk.content(&path).unwrap();
    content[4096..].fill(0);
    disk.set_content(&path, content);
    assert!(matches!(
        opened(&disk),
        Err(LogError::File(FileError::Corrupt { .. }))
    ));
    crate::Disk::remove(&disk, &path).unwrap();
    assert!(matches!(
        opened(&disk),
        Err(LogError::File(FileError::Corrupt { .. }))
    ));
}

#[test]
fn a_log_that_is_known_to_have_been_marked_is_damaged_without_its_mark_however_little_else_is_missing() {
    let known = || crate::LogOptions {
        expects_mark: true,
        ..options()
    };
    // The log is marked from the first moment on, so that the loss of an empty log is noticed as well.
    let disk = FaultDisk::new(1);
    let (log, report) = open(&disk);
    assert!(report.is_marked);
    drop(log);
    Log::open(Arc::new(disk.clone()), known()).map(drop).unwrap();

    for paths in [vec![mark::path()], small_log().paths()] {
        let disk = small_log();
        Log::open(Arc::new(disk.clone()), known()).map(drop).unwrap();
        for path in paths {
            crate::Disk::remove(&disk, &path).unwrap();
        }
        match Log::open(Arc::new(disk), known()).map(drop) {
            Err(LogError::File(FileError::Corrupt { file, .. })) => assert_eq!(file, mark::path()),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_log_without_marks_is_read_as_before() {
    let disk = killed_log();
    crate::Disk::remove(&disk, &mark::path()).unwrap();
    assert_eq!(read_all(&opened(&disk).unwrap(), 1), records(0..6, 100));
    assert!(disk.content(&mark::path()).is_some());
}

#[test]
fn a_flipped_bit_in_an_older_segment_is_an_error_that_names_it() {
    let (disk, _) = long_log();
    let path = segment::path(2);
    let content = disk.content(&path).unwrap();
    for offset in (0..content.len()).step_by(997) {
        disk.set_content(&path, content.clone());
        assert!(disk.flip_bit(&path, offset as u64, 3));
        match opened(&disk) {
            Err(LogError::File(FileError::Corrupt { file, .. })) => assert_eq!(file, path),
            Err(error) => panic!("{error}"),
            // There is nothing after the seal.
            Ok(_) => assert!(content[offset..].iter().all(|byte| *byte == 0)),
        }
    }
}

#[test]
fn a_flipped_bit_is_found_when_it_is_read_and_never_served() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    log.append(1, records(0..10, 1000), ignore()).unwrap();
    log.drain();
    assert!(disk.flip_bit(&segment::path(1), 4096 + 500, 0));
    match log.read(1, 0..10, usize::MAX) {
        Err(LogError::File(FileError::Corrupt { file, .. })) => assert_eq!(file, segment::path(1)),
        other => panic!("{other:?}"),
    }
    // Intact entries are still served.
    assert_eq!(log.read(1, 5..10, usize::MAX).unwrap(), records(5..10, 1000));
}

#[test]
fn a_missing_segment_is_an_error() {
    let (disk, _) = long_log();
    crate::Disk::remove(&disk, &segment::path(2)).unwrap();
    match opened(&disk) {
        Err(LogError::File(FileError::Corrupt { file, .. })) => assert_eq!(file, segment::path(2)),
        other => panic!("{:?}", other.map(|_| ())),
    }
}

#[test]
fn another_version_is_refused_and_not_touched() {
    let disk = small_log();
    let path = segment::path(1);
    let mut content = disk.content(&path).unwrap();
    content[8] = 2;
    let checksum = crc32fast::hash(&content[..4092]);
    content[4092..4096].copy_from_slice(&checksum.to_le_bytes());
    disk.set_content(&path, content.clone());
    assert!(matches!(
        opened(&disk),
        Err(LogError::File(FileError::UnknownVersion {
            found: 2,
            supported: 1,
            ..
        }))
    ));
    assert_eq!(disk.content(&path).unwrap(), content);
}

#[test]
fn a_torn_tail_is_cut_and_told() {
    let disk = FaultDisk::new(1);
    let (log, _) = open(&disk);
    log.append(1, records(0..3, 100), ignore()).unwrap();
    log.drain();
    let path = segment::path(1);
    let before = disk.content(&path).unwrap();
    let mark_before = disk.content(&mark::path()).unwrap();
    log.append(1, records(3..6, 100), ignore()).unwrap();
    log.drain();
    // This is the state after a power cut during the sync of these records.
    disk.set_content(&mark::path(), mark_before);
    let mut content = disk.content(&path).unwrap();
    let end = end_of_records(&content);
    // The first of the three unsynced records lost a sector; the last one is whole.
    let start = end_of_records(&before).next_multiple_of(8);
    content[start..start + 60].fill(0);
    disk.set_content(&path, content);
    let (log, report) = open(&disk);
    let torn = report.torn.unwrap();
    assert_eq!((torn.file.as_str(), torn.offset), (path.as_str(), start as u64));
    assert!(torn.bytes as usize >= end - start);
    assert_eq!(read_all(&log, 1), records(0..3, 100));
    // None of them comes back behind records that are written later.
    log.append(1, records(3..4, 100), ignore()).unwrap();
    log.drain();
    let (log, report) = open(&disk.crash());
    assert_eq!(report.torn, None);
    assert_eq!(read_all(&log, 1), records(0..4, 100));
}

proptest! {
    #[test]
    fn garbage_is_never_served_and_never_panics(
        garbage in prop::collection::vec(any::<u8>(), 0..20_000),
        at in 0usize..9000,
        keep_header in any::<bool>(),
    ) {
        let disk = small_log();
        let path = segment::path(1);
        let mut content = disk.content(&path).unwrap();
        let start = if keep_header { at.max(4096) } else { at };
        let end = (start + garbage.len()).min(content.len());
        content[start..end].copy_from_slice(&garbage[..end - start]);
        disk.set_content(&path, content);
        if let Ok(log) = opened(&disk) {
            prop_assert!(records(0..3, 37).starts_with(&read_all(&log, 1)));
            prop_assert!(records(0..2, 64).starts_with(&read_all(&log, 2)));
        }
    }

    #[test]
    fn a_file_of_garbage_never_panics(garbage in prop::collection::vec(any::<u8>(), 0..9000), id in 1u32..4) {
        let disk = small_log();
        disk.set_content(&segment::path(id), garbage);
        if let Ok(log) = opened(&disk) {
            prop_assert!(records(0..3, 37).starts_with(&read_all(&log, 1)));
        }
    }
}
