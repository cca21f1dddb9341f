//! Tests that valid histories are clean, and that each kind of damage is found by name.

mod beside;
mod damage;
mod histories;
mod orders;
mod plans;
mod world;

use holdfast_api::v1::{self, Bucket, Change, ChangeKind};
use proptest::prelude::*;

use super::{Check, Report, Retained, Verifier};
use histories::{Dice, random};
use world::{SHARD, World};

/// Verifies a history that should have this many changes, with or without live stock.
fn verify(history: &[Change], last_seq: u64, live: Option<&[v1::Cell]>) -> Report {
    let mut verifier = Verifier::new();
    let mut shard = verifier.shard(SHARD);
    for change in history {
        shard.observe(change).unwrap();
    }
    shard.expect_through(last_seq);
    if let Some(cells) = live {
        shard.compare_live(last_seq, cells);
        shard.end_live();
    }
    shard.end().unwrap();
    verifier.finish().unwrap()
}

fn last_seq(history: &[Change]) -> u64 {
    history.last().map_or(0, |change| change.seq)
}

fn verify_world(world: &World) -> Report {
    verify(&world.history, last_seq(&world.history), Some(&world.live()))
}

#[test]
fn an_empty_shard_is_clean() {
    let report = verify(&[], 0, Some(&[]));
    assert!(report.ok, "{report}");
    assert_eq!((report.changes, report.oversold_units), (0, 0));
}

#[test]
fn the_histories_of_these_tests_have_every_kind_of_change() {
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..20 {
        kinds.extend(random(seed, 150).history.iter().map(|change| change.kind));
    }
    assert_eq!(
        kinds.into_iter().collect::<Vec<_>>(),
        (1..=14).collect::<Vec<i32>>()
    );
}

#[test]
fn what_the_report_counts_is_what_the_history_has() {
    let world = random(7, 200);
    let report = verify_world(&world);
    assert!(report.ok, "{report}");
    let shard = &report.shards[0];
    assert_eq!(report.changes, world.history.len() as u64);
    assert_eq!(report.reservations, world.holds.len() as u64);
    assert_eq!(shard.cells, world.units.len() as u64);
    assert_eq!(shard.compared_cells, Some(world.units.len() as u64));
    let open = |state| {
        matches!(
            state,
            v1::ReservationState::Held | v1::ReservationState::Committed
        )
    };
    let still_open = world.holds.iter().filter(|hold| open(hold.state)).count();
    assert_eq!(shard.open_reservations, still_open as u64);
    let mut entries: Vec<u64> = world.history.iter().map(|change| change.log_index).collect();
    entries.dedup();
    assert_eq!(shard.entries, entries.len() as u64);
}

#[test]
fn several_shards_are_verified_one_after_the_other() {
    let mut verifier = Verifier::new();
    let mut changes = 0;
    for shard in 0..3 {
        let mut history = random(shard.into(), 100).history;
        changes += history.len() as u64;
        let mut replay = verifier.shard(shard);
        for change in &mut history {
            change.shard = shard;
            replay.observe(change).unwrap();
        }
        replay.end().unwrap();
    }
    let report = verifier.finish().unwrap();
    assert_eq!(
        report.counts.keys().copied().collect::<Vec<_>>(),
        [Check::AmbiguousId],
        "the same operation id in another shard is another operation, and its reservations have one id: {report}"
    );
    assert_eq!((report.changes, report.shards.len()), (changes, 3));
}

/// Makes half a million reservations, of which at most 64 are open. The retained state depends on the 64.
#[test]
fn a_million_changes_retain_only_cells_and_open_reservations() {
    let mut verifier = Verifier::new();
    let mut shard = verifier.shard(SHARD);
    let mut world = World::new();
    let mut dice = Dice(1);
    let skus: Vec<String> = (0..50).map(|at| format!("SKU-{at}")).collect();
    for sku in &skus {
        world.receive(sku, "EAST", 1_000_000);
    }
    world.end_entry();
    let mut changes = 0u64;
    while changes < 1_000_000 {
        for _ in 0..64 {
            let sku = &skus[dice.below(50) as usize];
            world
                .reserve("web", &[(sku.as_str(), "EAST", 1)], 60_000)
                .unwrap();
        }
        world.end_entry();
        for at in 0..world.holds.len() {
            let shipped = at % 4 == 0;
            world.end_hold(
                at,
                if shipped {
                    ChangeKind::Committed
                } else {
                    ChangeKind::Released
                },
            );
            if shipped {
                world.move_units(at, ChangeKind::Shipped, 1);
            }
        }
        world.end_entry();
        world.holds.clear();
        for change in world.history.drain(..) {
            shard.observe(&change).unwrap();
            changes += 1;
        }
        let Retained {
            cells,
            most_open_reservations,
            ..
        } = shard.retained();
        assert!(cells == 50 && most_open_reservations <= 64);
    }
    assert_eq!(shard.retained().open_reservations, 0);
    shard.compare_live(changes, &world.live());
    shard.end_live();
    shard.end().unwrap();
    let report = verifier.finish().unwrap();
    assert!(report.ok, "{report}");
    assert_eq!(report.changes, changes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_valid_history_is_clean(seed: u64, operations in 0usize..250) {
        let world = random(seed, operations);
        let report = verify_world(&world);
        prop_assert!(report.ok, "{}", report);
    }

    #[test]
    fn whatever_is_altered_at_random_is_found(seed: u64, what in 0..7, at in any::<prop::sample::Index>()) {
        let world = random(seed, 120);
        let mut history = world.history.clone();
        let end = last_seq(&history);
        let at = at.index(history.len());
        match what {
            0 => drop(history.remove(at)),
            1 => history.insert(at, history[at].clone()),
            2 if at > 0 => history.swap(at - 1, at),
            // Indexes may leap forward, so only the entries after a leap show it. Here the last entry goes
            // back instead.
            3 if history[at].log_index == history[history.len() - 1].log_index => history[at].log_index = 0,
            3 => history[at].log_index += 1_000_000,
            4 => history[at].entry_changes += 1,
            5 => history.truncate(at),
            _ => match history[at].moves.first_mut() {
                Some(moved) if what == 6 => moved.delta += if moved.delta == -1 { -1 } else { 1 },
                Some(moved) => moved.after += 1,
                None => history[at].kind = ChangeKind::Received.into(),
            },
        }
        let report = verify(&history, end, Some(&world.live()));
        prop_assert!(!report.ok);
    }

    #[test]
    fn any_changes_at_all_are_reported_on_without_a_panic(
        mut changes in prop::collection::vec(crate::arbitrary::change(), 0..40),
        renumbered: bool,
    ) {
        for (at, change) in changes.iter_mut().enumerate() {
            if renumbered {
                (change.shard, change.seq, change.entry_offset, change.entry_changes) = (SHARD, at as u64 + 1, 0, 1);
            }
        }
        let report = verify(&changes, u64::MAX, None);
        prop_assert!(!report.ok);
    }
}
