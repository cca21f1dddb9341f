//! The open reservations: held or committed. A closed one is dropped, so memory follows what is open.

use std::collections::HashMap;

use holdfast_proto::v1::{ChangeKind, ReservationState};

use super::cells::CellKey;
use super::finding::{Check, Findings};
use super::step::{Effect, Id, Step};
use crate::names;

#[derive(Debug)]
struct Reservation {
    state: ReservationState,
    expires_at_ms: u64,
    allocations: Vec<Allocation>,
}

/// The units of one line from one cell.
#[derive(Debug, Default)]
struct Allocation {
    line: u32,
    cell: CellKey,
    held: i64,
    committed: i64,
    shipped: i64,
    returned: i64,
}

/// The changes of one operation on one reservation stand next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    id: Id,
    kind: ChangeKind,
    operation: Option<Id>,
    log_index: u64,
}

#[derive(Debug, Default)]
pub(super) struct Reservations {
    open: HashMap<Id, Reservation>,
    run: Option<(Run, Effect, u64)>,
    /// How many were ever granted.
    pub(super) granted: u64,
    /// The most that were open at a time.
    pub(super) most_open: usize,
}

impl Reservations {
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Takes a change, of a reservation or not.
    pub(super) fn observe(&mut self, step: &Step<'_>, cell: CellKey, findings: &mut Findings) {
        let run = step.reservation.map(|effect| Run {
            id: effect.id,
            kind: step.kind,
            operation: step.operation,
            log_index: step.change.log_index,
        });
        let goes_on = run.is_some() && self.run.map(|(run, ..)| run) == run;
        if !goes_on {
            self.end_run(step.change.shard, findings);
        }
        let (Some(run), Some(effect)) = (run, step.reservation) else {
            return;
        };
        match step.kind {
            ChangeKind::Reserved => self.reserve(step, effect, cell, goes_on, findings),
            // The ledger keeps closed reservations for returns; see `returns` for how these are checked.
            ChangeKind::Returned if !self.open.contains_key(&effect.id) => return,
            _ => self.transition(step, effect, cell, findings),
        }
        self.run = Some((run, effect, step.change.seq));
    }

    fn reserve(
        &mut self,
        step: &Step<'_>,
        effect: Effect,
        cell: CellKey,
        goes_on: bool,
        findings: &mut Findings,
    ) {
        let change = step.change;
        if step.operation != Some(effect.id) {
            findings.add(Check::Malformed, change.shard, change.seq, || {
                format!(
                    "reservation {} was granted by another operation",
                    text(&effect.id)
                )
            });
        }
        if !goes_on {
            self.granted += 1;
            let reservation = Reservation {
                state: ReservationState::Held,
                expires_at_ms: effect.expires_at_ms,
                allocations: vec![],
            };
            if self.open.insert(effect.id, reservation).is_some() {
                findings.add(Check::ReservedTwice, change.shard, change.seq, || {
                    format!("reservation {} was granted while it was open", text(&effect.id))
                });
            }
            self.most_open = self.most_open.max(self.open.len());
        }
        let Some(reservation) = self.open.get_mut(&effect.id) else {
            return;
        };
        if reservation.find(effect.line, cell).is_some() {
            findings.add(Check::ReservedTwice, change.shard, change.seq, || {
                format!(
                    "line {} of reservation {} was granted twice here",
                    effect.line,
                    text(&effect.id)
                )
            });
        }
        if effect.expires_at_ms <= change.log_time_ms {
            findings.add(Check::WrongState, change.shard, change.seq, || {
                format!("reservation {} was granted after its own end", text(&effect.id))
            });
        }
        reservation.allocations.push(Allocation {
            line: effect.line,
            cell,
            held: effect.quantity,
            ..Allocation::default()
        });
        let of_line = reservation
            .allocations
            .iter()
            .filter(|part| part.line == effect.line);
        let granted: i128 = of_line.map(|part| i128::from(part.held)).sum();
        if granted > i128::from(effect.requested) {
            findings.add(Check::ExceedsLine, change.shard, change.seq, || {
                let (line, requested) = (effect.line, effect.requested);
                format!(
                    "line {line} of reservation {} asked for {requested} and got {granted}",
                    text(&effect.id)
                )
            });
        }
    }

    fn transition(&mut self, step: &Step<'_>, effect: Effect, cell: CellKey, findings: &mut Findings) {
        let (shard, seq, now_ms) = (step.change.shard, step.change.seq, step.change.log_time_ms);
        let kind = names::kind(step.kind);
        let Some(reservation) = self.open.get_mut(&effect.id) else {
            findings.add(Check::NotOpen, shard, seq, || {
                format!("{kind}: reservation {} is not open", text(&effect.id))
            });
            return;
        };
        if !allows(reservation.state, step.kind) {
            findings.add(Check::WrongState, shard, seq, || {
                format!(
                    "{kind}: reservation {} is {}",
                    text(&effect.id),
                    names::state(reservation.state)
                )
            });
        }
        let expires_at_ms = reservation.expires_at_ms;
        match step.kind {
            ChangeKind::Expired if now_ms < expires_at_ms => {
                findings.add(Check::ExpiredEarly, shard, seq, || {
                    let id = text(&effect.id);
                    format!("reservation {id} expired at {now_ms}, its hold lasts until {expires_at_ms}")
                });
            }
            ChangeKind::Committed | ChangeKind::Released | ChangeKind::Extended
                if now_ms >= expires_at_ms =>
            {
                findings.add(Check::UsedAfterExpiry, shard, seq, || {
                    let id = text(&effect.id);
                    format!(
                        "{kind}: reservation {id} was used at {now_ms}, its hold ended at {expires_at_ms}"
                    )
                });
            }
            _ => {}
        }
        if step.kind == ChangeKind::Extended {
            if effect.expires_at_ms < expires_at_ms || effect.expires_at_ms <= now_ms {
                findings.add(Check::WrongState, shard, seq, || {
                    let (id, until) = (text(&effect.id), effect.expires_at_ms);
                    format!("reservation {id} was extended from {expires_at_ms} to {until}")
                });
            }
            reservation.expires_at_ms = effect.expires_at_ms;
            return;
        }
        let part = reservation.find(effect.line, cell);
        let moved = part.is_some_and(|part| part.take(step.kind, effect.quantity));
        if !moved {
            findings.add(Check::ExceedsLine, shard, seq, || {
                let (id, line, quantity) = (text(&effect.id), effect.line, effect.quantity);
                format!("{kind}: line {line} of reservation {id} does not have {quantity} units here for it")
            });
        }
    }

    /// An operation on a reservation is over: is its state where its units are? Closed ones are dropped.
    pub(super) fn end_run(&mut self, shard: u32, findings: &mut Findings) {
        let Some((run, effect, seq)) = self.run.take() else {
            return;
        };
        let Some(reservation) = self.open.get_mut(&run.id) else {
            return;
        };
        let fits = leads_to(run.kind, effect.state) && reservation.is_in(effect.state);
        if !fits {
            findings.add(Check::WrongState, shard, seq, || {
                let (kind, id, told) = (names::kind(run.kind), text(&run.id), names::state(effect.state));
                format!(
                    "{kind}: reservation {id} is told to be {told}, {}",
                    reservation.units()
                )
            });
        }
        reservation.state = effect.state;
        if !matches!(effect.state, ReservationState::Held | ReservationState::Committed) {
            self.open.remove(&run.id);
        }
    }

    /// Held and committed units of the open reservations, by cell.
    pub(super) fn promised(&self) -> HashMap<CellKey, (i64, i64)> {
        let mut promised: HashMap<CellKey, (i64, i64)> = HashMap::new();
        for part in self
            .open
            .values()
            .flat_map(|reservation| &reservation.allocations)
        {
            let (held, committed) = promised.entry(part.cell).or_default();
            *held = held.saturating_add(part.held);
            *committed = committed.saturating_add(part.committed);
        }
        promised
    }
}

impl Reservation {
    fn find(&mut self, line: u32, cell: CellKey) -> Option<&mut Allocation> {
        self.allocations
            .iter_mut()
            .find(|part| part.line == line && part.cell == cell)
    }

    fn sums(&self) -> [i128; 4] {
        let mut sums = [0; 4];
        for part in &self.allocations {
            for (sum, units) in sums
                .iter_mut()
                .zip([part.held, part.committed, part.shipped, part.returned])
            {
                *sum += i128::from(units);
            }
        }
        sums
    }

    /// Are the units where this state has them?
    fn is_in(&self, state: ReservationState) -> bool {
        let [held, committed, shipped, returned] = self.sums();
        match state {
            ReservationState::Held => held > 0 && committed == 0 && shipped == 0,
            ReservationState::Committed => held == 0 && committed > 0,
            ReservationState::Shipped => held == 0 && committed == 0 && shipped > returned,
            ReservationState::Returned => held == 0 && committed == 0 && shipped > 0 && shipped == returned,
            ReservationState::Released | ReservationState::Expired | ReservationState::Cancelled => {
                held == 0 && committed == 0 && shipped == 0
            }
            ReservationState::Unspecified | ReservationState::Prepared => false,
        }
    }

    fn units(&self) -> String {
        let [held, committed, shipped, returned] = self.sums();
        format!("its units: {held} held, {committed} committed, {shipped} shipped, {returned} returned")
    }
}

impl Allocation {
    /// Moves units as a change says. False, and nothing moved, when there are not as many.
    fn take(&mut self, kind: ChangeKind, quantity: i64) -> bool {
        let from = match kind {
            ChangeKind::Committed | ChangeKind::Released | ChangeKind::Expired => self.held,
            ChangeKind::Shipped | ChangeKind::Cancelled => self.committed,
            ChangeKind::Returned => self.shipped - self.returned,
            _ => 0,
        };
        if quantity < 1 || quantity > from {
            return false;
        }
        match kind {
            ChangeKind::Committed => {
                self.held -= quantity;
                self.committed += quantity;
            }
            ChangeKind::Released | ChangeKind::Expired => self.held -= quantity,
            ChangeKind::Shipped => {
                self.committed -= quantity;
                self.shipped += quantity;
            }
            ChangeKind::Cancelled => self.committed -= quantity,
            _ => self.returned += quantity,
        }
        true
    }
}

/// May a reservation in this state see this change?
fn allows(state: ReservationState, kind: ChangeKind) -> bool {
    use ChangeKind::{Cancelled, Committed, Expired, Extended, Released, Returned, Shipped};
    match state {
        ReservationState::Held => matches!(kind, Extended | Committed | Released | Expired),
        ReservationState::Committed => matches!(kind, Shipped | Cancelled | Returned),
        _ => false,
    }
}

/// May a change of this kind leave an open reservation in this state?
fn leads_to(kind: ChangeKind, state: ReservationState) -> bool {
    use ReservationState::{Cancelled, Committed, Expired, Held, Released, Returned, Shipped};
    match kind {
        ChangeKind::Reserved | ChangeKind::Extended => state == Held,
        ChangeKind::Committed => state == Committed,
        ChangeKind::Released => state == Released,
        ChangeKind::Expired => state == Expired,
        ChangeKind::Shipped => matches!(state, Committed | Shipped),
        ChangeKind::Cancelled => matches!(state, Committed | Cancelled | Shipped | Returned),
        ChangeKind::Returned => state == Committed,
        _ => false,
    }
}

fn text(id: &Id) -> String {
    uuid::Uuid::from_bytes(*id).to_string()
}
