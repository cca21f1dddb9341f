//! The model of goods that are booked late. Each cell has a list of its movements and their times, as a
//! person with paper would keep it.

use std::collections::BTreeMap;

use holdfast_ledger::*;

use super::{Cell, Key, Model, OnHandMoves, Place, invalid};

/// The movements of one cell, each with the change after which it happened.
#[derive(Default)]
pub(super) struct Shelf {
    moved: Vec<(u64, i64)>,
    counted: Vec<u64>,
}

impl Model {
    pub(super) fn check_details(&self, command: &Command) -> Result<(), Refusal> {
        let details = &command.details;
        let moves_goods = matches!(
            command.action,
            Action::Receive { .. }
                | Action::Adjust { .. }
                | Action::Ship { .. }
                | Action::Return { .. }
                | Action::TransferOut { .. }
                | Action::TransferIn { .. }
        );
        let is_reserve = matches!(command.action, Action::Reserve { .. });
        if details.as_of_seq.is_some() && !moves_goods
            || (details.unique_reference || details.replaces.is_some()) && !is_reserve
        {
            return invalid();
        }
        if let Some(occurred_at_ms) = details.occurred_at_ms {
            let forty_years_ms = 40 * 366 * 24 * 60 * 60 * 1000;
            if occurred_at_ms + forty_years_ms < self.now_ms
                || occurred_at_ms > self.now_ms + self.options.operation_lead_ms
            {
                return invalid();
            }
        }
        if let Some(as_of_seq) = details.as_of_seq {
            let last_seq = self.last_seq;
            if as_of_seq > last_seq {
                return Err(Refusal::PositionInFuture { as_of_seq, last_seq });
            }
            if as_of_seq < self.counts_since {
                return Err(Refusal::PositionTooOld {
                    as_of_seq,
                    oldest_seq: self.counts_since,
                });
            }
        }
        Ok(())
    }

    /// Returns whether a count has already seen these goods move, so that their booking must leave the units
    /// on hand unchanged.
    pub(super) fn is_seen(&self, key: &Key, command: &Command) -> bool {
        match (command.details.as_of_seq, self.shelves.get(key)) {
            (Some(as_of_seq), Some(shelf)) => shelf.counted.iter().any(|counted| *counted >= as_of_seq),
            _ => false,
        }
    }

    pub(super) fn note_seen(&mut self, key: &Key, units: i64) {
        *self.seen.entry(key.clone()).or_default() += units;
    }

    /// Takes goods that come in.
    pub(super) fn bring_back(
        &mut self,
        command: &Command,
        key: &Key,
        quantity: i64,
        disposition: Disposition,
    ) {
        let is_seen = self.is_seen(key, command);
        let promised = self.promised(key, Place::Held) + self.promised(key, Place::Committed);
        let cell = self.cells.entry(key.clone()).or_default();
        if !is_seen {
            cell.bring_back(quantity, disposition);
            return;
        }
        // The count took them for sellable units. Units that are not sellable must then be missing among the
        // sellable ones.
        if disposition != Disposition::Restock {
            cell.bring_back(quantity, disposition);
            for _ in 0..quantity {
                cell.lose(promised);
            }
        }
        self.note_seen(key, quantity);
    }

    /// Returns the effect of a count as of a change on the units on hand. None: a later count is known, so
    /// this one changes nothing.
    pub(super) fn correction(
        &self,
        key: &Key,
        counted: i64,
        as_of_seq: Option<u64>,
    ) -> Result<Option<i64>, Refusal> {
        let last_seq = self.last_seq;
        let position = as_of_seq.unwrap_or(last_seq);
        if position > last_seq {
            return Err(Refusal::PositionInFuture {
                as_of_seq: position,
                last_seq,
            });
        }
        let on_hand = self.cells.get(key).map_or(0, |cell| cell.on_hand);
        let nothing = Shelf::default();
        let shelf = self.shelves.get(key).unwrap_or(&nothing);
        if shelf.counted.iter().any(|other| *other > position) {
            return Ok(None);
        }
        let later = shelf.moved.iter().filter(|(moved, _)| *moved > position);
        let now = counted + later.map(|(_, units)| units).sum::<i64>();
        if now < 0 {
            return invalid();
        }
        Ok(Some(now - on_hand))
    }

    pub(super) fn on_hand(&self) -> BTreeMap<Key, i64> {
        let cells = self.cells.iter();
        cells.map(|(key, cell)| (key.clone(), cell.on_hand)).collect()
    }

    /// Records the movements of the present command and their time.
    pub(super) fn write_down(&mut self, command: &Command, before: &BTreeMap<Key, i64>) -> OnHandMoves {
        let is_count = matches!(command.action, Action::Count { .. });
        let position = match &command.action {
            Action::Count { as_of_seq, .. } if self.rules >= Rules::Second => {
                as_of_seq.unwrap_or(self.last_seq)
            }
            _ => command.details.as_of_seq.unwrap_or(self.last_seq + 1),
        };
        let mut all = OnHandMoves::new();
        for (key, after) in self.on_hand() {
            let moved = after - before.get(&key).copied().unwrap_or(0);
            if moved != 0 {
                self.shelves
                    .entry(key.clone())
                    .or_default()
                    .moved
                    .push((position, moved));
                all.insert(key, if is_count { (0, moved) } else { (moved, 0) });
            }
        }
        for (key, units) in std::mem::take(&mut self.seen) {
            all.insert(key, (units, -units));
        }
        all
    }

    pub(super) fn note_count(&mut self, key: &Key, as_of_seq: Option<u64>) {
        if self.rules >= Rules::Second {
            let shelf = self.shelves.entry(key.clone()).or_default();
            shelf.counted.push(as_of_seq.unwrap_or(self.last_seq));
        }
    }
}

impl Cell {
    /// Removes one unit that is not there. Nobody knows which unit is missing.
    pub(super) fn lose(&mut self, promised: i64) {
        self.on_hand -= 1;
        if self.lose_sellable() {
        } else if self.deficit + self.backordered < promised {
            self.deficit += 1;
        } else if self.damaged > 0 {
            self.damaged -= 1;
        } else {
            self.quality_hold -= 1;
        }
    }
}
