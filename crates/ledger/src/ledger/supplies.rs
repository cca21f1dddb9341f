//! The supplies that are expected: units of a cell that should arrive from outside, with their supply and
//! time.
//!
//! An expectation moves no units. A Receive that names its supply reduces it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ChangeKind, Refusal, Sku, SupplyEffect, SupplyId, SupplyView, WarehouseId};

use super::{
    Ledger,
    cell::Deltas,
    cell_key::CellKey,
    stocking::{StockPlan, at_least, cell_or_empty, check_time},
    supply::{Supply, SupplyStep},
};
use crate::limits::MAX_48_BITS;

/// The most supplies that one cell expects.
const MAX_SUPPLIES: usize = 1024;

/// Supplies that still expect units, by cell.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Supplies(BTreeMap<CellKey, BTreeMap<SupplyId, Supply>>);

impl Supplies {
    /// Returns the supplies of a cell in order of their names.
    pub(crate) fn of(&self, cell: CellKey) -> impl Iterator<Item = (&SupplyId, &Supply)> {
        self.0.get(&cell).into_iter().flatten()
    }

    /// Applies the step and returns the supply afterwards. None when units were received that nobody
    /// expected.
    pub(crate) fn take(&mut self, cell: CellKey, step: SupplyStep<'_>) -> Option<SupplyEffect> {
        let (supply_id, after) = match step {
            SupplyStep::Expect(supply_id, supply) => (supply_id, supply),
            SupplyStep::Receive(supply_id, received) => {
                let before = self.0.get(&cell)?.get(supply_id)?;
                let quantity = before.quantity.saturating_sub(received).max(0);
                (supply_id, Supply { quantity, ..*before })
            }
        };
        let of_cell = self.0.entry(cell).or_default();
        if after.quantity > 0 {
            of_cell.insert(supply_id.clone(), after);
        } else {
            of_cell.remove(supply_id);
        }
        if of_cell.is_empty() {
            self.0.remove(&cell);
        }
        Some(SupplyEffect {
            supply_id: supply_id.clone(),
            quantity: after.quantity,
            expected_at_ms: after.expected_at_ms,
        })
    }

    pub(crate) fn check(&self, known: impl Fn(CellKey) -> bool) -> Result<(), String> {
        for (cell, supplies) in &self.0 {
            let possible = |supply: &Supply| supply.quantity > 0 && supply.expected_at_ms <= MAX_48_BITS;
            let right = known(*cell)
                && (1..=MAX_SUPPLIES).contains(&supplies.len())
                && supplies.values().all(possible);
            if !right {
                return Err(format!("supplies that cannot be: {supplies:?} for {cell:?}"));
            }
        }
        Ok(())
    }
}

impl Ledger {
    pub(crate) fn decide_expect_supply<'a>(
        &self,
        sku: &'a Sku,
        warehouse: &'a WarehouseId,
        supply_id: &'a SupplyId,
        supply: Supply,
    ) -> Result<StockPlan<'a>, Refusal> {
        at_least("quantity", supply.quantity, 0)?;
        check_time("expected_at_ms", supply.expected_at_ms)?;
        if let Some((key, _)) = self.stock.find(sku, warehouse) {
            let others = self.supplies.of(key).filter(|(other, _)| *other != supply_id);
            if supply.quantity > 0 && others.count() >= MAX_SUPPLIES {
                return Err(Refusal::LimitReached {
                    what: "expected supplies of a cell".to_owned(),
                    limit: MAX_SUPPLIES as u64,
                });
            }
        }
        let cell = cell_or_empty(&self.stock, sku, warehouse);
        let nothing = vec![Deltas::default()];
        let plan = self
            .stock
            .plan(ChangeKind::SupplyExpected, sku, warehouse, &cell, nothing)?;
        Ok(StockPlan {
            supply: Some(SupplyStep::Expect(supply_id, supply)),
            ..plan
        })
    }

    pub(crate) fn supplies(&self, sku: &Sku, warehouse: Option<&WarehouseId>) -> Vec<SupplyView> {
        let Some(number) = self.stock.skus.find(sku) else {
            return Vec::new();
        };
        let only = match warehouse {
            None => None,
            Some(name) => match self.stock.warehouses.find(name) {
                Some(number) => Some(number),
                None => return Vec::new(),
            },
        };
        let cells = self.stock.cells_of(number);
        let cells = cells.filter(|cell| only.is_none_or(|only| only == cell.warehouse));
        cells
            .flat_map(|cell| {
                let key = CellKey {
                    sku: number,
                    warehouse: cell.warehouse,
                };
                self.supplies.of(key).map(move |(supply_id, supply)| SupplyView {
                    warehouse: self.stock.warehouses.name(key.warehouse).clone(),
                    supply_id: supply_id.clone(),
                    quantity: supply.quantity,
                    expected_at_ms: supply.expected_at_ms,
                })
            })
            .collect()
    }
}
