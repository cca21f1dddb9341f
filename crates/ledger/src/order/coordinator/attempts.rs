//! The step from one attempt to the next.

use super::{Coordinator, Decision, MAX_ATTEMPTS, Phase, Progress, Refused, Sent, Verdict};
use crate::{
    Cause, Refusal, ReserveMode, ShardNumber,
    order::{OrderStep, Settlement},
};

impl Coordinator {
    /// Ends a failed attempt. Tries again if only other undecided orders were in the way, or an earlier
    /// attempt of this order.
    pub(super) fn retry_or_refuse(&mut self, aborted: bool) -> Progress {
        let contended = |refused: &Refused| matches!(refused, Refused::By(Refusal::Contended(_)));
        let short = |refused: &Refused| matches!(refused, Refused::By(Refusal::InsufficientStock(_)));
        let worth_it = match self.terms.mode {
            ReserveMode::AllOrNothing => !self.refused.is_empty() && self.refused.values().all(contended),
            // A shard that has nothing does not block the others.
            ReserveMode::BestEffort => {
                self.refused.values().any(contended)
                    && self
                        .refused
                        .values()
                        .all(|refused| contended(refused) || short(refused))
            }
        };
        if worth_it && self.attempts < MAX_ATTEMPTS {
            let attempt = self.attempt;
            if aborted {
                self.clear(attempt)
            } else {
                self.next_attempt(attempt)
            }
        } else if aborted {
            self.give_back()
        } else {
            self.refuse()
        }
    }

    /// Ends a failed order. A home that took part tells the participants itself. A home that refused does not
    /// know them, so without this step they would keep their units until they ask.
    fn give_back(&mut self) -> Progress {
        let others: Vec<ShardNumber> = self.prepared.keys().copied().collect();
        if others.is_empty() || !self.refused.contains_key(&self.home) {
            return self.refuse();
        }
        self.phase = Phase::GivingBack;
        self.settle_abort(others)
    }

    /// Abandons an attempt that cannot be held.
    pub(super) fn abandon(&mut self) -> Progress {
        let by_home = self.refused.get(&self.home);
        if matches!(by_home, Some(Refused::By(Refusal::OperationIdReused))) {
            self.disown()
        } else {
            self.decide(Decision::Abort)
        }
    }

    /// Voids the prepared parts when the home has used the id for another request, because an abort sent
    /// there could hit that request. Asks the home about each prepared part, as the participant would. The
    /// home answers that the part is void.
    fn disown(&mut self) -> Progress {
        self.pending.clear();
        if self.prepared.is_empty() {
            return self.refuse();
        }
        self.phase = Phase::GivingBack;
        let parts: Vec<(ShardNumber, u32, u64)> = self
            .prepared
            .iter()
            .map(|(shard, part)| (*shard, part.attempt, part.incarnation))
            .collect();
        let mut send = Vec::with_capacity(parts.len());
        for (shard, attempt, incarnation) in parts {
            let inquire = OrderStep::Inquire {
                shard,
                attempt,
                incarnation,
            };
            send.push(self.send(self.home, Sent::Inquire(shard), inquire));
        }
        Progress::send(send)
    }

    /// Takes the home's answer about a part that it does not own.
    pub(super) fn disowned(&mut self, shard: ShardNumber, settlement: Settlement) -> Progress {
        match self.prepared.get(&shard) {
            Some(part) if settlement.verdict == Verdict::Aborted => {
                let about = settlement.about(part.incarnation);
                let settle = OrderStep::Settle(about.of_order(self.terms.fingerprint));
                Progress::send(vec![self.send(shard, Sent::Settle, settle)])
            }
            _ => self.cleared(),
        }
    }

    /// Has participants give back the units of an aborted attempt, so that the next attempt finds them.
    pub(super) fn clear(&mut self, attempt: u32) -> Progress {
        if self.attempts >= MAX_ATTEMPTS {
            return self.refuse();
        }
        self.pending.clear();
        self.phase = Phase::Clearing;
        self.attempt = attempt;
        let others: Vec<ShardNumber> = self.shards().filter(|shard| *shard != self.home).collect();
        self.settle_abort(others)
    }

    fn settle_abort(&mut self, shards: Vec<ShardNumber>) -> Progress {
        let abort = Settlement::abort(self.attempt, Cause::of(&self.request));
        let settlement = abort.of_order(self.terms.fingerprint);
        let mut send = Vec::with_capacity(shards.len());
        for shard in shards {
            send.push(self.send(shard, Sent::Settle, OrderStep::Settle(settlement.clone())));
        }
        Progress::send(send)
    }

    /// Goes on after a participant has given back, or did not answer. Such a participant asks the home by
    /// itself.
    pub(super) fn cleared(&mut self) -> Progress {
        match self.phase {
            Phase::Clearing if self.pending.is_empty() => self.next_attempt(self.attempt),
            Phase::GivingBack if self.pending.is_empty() => self.refuse(),
            _ => Progress::default(),
        }
    }

    pub(super) fn next_attempt(&mut self, after: u32) -> Progress {
        self.attempt = after.saturating_add(1);
        self.attempts += 1;
        self.prepared.clear();
        self.refused.clear();
        self.pending.clear();
        // Best effort waits for no other order, so it needs no order among the shards.
        if self.terms.mode == ReserveMode::BestEffort {
            self.phase = Phase::Together;
            return Progress::send(self.start());
        }
        self.phase = Phase::Ascending;
        let target = self.begin(false);
        Progress::send(vec![target])
    }

    /// Takes part in an attempt that another coordinator began.
    pub(super) fn ascend(&mut self, attempt: u32) -> Progress {
        if self.attempts >= MAX_ATTEMPTS {
            return self.refuse();
        }
        self.attempts += 1;
        self.attempt = attempt;
        self.prepared.clear();
        self.refused.clear();
        self.pending.clear();
        if self.terms.mode == ReserveMode::BestEffort {
            self.phase = Phase::Together;
            return Progress::send(self.start());
        }
        self.phase = Phase::Ascending;
        self.ask_next()
    }
}
