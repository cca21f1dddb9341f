//! The choice of warehouses for the lines of a Reserve, with its reasons.
//!
//! In one warehouse, the storefront's pool is taken first, and then free if the stock policy lets it borrow.
//! If no warehouse that may be chosen has any left, the stock policy may let the rest be backordered. The
//! backorder goes to the line's only or first warehouse, or, with any source, to the one where its next
//! supply is expected.
//!
//! The choice of the fewest shipments is greedy, not optimal. It ranks warehouses by how much of the missing
//! units each would complete, and every line then takes in that order. It treats each line as if it were
//! alone in a cell.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use smallvec::SmallVec;

use crate::{Source, Sourcing, SourcingReason, WarehouseId};

use super::{
    Ledger,
    cell::Cell,
    cell_key::CellKey,
    policies::StockPolicy,
    takes::{Take, Takes},
};

/// The most warehouses that are ranked for one request. Units that they do not have are taken where the most
/// are.
const MAX_RANKED: usize = 64;

/// The units that earlier lines of the same request took. Empty for the first line.
#[derive(Default)]
pub(crate) struct Taken {
    cells: BTreeMap<CellKey, CellTaken>,
    skus: BTreeMap<u32, SkuTaken>,
}

#[derive(Clone, Copy, Default)]
struct CellTaken {
    from_pool: i64,
    from_free: i64,
    from_backorder: i64,
}

#[derive(Clone, Copy, Default)]
struct SkuTaken {
    units: i64,
    backordered: i64,
}

/// The storefront that looks for stock, and the log time at which it does.
pub(crate) struct Buyer {
    pub(crate) storefront: Option<u16>,
    pub(crate) policy: StockPolicy,
    pub(crate) now_ms: u64,
}

/// One line that wants units.
pub(crate) struct Wish<'a> {
    pub(crate) sku: u32,
    pub(crate) source: &'a Source,
    pub(crate) requested: i64,
}

/// The ranking of warehouses, by which each line tries them.
pub(crate) enum Ranking {
    AsGiven,
    MostFirst,
    /// Tries these warehouses first.
    Ranked(Vec<u16>),
}

impl Taken {
    pub(crate) fn add(&mut self, sku: u32, takes: &[Take]) {
        for take in takes {
            let key = CellKey {
                sku,
                warehouse: take.warehouse,
            };
            let cell = self.cells.entry(key).or_default();
            cell.from_pool += take.from_pool;
            cell.from_free += take.from_free;
            cell.from_backorder += take.from_backorder;
            let of_sku = self.skus.entry(sku).or_default();
            of_sku.units = of_sku.units.saturating_add(take.units());
            of_sku.backordered = of_sku.backordered.saturating_add(take.from_backorder);
        }
    }

    /// Counts units that a line has already. They are not part of the cells' offers.
    pub(crate) fn keep(&mut self, sku: u32, units: i64) {
        let of_sku = self.skus.entry(sku).or_default();
        of_sku.units = of_sku.units.saturating_add(units);
    }

    fn cell(&self, key: CellKey) -> CellTaken {
        if self.cells.is_empty() {
            return CellTaken::default();
        }
        self.cells.get(&key).copied().unwrap_or_default()
    }

    fn sku(&self, sku: u32) -> SkuTaken {
        self.skus.get(&sku).copied().unwrap_or_default()
    }
}

impl Ledger {
    /// Returns the units that a line takes, and the number that it could have had (at most the largest i64).
    pub(crate) fn take(
        &self,
        buyer: &Buyer,
        wish: &Wish<'_>,
        ranking: &Ranking,
        taken: &Taken,
    ) -> (Takes, i64) {
        // The units kept of a replaced hold may exceed what the stock policy allows by this time.
        let left_by_policy = buyer
            .policy
            .most()
            .saturating_sub(taken.sku(wish.sku).units)
            .max(0);
        let wanted = wish.requested.min(left_by_policy);
        let mut offers = self.offers(buyer, wish, taken);
        let stocked = offers
            .iter()
            .fold(0_i64, |sum, offer| sum.saturating_add(offer.units()));
        arrange(&mut offers, wish.source, ranking, wanted);
        let mut missing = wanted;
        let mut takes = Takes::new();
        for offer in offers {
            if missing == 0 {
                break;
            }
            let from_pool = offer.from_pool.min(missing);
            let from_free = offer.from_free.min(missing - from_pool);
            missing -= from_pool + from_free;
            takes.push(Take {
                from_pool,
                from_free,
                ..offer
            });
        }
        let mut available = stocked;
        if available < wish.requested && buyer.policy.may_backorder(buyer.now_ms) {
            available = available.saturating_add(self.backorder(buyer, wish, missing, taken, &mut takes));
        }
        (takes, available.min(left_by_policy))
    }

    /// Returns the units that each warehouse has for a line, by name or in the order of the list. Skips
    /// warehouses that may not be chosen or have nothing.
    fn offers(&self, buyer: &Buyer, wish: &Wish<'_>, taken: &Taken) -> SmallVec<[Take; 8]> {
        let offer = |cell: Cell| self.offer(buyer, wish.sku, &cell, taken);
        match wish.source {
            Source::Any => self.stock.cells_of(wish.sku).filter_map(offer).collect(),
            Source::Warehouse(only) => self
                .named_cell(wish.sku, only)
                .and_then(offer)
                .into_iter()
                .collect(),
            Source::Preference(list) => {
                let cells = self.preferred_cells(wish.sku, list);
                cells.into_iter().filter_map(offer).collect()
            }
        }
    }

    /// Returns the cells of a SKU that a list names, in the order of the list. Iterates over the SKU's cells
    /// once.
    fn preferred_cells(&self, sku: u32, list: &[WarehouseId]) -> SmallVec<[Cell; 4]> {
        let named = list.iter().filter_map(|name| self.stock.warehouses.find(name));
        let mut places: SmallVec<[(u16, usize); 64]> =
            named.enumerate().map(|(place, number)| (number, place)).collect();
        places.sort_unstable();
        let place = |warehouse: u16| {
            let at = places
                .binary_search_by_key(&warehouse, |(number, _)| *number)
                .ok()?;
            Some(places[at].1)
        };
        let Some(cells) = self.stock.cells.get(sku as usize) else {
            return SmallVec::new();
        };
        let mut found: SmallVec<[(usize, Cell); 4]> = cells.select(place).collect();
        found.sort_unstable_by_key(|(place, _)| *place);
        found.into_iter().map(|(_, cell)| cell).collect()
    }

    fn named_cell(&self, sku: u32, warehouse: &WarehouseId) -> Option<Cell> {
        let warehouse = self.stock.warehouses.find(warehouse)?;
        self.stock.cell(CellKey { sku, warehouse })
    }

    /// Returns the units that a cell has for the buyer. None when it has nothing.
    fn offer(&self, buyer: &Buyer, sku: u32, cell: &Cell, taken: &Taken) -> Option<Take> {
        let (pooled, free) = self.available(buyer.storefront, buyer.policy, cell);
        let before = taken.cell(CellKey {
            sku,
            warehouse: cell.warehouse,
        });
        let (from_pool, from_free) = (pooled - before.from_pool, free - before.from_free);
        (from_pool + from_free > 0).then_some(Take {
            warehouse: cell.warehouse,
            from_pool,
            from_free,
            from_backorder: 0,
            reason: SourcingReason::SpillOver,
        })
    }

    /// Returns the units of a cell that a storefront could have: from its pool, and from free.
    pub(crate) fn available(&self, storefront: Option<u16>, policy: StockPolicy, cell: &Cell) -> (i64, i64) {
        let ranks = self.stock.storefronts.ranks();
        let from_pool = storefront.map_or(0, |storefront| cell.pool(storefront, ranks));
        (from_pool, if policy.may_borrow { cell.free } else { 0 })
    }

    /// Backorders up to `missing` units in one cell. Returns the number of units that it could have been.
    fn backorder(
        &self,
        buyer: &Buyer,
        wish: &Wish<'_>,
        missing: i64,
        taken: &Taken,
        takes: &mut Takes,
    ) -> i64 {
        let Some(cell) = self.backorder_cell(wish) else {
            return 0;
        };
        let warehouse = cell.warehouse;
        let before = taken.cell(CellKey {
            sku: wish.sku,
            warehouse,
        });
        let room = (i64::MAX - cell.promisable()).saturating_sub(before.from_backorder);
        let by_policy = self.backorder_room(wish.sku, buyer.policy, buyer.now_ms);
        let possible = room
            .min(by_policy.saturating_sub(taken.sku(wish.sku).backordered))
            .max(0);
        let from_backorder = missing.min(possible);
        match takes.iter().position(|take| take.warehouse == warehouse) {
            _ if from_backorder == 0 => {}
            Some(at) => takes[at].from_backorder = from_backorder,
            None => takes.push(Take {
                warehouse,
                from_pool: 0,
                from_free: 0,
                from_backorder,
                reason: SourcingReason::Backordered,
            }),
        }
        possible
    }

    /// Returns the cell in which a line waits for missing units. The ledger must know the cell, by stock or
    /// by an expected supply.
    fn backorder_cell(&self, wish: &Wish<'_>) -> Option<Cell> {
        match wish.source {
            Source::Any => {
                let next_arrival = |cell: &Cell| {
                    let key = CellKey {
                        sku: wish.sku,
                        warehouse: cell.warehouse,
                    };
                    self.next_arrival_ms(key).unwrap_or(u64::MAX)
                };
                self.stock.cells_of(wish.sku).min_by_key(next_arrival)
            }
            Source::Warehouse(only) => self.named_cell(wish.sku, only),
            Source::Preference(list) => list.iter().find_map(|name| self.named_cell(wish.sku, name)),
        }
    }

    /// Returns how many more units of a SKU a stock policy allows to be backordered at a log time.
    pub(crate) fn backorder_room(&self, sku: u32, policy: StockPolicy, now_ms: u64) -> i64 {
        if !policy.may_backorder(now_ms) {
            return 0;
        }
        let cells = self.stock.cells_of(sku);
        let backordered = cells.fold(0_i64, |sum, cell| sum.saturating_add(cell.backordered));
        policy
            .backorder_limit_at(now_ms)
            .saturating_sub(backordered)
            .max(0)
    }

    /// Returns the ranking by which the lines of a request try their warehouses.
    pub(crate) fn ranking<'a>(
        &self,
        sourcing: Sourcing,
        wishes: impl FnOnce() -> Vec<(Buyer, Wish<'a>)>,
    ) -> Ranking {
        match sourcing {
            Sourcing::AsGiven => Ranking::AsGiven,
            Sourcing::Balance => Ranking::MostFirst,
            Sourcing::FewestShipments => Ranking::Ranked(self.rank(&wishes())),
        }
    }

    fn rank(&self, wishes: &[(Buyer, Wish<'_>)]) -> Vec<u16> {
        let nothing = Taken::default();
        let mut missing: Vec<i64> = Vec::with_capacity(wishes.len());
        // The lines for which each warehouse has units, and how many, by the rank of the warehouse's name.
        let mut offers: BTreeMap<u16, Vec<(usize, i64)>> = BTreeMap::new();
        let mut insisted: BTreeSet<u16> = BTreeSet::new();
        for (line, (buyer, wish)) in wishes.iter().enumerate() {
            missing.push(wish.requested.min(buyer.policy.most()));
            for offer in self.offers(buyer, wish, &nothing) {
                let name = self.stock.warehouses.rank(offer.warehouse);
                offers.entry(name).or_default().push((line, offer.units()));
                if matches!(wish.source, Source::Warehouse(_)) {
                    insisted.insert(name);
                }
            }
        }
        let mut ranked = Vec::new();
        while ranked.len() < MAX_RANKED {
            let gain = |(name, offered): (&u16, &Vec<(usize, i64)>)| {
                let wanted = offered.iter().filter(|(line, _)| missing[*line] > 0);
                let (mut completed, mut units) = (0_usize, 0_i64);
                for (line, there) in wanted {
                    completed += usize::from(*there >= missing[*line]);
                    units = units.saturating_add(missing[*line].min(*there));
                }
                (units > 0).then_some((completed, units, Reverse(*name)))
            };
            let next = match insisted.pop_first() {
                Some(name) => name,
                None => match offers.iter().filter_map(gain).max() {
                    Some((_, _, Reverse(name))) => name,
                    None => break,
                },
            };
            for (line, there) in offers.remove(&next).unwrap_or_default() {
                missing[line] -= there.min(missing[line]);
            }
            ranked.push(self.stock.warehouses.at_rank(next));
        }
        ranked
    }
}

/// Sorts offers into the order in which they are taken, and sets the reason of the first.
fn arrange(offers: &mut [Take], source: &Source, ranking: &Ranking, wanted: i64) {
    let reason = match (source, ranking) {
        (Source::Warehouse(_), _) => SourcingReason::OnlySource,
        (Source::Preference(_), Ranking::AsGiven) => SourcingReason::Preferred,
        (Source::Any, Ranking::AsGiven) => match offers.iter().position(|offer| offer.units() >= wanted) {
            Some(first) => {
                offers.swap(0, first);
                SourcingReason::FirstFillingAll
            }
            None => most_first(offers),
        },
        (_, Ranking::MostFirst) => most_first(offers),
        (_, Ranking::Ranked(ranked)) => {
            let place = |offer: &Take| ranked.iter().position(|warehouse| *warehouse == offer.warehouse);
            offers.sort_by_cached_key(|offer| (place(offer).unwrap_or(usize::MAX), Reverse(offer.units())));
            for offer in offers.iter_mut().filter(|offer| place(offer).is_some()) {
                offer.reason = SourcingReason::FewestShipments;
            }
            return;
        }
    };
    if let Some(first) = offers.first_mut() {
        first.reason = reason;
    }
}

/// Sorts offers by their units, most first. The sort is stable, so equals stay in order of name or of the
/// list.
fn most_first(offers: &mut [Take]) -> SourcingReason {
    offers.sort_by_key(|offer| Reverse(offer.units()));
    SourcingReason::MostAvailable
}
