//! The queries of the ledger. A query can travel to the shard's leader, so it is data.

use serde::{Deserialize, Serialize};

use crate::{
    Allocation, ConsumerLocation, ConsumerName, OrderView, OrderWork, PolicyEffect, Reference, ReservationId,
    ReservationState, ShardNumber, Sku, StorefrontId, SupplyId, TransferId, WarehouseId,
};

/// A question to the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Query {
    /// The cells of one SKU, in all warehouses or one.
    Cells {
        /// The SKU of the cells.
        sku: Sku,
        /// The only warehouse. None: all warehouses.
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
        /// The reservation to read.
        reservation_id: ReservationId,
    },
    /// The units that a storefront could sell.
    Availability {
        /// The storefront that would sell.
        storefront: StorefrontId,
        /// The SKUs to look up.
        skus: Vec<Sku>,
    },
    /// The BLAKE3 digest of the whole state.
    Digest,
    /// The work that is due for this shard's resolver.
    OrderWork {
        /// The most settlements, and the most inquiries.
        limit: u32,
    },
    /// The units of a SKU that a storefront could sell, now and by the dates at which more is expected. "Now"
    /// is the log time.
    Promise {
        /// The storefront that would sell.
        storefront: StorefrontId,
        /// The SKU to look up.
        sku: Sku,
        /// The last date that counts, in milliseconds since the Unix epoch.
        until_ms: u64,
    },
    /// Cells with a deficit, in order of SKU and warehouse, after a cursor. Each comes with its affected
    /// reservations. If there is any deficit, the query reads all reservations of the shard.
    Deficits {
        /// The last cell of the page before.
        after: Option<(Sku, WarehouseId)>,
        /// 1 to 20 cells.
        limit: u32,
    },
    /// One transfer.
    Transfer {
        /// The transfer to read.
        transfer_id: TransferId,
    },
    /// Transfers with units in transit, after a cursor. In order of their ids, and so of their time.
    OpenTransfers {
        /// The last transfer of the page before.
        after: Option<TransferId>,
        /// 1 to 1,000. A page with very many lines ends earlier, so only an empty page is the last.
        limit: u32,
    },
    /// The expected supplies of one SKU, in all warehouses or one.
    Supplies {
        /// The SKU that is expected.
        sku: Sku,
        /// The only warehouse. None: all warehouses.
        warehouse: Option<WarehouseId>,
    },
    /// All registered consumers of the change stream.
    Consumers,
    /// Stock policies that differ from the default, after a cursor. Their order is that in which the ledger
    /// came to know the SKUs and the storefronts.
    Policies {
        /// The last policy of the page before.
        after: Option<(Sku, StorefrontId)>,
        /// 1 to 10,000.
        limit: u32,
    },
}

/// The answer to a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum QueryReply {
    /// Answers Cells and ListCells.
    Cells(Vec<CellView>),
    /// Answers Reservation. None: it is unknown.
    Reservation(Option<ReservationView>),
    /// Answers Availability, in the order of the SKUs asked for.
    Availability(Vec<AvailabilityView>),
    /// Answers Digest, with a BLAKE3 hash.
    Digest([u8; 32]),
    /// Answers OrderWork, with settlements and inquiries.
    OrderWork(OrderWork),
    /// Answers Promise, with one entry for each date.
    Promise(PromiseView),
    /// Answers Deficits, with one entry for each cell.
    Deficits(Vec<DeficitView>),
    /// Answers Transfer. None: it is unknown.
    Transfer(Option<TransferView>),
    /// Answers OpenTransfers, in order of their ids.
    Transfers(Vec<TransferView>),
    /// Answers Supplies, in order of warehouse and supply.
    Supplies(Vec<SupplyView>),
    /// Answers Consumers, in order of their names.
    Consumers(Vec<ConsumerView>),
    /// Answers Policies.
    Policies(Vec<PolicyView>),
}

/// A registered consumer of the change stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumerView {
    /// Its name.
    pub name: ConsumerName,
    /// Whether replicas keep every change that it has not passed.
    pub required: bool,
    /// The place to which it brings the changes. May be empty.
    pub location: ConsumerLocation,
    /// The last change that it has passed. 0 at first.
    pub through_seq: u64,
    /// The log time of its last advance, in milliseconds since the Unix epoch. Before the first advance, the log
    /// time at which it was registered at its location.
    pub advanced_at_ms: u64,
}

/// The stock policy of one storefront for one SKU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyView {
    /// The SKU.
    pub sku: Sku,
    /// The storefront.
    pub storefront: StorefrontId,
    /// The rules.
    pub rules: PolicyEffect,
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
    /// The storefront that owns the pool.
    pub storefront: StorefrontId,
    /// Units in the pool.
    pub quantity: i64,
}

/// The units of one SKU that could be sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailabilityView {
    /// The SKU that was asked for.
    pub sku: Sku,
    /// Units by warehouse, in order of its name. Only warehouses that have any.
    pub warehouses: Vec<(WarehouseId, i64)>,
    /// Units that the stock policy would grant beyond these at log time.
    pub backorderable: i64,
}

/// The units of one SKU that could be sold, by date.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromiseView {
    /// The log time, which counts as now.
    pub now_ms: u64,
    /// Units that can be sold from stock now, over all warehouses.
    pub available_now: i64,
    /// The dates at which more arrives, in their order: expected supplies, and transfers in transit.
    pub dates: Vec<PromiseDate>,
    /// Units that have not arrived by their date. They promise nothing before they get a new date.
    pub overdue: i64,
    /// Units that are promised and not there yet, in all warehouses. Arrivals in a warehouse serve those
    /// first.
    pub owed: i64,
}

/// One date of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PromiseDate {
    /// Milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Units that arrive at this date, over all warehouses.
    pub arriving: i64,
    /// Units that can be sold by this date. Includes all earlier arrivals, and excludes units that are owed.
    pub available: i64,
}

/// A cell that has less than was promised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeficitView {
    /// The cell with the deficit.
    pub cell: CellView,
    /// Live reservations with units here, oldest first: the oldest gets its units first. At most 1,000. If
    /// there are more, these are the latest.
    pub reservations: Vec<AffectedReservation>,
    /// The number of earlier reservations that are not listed.
    pub left_off: u64,
}

/// A reservation with units in a cell that has a deficit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffectedReservation {
    /// The affected reservation.
    pub reservation_id: ReservationId,
    /// The storefront that it was made for.
    pub storefront: StorefrontId,
    /// Its state.
    pub state: ReservationState,
    /// Log time of its Reserve.
    pub created_at_ms: u64,
    /// The caller's document.
    pub reference: Reference,
    /// Its held or committed units in this cell.
    pub quantity: i64,
    /// The number of these units that are not there (a deficit or backordered), if the reservations before it
    /// are kept.
    pub short: i64,
}

/// The present view of a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferView {
    /// Its id.
    pub transfer_id: TransferId,
    /// The warehouse that the units left.
    pub from: WarehouseId,
    /// The warehouse that the units go to.
    pub to: WarehouseId,
    /// Log time of its TransferOut.
    pub created_at_ms: u64,
    /// The expected arrival, in milliseconds since the Unix epoch.
    pub expected_at_ms: u64,
    /// The log time at which the last unit was no longer in transit. 0 while any is.
    pub closed_at_ms: u64,
    /// The caller's document.
    pub reference: Reference,
    /// The home of its order. None unless other shards have units of it too. The lines are those of this
    /// shard.
    pub home: Option<ShardNumber>,
    /// One line for each SKU, in order of the request.
    pub lines: Vec<TransferLineView>,
}

/// The units of one SKU in a transfer: sent = received + written_off + in_transit.
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
    /// The warehouse that expects it.
    pub warehouse: WarehouseId,
    /// The supply, by its id in the cell.
    pub supply_id: SupplyId,
    /// Units that are still expected. At least 1.
    pub quantity: i64,
    /// The expected arrival, in milliseconds since the Unix epoch.
    pub expected_at_ms: u64,
}

/// The present view of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationView {
    /// Its id.
    pub reservation_id: ReservationId,
    /// The storefront that it was made for.
    pub storefront: StorefrontId,
    /// Its state.
    pub state: ReservationState,
    /// Log time of its Reserve.
    pub created_at_ms: u64,
    /// The end of the hold, as a log time.
    pub expires_at_ms: u64,
    /// The caller's document.
    pub reference: Reference,
    /// The order over several shards that it is part of. If there is one, the lines are those of this shard.
    pub order: Option<OrderView>,
    /// Lines of the reservation.
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
