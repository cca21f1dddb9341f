//! Orders over several shards: what the shards say to each other.
//!
//! An order whose SKUs live in several shards is held by all of them or by none. The reserve is the prepare, and one shard, the
//! order's *home*, decides; each shard that holds lines is a *participant* (the home is one too). The steps are log
//! commands like any other, so every one of them is quorum-committed, and each can be repeated, lost, or come late:
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
//! - **Attempt.** A reservation id may be tried again after an abort; each try has a number, and the first decision of an attempt wins.
//! - **Incarnation.** The log index of the Prepare that took the units. A decision other than abort names the incarnations that it
//!   is about, so a Prepare that comes again when its order is long closed is never taken for it.
//! - **Version.** Of the decisions on a held order (held, extended, committed, ...). A participant follows the newest it has heard of.
//!
//! `docs/orders.md` has the rules and what happens when whom dies at which step.

mod coordinator;
mod transfer;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    Cause, Command, GrantedLine, OperationId, Position, ReservationId, ReservationState, ReserveLine,
    ReserveMode, Sourcing, StorefrontId,
};

pub use coordinator::{Coordinator, End, Progress, StepFailure, Target};
pub use transfer::{TRANSFER_STOREFRONT, TransferOrder};

/// The number of a shard.
pub type ShardNumber = u32;

/// One step of an order's protocol. The command's operation id is the order's reservation id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderStep {
    /// At the home: the order is known from now on, and undecided. Takes the home's own lines if they are given.
    Begin {
        /// From 1.
        attempt: u32,
        /// This shard.
        home: ShardNumber,
        /// All shards with lines, in order, the home among them. 2 or more.
        participants: Vec<ShardNumber>,
        /// The home's lines; None: they are prepared by a Prepare of their own.
        part: Option<OrderPart>,
        /// What every part has.
        terms: OrderTerms,
    },
    /// At a participant: takes its lines, undecided.
    Prepare {
        /// From 1.
        attempt: u32,
        /// Who decides.
        home: ShardNumber,
        /// This shard's lines.
        part: OrderPart,
        /// What every part has.
        terms: OrderTerms,
    },
    /// At the home: the commit point. The first decision of an attempt wins.
    Decide {
        /// Which attempt is decided.
        attempt: u32,
        /// How.
        decision: Decision,
    },
    /// At a participant: what the home has decided.
    Settle(Settlement),
    /// At the home: participants have followed.
    Acknowledge(Vec<Acknowledgement>),
    /// At the home: a participant asks about units that it has prepared. An order that the home does not know is aborted
    /// before it answers.
    Inquire {
        /// Who asks.
        shard: ShardNumber,
        /// The attempt of its part.
        attempt: u32,
        /// The incarnation of its part.
        incarnation: u64,
    },
}

/// What all parts of an order agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderTerms {
    /// For whom.
    pub storefront: StorefrontId,
    /// 1 ms to 30 days, from the decision.
    pub ttl_ms: u64,
    /// All or nothing, or best effort.
    pub mode: ReserveMode,
    /// How warehouses are chosen for the lines of one shard together.
    pub sourcing: Sourcing,
    /// Of the whole request ([`Command::fingerprint`]): a retry with another body is refused.
    pub fingerprint: u64,
}

/// The lines of an order that live in one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderPart {
    /// In order of their numbers.
    pub lines: Vec<OrderLine>,
}

/// One line and its place in the whole order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// From 0, in the request.
    pub number: u32,
    /// What is wanted.
    pub line: ReserveLine,
}

/// How an attempt is decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Decision {
    /// The order is held, by these incarnations.
    Hold {
        /// By shard.
        incarnations: BTreeMap<ShardNumber, u64>,
    },
    /// It is not, and never will be in this attempt.
    Abort,
}

/// Where a decided order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// Never held.
    Aborted,
    /// Held, not paid.
    Held,
    /// Paid.
    Committed,
    /// Given back.
    Released,
    /// Time ran out.
    Expired,
}

/// What a participant is to do with its part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    /// What was decided.
    pub verdict: Verdict,
    /// An abort is about this attempt and all before it.
    pub attempt: u32,
    /// Which units it is about. None only for an abort: then all of the attempts that it names.
    pub incarnation: Option<u64>,
    /// From 1, counting the decisions on a held order; 0 for an abort.
    pub version: u32,
    /// Until when the hold lives. In an abort: see [`Settlement::order`].
    pub expires_at_ms: u64,
    /// Why.
    pub cause: Cause,
}

/// A participant has followed a settlement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// Which order.
    pub reservation_id: ReservationId,
    /// Who.
    pub shard: ShardNumber,
    /// The settlement's.
    pub attempt: u32,
    /// The settlement's.
    pub version: u32,
}

/// The answer to a step that was not refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderReply {
    /// To Begin: how the order stands, and the home's part if it has one in this attempt.
    Begun {
        /// At the home.
        standing: Standing,
        /// The home's units.
        part: Option<PreparedPart>,
    },
    /// To Prepare: the units are taken, now or before.
    Prepared(PreparedPart),
    /// To Decide: how the order stands, which may be by another's decision.
    Decided(Standing),
    /// To Settle: the part follows, or there is none (any more) that the settlement is about.
    Settled,
    /// To Acknowledge.
    Acknowledged,
    /// To Inquire: what to do; None: it is not decided yet.
    Answered(Option<Settlement>),
    /// To Decide, by the second rules: an earlier decision stands, and this one changed nothing. By the first rules that is told
    /// as `Decided` too.
    DecidedBefore(Standing),
}

/// A participant's units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreparedPart {
    /// The log index at which they were taken.
    pub incarnation: u64,
    /// The attempt in which they were taken.
    pub attempt: u32,
    /// How they stand.
    pub state: ReservationState,
    /// What each merged line got.
    pub lines: Vec<GrantedLine>,
}

/// How an order stands at its home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Standing {
    /// This attempt waits for its decision.
    Undecided {
        /// Which.
        attempt: u32,
    },
    /// This attempt and all before it are aborted.
    Aborted {
        /// The last one.
        attempt: u32,
    },
    /// It was held; it may have moved on.
    Decided {
        /// Which attempt succeeded.
        attempt: u32,
        /// When it was held first.
        position: Position,
        /// Until when the hold lived at first.
        first_expires_at_ms: u64,
        /// Whose units.
        incarnations: BTreeMap<ShardNumber, u64>,
        /// How it stands now.
        verdict: Verdict,
    },
}

/// What a shard's resolver has to do. See [`crate::Query::OrderWork`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderWork {
    /// As a home: settlements that have not been acknowledged.
    pub settle: Vec<DueSettlement>,
    /// As a participant: prepared units whose outcome is not known.
    pub inquire: Vec<DueInquiry>,
}

/// A settlement on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueSettlement {
    /// Which order.
    pub reservation_id: ReservationId,
    /// To whom.
    pub shard: ShardNumber,
    /// What.
    pub settlement: Settlement,
}

/// A question to be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DueInquiry {
    /// Which order.
    pub reservation_id: ReservationId,
    /// Whom to ask.
    pub home: ShardNumber,
    /// Of the prepared part.
    pub attempt: u32,
    /// Of the prepared part.
    pub incarnation: u64,
    /// Log time of the Prepare.
    pub prepared_at_ms: u64,
}

/// An order as its home knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderView {
    /// Who decides.
    pub home: ShardNumber,
    /// The last one begun.
    pub attempt: u32,
    /// Of this shard's units; 0 when it has none.
    pub incarnation: u64,
    /// Shards that have units of it, in order. Known at the home only, once it is decided; elsewhere empty.
    pub participants: Vec<ShardNumber>,
}

impl Verdict {
    /// The state of a reservation that was decided so; an aborted one was given back.
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
    /// Tells that an attempt and all before it were not held.
    pub(crate) fn abort(attempt: u32, cause: Cause) -> Self {
        Self {
            verdict: Verdict::Aborted,
            attempt,
            incarnation: None,
            version: 0,
            expires_at_ms: 0,
            cause,
        }
    }

    /// Names the order of an abort by its fingerprint.
    #[must_use]
    pub(crate) fn of_order(mut self, fingerprint: u64) -> Self {
        if self.verdict == Verdict::Aborted {
            self.expires_at_ms = fingerprint;
        }
        self
    }

    /// The fingerprint of the order that an abort is about; None when the settlement names none. Two orders may have been sent
    /// under one id, and by the second rules the abort of one does nothing to the units of the other.
    pub fn order(&self) -> Option<u64> {
        let names_one = self.verdict == Verdict::Aborted && self.expires_at_ms != 0;
        names_one.then_some(self.expires_at_ms)
    }

    /// Limits the answer to an inquiry to the units that were asked about.
    #[must_use]
    pub fn about(mut self, incarnation: u64) -> Self {
        self.incarnation.get_or_insert(incarnation);
        self
    }
}

impl OrderStep {
    /// The step as a command about an order.
    pub fn about(self, reservation_id: OperationId, of: &Command) -> Command {
        Command {
            operation_id: reservation_id,
            principal: of.principal.clone(),
            reference: of.reference.clone(),
            reason: of.reason.clone(),
            details: of.details,
            action: crate::Action::Order(self),
        }
    }
}
