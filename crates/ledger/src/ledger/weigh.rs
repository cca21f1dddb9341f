//! The weight of a command: the most changes that it can make. A leader uses it to split its entries before
//! they grow too large.

use crate::{
    Action, Command, OrderStep, ReservationId, ReserveLine, ReturnOf, Sku, Source, WarehouseId,
    limits::MAX_COMMAND_CHANGES,
};

use super::{Ledger, cell_key::CellKey};

impl Ledger {
    /// Returns the most changes that this command makes if it is applied next. `reserved` returns the number
    /// of cells of a reservation that this ledger does not know (yet).
    ///
    /// The ledger that applies the command may be a few entries ahead of this one. So a caller must not rely
    /// on this bound for correctness: if the bound is missed by a little, the entry only becomes larger than
    /// planned.
    pub fn weigh(&self, command: &Command, reserved: impl Fn(&ReservationId) -> usize) -> usize {
        let cells = |id: &ReservationId| match self.reservations.cells(id) {
            Some(cells) => cells.max(1),
            None => reserved(id).max(1),
        };
        let action = match &command.action {
            Action::OfPart(action) => action.as_ref(),
            action => action,
        };
        // Each movement of goods that is booked late may have a recount beside it, of every pool if the goods
        // are not sellable.
        let late = |key: CellKey| match command.details.as_of_seq {
            Some(_) => 1 + self.stock.cell(key).map_or(0, |cell| cell.pools.len()),
            None => 0,
        };
        let found = |sku: &Sku, warehouse: &WarehouseId| self.stock.find(sku, warehouse);
        let late_here =
            |sku: &Sku, warehouse: &WarehouseId| found(sku, warehouse).map_or(0, |(key, _)| late(key));
        match action {
            Action::Reserve { lines, .. } => {
                let replaced = command.details.replaces.map_or(0, |of| cells(&of));
                self.weigh_lines(lines.iter()).saturating_add(replaced)
            }
            Action::Ship { .. }
            | Action::Return {
                of: ReturnOf::Reservation { .. },
                ..
            }
            | Action::TransferIn { .. }
                if command.details.as_of_seq.is_some() =>
            {
                MAX_COMMAND_CHANGES
            }
            Action::TransferOut { lines, .. } if command.details.as_of_seq.is_some() => 3 * lines.len(),
            Action::Dispatch { reservation_id, .. } if command.details.as_of_seq.is_some() => {
                3 * cells(reservation_id)
            }
            Action::Receive { sku, warehouse, .. }
            | Action::Return {
                of: ReturnOf::Unreferenced { sku, warehouse, .. },
                ..
            } => 1 + late_here(sku, warehouse),
            Action::Commit { reservation_id }
            | Action::Release { reservation_id }
            | Action::Ship { reservation_id, .. }
            | Action::Cancel { reservation_id, .. }
            | Action::Return {
                of: ReturnOf::Reservation { reservation_id, .. },
                ..
            } => cells(reservation_id),
            Action::Dispatch { reservation_id, .. } => 2 * cells(reservation_id),
            Action::Adjust { sku, warehouse, .. } | Action::Count { sku, warehouse, .. } => {
                2 + self.pools(sku, warehouse)
            }
            Action::TransferOut { lines, .. } => 2 * lines.len(),
            Action::TransferIn { transfer_id, .. } | Action::CloseTransfer { transfer_id } => {
                let known = self.transfers.get(transfer_id);
                known.map_or(1, |transfer| transfer.lines.len())
            }
            Action::Order(step) => {
                let taken = match step {
                    OrderStep::Begin { part: Some(part), .. } | OrderStep::Prepare { part, .. } => {
                        self.weigh_lines(part.lines.iter().map(|line| &line.line))
                    }
                    OrderStep::Acknowledge(_) => return 1,
                    OrderStep::Begin { part: None, .. }
                    | OrderStep::Decide { .. }
                    | OrderStep::Settle(_)
                    | OrderStep::Inquire { .. } => 0,
                };
                // An earlier attempt may have to give its units back, and the hold that it replaces ends when
                // it is held.
                let replaced = self.replacements.get(&command.operation_id);
                let replaced = replaced.map_or(0, |replacement| {
                    2 * replacement.kept.len() + cells(&replacement.of)
                });
                taken
                    .saturating_add(cells(&command.operation_id))
                    .saturating_add(replaced)
            }
            // This is refused, because a part cannot be part of a part.
            Action::OfPart(_)
            | Action::Extend { .. }
            | Action::MoveBucket { .. }
            | Action::SetPolicy { .. }
            | Action::AllocatePool { .. }
            | Action::ExpectSupply { .. }
            | Action::AdoptRules { .. }
            | Action::Seal
            | Action::RegisterConsumer { .. }
            | Action::AdvanceConsumer { .. }
            | Action::RemoveConsumer { .. } => 1,
        }
    }

    /// Returns the bound for a command while the ledger cannot be asked.
    pub fn weigh_blindly(command: &Command) -> usize {
        let action = match &command.action {
            Action::OfPart(action) => action.as_ref(),
            action => action,
        };
        match action {
            Action::Receive { .. } if command.details.as_of_seq.is_none() => 1,
            Action::Extend { .. }
            | Action::MoveBucket { .. }
            | Action::SetPolicy { .. }
            | Action::AllocatePool { .. }
            | Action::ExpectSupply { .. }
            | Action::RegisterConsumer { .. }
            | Action::AdvanceConsumer { .. }
            | Action::RemoveConsumer { .. } => 1,
            _ => MAX_COMMAND_CHANGES,
        }
    }

    /// Returns the most cells that the lines take from. Every cell gives at least one unit, so a line takes
    /// from no more cells than it has units.
    fn weigh_lines<'a>(&self, lines: impl Iterator<Item = &'a ReserveLine>) -> usize {
        lines.map(|line| self.weigh_line(line)).sum()
    }

    fn weigh_line(&self, line: &ReserveLine) -> usize {
        let units = usize::try_from(line.quantity.max(1)).unwrap_or(usize::MAX);
        match &line.source {
            Source::Warehouse(_) => 1,
            Source::Preference(list) => units.min(list.len()),
            Source::Any if units == 1 => 1,
            Source::Any => {
                let number = self.stock.skus.find(&line.sku);
                let cells = number.and_then(|number| self.stock.cells.get(number as usize));
                units.min(cells.map_or(1, |cells| cells.len().max(1)))
            }
        }
    }

    fn pools(&self, sku: &Sku, warehouse: &WarehouseId) -> usize {
        let cell = self.stock.find(sku, warehouse);
        cell.map_or(0, |(_, cell)| cell.pools.len())
    }
}
