//! The writer turns drafts into entries. The objects of a draft are known only when the log has come that
//! far.

use holdfast_ledger::*;

use super::{
    Changed, Draft, DraftAction, DraftDetails, DraftEntry, DraftPosition, SKUS, START_MS, ToTransfer,
    Transition, WAREHOUSES, details::Replaced,
};

/// Turns drafts into entries, with the knowledge of all earlier commands.
pub(crate) struct Writer {
    pub(crate) index: u64,
    now_ms: i64,
    number: u64,
    commands: Vec<Command>,
    /// Reservations in order of their creation, with their last known state. A hold may have ended since.
    reservations: Vec<(ReservationId, ReservationState, StorefrontId)>,
    transfers: Vec<TransferId>,
    /// The last change of each command, in order of the commands.
    marks: Vec<u64>,
    /// The rules that the log has adopted.
    rules: Rules,
}

pub(crate) fn id_at(time_ms: u64, number: u64) -> OperationId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&time_ms.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[8] = 0x80 | bytes[8] & 0x3f;
    OperationId::from_slice(&bytes).unwrap()
}

/// Returns an element counted from the last.
fn back<T: Clone>(list: &[T], back: usize) -> Option<T> {
    list.iter().rev().nth(back % list.len().max(1)).cloned()
}

/// Changes one part of a command, if the command has such a part.
fn change(command: &mut Command, changed: Changed) {
    match (changed, &mut command.action) {
        (Changed::Nothing, _) => {}
        (Changed::Reference, _) => command.reference = Reference::new("another").unwrap(),
        (Changed::Quantity, Action::Reserve { lines, .. }) => lines[0].quantity += 1,
        (Changed::Quantity, Action::Receive { quantity, .. } | Action::ExpectSupply { quantity, .. }) => {
            *quantity += 1;
        }
        (Changed::Quantity, Action::Extend { ttl_ms, .. }) => *ttl_ms += 1,
        (Changed::LineOrder, Action::Reserve { lines, .. }) => lines.reverse(),
        (Changed::LineOrder, Action::TransferOut { lines, .. } | Action::TransferIn { lines, .. }) => {
            lines.reverse();
        }
        (Changed::LineOrder, Action::Ship { lines, .. } | Action::Cancel { lines, .. }) => lines.reverse(),
        (Changed::Kind, action @ Action::Reserve { .. }) => {
            *action = Action::TransferOut {
                lines: vec![TransferLine {
                    sku: Sku::new(SKUS[0]).unwrap(),
                    quantity: 1,
                }],
                from: WarehouseId::new(WAREHOUSES[0]).unwrap(),
                to: WarehouseId::new(WAREHOUSES[1]).unwrap(),
                expected_at_ms: START_MS,
            };
        }
        (Changed::Kind, action) => {
            *action = Action::Reserve {
                storefront: StorefrontId::new("web").unwrap(),
                lines: vec![ReserveLine {
                    sku: Sku::new(SKUS[0]).unwrap(),
                    quantity: 1,
                    source: Source::Any,
                }],
                ttl_ms: 5_000,
                mode: ReserveMode::AllOrNothing,
                sourcing: Sourcing::AsGiven,
            };
        }
        (Changed::Details, _) => {
            let time_ms = command.details.occurred_at_ms.unwrap_or(START_MS);
            command.details.occurred_at_ms = Some(time_ms ^ 1);
        }
        (Changed::Quantity | Changed::LineOrder, _) => {}
    }
}

/// Returns whether an action moves goods, so that it may name the change after which they moved.
fn moves_goods(action: &Action) -> bool {
    matches!(
        action,
        Action::Receive { .. }
            | Action::Adjust { .. }
            | Action::Ship { .. }
            | Action::Return { .. }
            | Action::TransferOut { .. }
            | Action::TransferIn { .. }
    )
}

impl Writer {
    /// Makes a writer for a ledger with the newest rules.
    pub(crate) fn new() -> Self {
        Self::by(Rules::NEWEST)
    }

    pub(crate) fn by(rules: Rules) -> Self {
        let now_ms = START_MS as i64;
        Self {
            index: 0,
            now_ms,
            number: 0,
            commands: Vec::new(),
            reservations: Vec::new(),
            transfers: Vec::new(),
            marks: vec![0],
            rules,
        }
    }

    /// Learns the results of the last entry. Later drafts are about reservations that were granted, and
    /// mostly about those that are still open.
    pub(crate) fn learn(&mut self, entry: &Entry, applied: &Applied) {
        for of_command in applied
            .changes
            .chunk_by(|a, b| a.cause.operation_id == b.cause.operation_id)
        {
            self.marks.extend(of_command.last().map(|change| change.seq));
        }
        for (command, outcome) in entry.commands.iter().zip(&applied.outcomes) {
            match (outcome, &command.action) {
                (Ok(Success::Reserved { replayed: false, .. }), Action::Reserve { storefront, .. }) => {
                    if let Some(of) = command.details.replaces {
                        let found = self.reservations.iter_mut().find(|(id, ..)| *id == of);
                        found.unwrap().1 = ReservationState::Released;
                    }
                    let new = (command.operation_id, ReservationState::Held, storefront.clone());
                    self.reservations.push(new);
                }
                (Ok(_), Action::AdoptRules { rules }) => self.rules = self.rules.max(*rules),
                (
                    Ok(Success::Transitioned {
                        state: Some(now),
                        replayed: false,
                        ..
                    }),
                    Action::Commit { reservation_id }
                    | Action::Release { reservation_id }
                    | Action::Ship { reservation_id, .. }
                    | Action::Cancel { reservation_id, .. }
                    | Action::Return {
                        of: ReturnOf::Reservation { reservation_id, .. },
                        ..
                    },
                ) => {
                    let found = self.reservations.iter_mut().find(|(id, ..)| id == reservation_id);
                    found.unwrap().1 = *now;
                }
                (Ok(Success::Stocked { replayed: false, .. }), Action::TransferOut { .. }) => {
                    self.transfers.push(command.operation_id);
                }
                _ => {}
            }
        }
    }

    /// Picks a reservation, mostly one whose state allows the transition.
    fn pick(&self, steps: usize, transition: &Transition) -> Option<ReservationId> {
        if steps == usize::MAX {
            return None;
        }
        let fits = |state| match transition {
            _ if steps == 4 => true,
            Transition::Extend(_) | Transition::Commit | Transition::Release => {
                state == ReservationState::Held
            }
            Transition::Ship(_) | Transition::Cancel(_) => state == ReservationState::Committed,
            Transition::Return(..) => {
                matches!(state, ReservationState::Committed | ReservationState::Shipped)
            }
        };
        let fitting: Vec<_> = self
            .reservations
            .iter()
            .filter(|(_, state, _)| fits(*state))
            .collect();
        back(&fitting, steps)
            .or(self.reservations.last())
            .map(|(id, ..)| *id)
    }

    pub(crate) fn entry(&mut self, draft: &DraftEntry) -> Entry {
        self.now_ms += draft.later_ms;
        self.index += 1;
        let commands = draft.drafts.iter().map(|draft| self.command(draft)).collect();
        Entry {
            log_time_ms: self.now_ms as u64,
            commands,
        }
    }

    fn command(&mut self, draft: &Draft) -> Command {
        let command = match draft {
            Draft::Again { back: steps, changed } if !self.commands.is_empty() => {
                let mut command = back(&self.commands, *steps).unwrap();
                change(&mut command, *changed);
                command
            }
            Draft::Again { .. } => self.write(
                0,
                "test",
                Action::Commit {
                    reservation_id: id_at(0, 0),
                },
            ),
            Draft::New {
                id_offset_ms,
                reason,
                details,
                action,
            } => {
                let action = self.action(action);
                let mut command = self.write(*id_offset_ms, reason, action);
                self.detail(&mut command, details);
                command
            }
        };
        self.commands.push(command.clone());
        command
    }

    fn write(&mut self, id_offset_ms: i64, reason: &str, action: Action) -> Command {
        self.number += 1;
        Command {
            operation_id: id_at((self.now_ms + id_offset_ms) as u64, self.number),
            principal: Principal::new("tester").unwrap(),
            reference: Reference::new(format!("doc-{}", self.number)).unwrap(),
            reason: CallerReason::new(reason).unwrap(),
            details: Details::default(),
            action,
        }
    }

    fn position(&self, draft: DraftPosition) -> u64 {
        match draft {
            DraftPosition::Back(steps) => back(&self.marks, steps).unwrap_or(0),
            DraftPosition::Future(ahead) => self.marks.last().copied().unwrap_or(0) + ahead,
            DraftPosition::Beginning => 0,
        }
    }

    /// Sets the details that fit the command, or all of them.
    fn detail(&self, command: &mut Command, draft: &DraftDetails) {
        if matches!(command.action, Action::AdoptRules { .. }) {
            return;
        }
        if let Some(reference) = draft.reference {
            command.reference = Reference::new(reference).unwrap();
        }
        let says = |fits: bool| draft.is_misfit || self.rules >= Rules::Second && fits;
        if says(true) {
            let at_ms = |ms| self.now_ms.saturating_add(ms).max(0) as u64;
            command.details.occurred_at_ms = draft.occurred_ms.map(at_ms);
        }
        if says(moves_goods(&command.action)) {
            command.details.as_of_seq = draft.as_of.map(|as_of| self.position(as_of));
        }
        if !says(matches!(command.action, Action::Reserve { .. })) {
            return;
        }
        command.details.unique_reference = draft.unique_reference;
        command.details.replaces = match draft.replaces {
            None => None,
            Some(Replaced::Unknown) => Some(id_at(1, 1)),
            Some(Replaced::Any(steps)) => back(&self.reservations, steps).map(|(id, ..)| id),
            Some(Replaced::Held(steps)) => {
                let held = self.reservations.iter();
                let held: Vec<_> = held
                    .filter(|(_, state, _)| *state == ReservationState::Held)
                    .collect();
                back(&held, steps).map(|(id, _, of)| {
                    if let Action::Reserve { storefront, .. } = &mut command.action {
                        *storefront = of.clone();
                    }
                    *id
                })
            }
        };
    }

    fn action(&self, draft: &DraftAction) -> Action {
        match draft {
            DraftAction::Ready(action) => action.clone(),
            DraftAction::Count {
                sku,
                warehouse,
                counted,
                as_of,
            } => {
                let as_of_seq = self.position(*as_of);
                let (sku, warehouse) = (sku.clone(), warehouse.clone());
                Action::Count {
                    sku,
                    warehouse,
                    counted: *counted,
                    as_of_seq: Some(as_of_seq),
                }
            }
            DraftAction::Advance {
                name,
                location,
                through,
            } => Action::AdvanceConsumer {
                name: name.clone(),
                location: location.clone(),
                through_seq: self.position(*through),
            },
            DraftAction::OnTransfer(steps, what) => {
                let known = (*steps != usize::MAX)
                    .then(|| back(&self.transfers, *steps))
                    .flatten();
                let transfer_id = known.unwrap_or(id_at(1, 1));
                match what.clone() {
                    ToTransfer::In(lines, disposition) => Action::TransferIn {
                        transfer_id,
                        lines,
                        disposition,
                    },
                    ToTransfer::Close => Action::CloseTransfer { transfer_id },
                }
            }
            DraftAction::On(steps, transition) => {
                let reservation_id = self.pick(*steps, transition).unwrap_or(id_at(1, 1));
                match transition.clone() {
                    Transition::Extend(ttl_ms) => Action::Extend {
                        reservation_id,
                        ttl_ms,
                    },
                    Transition::Commit => Action::Commit { reservation_id },
                    Transition::Release => Action::Release { reservation_id },
                    Transition::Ship(lines) => Action::Ship {
                        reservation_id,
                        lines,
                    },
                    Transition::Cancel(lines) => Action::Cancel {
                        reservation_id,
                        lines,
                    },
                    Transition::Return(lines, disposition) => Action::Return {
                        of: ReturnOf::Reservation {
                            reservation_id,
                            lines,
                        },
                        disposition,
                    },
                }
            }
        }
    }
}
