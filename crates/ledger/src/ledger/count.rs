//! The Count command: a recount, as of the latest change or of an earlier one.
//!
//! Movements of `on_hand` after the named change are added to the counted units. If the sum is more than the
//! ledger knew, the surplus is sellable: it fills a deficit first, then backordered units. If the sum is
//! less, units are taken from free, safety and pools. Units that are then still missing are promised ones, so
//! they raise the deficit. Only a shortage beyond that is taken from damaged and quality hold. So a promise
//! that cannot be kept is never hidden behind goods that cannot be sold.
//!
//! A count changes nothing if the cell was already counted as of a later change, because the later count knew
//! more.

use crate::{ChangeKind, Refusal, Sku, WarehouseId};

use super::{
    cell::{Cell, Deltas, Flow},
    stock::Stock,
    stocking::{Drained, StockPlan, at_least, cell_or_empty},
};

impl Stock {
    pub(crate) fn decide_count<'a>(
        &self,
        sku: &'a Sku,
        warehouse: &'a WarehouseId,
        counted: i64,
        as_of_seq: Option<u64>,
    ) -> Result<StockPlan<'a>, Refusal> {
        at_least("counted", counted, 0)?;
        let moved_since = match as_of_seq {
            Some(seq) => self.moved_since(sku, warehouse, seq)?,
            None => 0,
        };
        let cell = cell_or_empty(self, sku, warehouse);
        if self.is_superseded(sku, warehouse, as_of_seq) {
            return self.plan(
                ChangeKind::Counted,
                sku,
                warehouse,
                &cell,
                vec![Deltas::default()],
            );
        }
        let on_hand = i64::try_from(i128::from(counted) + moved_since).map_err(|_| Refusal::Overflow)?;
        if on_hand < 0 {
            return Err(Refusal::InvalidRequest(format!(
                "counted is {counted}, but {} units have left since then, so more must have been there: count again",
                -moved_since
            )));
        }
        let found = on_hand - cell.on_hand;
        let steps = if found >= 0 {
            vec![Deltas {
                on_hand: found,
                flow: Some(Flow::Adjusted),
                ..cell.sellable(found)
            }]
        } else {
            missing(&cell, -found)
        };
        self.plan(ChangeKind::Counted, sku, warehouse, &cell, steps)
    }

    /// Returns whether the cell was counted as of a later change.
    fn is_superseded(&self, sku: &Sku, warehouse: &WarehouseId, as_of_seq: Option<u64>) -> bool {
        let (Some(as_of_seq), Some((key, _))) = (as_of_seq, self.find(sku, warehouse)) else {
            return false;
        };
        self.late.last_count(key) > Some(as_of_seq)
    }

    fn moved_since(&self, sku: &Sku, warehouse: &WarehouseId, as_of_seq: u64) -> Result<i128, Refusal> {
        let oldest_seq = self.movements.oldest_seq().max(self.late.oldest_count_seq());
        self.check_position(as_of_seq, oldest_seq)?;
        Ok(self
            .find(sku, warehouse)
            .map_or(0, |(key, _)| self.movements.since(as_of_seq, key, &self.late)))
    }
}

/// Returns the steps that remove units which a count did not find.
pub(crate) fn missing(cell: &Cell, units: i64) -> Vec<Deltas> {
    let mut drained = Drained::from(cell, units);
    let deficit = drained.rest.min(cell.shippable());
    let damaged = (drained.rest - deficit).min(cell.damaged);
    let quality_hold = drained.rest - deficit - damaged;
    if let Some(last) = drained.steps.last_mut() {
        last.on_hand -= drained.rest;
        last.deficit = deficit;
        last.damaged = -damaged;
        last.quality_hold = -quality_hold;
    }
    drained.steps
}
