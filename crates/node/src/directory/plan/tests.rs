use proptest::prelude::*;

use super::super::state::tests::{founded, newcomer};
use super::*;

fn live(directory: &Directory) -> BTreeSet<u64> {
    directory.members.keys().copied().collect()
}

fn spread(directory: &Directory) -> (usize, usize) {
    let loads = loads(directory);
    (*loads.values().min().unwrap(), *loads.values().max().unwrap())
}

#[test]
fn five_founders_share_the_replicas_evenly_and_over_zones() {
    let zones = [(1, "a"), (2, "a"), (3, "b"), (4, "b"), (5, "c")];
    let directory = founded(&zones, 10, 3);
    for placement in &directory.placements {
        assert_eq!(placement.replicas.len(), 3);
        assert_eq!(shared_zones(&directory, &placement.nodes()), 0);
    }
    let even = founded(&[(1, ""), (2, ""), (3, ""), (4, ""), (5, "")], 10, 3);
    assert_eq!(spread(&even), (6, 6));
}

#[test]
fn nothing_moves_while_all_is_as_it_should_be() {
    let directory = founded(&[(1, ""), (2, ""), (3, "")], 4, 3);
    assert_eq!(next_move(&directory, &live(&directory)), None);
}

#[test]
fn new_nodes_get_replicas_only_when_balance_is_asked_for() {
    let mut directory = founded(&[(1, ""), (2, ""), (3, "")], 5, 3);
    for node in [4, 5] {
        directory
            .execute(DirectoryCommand::Admit(newcomer(node, "")))
            .unwrap();
    }
    assert_eq!(next_move(&directory, &live(&directory)), None);
    directory.execute(DirectoryCommand::SetBalancing(true)).unwrap();
    let (moves, after) = all_moves(&directory, &live(&directory));
    assert_eq!(
        moves.len(),
        6,
        "15 replicas, 3 for each of 5 nodes: 6 of them are new ones'"
    );
    assert!(
        moves
            .iter()
            .all(|next| next.why == Why::Load && next.to >= Some(4))
    );
    assert_eq!(spread(&after), (3, 3));
}

#[test]
fn a_drained_node_gives_everything_away_and_one_that_is_not_heard_gets_nothing() {
    let mut directory = founded(&[(1, ""), (2, ""), (3, "")], 4, 3);
    directory
        .execute(DirectoryCommand::Admit(newcomer(4, "")))
        .unwrap();
    let draining = DirectoryCommand::SetDraining {
        node_id: 2,
        draining: true,
    };
    directory.execute(draining).unwrap();
    assert_eq!(next_move(&directory, &[1, 2, 3].into()), None, "nowhere to go");
    let (moves, after) = all_moves(&directory, &live(&directory));
    assert_eq!(moves.len(), 4);
    assert!(
        moves
            .iter()
            .all(|next| next.from == Some(2) && next.to == Some(4))
    );
    assert!(
        after
            .placements
            .iter()
            .all(|placement| placement.nodes() == [1, 3, 4].into())
    );
}

#[test]
fn too_few_replicas_become_more_as_nodes_come() {
    let mut directory = founded(&[(1, "")], 2, 3);
    for (node, replicas) in [(2, 2), (3, 3), (4, 3)] {
        directory
            .execute(DirectoryCommand::Admit(newcomer(node, "")))
            .unwrap();
        (_, directory) = all_moves(&directory, &live(&directory));
        for placement in &directory.placements {
            assert_eq!(placement.replicas.len(), replicas, "with node {node}");
        }
    }
}

#[test]
fn a_zone_of_its_own_is_worth_a_move() {
    let mut directory = founded(&[(1, "a"), (2, "a"), (3, "b")], 1, 3);
    directory
        .execute(DirectoryCommand::Admit(newcomer(4, "c")))
        .unwrap();
    directory.execute(DirectoryCommand::SetBalancing(true)).unwrap();
    let (moves, after) = all_moves(&directory, &live(&directory));
    assert_eq!(moves.len(), 1);
    assert_eq!((moves[0].why, moves[0].to), (Why::Zones, Some(4)));
    assert_eq!(shared_zones(&after, &after.placements[0].nodes()), 0);
}

#[test]
fn the_directory_is_voted_on_by_an_odd_few_who_stay() {
    let mut directory = founded(&[(1, ""), (2, ""), (3, ""), (4, "")], 1, 3);
    let first = directory_voters(&directory, &BTreeSet::new());
    assert_eq!(first, [1, 2, 3].into());
    let draining = DirectoryCommand::SetDraining {
        node_id: 2,
        draining: true,
    };
    directory.execute(draining).unwrap();
    assert_eq!(directory_voters(&directory, &first), [1, 3, 4].into());
    directory
        .execute(DirectoryCommand::Admit(newcomer(5, "")))
        .unwrap();
    directory
        .execute(DirectoryCommand::Admit(newcomer(6, "")))
        .unwrap();
    assert_eq!(directory_voters(&directory, &first).len(), 5);
    assert_eq!(
        directory_voters(&founded(&[(1, ""), (2, "")], 1, 3), &first),
        [1].into()
    );
}

proptest! {
    /// Whatever nodes come and are drained: the moves end, and nothing is left to move. No shard ends with
    /// fewer replicas than it had or should have. A drained node ends without replicas if there are enough
    /// others.
    #[test]
    fn plans_end_well(
        founders in 1_usize..6,
        shards in 1_u32..9,
        factor in prop_oneof![Just(1_u32), Just(3), Just(5)],
        zones in proptest::collection::vec(0_usize..4, 9),
        comers in proptest::collection::btree_set(7_u64..10, 0..3),
        drained in proptest::collection::btree_set(1_u64..10, 0..3),
    ) {
        let names = ["", "a", "b", "c"];
        let zone = |node: u64| names[zones[(node - 1) as usize]];
        let first: Vec<(u64, &str)> = (1..=founders as u64).map(|node| (node, zone(node))).collect();
        let mut directory = founded(&first, shards, factor);
        for node in comers {
            directory.execute(DirectoryCommand::Admit(newcomer(node, zone(node)))).unwrap();
        }
        for node_id in drained {
            let _ = directory.execute(DirectoryCommand::SetDraining { node_id, draining: true });
        }
        directory.execute(DirectoryCommand::SetBalancing(true)).unwrap();
        let (moves, after) = all_moves(&directory, &live(&directory));
        prop_assert_eq!(next_move(&after, &live(&after)), None, "after {} moves", moves.len());
        let active = after.members.values().filter(|member| !member.draining).count();
        for (before, after_it) in directory.placements.iter().zip(&after.placements) {
            prop_assert!(after_it.replicas.len() >= before.replicas.len().min(factor as usize));
            if active >= factor as usize {
                prop_assert_eq!(after_it.replicas.len(), factor as usize);
                prop_assert!(after_it.nodes().iter().all(|node| !after.members[node].draining));
            }
        }
    }
}
