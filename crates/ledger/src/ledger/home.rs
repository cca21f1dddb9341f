//! The home's side of an order: Begin, Decide, Acknowledge and Inquire.
//!
//! The first decision of an attempt wins. It applies to the home's own units in the same entry. The other
//! participants get a settlement later, again and again, until each has acknowledged it.
//! [`Ledger::end_orders`] aborts an order that nobody decides in time. It does so as holds expire: by log
//! time, inside `apply`.

mod execute;
mod report;

use std::collections::BTreeSet;

use crate::{
    Acknowledgement, CallerReason, Cause, Command, Decision, OrderPart, OrderReply, OrderStep, OrderTerms,
    Reference, Refusal, ReservationId, ReserveMode, Settlement, ShardNumber, Standing,
};

use super::{
    Ledger,
    orders::{Order, OrderState},
    participant::PreparePlan,
    replacing::Replacement,
    reserve::ends_at,
};

/// A decided step.
pub(crate) enum OrderPlan<'a> {
    /// Answers, and changes nothing.
    Answer(OrderReply),
    Begin {
        participants: &'a [ShardNumber],
        own: Option<PreparePlan<'a>>,
        attempt: u32,
        home: ShardNumber,
        terms: &'a OrderTerms,
    },
    Prepare(PreparePlan<'a>),
    Hold(&'a std::collections::BTreeMap<ShardNumber, u64>),
    Abort,
    /// Records that an attempt is aborted (R1), although nothing is known of it.
    Tombstone {
        attempt: u32,
        home_is_asked: bool,
    },
    Settle(&'a Settlement),
    Acknowledge(&'a [Acknowledgement]),
}

/// The request of a Begin.
struct Beginning<'a> {
    attempt: u32,
    home: ShardNumber,
    participants: &'a [ShardNumber],
    part: Option<&'a OrderPart>,
    terms: &'a OrderTerms,
}

impl Ledger {
    pub(crate) fn decide_order<'a>(
        &self,
        now_ms: u64,
        command: &'a Command,
        step: &'a OrderStep,
    ) -> Result<OrderPlan<'a>, Refusal> {
        let id = &command.operation_id;
        command.details.check_action(&command.action)?;
        match step {
            OrderStep::Begin {
                attempt,
                home,
                participants,
                part,
                terms,
            } => {
                let beginning = Beginning {
                    attempt: *attempt,
                    home: *home,
                    participants,
                    part: part.as_ref(),
                    terms,
                };
                self.decide_begin(now_ms, command, beginning)
            }
            OrderStep::Prepare {
                attempt,
                home,
                part,
                terms,
            } => match self.decide_prepare(now_ms, command, *attempt, *home, (part, terms))? {
                Some(plan) => Ok(OrderPlan::Prepare(plan)),
                None => {
                    let part = self.prepared_part(id).ok_or(Refusal::UnknownReservation)?;
                    Ok(OrderPlan::Answer(OrderReply::Prepared(part)))
                }
            },
            OrderStep::Decide { attempt, decision } => self.decide_decision(now_ms, id, *attempt, decision),
            OrderStep::Settle(settlement) if self.waits_for_replacement(id, settlement) => {
                Err(Refusal::Contended(Vec::new()))
            }
            OrderStep::Settle(settlement) => {
                let is_own = self.decides_its_part(id);
                Ok(if !is_own && self.applies(id, settlement) {
                    OrderPlan::Settle(settlement)
                } else {
                    OrderPlan::Answer(OrderReply::Settled)
                })
            }
            OrderStep::Acknowledge(acknowledgements) => {
                Ok(if acknowledgements.iter().any(|one| self.is_new(one)) {
                    OrderPlan::Acknowledge(acknowledgements)
                } else {
                    OrderPlan::Answer(OrderReply::Acknowledged)
                })
            }
            OrderStep::Inquire {
                shard,
                attempt,
                incarnation,
            } => Ok(self.decide_inquiry(now_ms, id, *shard, (*attempt, *incarnation))),
        }
    }

    fn decide_begin<'a>(
        &self,
        now_ms: u64,
        command: &'a Command,
        beginning: Beginning<'a>,
    ) -> Result<OrderPlan<'a>, Refusal> {
        let Beginning {
            attempt,
            home,
            participants,
            part,
            terms,
        } = beginning;
        let id = &command.operation_id;
        let invalid = |what: &str| Err(Refusal::InvalidRequest(what.to_owned()));
        if attempt == 0 {
            return invalid("attempt is 0, it must be at least 1");
        }
        let in_order = participants.is_sorted_by(|a, b| a < b);
        if participants.len() < 2 || !in_order || !participants.contains(&home) {
            return invalid("participants must be two or more, in order, the home among them");
        }
        self.operations.check_time(id, now_ms, &self.options)?;
        if self.has_second_rules() {
            self.check_claim(id, home, terms.fingerprint)?;
        }
        let alone = self
            .reservations
            .get(id)
            .is_some_and(|reservation| reservation.order.is_none());
        if alone || self.operations.knows(id) {
            return Err(Refusal::OperationIdReused);
        }
        if let Some(order) = self.orders.get(id) {
            if order.fingerprint != 0 && order.fingerprint != terms.fingerprint {
                return Err(Refusal::OperationIdReused);
            }
            let may_begin = order.state == OrderState::Aborted && attempt > order.attempt;
            if !may_begin {
                return Ok(OrderPlan::Answer(OrderReply::Begun {
                    standing: order.standing(),
                    part: self.own_part(id),
                }));
            }
        }
        let details = &command.details;
        details.check_occurred_at(now_ms, self.options.operation_lead_ms)?;
        if details.unique_reference {
            self.check_reference(id, &terms.storefront, &command.reference, details.replaces)?;
        }
        if let Some(of) = &details.replaces {
            self.check_replaceable(now_ms, of, &terms.storefront)?;
        }
        // If units of an earlier attempt were prepared late, they must be given back first.
        if self.has_second_rules() && self.reservations.contains(id) {
            return Err(Refusal::Contended(Vec::new()));
        }
        let own = match part {
            Some(part) => {
                let may_be_empty = terms.mode == ReserveMode::BestEffort;
                Some(PreparePlan {
                    attempt,
                    home,
                    terms,
                    units: self.decide_part(now_ms, command, (part, home), terms, may_be_empty)?,
                })
            }
            None => {
                ends_at(now_ms, terms.ttl_ms)?;
                None
            }
        };
        Ok(OrderPlan::Begin {
            participants,
            own,
            attempt,
            home,
            terms,
        })
    }

    /// Returns whether a part may be prepared here. At its home, a part is prepared only for an attempt that
    /// is begun and undecided. A tombstone does not forbid it. A home prepares its own part only after it
    /// has begun, so a part that meets a tombstone belongs to an order with another home.
    pub(crate) fn may_prepare_here(&self, id: &ReservationId, attempt: u32) -> bool {
        let may = |order: &Order| {
            let is_begun = order.state == OrderState::Undecided && order.attempt == attempt;
            is_begun || (self.has_second_rules() && order.is_tombstone())
        };
        self.orders.get(id).is_none_or(may)
    }

    fn decide_decision<'a>(
        &self,
        now_ms: u64,
        id: &ReservationId,
        attempt: u32,
        decision: &'a Decision,
    ) -> Result<OrderPlan<'a>, Refusal> {
        let Some(order) = self.orders.get(id) else {
            return match decision {
                Decision::Hold { .. } => Err(Refusal::UnknownReservation),
                Decision::Abort => Ok(self.bury(now_ms, id, attempt, false)),
            };
        };
        match (decision, &order.state) {
            (Decision::Hold { incarnations }, OrderState::Undecided) if order.attempt == attempt => {
                self.check_incarnations(id, order, incarnations)?;
                ends_at(now_ms, order.ttl_ms)?;
                if let Some(Replacement { of, .. }) = self.replacements.get(id) {
                    self.hold_end(now_ms, of, self.reservations.get(of).as_ref())?;
                }
                Ok(OrderPlan::Hold(incarnations))
            }
            (Decision::Abort, OrderState::Undecided) if order.attempt == attempt => Ok(OrderPlan::Abort),
            (Decision::Abort, OrderState::Aborted) if order.attempt < attempt => {
                Ok(self.bury(now_ms, id, attempt, false))
            }
            _ => Ok(OrderPlan::Answer(self.stands(order.standing()))),
        }
    }

    /// Builds the answer to a decision that changes nothing.
    fn stands(&self, standing: Standing) -> OrderReply {
        if self.has_second_rules() {
            OrderReply::DecidedBefore(standing)
        } else {
            OrderReply::Decided(standing)
        }
    }

    fn check_incarnations(
        &self,
        id: &ReservationId,
        order: &Order,
        incarnations: &std::collections::BTreeMap<ShardNumber, u64>,
    ) -> Result<(), Refusal> {
        let named: BTreeSet<ShardNumber> = incarnations.keys().copied().collect();
        let own = self.own_part(id).filter(|part| part.attempt == order.attempt);
        let complete = match order.mode {
            ReserveMode::AllOrNothing => named == order.participants,
            ReserveMode::BestEffort => named.is_subset(&order.participants),
        };
        let own_is_right = own.is_some_and(|own| incarnations.get(&order.home) == Some(&own.incarnation));
        if complete && own_is_right {
            Ok(())
        } else {
            Err(Refusal::InvalidRequest(
                "a decision to hold must name the prepared units of every participant".to_owned(),
            ))
        }
    }

    fn decide_inquiry(
        &self,
        now_ms: u64,
        id: &ReservationId,
        shard: ShardNumber,
        (attempt, incarnation): (u32, u64),
    ) -> OrderPlan<'static> {
        let stale = |order: &Order| Settlement::abort(order.attempt, order.cause.clone()).about(incarnation);
        let Some(order) = self.orders.get(id) else {
            return self.bury(now_ms, id, attempt, true);
        };
        let settlement = match &order.state {
            OrderState::Undecided if attempt < order.attempt => {
                Some(Settlement::abort(order.attempt - 1, order.cause.clone()))
            }
            OrderState::Undecided => None,
            OrderState::Aborted if attempt > order.attempt => return self.bury(now_ms, id, attempt, true),
            OrderState::Aborted => Some(Settlement::abort(order.attempt, order.cause.clone())),
            OrderState::Decided(_) => {
                let of_it = order
                    .settlement(shard)
                    .filter(|known| known.incarnation == Some(incarnation));
                Some(of_it.unwrap_or_else(|| stale(order)))
            }
        };
        OrderPlan::Answer(OrderReply::Answered(settlement))
    }

    /// Records the abort of an attempt that is not known here. Records nothing if the attempt can no longer
    /// begin.
    fn bury(&self, now_ms: u64, id: &ReservationId, attempt: u32, home_is_asked: bool) -> OrderPlan<'static> {
        let too_old = self.operations.is_too_old(id, now_ms, &self.options);
        // No order begins under an id while an operation with this id is remembered.
        let is_taken = self.has_second_rules() && self.operations.knows(id);
        if too_old || is_taken {
            OrderPlan::Answer(buried(attempt, home_is_asked))
        } else {
            OrderPlan::Tombstone {
                attempt,
                home_is_asked,
            }
        }
    }

    fn is_new(&self, one: &Acknowledgement) -> bool {
        self.orders.get(&one.reservation_id).is_some_and(|order| {
            order.attempt == one.attempt
                && order.version() == one.version
                && order.unacknowledged.contains(&one.shard)
        })
    }
}

fn buried(attempt: u32, home_is_asked: bool) -> OrderReply {
    let nobody = of_time(Reference::default());
    if home_is_asked {
        OrderReply::Answered(Some(Settlement::abort(attempt, nobody)))
    } else {
        OrderReply::Decided(Standing::Aborted { attempt })
    }
}

fn of_time(reference: Reference) -> Cause {
    Cause {
        operation_id: None,
        principal: None,
        reason: CallerReason::default(),
        reference,
        occurred_at_ms: None,
    }
}
