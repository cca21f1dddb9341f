//! The limits of the ledger, in one place. Everything behind the ledger (log entries, change records, messages) is sized from
//! them; `holdfast_shard::limits` does that and checks the sums when it is compiled. `docs/limits.md` lists them all.

/// The most lines of a Reserve or a transfer, and the most parts named by a Ship, Cancel or Return.
pub const MAX_LINES: usize = 1024;

/// The most warehouses that a line of a Reserve can list.
pub const MAX_PREFERENCES: usize = 64;

/// The longest time to live of a hold in milliseconds: 30 days.
pub const MAX_TTL_MS: u64 = 30 * 24 * 3_600_000;

/// How far before log time a command may have happened, in milliseconds: 40 years. Long enough for any shop's history, and too short for a
/// time that was given in seconds.
pub const MAX_OCCURRED_AGO_MS: u64 = 40 * 366 * 24 * 3_600_000;

/// The latest log time, in milliseconds since the Unix epoch, and the highest log index: both have 48 bits.
pub const MAX_48_BITS: u64 = (1 << 48) - 1;

/// The most cells that one Reserve may take units from, over all its lines in one shard. Each is one change when the order is
/// reserved, and one for each step afterwards.
pub const MAX_ORDER_CELLS: usize = 4096;

/// The most cells at which one Reserve may look for units, over all its lines in one shard: those of a line's SKU where any warehouse
/// will do, and a quarter of the warehouses that it lists otherwise. Looking costs a microsecond or two for each, in the shard's turn.
pub const MAX_SOURCED_CELLS: usize = 16_384;

/// The most warehouses, and the most storefronts, of a shard. So also the most cells of a SKU.
pub const MAX_PLACES: usize = 4096;

/// The most pools of a cell to which AllocatePool adds one. Units that return to the pool they came from
/// may make more, at most one for each storefront.
pub const MAX_CELL_POOLS: usize = 256;

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
