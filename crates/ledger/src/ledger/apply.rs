//! The application of one entry: time passes, then each command is decided and executed in order.

use std::sync::Arc;

use crate::{
    Action, Cause, ChangeKind, Command, Entry, Outcome, Position, Refusal, Success, Violation,
    limits::SWEEP_PER_ENTRY,
};

use super::{
    Applied, Ledger,
    decide::Plan,
    operations::{Answer, Known, Record, too_old, ttl_of},
    reserve::with_unknown_skus,
    stock::Recording,
};
use crate::limits::MAX_48_BITS;

impl Ledger {
    /// Applies one entry at its index in the log, which must be higher than that of any earlier entry. The
    /// result is deterministic.
    ///
    /// # Errors
    /// [`Violation`] when an invariant does not hold: the shard must stop.
    pub fn apply(&mut self, log_index: u64, entry: &Entry) -> Result<Applied, Violation> {
        if self.log_index.is_some_and(|last| log_index <= last) || log_index > MAX_48_BITS {
            return Err(Violation(format!(
                "entry {log_index} cannot follow entry {:?}",
                self.log_index
            )));
        }
        self.log_index = Some(log_index);
        self.log_time_ms = self.log_time_ms.max(entry.log_time_ms.min(MAX_48_BITS));
        let mut recording = Recording::new(log_index, self.log_time_ms, entry.commands.len());
        let budget = SWEEP_PER_ENTRY + 2 * entry.commands.len();
        self.expire(&mut recording, budget)?;
        self.end_orders(&mut recording, budget)?;
        self.forget(budget);
        self.forget_orders(budget)?;
        let mut outcomes = Vec::with_capacity(entry.commands.len());
        for command in &entry.commands {
            outcomes.push(self.run(&mut recording, command)?);
        }
        self.check_touched(&mut recording)?;
        Ok(Applied {
            outcomes,
            changes: recording.into_changes(),
        })
    }

    fn forget(&mut self, budget: usize) {
        for _ in 0..budget {
            match self.reservations.first_closed() {
                Some((at, _)) if at <= self.log_time_ms => {
                    // An order keeps its reference as long as it is remembered, even after the home's own
                    // units are forgotten.
                    if let Some(id) = self.reservations.forget_first()
                        && self.orders.get(&id).is_none()
                    {
                        self.references.give_up(&id);
                    }
                }
                _ => break,
            }
        }
        for _ in 0..budget {
            match self.transfers.first_closed() {
                Some((at, _)) if at <= self.log_time_ms => self.transfers.forget_first(),
                _ => break,
            }
        }
        self.operations.forget(self.log_time_ms, &self.options, budget);
    }

    fn run(&mut self, recording: &mut Recording, command: &Command) -> Result<Outcome, Violation> {
        let now_ms = self.log_time_ms;
        if let Err(refusal) = self.rules.check(command) {
            return Ok(Err(refusal));
        }
        recording.as_of_seq = match command.action {
            Action::Count { as_of_seq, .. } if self.has_second_rules() => {
                Some(as_of_seq.unwrap_or(self.stock.last_seq))
            }
            _ => command.details.as_of_seq,
        };
        if let Action::Order(step) = &command.action {
            // A step needs no remembered id, because the order itself knows which steps were done.
            return match self.decide_order(now_ms, command, step) {
                Err(refusal) => Ok(Err(refusal)),
                Ok(plan) => self
                    .execute_order(recording, command, plan, &Cause::of(command))
                    .map(Ok),
            };
        }
        if let Action::AdoptRules { rules } = command.action {
            let replayed = rules <= self.rules;
            if !replayed {
                self.rules = rules;
                self.stock.adopt(rules);
            }
            return Ok(Ok(Success::Stocked {
                position: Position {
                    log_index: recording.log_index,
                    log_time_ms: now_ms,
                },
                replayed,
                cell: None,
            }));
        }
        if let Action::AdvanceConsumer {
            name,
            location,
            through_seq,
        } = &command.action
        {
            // An advance needs no remembered id, because it never goes back.
            let decided = self.decide_advance(name, location, *through_seq);
            if let Ok(true) = decided {
                self.consumers.advance(name, *through_seq, now_ms);
            }
            return Ok(decided.map(|moves| Success::Stocked {
                position: Position {
                    log_index: recording.log_index,
                    log_time_ms: now_ms,
                },
                replayed: !moves,
                cell: None,
            }));
        }
        if let Some(refusal) = self.concerns_other_shards(&command.action) {
            return Ok(Err(refusal));
        }
        let fingerprint = match self.operations.look_up(command, now_ms, &self.options) {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(Known::Before(record)) => return self.replay(command, record),
            Ok(Known::New(fingerprint)) => fingerprint,
        };
        if !matches!(command.action, Action::Seal) && self.is_claimed(&command.operation_id) {
            return Ok(Err(Refusal::OperationIdReused));
        }
        let plan = match self.decide(now_ms, command) {
            Err(refusal) => return Ok(Err(refusal)),
            Ok(plan) => plan,
        };
        let success = self.execute(recording, command, plan)?;
        let answer = match &success {
            Success::Reserved { .. } => Answer::Reserved,
            Success::Stocked { .. } | Success::Order { .. } => Answer::Stocked,
            Success::Transitioned {
                state, expires_at_ms, ..
            } => Answer::Transitioned {
                state: *state,
                expires_at_ms: *expires_at_ms,
            },
        };
        let position = Position {
            log_index: recording.log_index,
            log_time_ms: now_ms,
        };
        self.operations.remember(command, fingerprint, position, answer)?;
        Ok(Ok(success))
    }

    fn execute(
        &mut self,
        recording: &mut Recording,
        command: &Command,
        plan: Plan<'_>,
    ) -> Result<Success, Violation> {
        let cause = Cause::of(command);
        let position = Position {
            log_index: recording.log_index,
            log_time_ms: recording.log_time_ms,
        };
        match plan {
            Plan::Reserve(plan) => self.execute_reserve(recording, command, plan, None),
            Plan::Hold(plan) => self.execute_hold(recording, plan, &cause),
            Plan::Fulfilment(plan) => self.execute_fulfilment(recording, plan, &cause),
            Plan::Stock(plan) => {
                let is_return = plan.kind == ChangeKind::Returned;
                let cell = self.execute_stock(recording, plan, &cause)?;
                Ok(if is_return {
                    Success::Transitioned {
                        position,
                        replayed: false,
                        state: None,
                        expires_at_ms: 0,
                    }
                } else {
                    Success::Stocked {
                        position,
                        replayed: false,
                        cell: Some(cell),
                    }
                })
            }
            Plan::Transfer(plan) => self.execute_transfer(recording, command.operation_id, plan, &cause),
            Plan::Dispatch(plan) => self.execute_dispatch(recording, plan, &cause),
            Plan::Consumer(plan) => {
                self.consumers.execute(plan, position.log_time_ms);
                Ok(Success::Stocked {
                    position,
                    replayed: false,
                    cell: None,
                })
            }
            Plan::Seal => Ok(Success::Stocked {
                position,
                replayed: false,
                cell: None,
            }),
            Plan::Policy(plan) => {
                Arc::make_mut(&mut self.policies).execute(&mut self.stock, recording, plan, &cause);
                Ok(Success::Stocked {
                    position,
                    replayed: false,
                    cell: None,
                })
            }
        }
    }

    /// Returns the first answer again.
    ///
    /// Refuses a Reserve as too old if its reservation is forgotten. Reservations are kept for as long as
    /// `Operations::look_up` accepts their ids, so this is only a second line of defence. It keeps the
    /// shard running even if things are forgotten in another order.
    pub(crate) fn replay(&self, command: &Command, record: Record) -> Result<Outcome, Violation> {
        let position = record.position();
        let ttl_ms = ttl_of(command);
        let replayed = true;
        Ok(match record.answer(ttl_ms) {
            Some(Answer::Reserved) => match self.reservations.get(&command.operation_id) {
                Some(reservation) => Ok(Success::Reserved {
                    position,
                    replayed,
                    expires_at_ms: position.log_time_ms.saturating_add(ttl_ms),
                    lines: with_unknown_skus(
                        &command.action,
                        reservation.lines.iter().map(|line| self.granted(line)).collect(),
                    ),
                }),
                None => Err(too_old(&command.operation_id, self.log_time_ms, &self.options)),
            },
            Some(Answer::Stocked) => Ok(Success::Stocked {
                position,
                replayed,
                cell: None,
            }),
            Some(Answer::Transitioned { state, expires_at_ms }) => Ok(Success::Transitioned {
                position,
                replayed,
                state,
                expires_at_ms,
            }),
            None => {
                return Err(Violation(format!(
                    "operation {} has an unknown answer",
                    command.operation_id
                )));
            }
        })
    }
}
