//! The limits of the ledger: those that a caller meets (`holdfast_api::limits`), and what follows from them. Everything behind the
//! ledger (log entries, change records, messages) is sized from them; `holdfast_shard::limits` does that and checks the sums when it
//! is compiled. `docs/limits.md` lists them all.

pub use holdfast_api::limits::{
    MAX_CELL_POOLS, MAX_LINES, MAX_OCCURRED_AGO_MS, MAX_ORDER_CELLS, MAX_PLACES, MAX_PREFERENCES,
    MAX_SOURCED_CELLS, MAX_TTL_MS,
};

/// The latest log time, in milliseconds since the Unix epoch, and the highest log index: both have 48 bits.
pub const MAX_48_BITS: u64 = (1 << 48) - 1;

/// The most warehouses, and the most storefronts, that their numbers of 16 bits allow. The limit of shards whose rules are older
/// than [`MAX_PLACES`].
pub const MAX_PLACES_BY_NUMBER: usize = u16::MAX as usize;

/// The most changes of one command: a Dispatch makes two for each cell, and an Adjust one for each pool.
pub const MAX_COMMAND_CHANGES: usize = 2 * MAX_ORDER_CELLS;

/// The most bytes of one change as it is stored. A change has at most one of each name and two steps of every bucket.
pub const MAX_CHANGE_BYTES: usize = 1024;

/// How many parts of ended holds an entry gives back, beside twice the number of its commands. Also how many closed reservations, closed
/// transfers and operation ids it forgets. So what is due never grows faster than it is worked off.
pub const SWEEP_PER_ENTRY: usize = 1024;

const _: () = assert!(MAX_LINES <= MAX_ORDER_CELLS);
const _: () =
    assert!(MAX_LINES * MAX_PREFERENCES / 4 <= MAX_SOURCED_CELLS && MAX_PLACES <= MAX_SOURCED_CELLS);
const _: () = assert!(MAX_PLACES <= MAX_ORDER_CELLS && MAX_PLACES < MAX_PLACES_BY_NUMBER);
const _: () = assert!(2 * MAX_LINES <= MAX_COMMAND_CHANGES && MAX_PLACES < MAX_COMMAND_CHANGES);

/// The most changes that the time passing with an entry of so many commands makes: holds that end, and orders that end. The last hold
/// of each may go over the budget.
pub const fn swept_changes(commands: usize) -> usize {
    2 * (SWEEP_PER_ENTRY + 2 * commands + MAX_ORDER_CELLS)
}
