use super::super::members::NodeAddress;
use super::*;

fn introduction(node_id: u64, listed: &[u64]) -> Introduction {
    Introduction {
        newcomer: Newcomer {
            node_id,
            disk_id: [node_id as u8; 16],
            address: NodeAddress::default(),
        },
        shard_count: 4,
        replication_factor: 3,
        listed: listed.iter().copied().collect(),
        restored_from: None,
        has_part: false,
    }
}

fn no_cluster(node_id: u64) -> (u64, Result<PeerReport, String>) {
    (
        node_id,
        Ok(PeerReport::NoClusterYet(introduction(node_id, &[1, 2, 3]))),
    )
}

#[test]
fn all_who_hear_of_no_cluster_know_the_same_genesis() {
    let part = |own: u64, others: [u64; 2]| {
        let heard = others.map(no_cluster).into();
        judge(&introduction(own, &[1, 2, 3]), heard).unwrap()
    };
    let first = part(1, [2, 3]);
    assert_eq!(first, part(2, [3, 1]));
    assert_eq!(first, part(3, [1, 2]));
    assert_eq!(first.generation, 0);
    assert_eq!(first.genesis.unwrap().founders.len(), 3);
}

#[test]
fn a_node_alone_is_a_cluster_at_once() {
    let part = judge(&introduction(1, &[1]), Vec::new()).unwrap();
    assert_eq!(part.genesis.unwrap().founders.len(), 1);
}

#[test]
fn nobody_founds_while_one_is_missing() {
    let heard = vec![no_cluster(2), (3, Err("no connection".to_owned()))];
    let why = judge(&introduction(1, &[1, 2, 3]), heard).unwrap_err();
    assert!(why.contains("node 3 (no connection)"), "{why}");
}

#[test]
fn who_hears_of_a_cluster_never_founds_another() {
    let stranger = |known_with_another_disk| {
        Ok(PeerReport::Stranger {
            known_with_another_disk,
            members: Default::default(),
        })
    };
    let own = introduction(1, &[1, 2, 3]);
    let why = judge(&own, vec![no_cluster(2), (3, stranger(false))]).unwrap_err();
    assert!(why.contains("holdfast cluster add 1"), "{why}");
    // A node that has not learnt of the old disk yet says only that this node is a stranger.
    let why = judge(&own, vec![(2, stranger(true)), (3, stranger(false))]).unwrap_err();
    assert!(why.contains("another disk"), "{why}");
}

#[test]
fn a_member_takes_the_part_that_it_is_told() {
    let member = PeerReport::Member {
        generation: 7,
        genesis: None,
    };
    let heard = vec![(2, Err("down".to_owned())), (3, Ok(member))];
    let part = judge(&introduction(1, &[1, 2, 3]), heard).unwrap();
    assert_eq!((part.generation, part.genesis), (7, None));
}

#[test]
fn founders_whose_configurations_differ_say_where() {
    let differing = [
        (
            Introduction {
                shard_count: 8,
                ..introduction(2, &[1, 2])
            },
            "shards.count",
        ),
        (
            Introduction {
                replication_factor: 5,
                ..introduction(2, &[1, 2])
            },
            "replication_factor",
        ),
        (introduction(2, &[1, 2, 3]), "peers"),
        (
            Introduction {
                restored_from: Some([9; 16]),
                ..introduction(2, &[1, 2])
            },
            "from the same backup",
        ),
    ];
    for (other, key) in differing {
        let heard = vec![(2, Ok(PeerReport::NoClusterYet(other)))];
        let why = judge(&introduction(1, &[1, 2]), heard).unwrap_err();
        assert!(why.contains(key), "{why}");
    }
}
