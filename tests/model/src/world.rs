//! A state of the model: the shards, the coordinators, the messages between them, and the answers to callers.

use std::{
    collections::VecDeque,
    hash::{Hash, Hasher},
    sync::Arc,
};

use holdfast_ledger::{
    Acknowledgement, Applied, ChangeKind, Command, Coordinator, End, OrderReply, OrderStep, Outcome, Refusal,
    ReservationState, Settlement, ShardNumber, Standing, Success, Target, Verdict,
};

use crate::{
    driver::{Driver, Granted},
    packet::{Body, Network},
    scope::{OrderScope, Scope, shard_of, step},
    shard::Shard,
};

/// A property that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Broken {
    /// An invariant of the ledger is broken, or a unit is not in exactly one place. Both are checked in full
    /// after every entry.
    Invariant,
    /// Callers were promised more than there is.
    Oversold,
    /// The units of an order were committed twice in one shard.
    DoubleCommit,
    /// A hold that a caller was told of is missing in a shard.
    HoldLost,
    /// A commit that a caller was told of is missing.
    CommitLost,
    /// The same request was answered with two different grants.
    TwoAnswers,
    /// Two requests for units of one shard have an effect under one id.
    TwoEffects,
    /// A hold and its replacement both count, or two replacements of one hold do.
    BothHold,
    /// A unit of a held order is free.
    LetGo,
    /// Two live orders have one reference to themselves, or no order has it and it is refused.
    TwoDocuments,
    /// Something stays prepared, or is done in one shard and not in another, whatever the resolvers do.
    DoesNotHeal,
    /// A coordinator waits for ever.
    NeverEnds,
}

/// One state of the model. Two states that behave alike are equal.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) shards: Vec<Arc<Shard>>,
    pub(crate) drivers: Vec<Arc<Driver>>,
    pub(crate) network: Network,
    pub(crate) witness: Witness,
    pub(crate) left: Left,
    pub(crate) broken: Option<Broken>,
    /// The explanation of the broken claim.
    pub(crate) why: Option<Arc<str>>,
}

/// The answer of a shard to a command.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// Whether there was an entry for it.
    pub(crate) changed: bool,
}

impl Answer {
    /// Returns the settlement that a participant is told to make.
    pub(crate) fn settlement(&self) -> Option<&Settlement> {
        match &self.outcome {
            Ok(Success::Order {
                reply: OrderReply::Answered(settlement),
                ..
            }) => settlement.as_ref(),
            _ => None,
        }
    }
}

/// The answers that callers got and the commits that shards made, which nobody else remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Witness {
    /// The grant of each order, if a caller was told of one.
    pub(crate) granted: Vec<Option<Granted>>,
    /// Whether a coordinator of each order was told that it was the first.
    pub(crate) first: Vec<bool>,
    /// How often the units of an order were committed, by order and shard.
    pub(crate) committed: Vec<Vec<u8>>,
    /// Whether each wish was fulfilled.
    pub(crate) fulfilled: Vec<bool>,
}

/// The number of things that may still happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    pub(crate) timeouts: u8,
    pub(crate) redeliveries: u8,
    pub(crate) leaps: Vec<u8>,
}

impl World {
    pub(crate) fn new(scope: &Scope) -> Self {
        let mut broken = None;
        let mut shards = Vec::new();
        for (number, units) in (0..).zip(&scope.units) {
            match Shard::stocked(number, *units, scope.rules) {
                Ok(shard) => shards.push(Arc::new(shard)),
                Err(error) => broken = Some((Broken::Invariant, error)),
            }
        }
        let mut network = Network::default();
        let mut drivers = Vec::new();
        for (place, order) in scope.coordinators.iter().enumerate() {
            let request = scope.request(*order);
            let home = scope.orders.get(*order).map(OrderScope::home);
            match request.map(|request| Coordinator::new(request, home, shard_of)) {
                Some(Ok(Some(coordinator))) => {
                    let (driver, send) = Driver::start(*order, coordinator);
                    drivers.push(Arc::new(driver));
                    for target in send {
                        network.send(Body::Step {
                            driver: place,
                            target,
                        });
                    }
                }
                other => broken = Some((Broken::Invariant, format!("order {order}: {other:?}"))),
            }
        }
        let mut world = Self {
            witness: Witness {
                granted: vec![None; scope.orders.len()],
                first: vec![false; scope.orders.len()],
                committed: vec![vec![0; shards.len()]; scope.orders.len()],
                fulfilled: vec![false; scope.wishes.len()],
            },
            shards,
            drivers,
            network,
            left: Left {
                timeouts: scope.timeouts,
                redeliveries: scope.redeliveries,
                leaps: scope.leaps.clone(),
            },
            broken: broken.as_ref().map(|(broken, _)| *broken),
            why: broken.map(|(_, why)| why.into()),
        };
        for order in &scope.held {
            if world.hold(scope, *order).is_none() {
                world.fail(Broken::Invariant, "an order is not held at the beginning");
            }
        }
        world.send_what_is_due();
        world
    }

    /// Holds an order, undisturbed by anything else.
    fn hold(&mut self, scope: &Scope, order: usize) -> Option<()> {
        let home = scope.orders.get(order)?.home();
        let request = scope.request(order)?;
        let end = match Coordinator::new(request.clone(), Some(home), shard_of).ok()? {
            None => End::Outcome(self.run(scope, home, &request).outcome),
            Some(mut coordinator) => {
                let mut waiting: VecDeque<Target> = coordinator.start().into();
                loop {
                    let target = waiting.pop_front()?;
                    let answer = self.run(scope, target.shard, &target.command);
                    let progress = coordinator.on_answer(target.number, answer.outcome);
                    waiting.extend(progress.send);
                    if let Some(end) = progress.end {
                        break end;
                    }
                }
            }
        };
        *self.witness.granted.get_mut(order)? = Some(Driver::granted(&end)?);
        *self.witness.first.get_mut(order)? = true;
        let is_last = scope.held.last() == Some(&order);
        while (scope.is_settled || !is_last) && self.tell(scope) {}
        Some(())
    }

    /// Returns the verdict on an order where it is decided, or none when the order is not held or not known
    /// (any more).
    pub(crate) fn verdict(&self, scope: &Scope, order: usize) -> Option<Verdict> {
        let order_scope = scope.orders.get(order)?;
        let (id, home) = (scope.id(order), self.shard(order_scope.home())?);
        if order_scope.named_home().is_none() {
            return match home.part(id, None)?.state {
                ReservationState::Held => Some(Verdict::Held),
                ReservationState::Committed => Some(Verdict::Committed),
                ReservationState::Released => Some(Verdict::Released),
                ReservationState::Expired => Some(Verdict::Expired),
                _ => None,
            };
        }
        match home.standing(id)? {
            Standing::Decided { verdict, .. } => Some(verdict),
            Standing::Undecided { .. } | Standing::Aborted { .. } => None,
        }
    }

    pub(crate) fn shard(&self, number: ShardNumber) -> Option<&Arc<Shard>> {
        self.shards.get(number as usize)
    }

    /// Gives a command to a shard. Returns the answer.
    pub(crate) fn run(&mut self, scope: &Scope, number: ShardNumber, command: &Command) -> Answer {
        let nowhere = Answer {
            outcome: Err(Refusal::UnknownReservation),
            changed: false,
        };
        let Some(shard) = self.shard(number) else {
            return nowhere;
        };
        if let Some(answer) = shard.preview(command) {
            return Answer {
                outcome: answer,
                changed: false,
            };
        }
        let now_ms = shard.ledger.log_time_ms();
        match self.entry(scope, number, now_ms, vec![command.clone()]) {
            Some(mut applied) if !applied.outcomes.is_empty() => Answer {
                outcome: applied.outcomes.remove(0),
                changed: true,
            },
            _ => nowhere,
        }
    }

    /// Lets the resolvers of all homes tell the participants what is due. Returns whether there was anything.
    pub(crate) fn tell(&mut self, scope: &Scope) -> bool {
        let mut told = false;
        for home in (0..).take(self.shards.len()) {
            let work = self.shard(home).map(|shard| shard.work());
            for due in work.into_iter().flat_map(|work| work.settle) {
                told = true;
                let acknowledgement = Acknowledgement {
                    reservation_id: due.reservation_id,
                    shard: due.shard,
                    attempt: due.settlement.attempt,
                    version: due.settlement.version,
                };
                let settle = OrderStep::Settle(due.settlement);
                let settled = self.run(scope, due.shard, &step(due.reservation_id, settle));
                if settled.outcome.is_err() {
                    continue;
                }
                let acknowledge = OrderStep::Acknowledge(vec![acknowledgement]);
                self.run(scope, home, &step(due.reservation_id, acknowledge));
            }
        }
        told
    }

    /// Lets log time leap to the next moment at which something is due. Returns false when nothing is due.
    pub(crate) fn leap(&mut self, scope: &Scope, number: ShardNumber) -> bool {
        let due_ms = self.shard(number).and_then(|shard| shard.ledger.next_due_ms());
        due_ms.is_some_and(|due_ms| self.entry(scope, number, due_ms, Vec::new()).is_some())
    }

    fn entry(
        &mut self,
        scope: &Scope,
        number: ShardNumber,
        now_ms: u64,
        commands: Vec<Command>,
    ) -> Option<Applied> {
        let shard = Arc::make_mut(self.shards.get_mut(number as usize)?);
        match shard.entry(now_ms, commands) {
            Ok(applied) => {
                self.see(scope, number, &applied);
                Some(applied)
            }
            Err(why) => {
                self.fail(Broken::Invariant, &why);
                None
            }
        }
    }

    fn see(&mut self, scope: &Scope, number: ShardNumber, applied: &Applied) {
        let committed = applied
            .changes
            .iter()
            .filter(|change| change.kind == ChangeKind::Committed)
            .filter_map(|change| change.reservation.as_ref());
        for effect in committed {
            for (order, times) in self.witness.committed.iter_mut().enumerate() {
                let home = scope.orders.get(order).and_then(OrderScope::named_home);
                if scope.id(order) == effect.reservation_id
                    && effect.home == home
                    && let Some(times) = times.get_mut(number as usize)
                {
                    *times = times.saturating_add(1);
                }
            }
        }
    }

    pub(crate) fn fail(&mut self, broken: Broken, why: &str) {
        if self.broken.is_none() {
            self.broken = Some(broken);
            self.why = Some(why.into());
        }
    }

    /// Sends whatever is due. Resolvers send it again whenever it may have been lost, so it is always under
    /// way.
    pub(crate) fn send_what_is_due(&mut self) {
        for (number, shard) in (0..).zip(&self.shards) {
            let work = shard.work();
            for due in work.settle {
                self.network.send(Body::Settle { home: number, due });
            }
            for due in work.inquire {
                self.network.send(Body::Inquire { shard: number, due });
            }
        }
    }

    /// Returns a number that is equal when the shards and the knowledge of callers are equal.
    pub(crate) fn shards_key(&self) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for shard in &self.shards {
            shard.digest.hash(&mut hasher);
        }
        self.witness.hash(&mut hasher);
        hasher.finish()
    }
}

/// The part of a state that makes it different from others.
#[derive(PartialEq, Hash)]
struct Essence<'a> {
    shards: Vec<u64>,
    /// Drivers by order and then by digest, so that coordinators of one request are not distinguished.
    drivers: Vec<(usize, u64)>,
    /// Messages that belong to no coordinator.
    packets: Vec<u64>,
    witness: &'a Witness,
    left: &'a Left,
    broken: Option<Broken>,
}

impl World {
    fn essence(&self) -> Essence<'_> {
        let mut drivers: Vec<(usize, u64)> = self
            .drivers
            .iter()
            .map(|driver| (driver.order, driver.digest))
            .collect();
        let mut packets = Vec::new();
        for packet in self.network.iter() {
            match packet.body.driver().and_then(|driver| drivers.get_mut(driver)) {
                // A sum, because the result must not depend on the order of the keys.
                Some((_, sum)) => *sum = sum.wrapping_add(packet.alike),
                None => packets.push(packet.alike),
            }
        }
        drivers.sort_unstable();
        Essence {
            shards: self.shards.iter().map(|shard| shard.digest).collect(),
            drivers,
            packets,
            witness: &self.witness,
            left: &self.left,
            broken: self.broken,
        }
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.essence().hash(state);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        self.essence() == other.essence()
    }
}
