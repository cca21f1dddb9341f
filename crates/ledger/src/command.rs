//! The commands of the ledger.

use serde::{Deserialize, Serialize};

use crate::{
    Bucket, CallerReason, Cause, ConsumerLocation, ConsumerName, Details, Disposition, LineQuantity,
    OperationId, OrderStep, Principal, Reference, ReservationId, ReserveLine, ReserveMode, Rules, Sku,
    Sourcing, StorefrontId, SupplyId, TransferId, TransferLine, WarehouseId,
};

/// One Raft log entry: commands decided in this order at one log time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since the Unix epoch, stamped by the leader. A time before the ledger's own counts as the
    /// ledger's.
    pub log_time_ms: u64,
    /// The commands. Empty for an entry that only lets time pass.
    pub commands: Vec<Command>,
}

/// One mutating request. Its bytes are in `wire.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The same id on every retry.
    pub operation_id: OperationId,
    /// The caller's identity. Not part of the body that a retry must repeat.
    pub principal: Principal,
    /// The caller's document.
    pub reference: Reference,
    /// The caller's reason.
    pub reason: CallerReason,
    /// Time of the event, and other conditions.
    pub details: Details,
    /// The effect that is asked for.
    pub action: Action,
}

impl Command {
    /// Builds the command that seals an operation id.
    pub fn seal(operation_id: OperationId, principal: Principal) -> Self {
        Self {
            operation_id,
            principal,
            reference: Reference::default(),
            reason: CallerReason::default(),
            details: Details::default(),
            action: Action::Seal,
        }
    }
}

impl Cause {
    /// Builds the cause of a command's changes.
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

/// The effect that a command asks for. Quantities are in base units. `apply` checks their ranges, the types
/// do not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// Takes stock for a buyer. The operation id becomes the reservation's id.
    Reserve {
        /// The storefront that takes the stock.
        storefront: StorefrontId,
        /// 1 to 1024 lines. Lines of one SKU and source are added up.
        lines: Vec<ReserveLine>,
        /// 1 ms to 30 days.
        ttl_ms: u64,
        /// All or nothing, or best effort.
        mode: ReserveMode,
        /// How warehouses are chosen for all lines together.
        sourcing: Sourcing,
    },
    /// Prolongs a hold: its new end is `ttl_ms` after this entry, but never earlier than its old end.
    Extend {
        /// The reservation to prolong.
        reservation_id: ReservationId,
        /// 1 ms to 30 days.
        ttl_ms: u64,
    },
    /// Moves held units to committed.
    Commit {
        /// The reservation to commit.
        reservation_id: ReservationId,
    },
    /// Gives held units back.
    Release {
        /// The reservation to release.
        reservation_id: ReservationId,
    },
    /// Takes committed units out of the warehouse.
    Ship {
        /// The reservation to ship.
        reservation_id: ReservationId,
        /// Units to ship. Empty: everything committed.
        lines: Vec<LineQuantity>,
    },
    /// Gives committed units back.
    Cancel {
        /// The reservation to cancel.
        reservation_id: ReservationId,
        /// Units to cancel. Empty: everything committed.
        lines: Vec<LineQuantity>,
    },
    /// Takes goods back into a warehouse.
    Return {
        /// The goods: shipped units of a reservation, or goods without one.
        of: ReturnOf,
        /// The bucket that the goods go to.
        disposition: Disposition,
    },
    /// Adds goods that arrive. They fill a deficit first, and backordered units next.
    Receive {
        /// The SKU that arrives.
        sku: Sku,
        /// The warehouse that it arrives in.
        warehouse: WarehouseId,
        /// At least 1.
        quantity: i64,
        /// The supply that announced the goods. It expects this much less afterwards, but never less than
        /// zero. A supply that is not expected (any more) does not prevent the arrival, because the goods are
        /// there.
        supply_id: Option<SupplyId>,
    },
    /// Corrects the stock. A negative correction takes from free, then safety, then pools (in order of
    /// storefront name).
    Adjust {
        /// The SKU to correct.
        sku: Sku,
        /// The warehouse of the stock.
        warehouse: WarehouseId,
        /// Not 0.
        delta: i64,
    },
    /// Recounts a cell, as of a change sequence number.
    Count {
        /// The SKU that was counted.
        sku: Sku,
        /// The warehouse that was counted.
        warehouse: WarehouseId,
        /// At least 0.
        counted: i64,
        /// The last change that the count has seen. None: the latest.
        as_of_seq: Option<u64>,
    },
    /// Moves units between free, safety, damaged and quality hold.
    MoveBucket {
        /// The SKU whose units move to another bucket.
        sku: Sku,
        /// The warehouse of the units.
        warehouse: WarehouseId,
        /// The bucket that the units leave.
        from: Bucket,
        /// The bucket that the units go to.
        to: Bucket,
        /// At least 1.
        quantity: i64,
    },
    /// Sets the stock policy of a storefront for a SKU.
    SetPolicy {
        /// The SKU of the policy.
        sku: Sku,
        /// The storefront of the policy.
        storefront: StorefrontId,
        /// Whether it may take from free when its pool is empty. True where no stock policy was set.
        may_borrow: bool,
        /// The most units in one reservation. 0: no limit.
        max_per_reservation: i64,
        /// The most units of the SKU that may be backordered, as a sum over all warehouses, if the storefront
        /// may borrow. 0: none.
        backorder_limit: i64,
        /// The limit in place of `backorder_limit`, until `preorder_until_ms`.
        preorder_limit: i64,
        /// The end of the preorder, as a log time. 0: no preorder.
        preorder_until_ms: u64,
    },
    /// Sets a pool's size. Takes the difference from free, or gives it to free.
    AllocatePool {
        /// The SKU of the pool.
        sku: Sku,
        /// The warehouse of the pool.
        warehouse: WarehouseId,
        /// The storefront that owns the pool.
        storefront: StorefrontId,
        /// At least 0.
        target: i64,
    },
    /// A step of an order over several shards. Only coordinators and resolvers send it, never callers.
    Order(OrderStep),
    /// Runs Ship, Cancel, Return or Dispatch on the units that this shard has of an order over several
    /// shards. Runs TransferIn or CloseTransfer on the units that it has of a transfer.
    OfPart(Box<Action>),
    /// Sends free units to another warehouse. The operation id becomes the transfer's id.
    TransferOut {
        /// 1 to 1024 lines. Lines of one SKU are added up.
        lines: Vec<TransferLine>,
        /// The warehouse that the units leave.
        from: WarehouseId,
        /// The warehouse that the units go to. Not the same as `from`.
        to: WarehouseId,
        /// The expected arrival, in milliseconds since the Unix epoch.
        expected_at_ms: u64,
    },
    /// Receives units of a transfer.
    TransferIn {
        /// The transfer that arrives.
        transfer_id: TransferId,
        /// Units that arrived. Empty: everything that is still in transit. Lines of one SKU are added up.
        lines: Vec<TransferLine>,
        /// The bucket that the units go to.
        disposition: Disposition,
    },
    /// Writes off the units that are still in transit, because they will never arrive.
    CloseTransfer {
        /// The transfer to close.
        transfer_id: TransferId,
    },
    /// Announces goods: sets the quantity that one supply still expects.
    ExpectSupply {
        /// The SKU that is expected.
        sku: Sku,
        /// The warehouse that expects it.
        warehouse: WarehouseId,
        /// The supply, by its id in this cell.
        supply_id: SupplyId,
        /// At least 0. 0: the supply is expected no more.
        quantity: i64,
        /// The expected arrival, in milliseconds since the Unix epoch.
        expected_at_ms: u64,
    },
    /// Sends all committed units of a transfer's reservation (see [`crate::TRANSFER_STOREFRONT`]) to another
    /// warehouse. Makes the transfer, whose id is the reservation's.
    Dispatch {
        /// The reservation of the transfer.
        reservation_id: ReservationId,
        /// The warehouse that the units go to. Not the one that they are in.
        to: WarehouseId,
        /// The expected arrival, in milliseconds since the Unix epoch.
        expected_at_ms: u64,
    },
    /// Makes the ledger decide by newer rules from the next command on. Only the cluster sends it, never
    /// callers. Rules that are not newer change nothing. Its id is not remembered, and it makes no change.
    AdoptRules {
        /// The rules to adopt.
        rules: Rules,
    },
    /// Closes this command's operation id: a request with the id that has had no effect never has one. A node
    /// sends it when a request is refused and an earlier attempt of it has no answer. Needs
    /// [`Rules::Second`].
    Seal,
    /// Registers a consumer of the change stream, or changes it. Makes no change. A consumer at another location
    /// begins anew, because nothing is there yet. Needs [`Rules::Third`].
    RegisterConsumer {
        /// The consumer.
        name: ConsumerName,
        /// Whether replicas keep every change that it has not passed.
        required: bool,
        /// The place to which it brings the changes. May be empty.
        location: ConsumerLocation,
    },
    /// Notes that a consumer has brought all changes through one to its location. Never goes back. Makes no
    /// change, and its id is not remembered. Needs [`Rules::Third`].
    AdvanceConsumer {
        /// The consumer.
        name: ConsumerName,
        /// The location that has the changes. It must be the registered one.
        location: ConsumerLocation,
        /// The last change that is there. Not after the shard's last one.
        through_seq: u64,
    },
    /// Removes a consumer. Makes no change. Needs [`Rules::Third`].
    RemoveConsumer {
        /// The consumer.
        name: ConsumerName,
    },
}

impl Action {
    /// Returns whether the action is about a consumer of the change stream.
    pub fn is_about_consumer(&self) -> bool {
        matches!(
            self,
            Self::RegisterConsumer { .. } | Self::AdvanceConsumer { .. } | Self::RemoveConsumer { .. }
        )
    }

    /// Returns the kind of command, for people. For a step of an order it is the name of the step.
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
            Self::RegisterConsumer { .. } => "RegisterConsumer",
            Self::AdvanceConsumer { .. } => "AdvanceConsumer",
            Self::RemoveConsumer { .. } => "RemoveConsumer",
        }
    }
}

/// The goods of a return.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReturnOf {
    /// Units that were shipped for a reservation. They go to the warehouse that they left from.
    Reservation {
        /// The reservation that they were shipped for.
        reservation_id: ReservationId,
        /// Units that come back. Empty: everything shipped that has not come back.
        lines: Vec<LineQuantity>,
    },
    /// Goods from a sale that this ledger never saw.
    Unreferenced {
        /// The SKU that comes back.
        sku: Sku,
        /// The warehouse that it comes back to.
        warehouse: WarehouseId,
        /// At least 1.
        quantity: i64,
    },
}
