//! A shard's change log on a real folder, appended with the changes of entries of 1,024 commands. Nothing is
//! synced, because a shard does not sync each append either.

use std::sync::Arc;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use holdfast_benchmarks::ledger_input::{Catalogue, reserve_and_commit};
use holdfast_ledger::encode_changes;
use holdfast_storage::{ChangeLog, ChangeLogOptions, ChangeRecord, RealDisk};
use tempfile::TempDir;

/// Commands of each entry.
const ENTRY_COMMANDS: usize = 1024;
/// Records of one measured run: half of reservations, half of commits.
const RECORDS: usize = 64;

/// Returns the changes of a log's entries, one record for each.
fn records() -> Vec<ChangeRecord> {
    let catalogue = Catalogue::new(10_000);
    let mut ledger = catalogue.stocked();
    let log = reserve_and_commit(&catalogue, 0, RECORDS, ENTRY_COMMANDS);
    let mut last_seq = 0;
    let record = |(log_index, entry)| {
        let applied = ledger.apply(log_index, entry).expect("a sound ledger");
        let first_seq = last_seq + 1;
        last_seq += applied.changes.len() as u64;
        ChangeRecord {
            first_seq,
            last_seq,
            log_index,
            payload: Bytes::from(encode_changes(&applied.changes)),
        }
    };
    (catalogue.next_index()..).zip(&log).map(record).collect()
}

fn empty_log() -> (ChangeLog, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = Arc::new(RealDisk::open(folder.path()).expect("an empty folder"));
    let (log, _) = ChangeLog::open(disk, 0, ChangeLogOptions::default()).expect("an empty log");
    (log, folder)
}

fn append(criterion: &mut Criterion) {
    let records = records();
    let payload_bytes: usize = records.iter().map(|record| record.payload.len()).sum();
    let mut group = criterion.benchmark_group("change_log");
    group.sample_size(20);
    group.throughput(Throughput::Bytes(payload_bytes as u64));
    group.bench_function("append", |bencher| {
        bencher.iter_batched(
            empty_log,
            |(log, folder)| {
                for record in &records {
                    log.append(record.clone()).expect("a writable folder");
                }
                // The log and the folder are dropped outside of the measured time.
                (log, folder)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, append);
criterion_main!(benches);
