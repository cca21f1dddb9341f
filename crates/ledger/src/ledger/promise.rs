//! The promise: the quantities that can be sold by each date.

use std::collections::BTreeMap;

use crate::{PromiseDate, PromiseView, Sku, StorefrontId};

use super::{Ledger, cell_key::CellKey};

impl Ledger {
    /// Returns the expected arrival of the next goods of a cell. Includes overdue goods.
    pub(crate) fn next_arrival_ms(&self, cell: CellKey) -> Option<u64> {
        self.arrivals(cell).map(|(at_ms, _)| at_ms).min()
    }

    /// Returns the expected arrivals in a cell, each with its time and its units. In no particular order.
    fn arrivals(&self, cell: CellKey) -> impl Iterator<Item = (u64, i64)> {
        let supplies = self.supplies.of(cell);
        let supplied = supplies.map(|(_, supply)| (supply.expected_at_ms, supply.quantity));
        supplied.chain(self.transfers.arriving(cell))
    }

    /// Computes what a storefront can be promised. In each cell, arrivals first serve the units that are owed
    /// there, and after that count as free. So a storefront that may not borrow is promised nothing beyond
    /// its pools.
    pub(crate) fn promise(&self, storefront: &StorefrontId, sku: &Sku, until_ms: u64) -> PromiseView {
        let now_ms = self.log_time_ms;
        let mut view = PromiseView {
            now_ms,
            available_now: 0,
            dates: Vec::new(),
            overdue: 0,
            owed: 0,
        };
        let Some(number) = self.stock.skus.find(sku) else {
            return view;
        };
        let storefront = self.stock.storefronts.find(storefront);
        let policy = self.policies.get(number, storefront);
        // The arriving units and the sellable part of them, by date.
        let mut dates: BTreeMap<u64, (i64, i64)> = BTreeMap::new();
        for cell in self.stock.cells_of(number) {
            let (pooled, free) = self.available(storefront, policy, &cell);
            view.available_now = view.available_now.saturating_add(pooled + free);
            view.owed = view.owed.saturating_add(cell.owed());
            let key = CellKey {
                sku: number,
                warehouse: cell.warehouse,
            };
            let mut arrivals: Vec<(u64, i64)> = self.arrivals(key).collect();
            arrivals.sort_unstable();
            let mut owed = cell.owed();
            for (at_ms, quantity) in arrivals {
                if at_ms <= now_ms {
                    view.overdue = view.overdue.saturating_add(quantity);
                } else if at_ms <= until_ms {
                    let spoken_for = quantity.min(owed);
                    owed -= spoken_for;
                    let sellable = if policy.may_borrow {
                        quantity - spoken_for
                    } else {
                        0
                    };
                    let date = dates.entry(at_ms).or_default();
                    date.0 = date.0.saturating_add(quantity);
                    date.1 = date.1.saturating_add(sellable);
                }
            }
        }
        let mut available = view.available_now;
        for (at_ms, (arriving, sellable)) in dates {
            available = available.saturating_add(sellable);
            view.dates.push(PromiseDate {
                at_ms,
                arriving,
                available,
            });
        }
        view
    }
}
