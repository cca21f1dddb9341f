//! The dispatch of commands to the modules that decide them.

use crate::{About, Action, Bucket, Cause, Command, DoneBy, Refusal, ReturnOf};

use super::{
    Ledger,
    consumers::ConsumerPlan,
    dispatch::DispatchPlan,
    fulfilment::{Fulfilment, FulfilmentPlan},
    policies::{self, PolicyPlan},
    reserve::{Buying, ReservePlan},
    stocking::StockPlan,
    supply::Supply,
    transfer_commands::TransferPlan,
    transitions::HoldPlan,
};

/// A command that will take effect, and its effect.
pub(crate) enum Plan<'a> {
    Reserve(ReservePlan<'a>),
    Hold(HoldPlan),
    Fulfilment(FulfilmentPlan),
    Stock(StockPlan<'a>),
    Transfer(TransferPlan<'a>),
    Dispatch(DispatchPlan<'a>),
    Policy(PolicyPlan<'a>),
    /// Remembers the operation id and does nothing else.
    Seal,
    Consumer(ConsumerPlan<'a>),
}

impl Ledger {
    /// Refuses an action that must run in every shard of an order when it arrives at only one.
    pub(crate) fn concerns_other_shards(&self, action: &Action) -> Option<Refusal> {
        if let Action::OfPart(action) = action {
            let is_for_parts = action.concerns().done_by == DoneBy::EachShard;
            let what = "only an action that follows the commit of an order or the departure of a transfer can be done for a part of it";
            return (!is_for_parts).then(|| Refusal::InvalidRequest(what.to_owned()));
        }
        let concerns = action.concerns();
        if concerns.done_by == DoneBy::OneShard {
            return None;
        }
        let home = match concerns.about {
            About::Reservation(id, _) => self.reservations.get(&id)?.home()?,
            About::Transfer(id) => self.transfers.get(&id)?.home?,
            About::Skus | About::Shard => return None,
        };
        Some(Refusal::OverSeveralShards { home })
    }

    /// Decides a command that was not applied before, as of a log time. Changes nothing.
    pub(crate) fn decide<'a>(&self, now_ms: u64, command: &'a Command) -> Result<Plan<'a>, Refusal> {
        let stock = &self.stock;
        let details = &command.details;
        details.check_action(&command.action)?;
        details.check_occurred_at(now_ms, self.options.operation_lead_ms)?;
        let as_of_seq = details.as_of_seq;
        stock.check_as_of(as_of_seq)?;
        let action = match &command.action {
            Action::OfPart(action) => action.as_ref(),
            action => action,
        };
        match action {
            Action::Reserve {
                storefront,
                lines,
                ttl_ms,
                mode,
                sourcing,
            } => {
                let id = &command.operation_id;
                if self.orders.get(id).is_some() || self.reservations.contains(id) {
                    return Err(Refusal::OperationIdReused);
                }
                if details.unique_reference {
                    self.check_reference(id, storefront, &command.reference, details.replaces)?;
                }
                let old = match details.replaces {
                    Some(of) => {
                        self.check_replaceable(now_ms, &of, storefront)?;
                        let own = self.keepable(&of, None)?;
                        Some((of, own.ok_or(Refusal::UnknownReservation)?, Cause::of(command)))
                    }
                    None => None,
                };
                let buying = Buying {
                    storefront,
                    lines: (0..).zip(lines).collect(),
                    ttl_ms: *ttl_ms,
                    mode: *mode,
                    sourcing: *sourcing,
                    may_be_empty: false,
                    may_have_no_lines: false,
                    old,
                };
                self.decide_reserve(now_ms, buying).map(Plan::Reserve)
            }
            Action::Extend {
                reservation_id,
                ttl_ms,
            } => self
                .decide_extend(now_ms, *reservation_id, *ttl_ms)
                .map(Plan::Hold),
            Action::Commit { reservation_id } => self.decide_commit(now_ms, *reservation_id).map(Plan::Hold),
            Action::Release { reservation_id } => {
                self.decide_release(now_ms, *reservation_id).map(Plan::Hold)
            }
            Action::Ship {
                reservation_id,
                lines,
            } => self
                .decide_fulfilment(*reservation_id, Fulfilment::Ship, lines, as_of_seq)
                .map(Plan::Fulfilment),
            Action::Cancel {
                reservation_id,
                lines,
            } => self
                .decide_fulfilment(*reservation_id, Fulfilment::Cancel, lines, None)
                .map(Plan::Fulfilment),
            Action::Return {
                of:
                    ReturnOf::Reservation {
                        reservation_id,
                        lines,
                    },
                disposition,
            } => self
                .decide_fulfilment(
                    *reservation_id,
                    Fulfilment::Return(*disposition),
                    lines,
                    as_of_seq,
                )
                .map(Plan::Fulfilment),
            Action::Return {
                of:
                    ReturnOf::Unreferenced {
                        sku,
                        warehouse,
                        quantity,
                    },
                disposition,
            } => stock
                .decide_foreign_return(sku, warehouse, *quantity, *disposition, as_of_seq)
                .map(Plan::Stock),
            Action::Receive {
                sku,
                warehouse,
                quantity,
                supply_id,
            } => stock
                .decide_receive(sku, warehouse, *quantity, supply_id.as_ref(), as_of_seq)
                .map(Plan::Stock),
            Action::Adjust {
                sku,
                warehouse,
                delta,
            } => {
                let reason_is_empty = command.reason.as_str().is_empty();
                stock
                    .decide_adjust(sku, warehouse, *delta, (reason_is_empty, as_of_seq))
                    .map(Plan::Stock)
            }
            Action::Count {
                sku,
                warehouse,
                counted,
                as_of_seq,
            } => stock
                .decide_count(sku, warehouse, *counted, *as_of_seq)
                .map(Plan::Stock),
            Action::MoveBucket {
                sku,
                warehouse,
                from,
                to,
                quantity,
            } => {
                let (from, to): (Bucket, Bucket) = (*from, *to);
                stock
                    .decide_move(sku, warehouse, from, to, *quantity)
                    .map(Plan::Stock)
            }
            Action::Order(_)
            | Action::OfPart(_)
            | Action::AdoptRules { .. }
            | Action::AdvanceConsumer { .. } => Err(Refusal::InvalidRequest(
                "a step of an order, the adoption of rules, or the advance of a consumer is not decided here"
                    .to_owned(),
            )),
            Action::RegisterConsumer {
                name,
                required,
                location,
            } => self
                .consumers
                .decide_register(name, *required, location)
                .map(Plan::Consumer),
            Action::RemoveConsumer { name } => self.consumers.decide_remove(name).map(Plan::Consumer),
            Action::SetPolicy { .. } => policies::decide(stock, action).map(Plan::Policy),
            Action::AllocatePool {
                sku,
                warehouse,
                storefront,
                target,
            } => stock
                .decide_pool(sku, warehouse, storefront, *target)
                .map(Plan::Stock),
            Action::TransferOut {
                lines,
                from,
                to,
                expected_at_ms,
            } => self
                .decide_transfer_out(
                    &command.operation_id,
                    (lines, from, to, *expected_at_ms),
                    as_of_seq,
                )
                .map(Plan::Transfer),
            Action::TransferIn {
                transfer_id,
                lines,
                disposition,
            } => self
                .decide_transfer_in(*transfer_id, lines, *disposition, as_of_seq)
                .map(Plan::Transfer),
            Action::CloseTransfer { transfer_id } => {
                self.decide_close_transfer(*transfer_id).map(Plan::Transfer)
            }
            Action::Dispatch {
                reservation_id,
                to,
                expected_at_ms,
            } => self
                .decide_dispatch(*reservation_id, to, *expected_at_ms, as_of_seq)
                .map(Plan::Dispatch),
            Action::Seal => self.decide_seal(&command.operation_id).map(|()| Plan::Seal),
            Action::ExpectSupply {
                sku,
                warehouse,
                supply_id,
                quantity,
                expected_at_ms,
            } => {
                let supply = Supply {
                    quantity: *quantity,
                    expected_at_ms: *expected_at_ms,
                };
                self.decide_expect_supply(sku, warehouse, supply_id, supply)
                    .map(Plan::Stock)
            }
        }
    }
}
