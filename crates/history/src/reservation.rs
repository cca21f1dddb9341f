//! One reservation, with each of its units in one place.

use std::collections::BTreeMap;

use holdfast_api::v1::{self, Bucket, Change, ReservationEffect, ReservationState};

use crate::image::{Image, Unmoved, bucket};
use crate::reading::Subject;

/// The part of one reservation in one shard.
#[derive(Debug, Clone)]
pub struct Reservation {
    id: Vec<u8>,
    told: Option<v1::Reservation>,
    /// The shard that decides on an order over several shards; None for other orders.
    home: Option<u32>,
    /// The units by line and warehouse.
    allocations: BTreeMap<(u32, String), AllocatedUnits>,
    /// The cells that it touched, by SKU and warehouse, followed from then on.
    cells: BTreeMap<(String, String), Image>,
}

/// The units of one line from one warehouse.
#[derive(Debug, Clone, Copy, Default)]
struct AllocatedUnits {
    held: i64,
    committed: i64,
    shipped: i64,
    returned: i64,
}

/// The moves of the buckets that show where a reservation's units are.
#[derive(Debug, Clone, Copy, Default)]
struct Moved {
    held: i64,
    committed: i64,
    on_hand: i64,
    pool: i64,
    free: i64,
    backordered: i64,
}

impl Reservation {
    /// Begins with a reservation before its first change, by the 16 bytes of its id.
    pub fn new(id: impl Into<Vec<u8>>) -> Self {
        Self {
            id: id.into(),
            told: None,
            home: None,
            allocations: BTreeMap::new(),
            cells: BTreeMap::new(),
        }
    }

    /// Returns the reservation; `None` while the shard has had no line of it. A line that got nothing (best
    /// effort) has no change, so it is missing. An attempt that failed is shown as released, until the next
    /// attempt begins anew.
    pub fn reservation(&self) -> Option<&v1::Reservation> {
        self.told.as_ref()
    }

    /// Returns the shard that decides on the order, if it is over several shards.
    pub fn home(&self) -> Option<u32> {
        self.home
    }

    fn move_units(&mut self, change: &Change, effect: &ReservationEffect) -> Result<(), String> {
        let moved = Moved::of(change)?;
        let units = moved.units();
        if units == 0 {
            return Ok(());
        }
        if effect.quantity != units {
            return Err(format!(
                "the change names {} units, and {units} moved",
                effect.quantity
            ));
        }
        let (Some(told), line) = (&mut self.told, effect.line) else {
            return Ok(());
        };
        let at = match told.lines.binary_search_by_key(&line, |known| known.line) {
            Ok(at) => at,
            Err(at) => {
                let new = v1::ReservationLine {
                    line,
                    sku: change.sku.clone(),
                    requested: effect.requested,
                    ..v1::ReservationLine::default()
                };
                told.lines.insert(at, new);
                at
            }
        };
        let of_line = &mut told.lines[at];
        let allocation = self
            .allocations
            .entry((line, change.warehouse.clone()))
            .or_default();
        moved.apply(change, of_line, allocation);
        let below_zero = [
            allocation.held,
            allocation.committed,
            allocation.shipped,
            allocation.returned,
        ];
        if below_zero.iter().any(|units| *units < 0) || allocation.returned > allocation.shipped {
            return Err(format!("line {line} does not have {units} units there to move"));
        }
        if of_line.sku != change.sku || of_line.requested != effect.requested {
            return Err(format!("line {line} is of another SKU or size than before"));
        }
        if of_line.granted > of_line.requested {
            let (granted, requested) = (of_line.granted, of_line.requested);
            return Err(format!("line {line} asked for {requested} and got {granted}"));
        }
        Ok(())
    }
}

impl Subject for Reservation {
    fn apply(&mut self, change: &Change) -> Result<bool, String> {
        let effect = change.reservation.as_ref();
        let effect = effect.filter(|effect| effect.reservation_id == self.id.as_slice());
        let cell = (change.sku.clone(), change.warehouse.clone());
        let touches = effect.is_some() && !change.moves.is_empty();
        match self.cells.get_mut(&cell) {
            Some(image) => image.apply(change, Unmoved::Unknown)?,
            None if touches => self
                .cells
                .entry(cell)
                .or_default()
                .apply(change, Unmoved::Unknown)?,
            None => {}
        }
        let Some(effect) = effect else { return Ok(false) };
        let state = match ReservationState::try_from(effect.state) {
            Ok(ReservationState::Unspecified) | Err(_) => {
                return Err(format!(
                    "this version does not know state {}: a newer version wrote the change",
                    effect.state
                ));
            }
            Ok(state) => state,
        };
        let before = self.told.as_ref().map(v1::Reservation::state);
        if state == ReservationState::Prepared && before != Some(state) {
            self.told = None;
            self.allocations.clear();
        }
        self.home = effect.home;
        let told = self.told.get_or_insert_with(|| v1::Reservation {
            reservation_id: effect.reservation_id.clone(),
            storefront: change.storefront.clone(),
            state: effect.state,
            created_at_ms: change.log_time_ms,
            expires_at_ms: effect.expires_at_ms,
            reference: change
                .cause
                .as_ref()
                .map(|cause| cause.reference.clone())
                .unwrap_or_default(),
            lines: Vec::new(),
            shard: change.shard,
        });
        told.state = effect.state;
        told.expires_at_ms = effect.expires_at_ms;
        self.move_units(change, effect)?;
        Ok(true)
    }
}

impl Moved {
    fn of(change: &Change) -> Result<Self, String> {
        let mut moved = Self::default();
        for one in &change.moves {
            match bucket(one)? {
                Bucket::Held => moved.held = one.delta,
                Bucket::Committed => moved.committed = one.delta,
                Bucket::OnHand => moved.on_hand = one.delta,
                Bucket::Pool => moved.pool = one.delta,
                Bucket::Free => moved.free = one.delta,
                Bucket::Backordered => moved.backordered = one.delta,
                _ => {}
            }
        }
        Ok(moved)
    }

    /// Returns how many of the reservation's units moved.
    fn units(self) -> i64 {
        let most = self.held.unsigned_abs().max(self.committed.unsigned_abs());
        let units = if most == 0 {
            self.on_hand.unsigned_abs()
        } else {
            most
        };
        i64::try_from(units).unwrap_or(i64::MAX)
    }

    /// Moves the units. Sums that do not fit are left for the checks to find.
    fn apply(self, change: &Change, line: &mut v1::ReservationLine, allocation: &mut AllocatedUnits) {
        let add = |sum: &mut i64, units: i64| *sum = sum.saturating_add(units);
        for (of_warehouse, of_line, delta) in [
            (&mut allocation.held, &mut line.held, self.held),
            (&mut allocation.committed, &mut line.committed, self.committed),
        ] {
            add(of_warehouse, delta);
            add(of_line, delta);
        }
        let units = self.units();
        match (self.held.signum(), self.committed.signum(), self.on_hand.signum()) {
            (1, 0, _) => {
                add(&mut line.granted, units);
                line.allocations.push(v1::Allocation {
                    warehouse: change.warehouse.clone(),
                    from_pool: self.pool.saturating_neg(),
                    from_free: self.free.saturating_neg(),
                    from_backorder: self.backordered,
                    reason: change.reservation.as_ref().map_or(0, |effect| effect.sourcing),
                });
            }
            (-1, 0, _) => add(&mut line.released, units),
            (0, -1, 0) => add(&mut line.cancelled, units),
            (0, -1, _) => {
                add(&mut allocation.shipped, units);
                add(&mut line.shipped, units);
            }
            (0, 0, 1) => {
                add(&mut allocation.returned, units);
                add(&mut line.returned, units);
            }
            // Held units became committed; the sums above are complete.
            _ => {}
        }
    }
}
