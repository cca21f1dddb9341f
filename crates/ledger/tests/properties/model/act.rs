//! The dispatch of commands in the model.

use holdfast_ledger::*;

use super::{Model, Place, StockPolicy, invalid};

impl Model {
    pub(super) fn act(&mut self, command: &Command) -> Outcome {
        self.check_details(command)?;
        let position = self.position;
        let moved = |state, expires_at_ms| Success::Transitioned {
            position,
            replayed: false,
            state,
            expires_at_ms,
        };
        let stocked = |cell| Success::Stocked {
            position,
            replayed: false,
            cell,
        };
        match &command.action {
            // Orders over several shards have a model of their own, and the adoption of rules is no decision.
            Action::Order(_)
            | Action::OfPart(_)
            | Action::Dispatch { .. }
            | Action::AdoptRules { .. }
            | Action::Seal => invalid(),
            // Handled before, in `run`.
            Action::AdvanceConsumer { .. } => invalid(),
            Action::RegisterConsumer {
                name,
                required,
                location,
            } => {
                let now_ms = self.now_ms;
                let here = self.consumers.iter().position(|known| known.name == *name);
                if here.is_none() && self.consumers.len() == 32 {
                    return Err(Refusal::LimitReached {
                        what: "consumers".to_owned(),
                        limit: 32,
                    });
                }
                let mut consumer = match here {
                    Some(at) => self.consumers.remove(at),
                    None => super::new_consumer(name, location, now_ms),
                };
                if consumer.location != *location {
                    consumer = super::new_consumer(name, location, now_ms);
                }
                consumer.required = *required;
                self.consumers.push(consumer);
                self.consumers.sort_by(|a, b| a.name.cmp(&b.name));
                Ok(stocked(None))
            }
            Action::RemoveConsumer { name } => {
                let before = self.consumers.len();
                self.consumers.retain(|known| known.name != *name);
                match self.consumers.len() < before {
                    true => Ok(stocked(None)),
                    false => Err(Refusal::UnknownConsumer { name: name.clone() }),
                }
            }
            Action::Reserve {
                storefront,
                lines,
                ttl_ms,
                mode,
                sourcing,
            } => self.reserve(command, storefront, lines, *ttl_ms, *mode, *sourcing),
            Action::Extend {
                reservation_id,
                ttl_ms,
            } => {
                if !(1..=2_592_000_000).contains(ttl_ms) {
                    return invalid();
                }
                self.check_held(reservation_id)?;
                let ends = self.now_ms + ttl_ms;
                let reservation = self.reservations.get_mut(reservation_id).unwrap();
                reservation.expires_at_ms = reservation.expires_at_ms.max(ends);
                Ok(moved(Some(ReservationState::Held), reservation.expires_at_ms))
            }
            Action::Commit { reservation_id } => {
                self.check_held(reservation_id)?;
                let reservation = self.reservations.get_mut(reservation_id).unwrap();
                reservation.state = ReservationState::Committed;
                for unit in reservation.lines.iter_mut().flat_map(|line| &mut line.units) {
                    unit.place = Place::Committed;
                }
                Ok(moved(Some(ReservationState::Committed), 0))
            }
            Action::Release { reservation_id } => {
                self.check_held(reservation_id)?;
                self.free_all(reservation_id, ReservationState::Released);
                Ok(moved(Some(ReservationState::Released), 0))
            }
            Action::Ship {
                reservation_id,
                lines,
            } => self
                .fulfil(command, reservation_id, lines, Place::Shipped, None)
                .map(|state| moved(Some(state), 0)),
            Action::Cancel {
                reservation_id,
                lines,
            } => self
                .fulfil(command, reservation_id, lines, Place::Cancelled, None)
                .map(|state| moved(Some(state), 0)),
            Action::Return {
                of:
                    ReturnOf::Reservation {
                        reservation_id,
                        lines,
                    },
                disposition,
            } => self
                .fulfil(
                    command,
                    reservation_id,
                    lines,
                    Place::Returned,
                    Some(*disposition),
                )
                .map(|state| moved(Some(state), 0)),
            Action::Return {
                of:
                    ReturnOf::Unreferenced {
                        sku,
                        warehouse,
                        quantity,
                    },
                disposition,
            } => {
                if *quantity < 1 {
                    return invalid();
                }
                let key = (sku.clone(), warehouse.clone());
                self.bring_back(command, &key, *quantity, *disposition);
                Ok(moved(None, 0))
            }
            Action::SetPolicy {
                sku,
                storefront,
                may_borrow,
                max_per_reservation,
                backorder_limit,
                preorder_limit,
                preorder_until_ms,
            } => {
                if *max_per_reservation < 0
                    || *backorder_limit < 0
                    || *preorder_limit < 0
                    || *preorder_until_ms >= 1 << 48
                {
                    return invalid();
                }
                let policy = StockPolicy {
                    may_borrow: *may_borrow,
                    max_per_reservation: *max_per_reservation,
                    backorder_limit: *backorder_limit,
                    preorder_limit: *preorder_limit,
                    preorder_until_ms: *preorder_until_ms,
                };
                self.policies.insert((sku.clone(), storefront.clone()), policy);
                Ok(stocked(None))
            }
            Action::TransferOut { .. } => {
                self.send(command)?;
                Ok(stocked(None))
            }
            Action::TransferIn {
                transfer_id,
                lines,
                disposition,
            } => {
                self.arrive(command, transfer_id, lines, Some(*disposition))?;
                Ok(stocked(None))
            }
            Action::CloseTransfer { transfer_id } => {
                self.arrive(command, transfer_id, &[], None)?;
                Ok(stocked(None))
            }
            Action::ExpectSupply {
                sku,
                warehouse,
                supply_id,
                quantity,
                expected_at_ms,
            } => {
                let key = (sku.clone(), warehouse.clone());
                self.expect(&key, supply_id, *quantity, *expected_at_ms)?;
                Ok(stocked(Some(self.view(&key))))
            }
            Action::Receive { sku, warehouse, .. }
            | Action::Adjust { sku, warehouse, .. }
            | Action::Count { sku, warehouse, .. }
            | Action::MoveBucket { sku, warehouse, .. }
            | Action::AllocatePool { sku, warehouse, .. } => {
                let key = (sku.clone(), warehouse.clone());
                let mut cell = self.cells.get(&key).cloned().unwrap_or_default();
                self.stock(&mut cell, &key, command)?;
                self.cells.insert(key.clone(), cell);
                match &command.action {
                    Action::Receive { quantity, .. } if self.is_seen(&key, command) => {
                        self.note_seen(&key, *quantity);
                    }
                    Action::Adjust { delta, .. } if self.is_seen(&key, command) => {
                        self.note_seen(&key, *delta)
                    }
                    Action::Count { as_of_seq, .. } => self.note_count(&key, *as_of_seq),
                    _ => {}
                }
                if let Action::Receive {
                    quantity,
                    supply_id: Some(supply_id),
                    ..
                } = &command.action
                    && let Some((expected, _)) = self.supplies.get_mut(&(key.clone(), supply_id.clone()))
                {
                    *expected = 0.max(*expected - quantity);
                }
                Ok(stocked(Some(self.view(&key))))
            }
        }
    }
}
