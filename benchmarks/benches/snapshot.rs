//! A ledger of 100,000 cells, encoded to bytes and decoded again, and its digest.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use holdfast_benchmarks::ledger_input::Catalogue;
use holdfast_ledger::Ledger;

/// SKUs, each in five warehouses.
const SKUS: usize = 20_000;

fn snapshot(criterion: &mut Criterion) {
    let ledger = Catalogue::new(SKUS).stocked();
    let bytes = ledger.encode();
    let mut group = criterion.benchmark_group("snapshot");
    group.sample_size(20);
    group.throughput(Throughput::Elements(ledger.cell_count()));
    group.bench_function("encode", |bencher| bencher.iter(|| ledger.encode()));
    group.bench_function("decode", |bencher| {
        bencher.iter(|| Ledger::decode(black_box(&bytes)).expect("what was just written"));
    });
    group.bench_function("digest", |bencher| bencher.iter(|| ledger.digest()));
    group.finish();
}

criterion_group!(benches, snapshot);
criterion_main!(benches);
