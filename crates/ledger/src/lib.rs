//! The inventory ledger: a deterministic state machine.

mod change;
mod codec;
mod command;
mod hash;
mod ids;
mod ledger;
mod outcome;
mod query;

pub use change::{Bucket, BucketMove, Cause, Change, ChangeKind, PolicyEffect, ReservationEffect};
pub use codec::{
    CodecError, decode_changes, decode_command, decode_entry, encode_changes, encode_command, encode_entry,
};
pub use command::{
    Action, Command, Disposition, Entry, LineQuantity, ReserveLine, ReserveMode, ReturnOf, Source,
};
pub use ids::{
    IdError, OperationId, Principal, Reason, Reference, ReservationId, SLOTS, Sku, SlotNumber, StorefrontId,
    WarehouseId, slot_of,
};
pub use ledger::{Applied, Ledger, LedgerOptions, Violation};
pub use outcome::{Allocation, GrantedLine, Outcome, Position, Refusal, Shortage, Success};
pub use query::{
    AvailabilityView, CellView, LineView, PoolView, Query, QueryReply, ReservationState, ReservationView,
};
