//! From one attempt to the next.

use super::{Coordinator, MAX_ROUNDS, Phase, Progress, Refused, Sent};
use crate::{
    Refusal, ReserveMode, ShardNumber,
    change::Cause,
    fault::{Fault, is_seeded},
    ledger::abort_of,
    order::OrderStep,
};

impl Coordinator {
    /// The attempt came to nothing. Again when only other undecided orders were in the way.
    pub(super) fn retry_or_refuse(&mut self, aborted: bool) -> Progress {
        let contended = |refused: &Refused| matches!(refused, Refused::By(Refusal::Contended(_)));
        let worth_it = !self.refused.is_empty() && self.refused.values().all(contended);
        if worth_it && self.rounds < MAX_ROUNDS {
            let attempt = self.attempt;
            if aborted {
                self.clear(attempt)
            } else {
                self.next_attempt(attempt)
            }
        } else {
            self.refuse()
        }
    }

    /// Has participants give back what an aborted attempt took, so that the next one finds it.
    pub(super) fn clear(&mut self, attempt: u32) -> Progress {
        if self.rounds >= MAX_ROUNDS {
            return self.refuse();
        }
        self.pending.clear();
        self.phase = Phase::Clearing;
        self.attempt = attempt;
        let settlement = abort_of(attempt, Cause::of(&self.request));
        let others: Vec<ShardNumber> = self.shards().filter(|shard| *shard != self.home).collect();
        let mut send = Vec::with_capacity(others.len());
        for shard in others {
            send.push(self.send(shard, Sent::Settle, OrderStep::Settle(settlement.clone())));
        }
        Progress::send(send)
    }

    pub(super) fn cleared(&mut self) -> Progress {
        if self.phase == Phase::Clearing && self.pending.is_empty() {
            self.next_attempt(self.attempt)
        } else {
            Progress::default()
        }
    }

    pub(super) fn next_attempt(&mut self, after: u32) -> Progress {
        self.attempt = after.saturating_add(1);
        self.rounds += 1;
        if !is_seeded(Fault::KeepsOldUnits) {
            self.prepared.clear();
        }
        self.refused.clear();
        self.pending.clear();
        // Best effort waits for nobody, so it needs no order among the shards.
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
        if self.rounds >= MAX_ROUNDS {
            return self.refuse();
        }
        self.rounds += 1;
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
