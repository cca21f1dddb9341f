//! Late goods are booked with the movement, and the recount that cancels it when a count has seen it already.

use smallvec::{SmallVec, smallvec};

use crate::{ChangeKind, Refusal, Violation};

use super::{
    cell::{Cell, Deltas, Flow, StepError},
    cell_key::CellKey,
    count::missing,
    stock::{Recording, Step, Stock},
};

impl Stock {
    /// Refuses a position that is not reached yet, or that is older than all that is remembered.
    pub(crate) fn check_as_of(&self, as_of_seq: Option<u64>) -> Result<(), Refusal> {
        let Some(as_of_seq) = as_of_seq else {
            return Ok(());
        };
        let oldest_seq = self.movements.oldest_seq().max(self.late.oldest_seq());
        self.check_position(as_of_seq, oldest_seq)
    }

    /// Refuses a position that is not reached yet, or that is older than the oldest usable one.
    pub(crate) fn check_position(&self, as_of_seq: u64, oldest_seq: u64) -> Result<(), Refusal> {
        let last_seq = self.last_seq;
        if as_of_seq > last_seq {
            return Err(Refusal::PositionInFuture { as_of_seq, last_seq });
        }
        if as_of_seq < oldest_seq {
            return Err(Refusal::PositionTooOld {
                as_of_seq,
                oldest_seq,
            });
        }
        Ok(())
    }

    /// Returns whether a count of the cell has seen goods that moved right after a change.
    pub(crate) fn is_counted_since(&self, cell: CellKey, as_of_seq: Option<u64>) -> bool {
        as_of_seq.is_some_and(|as_of_seq| self.late.last_count(cell) >= Some(as_of_seq))
    }

    /// Refuses goods whose booking does not fit in 64 bits, with or without the recount beside it.
    pub(crate) fn check_goods_fit(
        &self,
        key: Option<CellKey>,
        cell: &Cell,
        deltas: Deltas,
        as_of_seq: Option<u64>,
    ) -> Result<(), Refusal> {
        match key {
            Some(key) if deltas.on_hand != 0 && self.is_counted_since(key, as_of_seq) => {
                let steps: Vec<Deltas> = self
                    .with_recount(cell, deltas)
                    .map(|steps| steps.into_iter().map(|(_, deltas)| deltas).collect())
                    .map_err(|_| Refusal::Overflow)?;
                self.check_fits(cell, &steps)
            }
            _ => self.check_fits(cell, &[deltas]),
        }
    }

    /// Moves goods that a count has already seen. Takes the step and the recount, which takes back the units
    /// that the count found or missed.
    pub(crate) fn step_seen(&mut self, recording: &mut Recording, step: Step<'_>) -> Result<(), Violation> {
        let key = step.cell;
        let cell = self
            .cell(key)
            .ok_or_else(|| Violation(format!("there is no cell {key:?}")))?;
        let steps = self.with_recount(&cell, step.deltas).map_err(|error| {
            Violation(format!(
                "goods cannot be booked late: {error} ({:?})",
                step.deltas
            ))
        })?;
        let cause = step.cause;
        let mut movement = Some(step);
        let steps = steps.into_iter().filter_map(|(is_recount, deltas)| {
            if is_recount {
                Some(Step {
                    kind: ChangeKind::Counted,
                    cell: key,
                    storefront: deltas.pool.map(|(storefront, _)| storefront),
                    deltas,
                    reservation: None,
                    cause,
                })
            } else {
                movement.take()
            }
        });
        let steps = steps.collect();
        self.together(recording, key, steps)
    }

    /// Returns a movement of goods and its recounts, in the order of their changes. In this order no bucket
    /// is ever negative.
    fn with_recount(&self, cell: &Cell, deltas: Deltas) -> Result<SmallVec<[(bool, Deltas); 2]>, StepError> {
        if deltas.on_hand < 0 {
            return Ok(smallvec![(true, found_before(cell, &deltas)), (false, deltas)]);
        }
        if let Some(back) = back(&deltas) {
            return Ok(smallvec![(false, deltas), (true, back)]);
        }
        let mut arrived = cell.clone();
        arrived.step(&deltas, self.storefronts.ranks())?;
        let mut steps = smallvec![(false, deltas)];
        steps.extend(
            missing(&arrived, deltas.on_hand)
                .into_iter()
                .map(|deltas| (true, deltas)),
        );
        Ok(steps)
    }
}

/// Returns the recount for goods that had left before a count. The ledger still had those units, so the count
/// removed as many.
fn found_before(cell: &Cell, leaving: &Deltas) -> Deltas {
    let units = -leaving.on_hand;
    if leaving.committed < 0 {
        // For promised units, the count took sellable units in their place, or raised the deficit.
        return Deltas {
            on_hand: units,
            flow: Some(Flow::Adjusted),
            ..cell.sellable(units)
        };
    }
    Deltas {
        on_hand: units,
        flow: Some(Flow::Adjusted),
        free: -leaving.free,
        ..Deltas::default()
    }
}

/// Returns the recount for arriving goods that a count had already found. None when the goods did not become
/// sellable.
fn back(arriving: &Deltas) -> Option<Deltas> {
    let sellable = arriving.damaged == 0 && arriving.quality_hold == 0;
    sellable.then(|| Deltas {
        on_hand: -arriving.on_hand,
        flow: Some(Flow::Adjusted),
        free: -arriving.free,
        deficit: -arriving.deficit,
        backordered: -arriving.backordered,
        ..Deltas::default()
    })
}
