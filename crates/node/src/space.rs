//! The space on the disk of the data folder, and the consequences when little is left.
//!
//! ```text
//!  available │ enough                          │ low                         │ full
//!            │ everything goes on              │ nothing new is taken        │ the ballast is given up
//!            └─────────────────────────────────┴─────────────────────────────┴───────────────────────
//!                          `storage.low_space`                  a segment's worth
//! ```
//!
//! A node with low space reports it to the others. The leader of a shard takes nothing new while no quorum
//! has enough (`proposer/low_space.rs` of the shard crate). Commits, releases, expiry and snapshots go on,
//! because they are small. When they fill the disk nevertheless, the ballast gives its bytes back once.

mod ballast;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::v1;
use nix::sys::statvfs::statvfs;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::config::{ByteSize, StorageSection};

/// Default of `storage.low_space`: the first number, or the disk's size divided by the second if that
/// is less.
const LOW_BELOW: (u64, u64) = (2 << 30, 20);
/// Default of `storage.ballast`: the first number, or the disk's size divided by the second if that is
/// less.
const BALLAST_BYTES: (u64, u64) = (256 << 20, 100);
/// Bytes of the ballast that stay on a full disk for the node's next start. Opening the facts writes some
/// hundred KiB.
const START_BYTES: u64 = 8 << 20;
/// Divisor of the ballast's size: at most this part of it stays on a full disk.
const START_PART: u64 = 4;
/// Free bytes below which a disk is full. The log, the change log and the snapshots are written in pieces of
/// this size.
const FULL_BELOW_BYTES: u64 = 64 << 20;
/// Divisor of the low bound: a disk is full only when less than this part of it is free.
const FULL_PART: u64 = 2;
/// Divisor of the low bound: there is enough again when this part of it is free on top of it. So the state
/// does not change to and fro.
const ENOUGH_AGAIN_PART: u64 = 10;
/// Interval between two looks at the disk while there is enough space.
const INTERVAL: Duration = Duration::from_secs(1);
/// Interval between two looks otherwise. It is shorter because there is little space between low and full.
const INTERVAL_WHEN_LOW: Duration = Duration::from_millis(200);

/// The size and the free bytes of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct DiskBytes {
    /// Bytes that this process can still write.
    pub(crate) available: u64,
    /// Bytes of the whole file system.
    pub(crate) size: u64,
}

impl DiskBytes {
    /// Asks the file system of a folder. May block.
    ///
    /// # Errors
    /// The operating system's error.
    pub(crate) fn of(folder: &Path) -> io::Result<Self> {
        let disk = statvfs(folder)?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.fragment_size());
        Ok(Self {
            available: bytes(disk.blocks_available()),
            size: bytes(disk.blocks()),
        })
    }
}

/// The state of the free space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SpaceState {
    /// Everything goes on.
    #[default]
    Enough,
    /// Nothing new is taken.
    Low,
    /// Nothing new is taken, and the ballast is given up. Lasts until there is enough again.
    Full,
}

impl SpaceState {
    /// Returns the word for the state in metrics and messages.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Enough => "enough",
            Self::Low => "low",
            Self::Full => "full",
        }
    }

    fn next(self, available: u64, bounds: Bounds) -> Self {
        let enough_from = bounds.low_below + bounds.low_below / ENOUGH_AGAIN_PART;
        if available < bounds.full_below || (self == Self::Full && available < enough_from) {
            Self::Full
        } else if available < bounds.low_below || (self == Self::Low && available < enough_from) {
            Self::Low
        } else {
            Self::Enough
        }
    }
}

/// The bounds between the states for a disk of some size, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Bounds {
    pub(crate) low_below: u64,
    pub(crate) full_below: u64,
    pub(crate) ballast: u64,
}

impl Bounds {
    pub(crate) fn new(storage: &StorageSection, disk_size: u64) -> Self {
        let default = |(most, part): (u64, u64)| most.min(disk_size / part);
        let low_below = storage
            .low_space
            .map_or_else(|| default(LOW_BELOW), ByteSize::bytes);
        Self {
            low_below,
            full_below: FULL_BELOW_BYTES.min(low_below / FULL_PART),
            ballast: storage
                .ballast
                .map_or_else(|| default(BALLAST_BYTES), ByteSize::bytes),
        }
    }

    /// Returns the bytes of the ballast that stay on a full disk.
    fn for_a_start(&self) -> u64 {
        START_BYTES.min(self.ballast / START_PART)
    }
}

/// The result of the last look at the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Found {
    pub(crate) state: SpaceState,
    pub(crate) disk: DiskBytes,
    pub(crate) bounds: Bounds,
    /// Bytes that the ballast holds back.
    pub(crate) ballast: u64,
}

impl Found {
    /// Returns a warning for operators, unless there is enough space.
    pub(crate) fn warning(&self) -> Option<String> {
        let mib = |bytes: u64| bytes >> 20;
        let left = format!(
            "the disk has {} MiB left, less than {} MiB, so nothing new is accepted",
            mib(self.disk.available),
            mib(self.bounds.low_below)
        );
        match self.state {
            SpaceState::Enough => None,
            SpaceState::Low => Some(left),
            SpaceState::Full => Some(format!("{left}, and the ballast is used up")),
        }
    }

    /// Returns the result as a message of the API.
    pub(crate) fn message(&self) -> v1::DiskSpace {
        v1::DiskSpace {
            available_bytes: self.disk.available,
            low_below_bytes: self.bounds.low_below,
            ballast_bytes: self.ballast,
            state: self.state.as_str().to_owned(),
        }
    }
}

/// The space of one node's data folder. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Space(Arc<Inner>);

struct Inner {
    data_dir: PathBuf,
    storage: StorageSection,
    found: Mutex<Found>,
    /// Lock of a look, so that only one runs at a time.
    looking: Mutex<()>,
}

impl Space {
    /// Returns the space of a data folder. Before the first look it counts as enough.
    pub(crate) fn new(data_dir: &Path, storage: &StorageSection) -> Self {
        Self(Arc::new(Inner {
            data_dir: data_dir.to_path_buf(),
            storage: storage.clone(),
            found: Mutex::default(),
            looking: Mutex::default(),
        }))
    }

    /// Looks at the disk before anything is opened. On a full disk it removes the whole ballast, because a
    /// start needs space. The next look makes again the part that is kept for the next start. Blocks.
    pub(crate) fn make_room_to_start(&self) {
        if self.look().state == SpaceState::Full
            && let Err(error) = ballast::resize(&self.0.data_dir, 0)
        {
            tracing::error!(%error, "the ballast cannot be removed");
        }
    }

    /// Returns the result of the last look.
    pub(crate) fn found(&self) -> Found {
        *self.0.found.lock()
    }

    /// Returns whether nothing new should be written to this disk.
    pub(crate) fn is_low(&self) -> bool {
        self.0.found.lock().state != SpaceState::Enough
    }

    /// Looks at the disk once. Gives up the ballast on a full disk, and makes it where there is room. Blocks.
    pub(crate) fn look(&self) -> Found {
        self.look_with(|| DiskBytes::of(&self.0.data_dir))
    }

    fn look_with(&self, read: impl Fn() -> io::Result<DiskBytes>) -> Found {
        let _alone = self.0.looking.lock();
        let before = self.found();
        let disk = match read() {
            Ok(disk) => disk,
            Err(error) => {
                tracing::warn!(%error, "the free space of the data folder is not known");
                return before;
            }
        };
        let bounds = Bounds::new(&self.0.storage, disk.size);
        let state = before.state.next(disk.available, bounds);
        let ballast = self.hold_ballast(state, disk.available, bounds);
        let found = Found {
            state,
            // Read again, because the ballast may have changed.
            disk: read().unwrap_or(disk),
            bounds,
            ballast,
        };
        *self.0.found.lock() = found;
        tell(before.state, &found);
        found
    }

    /// Makes the ballast as large as it should be in this state. Returns the bytes that it has then.
    fn hold_ballast(&self, state: SpaceState, available: u64, bounds: Bounds) -> u64 {
        let held = ballast::bytes(&self.0.data_dir);
        let wanted = match state {
            SpaceState::Enough => bounds.ballast,
            SpaceState::Low => held.min(bounds.ballast),
            SpaceState::Full => bounds.for_a_start(),
        };
        let left = available.checked_sub(wanted.saturating_sub(held));
        let fits = left.is_some_and(|left| match state {
            SpaceState::Enough => SpaceState::Low.next(left, bounds) == SpaceState::Enough,
            SpaceState::Low | SpaceState::Full => true,
        });
        if wanted == held || !fits {
            return held;
        }
        match ballast::resize(&self.0.data_dir, wanted) {
            Ok(()) if state == SpaceState::Full && wanted < held => {
                tracing::error!(
                    gave_back = held - wanted,
                    "the disk is full, so the ballast was removed"
                );
            }
            Ok(()) => tracing::info!(bytes = wanted, before = held, "ballast made"),
            Err(error) => tracing::warn!(%error, "the ballast could not be made or removed"),
        }
        ballast::bytes(&self.0.data_dir)
    }

    /// Looks at the disk at intervals, until `stopping` is cancelled.
    pub(crate) async fn watch(self, stopping: CancellationToken) {
        loop {
            let interval = if self.is_low() {
                INTERVAL_WHEN_LOW
            } else {
                INTERVAL
            };
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = stopping.cancelled() => return,
            }
            let space = self.clone();
            // The panic hook reports a panic in it, and the next look tries again.
            let _ = tokio::task::spawn_blocking(move || space.look()).await;
        }
    }
}

fn tell(before: SpaceState, found: &Found) {
    if before == found.state {
        return;
    }
    let (state, available) = (found.state.as_str(), found.disk.available);
    match found.state {
        SpaceState::Enough => tracing::info!(state, available, "there is enough disk space again"),
        SpaceState::Low | SpaceState::Full => tracing::error!(
            state,
            available,
            low_below = found.bounds.low_below,
            "little disk space is left: nothing new is accepted, but commits, releases, expiry and reads go on"
        ),
    }
}

#[cfg(test)]
mod tests;
