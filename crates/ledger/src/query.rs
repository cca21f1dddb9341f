//! What can be read from the ledger. A query can travel to the shard's leader, so it is data.

use serde::{Deserialize, Serialize};

use crate::{
    Allocation, OrderView, OrderWork, Reference, ReservationId, ShardNumber, Sku, StorefrontId, SupplyId,
    TransferId, WarehouseId,
};

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
    /// What a storefront could sell of a SKU, now and by the dates at which more is expected. Log time is now.
    Promise {
        /// For whom.
        storefront: StorefrontId,
        /// What.
        sku: Sku,
        /// The last date that counts, in milliseconds since the Unix epoch.
        until_ms: u64,
    },
    /// Cells with a deficit in order of SKU and warehouse, after a cursor, with the reservations that are affected. Looks at
    /// all reservations of the shard when there is any deficit.
    Deficits {
        /// The last cell of the page before.
        after: Option<(Sku, WarehouseId)>,
        /// 1 to 20 cells.
        limit: u32,
    },
    /// One transfer.
    Transfer {
        /// Which.
        transfer_id: TransferId,
    },
    /// Transfers with units in transit, in order of their ids (so of their time), after a cursor.
    OpenTransfers {
        /// The last transfer of the page before.
        after: Option<TransferId>,
        /// 1 to 1,000. A page of very many lines ends earlier; only an empty one is the last.
        limit: u32,
    },
    /// What is expected of one SKU, in all warehouses or one.
    Supplies {
        /// What.
        sku: Sku,
        /// Where.
        warehouse: Option<WarehouseId>,
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
    /// To Promise.
    Promise(PromiseView),
    /// To Deficits.
    Deficits(Vec<DeficitView>),
    /// To Transfer.
    Transfer(Option<TransferView>),
    /// To OpenTransfers.
    Transfers(Vec<TransferView>),
    /// To Supplies, in order of warehouse and supply.
    Supplies(Vec<SupplyView>),
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
    pub backordered: i64,
    pub in_transit: i64,
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
    /// Units that the policy would grant beyond these, as of log time.
    pub backorderable: i64,
}

/// What could be sold of one SKU by which date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromiseView {
    /// Log time, which is taken for now.
    pub now_ms: u64,
    /// Units that can be sold from stock now, over all warehouses.
    pub available_now: i64,
    /// By the dates, in their order, at which more arrives: expected supplies, and what is in transit.
    pub dates: Vec<PromiseDate>,
    /// Units whose date has passed and which have not arrived. They promise nothing before they get a new date.
    pub overdue: i64,
    /// Units that are promised and not there yet, in all warehouses. What arrives in a warehouse is first for those.
    pub owed: i64,
}

/// One date of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromiseDate {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// What arrives at this date, over all warehouses.
    pub arriving: i64,
    /// What can be sold by this date: all that came before is in it, what is owed is not.
    pub available: i64,
}

/// A cell with less than was promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeficitView {
    /// The cell.
    pub cell: CellView,
    /// Live reservations with units here in order of their making: the oldest promise is kept first. At most 1,000, and then
    /// the latest.
    pub reservations: Vec<AffectedReservation>,
    /// How many earlier ones are not listed.
    pub left_off: u64,
}

/// A reservation with units in a cell that has a deficit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffectedReservation {
    /// Which.
    pub reservation_id: ReservationId,
    /// For whom.
    pub storefront: StorefrontId,
    /// Its state.
    pub state: ReservationState,
    /// Log time of its Reserve.
    pub created_at_ms: u64,
    /// The caller's document.
    pub reference: Reference,
    /// Its held or committed units in this cell.
    pub quantity: i64,
    /// How many of them are not there (a deficit or backordered), if those before it are kept.
    pub short: i64,
}

/// A transfer as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferView {
    /// Its id.
    pub transfer_id: TransferId,
    /// From where.
    pub from: WarehouseId,
    /// Where to.
    pub to: WarehouseId,
    /// Log time of its TransferOut.
    pub created_at_ms: u64,
    /// When its goods should be there.
    pub expected_at_ms: u64,
    /// When nothing was in transit any more; 0 while something is.
    pub closed_at_ms: u64,
    /// The caller's document.
    pub reference: Reference,
    /// The home of its order, when other shards have units of it; here are those of this shard.
    pub home: Option<ShardNumber>,
    /// One for each SKU, in order of the request.
    pub lines: Vec<TransferLineView>,
}

/// The units of one SKU of a transfer: sent = received + written_off + in_transit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the sum above says what they are")]
pub struct TransferLineView {
    pub sku: Sku,
    pub sent: i64,
    pub received: i64,
    pub written_off: i64,
    pub in_transit: i64,
}

/// A supply that is expected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SupplyView {
    /// Where.
    pub warehouse: WarehouseId,
    /// Which.
    pub supply_id: SupplyId,
    /// Units, at least 1.
    pub quantity: i64,
    /// When they should be there.
    pub expected_at_ms: u64,
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
