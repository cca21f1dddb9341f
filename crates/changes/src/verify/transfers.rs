//! Goods between warehouses. Units that left are in transit, and no more arrive than left.

use std::collections::HashMap;

use holdfast_api::v1::{Bucket, ChangeKind, TransferEffect};

use super::cells::CellKey;
use super::finding::{Check, Findings};
use super::step::{Id, Step};

/// The units on their way in one shard.
#[derive(Debug, Default)]
pub(super) struct Transfers {
    /// Units that have left and are not yet reported in transit, by transfer and SKU. Empty between entries.
    leaving: HashMap<(Id, u32), i64>,
    /// Units in transit, by transfer and the cell to which they go.
    in_transit: HashMap<(Id, CellKey), i64>,
}

impl Transfers {
    /// Takes the next change; `cell` is the cell that it concerns.
    pub(super) fn observe(&mut self, step: &Step<'_>, cell: CellKey, findings: &mut Findings) {
        let (Some((id, effect)), change) = (&step.transfer, step.change) else {
            return;
        };
        if let Some(fault) = self.fault(step, *id, effect, cell) {
            findings.add(Check::WrongTransfer, change.shard, change.seq, || {
                format!("transfer {}: {fault}", uuid::Uuid::from_bytes(*id))
            });
        }
    }

    fn fault(&mut self, step: &Step<'_>, id: Id, effect: &TransferEffect, cell: CellKey) -> Option<String> {
        let quantity = effect.quantity;
        let here = &step.change.warehouse;
        let (from, to) = (&effect.from_warehouse, &effect.to_warehouse);
        if let Some(other) = step.reservation.filter(|reservation| reservation.id != id) {
            let other = uuid::Uuid::from_bytes(other.id);
            return Some(format!(
                "{quantity} units left for it, but they belonged to reservation {other}"
            ));
        }
        if step.kind == ChangeKind::TransferredOut && step.delta(Bucket::InTransit) == 0 {
            let twice = self.leaving.insert((id, cell.0), quantity).is_some();
            let told = format!("{quantity} units left {here}, but the transfer goes from {from} to {to}");
            return (here != from || from == to || effect.in_transit != quantity || twice).then_some(told);
        }
        let told = format!(
            "{quantity} units that go from {from} to {to} moved in {here}, and the change says that {} are in transit afterwards",
            effect.in_transit
        );
        let after = if step.kind == ChangeKind::TransferredOut {
            let left = self.leaving.remove(&(id, cell.0));
            if left != Some(quantity) || self.in_transit.contains_key(&(id, cell)) {
                return Some(format!("{told}, but {} left", left.unwrap_or(0)));
            }
            quantity
        } else {
            let before = self.in_transit.get(&(id, cell)).copied().unwrap_or(0);
            if before < quantity {
                return Some(format!("{told}, but {before} were in transit before"));
            }
            before - quantity
        };
        if after == 0 {
            self.in_transit.remove(&(id, cell));
        } else {
            self.in_transit.insert((id, cell), after);
        }
        (here != to || effect.in_transit != after).then_some(told)
    }

    /// Ends an entry. Units that left must have been reported in transit by then.
    pub(super) fn end_entry(&mut self, shard: u32, seq: u64, findings: &mut Findings) {
        for ((id, _), quantity) in self.leaving.drain() {
            findings.add(Check::WrongTransfer, shard, seq, || {
                let id = uuid::Uuid::from_bytes(id);
                format!(
                    "transfer {id}: {quantity} units left one warehouse and are not in transit to the other"
                )
            });
        }
    }

    /// Returns the units on their way to each cell.
    pub(super) fn in_transit(&self) -> HashMap<CellKey, i64> {
        let mut sums: HashMap<CellKey, i64> = HashMap::new();
        for ((_, cell), quantity) in &self.in_transit {
            let sum = sums.entry(*cell).or_default();
            *sum = sum.saturating_add(*quantity);
        }
        sums
    }
}
