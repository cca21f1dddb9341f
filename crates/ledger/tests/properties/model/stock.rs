//! The model of commands on one cell, and of the cell itself.

use holdfast_ledger::*;

use super::{Cell, Key, Model, Place, invalid, short};

impl Model {
    pub(super) fn stock(&self, cell: &mut Cell, key: &Key, command: &Command) -> Result<(), Refusal> {
        match &command.action {
            Action::Receive { quantity, .. } => {
                if *quantity < 1 {
                    return invalid();
                }
                if !self.is_seen(key, command) {
                    cell.on_hand += quantity;
                    cell.sell(*quantity);
                }
            }
            Action::Adjust { delta, .. } => {
                if *delta == 0 || command.reason.as_str().is_empty() {
                    return invalid();
                }
                if self.is_seen(key, command) {
                    return Ok(());
                }
                let sellable = cell.free + cell.safety + cell.pools.values().sum::<i64>();
                if -delta > sellable {
                    return short(&key.0, -delta, sellable);
                }
                cell.on_hand += delta;
                if *delta > 0 {
                    cell.sell(*delta);
                } else {
                    for _ in 0..-delta {
                        cell.lose_sellable();
                    }
                }
            }
            Action::Count {
                counted, as_of_seq, ..
            } => {
                if *counted < 0 {
                    return invalid();
                }
                let Some(found) = self.correction(key, *counted, *as_of_seq)? else {
                    return Ok(());
                };
                let promised = self.promised(key, Place::Held) + self.promised(key, Place::Committed);
                for _ in 0..found {
                    cell.on_hand += 1;
                    cell.sell(1);
                }
                for _ in 0..-found {
                    cell.lose(promised);
                }
            }
            Action::MoveBucket {
                from, to, quantity, ..
            } => {
                let places = [Bucket::Free, Bucket::Safety, Bucket::Damaged, Bucket::QualityHold];
                if *quantity < 1 || from == to || !places.contains(from) || !places.contains(to) {
                    return invalid();
                }
                let there = *cell.bucket(*from);
                if there < *quantity {
                    return short(&key.0, *quantity, there);
                }
                for _ in 0..*quantity {
                    *cell.bucket(*from) -= 1;
                    if *to == Bucket::Free {
                        cell.sell(1);
                    } else if *to == Bucket::Safety && cell.deficit > 0 {
                        cell.deficit -= 1;
                    } else {
                        *cell.bucket(*to) += 1;
                    }
                }
            }
            Action::AllocatePool {
                storefront, target, ..
            } => {
                if *target < 0 {
                    return invalid();
                }
                let pool = cell.pools.entry(storefront.clone()).or_default();
                if *target > *pool + cell.free {
                    return short(&key.0, *target, *pool + cell.free);
                }
                let gains = *target - *pool;
                *pool = *target;
                if gains > 0 {
                    cell.free -= gains;
                } else {
                    cell.sell(-gains);
                }
            }
            other => panic!("{other:?} is not about one cell"),
        }
        Ok(())
    }
}

impl Cell {
    pub(super) fn sell(&mut self, quantity: i64) {
        for _ in 0..quantity {
            if self.deficit > 0 {
                self.deficit -= 1
            } else if self.backordered > 0 {
                self.backordered -= 1
            } else {
                self.free += 1
            }
        }
    }

    pub(super) fn bring_back(&mut self, quantity: i64, disposition: Disposition) {
        self.on_hand += quantity;
        match disposition {
            Disposition::Restock => self.sell(quantity),
            Disposition::Damaged => self.damaged += quantity,
            Disposition::QualityHold => self.quality_hold += quantity,
        }
    }

    pub(super) fn lose_sellable(&mut self) -> bool {
        if self.free > 0 {
            self.free -= 1;
        } else if self.safety > 0 {
            self.safety -= 1;
        } else if let Some(pool) = self.pools.values_mut().find(|pool| **pool > 0) {
            *pool -= 1;
        } else {
            return false;
        }
        true
    }

    pub(super) fn bucket(&mut self, bucket: Bucket) -> &mut i64 {
        match bucket {
            Bucket::Free => &mut self.free,
            Bucket::Safety => &mut self.safety,
            Bucket::Damaged => &mut self.damaged,
            _ => &mut self.quality_hold,
        }
    }
}
