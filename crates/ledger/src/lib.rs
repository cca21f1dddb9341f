//! The inventory ledger: a deterministic state machine.
//!
//! One [`Ledger`] is the state of one shard: the stock of its SKUs in all warehouses, the reservations on
//! that stock, and the answers that a retry needs. Only [`Ledger::apply`] changes it. It takes one [`Entry`]
//! of the shard's log and has the same result on every replica. So this crate has no clock, no randomness, no
//! I/O, no floating point and no unordered iteration. Time is the log time of the entries.
//!
//! ```text
//! Entry { log time, commands } ──> apply ──> Applied { an Outcome for each command, Changes }
//!                                    │
//!                          cells, pools, policies, reservations, operation ids
//! ```
//!
//! # The parts
//! - **Cells** (`ledger/cell.rs`): one SKU in one warehouse, with its units by [`Bucket`]. Units move only by
//!   a step that adds up: the units that enter the warehouse are the units that enter its buckets. Each step
//!   is one [`Change`].
//! - **Reservations** (`ledger/reservation.rs`): lines and their allocations. Each granted unit is in exactly
//!   one state.
//! - **Commands** ([`Action`]): each is first *decided*, which changes nothing and may refuse it with a
//!   [`Refusal`], and then *executed*, which cannot fail. So a refusal leaves nothing behind, and
//!   [`Ledger::preview`] can refuse without a log write. Each family has one file: `reserve` (with
//!   `sourcing`, which chooses warehouses and gives the reason), `transitions` (extend, commit, release,
//!   expiry), `fulfilment` (ship, cancel, return), `stocking` (receive, adjust, move, pools), `count`,
//!   `policies`, `transfer_commands`, `dispatch`, `supplies`.
//! - **Plans**: transfers under way (`ledger/transfers.rs`) and expected supplies (`ledger/supplies.rs`) move
//!   no units by themselves. With them, `ledger/promise.rs` computes how much can be sold by which date, and
//!   `ledger/deficits.rs` finds the reservations that are short.
//! - **Orders over several shards** (`order.rs`, `ledger/home.rs`, `ledger/participant.rs`): the same
//!   reservations, but each shard prepares its part first and the order's home decides. [`Coordinator`]
//!   chooses the steps to send and the shards to send them to.
//! - **Consumers** (`ledger/consumers.rs`): who reads the changes, and how far. Replicas may forget changes that
//!   each required consumer has passed.
//! - **Operation ids** (`ledger/operations.rs`): the ledger remembers each operation that took effect for the
//!   operation window. The same id with the same body gets the same answer and never takes effect twice. An
//!   older id is refused.
//! - **Invariants** (`ledger/invariants.rs`): checked after each entry for all that the entry touched, and
//!   for the whole state by [`Ledger::check`]. A [`Violation`] means that this state must not be used any
//!   more.
//! - **Snapshots** (`ledger/snapshot.rs`): the whole state as canonical bytes. [`Ledger::digest`] is their
//!   BLAKE3.
//! - **Bytes** (`codec.rs`, `wire.rs`): the encoding of entries, changes and commands, which begins with a
//!   version.
//! - **Rules** (`rules.rs`): the version by which a ledger decides. Its log adopts a newer one, so replicas
//!   of two releases agree.
//!
//! # Where units go
//! `on_hand = free + pools + safety + held + committed + damaged + quality_hold - deficit - backordered`.
//!
//! Reserving moves units from the storefront's pool and from free to held. Beyond the stock, it takes units
//! as far as a stock policy allows (backordered). Committing moves them to committed, and shipping takes them
//! out. Released, expired and cancelled units go back to where they were taken from.
//!
//! Units that become sellable (arrivals, arriving transfers, restocked returns, released and cancelled units)
//! first fill a deficit, which is promised units that a recount did not find. Then they fill backordered
//! units, and the rest is free. Ring-fenced units fill no backorder. Units in transit to a cell are not part
//! of its sum.
//!
//! # Where to start reading
//! Read [`Action`] for the commands, `ledger/apply.rs` for the path of one entry, and then one family of
//! commands. `tests/properties` has the claims that hold for every log. It checks them against a second,
//! naive ledger.

#![warn(clippy::float_arithmetic)]

mod bucket;
mod cause;
mod change;
mod codec;
mod command;
mod concerns;
mod details;
mod fingerprint;
mod granted;
mod hash;
mod ledger;
pub mod limits;
mod lines;
mod order;
mod outcome;
mod position;
mod query;
mod reservation_state;
mod rules;
mod wire;

pub use bucket::Bucket;
pub use cause::Cause;
pub use change::{
    BucketMove, BucketMoves, Change, ChangeKind, PolicyEffect, ReservationEffect, SupplyEffect,
    TransferEffect,
};
pub use codec::{
    CodecError, decode_changes, decode_command, decode_entry, encode_changes, encode_command, encode_entry,
};
pub use command::{Action, Command, Entry, ReturnOf};
pub use concerns::{About, Concerns, DoneBy, Sender, Skus};
pub use details::Details;
pub use granted::{Allocation, GrantedLine, SourcingReason};
pub use holdfast_api::names::{
    CallerReason, ConsumerLocation, ConsumerName, IdError, OperationId, Principal, Reference, ReservationId,
    Sku, StorefrontId, SupplyId, TransferId, WarehouseId,
};
pub use holdfast_api::slots::SlotNumber;
pub use ledger::{Applied, Ledger, LedgerOptions, Violation};
pub use lines::{Disposition, LineQuantity, ReserveLine, ReserveMode, Source, Sourcing, TransferLine};
pub use order::{
    Acknowledgement, Coordinator, Decision, DueInquiry, DueSettlement, End, OrderLine, OrderPart, OrderReply,
    OrderStep, OrderTerms, OrderView, OrderWork, PreparedPart, Progress, Settlement, Standing, StepFailure,
    TRANSFER_STOREFRONT, Target, TransferOrder, Verdict,
};
pub use outcome::{Outcome, Refusal, Shortage, Success};
pub use position::{Position, ShardNumber};
pub use query::{
    AffectedReservation, AvailabilityView, CellView, ConsumerView, DeficitView, LineView, PolicyView,
    PoolView, PromiseDate, PromiseView, Query, QueryReply, ReservationView, SupplyView, TransferLineView,
    TransferView,
};
pub use reservation_state::ReservationState;
pub use rules::Rules;
