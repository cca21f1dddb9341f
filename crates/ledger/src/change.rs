//! The change stream: the ledger's record of its effects.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{
    Bucket, Cause, ReservationId, ReservationState, ShardNumber, Sku, SourcingReason, StorefrontId, SupplyId,
    TransferId, WarehouseId,
};

/// The kind of a change.
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

/// One effect on one cell and at most one pool, or on one reservation, stock policy or supply. An entry makes
/// thousands of changes, so the parts that few changes have are boxed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The change's number in its shard: 1, 2, 3, ...
    pub seq: u64,
    /// The number of changes that its entry made.
    pub entry_changes: u32,
    /// Index of this change among those of its entry, from 0.
    pub entry_offset: u32,
    /// The entry's index.
    pub log_index: u64,
    /// The entry's log time.
    pub log_time_ms: u64,
    /// The kind of the change.
    pub kind: ChangeKind,
    /// The SKU. None for Extended.
    pub sku: Option<Sku>,
    /// The warehouse. None for Extended and PolicySet.
    pub warehouse: Option<WarehouseId>,
    /// The reservation's storefront, or the owner of the pool or policy.
    pub storefront: Option<StorefrontId>,
    /// The buckets that moved, in order of [`Bucket`].
    pub moves: BucketMoves,
    /// The effect on a reservation.
    pub reservation: Option<ReservationEffect>,
    /// The effect on a stock policy.
    pub policy: Option<Box<PolicyEffect>>,
    /// The effect on a transfer, in TransferredOut, TransferredIn and TransferClosed. TransferredOut makes
    /// two changes: one of the cell that loses the units, and one of the cell that they are on the way to.
    /// Units that leave were free, or were committed if the change has an effect on a reservation too.
    pub transfer: Option<Box<TransferEffect>>,
    /// The effect on a supply, in SupplyExpected, and in a Received that names a supply which was expected.
    pub supply: Option<Box<SupplyEffect>>,
    /// The operation that caused the change, or expiry.
    pub cause: Cause,
}

/// The buckets that one change moved, nearly always two.
pub type BucketMoves = SmallVec<[BucketMove; 2]>;

/// One bucket before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketMove {
    /// The bucket that moved.
    pub bucket: Bucket,
    /// Units added, or removed if negative. Not 0.
    pub delta: i64,
    /// Units after the change. At least 0.
    pub after: i64,
}

/// The effect of a change on a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationEffect {
    /// The reservation that changed.
    pub reservation_id: ReservationId,
    /// The line's number.
    pub line: u32,
    /// The reservation's state after the operation.
    pub state: ReservationState,
    /// The end of the hold, as a log time.
    pub expires_at_ms: u64,
    /// Units that the line asked for.
    pub requested: i64,
    /// Units of this line in this warehouse that the change moved.
    pub quantity: i64,
    /// The shard that decides. None unless the order is over several shards.
    pub home: Option<ShardNumber>,
    /// The reason for choosing this warehouse. Set only when units are taken.
    pub sourcing: Option<SourcingReason>,
}

/// The effect of a change on a stock policy: its values afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyEffect {
    /// Whether the storefront may take from free.
    pub may_borrow: bool,
    /// The most units in one reservation. 0: no limit.
    pub max_per_reservation: i64,
    /// The most units of the SKU that may be backordered. 0: none.
    pub backorder_limit: i64,
    /// The limit in place of `backorder_limit`, until `preorder_until_ms`.
    pub preorder_limit: i64,
    /// The end of the preorder, as a log time. 0: no preorder.
    pub preorder_until_ms: u64,
}

/// The effect of a change on a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferEffect {
    /// The transfer that changed.
    pub transfer_id: TransferId,
    /// The warehouse that the units left.
    pub from: WarehouseId,
    /// The warehouse that the units go to.
    pub to: WarehouseId,
    /// The expected arrival, in milliseconds since the Unix epoch.
    pub expected_at_ms: u64,
    /// Units of the SKU that this change sent, received or wrote off.
    pub quantity: i64,
    /// Units of the SKU that are still in transit after the change.
    pub in_transit: i64,
}

/// The effect of a change on a supply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupplyEffect {
    /// The supply that changed.
    pub supply_id: SupplyId,
    /// Units that it still expects after the change. 0: it is expected no more.
    pub quantity: i64,
    /// The expected arrival, in milliseconds since the Unix epoch.
    pub expected_at_ms: u64,
}
