use std::collections::BTreeMap;

use super::super::state::tests::{founded, newcomer};
use super::*;

const HERE: Standing = Standing::Member { elsewhere: false };

fn part(generation: u32, seats_version: u64) -> MembershipRecord {
    MembershipRecord {
        generation,
        genesis: None,
        seats: BTreeMap::new(),
        seats_version,
    }
}

fn three() -> Directory {
    founded(&[(1, ""), (2, ""), (3, "")], 2, 3)
}

/// Node 2 comes with an empty disk and hears that it is a member under a new generation. It then reads the
/// directory from its beginning, which names its old disk.
#[test]
fn a_node_with_a_new_disk_does_not_take_its_old_one_for_one_that_came_after_it() {
    let mut directory = three();
    let mut own = newcomer(2, "");
    own.disk_id = [9; 16];
    let replace = DirectoryCommand::ReplaceDisk {
        node_id: 2,
        disk_id: own.disk_id,
    };
    let before = directory.clone();
    directory.execute(replace).unwrap();
    let part = part(directory.members[&2].generation, 0);
    assert_eq!(
        standing(&Directory::default(), &own, Some(&part), false),
        Standing::OfThePast
    );
    assert_eq!(standing(&before, &own, Some(&part), false), Standing::OfThePast);
    assert_eq!(standing(&directory, &own, Some(&part), false), HERE);
}

#[test]
fn a_disk_that_was_replaced_must_not_go_on() {
    let mut directory = three();
    let own = newcomer(2, "");
    assert_eq!(standing(&directory, &own, Some(&part(0, 0)), false), HERE);
    let disk_id = [9; 16];
    directory
        .execute(DirectoryCommand::ReplaceDisk { node_id: 2, disk_id })
        .unwrap();
    assert_eq!(
        standing(&directory, &own, Some(&part(0, 0)), true),
        Standing::Replaced
    );
}

#[test]
fn who_is_removed_stops_and_who_never_was_in_waits() {
    let mut directory = three();
    directory
        .execute(DirectoryCommand::Admit(newcomer(4, "")))
        .unwrap();
    let own = newcomer(4, "");
    let part = part(directory.members[&4].generation, 0);
    assert_eq!(standing(&three(), &own, Some(&part), false), Standing::Stranger);
    assert_eq!(standing(&directory, &own, Some(&part), false), HERE);
    directory
        .execute(DirectoryCommand::Remove { node_id: 4 })
        .unwrap();
    assert_eq!(standing(&directory, &own, Some(&part), true), Standing::Removed);
}

/// After a restart the node may read an older directory first. What it says about replicas no longer holds:
/// one of them may have been erased since, and must not start again under the same number.
#[test]
fn a_directory_that_is_older_than_what_was_done_is_passed_over() {
    let mut directory = three();
    let own = newcomer(3, "");
    let before = directory.clone();
    directory
        .execute(DirectoryCommand::Admit(newcomer(4, "")))
        .unwrap();
    let nodes = BTreeSet::from([1, 2, 4]);
    directory
        .execute(DirectoryCommand::Place { shard: 0, nodes })
        .unwrap();
    let part = part(0, directory.version);
    assert_eq!(standing(&before, &own, Some(&part), false), Standing::OfThePast);
    assert_eq!(standing(&directory, &own, Some(&part), false), HERE);
}
