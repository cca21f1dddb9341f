//! The limits of the ledger: those that a caller meets (`holdfast_api::limits`), and those that follow from
//! them.
//!
//! Everything behind the ledger (log entries, change records, messages) is sized from them.
//! `holdfast_shard::limits` computes those sizes and checks the sums at compile time. `docs/limits.md` lists
//! all limits.

pub use holdfast_api::limits::{
    MAX_CELL_POOLS, MAX_CONSUMERS, MAX_LINES, MAX_OCCURRED_AGO_MS, MAX_ORDER_CELLS, MAX_PLACES,
    MAX_PREFERENCES, MAX_SOURCED_CELLS, MAX_TTL_MS,
};

/// The latest log time, in milliseconds since the Unix epoch, and the highest log index: both have 48 bits.
pub const MAX_48_BITS: u64 = (1 << 48) - 1;

/// The most warehouses, and the most storefronts, that a 16-bit number allows. Shards whose rules are older
/// than [`MAX_PLACES`] have this limit.
pub const MAX_PLACES_BY_NUMBER: usize = u16::MAX as usize;

/// The most changes of one command. A Dispatch makes two for each cell, and an Adjust makes one for each
/// pool.
pub const MAX_COMMAND_CHANGES: usize = 2 * MAX_ORDER_CELLS;

/// The largest stored size of one change, in bytes. A change has at most one of each name, and two steps of
/// every bucket.
pub const MAX_CHANGE_BYTES: usize = 1024;

/// The budget of one entry for due work: the most allocations of ended holds that it gives back, in addition
/// to twice the number of its commands. Also the most closed reservations, closed transfers and operation ids
/// that it forgets. So due work never grows faster than it is done.
pub const SWEEP_PER_ENTRY: usize = 1024;

const _: () = assert!(MAX_LINES <= MAX_ORDER_CELLS);
const _: () =
    assert!(MAX_LINES * MAX_PREFERENCES / 4 <= MAX_SOURCED_CELLS && MAX_PLACES <= MAX_SOURCED_CELLS);
const _: () = assert!(MAX_PLACES <= MAX_ORDER_CELLS && MAX_PLACES < MAX_PLACES_BY_NUMBER);
const _: () = assert!(2 * MAX_LINES <= MAX_COMMAND_CHANGES && MAX_PLACES < MAX_COMMAND_CHANGES);

/// Returns the most changes that an entry with this many commands makes for due work: ending holds and ending
/// orders. The last hold or order may exceed the budget.
pub const fn swept_changes(commands: usize) -> usize {
    2 * (SWEEP_PER_ENTRY + 2 * commands + MAX_ORDER_CELLS)
}

/// The most movements, and the most counts, that a shard keeps. A count or late goods that name an older
/// position are refused.
pub(crate) const KEPT_MOVEMENTS: usize = 100_000;
