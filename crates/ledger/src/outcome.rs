//! What a command is answered with.

use serde::{Deserialize, Serialize};

use crate::{CellView, OrderReply, ReservationId, ReservationState, ShardNumber, Sku, WarehouseId};

/// Where something was decided, inside one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The entry's index in the shard's log.
    pub log_index: u64,
    /// Its log time.
    pub log_time_ms: u64,
}

/// The result of one command.
pub type Outcome = Result<Success, Refusal>;

/// A command that took effect, now or the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Success {
    /// Stock was taken.
    Reserved {
        /// Where it was decided.
        position: Position,
        /// The operation had been applied before.
        replayed: bool,
        /// Until when the hold lives (as of the first answer).
        expires_at_ms: u64,
        /// What each merged line got.
        lines: Vec<GrantedLine>,
    },
    /// A reservation moved on (or goods came back without one).
    Transitioned {
        /// Where it was decided.
        position: Position,
        /// The operation had been applied before.
        replayed: bool,
        /// The state after the operation; None for a return without a reservation.
        state: Option<ReservationState>,
        /// Until when the hold lives; 0 unless held.
        expires_at_ms: u64,
    },
    /// Stock or a policy changed.
    Stocked {
        /// Where it was decided.
        position: Position,
        /// The operation had been applied before.
        replayed: bool,
        /// The cell afterwards; None for a policy or a transfer, and when replayed.
        cell: Option<CellView>,
    },
    /// A step of an order's protocol was taken.
    Order {
        /// Where it was decided.
        position: Position,
        /// What came of it.
        reply: OrderReply,
    },
}

/// What one merged line was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedLine {
    /// The index in the request of the first line with this SKU and source.
    pub line: u32,
    /// What.
    pub sku: Sku,
    /// After adding up.
    pub requested: i64,
    /// Less than requested only with best effort.
    pub granted: i64,
    /// From where.
    pub allocations: Vec<Allocation>,
}

/// Units of a line from one warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// Where.
    pub warehouse: WarehouseId,
    /// From the storefront's pool.
    pub from_pool: i64,
    /// From free.
    pub from_free: i64,
    /// Beyond stock: there were no such units when they were granted.
    pub from_backorder: i64,
    /// Why this warehouse.
    pub reason: SourcingReason,
}

/// Why a warehouse was chosen for units of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SourcingReason {
    /// The line names no other.
    OnlySource,
    /// The first by name that had the whole line.
    FirstFillingAll,
    /// The first of the line's list that had anything.
    Preferred,
    /// It had most.
    MostAvailable,
    /// It keeps the number of shipments of the request small.
    FewestShipments,
    /// What the warehouses before it did not have.
    SpillOver,
    /// Nothing was in stock: it is where the line's next supply is expected, or else the first that may be chosen.
    Backordered,
}

/// Why a command had no effect. A refusal leaves nothing behind: the same id may be decided anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The command is malformed.
    #[error("{0}")]
    InvalidRequest(String),
    /// Not enough stock.
    #[error("not enough stock for {} line(s)", .0.len())]
    InsufficientStock(Vec<Shortage>),
    /// It never was, or it is long closed.
    #[error("no such reservation")]
    UnknownReservation,
    /// The reservation's state does not allow it.
    #[error("the reservation is {state:?}, which does not allow this")]
    WrongState {
        /// Its state.
        state: ReservationState,
    },
    /// The hold's time had run out.
    #[error("the hold expired at {expired_at_ms}")]
    Expired {
        /// When.
        expired_at_ms: u64,
    },
    /// More units than the line has in the needed state.
    #[error("line {line} has {available} units for this, {requested} were asked for")]
    ExceedsLine {
        /// The line.
        line: u32,
        /// Asked for.
        requested: i64,
        /// There.
        available: i64,
    },
    /// The id was used with another body.
    #[error("this operation id was used with another request")]
    OperationIdReused,
    /// The id is older than the operation window.
    #[error(
        "the operation id is from {id_time_ms}, older than the operation window, which begins at {window_start_ms}"
    )]
    OperationIdTooOld {
        /// The id's time.
        id_time_ms: u64,
        /// The oldest time accepted now.
        window_start_ms: u64,
    },
    /// The id's time is too far ahead.
    #[error("the operation id is from {id_time_ms}, ahead of the latest accepted time {latest_ms}")]
    OperationIdFromFuture {
        /// The id's time.
        id_time_ms: u64,
        /// The latest time accepted now.
        latest_ms: u64,
    },
    /// The result would not fit.
    #[error("the result would not fit a 64-bit quantity")]
    Overflow,
    /// A limit of the shard.
    #[error("the shard has its limit of {limit} {what}")]
    LimitReached {
        /// Of what.
        what: String,
        /// How many.
        limit: u64,
    },
    /// A count names a position that is not reached.
    #[error("change {as_of_seq} is not reached, the last one is {last_seq}")]
    PositionInFuture {
        /// Named.
        as_of_seq: u64,
        /// Reached.
        last_seq: u64,
    },
    /// A count names a position whose movements are no longer kept.
    #[error("movements since change {as_of_seq} are no longer kept, the oldest usable is {oldest_seq}")]
    PositionTooOld {
        /// Named.
        as_of_seq: u64,
        /// Oldest usable.
        oldest_seq: u64,
    },
    /// There would be enough if no undecided order were held: worth another try.
    #[error("other orders that are not decided yet have what {} line(s) need", .0.len())]
    Contended(Vec<Shortage>),
    /// The attempt came to nothing before this step.
    #[error("attempt {attempt} of the order was aborted")]
    OrderAborted {
        /// Which.
        attempt: u32,
    },
    /// The order is over several shards: each is to do this for its own part ([`crate::Action::OfPart`]).
    #[error("the order is over several shards, its home is shard {home}")]
    OverSeveralShards {
        /// Who knows all of them.
        home: ShardNumber,
    },
    /// The order is over several shards, and another one decides.
    #[error("the order is decided in shard {home}")]
    DecidedAtHome {
        /// Which one.
        home: ShardNumber,
    },
    /// It never was, or it is long closed.
    #[error("no such transfer")]
    UnknownTransfer,
    /// Nothing of it is in transit any more.
    #[error("nothing of the transfer is in transit any more")]
    TransferClosed,
    /// The id was closed ([`crate::Action::Seal`]) after a repeated request with it was refused.
    #[error("this operation id was closed when a repeated request with it was refused")]
    OperationSealed,
    /// Another hold or commit of the storefront has the reference to itself.
    #[error("reservation {reservation_id} has this reference, and both were to be the only one")]
    ReferenceTaken {
        /// Which.
        reservation_id: ReservationId,
    },
}

impl Refusal {
    /// Whether every copy of the request that still arrives is refused too, as long as the id is remembered, and none had
    /// an effect before. An id that is too old may have had one: nobody remembers.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::OperationIdReused | Self::OperationSealed)
    }
}

/// One line that could not be filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// The line's number.
    pub line: u32,
    /// What.
    pub sku: Sku,
    /// After adding up.
    pub requested: i64,
    /// What this storefront could have had.
    pub available: i64,
}
