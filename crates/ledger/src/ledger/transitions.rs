//! The commands Extend, Commit and Release, and the end of a hold by time.
//!
//! A hold that ends at or before log time can no longer be extended, committed or released, even if the sweep
//! that gives its units back has not reached it.

use std::collections::BTreeMap;

use crate::{
    CallerReason, Cause, ChangeKind, Position, Refusal, ReservationId, ReservationState, Success, Verdict,
    Violation,
};

use super::{
    Ledger,
    cell::Deltas,
    cell_key::CellKey,
    line_step::{LineMove, ReservationSteps},
    orders::OrderState,
    replacing::{Kept, kept_of},
    reservation::{LineAllocation, Reservation},
    reservations::vanished,
    reserve::ends_at,
    stock::{Recording, Stock},
};

/// A decided transition of a whole hold.
pub(crate) enum HoldPlan {
    Extend {
        id: ReservationId,
        expires_at_ms: u64,
    },
    Commit {
        id: ReservationId,
    },
    Release {
        id: ReservationId,
    },
    /// Decides an order over several shards, at its home.
    Order {
        id: ReservationId,
        verdict: Verdict,
        expires_at_ms: u64,
    },
}

impl Ledger {
    pub(crate) fn decide_extend(
        &self,
        now_ms: u64,
        id: ReservationId,
        ttl_ms: u64,
    ) -> Result<HoldPlan, Refusal> {
        let ends = ends_at(now_ms, ttl_ms)?;
        let own = self.reservations.get(&id);
        if let Some(expires_at_ms) = self.find_order(now_ms, &id, own.as_ref())? {
            return Ok(HoldPlan::Order {
                id,
                verdict: Verdict::Held,
                expires_at_ms: expires_at_ms.max(ends),
            });
        }
        let expires_at_ms = hold(now_ms, own.as_ref())?.max(ends);
        Ok(HoldPlan::Extend { id, expires_at_ms })
    }

    /// Returns the end of the hold that is decided here.
    pub(crate) fn hold_end(
        &self,
        now_ms: u64,
        id: &ReservationId,
        own: Option<&Reservation>,
    ) -> Result<u64, Refusal> {
        match self.find_order(now_ms, id, own)? {
            Some(expires_at_ms) => Ok(expires_at_ms),
            None => hold(now_ms, own),
        }
    }

    pub(crate) fn decide_commit(&self, now_ms: u64, id: ReservationId) -> Result<HoldPlan, Refusal> {
        let own = self.reservations.get(&id);
        match self.find_order(now_ms, &id, own.as_ref())? {
            Some(expires_at_ms) => Ok(HoldPlan::Order {
                id,
                verdict: Verdict::Committed,
                expires_at_ms,
            }),
            None => hold(now_ms, own.as_ref()).map(|_| HoldPlan::Commit { id }),
        }
    }

    pub(crate) fn decide_release(&self, now_ms: u64, id: ReservationId) -> Result<HoldPlan, Refusal> {
        let own = self.reservations.get(&id);
        match self.find_order(now_ms, &id, own.as_ref())? {
            Some(expires_at_ms) => Ok(HoldPlan::Order {
                id,
                verdict: Verdict::Released,
                expires_at_ms,
            }),
            None => hold(now_ms, own.as_ref()).map(|_| HoldPlan::Release { id }),
        }
    }

    /// Returns the end of the hold of an order that is decided here. `own` are this shard's units of it.
    /// Returns None if the order is not over several shards.
    fn find_order(
        &self,
        now_ms: u64,
        id: &ReservationId,
        own: Option<&Reservation>,
    ) -> Result<Option<u64>, Refusal> {
        let Some(order) = self.order_of(id, own) else {
            let link = own.and_then(|reservation| reservation.order.as_ref());
            return match link {
                Some(link) => Err(Refusal::DecidedAtHome { home: link.home }),
                None => Ok(None),
            };
        };
        let state = match &order.state {
            OrderState::Undecided => ReservationState::Prepared,
            OrderState::Aborted => return Err(Refusal::UnknownReservation),
            OrderState::Decided(decided) => {
                let expired_at_ms = decided.expires_at_ms;
                match decided.verdict {
                    Verdict::Held if expired_at_ms > now_ms => return Ok(Some(expired_at_ms)),
                    Verdict::Held | Verdict::Expired => return Err(Refusal::Expired { expired_at_ms }),
                    // The progress after a commit is known only of the home's own units.
                    Verdict::Committed => match own {
                        Some(own) if !(self.has_second_rules() && own.allocations().next().is_none()) => {
                            own.state
                        }
                        _ => ReservationState::Committed,
                    },
                    verdict => verdict.state(),
                }
            }
        };
        Err(Refusal::WrongState { state })
    }

    pub(crate) fn execute_hold(
        &mut self,
        recording: &mut Recording,
        plan: HoldPlan,
        cause: &Cause,
    ) -> Result<Success, Violation> {
        let position = Position {
            log_index: recording.log_index,
            log_time_ms: recording.log_time_ms,
        };
        let (state, expires_at_ms) = match plan {
            HoldPlan::Extend { id, expires_at_ms } => {
                self.extend(recording, id, expires_at_ms, cause)?;
                (ReservationState::Held, expires_at_ms)
            }
            HoldPlan::Order {
                id,
                verdict,
                expires_at_ms,
            } => {
                self.advance_order(recording, id, (verdict, expires_at_ms), &[], cause)?;
                let held = verdict == Verdict::Held;
                (verdict.state(), if held { expires_at_ms } else { 0 })
            }
            HoldPlan::Commit { id } => {
                self.end_hold(recording, id, ChangeKind::Committed, &[], cause)?;
                (ReservationState::Committed, 0)
            }
            HoldPlan::Release { id } => {
                self.end_hold(recording, id, ChangeKind::Released, &[], cause)?;
                (ReservationState::Released, 0)
            }
        };
        Ok(Success::Transitioned {
            position,
            replayed: false,
            state: Some(state),
            expires_at_ms,
        })
    }

    fn extend(
        &mut self,
        recording: &mut Recording,
        reservation_id: ReservationId,
        expires_at_ms: u64,
        cause: &Cause,
    ) -> Result<(), Violation> {
        let storefront = self
            .reservations
            .update(&reservation_id, &self.options, |reservation| {
                reservation.expires_at_ms = expires_at_ms;
                Ok(reservation.storefront)
            })?;
        let extended = ReservationSteps {
            kind: ChangeKind::Extended,
            id: reservation_id,
            storefront,
            state: ReservationState::Held,
            expires_at_ms,
            home: None,
            cause,
        };
        extended.note(&mut self.stock, recording);
        Ok(())
    }

    /// Gives back the units of up to `budget` allocations of ended holds. Gives back at least one hold if any
    /// has ended.
    pub(crate) fn expire(&mut self, recording: &mut Recording, budget: usize) -> Result<(), Violation> {
        let mut allocations = 0;
        while allocations < budget {
            let id = match self.reservations.first_hold() {
                Some((at, id)) if at <= recording.log_time_ms => id,
                _ => return Ok(()),
            };
            let reservation = self.reservations.get(&id).ok_or_else(|| vanished(&id))?;
            let cause = Cause {
                operation_id: None,
                principal: None,
                reason: CallerReason::default(),
                reference: reservation.reference.clone(),
                occurred_at_ms: None,
            };
            allocations += reservation.allocations().count();
            self.end_hold(recording, id, ChangeKind::Expired, &[], &cause)?;
        }
        Ok(())
    }

    /// Ends a hold: commits its units or gives them back. Kept units go to the hold that replaces this one.
    pub(crate) fn end_hold(
        &mut self,
        recording: &mut Recording,
        id: ReservationId,
        kind: ChangeKind,
        kept: &[Kept],
        cause: &Cause,
    ) -> Result<(), Violation> {
        let now_ms = recording.log_time_ms;
        if kind != ChangeKind::Committed {
            self.references.give_up(&id);
        }
        let closes_empty = self.has_second_rules();
        let stock = &mut self.stock;
        self.reservations.update(&id, &self.options, |reservation| {
            // The home's part of a best-effort order may have got nothing. Nothing of it will ever be shipped
            // or cancelled.
            let is_empty = closes_empty && reservation.allocations().next().is_none();
            reservation.state = match kind {
                ChangeKind::Committed if is_empty => ReservationState::Cancelled,
                ChangeKind::Committed => ReservationState::Committed,
                ChangeKind::Expired => ReservationState::Expired,
                _ => ReservationState::Released,
            };
            if reservation.state != ReservationState::Committed {
                reservation.closed_at_ms = now_ms.max(1);
            }
            end_allocations(stock, recording, id, (reservation, kept), kind, cause)
        })
    }
}

/// Returns the end of a hold that has not ended. Refuses a hold that has.
fn hold(now_ms: u64, reservation: Option<&Reservation>) -> Result<u64, Refusal> {
    let reservation = reservation.ok_or(Refusal::UnknownReservation)?;
    let expires_at_ms = reservation.expires_at_ms;
    match reservation.state {
        ReservationState::Held if expires_at_ms > now_ms => Ok(expires_at_ms),
        ReservationState::Held | ReservationState::Expired => Err(Refusal::Expired {
            expired_at_ms: expires_at_ms,
        }),
        state => Err(Refusal::WrongState { state }),
    }
}

fn end_allocations(
    stock: &mut Stock,
    recording: &mut Recording,
    reservation_id: ReservationId,
    (reservation, kept): (&mut Reservation, &[Kept]),
    kind: ChangeKind,
    cause: &Cause,
) -> Result<(), Violation> {
    let storefront = reservation.storefront;
    let steps = ReservationSteps {
        kind,
        id: reservation_id,
        storefront,
        state: reservation.state,
        expires_at_ms: reservation.expires_at_ms,
        home: reservation.home(),
        cause,
    };
    let mut loose: BTreeMap<CellKey, i64> = BTreeMap::new();
    for line in &mut reservation.lines {
        for allocation in &mut line.allocations {
            let cell = CellKey {
                sku: line.sku,
                warehouse: allocation.warehouse,
            };
            let quantity = allocation.open;
            let kept = match kept {
                [] => 0,
                kept => kept_of(kept, line.number, allocation.warehouse),
            };
            let deltas = if kind == ChangeKind::Committed {
                Deltas {
                    held: -quantity,
                    committed: quantity,
                    ..Deltas::default()
                }
            } else {
                allocation.released = quantity;
                let loose = loose.get(&cell).copied().unwrap_or(0);
                let given_back = Deltas {
                    held: -quantity,
                    ..give_back(stock, cell, storefront, allocation, (quantity - kept, loose))?
                };
                let (from_pool, other) = allocation.take_back(kept);
                given_back.and_of_pool(&Deltas {
                    free: other,
                    pool: (from_pool > 0).then_some((storefront, from_pool)),
                    ..Deltas::default()
                })
            };
            let moved = LineMove {
                cell,
                quantity,
                deltas,
                sourcing: None,
            };
            let step = steps.on_line((line.number, line.requested), moved);
            if kept > 0 {
                *loose.entry(cell).or_default() += kept;
            }
            if loose.contains_key(&cell) {
                stock.step_loosely(recording, step)?;
            } else {
                stock.step(recording, step)?;
            }
        }
    }
    Ok(())
}

/// Gives back open units of an allocation, and returns the effect on the cell's buckets. Units that are loose
/// in the cell stay promised.
pub(crate) fn give_back(
    stock: &Stock,
    cell: CellKey,
    storefront: u16,
    allocation: &mut LineAllocation,
    (quantity, loose): (i64, i64),
) -> Result<Deltas, Violation> {
    let (to_pool, to_sellable) = allocation.take_back(quantity);
    let mut cell = stock
        .cell(cell)
        .ok_or_else(|| Violation(format!("there is no cell {cell:?}")))?;
    cell.held += loose;
    Ok(cell.give_back(storefront, to_pool, to_sellable))
}
