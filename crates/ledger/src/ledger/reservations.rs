//! All reservations of a shard, and the times at which each is due.

use std::collections::{BTreeMap, BTreeSet};

use crate::{LedgerOptions, OperationId, ReservationId, ReservationState, ShardNumber, Violation};

use super::{packed_reservation::PackedReservation, reservation::Reservation, sorted_map::SortedMap};

/// Reservations by id, packed. The queues and the count follow from them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reservations {
    by_id: SortedMap<ReservationId, PackedReservation>,
    /// The held reservations by the end of their hold.
    holds: SortedMap<(u64, ReservationId), ()>,
    /// The closed reservations by the first time at which they may be forgotten.
    closed: SortedMap<(u64, ReservationId), ()>,
    live: u64,
    /// The prepared reservations by the home of their order. `prepared_units` has their open units by SKU.
    prepared: BTreeMap<ShardNumber, BTreeSet<ReservationId>>,
    prepared_units: BTreeMap<u32, i128>,
}

impl Reservations {
    pub(crate) fn get(&self, id: &ReservationId) -> Option<Reservation> {
        self.by_id.get(id).map(PackedReservation::unpack)
    }

    pub(crate) fn contains(&self, id: &ReservationId) -> bool {
        self.by_id.contains_key(id)
    }

    /// Returns the number of cells in which a reservation has units, open or not. A cell counts once for each
    /// line.
    pub(crate) fn cells(&self, id: &ReservationId) -> Option<usize> {
        self.by_id.get(id).map(PackedReservation::cells)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ReservationId, Reservation)> {
        self.by_id.iter().map(|(id, packed)| (*id, packed.unpack()))
    }

    pub(crate) fn map(&self) -> &SortedMap<ReservationId, PackedReservation> {
        &self.by_id
    }

    pub(crate) fn live(&self) -> u64 {
        self.live
    }

    /// Adds a reservation. No other may have this id.
    pub(crate) fn insert(
        &mut self,
        id: ReservationId,
        reservation: &Reservation,
        options: &LedgerOptions,
    ) -> Result<(), Violation> {
        if self.contains(&id) {
            return Err(Violation(format!(
                "reservation {id} was made and is there already"
            )));
        }
        self.overwrite(id, reservation, options)
    }

    /// Adds a reservation in place of one with the same id, whose units nobody gives back. The first rules
    /// let an order do so.
    pub(crate) fn overwrite(
        &mut self,
        id: ReservationId,
        reservation: &Reservation,
        options: &LedgerOptions,
    ) -> Result<(), Violation> {
        check(&id, reservation)?;
        self.enqueue(id, reservation, options);
        self.by_id.insert(id, PackedReservation::pack(reservation));
        Ok(())
    }

    /// Changes a reservation and updates the queues. Its command must be decided already.
    pub(crate) fn update<R>(
        &mut self,
        id: &ReservationId,
        options: &LedgerOptions,
        change: impl FnOnce(&mut Reservation) -> Result<R, Violation>,
    ) -> Result<R, Violation> {
        let packed = self.by_id.get_mut(id).ok_or_else(|| vanished(id))?;
        let reservation = &mut packed.unpack();
        let before = due(id, reservation, options);
        let was_live = reservation.is_live();
        let was_prepared = reservation.state == ReservationState::Prepared;
        let prepared_units = if was_prepared {
            units_by_sku(reservation)
        } else {
            Vec::new()
        };
        let result = change(reservation)?;
        check(id, reservation)?;
        *packed = PackedReservation::pack(reservation);
        let is_prepared = reservation.state == ReservationState::Prepared;
        let after = due(id, reservation, options);
        if was_live != reservation.is_live() {
            if was_live { self.live -= 1 } else { self.live += 1 }
        }
        if before != after {
            match before {
                Due::Expiry(at) => drop(self.holds.remove(&(at, *id))),
                Due::Forgetting(at) => drop(self.closed.remove(&(at, *id))),
                Due::Never => {}
            }
            self.queue(*id, after);
        }
        if was_prepared && !is_prepared {
            let home = home_of(reservation);
            self.unprepare(id, home, &prepared_units);
        }
        Ok(result)
    }

    /// Returns the reservations that wait for their order's decision, in order, by the order's home.
    pub(crate) fn prepared(
        &self,
    ) -> impl Iterator<Item = impl Iterator<Item = (&ReservationId, Reservation)>> {
        let homes = self.prepared.values();
        homes.map(|ids| ids.iter().filter_map(|id| Some((id, self.get(id)?))))
    }

    pub(crate) fn prepared_count(&self) -> usize {
        self.prepared.values().map(BTreeSet::len).sum()
    }

    /// Returns the number of units of a SKU that wait for a decision.
    pub(crate) fn prepared_units(&self, sku: u32) -> i128 {
        self.prepared_units.get(&sku).copied().unwrap_or(0)
    }

    fn unprepare(&mut self, id: &ReservationId, home: ShardNumber, units: &[(u32, i128)]) {
        if let Some(ids) = self.prepared.get_mut(&home) {
            ids.remove(id);
            if ids.is_empty() {
                self.prepared.remove(&home);
            }
        }
        for (sku, units) in units {
            if let Some(all) = self.prepared_units.get_mut(sku) {
                *all -= units;
                if *all == 0 {
                    self.prepared_units.remove(sku);
                }
            }
        }
    }

    /// Removes a reservation, as if it had never existed.
    pub(crate) fn remove(&mut self, id: &ReservationId, options: &LedgerOptions) {
        let Some(packed) = self.by_id.remove(id) else {
            return;
        };
        let reservation = packed.unpack();
        match due(id, &reservation, options) {
            Due::Expiry(at) => drop(self.holds.remove(&(at, *id))),
            Due::Forgetting(at) => drop(self.closed.remove(&(at, *id))),
            Due::Never => {}
        }
        self.live -= u64::from(reservation.is_live());
        if reservation.state == ReservationState::Prepared {
            self.unprepare(id, home_of(&reservation), &units_by_sku(&reservation));
        }
    }

    /// Returns the hold that ends first.
    pub(crate) fn first_hold(&self) -> Option<(u64, ReservationId)> {
        self.holds.first().map(|(due, ())| *due)
    }

    /// Returns the closed reservation that may be forgotten first.
    pub(crate) fn first_closed(&self) -> Option<(u64, ReservationId)> {
        self.closed.first().map(|(due, ())| *due)
    }

    /// Forgets the closed reservation that is due first.
    pub(crate) fn forget_first(&mut self) -> Option<ReservationId> {
        let ((_, id), ()) = self.closed.pop_first()?;
        self.by_id.remove(&id);
        Some(id)
    }

    pub(crate) fn from_snapshot(
        by_id: SortedMap<ReservationId, PackedReservation>,
        options: &LedgerOptions,
    ) -> Self {
        let mut all = Self::default();
        for (id, packed) in by_id.iter() {
            all.enqueue(*id, &packed.unpack(), options);
        }
        Self { by_id, ..all }
    }

    /// Checks that the queues and the count follow from the reservations.
    pub(crate) fn check(&self, options: &LedgerOptions) -> Result<(), Violation> {
        let mut expected = Self::default();
        for (id, reservation) in self.iter() {
            check(&id, &reservation)?;
            expected.enqueue(id, &reservation, options);
        }
        let same_queues = expected.holds == self.holds && expected.closed == self.closed;
        let same_prepared =
            expected.prepared == self.prepared && expected.prepared_units == self.prepared_units;
        if !same_queues || !same_prepared || expected.live != self.live {
            return Err(Violation(
                "the queues do not follow from the reservations".to_owned(),
            ));
        }
        Ok(())
    }

    fn enqueue(&mut self, id: ReservationId, reservation: &Reservation, options: &LedgerOptions) {
        self.live += u64::from(reservation.is_live());
        if reservation.state == ReservationState::Prepared {
            let ids = self.prepared.entry(home_of(reservation)).or_default();
            ids.insert(id);
            for (sku, units) in units_by_sku(reservation) {
                *self.prepared_units.entry(sku).or_default() += units;
            }
        }
        self.queue(id, due(&id, reservation, options));
    }

    fn queue(&mut self, id: ReservationId, due: Due) {
        match due {
            Due::Expiry(at) => drop(self.holds.insert((at, id), ())),
            Due::Forgetting(at) => drop(self.closed.insert((at, id), ())),
            Due::Never => {}
        }
    }
}

fn check(id: &ReservationId, reservation: &Reservation) -> Result<(), Violation> {
    reservation
        .check()
        .map_err(|error| Violation(format!("reservation {id}: {error}")))
}

pub(crate) fn vanished(id: &ReservationId) -> Violation {
    Violation(format!("reservation {id} was decided upon and is not there"))
}

#[derive(PartialEq, Eq)]
enum Due {
    Expiry(u64),
    Forgetting(u64),
    Never,
}

/// Returns when a reservation is due. A closed one is kept for its retention, and as long as a retry of its
/// Reserve would be answered.
fn due(id: &ReservationId, reservation: &Reservation, options: &LedgerOptions) -> Due {
    let retention_ms = match reservation.state {
        // The home ends the hold of an order (R2), not this shard.
        ReservationState::Held if reservation.order.is_some() => return Due::Never,
        ReservationState::Held => return Due::Expiry(reservation.expires_at_ms),
        ReservationState::Prepared | ReservationState::Committed => return Due::Never,
        ReservationState::Shipped | ReservationState::Returned => options.shipped_retention_ms,
        // A home without units of its committed order must still know the order. A request to ship the units
        // of the other shards asks the home which shards these are.
        ReservationState::Cancelled
            if reservation.order.is_some() && reservation.allocations().next().is_none() =>
        {
            options.shipped_retention_ms
        }
        ReservationState::Released | ReservationState::Expired | ReservationState::Cancelled => {
            options.closed_retention_ms
        }
    };
    Due::Forgetting(kept_until_ms(id, reservation.closed_at_ms, retention_ms, options).saturating_add(1))
}

/// Returns the time until which a closed thing is kept. `id` is the operation that made it.
pub(crate) fn kept_until_ms(
    id: &OperationId,
    closed_at_ms: u64,
    retention_ms: u64,
    options: &LedgerOptions,
) -> u64 {
    let retained_until = closed_at_ms.saturating_add(retention_ms.max(options.operation_window_ms));
    let answerable_until = id.time_ms().saturating_add(options.operation_window_ms);
    retained_until.max(answerable_until)
}

/// Returns the home of a prepared reservation, which is always part of an order.
fn home_of(reservation: &Reservation) -> ShardNumber {
    reservation.home().unwrap_or(ShardNumber::MAX)
}

fn units_by_sku(reservation: &Reservation) -> Vec<(u32, i128)> {
    let of_line = |line: &super::reservation::Line| {
        let units: i128 = line
            .allocations
            .iter()
            .map(|allocation| i128::from(allocation.open))
            .sum();
        (units > 0).then_some((line.sku, units))
    };
    reservation.lines.iter().filter_map(of_line).collect()
}
