//! The answers to commands.

use serde::{Deserialize, Serialize};

use crate::{
    CellView, ConsumerName, GrantedLine, OrderReply, Position, ReservationId, ReservationState, ShardNumber,
    Sku,
};

/// The result of one command.
pub type Outcome = Result<Success, Refusal>;

/// The answer to a command that took effect, by this request or by an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Success {
    /// Stock was taken.
    Reserved {
        /// The position of the decision.
        position: Position,
        /// Whether the operation had been applied before.
        replayed: bool,
        /// The end of the hold, as of the first answer.
        expires_at_ms: u64,
        /// The units that each merged line got.
        lines: Vec<GrantedLine>,
    },
    /// A reservation changed its state, or goods came back without one.
    Transitioned {
        /// The position of the decision.
        position: Position,
        /// Whether the operation had been applied before.
        replayed: bool,
        /// The state after the operation; None for a return without a reservation.
        state: Option<ReservationState>,
        /// The end of the hold. 0 unless held.
        expires_at_ms: u64,
    },
    /// Stock or a stock policy changed.
    Stocked {
        /// The position of the decision.
        position: Position,
        /// Whether the operation had been applied before.
        replayed: bool,
        /// The cell after the command. None for a stock policy, a transfer or a consumer, and for a replay.
        cell: Option<CellView>,
    },
    /// A step of an order's protocol was applied.
    Order {
        /// The position of the decision.
        position: Position,
        /// The reply to the step.
        reply: OrderReply,
    },
}

/// The reason why a command had no effect. A refusal leaves nothing behind, so the same id may be decided
/// anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The command is malformed.
    #[error("{0}")]
    InvalidRequest(String),
    /// There is not enough stock.
    #[error("there is not enough stock for {} line(s)", .0.len())]
    InsufficientStock(Vec<Shortage>),
    /// The reservation never existed, or was closed long ago.
    #[error("there is no such reservation")]
    UnknownReservation,
    /// The state of the reservation does not allow the command.
    #[error("the reservation is {state:?}, which does not allow this")]
    WrongState {
        /// The present state.
        state: ReservationState,
    },
    /// The hold had ended.
    #[error("the hold expired at log time {expired_at_ms} ms")]
    Expired {
        /// The end of the hold, as a log time.
        expired_at_ms: u64,
    },
    /// The command asks for more units than the line has in the needed state.
    #[error("line {line} has {available} units in the needed state, and {requested} were asked for")]
    ExceedsLine {
        /// The line's number.
        line: u32,
        /// Units asked for.
        requested: i64,
        /// Units there.
        available: i64,
    },
    /// The id was used with a different body.
    #[error("this operation id was used before, with another request")]
    OperationIdReused,
    /// The operation id is older than the operation window.
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
    /// The result would not fit in 64 bits.
    #[error("the result would not fit a 64-bit quantity")]
    Overflow,
    /// The shard has reached one of its limits.
    #[error("the shard has reached its limit of {limit} {what}")]
    LimitReached {
        /// The limited thing, in words.
        what: String,
        /// The limit's value.
        limit: u64,
    },
    /// The command names a change that has not happened yet.
    #[error("the shard has not made change {as_of_seq} yet, the last one is {last_seq}")]
    PositionInFuture {
        /// The change that the command names.
        as_of_seq: u64,
        /// The last change of the shard.
        last_seq: u64,
    },
    /// The command names a change, and the movements since it are no longer kept.
    #[error(
        "the movements since change {as_of_seq} are no longer kept, the oldest change that can be named is {oldest_seq}"
    )]
    PositionTooOld {
        /// The change that the command names.
        as_of_seq: u64,
        /// The oldest change that the command may name.
        oldest_seq: u64,
    },
    /// There would be enough stock without the undecided orders that hold it. Another try may succeed.
    #[error("other orders that are not decided yet have the units that {} line(s) need", .0.len())]
    Contended(Vec<Shortage>),
    /// The attempt was aborted before this step.
    #[error("attempt {attempt} of the order was aborted")]
    OrderAborted {
        /// The aborted attempt.
        attempt: u32,
    },
    /// The order is over several shards. Each of them must run the command on its own part
    /// ([`crate::Action::OfPart`]).
    #[error("the order is over several shards, and only its home, shard {home}, can do this for all of them")]
    OverSeveralShards {
        /// The shard that knows all of them.
        home: ShardNumber,
    },
    /// The order is over several shards, and another shard decides it.
    #[error("the order is decided in shard {home}")]
    DecidedAtHome {
        /// The shard that decides.
        home: ShardNumber,
    },
    /// The transfer never existed, or was closed long ago.
    #[error("there is no such transfer")]
    UnknownTransfer,
    /// No units of the transfer are in transit any more.
    #[error("nothing of the transfer is in transit any more")]
    TransferClosed,
    /// The id was sealed ([`crate::Action::Seal`]) after a repeated request with it was refused.
    #[error(
        "this operation id was sealed when a repeated request with it was refused: nothing happened, use a new id"
    )]
    OperationSealed,
    /// Another hold or commit of the storefront has the reference, and both ask to be the only one with it.
    #[error(
        "reservation {reservation_id} has this reference already, and both asked to be the only one with it"
    )]
    ReferenceTaken {
        /// The reservation that has the reference.
        reservation_id: ReservationId,
    },
    /// No consumer of this name is registered.
    #[error("no consumer is registered as `{name}`")]
    UnknownConsumer {
        /// The name.
        name: ConsumerName,
    },
}

impl Refusal {
    /// Returns whether every later copy of the request is refused too, as long as the id is remembered, and
    /// no earlier copy had an effect. An id that is too old may have had an effect that is forgotten.
    pub fn is_lasting(&self) -> bool {
        matches!(self, Self::OperationIdReused | Self::OperationSealed)
    }
}

/// A line that could not be filled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// The line's number.
    pub line: u32,
    /// The SKU of the line.
    pub sku: Sku,
    /// Units asked for, after lines are added up.
    pub requested: i64,
    /// Units that this storefront could have had.
    pub available: i64,
}
