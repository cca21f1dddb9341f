//! `Ledger::apply` alone: reservations and their commits in entries of 256 commands, on one hot SKU and on many.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use holdfast_benchmarks::ledger_input::{Catalogue, reserve_and_commit};
use holdfast_ledger::Ledger;

/// That of the nodes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Commands of one entry.
const ENTRY_COMMANDS: usize = 256;
/// Entries of one measured run: half reserve, half commit.
const ENTRIES: usize = 64;

fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ledger_apply");
    group.throughput(Throughput::Elements((ENTRIES * ENTRY_COMMANDS) as u64));
    for (name, skus) in [("hot", 1), ("spread", 100_000)] {
        let catalogue = Catalogue::new(skus);
        let stocked = catalogue.stocked();
        let log = reserve_and_commit(&catalogue, ENTRIES, ENTRY_COMMANDS);
        let first_index = catalogue.next_index();
        let run = |mut ledger: Ledger| {
            for (index, entry) in (first_index..).zip(&log) {
                let applied = ledger.apply(index, entry).expect("a sound ledger");
                assert!(applied.outcomes.iter().all(Result::is_ok));
            }
            ledger
        };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| stocked.clone(), run, BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, apply);
criterion_main!(benches);
