//! The protocol of orders over several shards.
//!
//! An order whose SKUs live in several shards is held by all of them or by none. Preparing an order means
//! reserving its units. One shard, the order's *home*, decides. Each shard that holds lines is a
//! *participant*, and so is the home. The steps are ordinary log commands, so a quorum commits each of them.
//! Each step can be repeated, be lost, or come late:
//!
//! ```text
//! coordinator            home                          participant
//!     ├── Begin ──────────>│ knows the order, prepares     │
//!     ├── Prepare ─────────┼──────────────────────────────>│ takes all its lines, or refuses at once
//!     │<─────────── incarnations ──────────────────────────┤
//!     ├── Decide(hold) ───>│ the commit point: Held        │
//!     │                    ├── Settle ────────────────────>│ follows
//!     │                    │<── Acknowledge ───────────────┤
//! ```
//!
//! - **Attempt.** A reservation id may be tried again after an abort. Each try has a number, and the first
//!   decision of an attempt wins.
//! - **Incarnation.** The log index of the Prepare that took the units. A decision other than an abort names
//!   its incarnations. So a Prepare that is repeated long after its order was closed is never mistaken for
//!   the first one.
//! - **Version.** The number of a decision on a held order (held, extended, committed, ...). A participant
//!   follows the newest that it has received.
//!
//! `docs/orders.md` has the rules, and what happens when a process dies at each step.

mod coordinator;
mod transfer_order;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Cause, GrantedLine, Position, ReservationId, ReservationState, ReserveLine, ReserveMode, ShardNumber,
    Sourcing, StorefrontId,
};

pub use coordinator::{Coordinator, End, Progress, StepFailure, Target};
pub use transfer_order::{TRANSFER_STOREFRONT, TransferOrder};

/// One step of the protocol of an order. The command's operation id is the order's reservation id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderStep {
    /// Makes the order known at its home, as undecided. Takes the home's own lines if they are given.
    Begin {
        /// From 1.
        attempt: u32,
        /// The home's own number, which is this shard's.
        home: ShardNumber,
        /// All shards that take part, in ascending order: those with lines, and the home even without one.
        /// At least 2.
        participants: Vec<ShardNumber>,
        /// The home's lines. None: a Prepare of their own takes them.
        part: Option<OrderPart>,
        /// The terms that all parts share.
        terms: OrderTerms,
    },
    /// Takes the lines of a participant, as undecided.
    Prepare {
        /// From 1.
        attempt: u32,
        /// The shard that decides.
        home: ShardNumber,
        /// This shard's lines.
        part: OrderPart,
        /// The terms that all parts share.
        terms: OrderTerms,
    },
    /// Decides an attempt at the home. It is the commit point: the first decision of an attempt wins.
    Decide {
        /// The attempt that is decided.
        attempt: u32,
        /// The decision itself.
        decision: Decision,
    },
    /// Tells a participant the home's decision.
    Settle(Settlement),
    /// Tells the home that participants have followed.
    Acknowledge(Vec<Acknowledgement>),
    /// Asks the home about units that a participant has prepared. If the home does not know the order, it
    /// aborts it before it answers.
    Inquire {
        /// The participant that asks.
        shard: ShardNumber,
        /// The attempt of its part.
        attempt: u32,
        /// The incarnation of its part.
        incarnation: u64,
    },
}

/// The terms that all parts of an order share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderTerms {
    /// The storefront that takes the stock.
    pub storefront: StorefrontId,
    /// 1 ms to 30 days, from the decision.
    pub ttl_ms: u64,
    /// All or nothing, or best effort.
    pub mode: ReserveMode,
    /// How warehouses are chosen for the lines of one shard together.
    pub sourcing: Sourcing,
    /// The fingerprint of the whole request ([`Command::fingerprint`](crate::Command::fingerprint)). A retry with another body is refused.
    pub fingerprint: u64,
}

/// The lines of an order that live in one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPart {
    /// Lines in order of their numbers.
    pub lines: Vec<OrderLine>,
}

/// One line and its place in the whole order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// Index in the request, from 0.
    pub number: u32,
    /// The SKU, the quantity and the source.
    pub line: ReserveLine,
}

/// The decision on an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// The order is held, with these incarnations.
    Hold {
        /// The incarnation of each shard's units.
        incarnations: BTreeMap<ShardNumber, u64>,
    },
    /// The order is not held, and never will be in this attempt.
    Abort,
}

/// The state of a decided order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Never held.
    Aborted,
    /// The order is held and not paid.
    Held,
    /// The order is paid.
    Committed,
    /// The units were given back.
    Released,
    /// The time of the hold ran out.
    Expired,
}

/// The home's instruction to a participant about its part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// The home's decision.
    pub verdict: Verdict,
    /// The attempt that was decided. An abort is about this attempt and all before it.
    pub attempt: u32,
    /// The units that it is about. None only for an abort, which is then about all the attempts that it
    /// names.
    pub incarnation: Option<u64>,
    /// From 1, counting the decisions on a held order; 0 for an abort.
    pub version: u32,
    /// The end of the hold, as a log time. An abort has the fingerprint of its order here instead, or 0.
    end_or_fingerprint: u64,
    /// The operation that caused the decision.
    pub cause: Cause,
}

/// The message that a participant has followed a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The order that was settled.
    pub reservation_id: ReservationId,
    /// The participant that followed.
    pub shard: ShardNumber,
    /// The attempt of the settlement.
    pub attempt: u32,
    /// The version of the settlement.
    pub version: u32,
}

/// The answer to a step that was not refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderReply {
    /// Answers Begin with the standing of the order, and with the home's part if it has one in this attempt.
    Begun {
        /// The order's standing at its home.
        standing: Standing,
        /// The units of the home.
        part: Option<PreparedPart>,
    },
    /// Answers Prepare: the units are taken, by this step or by an earlier one.
    Prepared(PreparedPart),
    /// Answers Decide with the standing of the order. Another decision may have led to it.
    Decided(Standing),
    /// Answers Settle: the part follows, or this shard has no part (any more) that the settlement is about.
    Settled,
    /// Answers Acknowledge, and has no content.
    Acknowledged,
    /// Answers Inquire with the settlement to follow. None: the order is not decided yet.
    Answered(Option<Settlement>),
    /// Answers Decide by the second rules: an earlier decision stands, and this one changed nothing. The
    /// first rules answer this with `Decided` too.
    DecidedBefore(Standing),
}

/// The units that a participant has taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedPart {
    /// The log index at which they were taken.
    pub incarnation: u64,
    /// The attempt in which they were taken.
    pub attempt: u32,
    /// The state of the units.
    pub state: ReservationState,
    /// The units that each merged line got.
    pub lines: Vec<GrantedLine>,
}

/// The standing of an order at its home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// The attempt waits for its decision.
    Undecided {
        /// The attempt that waits.
        attempt: u32,
    },
    /// The attempt and all before it are aborted.
    Aborted {
        /// The last aborted attempt.
        attempt: u32,
    },
    /// The order was held. It may have moved on since.
    Decided {
        /// The attempt that succeeded.
        attempt: u32,
        /// The position at which it was held first.
        position: Position,
        /// The first end of the hold, as a log time.
        first_expires_at_ms: u64,
        /// The incarnation of each participant's units.
        incarnations: BTreeMap<ShardNumber, u64>,
        /// The order's present state.
        verdict: Verdict,
    },
}

/// The work that is due for a shard's resolver. See [`crate::Query::OrderWork`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderWork {
    /// Settlements that this shard, as a home, sends until they are acknowledged.
    pub settle: Vec<DueSettlement>,
    /// Questions about units that this shard, as a participant, has prepared and whose outcome it does not
    /// know.
    pub inquire: Vec<DueInquiry>,
}

/// A settlement that must be sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueSettlement {
    /// The order that is settled.
    pub reservation_id: ReservationId,
    /// The participant that must follow.
    pub shard: ShardNumber,
    /// The settlement to send.
    pub settlement: Settlement,
}

/// A question that must be sent to a home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueInquiry {
    /// The order that it is about.
    pub reservation_id: ReservationId,
    /// The shard to ask.
    pub home: ShardNumber,
    /// The attempt of the prepared part.
    pub attempt: u32,
    /// The incarnation of the prepared part.
    pub incarnation: u64,
    /// Log time of the Prepare.
    pub prepared_at_ms: u64,
}

/// The view of an order from one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderView {
    /// The shard that decides.
    pub home: ShardNumber,
    /// The last attempt that was begun.
    pub attempt: u32,
    /// The incarnation of this shard's units. 0 when it has none.
    pub incarnation: u64,
    /// Shards that have units of the order, in ascending order. Known only at the home, after the decision.
    /// Empty elsewhere.
    pub participants: Vec<ShardNumber>,
}

impl Verdict {
    /// Returns the state of a reservation with this verdict. An aborted one counts as released.
    pub fn state(self) -> ReservationState {
        match self {
            Self::Held => ReservationState::Held,
            Self::Committed => ReservationState::Committed,
            Self::Aborted | Self::Released => ReservationState::Released,
            Self::Expired => ReservationState::Expired,
        }
    }
}

impl Settlement {
    /// Builds the settlement for an attempt, and all before it, that were not held.
    pub fn abort(attempt: u32, cause: Cause) -> Self {
        Self {
            verdict: Verdict::Aborted,
            attempt,
            incarnation: None,
            version: 0,
            end_or_fingerprint: 0,
            cause,
        }
    }

    /// Builds the settlement for a part of an order that was held. The hold ends at `expires_at_ms`.
    pub(crate) fn decided(
        (attempt, incarnation): (u32, u64),
        (version, verdict): (u32, Verdict),
        expires_at_ms: u64,
        cause: Cause,
    ) -> Self {
        Self {
            verdict,
            attempt,
            incarnation: Some(incarnation),
            version,
            end_or_fingerprint: expires_at_ms,
            cause,
        }
    }

    /// Names the order of an abort by its fingerprint.
    #[must_use]
    pub(crate) fn of_order(mut self, fingerprint: u64) -> Self {
        if self.verdict == Verdict::Aborted {
            self.end_or_fingerprint = fingerprint;
        }
        self
    }

    /// Returns the fingerprint of the order that an abort is about. None when the settlement names no order.
    /// Two orders may have been sent under one id. By the second rules, the abort of one does nothing to the
    /// units of the other.
    pub fn fingerprint(&self) -> Option<u64> {
        let names_one = self.verdict == Verdict::Aborted && self.end_or_fingerprint != 0;
        names_one.then_some(self.end_or_fingerprint)
    }

    /// Returns the end of the hold, as a log time. None for an abort.
    pub fn expires_at_ms(&self) -> Option<u64> {
        (self.verdict != Verdict::Aborted).then_some(self.end_or_fingerprint)
    }

    /// Limits the answer to an inquiry to the units that the inquiry was about.
    #[must_use]
    pub fn about(mut self, incarnation: u64) -> Self {
        self.incarnation.get_or_insert(incarnation);
        self
    }
}
