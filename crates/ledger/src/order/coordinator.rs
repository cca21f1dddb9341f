//! The coordinator: a state machine without I/O that drives an order to its decision.
//!
//! Any node can be the coordinator, and it may die at any moment. The home decides every order that a
//! coordinator leaves behind, by log time if no decision arrives. The coordinator takes each answer, or the
//! news that none came, and returns the next steps to send.
//!
//! The first attempt asks all shards at once. If other undecided orders stand in the way, the coordinator
//! aborts the attempt. The next attempt asks one shard after the other, in ascending order, and waits at
//! each. So two orders that conflicted crosswise meet at their first common shard, and one of them comes
//! first there. A waiting attempt holds only shards lower than the one it waits for, so there is no circular
//! wait.

mod answers;
mod attempts;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Decision, OrderLine, OrderPart, OrderReply, OrderStep, OrderTerms, PreparedPart, Standing, Verdict,
};
use crate::ShardNumber;
use crate::{
    Action, Command, OperationId, Outcome, Position, Refusal, ReserveMode, Sku, Success, ledger::merged_lines,
};

/// The most attempts in which one coordinator takes part.
const MAX_ATTEMPTS: u32 = 4;

/// Drives one order. The text of the module describes how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinator {
    /// The Reserve that the caller sent.
    request: Command,
    home: ShardNumber,
    parts: BTreeMap<ShardNumber, OrderPart>,
    terms: OrderTerms,
    /// The number of the present attempt.
    attempt: u32,
    /// The number of attempts in which this coordinator has taken part.
    attempts: u32,
    phase: Phase,
    /// Steps that have no answer yet, by number.
    pending: BTreeMap<u64, (ShardNumber, Sent)>,
    last_number: u64,
    prepared: BTreeMap<ShardNumber, PreparedPart>,
    refused: BTreeMap<ShardNumber, Refused>,
}

/// A step to send: a command and its shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The number of this sending. The answer must carry it.
    pub number: u64,
    /// The shard to send to.
    pub shard: ShardNumber,
    /// The command to send.
    pub command: Command,
}

/// The failure of a step that got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepFailure {
    /// The step certainly had no effect.
    NotDone,
    /// The step may have had its effect.
    Unknown,
}

/// The next things to do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// The steps to send.
    pub send: Vec<Target>,
    /// Whether to wait a moment before sending, because another order is in the way.
    pub pause: bool,
    /// The end of the order for its caller. Nothing is sent afterwards.
    pub end: Option<End>,
}

/// The end of an order, for its caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The order was decided.
    Outcome(Outcome),
    /// A shard did not answer, and the order is not held.
    Unavailable(ShardNumber),
    /// The home did not answer a request to decide. The same request, sent again, finds the result.
    Unknown(ShardNumber),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// All shards are asked at the same time.
    Together,
    /// The order is begun. One shard is asked at a time, in ascending order.
    Ascending,
    Holding,
    Aborting,
    /// Participants give back the units of the aborted attempt before the next one begins.
    Clearing,
    /// Participants give back their units before the caller gets the refusal. The home refused the order, so
    /// it does not know the participants and cannot tell them of the abort.
    GivingBack,
    /// The order was held by an earlier call. The parts are read again.
    Replaying {
        position: Position,
        expires_at_ms: u64,
        shards: BTreeSet<ShardNumber>,
    },
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Sent {
    Begin,
    Prepare,
    Hold,
    Abort,
    Settle,
    /// Asks about the units of this shard.
    Inquire(ShardNumber),
}

/// The reason why a shard has no units for this attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Refused {
    By(Refusal),
    Silent(StepFailure),
}

impl Coordinator {
    /// Plans an order. `request` is a Reserve, and `shard_of` returns the shard of a SKU. `home` is the shard
    /// that must decide, whether or not it has lines: that of the reference if the reference must be unique,
    /// or that of the hold that the Reserve replaces. With None, any shard may decide. Returns None when the
    /// order concerns one shard, so the Reserve itself can be sent there.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] when the Reserve is malformed.
    pub fn new(
        request: Command,
        home: Option<ShardNumber>,
        shard_of: impl Fn(&Sku) -> ShardNumber,
    ) -> Result<Option<Self>, Refusal> {
        let Action::Reserve {
            storefront,
            lines,
            ttl_ms,
            mode,
            sourcing,
        } = &request.action
        else {
            return Err(Refusal::InvalidRequest(
                "only a Reserve makes an order".to_owned(),
            ));
        };
        merged_lines(lines)?;
        let mut parts: BTreeMap<ShardNumber, OrderPart> = BTreeMap::new();
        for (number, line) in (0..).zip(lines) {
            let part = parts
                .entry(shard_of(&line.sku))
                .or_insert_with(|| OrderPart { lines: Vec::new() });
            part.lines.push(OrderLine {
                number,
                line: line.clone(),
            });
        }
        let Some(home) = home.or_else(|| lines.first().map(|line| shard_of(&line.sku))) else {
            return Ok(None);
        };
        parts
            .entry(home)
            .or_insert_with(|| OrderPart { lines: Vec::new() });
        if parts.len() < 2 {
            return Ok(None);
        }
        let terms = OrderTerms {
            storefront: storefront.clone(),
            ttl_ms: *ttl_ms,
            mode: *mode,
            sourcing: *sourcing,
            fingerprint: request.fingerprint(),
        };
        Ok(Some(Self {
            request,
            home,
            parts,
            terms,
            attempt: 1,
            attempts: 1,
            phase: Phase::Together,
            pending: BTreeMap::new(),
            last_number: 0,
            prepared: BTreeMap::new(),
            refused: BTreeMap::new(),
        }))
    }

    /// Makes the order stand for another request, which is the one that a retry must repeat.
    pub(super) fn with_fingerprint(mut self, fingerprint: u64) -> Self {
        self.terms.fingerprint = fingerprint;
        self
    }

    /// Returns the shard that decides.
    pub fn home(&self) -> ShardNumber {
        self.home
    }

    /// Returns the shards that take part, in ascending order: those with lines, and the home even without
    /// one.
    pub fn shards(&self) -> impl Iterator<Item = ShardNumber> {
        self.parts.keys().copied()
    }

    /// Returns whether nothing is decided yet, so that the order can still be given up.
    pub fn is_preparing(&self) -> bool {
        matches!(self.phase, Phase::Together | Phase::Ascending | Phase::Clearing)
    }

    /// Returns the first steps.
    pub fn start(&mut self) -> Vec<Target> {
        let mut send = vec![self.begin(true)];
        let others: Vec<ShardNumber> = self.shards().filter(|shard| *shard != self.home).collect();
        for shard in others {
            send.push(self.prepare(shard));
        }
        send
    }

    /// Takes the answer to a sent step. Skips an answer that is not waited for any more.
    pub fn on_answer(&mut self, number: u64, answer: Outcome) -> Progress {
        let Some((shard, sent)) = self.pending.remove(&number) else {
            return Progress::default();
        };
        match (sent, answer) {
            (
                Sent::Begin,
                Ok(Success::Order {
                    reply: OrderReply::Begun { standing, part },
                    ..
                }),
            ) => self.begun(standing, part),
            (
                Sent::Prepare,
                Ok(Success::Order {
                    reply: OrderReply::Prepared(part),
                    ..
                }),
            ) => {
                self.prepared.insert(shard, part);
                self.asked(shard)
            }
            (
                Sent::Hold | Sent::Abort,
                Ok(Success::Order {
                    reply: OrderReply::Decided(standing),
                    ..
                }),
            ) => self.decided(standing, false),
            (
                Sent::Hold | Sent::Abort,
                Ok(Success::Order {
                    reply: OrderReply::DecidedBefore(standing),
                    ..
                }),
            ) => self.decided(standing, true),
            (
                Sent::Inquire(of),
                Ok(Success::Order {
                    reply: OrderReply::Answered(Some(settlement)),
                    ..
                }),
            ) => self.disowned(of, settlement),
            (Sent::Settle | Sent::Inquire(_), _) => self.cleared(),
            // The hold to replace is gone, and the caller gets that answer.
            (
                Sent::Hold,
                Err(
                    refusal @ (Refusal::WrongState { .. }
                    | Refusal::Expired { .. }
                    | Refusal::UnknownReservation),
                ),
            ) if self.request.details.replaces.is_some() => {
                self.refused.insert(shard, Refused::By(refusal));
                self.decide(Decision::Abort)
            }
            (Sent::Hold, _) => self.decide(Decision::Abort),
            (Sent::Abort, _) => self.refuse(),
            (Sent::Begin | Sent::Prepare, Err(refusal)) => {
                self.refused.insert(shard, Refused::By(refusal));
                self.asked(shard)
            }
            // An answer that does not fit the step counts as no answer.
            (Sent::Begin | Sent::Prepare, Ok(_)) => {
                self.refused.insert(shard, Refused::Silent(StepFailure::Unknown));
                self.asked(shard)
            }
        }
    }

    /// Handles a sent step that got no answer.
    pub fn on_failure(&mut self, number: u64, failure: StepFailure) -> Progress {
        let Some((shard, sent)) = self.pending.remove(&number) else {
            return Progress::default();
        };
        match sent {
            Sent::Begin | Sent::Prepare => {
                self.refused.insert(shard, Refused::Silent(failure));
                self.asked(shard)
            }
            Sent::Hold => {
                self.phase = Phase::Over;
                Progress::end(match failure {
                    StepFailure::NotDone => End::Unavailable(shard),
                    StepFailure::Unknown => End::Unknown(shard),
                })
            }
            Sent::Abort => self.refuse(),
            Sent::Settle | Sent::Inquire(_) => self.cleared(),
        }
    }

    /// Stops waiting for parts that are not prepared. Call it when the caller's time is nearly over.
    pub fn give_up(&mut self) -> Progress {
        match self.phase {
            Phase::Together | Phase::Ascending => {
                for (shard, _) in std::mem::take(&mut self.pending).into_values() {
                    self.refused.insert(shard, Refused::Silent(StepFailure::Unknown));
                }
                self.decide(Decision::Abort)
            }
            Phase::Over => Progress::default(),
            Phase::Holding => {
                self.phase = Phase::Over;
                Progress::end(End::Unknown(self.home))
            }
            Phase::Aborting | Phase::Clearing | Phase::GivingBack | Phase::Replaying { .. } => self.refuse(),
        }
    }

    fn begun(&mut self, standing: Standing, part: Option<PreparedPart>) -> Progress {
        match standing {
            Standing::Undecided { attempt } if attempt == self.attempt => {
                if self.phase == Phase::Together {
                    if let Some(part) = part.filter(|part| part.attempt == attempt) {
                        self.prepared.insert(self.home, part);
                    } else {
                        return self.ascend(attempt);
                    }
                }
                self.asked(self.home)
            }
            // Another coordinator of the same request is ahead.
            Standing::Undecided { attempt } => self.ascend(attempt),
            Standing::Aborted { attempt } => self.clear(attempt),
            decided @ Standing::Decided { .. } => {
                if let Some(part) = part {
                    self.prepared.insert(self.home, part);
                }
                self.replay(decided)
            }
        }
    }

    /// Goes on after a shard has answered Begin or Prepare, or will not answer.
    fn asked(&mut self, shard: ShardNumber) -> Progress {
        match self.phase {
            Phase::Together if self.pending.is_empty() => self.conclude(),
            Phase::Ascending => match self.refused.get(&shard) {
                Some(Refused::By(Refusal::Contended(_))) => {
                    self.refused.remove(&shard);
                    let target = self.prepare(shard);
                    Progress {
                        send: vec![target],
                        pause: true,
                        end: None,
                    }
                }
                Some(_) if self.terms.mode == ReserveMode::AllOrNothing => self.abandon(),
                _ => self.ask_next(),
            },
            Phase::Replaying { .. } => self.replayed(),
            _ => Progress::default(),
        }
    }

    fn ask_next(&mut self) -> Progress {
        let is_open =
            |shard: &ShardNumber| !self.prepared.contains_key(shard) && !self.refused.contains_key(shard);
        let next = self.shards().find(is_open);
        match next {
            Some(shard) => {
                let target = self.prepare(shard);
                Progress::send(vec![target])
            }
            None => self.conclude(),
        }
    }

    /// Decides after every shard has answered.
    fn conclude(&mut self) -> Progress {
        // If units of an earlier attempt are not given back yet, they are in the way only for a moment. That
        // is no shortage.
        let only_short = |refused: &Refused| matches!(refused, Refused::By(Refusal::InsufficientStock(_)));
        let granted: i128 = self
            .prepared
            .values()
            .flat_map(|part| &part.lines)
            .map(|line| i128::from(line.granted))
            .sum();
        let holds = match self.terms.mode {
            ReserveMode::AllOrNothing => self.refused.is_empty(),
            ReserveMode::BestEffort => {
                let home_is_in = self.prepared.contains_key(&self.home);
                home_is_in && granted > 0 && self.refused.values().all(only_short)
            }
        };
        if holds {
            let incarnations = self
                .prepared
                .iter()
                .map(|(shard, part)| (*shard, part.incarnation))
                .collect();
            self.decide(Decision::Hold { incarnations })
        } else if self.prepared.is_empty()
            && self
                .refused
                .values()
                .all(|refused| matches!(refused, Refused::By(_)))
        {
            // No shard has any units, so there is nothing to decide.
            self.retry_or_refuse(false)
        } else {
            self.abandon()
        }
    }

    fn decide(&mut self, decision: Decision) -> Progress {
        self.pending.clear();
        let (phase, sent) = match decision {
            Decision::Hold { .. } => (Phase::Holding, Sent::Hold),
            Decision::Abort => (Phase::Aborting, Sent::Abort),
        };
        self.phase = phase;
        let attempt = self.attempt;
        let target = self.send(self.home, sent, OrderStep::Decide { attempt, decision });
        Progress::send(vec![target])
    }

    /// `before` means that another decision came before the one that was sent.
    fn decided(&mut self, standing: Standing, before: bool) -> Progress {
        match standing {
            Standing::Undecided { attempt } => self.ascend(attempt),
            Standing::Aborted { attempt } if self.phase == Phase::Holding => self.clear(attempt),
            Standing::Aborted { .. } => self.retry_or_refuse(true),
            Standing::Decided {
                attempt,
                position,
                first_expires_at_ms,
                ref incarnations,
                ..
            } => {
                // Another coordinator may have held less than is prepared here. The rest is given back.
                let ours = self.phase == Phase::Holding
                    && attempt == self.attempt
                    && incarnations.len() == self.prepared.len()
                    && incarnations.iter().all(|(shard, known)| {
                        self.prepared
                            .get(shard)
                            .is_some_and(|part| part.incarnation == *known)
                    });
                if ours {
                    self.granted(position, first_expires_at_ms, before)
                } else {
                    self.replay(standing)
                }
            }
        }
    }

    fn begin(&mut self, with_part: bool) -> Target {
        let step = OrderStep::Begin {
            attempt: self.attempt,
            home: self.home,
            participants: self.shards().collect(),
            part: self.parts.get(&self.home).filter(|_| with_part).cloned(),
            terms: self.terms.clone(),
        };
        self.send(self.home, Sent::Begin, step)
    }

    fn prepare(&mut self, shard: ShardNumber) -> Target {
        let part = self
            .parts
            .get(&shard)
            .cloned()
            .unwrap_or(OrderPart { lines: Vec::new() });
        let step = OrderStep::Prepare {
            attempt: self.attempt,
            home: self.home,
            part,
            terms: self.terms.clone(),
        };
        self.send(shard, Sent::Prepare, step)
    }

    fn send(&mut self, shard: ShardNumber, sent: Sent, step: OrderStep) -> Target {
        self.last_number += 1;
        self.pending.insert(self.last_number, (shard, sent));
        Target {
            number: self.last_number,
            shard,
            command: step.about(self.request.operation_id, &self.request),
        }
    }
}

impl Progress {
    fn send(send: Vec<Target>) -> Self {
        Self {
            send,
            pause: false,
            end: None,
        }
    }

    fn end(end: End) -> Self {
        Self {
            send: Vec::new(),
            pause: false,
            end: Some(end),
        }
    }
}

impl OrderStep {
    /// Wraps the step into a command about an order.
    pub fn about(self, reservation_id: OperationId, of: &Command) -> Command {
        Command {
            operation_id: reservation_id,
            principal: of.principal.clone(),
            reference: of.reference.clone(),
            reason: of.reason.clone(),
            details: of.details,
            action: crate::Action::Order(self),
        }
    }
}
