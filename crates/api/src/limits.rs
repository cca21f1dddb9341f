//! The limits that a caller meets. `docs/limits.md` lists all limits. The sizes of everything behind the API
//! (log entries, change records, messages) follow from these.

/// The most lines of a Reserve or a transfer, and the most parts named by a Ship, Cancel or Return.
pub const MAX_LINES: usize = 1024;

/// The most warehouses that a line of a Reserve can list.
pub const MAX_PREFERENCES: usize = 64;

/// The longest time to live of a hold in milliseconds: 30 days.
pub const MAX_TTL_MS: u64 = 30 * 24 * 3_600_000;

/// The longest time before log time at which a command may have happened, in milliseconds: 40 years. It is
/// long enough for any shop's history, and too short for a time in seconds by mistake.
pub const MAX_OCCURRED_AGO_MS: u64 = 40 * 366 * 24 * 3_600_000;

/// The most cells from which one Reserve may take units, over all its lines in one shard. Each cell is one
/// change when the order is reserved, and one for each later step.
pub const MAX_ORDER_CELLS: usize = 4096;

/// The most cells in which one Reserve may look for units, over all its lines in one shard. A line that takes
/// any warehouse counts all cells of its SKU. Any other line counts a quarter of the warehouses that it
/// lists. Each cell costs a microsecond or two of the shard's turn.
pub const MAX_SOURCED_CELLS: usize = 16_384;

/// The most warehouses, and the most storefronts, of a shard. It is also the most cells of a SKU.
pub const MAX_PLACES: usize = 4096;

/// The most pools of a cell to which AllocatePool adds one. Units that return to their former pool may make
/// more, at most one for each storefront.
pub const MAX_CELL_POOLS: usize = 256;

/// The most items of one message of a batch.
pub const MAX_BATCH_ITEMS: usize = 1_024;

/// The most positions that one request names.
pub const MAX_POSITIONS: usize = 1_024;

/// The most registered consumers of a shard.
pub const MAX_CONSUMERS: usize = 32;

/// The most SKUs of one availability check.
pub const MAX_SKUS: usize = 256;

/// The largest message that a client may send, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// The most fields of one message, including those of the messages in it. The largest order has one warehouse
/// for each preference of each line, and a few more fields for each line.
pub const MAX_MESSAGE_FIELDS: usize = 4 * MAX_LINES * MAX_PREFERENCES;
