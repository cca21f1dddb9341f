//! What can be asked of the ledger.

use serde::{Deserialize, Serialize};

use crate::{
    Bucket, Details, OperationId, OrderStep, Principal, Reason, Reference, ReservationId, Rules, Sku,
    StorefrontId, SupplyId, TransferId, WarehouseId,
};

/// One Raft log entry: commands decided in this order at one log time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since the Unix epoch, stamped by the leader. An earlier time than the ledger's counts as the ledger's.
    pub log_time_ms: u64,
    /// What to do; empty for an entry that only lets time pass.
    pub commands: Vec<Command>,
}

/// One mutating request. Its bytes are in `wire.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The same on every retry.
    pub operation_id: OperationId,
    /// Who asks. Not part of the body that a retry must repeat.
    pub principal: Principal,
    /// The caller's document.
    pub reference: Reference,
    /// The caller's reason.
    pub reason: Reason,
    /// When it happened, and other conditions.
    pub details: Details,
    /// What to do.
    pub action: Action,
}

impl Command {
    /// The command that seals an operation id.
    pub fn seal(operation_id: OperationId, principal: Principal) -> Self {
        Self {
            operation_id,
            principal,
            reference: Reference::default(),
            reason: Reason::default(),
            details: Details::default(),
            action: Action::Seal,
        }
    }

    /// The fingerprint that a sealed id is remembered with.
    pub(crate) fn fingerprint_of_seal() -> u64 {
        let details = Details::default();
        fingerprint(&Action::Seal, &Reference::default(), &Reason::default(), &details)
    }

    /// 60 bits over everything that a retry must repeat.
    pub fn fingerprint(&self) -> u64 {
        fingerprint(&self.action, &self.reference, &self.reason, &self.details)
    }
}

fn fingerprint(action: &Action, reference: &Reference, reason: &Reason, details: &Details) -> u64 {
    if details.is_empty() {
        hashed(&(action, reference, reason))
    } else {
        hashed(&(action, reference, reason, details))
    }
}

fn hashed(body: &impl Serialize) -> u64 {
    let hash = |body: &[u8]| xxhash_rust::xxh3::xxh3_64(body) >> 4;
    // Nearly every body fits: then no memory is asked for.
    let mut buffer = [crate::codec::VERSION; 512];
    let written = postcard::to_slice(body, &mut buffer[1..]).map(|body| body.len());
    match written {
        Ok(bytes) => hash(&buffer[..=bytes]),
        Err(_) => hash(&crate::codec::encode(body)),
    }
}

/// What to do. Quantities are in base units; their ranges are checked by `apply`, not by the types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Take stock for a buyer. The operation id becomes the reservation's id.
    Reserve {
        /// For whom.
        storefront: StorefrontId,
        /// 1 to 1024 lines; those of one SKU and source are added up.
        lines: Vec<ReserveLine>,
        /// 1 ms to 30 days.
        ttl_ms: u64,
        /// All or nothing, or best effort.
        mode: ReserveMode,
        /// How warehouses are chosen for all lines together.
        sourcing: Sourcing,
    },
    /// Prolong a hold: it then ends `ttl_ms` after this entry, never earlier than before.
    Extend {
        /// Which.
        reservation_id: ReservationId,
        /// 1 ms to 30 days.
        ttl_ms: u64,
    },
    /// Held units become committed.
    Commit {
        /// Which.
        reservation_id: ReservationId,
    },
    /// Held units go back.
    Release {
        /// Which.
        reservation_id: ReservationId,
    },
    /// Committed units leave.
    Ship {
        /// Which.
        reservation_id: ReservationId,
        /// Empty: everything committed.
        lines: Vec<LineQuantity>,
    },
    /// Committed units go back.
    Cancel {
        /// Which.
        reservation_id: ReservationId,
        /// Empty: everything committed.
        lines: Vec<LineQuantity>,
    },
    /// Goods come back.
    Return {
        /// Of a reservation, or not.
        of: ReturnOf,
        /// Where they go.
        disposition: Disposition,
    },
    /// Goods arrive; a deficit is filled first, then what was backordered.
    Receive {
        /// What.
        sku: Sku,
        /// Where.
        warehouse: WarehouseId,
        /// At least 1.
        quantity: i64,
        /// The supply they were expected as, which then expects as many less, at least none. One that is not expected
        /// (any more) is no obstacle: the goods are there.
        supply_id: Option<SupplyId>,
    },
    /// A correction. Down takes from free, then safety, then pools (in order of storefront name).
    Adjust {
        /// What.
        sku: Sku,
        /// Where.
        warehouse: WarehouseId,
        /// Not 0.
        delta: i64,
    },
    /// A recount as of a change sequence number.
    Count {
        /// What.
        sku: Sku,
        /// Where.
        warehouse: WarehouseId,
        /// At least 0.
        counted: i64,
        /// None: now.
        as_of_seq: Option<u64>,
    },
    /// Move units between free, safety, damaged and quality hold.
    MoveBucket {
        /// What.
        sku: Sku,
        /// Where.
        warehouse: WarehouseId,
        /// From.
        from: Bucket,
        /// To.
        to: Bucket,
        /// At least 1.
        quantity: i64,
    },
    /// What a storefront may do with a SKU.
    SetPolicy {
        /// Which.
        sku: Sku,
        /// Whose.
        storefront: StorefrontId,
        /// May it take from free when its pool is empty? True where no policy was set.
        may_borrow: bool,
        /// 0: no limit.
        max_per_reservation: i64,
        /// How far the storefront may take the SKU's backordered units beyond stock, if it may borrow: their sum over all
        /// warehouses is never more. 0: not at all.
        backorder_limit: i64,
        /// The same, in place of `backorder_limit`, until `preorder_until_ms`.
        preorder_limit: i64,
        /// Log time; 0: no preorder.
        preorder_until_ms: u64,
    },
    /// Set a pool's size, taking from or giving to free.
    AllocatePool {
        /// What.
        sku: Sku,
        /// Where.
        warehouse: WarehouseId,
        /// Whose.
        storefront: StorefrontId,
        /// At least 0.
        target: i64,
    },
    /// A step of an order over several shards. Taken by coordinators and resolvers, never by callers.
    Order(OrderStep),
    /// Ship, Cancel, Return or Dispatch for the units that this shard has of an order over several shards, TransferIn or
    /// CloseTransfer for those of a transfer.
    OfPart(Box<Action>),
    /// Free units leave for another warehouse. The operation id becomes the transfer's id.
    TransferOut {
        /// 1 to 1024 lines; those of one SKU are added up.
        lines: Vec<TransferLine>,
        /// From where.
        from: WarehouseId,
        /// Where to; another warehouse.
        to: WarehouseId,
        /// When they should be there, in milliseconds since the Unix epoch.
        expected_at_ms: u64,
    },
    /// Units of a transfer arrive.
    TransferIn {
        /// Which.
        transfer_id: TransferId,
        /// Empty: everything that is still in transit. Those of one SKU are added up.
        lines: Vec<TransferLine>,
        /// Where they go.
        disposition: Disposition,
    },
    /// What is still in transit will never arrive.
    CloseTransfer {
        /// Which.
        transfer_id: TransferId,
    },
    /// Goods are to come: sets what one supply still expects.
    ExpectSupply {
        /// What.
        sku: Sku,
        /// Where.
        warehouse: WarehouseId,
        /// Which supply of this cell.
        supply_id: SupplyId,
        /// At least 0; 0 expects it no more.
        quantity: i64,
        /// When they should be there, in milliseconds since the Unix epoch.
        expected_at_ms: u64,
    },
    /// All committed units of a transfer's reservation (see [`crate::TRANSFER_STOREFRONT`]) leave for another warehouse. Makes
    /// the transfer, whose id is the reservation's.
    Dispatch {
        /// Which.
        reservation_id: ReservationId,
        /// Where to; another warehouse than the one that all its units are in.
        to: WarehouseId,
        /// When they should be there, in milliseconds since the Unix epoch.
        expected_at_ms: u64,
    },
    /// Decides by newer rules from the next command on. Asked for by the cluster, never by callers. Rules that are not newer
    /// change nothing. Its id is not remembered, and it makes no change.
    AdoptRules {
        /// The rules.
        rules: Rules,
    },
    /// Closes this command's operation id: a request with the id that took no effect so far never takes any. A node sends it
    /// when a request is refused whose earlier attempt has no answer. Needs [`Rules::Second`](crate::Rules::Second).
    Seal,
}

impl Action {
    /// The kind of command, for people. A step of an order names the step.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Reserve { .. } => "Reserve",
            Self::Extend { .. } => "Extend",
            Self::Commit { .. } => "Commit",
            Self::Release { .. } => "Release",
            Self::Ship { .. } => "Ship",
            Self::Cancel { .. } => "Cancel",
            Self::Return { .. } => "Return",
            Self::Receive { .. } => "Receive",
            Self::Adjust { .. } => "Adjust",
            Self::Count { .. } => "Count",
            Self::MoveBucket { .. } => "MoveBucket",
            Self::SetPolicy { .. } => "SetPolicy",
            Self::AllocatePool { .. } => "AllocatePool",
            Self::Order(OrderStep::Begin { .. }) => "Begin",
            Self::Order(OrderStep::Prepare { .. }) => "Prepare",
            Self::Order(OrderStep::Decide { .. }) => "Decide",
            Self::Order(OrderStep::Settle(_)) => "Settle",
            Self::Order(OrderStep::Acknowledge(_)) => "Acknowledge",
            Self::Order(OrderStep::Inquire { .. }) => "Inquire",
            Self::OfPart(_) => "OfPart",
            Self::TransferOut { .. } => "TransferOut",
            Self::TransferIn { .. } => "TransferIn",
            Self::CloseTransfer { .. } => "CloseTransfer",
            Self::ExpectSupply { .. } => "ExpectSupply",
            Self::Dispatch { .. } => "Dispatch",
            Self::AdoptRules { .. } => "AdoptRules",
            Self::Seal => "Seal",
        }
    }
}

/// Units of one SKU in a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferLine {
    /// What.
    pub sku: Sku,
    /// At least 1.
    pub quantity: i64,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReserveLine {
    /// What.
    pub sku: Sku,
    /// At least 1.
    pub quantity: i64,
    /// From where.
    pub source: Source,
}

/// Which warehouses may fill a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// Any: the one warehouse that can fill the whole line first (the first by name), else those with most.
    Any,
    /// Only this one.
    Warehouse(WarehouseId),
    /// These, in this order. 1 to 64, no name twice.
    Preference(Vec<WarehouseId>),
}

/// How warehouses are chosen for all lines of a Reserve together. A line's [`Source`] still says which may be chosen; what it
/// says of their order counts only with `AsGiven`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Sourcing {
    /// Each line by itself, as its source says.
    #[default]
    AsGiven,
    /// Few warehouses for the whole request, found greedily: those that a line insists on, then again and again the one that
    /// completes most lines (then: has most units for them, then: is first by name).
    FewestShipments,
    /// Each line from the warehouse with most available, the first by name among equals.
    Balance,
}

/// What to do when not everything is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReserveMode {
    /// Every line in full, or nothing.
    AllOrNothing,
    /// As much of each line as there is, at least one unit overall.
    BestEffort,
}

/// Part of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineQuantity {
    /// The line's number.
    pub line: u32,
    /// At least 1.
    pub quantity: i64,
    /// None: in the order of allocation.
    pub warehouse: Option<WarehouseId>,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReturnOf {
    /// Shipped units of a reservation, to the warehouse they left from.
    Reservation {
        /// Which.
        reservation_id: ReservationId,
        /// Empty: everything shipped that has not come back.
        lines: Vec<LineQuantity>,
    },
    /// Goods of a sale that this ledger never saw.
    Unreferenced {
        /// What.
        sku: Sku,
        /// Where to.
        warehouse: WarehouseId,
        /// At least 1.
        quantity: i64,
    },
}

/// What happens to returned goods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disposition {
    /// Into free.
    Restock,
    /// Into damaged.
    Damaged,
    /// Into quality hold.
    QualityHold,
}
