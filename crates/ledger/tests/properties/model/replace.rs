//! The model of unique references, and of a hold that takes another one's place.

use holdfast_ledger::*;

use super::{Line, Model, Place, Reservation, Unit, invalid};

/// The units of a hold that go over. Each has its line, its unit, and the place of the new line in the
/// request.
pub(super) type Over = Vec<(usize, usize, usize)>;

fn allows(source: &Source, warehouse: &WarehouseId) -> Option<usize> {
    match source {
        Source::Any => Some(0),
        Source::Warehouse(only) => (only == warehouse).then_some(0),
        Source::Preference(list) => list.iter().position(|listed| listed == warehouse),
    }
}

/// One line and warehouse of the old hold, with the units that are left, and the new lines that the other
/// units go to.
type Left = (usize, WarehouseId, i64, Vec<(usize, i64)>);

impl Model {
    /// Returns another hold or commit of the storefront that has the reference to itself.
    pub(crate) fn holder(&self, storefront: &StorefrontId, reference: &Reference) -> Option<ReservationId> {
        let ended = [ReservationState::Released, ReservationState::Expired];
        let mut all = self.reservations.iter().filter(|(_, other)| {
            other.is_unique
                && other.storefront == *storefront
                && other.reference == *reference
                && !ended.contains(&other.state)
        });
        let first = all.next().map(|(id, _)| *id);
        assert_eq!(
            all.next().map(|(id, _)| *id),
            None,
            "{reference:?} of {storefront:?} has two"
        );
        first
    }

    pub(super) fn check_alone(&self, command: &Command, storefront: &StorefrontId) -> Result<(), Refusal> {
        if !command.details.unique_reference {
            return Ok(());
        }
        if command.reference == Reference::default() {
            return invalid();
        }
        match self.holder(storefront, &command.reference) {
            Some(reservation_id) if command.details.replaces != Some(reservation_id) => {
                Err(Refusal::ReferenceTaken { reservation_id })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn replaced(
        &self,
        command: &Command,
        storefront: &StorefrontId,
    ) -> Result<Option<Reservation>, Refusal> {
        let Some(id) = command.details.replaces else {
            return Ok(None);
        };
        let is_of_another = |old: &Reservation| old.storefront != *storefront;
        if self.reservations.get(&id).is_some_and(is_of_another) {
            return Err(Refusal::UnknownReservation);
        }
        self.check_held(&id)?;
        Ok(Some(self.reservations[&id].clone()))
    }

    /// Returns the units that go over. Lines that name one warehouse choose first, then lines that name
    /// several. Each takes from its allowed warehouses in the order of its list, or else in the order of the
    /// old hold. `wanted` are the lines of the request, added up.
    pub(super) fn over(&self, old: &Reservation, wanted: &[(usize, ReserveLine)]) -> Over {
        // For each line and warehouse of the old hold: the new lines that its units go to, and how many go to
        // each.
        let mut left: Vec<Left> = Vec::new();
        for (number, line) in old.lines.iter().enumerate() {
            for warehouse in line.warehouses() {
                let here = line.units.iter().filter(|unit| unit.warehouse == warehouse);
                let count = here.count() as i64;
                left.push((number, warehouse, count, Vec::new()));
            }
        }
        for precision in 0..3 {
            for (place, line) in wanted {
                let of_line = match line.source {
                    Source::Warehouse(_) => 0,
                    Source::Preference(_) => 1,
                    Source::Any => 2,
                };
                if of_line != precision {
                    continue;
                }
                let mut open = line.quantity;
                let mut parts: Vec<_> = left
                    .iter_mut()
                    .filter(|(number, ..)| old.lines[*number].sku == line.sku)
                    .filter_map(|part| Some((allows(&line.source, &part.1)?, part)))
                    .collect();
                parts.sort_by_key(|(rank, _)| *rank);
                for (_, (.., there, goes)) in parts {
                    let units = open.min(*there);
                    *there -= units;
                    open -= units;
                    goes.push((*place, units));
                }
            }
        }
        let mut over = Over::new();
        for (number, warehouse, _, mut goes) in left {
            // The first new line gets the units that were taken first. The units taken last are given back.
            goes.sort();
            let to = goes
                .iter()
                .flat_map(|(place, units)| (0..*units).map(move |_| *place));
            let units = old.lines[number].units.iter().enumerate();
            let here = units.filter(|(_, unit)| unit.warehouse == warehouse);
            over.extend(here.zip(to).map(|((unit, _), place)| (number, unit, place)));
        }
        over
    }

    /// Gives back the units that do not go over, and then ends the old hold.
    pub(super) fn end_replaced(&mut self, id: &ReservationId, over: &Over) {
        let lines = self.reservations[id].lines.len();
        for line in 0..lines {
            for unit in (0..self.reservations[id].lines[line].units.len()).rev() {
                if !over.iter().any(|(of, kept, _)| (*of, *kept) == (line, unit)) {
                    self.give_back(id, line, unit, Place::Released);
                }
            }
        }
        let now_ms = self.now_ms;
        let old = self.reservations.get_mut(id).unwrap();
        old.state = ReservationState::Released;
        old.closed_at_ms = now_ms;
        for unit in old.lines.iter_mut().flat_map(|line| &mut line.units) {
            unit.place = Place::Released;
        }
    }
}

/// Returns the units of an old hold that go over to a line, with the reasons for their warehouses.
pub(super) fn kept_by(old: &Reservation, over: &Over, place: usize) -> Line {
    let first = &old.lines[0];
    let mut kept = Line {
        number: place as u32,
        sku: first.sku.clone(),
        requested: 0,
        units: Vec::new(),
        reasons: Default::default(),
    };
    for (number, unit, _) in over.iter().filter(|(.., to)| *to == place) {
        let line = &old.lines[*number];
        let unit: &Unit = &line.units[*unit];
        let reason = line.reasons[&unit.warehouse];
        kept.reasons.entry(unit.warehouse.clone()).or_insert(reason);
        kept.units.push(unit.clone());
    }
    kept
}

/// Sorts the units of a line by their warehouses, in the order in which these were first named, and then by
/// their origin. Units of a pool go back last.
pub(super) fn in_order(line: &mut Line) {
    let warehouses = line.warehouses();
    line.units.sort_by_key(|unit| {
        let place = warehouses
            .iter()
            .position(|warehouse| *warehouse == unit.warehouse);
        (place, unit.origin)
    });
}
