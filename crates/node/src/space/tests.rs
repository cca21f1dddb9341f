use std::cell::Cell;
use std::os::unix::fs::MetadataExt as _;

use super::ballast::NAME as BALLAST;
use super::*;

const MIB: u64 = 1 << 20;

fn storage(low_mib: u64, ballast_mib: u64) -> StorageSection {
    StorageSection {
        low_space: Some(ByteSize::mib(low_mib)),
        ballast: Some(ByteSize::mib(ballast_mib)),
        ..StorageSection::default()
    }
}

/// A disk that has some MiB left beside what the ballast in the folder takes.
struct Disk {
    space: Space,
    folder: tempfile::TempDir,
    left_mib: Cell<u64>,
}

impl Disk {
    fn new(storage: &StorageSection, left_mib: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            space: Space::new(folder.path(), storage),
            folder,
            left_mib: Cell::new(left_mib),
        }
    }

    /// Looks at the disk when it has this much left. Returns the state, and the MiB of the ballast.
    fn with(&self, left_mib: u64) -> (SpaceState, u64) {
        self.left_mib.set(left_mib);
        let found = self.space.look_with(|| {
            let left = self.left_mib.get() * MIB;
            Ok(DiskBytes {
                available: left.saturating_sub(self.ballast_on_disk()),
                size: 1_000 * MIB,
            })
        });
        assert_eq!(found, self.space.found());
        assert_eq!(found.ballast, ballast::bytes(self.folder.path()));
        (found.state, found.ballast / MIB)
    }

    fn ballast_on_disk(&self) -> u64 {
        std::fs::metadata(self.folder.path().join(BALLAST)).map_or(0, |file| file.blocks() * 512)
    }
}

#[test]
fn space_that_runs_out_is_low_before_it_is_full_and_the_ballast_goes_last() {
    use SpaceState::{Enough, Full, Low};
    let disk = Disk::new(&storage(100, 8), 500);
    assert_eq!(disk.with(500), (Enough, 8));
    assert!(disk.ballast_on_disk() >= 8 * MIB, "the ballast has holes");
    assert_eq!(disk.with(108), (Enough, 8));
    assert_eq!(disk.with(107), (Low, 8));
    assert_eq!(disk.with(58), (Low, 8));
    // The disk is full below half of the low bound.
    assert_eq!(disk.with(57), (Full, 2));
    assert_eq!(disk.ballast_on_disk(), 2 * MIB);
    // What the ballast gave back does not end the state, and the ballast is not made again before there is
    // enough.
    assert_eq!(disk.with(57), (Full, 2));
    assert_eq!(disk.with(2), (Full, 2));
    assert_eq!(disk.with(111), (Full, 2));
    assert_eq!(disk.with(112), (Enough, 2));
    assert_eq!(disk.with(117), (Enough, 2));
    assert_eq!(disk.with(118), (Enough, 8));
}

#[test]
fn the_state_does_not_change_to_and_fro_at_its_bound() {
    use SpaceState::{Enough, Low};
    let disk = Disk::new(&storage(100, 0), 500);
    assert_eq!(disk.with(100), (Enough, 0));
    assert_eq!(disk.with(99), (Low, 0));
    assert_eq!(disk.with(109), (Low, 0));
    assert_eq!(disk.with(110), (Enough, 0));
    assert_eq!(disk.with(100), (Enough, 0));
}

#[test]
fn a_node_that_starts_on_a_full_disk_gives_all_of_its_ballast_up_and_takes_a_part_back() {
    let disk = Disk::new(&storage(100, 8), 500);
    disk.with(500);
    disk.with(57);
    // The state is that of a start: the test's file system is not full, but this look finds a full one.
    ballast::resize(disk.folder.path(), 0).unwrap();
    assert_eq!(disk.with(1), (SpaceState::Full, 0));
    assert_eq!(disk.with(2), (SpaceState::Full, 2));
}

#[test]
fn a_ballast_that_is_configured_away_or_smaller_goes() {
    let disk = Disk::new(&storage(100, 8), 500);
    disk.with(500);
    let again = Space::new(disk.folder.path(), &storage(100, 4));
    let enough = || {
        Ok(DiskBytes {
            available: 500 * MIB,
            size: 1_000 * MIB,
        })
    };
    assert_eq!(again.look_with(enough).ballast, 4 * MIB);
    assert_eq!(disk.ballast_on_disk(), 4 * MIB);
    let without = Space::new(disk.folder.path(), &storage(100, 0));
    assert_eq!(without.look_with(enough).ballast, 0);
    assert_eq!(disk.ballast_on_disk(), 0);
}

#[test]
fn a_disk_that_cannot_be_asked_changes_nothing() {
    let disk = Disk::new(&storage(100, 0), 500);
    disk.with(50);
    let found = disk
        .space
        .look_with(|| Err(io::ErrorKind::PermissionDenied.into()));
    assert_eq!(found.state, SpaceState::Low);
    assert!(disk.space.is_low());
}

#[test]
fn without_configuration_the_bounds_follow_the_size_of_the_disk() {
    let bounds = |gib: u64| Bounds::new(&StorageSection::default(), gib << 30);
    for (gib, low_mib, ballast_mib) in [(1000, 2048, 256), (40, 2048, 256), (10, 512, 102), (1, 51, 10)] {
        let bounds = bounds(gib);
        assert_eq!(
            (bounds.low_below / MIB, bounds.ballast / MIB),
            (low_mib, ballast_mib)
        );
        assert!(bounds.full_below <= bounds.low_below / 2 && bounds.full_below > 0);
    }
}
