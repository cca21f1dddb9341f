//! Sizes of what a shard writes and sends, derived from the [limits of the ledger](holdfast_ledger::limits).
//!
//! ```text
//!  command ──> entry ────────> changes of the entry ─> record(s) of the change log ─> portions for peers
//!  MAX_COMMAND   entry bytes     no limit               RECORD_CHANGES each,           one record at least,
//!  _BYTES        ENTRY_CHANGES                          however many                   below MAX_PEER_
//!                                                                                      MESSAGE_BYTES
//! ```
//!
//! A leader ends an entry before its commands can make more than [`ENTRY_CHANGES`] changes. That is planning,
//! not safety: an entry that still makes more changes is applied and recorded, in as many records as it
//! needs. No committed entry is too large.

use holdfast_ledger::limits::{
    MAX_CHANGE_BYTES, MAX_COMMAND_CHANGES, MAX_LINES, MAX_PREFERENCES, swept_changes,
};
use holdfast_ledger::{CallerReason, Details, Principal, Reference, Sku, StorefrontId, WarehouseId};

/// Size of the largest command in bytes, as it is stored. The largest order fits.
pub const MAX_COMMAND_BYTES: usize = 3 << 20;

/// Largest value of `max_entry_bytes` that can be configured.
pub const MAX_ENTRY_BYTES: usize = 4 << 20;

/// Most changes that are planned for the commands of one entry. One command alone may make more.
pub const ENTRY_CHANGES: usize = 65_536;

/// Most changes in one record of the change log, where an entry's changes do not fit in one. Part of the
/// layout: all replicas and versions must cut in the same way, because a record that comes again is compared
/// with the one on disk.
pub const RECORD_CHANGES: usize = 4096;

/// Largest payload of a record of the change log, in bytes. An entry whose changes fit has one record, a
/// larger one has several.
pub const MAX_RECORD_BYTES: usize = 16 << 20;

/// Size in bytes of the largest write-ahead log record that every configuration allows: a quarter of the
/// smallest segment.
pub const MIN_LOG_RECORD_BYTES: usize = MIN_LOG_SEGMENT_BYTES / 4;

/// Size in bytes of the smallest segment of the write-ahead log that can be configured.
pub const MIN_LOG_SEGMENT_BYTES: usize = 32 << 20;

/// Size in bytes of the largest message between nodes.
pub const MAX_PEER_MESSAGE_BYTES: usize = 64 << 20;

/// Approximate limit for the bytes of commands that are forwarded to the leader in one message.
pub(crate) const FORWARD_BYTES: usize = 4 << 20;

/// Approximate limit for the bytes of outcomes that come back in one message. Whatever does not fit is asked
/// for again.
pub(crate) const FORWARD_ANSWER_BYTES: usize = 16 << 20;

/// Approximate limit for the bytes of changes that go to a peer in one answer.
pub(crate) const PORTION_BYTES: usize = 1 << 20;

/// Bytes around the payload of a message, with room to spare.
const FRAMING_BYTES: usize = 64 << 10;

/// Most bytes of a line: names with a full preference list, a length byte each, and ten bytes for the
/// quantity.
const LINE_BYTES: usize = 1 + Sku::MAX_BYTES + 10 + 2 + MAX_PREFERENCES * (1 + WarehouseId::MAX_BYTES);

/// Bytes of the largest order: every name has its greatest length, and every line has a number, as in a part
/// of an order.
const LARGEST_ORDER_BYTES: usize = MAX_LINES * (LINE_BYTES + 5)
    + StorefrontId::MAX_BYTES
    + Principal::MAX_BYTES
    + Reference::MAX_BYTES
    + CallerReason::MAX_BYTES
    + Details::MAX_BYTES
    + 1024;

const _: () = assert!(LARGEST_ORDER_BYTES <= MAX_COMMAND_BYTES);
const _: () = assert!(MAX_COMMAND_BYTES <= FORWARD_BYTES);
const _: () = assert!(FORWARD_BYTES + FRAMING_BYTES <= MAX_PEER_MESSAGE_BYTES);
const _: () = assert!(MAX_COMMAND_CHANGES <= ENTRY_CHANGES);
const _: () = assert!(swept_changes(1024) <= ENTRY_CHANGES);
const _: () = assert!(RECORD_CHANGES * MAX_CHANGE_BYTES + FRAMING_BYTES <= MAX_RECORD_BYTES);
const _: () = assert!(PORTION_BYTES + MAX_RECORD_BYTES + FRAMING_BYTES <= MAX_PEER_MESSAGE_BYTES);
const _: () = assert!(FORWARD_ANSWER_BYTES + FRAMING_BYTES <= MAX_PEER_MESSAGE_BYTES);
const _: () = assert!(MAX_ENTRY_BYTES + MAX_COMMAND_BYTES + FRAMING_BYTES <= MIN_LOG_RECORD_BYTES);
