//! The participant's side of an order, in one shard: Prepare and Settle.
//!
//! A participant takes all its lines, or refuses at once. From then on it does nothing by itself (rule R2).
//! It follows the home's decisions, and only those about the very units that it has (R3).

use crate::{
    Action, Cause, ChangeKind, Command, OrderPart, OrderStep, OrderTerms, PreparedPart, Refusal,
    ReservationId, ReservationState, ReserveMode, Settlement, ShardNumber, Shortage, Verdict, Violation,
};

use super::{
    Ledger,
    cell_key::CellKey,
    line_step::{LineMove, ReservationSteps},
    order_link::OrderLink,
    replacing::{Kept, Replacement, with_kept},
    reservation::{Line, LineAllocation, Reservation},
    reservations::vanished,
    reserve::{Buying, ReservePlan},
    stock::Recording,
    takes::Takes,
};

/// A decided Prepare.
pub(crate) struct PreparePlan<'a> {
    pub(crate) attempt: u32,
    pub(crate) home: ShardNumber,
    pub(crate) terms: &'a OrderTerms,
    pub(crate) units: ReservePlan<'a>,
}

impl Ledger {
    /// Decides a Prepare. Returns None when there is nothing to take, because it was taken before.
    pub(crate) fn decide_prepare<'a>(
        &self,
        now_ms: u64,
        command: &'a Command,
        attempt: u32,
        home: ShardNumber,
        (part, terms): (&'a OrderPart, &'a OrderTerms),
    ) -> Result<Option<PreparePlan<'a>>, Refusal> {
        let id = &command.operation_id;
        if attempt == 0 {
            return Err(Refusal::InvalidRequest(
                "attempt is 0, it must be at least 1".to_owned(),
            ));
        }
        if self.has_second_rules() {
            self.check_claim(id, home, terms.fingerprint)?;
        }
        if self.operations.knows(id) {
            return Err(Refusal::OperationIdReused);
        }
        if let Some(reservation) = self.reservations.get(id) {
            let Some(link) = &reservation.order else {
                return Err(Refusal::OperationIdReused);
            };
            if link.fingerprint != terms.fingerprint || link.home != home {
                return Err(Refusal::OperationIdReused);
            }
            if link.attempt == attempt {
                return Ok(None);
            }
            match reservation.state {
                _ if link.attempt > attempt => return Err(Refusal::OrderAborted { attempt }),
                ReservationState::Prepared => return Err(Refusal::Contended(Vec::new())),
                state => return Err(Refusal::WrongState { state }),
            }
        }
        if !self.may_prepare_here(id, attempt) {
            return Err(Refusal::OrderAborted { attempt });
        }
        let lead_ms = self.options.operation_lead_ms;
        command.details.check_occurred_at(now_ms, lead_ms)?;
        let units = self.decide_part(now_ms, command, (part, home), terms, false)?;
        Ok(Some(PreparePlan {
            attempt,
            home,
            terms,
            units,
        }))
    }

    /// Chooses the units that the lines of a part get.
    pub(crate) fn decide_part<'a>(
        &self,
        now_ms: u64,
        command: &Command,
        (part, home): (&'a OrderPart, ShardNumber),
        terms: &'a OrderTerms,
        may_be_empty: bool,
    ) -> Result<ReservePlan<'a>, Refusal> {
        let replaces = command.details.replaces;
        let old = match &replaces {
            Some(of) => {
                let begins = matches!(command.action, Action::Order(OrderStep::Begin { .. }));
                let is_home = begins || self.replacements.contains_key(&command.operation_id);
                self.keepable(of, (!is_home).then_some(home))?
            }
            None => None,
        };
        let lines = part.lines.iter().map(|line| (line.number, &line.line)).collect();
        let buying = Buying {
            storefront: &terms.storefront,
            lines,
            ttl_ms: terms.ttl_ms,
            mode: terms.mode,
            sourcing: terms.sourcing,
            may_be_empty,
            // The order may have a home without any of its SKUs: the home of a reference, or of a replaced
            // hold.
            may_have_no_lines: self.has_second_rules(),
            old: replaces.zip(old).map(|(of, own)| (of, own, Cause::of(command))),
        };
        self.decide_reserve(now_ms, buying)
            .map_err(|refusal| match refusal {
                Refusal::InsufficientStock(shortages) if self.is_contended(terms.mode, &shortages) => {
                    Refusal::Contended(shortages)
                }
                refusal => refusal,
            })
    }

    /// Returns whether there would be enough if the units of undecided orders were free.
    fn is_contended(&self, mode: ReserveMode, shortages: &[Shortage]) -> bool {
        mode == ReserveMode::AllOrNothing
            && shortages.iter().all(|shortage| {
                let prepared = self
                    .stock
                    .skus
                    .find(&shortage.sku)
                    .map_or(0, |sku| self.reservations.prepared_units(sku));
                i128::from(shortage.available) + prepared >= i128::from(shortage.requested)
            })
    }

    pub(crate) fn execute_prepare(
        &mut self,
        recording: &mut Recording,
        command: &Command,
        plan: PreparePlan<'_>,
    ) -> Result<PreparedPart, Violation> {
        let link = OrderLink {
            home: plan.home,
            attempt: plan.attempt,
            incarnation: recording.log_index,
            version: 0,
            fingerprint: plan.terms.fingerprint,
        };
        self.execute_reserve(recording, command, plan.units, Some(link))?;
        let id = &command.operation_id;
        self.prepared_part(id).ok_or_else(|| vanished(id))
    }

    /// Returns the part of an order, in the form that its coordinator needs.
    pub(crate) fn prepared_part(&self, id: &ReservationId) -> Option<PreparedPart> {
        let reservation = self.reservations.get(id)?;
        let link = reservation.order.as_ref()?;
        Some(PreparedPart {
            incarnation: link.incarnation,
            attempt: link.attempt,
            state: reservation.state,
            lines: self
                .whole_lines(id, &reservation)
                .iter()
                .map(|line| self.granted(line))
                .collect(),
        })
    }

    /// Returns whether a settlement changes anything in this shard. At the home, the order itself decides
    /// this.
    pub(crate) fn applies(&self, id: &ReservationId, settlement: &Settlement) -> bool {
        let Some(reservation) = self.reservations.get(id) else {
            return false;
        };
        let Some(link) = &reservation.order else {
            return false;
        };
        let same = settlement.incarnation == Some(link.incarnation);
        let open = match reservation.state {
            ReservationState::Prepared => true,
            ReservationState::Held => settlement.verdict != Verdict::Aborted,
            _ => false,
        };
        let meant = match settlement.verdict {
            Verdict::Aborted => {
                let whole_attempt = settlement.incarnation.is_none() && link.attempt <= settlement.attempt;
                (same || whole_attempt) && self.is_about(link, settlement)
            }
            _ => same && settlement.version > link.version,
        };
        open && meant
    }

    /// Returns whether an abort is about the order that has these units. An abort can lack both the
    /// fingerprint of its order and the incarnation of its units. It may then be about another order with the
    /// same id. By the second rules such an abort does nothing, and the part asks its own home.
    fn is_about(&self, link: &OrderLink, abort: &Settlement) -> bool {
        let names_it = match abort.fingerprint() {
            Some(fingerprint) => fingerprint == link.fingerprint,
            None => abort.incarnation.is_some(),
        };
        names_it || !self.has_second_rules()
    }

    /// Makes a part follow a settlement that applies to it.
    pub(crate) fn settle(
        &mut self,
        recording: &mut Recording,
        id: ReservationId,
        settlement: &Settlement,
        kept: &[Kept],
    ) -> Result<(), Violation> {
        let replacement = self
            .replacements
            .remove(&id)
            .filter(|_| settlement.verdict != Verdict::Aborted);
        if let Some(replacement) = &replacement {
            self.end_replaced(recording, replacement)?;
            self.take_over(recording, id, replacement)?;
        }
        let follow = |reservation: &mut Reservation| {
            let was = reservation.state;
            if let Some(link) = &mut reservation.order {
                link.version = settlement.version;
            }
            if let Some(expires_at_ms) = settlement.expires_at_ms() {
                reservation.expires_at_ms = expires_at_ms;
            }
            if settlement.verdict == Verdict::Held {
                reservation.state = ReservationState::Held;
            }
            Ok((was, reservation.storefront, reservation.home()))
        };
        let (was, storefront, home) = self.reservations.update(&id, &self.options, follow)?;
        let is_confirmed = was == ReservationState::Prepared || replacement.is_some();
        let kind = match settlement.verdict {
            Verdict::Held if is_confirmed => ChangeKind::Confirmed,
            Verdict::Held => ChangeKind::Extended,
            Verdict::Committed => ChangeKind::Committed,
            Verdict::Released => ChangeKind::Released,
            Verdict::Expired => ChangeKind::Expired,
            Verdict::Aborted => ChangeKind::Aborted,
        };
        let changes_before = recording.changes.len();
        if settlement.verdict != Verdict::Held {
            self.end_hold(recording, id, kind, kept, &settlement.cause)?;
        }
        if settlement.verdict == Verdict::Aborted {
            self.reservations.remove(&id, &self.options);
        }
        // Without moved units (the part has none, or they stay where they are), the decision itself becomes a
        // change.
        if recording.changes.len() == changes_before {
            let decided = ReservationSteps {
                kind,
                id,
                storefront,
                state: settlement.verdict.state(),
                expires_at_ms: settlement.expires_at_ms().unwrap_or(0),
                home,
                cause: &settlement.cause,
            };
            decided.note(&mut self.stock, recording);
        }
        Ok(())
    }

    /// Moves the units of a replaced hold, which has just ended, to the part that keeps them. Their change
    /// says that they are prepared, like the units that were taken beside them. The next change says what was
    /// decided about the part.
    fn take_over(
        &mut self,
        recording: &mut Recording,
        id: ReservationId,
        replacement: &Replacement,
    ) -> Result<(), Violation> {
        let Replacement { kept, cause, .. } = replacement;
        let stock = &mut self.stock;
        self.reservations.update(&id, &self.options, |reservation| {
            reservation.state = ReservationState::Held;
            let storefront = reservation.storefront;
            let steps = ReservationSteps {
                kind: ChangeKind::Prepared,
                id,
                storefront,
                state: ReservationState::Prepared,
                expires_at_ms: 0,
                home: reservation.home(),
                cause,
            };
            for line in &mut reservation.lines {
                for (take, deltas) in with_kept(line.number, kept, &Takes::new(), storefront) {
                    let cell = CellKey {
                        sku: line.sku,
                        warehouse: take.warehouse,
                    };
                    let moved = LineMove {
                        cell,
                        quantity: take.units(),
                        deltas,
                        sourcing: Some(take.reason),
                    };
                    let step = steps.on_line((line.number, line.requested), moved);
                    stock.step_loosely(recording, step)?;
                }
                let beside: Takes = line.allocations.iter().map(LineAllocation::taken).collect();
                let all = with_kept(line.number, kept, &beside, storefront).into_iter();
                line.allocations = all.map(|(take, _)| LineAllocation::new(take)).collect();
            }
            Ok(())
        })?;
        let reservation = self.reservations.get(&id).ok_or_else(|| vanished(&id))?;
        let sku_of = |number| {
            let line = reservation.lines.iter().find(|line| line.number == number);
            line.map(|line| line.sku)
        };
        self.check_kept_cells(sku_of, kept)
    }

    /// Returns the lines of a reservation, together with the units that they keep of a hold that they will
    /// replace.
    pub(crate) fn whole_lines(&self, id: &ReservationId, reservation: &Reservation) -> Vec<Line> {
        let kept = match self.replacements.get(id) {
            Some(replacement) => &replacement.kept[..],
            None => &[],
        };
        let whole = |line: &Line| {
            let beside: Takes = line.allocations.iter().map(LineAllocation::taken).collect();
            let all = with_kept(line.number, kept, &beside, reservation.storefront);
            let allocations = all
                .into_iter()
                .map(|(take, _)| LineAllocation::new(take))
                .collect();
            Line {
                allocations,
                ..line.clone()
            }
        };
        match kept {
            [] => reservation.lines.to_vec(),
            _ => reservation.lines.iter().map(whole).collect(),
        }
    }
}
