//! An entry of 1,024 reservations and the changes that it makes, encoded to bytes and decoded again.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holdfast_benchmarks::ledger_input::{Catalogue, reserve_and_commit};
use holdfast_ledger::{decode_changes, decode_entry, encode_changes, encode_entry};

/// Commands of the entry.
const ENTRY_COMMANDS: usize = 1024;

fn codec(criterion: &mut Criterion) {
    let catalogue = Catalogue::new(10_000);
    let log = reserve_and_commit(&catalogue, 0, 1, ENTRY_COMMANDS);
    let entry = &log[0];
    let applied = catalogue.stocked().apply(catalogue.next_index(), entry);
    let changes = applied.expect("a sound ledger").changes;
    let (entry_bytes, changes_bytes) = (encode_entry(entry), encode_changes(&changes));

    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(ENTRY_COMMANDS as u64));
    group.bench_function("encode_entry", |bencher| bencher.iter(|| encode_entry(entry)));
    group.bench_function("decode_entry", |bencher| {
        bencher.iter(|| decode_entry(black_box(&entry_bytes)).expect("what was just written"));
    });
    group.bench_function("encode_changes", |bencher| {
        bencher.iter(|| encode_changes(&changes));
    });
    group.bench_function("decode_changes", |bencher| {
        bencher.iter(|| decode_changes(black_box(&changes_bytes)).expect("what was just written"));
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
