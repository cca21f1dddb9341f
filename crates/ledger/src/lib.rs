//! The inventory ledger: a deterministic state machine.
//!
//! One [`Ledger`] is the state of one shard: the stock of its SKUs in all warehouses, the reservations on it, and what is
//! needed to answer a retry. It changes only by [`Ledger::apply`], which takes one [`Entry`] of the shard's log, and is the
//! same on every replica: there is no clock, no randomness, no I/O, no floating point and no unordered iteration in
//! here, and time is what the entries say.
//!
//! ```text
//! Entry { log time, commands } ──> apply ──> Applied { an Outcome for each command, Changes }
//!                                    │
//!                          cells, pools, policies, reservations, operation ids
//! ```
//!
//! # The parts
//! - **Cells** (`ledger/cell.rs`): one SKU in one warehouse, units by [`Bucket`]. The only way to move units is a step that
//!   adds up: what comes into the warehouse is what comes into the buckets. Each step is one [`Change`].
//! - **Reservations** (`ledger/reservation.rs`): lines and their parts, where each granted unit is in exactly one state.
//! - **Commands** ([`Action`]): each is *decided* without changing anything (and may be refused with a [`Refusal`]), then
//!   *executed* (which cannot be refused). So a refusal leaves nothing behind, and [`Ledger::preview`] can refuse without a
//!   log write. One file for each family: `reserve` (with `sourcing`, which chooses warehouses and says why), `transitions`
//!   (extend, commit, release, expiry), `fulfilment` (ship, cancel, return), `stocking` (receive, adjust, move, pools), `count`,
//!   `policies`, `transferring`, `dispatch`, `supplies`.
//! - **Plans**: transfers under way (`ledger/transfers.rs`) and supplies that are expected (`ledger/supplies.rs`) move nothing by
//!   themselves; `ledger/promise.rs` says what can be sold by which date with them, `ledger/deficits.rs` whose promises are short.
//! - **Orders over several shards** (`order.rs`, `ledger/home.rs`, `ledger/participant.rs`): the same reservations, prepared first
//!   and decided at the order's home; [`Coordinator`] says what to send where.
//! - **Operation ids** (`ledger/operations.rs`): what took effect is remembered for the operation window, so the
//!   same id with the same body is answered alike and never takes effect twice; an older id is refused.
//! - **Invariants** (`ledger/invariants.rs`): checked for what an entry touched, and for everything in [`Ledger::check`].
//!   A [`Violation`] means that this state must not be used any more.
//! - **Snapshots** (`ledger/snapshot.rs`): the whole state as canonical bytes; [`Ledger::digest`] is their BLAKE3.
//! - **Bytes** (`codec.rs`, `wire.rs`): entries, changes and commands, with a version in front.
//! - **Rules** (`rules.rs`): the version by which a ledger decides; its log adopts a newer one, so replicas of two releases agree.
//!
//! # Where units go
//! `on_hand = free + pools + safety + held + committed + damaged + quality_hold - deficit - backordered`. Reserving moves units
//! from the storefront's pool and from free to held, and beyond stock as far as a policy allows (backordered); committing moves
//! them to committed; shipping takes them out. What is given back goes to where it was taken from. Whatever becomes sellable
//! (receipts, arriving transfers, restocked returns, released and cancelled units) fills a deficit first (promised units that a
//! recount did not find), then what is backordered; the rest is free. Ring-fenced units fill no backorder. What is in transit
//! to a cell is not part of its sum.
//!
//! # Where to start reading
//! [`Action`] for what can be asked, `ledger/apply.rs` for the way of one entry, then one family of commands. The claims
//! that hold for every log are in `tests/properties`, against a second ledger written naively.

#![warn(clippy::float_arithmetic)]

mod change;
mod codec;
mod command;
mod details;
mod fault;
mod hash;
mod ledger;
pub mod limits;
mod order;
mod outcome;
mod query;
mod rules;
mod wire;

pub use change::{
    Bucket, BucketMove, BucketMoves, Cause, Change, ChangeKind, PolicyEffect, ReservationEffect,
    SupplyEffect, TransferEffect,
};
pub use codec::{
    CodecError, decode_changes, decode_command, decode_entry, encode_changes, encode_command, encode_entry,
};
pub use command::{
    Action, Command, Disposition, Entry, LineQuantity, ReserveLine, ReserveMode, ReturnOf, Source, Sourcing,
    TransferLine,
};
pub use details::Details;
#[cfg(feature = "faults")]
pub use fault::{FAULTS, Fault, seed_fault};
pub use holdfast_api::names::{
    IdError, OperationId, Principal, Reason, Reference, ReservationId, Sku, StorefrontId, SupplyId,
    TransferId, WarehouseId,
};
pub use holdfast_api::slots::SlotNumber;
pub use ledger::{Applied, Ledger, LedgerOptions, Violation};
pub use order::{
    Acknowledgement, Coordinator, Decision, DueInquiry, DueSettlement, End, OrderLine, OrderPart, OrderReply,
    OrderStep, OrderTerms, OrderView, OrderWork, PreparedPart, Progress, Settlement, ShardNumber, Standing,
    StepFailure, TRANSFER_STOREFRONT, Target, TransferOrder, Verdict,
};
pub use outcome::{Allocation, GrantedLine, Outcome, Position, Refusal, Shortage, SourcingReason, Success};
pub use query::{
    AffectedReservation, AvailabilityView, CellView, DeficitView, LineView, PoolView, PromiseDate,
    PromiseView, Query, QueryReply, ReservationState, ReservationView, SupplyView, TransferLineView,
    TransferView,
};
pub use rules::Rules;
