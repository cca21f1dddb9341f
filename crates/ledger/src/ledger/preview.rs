//! The preview of a command's answer, without applying the command.

use crate::{Action, Command, Outcome, Position, Refusal, Success};

use super::{Ledger, home::OrderPlan, operations::Known};

impl Ledger {
    /// Returns the refusal that this command would certainly get if it were applied next, at `now_ms` (or at
    /// the ledger's log time if that is later). Used on a confirmed read, to refuse without a log write. For
    /// a known operation id, returns its replay.
    ///
    /// Returns None if the command must go through the log. That is so if it would take effect. It is also so
    /// if a hold, a closed reservation or a closed transfer is due at that time, because an entry would first
    /// give its units back or forget it.
    pub fn preview(&self, now_ms: u64, command: &Command) -> Option<Outcome> {
        let now_ms = self.log_time_ms.max(now_ms);
        // This comes first, whatever is due, because a replica of the previous release could not read the
        // entry.
        if let Err(refusal) = self.rules.check(command) {
            return Some(Err(refusal));
        }
        let due = [
            self.reservations.first_hold(),
            self.reservations.first_closed(),
            self.orders.first_end(),
            self.orders.first_closed(),
            self.transfers.first_closed(),
        ];
        let something_is_due = due.into_iter().flatten().any(|(at, _)| at <= now_ms);
        if let Action::Order(step) = &command.action {
            let position = Position {
                log_index: self.log_index.unwrap_or(0),
                log_time_ms: now_ms,
            };
            return match self.decide_order(now_ms, command, step) {
                _ if something_is_due => None,
                Err(refusal) => Some(Err(refusal)),
                Ok(OrderPlan::Answer(reply)) => Some(Ok(Success::Order { position, reply })),
                Ok(_) => None,
            };
        }
        if let Action::AdoptRules { .. } = command.action {
            return None;
        }
        if let Action::AdvanceConsumer {
            name,
            location,
            through_seq,
        } = &command.action
        {
            return match self.decide_advance(name, location, *through_seq) {
                // What is due may make the change that the consumer names.
                Err(Refusal::PositionInFuture { .. }) if something_is_due => None,
                Err(refusal) => Some(Err(refusal)),
                Ok(true) => None,
                Ok(false) => Some(Ok(Success::Stocked {
                    position: Position {
                        log_index: self.log_index.unwrap_or(0),
                        log_time_ms: now_ms,
                    },
                    replayed: true,
                    cell: None,
                })),
            };
        }
        if let Some(refusal) = self.concerns_other_shards(&command.action) {
            return Some(Err(refusal));
        }
        match self.operations.look_up(command, now_ms, &self.options) {
            Err(refusal) => return Some(Err(refusal)),
            Ok(Known::Before(record)) => return self.replay(command, record).ok(),
            Ok(Known::New(_)) => {}
        }
        if something_is_due {
            return None;
        }
        if !matches!(command.action, Action::Seal) && self.is_claimed(&command.operation_id) {
            return Some(Err(Refusal::OperationIdReused));
        }
        self.decide(now_ms, command).err().map(Err)
    }
}
