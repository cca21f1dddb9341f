//! What can be read from the ledger. A query can travel to the shard's leader, so it is data.

use serde::{Deserialize, Serialize};

use crate::{Allocation, OrderView, OrderWork, Reference, ReservationId, Sku, StorefrontId, WarehouseId};

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// The cells of one SKU, in all warehouses or one.
    Cells {
        /// What.
        sku: Sku,
        /// Where.
        warehouse: Option<WarehouseId>,
    },
    /// Cells in order of SKU and warehouse, after a cursor.
    ListCells {
        /// The last cell of the page before.
        after: Option<(Sku, WarehouseId)>,
        /// 1 to 10,000.
        limit: u32,
    },
    /// One reservation.
    Reservation {
        /// Which.
        reservation_id: ReservationId,
    },
    /// What a storefront could sell.
    Availability {
        /// For whom.
        storefront: StorefrontId,
        /// What.
        skus: Vec<Sku>,
    },
    /// The BLAKE3 digest of the whole state.
    Digest,
    /// What the resolver of this shard has to do.
    OrderWork {
        /// The most settlements, and the most inquiries.
        limit: u32,
    },
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueryReply {
    /// To Cells and ListCells.
    Cells(Vec<CellView>),
    /// To Reservation.
    Reservation(Option<ReservationView>),
    /// To Availability, in the order asked.
    Availability(Vec<AvailabilityView>),
    /// To Digest.
    Digest([u8; 32]),
    /// To OrderWork.
    OrderWork(OrderWork),
}

/// One SKU in one warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the buckets of a cell, see Bucket")]
pub struct CellView {
    pub sku: Sku,
    pub warehouse: WarehouseId,
    pub on_hand: i64,
    pub free: i64,
    pub pools: Vec<PoolView>,
    pub safety: i64,
    pub held: i64,
    pub committed: i64,
    pub damaged: i64,
    pub quality_hold: i64,
    pub deficit: i64,
}

/// A storefront's pool in a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolView {
    /// Whose.
    pub storefront: StorefrontId,
    /// Units.
    pub quantity: i64,
}

/// What could be sold of one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailabilityView {
    /// What.
    pub sku: Sku,
    /// By warehouse in order of name, those with any.
    pub warehouses: Vec<(WarehouseId, i64)>,
}

/// The states of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReservationState {
    /// Part of an order over several shards that is not decided yet.
    Prepared,
    /// Stock is taken, not paid.
    Held,
    /// Paid; some may have shipped.
    Committed,
    /// Nothing left to ship, something has shipped.
    Shipped,
    /// Given back.
    Released,
    /// Time ran out.
    Expired,
    /// Cancelled after it was paid; nothing had shipped.
    Cancelled,
    /// Everything that shipped came back.
    Returned,
}

/// A reservation as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationView {
    /// Its id.
    pub reservation_id: ReservationId,
    /// For whom.
    pub storefront: StorefrontId,
    /// Its state.
    pub state: ReservationState,
    /// Log time of its Reserve.
    pub created_at_ms: u64,
    /// Until when the hold lives.
    pub expires_at_ms: u64,
    /// The caller's document.
    pub reference: Reference,
    /// When it is over several shards; then the lines are those of this shard.
    pub order: Option<OrderView>,
    /// Its lines.
    pub lines: Vec<LineView>,
}

/// One line: granted = held + committed + shipped + released + cancelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "the field names are the states, see ReservationLine in the proto"
)]
pub struct LineView {
    pub line: u32,
    pub sku: Sku,
    pub requested: i64,
    pub granted: i64,
    pub held: i64,
    pub committed: i64,
    pub shipped: i64,
    pub released: i64,
    pub cancelled: i64,
    pub returned: i64,
    pub allocations: Vec<Allocation>,
}
