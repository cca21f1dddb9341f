//! The execution of decisions: on the home's own units at once, and on the others when they hear of it.

use std::collections::BTreeSet;

use crate::{
    Cause, Command, OrderReply, Position, Reference, ReservationId, ReservationState, ReserveMode, Rules,
    Settlement, ShardNumber, Success, Verdict, Violation,
};

use super::{
    super::{
        Ledger,
        orders::{Decided, Order, OrderState},
        replacing::{Kept, Replacement},
        reservations::vanished,
        stock::Recording,
    },
    OrderPlan, buried, of_time,
};

impl Ledger {
    pub(crate) fn execute_order(
        &mut self,
        recording: &mut Recording,
        command: &Command,
        plan: OrderPlan<'_>,
        cause: &Cause,
    ) -> Result<Success, Violation> {
        let id = command.operation_id;
        let reply = match plan {
            OrderPlan::Answer(reply) => reply,
            OrderPlan::Begin {
                participants,
                own,
                attempt,
                home,
                terms,
            } => {
                let order = Order {
                    home,
                    fingerprint: terms.fingerprint,
                    attempt,
                    participants: participants.iter().copied().collect(),
                    ttl_ms: terms.ttl_ms,
                    mode: terms.mode,
                    reference: command.reference.clone(),
                    since_ms: recording.log_time_ms,
                    state: OrderState::Undecided,
                    unacknowledged: BTreeSet::new(),
                    cause: cause.clone(),
                };
                self.orders.insert(id, order, &self.options)?;
                if command.details.unique_reference {
                    let document = (terms.storefront.clone(), command.reference.clone());
                    // The hold that this order replaces has the reference until this order is held.
                    let replaced = command.details.replaces;
                    let has_it = replaced.and_then(|of| self.references.document_of(&of)) == Some(&document);
                    if !has_it {
                        self.references.take(document.0, document.1, id);
                    }
                }
                if let Some(of) = command.details.replaces {
                    let replacement = Replacement {
                        of,
                        kept: Vec::new(),
                        cause: cause.clone(),
                    };
                    self.replacements.insert(id, replacement);
                }
                let part = match own {
                    Some(plan) => Some(self.execute_prepare(recording, command, plan)?),
                    None => None,
                };
                OrderReply::Begun {
                    standing: crate::Standing::Undecided { attempt },
                    part,
                }
            }
            OrderPlan::Prepare(plan) => OrderReply::Prepared(self.execute_prepare(recording, command, plan)?),
            OrderPlan::Hold(incarnations) => {
                let now_ms = recording.log_time_ms;
                let position = Position {
                    log_index: recording.log_index,
                    log_time_ms: now_ms,
                };
                let hold = |order: &mut Order| {
                    let expires_at_ms = now_ms.saturating_add(order.ttl_ms);
                    order.state = OrderState::Decided(Decided {
                        position,
                        first_expires_at_ms: expires_at_ms,
                        incarnations: incarnations.clone(),
                        version: 0,
                        verdict: Verdict::Held,
                        expires_at_ms,
                    });
                    expires_at_ms
                };
                let expires_at_ms = self
                    .orders
                    .update(&id, &self.options, hold)
                    .ok_or_else(|| vanished(&id))?;
                let replaced = self.replacements.get(&id).map(|replacement| replacement.of);
                let document = replaced.and_then(|of| self.references.document_of(&of)).cloned();
                self.advance_order(recording, id, (Verdict::Held, expires_at_ms), &[], cause)?;
                if let Some((storefront, reference)) = document
                    && command.details.unique_reference
                    && command.reference == reference
                {
                    self.references.take(storefront, reference, id);
                }
                self.standing(&id)?
            }
            OrderPlan::Abort => {
                self.abort_order(recording, id, cause)?;
                self.standing(&id)?
            }
            OrderPlan::Tombstone {
                attempt,
                home_is_asked,
            } => {
                let known = self
                    .orders
                    .update(&id, &self.options, |order| order.attempt = attempt);
                if known.is_none() {
                    let tombstone = tombstone(attempt, recording.log_time_ms, cause);
                    self.orders.insert(id, tombstone, &self.options)?;
                }
                buried(attempt, home_is_asked)
            }
            OrderPlan::Settle(settlement) => {
                self.settle(recording, id, settlement, &[])?;
                OrderReply::Settled
            }
            OrderPlan::Acknowledge(acknowledgements) => {
                for one in acknowledgements
                    .iter()
                    .filter(|one| self.is_new(one))
                    .collect::<Vec<_>>()
                {
                    self.orders.update(&one.reservation_id, &self.options, |order| {
                        order.unacknowledged.remove(&one.shard);
                    });
                }
                OrderReply::Acknowledged
            }
        };
        Ok(Success::Order {
            position: Position {
                log_index: recording.log_index,
                log_time_ms: recording.log_time_ms,
            },
            reply,
        })
    }

    fn standing(&self, id: &ReservationId) -> Result<OrderReply, Violation> {
        let order = self.orders.get(id).ok_or_else(|| vanished(id))?;
        Ok(OrderReply::Decided(order.standing()))
    }

    /// Makes the next decision on a held order. It applies to the home's own units at once, and to the others
    /// when they hear of it.
    pub(crate) fn advance_order(
        &mut self,
        recording: &mut Recording,
        id: ReservationId,
        (verdict, expires_at_ms): (Verdict, u64),
        kept: &[Kept],
        cause: &Cause,
    ) -> Result<(), Violation> {
        let now_ms = recording.log_time_ms;
        if matches!(verdict, Verdict::Released | Verdict::Expired) {
            self.references.give_up(&id);
        }
        let advance = |order: &mut Order| {
            let OrderState::Decided(decided) = &mut order.state else {
                return None;
            };
            decided.version += 1;
            decided.verdict = verdict;
            decided.expires_at_ms = expires_at_ms;
            order.unacknowledged = decided
                .incarnations
                .keys()
                .copied()
                .filter(|shard| *shard != order.home)
                .collect();
            order.since_ms = now_ms;
            order.cause = cause.clone();
            order.settlement(order.home)
        };
        let settlement = self.orders.update(&id, &self.options, advance).flatten();
        let settlement = settlement.ok_or_else(|| vanished(&id))?;
        recording.touched_orders.push(id);
        self.settle(recording, id, &settlement, kept)
    }

    /// Aborts an attempt. Gives back the home's own units.
    fn abort_order(
        &mut self,
        recording: &mut Recording,
        id: ReservationId,
        cause: &Cause,
    ) -> Result<(), Violation> {
        let now_ms = recording.log_time_ms;
        self.references.give_up(&id);
        let abort = |order: &mut Order| {
            order.state = OrderState::Aborted;
            order.unacknowledged = order
                .participants
                .iter()
                .copied()
                .filter(|shard| *shard != order.home)
                .collect();
            order.since_ms = now_ms;
            order.cause = cause.clone();
            Settlement::abort(order.attempt, cause.clone()).of_order(order.fingerprint)
        };
        let settlement = self
            .orders
            .update(&id, &self.options, abort)
            .ok_or_else(|| vanished(&id))?;
        recording.touched_orders.push(id);
        if self.applies(&id, &settlement) {
            self.settle(recording, id, &settlement, &[])?;
        }
        self.replacements.remove(&id);
        Ok(())
    }

    /// Aborts orders that nobody decided in time, and ends orders whose hold is over. Begins no
    /// further order once `budget` changes are made. By the first rules, `budget` counts orders.
    pub(crate) fn end_orders(&mut self, recording: &mut Recording, budget: usize) -> Result<(), Violation> {
        let mut spent = 0;
        while spent < budget {
            let changes_before = recording.changes.len();
            let id = match self.orders.first_end() {
                Some((at, id)) if at <= recording.log_time_ms => id,
                _ => return Ok(()),
            };
            let order = self.orders.get(&id).ok_or_else(|| vanished(&id))?;
            let cause = of_time(order.reference.clone());
            match &order.state {
                OrderState::Decided(decided) => {
                    let expires_at_ms = decided.expires_at_ms;
                    self.advance_order(recording, id, (Verdict::Expired, expires_at_ms), &[], &cause)?;
                }
                OrderState::Undecided | OrderState::Aborted => self.abort_order(recording, id, &cause)?,
            }
            spent += match self.rules {
                Rules::First => 1,
                Rules::Second | Rules::Third => (recording.changes.len() - changes_before).max(1),
            };
        }
        Ok(())
    }

    /// Forgets up to `budget` closed orders, but none whose own units are still remembered here.
    pub(crate) fn forget_orders(&mut self, budget: usize) -> Result<(), Violation> {
        for _ in 0..budget {
            let id = match self.orders.first_closed() {
                Some((at, id)) if at <= self.log_time_ms => id,
                _ => return Ok(()),
            };
            let has_units = match self.has_second_rules() {
                true => self.decides_its_part(&id),
                false => self.reservations.contains(&id),
            };
            if has_units && self.has_second_rules() {
                self.close_empty(&id)?;
            }
            if has_units {
                let now_ms = self.log_time_ms;
                self.orders
                    .update(&id, &self.options, |order| order.since_ms = now_ms);
            } else {
                self.orders.remove(&id, &self.options);
                self.references.give_up(&id);
            }
        }
        Ok(())
    }

    /// Closes a committed part without units. By the first rules such a part stays open forever.
    fn close_empty(&mut self, id: &ReservationId) -> Result<(), Violation> {
        let now_ms = self.log_time_ms;
        self.reservations.update(id, &self.options, |reservation| {
            if reservation.is_live() && reservation.allocations().next().is_none() {
                reservation.state = ReservationState::Cancelled;
                reservation.closed_at_ms = now_ms.max(1);
            }
            Ok(())
        })
    }
}

fn tombstone(attempt: u32, now_ms: u64, cause: &Cause) -> Order {
    Order {
        home: ShardNumber::MAX,
        fingerprint: 0,
        attempt,
        participants: BTreeSet::new(),
        ttl_ms: 0,
        mode: ReserveMode::AllOrNothing,
        reference: Reference::default(),
        since_ms: now_ms,
        state: OrderState::Aborted,
        unacknowledged: BTreeSet::new(),
        cause: cause.clone(),
    }
}
