//! What the ledger says it did: the change stream.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{
    Command, OperationId, Principal, Reason, Reference, ReservationId, ReservationState, ShardNumber, Sku,
    SourcingReason, StorefrontId, SupplyId, TransferId, WarehouseId,
};

/// The places of a cell where units can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Bucket {
    /// What a picker can count.
    OnHand,
    /// Sellable by all.
    Free,
    /// Ring-fenced for the change's storefront.
    Pool,
    /// Kept back by policy.
    Safety,
    /// In live holds.
    Held,
    /// Paid, not shipped.
    Committed,
    /// Not sellable.
    Damaged,
    /// Waiting for inspection.
    QualityHold,
    /// Promised and missing.
    Deficit,
    /// Promised beyond stock, as a policy allows.
    Backordered,
    /// On its way here from another warehouse. Not part of what is on hand.
    InTransit,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the names say it; proto/holdfast/v1/changes.proto describes each"
)]
pub enum ChangeKind {
    Reserved,
    Extended,
    Committed,
    Released,
    Expired,
    Shipped,
    Cancelled,
    Returned,
    Received,
    Adjusted,
    Counted,
    BucketMoved,
    PolicySet,
    PoolAllocated,
    Prepared,
    Confirmed,
    Aborted,
    TransferredOut,
    TransferredIn,
    TransferClosed,
    SupplyExpected,
}

/// One effect on one cell and at most one pool, or on one reservation, policy or supply. What few changes have is boxed: an
/// entry makes thousands of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// 1, 2, 3, ... in its shard.
    pub seq: u64,
    /// How many changes its entry made.
    pub entry_changes: u32,
    /// Which of them this is, from 0.
    pub entry_offset: u32,
    /// The entry's index.
    pub log_index: u64,
    /// The entry's log time.
    pub log_time_ms: u64,
    /// What happened.
    pub kind: ChangeKind,
    /// None for Extended.
    pub sku: Option<Sku>,
    /// None for Extended and PolicySet.
    pub warehouse: Option<WarehouseId>,
    /// The reservation's storefront, or whose pool or policy it is.
    pub storefront: Option<StorefrontId>,
    /// The buckets that moved, in order of [`Bucket`].
    pub moves: BucketMoves,
    /// The reservation's side.
    pub reservation: Option<ReservationEffect>,
    /// The policy's side.
    pub policy: Option<Box<PolicyEffect>>,
    /// The transfer's side: of TransferredOut (one change of the cell that loses units, one of the cell that they are on the
    /// way to), TransferredIn and TransferClosed. Units that leave were free, or committed if the change has a reservation's
    /// side too.
    pub transfer: Option<Box<TransferEffect>>,
    /// The supply's side: of SupplyExpected, and of a Received that names a supply which was expected.
    pub supply: Option<Box<SupplyEffect>>,
    /// Why.
    pub cause: Cause,
}

/// The buckets that one change moved: nearly always two.
pub type BucketMoves = SmallVec<[BucketMove; 2]>;

/// One bucket before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketMove {
    /// Which.
    pub bucket: Bucket,
    /// Not 0.
    pub delta: i64,
    /// At least 0.
    pub after: i64,
}

/// The reservation's side of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationEffect {
    /// Which.
    pub reservation_id: ReservationId,
    /// Which line.
    pub line: u32,
    /// Its state after the operation.
    pub state: ReservationState,
    /// Until when the hold lives.
    pub expires_at_ms: u64,
    /// Units of the line asked for.
    pub requested: i64,
    /// Units of this line and warehouse that this change moved.
    pub quantity: i64,
    /// The shard that decides, when the order is over several shards.
    pub home: Option<ShardNumber>,
    /// Why this warehouse was chosen; only when units are taken.
    pub sourcing: Option<SourcingReason>,
}

/// The policy's side of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyEffect {
    /// May it take from free?
    pub may_borrow: bool,
    /// 0: no limit.
    pub max_per_reservation: i64,
    /// Units of the SKU that may be backordered; 0: none.
    pub backorder_limit: i64,
    /// The same until `preorder_until_ms`.
    pub preorder_limit: i64,
    /// Log time; 0: no preorder.
    pub preorder_until_ms: u64,
}

/// The transfer's side of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferEffect {
    /// Which.
    pub transfer_id: TransferId,
    /// From where.
    pub from: WarehouseId,
    /// Where to.
    pub to: WarehouseId,
    /// When its goods should be there.
    pub expected_at_ms: u64,
    /// Units of the SKU that left, arrived or were written off with this change.
    pub quantity: i64,
    /// Units of the SKU that are still in transit afterwards.
    pub in_transit: i64,
}

/// The supply's side of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupplyEffect {
    /// Which.
    pub supply_id: SupplyId,
    /// What it still expects afterwards; 0: it is expected no more.
    pub quantity: i64,
    /// When its goods should be there.
    pub expected_at_ms: u64,
}

/// Why a change happened. Its bytes are in `wire.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// None for expiry.
    pub operation_id: Option<OperationId>,
    /// None for expiry.
    pub principal: Option<Principal>,
    /// The caller's reason.
    pub reason: Reason,
    /// The caller's document; for expiry that of the Reserve.
    pub reference: Reference,
    /// Business time as the command said it; None: the log time is all that is known.
    pub occurred_at_ms: Option<u64>,
}

impl Cause {
    /// That of a command.
    pub(crate) fn of(command: &Command) -> Self {
        Self {
            operation_id: Some(command.operation_id),
            principal: Some(command.principal.clone()),
            reason: command.reason.clone(),
            reference: command.reference.clone(),
            occurred_at_ms: command.details.occurred_at_ms,
        }
    }
}
