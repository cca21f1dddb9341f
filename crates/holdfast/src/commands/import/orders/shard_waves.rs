//! What each kind of wave asks of the shard, and what its outcomes mean for the rows.

use bytes::Bytes;
use holdfast_client::v1;

use super::reject::RejectReason;
use super::shard_run::{Outcome, ShardRun, Sold};
use super::steps::{Sale, SaleLine, Step};
use super::target::{Request, Target};

impl<T: Target> ShardRun<'_, T> {
    /// Initial stock arrives.
    pub(super) async fn receive(&mut self, steps: &[Step]) -> anyhow::Result<()> {
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
                Outcome::Refused(refusal) => anyhow::bail!("cannot stock the cells: {}", refusal.message),
            }
        }
        Ok(())
    }

    /// Sales are reserved, in file order; those that got stock are committed.
    pub(super) async fn sell(&mut self, steps: &[Step], settled_before: bool) -> anyhow::Result<()> {
        let mut wanted = Vec::new();
        for step in steps {
            let Step::Sell { sale: number } = step else {
                continue;
            };
            let rows = self.sale(*number).lines.iter().flat_map(|line| &line.rows);
            // Every row has its refusal noted, so all of them are asked.
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

    /// What is still committed leaves.
    pub(super) async fn ship(&mut self, steps: &[Step]) -> anyhow::Result<()> {
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

    /// Cancellations and returns.
    pub(super) async fn take_back(&mut self, steps: &[Step], settled_before: bool) -> anyhow::Result<()> {
        let mut wanted = Vec::new();
        let mut requests = Vec::new();
        for step in steps {
            let (Step::Cancel { row, .. } | Step::Return { row, .. } | Step::ReturnUnreferenced { row, .. }) =
                step
            else {
                continue;
            };
            match self.take_back_request(step) {
                Err(detail) => self
                    .run
                    .with_book(|book| book.refuse(*row, RejectReason::CancelsRefusedSale, detail)),
                Ok(request) => {
                    if !self.was_refused(step, *row, settled_before) {
                        requests.push(request);
                        wanted.push(step);
                    }
                }
            }
        }
        let mut forgotten = Vec::new();
        for (step, outcome) in wanted.into_iter().zip(self.perform(requests).await?) {
            match (step, outcome) {
                (step, Outcome::Done { .. }) => self.took_back(step),
                // It shipped so long ago that the ledger no longer knows it: the goods are back all the same.
                (
                    Step::Return {
                        row, sale, quantity, ..
                    },
                    Outcome::Refused(refusal),
                ) if refusal.reason() == v1::Reason::UnknownReservation => {
                    forgotten.push((step, (*row, self.sale(*sale).warehouse, *quantity)));
                }
                (step, Outcome::Refused(refusal)) => self.refuse_step(step, &refusal),
            }
        }
        let requests = forgotten.iter().map(|(_, (row, warehouse, quantity))| {
            self.run
                .requests
                .give_back_unreferenced(&self.run.rows[*row], *warehouse, *quantity)
        });
        let outcomes = self.perform(requests.collect()).await?;
        for ((step, _), outcome) in forgotten.into_iter().zip(outcomes) {
            match outcome {
                Outcome::Done { .. } => self.took_back(step),
                Outcome::Refused(refusal) => self.refuse_step(step, &refusal),
            }
        }
        Ok(())
    }

    /// Write-offs and finds.
    pub(super) async fn adjust(&mut self, steps: &[Step], settled_before: bool) -> anyhow::Result<()> {
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

    fn sale(&self, number: usize) -> &Sale {
        &self.run.plan.sales[number]
    }

    /// The request of a cancellation or return, or why there is nothing to take back.
    fn take_back_request(&self, step: &Step) -> Result<Request, String> {
        let requests = &self.run.requests;
        let (row, number, line, quantity, shipped) = match step {
            Step::Cancel {
                row,
                sale,
                line,
                quantity,
            } => (*row, *sale, *line, *quantity, false),
            Step::Return {
                row,
                sale,
                line,
                quantity,
            } => (*row, *sale, *line, *quantity, true),
            Step::ReturnUnreferenced {
                row,
                warehouse,
                quantity,
            } => {
                return Ok(requests.give_back_unreferenced(&self.run.rows[*row], *warehouse, *quantity));
            }
            Step::Receive { .. } | Step::Sell { .. } | Step::Ship { .. } | Step::Adjust { .. } => {
                return Err("nothing to take back".to_owned());
            }
        };
        let sale = self.sale(number);
        let row = &self.run.rows[row];
        match self.sold.get(&number) {
            Some(Sold::Granted {
                reservation_id,
                units,
            }) if units.get(line).is_some_and(|units| *units >= quantity) => Ok(if shipped {
                requests.give_back(row, sale, reservation_id, line, quantity)
            } else {
                requests.cancel(row, sale, reservation_id, line, quantity)
            }),
            Some(Sold::Granted { units, .. }) => {
                let units = units.get(line).copied().unwrap_or_default();
                Err(format!("invoice {} got only {units} units", sale.invoice))
            }
            Some(Sold::Refused) | None => Err(format!(
                "invoice {} was refused, so nothing can come back",
                sale.invoice
            )),
        }
    }

    fn took_back(&self, step: &Step) {
        self.run.with_book(|book| match step {
            Step::Cancel { row, quantity, .. } => {
                book.import(*row);
                book.units.cancelled += quantity;
            }
            Step::Return { row, quantity, .. } | Step::ReturnUnreferenced { row, quantity, .. } => {
                book.import(*row);
                book.units.returned += quantity;
            }
            Step::Receive { .. } | Step::Sell { .. } | Step::Ship { .. } | Step::Adjust { .. } => {}
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

    /// All rows of a sale are refused: those that are short with what there was, the others because of them.
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
