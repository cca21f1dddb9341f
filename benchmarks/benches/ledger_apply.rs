//! `Ledger::apply` alone: reservations and their commits in entries of 256 commands, on one hot SKU and on
//! many.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use holdfast_benchmarks::ledger_input::{Catalogue, reserve_and_commit};
use holdfast_ledger::Entry;

/// The nodes use the same allocator.
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
        // The ledger grows from one run to the next, as that of a node does.
        let mut ledger = catalogue.stocked();
        let mut index = catalogue.next_index();
        let mut parts = 0..;
        let mut log = || reserve_and_commit(&catalogue, parts.next().unwrap_or(0), ENTRIES, ENTRY_COMMANDS);
        let mut run = |log: Vec<Entry>| {
            for entry in &log {
                let applied = ledger.apply(index, entry).expect("a sound ledger");
                assert!(applied.outcomes.iter().all(Result::is_ok));
                index += 1;
            }
            log
        };
        group.bench_function(name, |bencher| {
            bencher.iter_batched(&mut log, &mut run, BatchSize::LargeInput);
        });
    }
    group.finish();
}

criterion_group!(benches, apply);
criterion_main!(benches);
