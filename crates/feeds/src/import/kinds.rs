//! The requests of each kind of wave, and what their outcomes mean for the rows.

use bytes::Bytes;
use holdfast_client::v1;

use super::error::RunError;
use super::steps::{Sale, SaleLine, Step};
use super::target::{Request, Target};
use super::waves::{Outcome, Sold, Waves};
use crate::reject::RejectReason;

impl<T: Target> Waves<'_, T> {
    /// Receives the initial stock.
    pub(super) async fn receive(&mut self, steps: &[Step]) -> Result<(), RunError> {
        let mut requests = Vec::new();
        let mut quantities = Vec::new();
        for step in steps {
            if let Step::Receive {
                sku,
                warehouse,
                quantity,
            } = step
            {
                requests.push(self.run.requests.receive(sku, *warehouse, *quantity));
                quantities.push(*quantity);
            }
        }
        for (outcome, quantity) in self.perform(requests).await?.into_iter().zip(quantities) {
            match outcome {
                Outcome::Done { .. } => self.run.with_book(|book| book.units.received += quantity),
                Outcome::Refused(refusal) => return Err(RunError::NotStocked(refusal.message)),
            }
        }
        Ok(())
    }

    /// Reserves the sales in file order, then commits the ones that got stock.
    pub(super) async fn sell(&mut self, steps: &[Step], settled_before: bool) -> Result<(), RunError> {
        let mut wanted = Vec::new();
        for step in steps {
            let Step::Sell { sale: number } = step else {
                continue;
            };
            let rows = self.sale(*number).lines.iter().flat_map(|line| &line.rows);
            // `was_refused` notes the refusal of its row, so it must be called for every row.
            if rows
                .map(|row| self.was_refused(step, *row, settled_before))
                .fold(false, |any, row| any | row)
            {
                self.refused_sale(*number);
            } else {
                wanted.push(*number);
            }
        }
        let requests = wanted
            .iter()
            .map(|number| self.run.requests.reserve(self.sale(*number)))
            .collect();
        let mut granted = Vec::new();
        for (number, outcome) in wanted.into_iter().zip(self.perform(requests).await?) {
            match outcome {
                Outcome::Done {
                    operation_id,
                    granted: lines,
                } => granted.push((number, operation_id, lines)),
                Outcome::Refused(refusal) => {
                    self.refuse_sale(self.sale(number), &refusal);
                    self.refused_sale(number);
                    self.going_back.push(number);
                }
            }
        }
        let commits = granted
            .iter()
            .map(|(number, id, _)| self.run.requests.commit(self.sale(*number), id))
            .collect();
        for ((number, reservation_id, lines), outcome) in
            granted.into_iter().zip(self.perform(commits).await?)
        {
            match outcome {
                Outcome::Done { .. } => self.granted_sale(number, reservation_id, &lines),
                Outcome::Refused(refusal) => {
                    let reason = match refusal.reason() {
                        v1::Reason::Expired | v1::Reason::UnknownReservation => RejectReason::HoldExpired,
                        _ => RejectReason::Refused,
                    };
                    self.refuse_rows(
                        self.sale(number),
                        reason,
                        &format!("not committed: {}", refusal.message),
                    );
                    self.refused_sale(number);
                }
            }
        }
        Ok(())
    }

    /// Ships what is still committed.
    pub(super) async fn ship(&mut self, steps: &[Step]) -> Result<(), RunError> {
        let mut requests = Vec::new();
        let mut shipped = Vec::new();
        for step in steps {
            let Step::Ship { sale: number } = step else {
                continue;
            };
            if let Some(Sold::Granted { reservation_id, .. }) = self.sold.get(number) {
                requests.push(self.run.requests.ship(self.sale(*number), reservation_id));
                shipped.push(*number);
            }
        }
        for (number, outcome) in shipped.into_iter().zip(self.perform(requests).await?) {
            match outcome {
                Outcome::Done { .. } => {}
                // With best effort, cancellations may have left nothing to ship.
                Outcome::Refused(refusal) if refusal.reason() == v1::Reason::WrongState => {}
                Outcome::Refused(refusal) => {
                    let detail = format!("committed, but not shipped: {}", refusal.message);
                    self.refuse_rows(self.sale(number), RejectReason::Refused, &detail);
                }
            }
        }
        Ok(())
    }

    /// Runs cancellations and returns.
    pub(super) async fn take_back(&mut self, steps: &[Step], settled_before: bool) -> Result<(), RunError> {
        let mut wanted = Vec::new();
        let mut requests = Vec::new();
        for step in steps {
            let Some((row, quantity)) = taken_back(step) else {
                continue;
            };
            let units = self.units_to_take(step);
            if units == 0 {
                let detail = "what it takes back was refused";
                self.run
                    .with_book(|book| book.refuse(row, RejectReason::CancelsRefusedSale, detail));
            } else if self.trace(step).is_some() {
                self.run.with_book(|book| book.operations.skipped += 1);
                self.took_back(step, row, units, quantity);
            } else if !self.was_refused(step, row, settled_before) {
                requests.extend(self.take_back_request(step, units));
                wanted.push((step, row, units, quantity));
            }
        }
        let mut forgotten = Vec::new();
        for ((step, row, units, quantity), outcome) in wanted.into_iter().zip(self.perform(requests).await?) {
            match outcome {
                Outcome::Done { .. } => self.took_back(step, row, units, quantity),
                Outcome::Refused(refusal) => match self.shipped_sale(step) {
                    // The sale shipped so long ago that the ledger has forgotten it, or other files took its
                    // units back. The goods are back all the same.
                    Some(sale) if has_nothing_left(&refusal) => {
                        forgotten.push((step, row, units, quantity, self.sale(sale).warehouse));
                    }
                    _ => self.refuse_step(step, &refusal),
                },
            }
        }
        let requests = forgotten.iter().map(|(_, row, units, _, warehouse)| {
            self.run
                .requests
                .give_back_unreferenced(&self.run.rows[*row], *warehouse, *units)
        });
        let outcomes = self.perform(requests.collect()).await?;
        for ((step, row, units, quantity, _), outcome) in forgotten.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Done { .. } => self.took_back(step, row, units, quantity),
                Outcome::Refused(refusal) => self.refuse_step(step, &refusal),
            }
        }
        Ok(())
    }

    /// Runs write-offs and finds.
    pub(super) async fn adjust(&mut self, steps: &[Step], settled_before: bool) -> Result<(), RunError> {
        let mut wanted = Vec::new();
        let mut requests = Vec::new();
        for step in steps {
            let Step::Adjust {
                row,
                warehouse,
                delta,
            } = step
            else {
                continue;
            };
            if !self.was_refused(step, *row, settled_before) {
                requests.push(self.run.requests.adjust(&self.run.rows[*row], *warehouse, *delta));
                wanted.push((step, *row, *delta));
            }
        }
        for ((step, row, delta), outcome) in wanted.into_iter().zip(self.perform(requests).await?) {
            match outcome {
                Outcome::Done { .. } => self.run.with_book(|book| {
                    book.import(row);
                    book.units.adjusted_up += delta.max(0);
                    book.units.adjusted_down += (-delta).max(0);
                }),
                Outcome::Refused(refusal) => self.refuse_step(step, &refusal),
            }
        }
        Ok(())
    }

    /// Returns whether another file shipped the sale before.
    fn has_shipped(&self, sale: usize) -> bool {
        self.of_sale(sale, "ship").is_some()
    }

    /// Returns the sale that a cancellation or return takes back, if the sale has shipped.
    fn shipped_sale(&self, step: &Step) -> Option<usize> {
        match step {
            Step::Return { sale, .. } => Some(*sale),
            Step::Cancel { sale, .. } => Some(*sale).filter(|sale| self.has_shipped(*sale)),
            _ => None,
        }
    }

    fn sale(&self, number: usize) -> &Sale {
        &self.run.plan.sales[number]
    }

    /// Takes a step's units from its sale, and returns how many there were: at most what the sale got and
    /// still has.
    fn units_to_take(&mut self, step: &Step) -> i64 {
        match step {
            Step::Cancel {
                sale, line, quantity, ..
            }
            | Step::Return {
                sale, line, quantity, ..
            } => {
                let Some(Sold::Granted { units, .. }) = self.sold.get_mut(sale) else {
                    return 0;
                };
                let Some(left) = units.get_mut(*line) else {
                    return 0;
                };
                let taken = (*quantity).min(*left);
                *left -= taken;
                taken
            }
            Step::ReturnUnreferenced { quantity, .. } => *quantity,
            Step::Receive { .. } | Step::Sell { .. } | Step::Ship { .. } | Step::Adjust { .. } => 0,
        }
    }

    fn take_back_request(&self, step: &Step, units: i64) -> Option<Request> {
        let requests = &self.run.requests;
        let reservation_of = |sale: &usize| match self.sold.get(sale) {
            Some(Sold::Granted { reservation_id, .. }) => Some((self.sale(*sale), reservation_id)),
            Some(Sold::Refused) | None => None,
        };
        match step {
            // A sale that another file shipped can only be returned: that file did not have the cancellation.
            Step::Cancel { row, sale, line, .. } if !self.has_shipped(*sale) => {
                let (sale, id) = reservation_of(sale)?;
                Some(requests.cancel(&self.run.rows[*row], sale, id, *line, units))
            }
            Step::Cancel { row, sale, line, .. } | Step::Return { row, sale, line, .. } => {
                let (sale, id) = reservation_of(sale)?;
                Some(requests.give_back(&self.run.rows[*row], sale, id, *line, units))
            }
            Step::ReturnUnreferenced { row, warehouse, .. } => {
                Some(requests.give_back_unreferenced(&self.run.rows[*row], *warehouse, units))
            }
            Step::Receive { .. } | Step::Sell { .. } | Step::Ship { .. } | Step::Adjust { .. } => None,
        }
    }

    fn took_back(&self, step: &Step, row: usize, units: i64, quantity: i64) {
        self.run.with_book(|book| {
            if matches!(step, Step::Cancel { .. }) {
                book.units.cancelled += units;
            } else {
                book.units.returned += units;
            }
            if units == quantity {
                book.import(row);
            } else {
                let detail = format!("took back {units} of {quantity} units, the sale got no more");
                book.refuse(row, RejectReason::PartlyFilled, detail);
            }
        });
    }

    fn refused_sale(&mut self, number: usize) {
        self.sold.insert(number, Sold::Refused);
        self.run.with_book(|book| book.reservations_refused += 1);
    }

    fn granted_sale(&mut self, number: usize, reservation_id: Bytes, granted: &[(u32, i64)]) {
        let sale = &self.run.plan.sales[number];
        let units_of = |line: usize| {
            let of_line = granted
                .iter()
                .filter(|(granted, _)| usize::try_from(*granted) == Ok(line));
            of_line.map(|(_, units)| *units).sum()
        };
        let units: Vec<i64> = (0..sale.lines.len()).map(units_of).collect();
        self.run.with_book(|book| {
            book.reservations += 1;
            book.units.sold += units.iter().sum::<i64>();
        });
        for (line, units) in sale.lines.iter().zip(&units) {
            self.fill_rows(line, *units);
        }
        self.sold.insert(
            number,
            Sold::Granted {
                reservation_id,
                units,
            },
        );
    }

    /// Deals a line's units out to its rows, in file order.
    fn fill_rows(&self, line: &SaleLine, units: i64) {
        let mut left = units;
        for row in &line.rows {
            let wanted = self.run.rows[*row].quantity;
            let got = wanted.min(left);
            left -= got;
            let detail = format!("got {got} of {wanted} units");
            self.run.with_book(|book| match got {
                _ if got == wanted => book.import(*row),
                0 => book.refuse(*row, RejectReason::InsufficientStock, detail),
                _ => book.refuse(*row, RejectReason::PartlyFilled, detail),
            });
        }
    }

    /// Notes the refusal of all rows of a sale. Rows that are short say what was available; the other rows
    /// name the first shortage.
    fn refuse_sale(&self, sale: &Sale, refusal: &v1::Refusal) {
        if refusal.reason() != v1::Reason::InsufficientStock {
            self.refuse_rows(
                sale,
                RejectReason::Refused,
                &format!("{}: {}", refusal.reason().as_str_name(), refusal.message),
            );
            return;
        }
        let others = match refusal.shortages.first() {
            Some(first) => format!(
                "the order needs {} of {}, available {}",
                first.requested, first.sku, first.available
            ),
            None => refusal.message.clone(),
        };
        for (number, line) in sale.lines.iter().enumerate() {
            let short = refusal
                .shortages
                .iter()
                .find(|shortage| usize::try_from(shortage.line) == Ok(number));
            let detail = match short {
                Some(short) => format!("asked for {}, available {}", short.requested, short.available),
                None => others.clone(),
            };
            self.run.with_book(|book| {
                line.rows
                    .iter()
                    .for_each(|row| book.refuse(*row, RejectReason::InsufficientStock, detail.clone()));
            });
        }
    }

    fn refuse_rows(&self, sale: &Sale, reason: RejectReason, detail: &str) {
        self.run.with_book(|book| {
            sale.lines
                .iter()
                .flat_map(|line| &line.rows)
                .for_each(|row| book.refuse(*row, reason, detail));
        });
    }

    fn refuse_step(&self, step: &Step, refusal: &v1::Refusal) {
        let (Step::Cancel { row, .. }
        | Step::Return { row, .. }
        | Step::ReturnUnreferenced { row, .. }
        | Step::Adjust { row, .. }) = step
        else {
            return;
        };
        let (reason, detail) = match (refusal.reason(), refusal.shortages.first()) {
            (v1::Reason::InsufficientStock, Some(short)) => (
                RejectReason::InsufficientStock,
                format!("asked for {}, available {}", short.requested, short.available),
            ),
            (v1::Reason::InsufficientStock, None) => {
                (RejectReason::InsufficientStock, refusal.message.clone())
            }
            (reason, _) => (
                RejectReason::Refused,
                format!("{}: {}", reason.as_str_name(), refusal.message),
            ),
        };
        self.run.with_book(|book| book.refuse(*row, reason, detail));
    }
}

/// Returns whether the sale has no units to give back.
fn has_nothing_left(refusal: &v1::Refusal) -> bool {
    matches!(
        refusal.reason(),
        v1::Reason::UnknownReservation | v1::Reason::ExceedsLine | v1::Reason::WrongState
    )
}

/// Returns the row of a cancellation or return, and its units.
fn taken_back(step: &Step) -> Option<(usize, i64)> {
    match step {
        Step::Cancel { row, quantity, .. }
        | Step::Return { row, quantity, .. }
        | Step::ReturnUnreferenced { row, quantity, .. } => Some((*row, *quantity)),
        Step::Receive { .. } | Step::Sell { .. } | Step::Ship { .. } | Step::Adjust { .. } => None,
    }
}
