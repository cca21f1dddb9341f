//! The open reservations: prepared, held or committed. A closed reservation is dropped, so memory depends
//! only on the open ones.

use std::collections::HashMap;

use holdfast_api::v1::{ChangeKind, ReservationState};

use super::cells::CellKey;
use super::finding::{Check, Findings};
use super::life::{Allocation, Reservation, allows, leads_to};
use super::orders::Decision;
use super::step::{Effect, Id, Step};
use crate::names;

/// The run of changes that one operation makes on one reservation. They stand next to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    id: Id,
    kind: ChangeKind,
    operation: Option<Id>,
    log_index: u64,
}

/// The current run and its last change.
#[derive(Debug, Clone, Copy)]
struct Current {
    run: Run,
    effect: Effect,
    seq: u64,
    log_time_ms: u64,
}

#[derive(Debug, Default)]
pub(super) struct Reservations {
    open: HashMap<Id, Reservation>,
    current: Option<Current>,
    /// True when the current run takes units over, which are prepared beside other units of the same part.
    taking_over: bool,
    /// Decisions on orders over several shards that were not collected yet.
    decisions: Vec<Decision>,
    /// The number of grants so far. An order over several shards counts at its home.
    pub(super) granted: u64,
    /// The largest number of reservations that were open at one time.
    pub(super) most_open: usize,
}

impl Reservations {
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// Returns the decisions on orders over several shards in the runs that have ended.
    pub(super) fn take_decisions(&mut self) -> std::vec::Drain<'_, Decision> {
        self.decisions.drain(..)
    }

    /// Takes a change, of a reservation or not.
    pub(super) fn observe(&mut self, step: &Step<'_>, cell: CellKey, findings: &mut Findings) {
        let run = step.reservation.map(|effect| Run {
            id: effect.id,
            kind: step.kind,
            operation: step.operation,
            log_index: step.change.log_index,
        });
        let goes_on = run.is_some() && self.current.map(|current| current.run) == run;
        // A part of an order takes units over from the hold that it replaces. The release of that hold, by
        // the same operation, comes right before.
        let last = self.current.map(|current| current.run);
        let takes_over = |run: &Run| {
            let releases = |last: Run| {
                let same = (last.operation, last.log_index) == (Some(run.id), run.log_index);
                last.kind == ChangeKind::Released && last.id != run.id && same
            };
            run.kind == ChangeKind::Prepared && last.is_some_and(releases)
        };
        let takes_over = !goes_on && run.as_ref().is_some_and(takes_over);
        // This is the recount beside a line that is booked late.
        let is_beside = |current: Current| {
            let same =
                (current.run.operation, current.run.log_index) == (step.operation, step.change.log_index);
            step.kind == ChangeKind::Counted && step.operation.is_some() && same
        };
        if run.is_none() && self.current.is_some_and(is_beside) {
            return;
        }
        if !goes_on {
            self.end_run(step.change.shard, findings);
        }
        let (Some(run), Some(effect)) = (run, step.reservation) else {
            return;
        };
        let is_open = self.open.contains_key(&effect.id);
        match step.kind {
            ChangeKind::Reserved | ChangeKind::Prepared => {
                let is_more = takes_over && self.is_prepared(&effect);
                self.taking_over = if goes_on { self.taking_over } else { is_more };
                self.grant(step, effect, cell, goes_on || is_more, findings);
            }
            // The ledger keeps closed reservations for returns; `returns` checks those.
            ChangeKind::Returned if !is_open => return,
            // This is the home of an order that has no units there, so nothing was prepared.
            ChangeKind::Confirmed if !is_open && effect.home == Some(step.change.shard) => {
                self.begin(effect, ReservationState::Prepared);
                self.transition(step, effect, cell, findings);
            }
            ChangeKind::Aborted if !is_open && step.is_note() => {}
            _ => self.transition(step, effect, cell, findings),
        }
        self.current = Some(Current {
            run,
            effect,
            seq: step.change.seq,
            log_time_ms: step.change.log_time_ms,
        });
    }

    fn is_prepared(&self, effect: &Effect) -> bool {
        let open = self.open.get(&effect.id);
        open.is_some_and(|open| open.state == ReservationState::Prepared && open.home == effect.home)
    }

    /// Begins a reservation. Returns false when it was open already.
    fn begin(&mut self, effect: Effect, state: ReservationState) -> bool {
        let reservation = Reservation {
            state,
            expires_at_ms: effect.expires_at_ms,
            home: effect.home,
            allocations: vec![],
        };
        let is_new = self.open.insert(effect.id, reservation).is_none();
        self.most_open = self.most_open.max(self.open.len());
        is_new
    }

    fn grant(
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
        let is_undecided = step.kind == ChangeKind::Prepared;
        if !goes_on {
            let state = if is_undecided {
                ReservationState::Prepared
            } else {
                self.granted += 1;
                ReservationState::Held
            };
            if !self.begin(effect, state) {
                findings.add(Check::ReservedTwice, change.shard, change.seq, || {
                    format!("reservation {} was granted while it was open", text(&effect.id))
                });
            }
        }
        let Some(reservation) = self.open.get_mut(&effect.id) else {
            return;
        };
        if self.taking_over
            && let Some(part) = reservation.find(effect.line, cell)
        {
            part.held = part.held.saturating_add(effect.quantity);
        } else if reservation.find(effect.line, cell).is_some() {
            findings.add(Check::ReservedTwice, change.shard, change.seq, || {
                format!(
                    "line {} of reservation {} was granted twice here",
                    effect.line,
                    text(&effect.id)
                )
            });
        }
        if !is_undecided && effect.expires_at_ms <= change.log_time_ms {
            findings.add(Check::WrongState, change.shard, change.seq, || {
                format!("reservation {} was granted after its own end", text(&effect.id))
            });
        }
        let is_new = reservation.find(effect.line, cell).is_none();
        if is_new || !self.taking_over {
            reservation.allocations.push(Allocation {
                line: effect.line,
                cell,
                requested: effect.requested,
                held: effect.quantity,
                ..Allocation::default()
            });
        }
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
        let (shard, seq) = (step.change.shard, step.change.seq);
        let kind = names::kind(step.kind);
        let Some(reservation) = self.open.get_mut(&effect.id) else {
            findings.add(Check::NotOpen, shard, seq, || {
                format!("{kind}: reservation {} is not open", text(&effect.id))
            });
            return;
        };
        if !allows(reservation, step.kind, shard) {
            findings.add(Check::WrongState, shard, seq, || {
                format!(
                    "{kind}: reservation {} is {}",
                    text(&effect.id),
                    names::state(reservation.state)
                )
            });
        }
        if effect.home != reservation.home {
            findings.add(Check::Malformed, shard, seq, || {
                let (id, told, known) = (text(&effect.id), effect.home, reservation.home);
                format!("{kind}: the change says that the home of reservation {id} is {told:?}, but it was {known:?}")
            });
        }
        // An order runs on the clock of its home. The other shards hear of its decisions sooner or later.
        if reservation.home.is_none_or(|home| home == shard) {
            check_time(reservation, step, effect, findings);
        }
        match step.kind {
            ChangeKind::Extended | ChangeKind::Confirmed => {
                if step.kind == ChangeKind::Confirmed && reservation.home == Some(shard) {
                    self.granted += 1;
                }
                if effect.expires_at_ms < reservation.expires_at_ms {
                    findings.add(Check::WrongState, shard, seq, || {
                        let (id, until) = (text(&effect.id), effect.expires_at_ms);
                        let expires_at_ms = reservation.expires_at_ms;
                        format!("reservation {id} was extended from {expires_at_ms} to {until}")
                    });
                }
                reservation.expires_at_ms = effect.expires_at_ms;
                return;
            }
            _ if step.is_note() && reservation.allocations.is_empty() => return,
            _ => {}
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

    /// Ends an operation on a reservation: checks that the state matches the places of the units, and drops a
    /// closed reservation.
    pub(super) fn end_run(&mut self, shard: u32, findings: &mut Findings) {
        let Some(current) = self.current.take() else {
            return;
        };
        let Current { run, effect, seq, .. } = current;
        let reservation = self.open.get_mut(&run.id);
        let is_short =
            run.kind == ChangeKind::Prepared && reservation.as_ref().is_some_and(|one| one.is_short());
        self.decisions.extend(Decision::of(
            &effect,
            (run.kind, run.operation, is_short),
            (shard, seq, run.log_index, current.log_time_ms),
        ));
        let Some(reservation) = reservation else {
            return;
        };
        let fits = leads_to(run.kind, effect.state) && reservation.is_in(effect.state);
        if !fits {
            findings.add(Check::WrongState, shard, seq, || {
                let (kind, id, told) = (names::kind(run.kind), text(&run.id), names::state(effect.state));
                format!(
                    "{kind}: the change says that reservation {id} is {told}, but {}",
                    reservation.units()
                )
            });
        }
        reservation.state = effect.state;
        let is_open = match effect.state {
            ReservationState::Prepared | ReservationState::Held => true,
            // A reservation without units has no further changes.
            ReservationState::Committed => !reservation.allocations.is_empty(),
            _ => false,
        };
        if !is_open {
            self.open.remove(&run.id);
        }
    }

    /// Returns the held and committed units of the open reservations, by cell.
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

/// Checks that nothing ends before its time or is used after it.
fn check_time(reservation: &Reservation, step: &Step<'_>, effect: Effect, findings: &mut Findings) {
    let (shard, seq, now_ms) = (step.change.shard, step.change.seq, step.change.log_time_ms);
    let (kind, expires_at_ms) = (names::kind(step.kind), reservation.expires_at_ms);
    let is_held = reservation.state == ReservationState::Held;
    match step.kind {
        ChangeKind::Expired if now_ms < expires_at_ms => {
            findings.add(Check::ExpiredEarly, shard, seq, || {
                let id = text(&effect.id);
                format!("reservation {id} expired at {now_ms}, but its hold lasts until {expires_at_ms}")
            });
        }
        ChangeKind::Committed | ChangeKind::Released | ChangeKind::Extended
            if is_held && now_ms >= expires_at_ms =>
        {
            findings.add(Check::UsedAfterExpiry, shard, seq, || {
                let id = text(&effect.id);
                format!(
                    "{kind}: reservation {id} was used at {now_ms}, but its hold ended at {expires_at_ms}"
                )
            });
        }
        _ => {}
    }
    let renews = matches!(step.kind, ChangeKind::Extended | ChangeKind::Confirmed);
    if renews && effect.expires_at_ms <= now_ms {
        findings.add(Check::WrongState, shard, seq, || {
            let (id, until) = (text(&effect.id), effect.expires_at_ms);
            format!("{kind}: the hold of reservation {id} would end at {until}, which is before {now_ms}")
        });
    }
}

fn text(id: &Id) -> String {
    uuid::Uuid::from_bytes(*id).to_string()
}
