//! The model of Ship, Cancel and Return, unit by unit.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_ledger::*;

use super::{Key, Model, Place, Reservation, invalid};

impl Model {
    pub(super) fn fulfil(
        &mut self,
        command: &Command,
        id: &ReservationId,
        wanted: &[LineQuantity],
        to: Place,
        disposition: Option<Disposition>,
    ) -> Result<ReservationState, Refusal> {
        if wanted.len() > 1024 || wanted.iter().any(|line| line.quantity < 1) {
            return invalid();
        }
        let reservation = self
            .reservations
            .get(id)
            .ok_or(Refusal::UnknownReservation)?
            .clone();
        let from = if to == Place::Returned {
            Place::Shipped
        } else {
            Place::Committed
        };
        if !reservation
            .lines
            .iter()
            .flat_map(|line| &line.units)
            .any(|unit| unit.place == from)
        {
            return Err(Refusal::WrongState {
                state: reservation.state,
            });
        }
        let mut picked: BTreeSet<(usize, usize)> = BTreeSet::new();
        for want in wanted {
            let mut found = 0;
            if let Some(at) = reservation.lines.iter().position(|line| line.number == want.line) {
                let line = &reservation.lines[at];
                for warehouse in line.warehouses() {
                    if want.warehouse.as_ref().is_some_and(|only| *only != warehouse) {
                        continue;
                    }
                    let mut here: Vec<usize> = (0..line.units.len())
                        .filter(|unit| line.units[*unit].warehouse == warehouse)
                        .collect();
                    if to == Place::Cancelled {
                        here.reverse();
                    }
                    for unit in here {
                        let open = line.units[unit].place == from && !picked.contains(&(at, unit));
                        if open && found < want.quantity {
                            picked.insert((at, unit));
                            found += 1;
                        }
                    }
                }
            }
            if found < want.quantity {
                return Err(Refusal::ExceedsLine {
                    line: want.line,
                    requested: want.quantity,
                    available: found,
                });
            }
        }
        if wanted.is_empty() {
            for (at, line) in reservation.lines.iter().enumerate() {
                let open = (0..line.units.len()).filter(|unit| line.units[*unit].place == from);
                picked.extend(open.map(|unit| (at, unit)));
            }
        }
        if to == Place::Shipped {
            self.check_goods(command, &reservation, &picked)?;
        }
        for (at, line) in reservation.lines.iter().enumerate() {
            for warehouse in line.warehouses() {
                let key = (line.sku.clone(), warehouse.clone());
                for number in (0..line.units.len()).rev() {
                    if line.units[number].warehouse != warehouse || !picked.contains(&(at, number)) {
                        continue;
                    }
                    if to == Place::Cancelled {
                        self.give_back(id, at, number, to);
                        continue;
                    }
                    let unit = &mut self.reservations.get_mut(id).unwrap().lines[at].units[number];
                    unit.place = to;
                    match disposition {
                        Some(disposition) => self.bring_back(command, &key, 1, disposition),
                        None if self.is_seen(&key, command) => {
                            // The count missed it, and removed a sellable unit for that.
                            self.cells.get_mut(&key).unwrap().sell(1);
                            self.note_seen(&key, -1);
                        }
                        None => self.cells.get_mut(&key).unwrap().on_hand -= 1,
                    }
                }
            }
        }
        let reservation = self.reservations.get_mut(id).unwrap();
        let all: Vec<Place> = reservation
            .lines
            .iter()
            .flat_map(|line| &line.units)
            .map(|unit| unit.place)
            .collect();
        reservation.state = if all.contains(&Place::Committed) {
            ReservationState::Committed
        } else if all.contains(&Place::Shipped) {
            ReservationState::Shipped
        } else if all.contains(&Place::Returned) {
            ReservationState::Returned
        } else {
            ReservationState::Cancelled
        };
        if reservation.state != ReservationState::Committed {
            reservation.closed_at_ms = self.now_ms;
        }
        Ok(reservation.state)
    }

    /// Checks that the goods are really there, line by line.
    fn check_goods(
        &self,
        command: &Command,
        reservation: &Reservation,
        picked: &BTreeSet<(usize, usize)>,
    ) -> Result<(), Refusal> {
        let mut left: BTreeMap<Key, i64> = self
            .cells
            .iter()
            .map(|(key, cell)| {
                let pooled: i64 = cell.pools.values().sum();
                let not_promised = cell.free + pooled + cell.safety + cell.damaged + cell.quality_hold;
                (key.clone(), cell.on_hand - not_promised)
            })
            .collect();
        let mut shortages = Vec::new();
        for (at, line) in reservation.lines.iter().enumerate() {
            for warehouse in line.warehouses() {
                let of_line = picked.iter().filter(|(other, _)| *other == at);
                let requested = of_line
                    .filter(|(_, unit)| line.units[*unit].warehouse == warehouse)
                    .count() as i64;
                let key = (line.sku.clone(), warehouse);
                let is_seen = self.is_seen(&key, command);
                let left = left.get_mut(&key).unwrap();
                let available = (*left).max(0);
                if requested > available && !is_seen {
                    shortages.push(Shortage {
                        line: line.number,
                        sku: line.sku.clone(),
                        requested,
                        available,
                    });
                }
                *left -= requested;
            }
        }
        if shortages.is_empty() {
            Ok(())
        } else {
            Err(Refusal::InsufficientStock(shortages))
        }
    }
}
