//! The waves of a run, one after the other.
//!
//! The change stream shows what an earlier run did, except for refusals, which leave no trace in it. But
//! waves are finished in order. So when a step has no trace, and a later wave has a trace of this file, then
//! the step was refused, and it stays refused.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures::future::try_join_all;
use holdfast_client::{ClientError, v1};

use super::applied::AppliedOperation;
use super::error::RunError;
use super::identity::tail_of;
use super::notice::Notice;
use super::requests::{ADJUST, BACK, BACK_UNREFERENCED, row_document, sale_document, stock_document};
use super::run::Run;
use super::steps::{Sale, Step, cut_into_waves};
use super::target::{Answer, Request, Target};
use crate::reject::RejectReason;

/// The outcome of a sale.
pub(super) enum Sold {
    /// The sale has a reservation. `units` are those of each line that nobody has taken back.
    Granted { reservation_id: Bytes, units: Vec<i64> },
    /// The sale has no reservation.
    Refused,
}

/// The outcome of an operation.
pub(super) enum Outcome {
    /// It took effect, in this run or before, under this id. `granted` has the units that a Reserve granted
    /// for its lines.
    Done {
        operation_id: Bytes,
        granted: Vec<(u32, i64)>,
    },
    /// It had no effect.
    Refused(Box<v1::Refusal>),
}

impl<T: Target> Run<'_, T> {
    /// Runs the plan to its end, or until it is stopped or an operation has no outcome. When it returns,
    /// nothing is in flight.
    ///
    /// # Errors
    /// When an operation has no outcome, or is refused in a way that makes going on pointless.
    pub(super) async fn run(&self) -> Result<(), RunError> {
        Waves::new(self).run().await
    }
}

/// The steps of a run, and their outcomes so far.
pub(super) struct Waves<'a, T> {
    pub(super) run: &'a Run<'a, T>,
    pub(super) sold: HashMap<usize, Sold>,
    /// Sales that were refused, and whose shards may not have heard of it yet. They give back what they had
    /// taken when they hear of it.
    pub(super) going_back: Vec<usize>,
}

impl<'a, T: Target> Waves<'a, T> {
    pub(super) fn new(run: &'a Run<'a, T>) -> Self {
        Self {
            run,
            sold: HashMap::new(),
            going_back: Vec::new(),
        }
    }

    /// Runs wave after wave.
    ///
    /// # Errors
    /// When an operation has no outcome, or is refused in a way that makes going on pointless.
    pub(super) async fn run(mut self) -> Result<(), RunError> {
        let steps = &self.run.plan.steps;
        let waves = cut_into_waves(
            steps,
            &self.run.plan.sales,
            |row| self.run.rows[row].sku.as_str(),
            1 + self.run.requests.warehouses.len(),
        );
        let last_begun = waves.iter().rposition(|wave| {
            let mut traces = steps[wave.clone()].iter().filter_map(|step| self.trace(step));
            traces.any(|trace| trace.is_of_this_file)
        });
        let mut steps_done = 0;
        for (number, wave) in waves.into_iter().enumerate() {
            if self.run.stop.is_cancelled() {
                break;
            }
            let steps = &steps[wave];
            let settled_before = last_begun.is_some_and(|last| number < last);
            let skus = self.skus_taken(steps);
            self.await_given_back(|sale| sale.lines.iter().any(|line| skus.contains(line.sku.as_str())))
                .await?;
            match &steps[0] {
                Step::Receive { .. } => self.receive(steps).await?,
                Step::Sell { .. } => self.sell(steps, settled_before).await?,
                Step::Ship { .. } => self.ship(steps).await?,
                Step::Cancel { .. } | Step::Return { .. } | Step::ReturnUnreferenced { .. } => {
                    self.take_back(steps, settled_before).await?;
                }
                Step::Adjust { .. } => self.adjust(steps, settled_before).await?,
            }
            steps_done += steps.len() as u64;
            (self.run.tell)(Notice::StepsDone(steps_done));
        }
        self.await_given_back(|_| true).await
    }

    /// Returns the SKUs that these steps need stock of.
    fn skus_taken(&self, steps: &[Step]) -> HashSet<&'a str> {
        let (rows, sales) = (self.run.rows, &self.run.plan.sales);
        let skus = steps.iter().flat_map(|step| match step {
            Step::Sell { sale } => sales[*sale].lines.iter().map(|line| line.sku.as_str()).collect(),
            Step::Adjust { row, .. } => vec![rows[*row].sku.as_str()],
            _ => Vec::new(),
        });
        skus.collect()
    }

    /// Waits until the shards have given back what they had taken for these refused sales, so that a later
    /// sale can have it.
    async fn await_given_back(&mut self, concerns: impl Fn(&Sale) -> bool) -> Result<(), RunError> {
        let sales = &self.run.plan.sales;
        let (awaited, rest) = std::mem::take(&mut self.going_back)
            .into_iter()
            .partition(|sale: &usize| concerns(&sales[*sale]));
        self.going_back = rest;
        let awaited: Vec<usize> = awaited;
        let given_back = awaited.iter().map(|sale| {
            let sale = &sales[*sale];
            let reservation_id = self.run.requests.reserve(sale).operation_id();
            self.run.target.await_given_back(reservation_id, sale)
        });
        try_join_all(given_back).await?;
        Ok(())
    }

    /// Returns the operation of this step that the change stream shows, whichever file brought it.
    pub(super) fn trace(&self, step: &Step) -> Option<&'a AppliedOperation> {
        let of_row = |row: &usize, operation| {
            let row = &self.run.rows[*row];
            self.applied(&row_document(&row.document, &row.sku, row.rank, operation))
        };
        match step {
            Step::Receive { sku, warehouse, .. } => {
                let requests = &self.run.requests;
                let warehouse = &requests.warehouses[*warehouse];
                self.applied(&stock_document(requests.source, sku, warehouse))
            }
            Step::Sell { sale } => self.of_sale(*sale, "reserve"),
            Step::Ship { sale } => self.of_sale(*sale, "ship"),
            // What another file cancelled or took back may be matched differently in this file.
            Step::Cancel { row, .. } | Step::Return { row, .. } | Step::ReturnUnreferenced { row, .. } => {
                of_row(row, BACK).or_else(|| of_row(row, BACK_UNREFERENCED))
            }
            Step::Adjust { row, .. } => of_row(row, ADJUST),
        }
    }

    pub(super) fn of_sale(&self, sale: usize, operation: &str) -> Option<&'a AppliedOperation> {
        let sale = &self.run.plan.sales[sale];
        self.applied(&sale_document(&sale.document, sale.part, operation))
    }

    fn applied(&self, document: &str) -> Option<&'a AppliedOperation> {
        self.run.applied.get(&self.run.requests.source.tail(document))
    }

    /// Returns whether an earlier run had this row refused. `settled_before` says that an earlier run
    /// finished the row's wave.
    pub(super) fn was_refused(&self, step: &Step, row: usize, settled_before: bool) -> bool {
        if self.trace(step).is_some() {
            return false;
        }
        self.run.with_book(|book| {
            if book.refusal_of(row).is_none() && settled_before {
                let detail = "refused by an earlier run; the state file that knew more is lost";
                book.refuse(row, RejectReason::InsufficientStock, detail);
            }
            book.refusal_of(row).is_some()
        })
    }

    /// Sends the requests that have not taken effect yet. Returns the outcomes in the order of the requests.
    ///
    /// # Errors
    /// The first operation that has no outcome, or is refused in a way that makes going on pointless.
    pub(super) async fn perform(&self, requests: Vec<Request>) -> Result<Vec<Outcome>, RunError> {
        let done_before = |request: &Request| {
            let before = self.run.applied.get(&tail_of(&request.operation_id())?)?;
            let granted = before
                .granted
                .iter()
                .map(|(line, units)| (*line, *units))
                .collect();
            Some(Outcome::Done {
                operation_id: before.operation_id.clone(),
                granted,
            })
        };
        let before: Vec<Option<Outcome>> = requests.iter().map(done_before).collect();
        let to_send = requests
            .into_iter()
            .zip(&before)
            .filter(|(_, before)| before.is_none());
        let to_send: Vec<Request> = to_send.map(|(request, _)| request).collect();
        let skipped = before.len() - to_send.len();
        let ids: Vec<Bytes> = to_send.iter().map(Request::operation_id).collect();
        let answers = if to_send.is_empty() {
            Vec::new()
        } else {
            self.run.target.submit(to_send).await
        };
        self.run
            .with_book(|book| book.operations.skipped += skipped as u64);
        let mut answers = ids.into_iter().zip(answers);
        let mut outcomes = Vec::with_capacity(before.len());
        for before in before {
            outcomes.push(match before {
                Some(done) => done,
                None => {
                    let (id, answer) = answers.next().ok_or(RunError::Unanswered)?;
                    self.outcome(id, answer)?
                }
            });
        }
        Ok(outcomes)
    }

    fn outcome(&self, operation_id: Bytes, answer: Result<Answer, ClientError>) -> Result<Outcome, RunError> {
        match answer {
            Ok(Answer { replayed, granted }) => {
                self.run.with_book(|book| {
                    let count = if replayed {
                        &mut book.operations.replayed
                    } else {
                        &mut book.operations.applied
                    };
                    *count += 1;
                });
                Ok(Outcome::Done {
                    operation_id,
                    granted,
                })
            }
            Err(ClientError::Refused(refusal)) => {
                if let Some(advice) = ends_the_import(refusal.reason()) {
                    let source = ClientError::Refused(refusal);
                    return Err(RunError::Pointless { advice, source });
                }
                self.run.with_book(|book| book.operations.refused += 1);
                Ok(Outcome::Refused(refusal))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns advice for refusals that all later operations would meet too, and none for the others.
fn ends_the_import(reason: v1::Reason) -> Option<&'static str> {
    match reason {
        v1::Reason::OperationIdReused => {
            Some("this file was imported with other options before, which cannot be changed afterwards")
        }
        v1::Reason::OperationIdTooOld => {
            Some("the import took longer than the operation window; run the same command again to go on")
        }
        v1::Reason::OperationIdFromFuture => {
            Some("this machine's clock is ahead of the cluster's; set it right")
        }
        v1::Reason::Internal => Some("the cluster has a defect"),
        _ => None,
    }
}
