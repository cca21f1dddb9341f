use std::collections::BTreeSet;

use holdfast_shard::{Register, ReplicaId};
use proptest::prelude::*;

use super::*;
use crate::directory::members::NodeAddress;

pub(crate) fn newcomer(node_id: u64, zone: &str) -> Newcomer {
    Newcomer {
        node_id,
        disk_id: [node_id as u8; 16],
        address: NodeAddress {
            client_address: format!("node-{node_id}:7301"),
            peer_address: format!("node-{node_id}:7302"),
            admin_address: String::new(),
            zone: zone.to_owned(),
        },
    }
}

pub(crate) fn founded(nodes: &[(u64, &str)], shard_count: u32, replication_factor: u32) -> Directory {
    Directory::founded(&Genesis {
        shard_count,
        replication_factor,
        founders: nodes.iter().map(|(node, zone)| newcomer(*node, zone)).collect(),
    })
}

fn three() -> Directory {
    founded(&[(1, ""), (2, ""), (3, "")], 2, 3)
}

fn complete(directory: &mut Directory, shard: u32) {
    let replicas = directory.placements[shard as usize].replicas.clone();
    let complete = directory.execute(DirectoryCommand::Placed { shard, replicas });
    assert_eq!(complete, Ok(true));
}

#[test]
fn the_founders_have_every_shard_under_their_first_numbers() {
    let directory = three();
    for placement in &directory.placements {
        assert!(placement.is_complete());
        assert_eq!(placement.replicas, (1..=3).map(ReplicaId::founder).collect());
    }
}

#[test]
fn only_the_first_founding_counts_and_nothing_goes_before_it() {
    let mut directory = Directory::default();
    assert!(directory.execute(DirectoryCommand::SetBalancing(true)).is_err());
    assert_eq!(directory, Directory::default());
    let genesis = |shard_count| Genesis {
        shard_count,
        replication_factor: 3,
        founders: vec![newcomer(1, "")],
    };
    assert_eq!(directory.execute(DirectoryCommand::Found(genesis(2))), Ok(true));
    assert_eq!(directory.execute(DirectoryCommand::Found(genesis(4))), Ok(false));
    assert_eq!(directory.placements.len(), 2);
}

#[test]
fn a_replica_that_comes_gets_a_number_that_no_other_had_and_one_that_stays_keeps_its_own() {
    let mut directory = three();
    directory
        .execute(DirectoryCommand::Admit(newcomer(4, "")))
        .unwrap();
    let nodes = BTreeSet::from([1, 2, 4]);
    directory
        .execute(DirectoryCommand::Place { shard: 0, nodes })
        .unwrap();
    let placement = &directory.placements[0];
    assert!(!placement.is_complete());
    assert_eq!(placement.on(1), Some(ReplicaId::founder(1)));
    assert_eq!(
        placement.on(3),
        Some(ReplicaId::founder(3)),
        "until the others are there"
    );
    let first = placement.on(4).unwrap();
    assert!(first.generation > 0);
    complete(&mut directory, 0);
    assert_eq!(directory.placements[0].on(3), None);

    // The replica leaves and comes back: it gets another number.
    for nodes in [[1, 2, 3], [1, 2, 4]] {
        let nodes = nodes.into();
        directory
            .execute(DirectoryCommand::Place { shard: 0, nodes })
            .unwrap();
        complete(&mut directory, 0);
    }
    assert!(directory.placements[0].on(4).unwrap().generation > first.generation);
}

#[test]
fn a_shard_on_its_way_is_not_sent_elsewhere_and_only_what_it_should_have_completes_it() {
    let mut directory = three();
    directory
        .execute(DirectoryCommand::Admit(newcomer(4, "")))
        .unwrap();
    directory
        .execute(DirectoryCommand::Admit(newcomer(5, "")))
        .unwrap();
    let place = |nodes: [u64; 3]| DirectoryCommand::Place {
        shard: 0,
        nodes: nodes.into(),
    };
    let before = directory.placements[0].replicas.clone();
    assert_eq!(directory.execute(place([1, 2, 4])), Ok(true));
    assert_eq!(
        directory.execute(place([1, 2, 4])),
        Ok(false),
        "asked twice is asked once"
    );
    assert!(directory.execute(place([1, 2, 5])).is_err());
    let early = DirectoryCommand::Placed {
        shard: 0,
        replicas: before,
    };
    assert_eq!(directory.execute(early), Ok(false));
    assert!(!directory.placements[0].is_complete());
}

#[test]
fn a_node_with_another_disk_gets_other_replicas_wherever_it_had_some() {
    let mut directory = three();
    let replace = DirectoryCommand::ReplaceDisk {
        node_id: 2,
        disk_id: [99; 16],
    };
    assert_eq!(directory.execute(replace.clone()), Ok(true));
    assert_eq!(directory.execute(replace), Ok(false));
    assert!(directory.members[&2].generation > 0);
    let mut numbers = BTreeSet::from([directory.members[&2].generation]);
    for placement in &directory.placements {
        let here = placement.on(2).unwrap();
        assert!(numbers.insert(here.generation), "no number is used twice");
        assert!(placement.replicas.contains(&here) && !placement.former.contains(&here));
        assert!(placement.former.contains(&ReplicaId::founder(2)));
        assert_eq!(placement.replicas.len(), 3);
    }
}

#[test]
fn what_an_earlier_disk_had_does_not_run_on_another_one_while_its_shard_moves_away() {
    let mut directory = three();
    directory
        .execute(DirectoryCommand::Admit(newcomer(4, "")))
        .unwrap();
    let shards = 0..directory.placements.len() as u32;
    for shard in shards.clone() {
        let nodes = BTreeSet::from([1, 2, 4]);
        directory
            .execute(DirectoryCommand::Place { shard, nodes })
            .unwrap();
    }
    for shard in shards.clone() {
        assert_eq!(directory.runs(shard, 3), Some(ReplicaId::founder(3)));
        assert!(directory.runs(shard, 4).is_some());
    }
    // A voter that forgot what it confirmed must not vote.
    for node_id in [3, 4] {
        let disk_id = [99; 16];
        directory
            .execute(DirectoryCommand::ReplaceDisk { node_id, disk_id })
            .unwrap();
    }
    for shard in shards {
        assert_eq!(directory.runs(shard, 3), None);
        let placement = &directory.placements[shard as usize];
        assert!(placement.former.contains(&ReplicaId::founder(3)), "{placement:?}");
        // A node that should have the shard gets another replica instead.
        let coming = directory.runs(shard, 4).unwrap();
        assert!(placement.replicas.contains(&coming), "{placement:?}");
        assert!(coming.generation > directory.members[&4].generation);
    }
}

#[test]
fn a_node_is_forgotten_only_without_replicas() {
    let mut directory = three();
    let refused = directory.execute(DirectoryCommand::Remove { node_id: 3 });
    assert!(refused.is_err_and(|why| why.contains("drain")));
    directory
        .execute(DirectoryCommand::Admit(newcomer(4, "")))
        .unwrap();
    assert_eq!(
        directory.execute(DirectoryCommand::Remove { node_id: 4 }),
        Ok(true)
    );
    assert_eq!(
        directory.execute(DirectoryCommand::Remove { node_id: 4 }),
        Ok(false)
    );
}

#[test]
fn two_nodes_cannot_have_one_id_nor_one_address() {
    let mut directory = three();
    let mut impostor = newcomer(3, "");
    impostor.disk_id = [7; 16];
    impostor.address.peer_address = "elsewhere:7302".to_owned();
    assert!(directory.execute(DirectoryCommand::Admit(impostor)).is_err());
    let mut squatter = newcomer(4, "");
    squatter.address = directory.members[&3].address.clone();
    assert!(directory.execute(DirectoryCommand::Admit(squatter)).is_err());
    assert_eq!(directory, three());
}

fn command() -> impl Strategy<Value = DirectoryCommand> {
    let node = 1_u64..=6;
    prop_oneof![
        node.clone()
            .prop_map(|node| DirectoryCommand::Admit(newcomer(node, ""))),
        (node.clone(), any::<bool>())
            .prop_map(|(node_id, draining)| DirectoryCommand::SetDraining { node_id, draining }),
        (node.clone(), any::<u8>()).prop_map(|(node_id, disk)| DirectoryCommand::ReplaceDisk {
            node_id,
            disk_id: [disk; 16]
        }),
        node.clone()
            .prop_map(|node_id| DirectoryCommand::Remove { node_id }),
        (0_u32..3, proptest::collection::btree_set(node, 0..=4))
            .prop_map(|(shard, nodes)| DirectoryCommand::Place { shard, nodes }),
        any::<bool>().prop_map(DirectoryCommand::SetBalancing),
    ]
}

proptest! {
    /// Whatever the commands and their order: no two replicas ever get the same number, and a refused command
    /// changes nothing.
    #[test]
    fn numbers_are_never_used_twice(commands in proptest::collection::vec((command(), any::<bool>()), 0..60)) {
        let mut directory = three();
        let mut seen: BTreeSet<ReplicaId> = directory.placements.iter().flat_map(|p| p.replicas.clone()).collect();
        for (command, completes) in commands {
            let before = directory.clone();
            let bytes = encode(&command);
            let answer: DirectoryAnswer = decode(&directory.apply(&bytes)).unwrap();
            match answer {
                Ok(changed) => prop_assert_eq!(changed, before.version != directory.version),
                Err(_) => prop_assert_eq!(&before, &directory),
            }
            for (placement, before) in directory.placements.iter().zip(&before.placements) {
                prop_assert!(!placement.replicas.is_empty());
                for replica in placement.replicas.difference(&before.replicas) {
                    prop_assert!(seen.insert(*replica), "{replica} again");
                }
            }
            if completes {
                for placement in &mut directory.placements {
                    placement.former.clear();
                }
            }
            let copy = Directory::decode(&Register::encode(&directory));
            prop_assert_eq!(copy.as_ref(), Ok(&directory));
        }
    }

    /// Arbitrary bytes cause no panic: the answer can always be decoded.
    #[test]
    fn any_bytes_are_borne(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut directory = three();
        let answer: Result<DirectoryAnswer, String> = decode(&directory.apply(&bytes));
        prop_assert!(answer.is_ok());
        let _ = <Directory as Register>::decode(&bytes);
    }
}
