//! Who drives an order to its decision: a state machine without I/O.
//!
//! Any node can be the coordinator, and it may die at any moment: whatever it leaves behind is decided by the home, by log
//! time if need be. It is told of each answer, or that none came, and says what to send next.
//!
//! The first attempt asks all shards at once. When other undecided orders stood in the way it aborts, and asks once more in ascending
//! order of the shards, one after the other, waiting at each: two orders that met crosswise now meet at their first common shard,
//! where one of them comes first. An attempt that waits holds only lower shards than the one it waits for, so nobody waits in a circle.

mod answers;
mod attempts;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Decision, OrderLine, OrderPart, OrderReply, OrderStep, OrderTerms, PreparedPart, ShardNumber, Standing,
    Verdict,
};
use crate::{
    Action, Command, Outcome, Position, Refusal, ReserveMode, Sku, Success,
    fault::{Fault, is_seeded},
    ledger::merged_lines,
};

/// How often one coordinator begins an attempt.
const MAX_ROUNDS: u32 = 4;

/// Drives one order. See the module's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coordinator {
    /// The Reserve.
    request: Command,
    home: ShardNumber,
    parts: BTreeMap<ShardNumber, OrderPart>,
    terms: OrderTerms,
    attempt: u32,
    rounds: u32,
    phase: Phase,
    /// Steps on their way, by number.
    pending: BTreeMap<u64, (ShardNumber, Sent)>,
    last_number: u64,
    prepared: BTreeMap<ShardNumber, PreparedPart>,
    refused: BTreeMap<ShardNumber, Refused>,
}

/// A step to be sent, as a command, to a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Names this sending: the answer is given back with it.
    pub number: u64,
    /// To whom.
    pub shard: ShardNumber,
    /// What.
    pub command: Command,
}

/// No answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StepFailure {
    /// The step certainly had no effect.
    NotDone,
    /// It may have had its effect.
    Unknown,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Send these.
    pub send: Vec<Target>,
    /// Wait a moment before sending: another order is in the way.
    pub pause: bool,
    /// The order's end, as far as its caller is concerned. Nothing is sent afterwards.
    pub end: Option<End>,
}

/// How it ended for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Decided.
    Outcome(Outcome),
    /// A shard did not answer; the order is not held.
    Unavailable(ShardNumber),
    /// The home did not answer when it was to decide: the same request again finds out.
    Unknown(ShardNumber),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// All shards are asked at once.
    Together,
    /// The order is begun; one shard is asked at a time, in ascending order.
    Ascending,
    Holding,
    Aborting,
    /// What the aborted attempt left is given back before the next one.
    Clearing,
    /// The home refused, so it knows of nobody whom it would have to tell of the abort: what others prepared is given back
    /// before the caller hears of the refusal.
    GivingBack,
    /// Held in an earlier call: the parts are read again.
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
    /// About the units of this shard.
    Inquire(ShardNumber),
}

/// Why a shard has no units for this attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Refused {
    By(Refusal),
    Silent(StepFailure),
}

impl Coordinator {
    /// Plans an order. `request` is a Reserve; `shard_of` says where a SKU lives. `home` is the shard that has to decide it, whether or not
    /// it has lines: that of its document if its reference has to be unique, that of the hold that it replaces. None: any may. Returns None
    /// when it concerns one shard, so the Reserve itself can be sent there.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] when it is malformed.
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
            rounds: 1,
            phase: Phase::Together,
            pending: BTreeMap::new(),
            last_number: 0,
            prepared: BTreeMap::new(),
            refused: BTreeMap::new(),
        }))
    }

    /// The same order on behalf of another request: a retry must repeat that one.
    pub(super) fn with_fingerprint(mut self, fingerprint: u64) -> Self {
        self.terms.fingerprint = fingerprint;
        self
    }

    /// The shard that decides.
    pub fn home(&self) -> ShardNumber {
        self.home
    }

    /// The shards with lines, in order.
    pub fn shards(&self) -> impl Iterator<Item = ShardNumber> {
        self.parts.keys().copied()
    }

    /// Has it nothing decided yet, so that it can still give up?
    pub fn is_preparing(&self) -> bool {
        matches!(self.phase, Phase::Together | Phase::Ascending | Phase::Clearing)
    }

    /// The first steps.
    pub fn start(&mut self) -> Vec<Target> {
        let mut send = vec![self.begin(true)];
        let others: Vec<ShardNumber> = self.shards().filter(|shard| *shard != self.home).collect();
        for shard in others {
            send.push(self.prepare(shard));
        }
        send
    }

    /// Takes the answer to a sent step. One that is not waited for any more is passed over.
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
            // The hold that it was to replace is gone: the caller hears that.
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
            // An answer to something else: as good as none.
            (Sent::Begin | Sent::Prepare, Ok(_)) => {
                self.refused.insert(shard, Refused::Silent(StepFailure::Unknown));
                self.asked(shard)
            }
        }
    }

    /// No answer came to a sent step.
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

    /// The caller's time is nearly over: what is not prepared by now is not waited for.
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
            // Another coordinator of the same request is further.
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

    /// A shard has answered Begin or Prepare, or will not.
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

    /// Every shard has said what it has.
    fn conclude(&mut self) -> Progress {
        // Units of an earlier attempt that are not given back yet are in the way for a moment, and no shortage.
        let only_short = |refused: &Refused| matches!(refused, Refused::By(Refusal::InsufficientStock(_)));
        let granted: i128 = self
            .prepared
            .values()
            .flat_map(|part| &part.lines)
            .map(|line| i128::from(line.granted))
            .sum();
        let holds = match self.terms.mode {
            ReserveMode::AllOrNothing => self.refused.is_empty() || is_seeded(Fault::HoldsWithoutAll),
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
            // Nobody has anything: there is nothing to decide.
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

    /// `before`: by another's decision than the one that was sent.
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
                // What another coordinator held may be less than what is prepared by now: the rest is given back.
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
