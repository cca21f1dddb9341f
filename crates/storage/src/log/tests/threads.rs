//! Tests of the log with its threads, on the file system of the machine.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use bytes::Bytes;

use super::{Log, LogError, LogOptions, ignore, options, read_all, record, records};
use crate::{FaultDisk, RealDisk, Writer};

fn threaded() -> LogOptions {
    LogOptions {
        writer: Writer::Thread,
        ..options()
    }
}

#[test]
fn many_callers_are_all_told_and_all_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(directory.path()).unwrap());
    let (log, _) = Log::open(disk.clone(), threaded()).unwrap();
    let callers: Vec<_> = (0..4)
        .map(|group| {
            let log = log.clone();
            thread::spawn(move || {
                let (told, results) = channel();
                for index in 0..300 {
                    let told = told.clone();
                    let synced = Box::new(move |result| told.send(result).unwrap());
                    log.append(group, vec![record(index, 500)], synced).unwrap();
                    if index % 50 == 49 {
                        log.purge_through(group, index - 20, Bytes::from_static(b"m"), ignore())
                            .unwrap();
                    }
                    assert_eq!(
                        log.read(group, index..index + 1, 1).unwrap(),
                        [record(index, 500)]
                    );
                }
                drop(told);
                assert_eq!(results.iter().map(Result::unwrap).count(), 300);
                // These come from disk, because the cache is smaller than this.
                assert_eq!(
                    log.read(group, 280..300, usize::MAX).unwrap(),
                    records(280..300, 500)
                );
            })
        })
        .collect();
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    log.close().unwrap();

    let (log, report) = Log::open(disk, threaded()).unwrap();
    assert_eq!(report.torn, None);
    for group in 0..4 {
        assert_eq!(read_all(&log, group), records(280..300, 500));
    }
}

#[test]
fn a_dropped_log_lets_go_of_its_directory_and_has_written_everything() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(RealDisk::open(directory.path()).unwrap());
    let (log, _) = Log::open(disk, threaded()).unwrap();
    log.append(1, records(0..9, 100), ignore()).unwrap();
    drop(log);
    let disk = Arc::new(RealDisk::open(directory.path()).unwrap());
    let (log, _) = Log::open(disk, threaded()).unwrap();
    assert_eq!(read_all(&log, 1), records(0..9, 100));
}

#[test]
fn a_callback_may_call_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (log, _) = Log::open(Arc::new(RealDisk::open(directory.path()).unwrap()), threaded()).unwrap();
    let (told, result) = channel();
    let again = log.clone();
    let synced = Box::new(move |first: Result<(), LogError>| {
        first.unwrap();
        again
            .append(
                1,
                records(1..2, 10),
                Box::new(move |second| told.send(second).unwrap()),
            )
            .unwrap();
    });
    log.append(1, records(0..1, 10), synced).unwrap();
    result.recv_timeout(Duration::from_secs(30)).unwrap().unwrap();
}

#[test]
fn a_failed_sync_is_noticed() {
    let disk = FaultDisk::new(1);
    let (log, _) = Log::open(Arc::new(disk.clone()), threaded()).unwrap();
    let (told, failure) = channel();
    log.on_failure(Box::new(move |error| told.send(error).unwrap()));
    disk.fail_sync_after(20);
    let (told_synced, synced) = channel();
    // One after the other: a caller that does not wait fills the memory while the disk is slow.
    let all_synced = (0..1_000).all(|index| {
        let told = told_synced.clone();
        let callback = Box::new(move |result: Result<(), LogError>| told.send(result.is_ok()).unwrap());
        log.append(1, vec![record(index, 5000)], callback).is_ok()
            && synced.recv_timeout(Duration::from_secs(30)).unwrap()
    });
    assert!(!all_synced, "no sync failed");
    assert!(matches!(
        failure.recv_timeout(Duration::from_secs(30)),
        Ok(LogError::Failed { .. })
    ));
    assert!(log.failed().is_some());
}

#[test]
fn a_closed_log_takes_nothing() {
    let (log, _) = Log::open(Arc::new(FaultDisk::new(1)), threaded()).unwrap();
    let other = log.clone();
    log.close().unwrap();
    assert!(matches!(
        other.append(1, records(0..1, 1), ignore()),
        Err(LogError::Closed)
    ));
}
