//! Transfers: units that left one warehouse for another, and their fate.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{LedgerOptions, Reference, ShardNumber, TransferId, Violation};

use super::{cell_key::CellKey, reservations::kept_until_ms};
use crate::limits::MAX_48_BITS;

/// One transfer. It is kept while anything is in transit, and then for the closed retention.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transfer {
    pub(crate) from: u16,
    pub(crate) to: u16,
    pub(crate) created_at_ms: u64,
    pub(crate) expected_at_ms: u64,
    /// Log time at which the last unit was no longer in transit. 0 before.
    pub(crate) closed_at_ms: u64,
    pub(crate) reference: Reference,
    /// The home of its order. None unless other shards have units of it too.
    pub(crate) home: Option<ShardNumber>,
    /// Lines of the transfer, no SKU twice.
    pub(crate) lines: Vec<TransferredLine>,
}

/// The units of one SKU. Units that are neither received nor written off are in transit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TransferredLine {
    pub(crate) sku: u32,
    pub(crate) sent: i64,
    pub(crate) received: i64,
    pub(crate) written_off: i64,
}

/// Transfers by id. The queues follow from the transfers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transfers {
    by_id: BTreeMap<TransferId, Transfer>,
    /// Transfers with units in transit, by the cell that these go to.
    arriving: BTreeMap<CellKey, BTreeSet<TransferId>>,
    open: BTreeSet<TransferId>,
    /// The closed transfers by the first time at which they may be forgotten.
    closed: BTreeSet<(u64, TransferId)>,
}

impl TransferredLine {
    pub(crate) fn in_transit(&self) -> i64 {
        self.sent - self.received - self.written_off
    }

    fn check(&self) -> Result<(), String> {
        let terms = [self.received, self.written_off];
        let gone: i128 = terms.into_iter().map(i128::from).sum();
        if self.sent < 1 || terms.into_iter().any(|term| term < 0) || gone > i128::from(self.sent) {
            return Err(format!("more arrived than was sent: {self:?}"));
        }
        Ok(())
    }
}

impl Transfer {
    pub(crate) fn is_open(&self) -> bool {
        self.lines.iter().any(|line| line.in_transit() > 0)
    }

    /// Returns the cell that a line is on its way to.
    pub(crate) fn destination(&self, line: &TransferredLine) -> CellKey {
        CellKey {
            sku: line.sku,
            warehouse: self.to,
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        self.lines.iter().try_for_each(TransferredLine::check)?;
        let skus: BTreeSet<u32> = self.lines.iter().map(|line| line.sku).collect();
        let right = !self.lines.is_empty()
            && skus.len() == self.lines.len()
            && self.from != self.to
            && self.expected_at_ms <= MAX_48_BITS
            && self.is_open() == (self.closed_at_ms == 0);
        if right {
            Ok(())
        } else {
            Err(format!("a transfer that cannot be: {self:?}"))
        }
    }
}

impl Transfers {
    pub(crate) fn get(&self, id: &TransferId) -> Option<&Transfer> {
        self.by_id.get(id)
    }

    pub(crate) fn map(&self) -> &BTreeMap<TransferId, Transfer> {
        &self.by_id
    }

    /// Returns the transfers with units in transit, after a cursor, in order of their ids.
    pub(crate) fn open_after(&self, after: Option<TransferId>) -> impl Iterator<Item = TransferId> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.open.range((from, Bound::Unbounded)).copied()
    }

    /// Returns the units on the way to a cell, each with its expected arrival.
    pub(crate) fn arriving(&self, cell: CellKey) -> impl Iterator<Item = (u64, i64)> {
        let ids = self.arriving.get(&cell).into_iter().flatten();
        ids.filter_map(move |id| {
            let transfer = self.by_id.get(id)?;
            let line = transfer.lines.iter().find(|line| line.sku == cell.sku)?;
            Some((transfer.expected_at_ms, line.in_transit()))
        })
    }

    /// Adds a transfer. No other may have this id.
    pub(crate) fn insert(
        &mut self,
        id: TransferId,
        transfer: Transfer,
        options: &LedgerOptions,
    ) -> Result<(), Violation> {
        if self.by_id.contains_key(&id) {
            return Err(Violation(format!("transfer {id} was made and is there already")));
        }
        self.put(id, transfer, options);
        Ok(())
    }

    fn put(&mut self, id: TransferId, transfer: Transfer, options: &LedgerOptions) {
        self.enqueue(id, &transfer, options);
        self.by_id.insert(id, transfer);
    }

    /// Changes a transfer and updates the queues. None when no transfer has this id.
    pub(crate) fn update<R>(
        &mut self,
        id: TransferId,
        options: &LedgerOptions,
        change: impl FnOnce(&mut Transfer) -> R,
    ) -> Option<R> {
        let mut transfer = self.by_id.remove(&id)?;
        self.dequeue(id, &transfer, options);
        let result = change(&mut transfer);
        self.put(id, transfer, options);
        Some(result)
    }

    /// Returns the closed transfer that may be forgotten first.
    pub(crate) fn first_closed(&self) -> Option<(u64, TransferId)> {
        self.closed.first().copied()
    }

    /// Forgets the closed transfer that is due first.
    pub(crate) fn forget_first(&mut self) {
        if let Some((_, id)) = self.closed.pop_first() {
            self.by_id.remove(&id);
        }
    }

    pub(crate) fn from_snapshot(by_id: BTreeMap<TransferId, Transfer>, options: &LedgerOptions) -> Self {
        let mut all = Self::default();
        for (id, transfer) in &by_id {
            all.enqueue(*id, transfer, options);
        }
        Self { by_id, ..all }
    }

    /// Checks each transfer by itself, and that the queues follow from them. Returns the units in transit to
    /// each cell.
    pub(crate) fn check(&self, options: &LedgerOptions) -> Result<BTreeMap<CellKey, i128>, String> {
        let mut expected = Self::default();
        let mut in_transit: BTreeMap<CellKey, i128> = BTreeMap::new();
        for (id, transfer) in &self.by_id {
            transfer
                .check()
                .map_err(|error| format!("transfer {id}: {error}"))?;
            expected.enqueue(*id, transfer, options);
            for line in transfer.lines.iter().filter(|line| line.in_transit() > 0) {
                *in_transit.entry(transfer.destination(line)).or_default() += i128::from(line.in_transit());
            }
        }
        let same = expected.arriving == self.arriving
            && expected.open == self.open
            && expected.closed == self.closed;
        if same {
            Ok(in_transit)
        } else {
            Err("the queues do not follow from the transfers".to_owned())
        }
    }

    fn enqueue(&mut self, id: TransferId, transfer: &Transfer, options: &LedgerOptions) {
        if transfer.is_open() {
            self.open.insert(id);
        } else {
            self.closed.insert((forgotten_from_ms(id, transfer, options), id));
        }
        for line in transfer.lines.iter().filter(|line| line.in_transit() > 0) {
            let to = transfer.destination(line);
            self.arriving.entry(to).or_default().insert(id);
        }
    }

    fn dequeue(&mut self, id: TransferId, transfer: &Transfer, options: &LedgerOptions) {
        if transfer.is_open() {
            self.open.remove(&id);
        } else {
            self.closed
                .remove(&(forgotten_from_ms(id, transfer, options), id));
        }
        for line in transfer.lines.iter().filter(|line| line.in_transit() > 0) {
            let to = transfer.destination(line);
            if let Some(ids) = self.arriving.get_mut(&to) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.arriving.remove(&to);
                }
            }
        }
    }
}

fn forgotten_from_ms(id: TransferId, transfer: &Transfer, options: &LedgerOptions) -> u64 {
    kept_until_ms(&id, transfer.closed_at_ms, options.closed_retention_ms, options).saturating_add(1)
}
