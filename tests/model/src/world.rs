//! A state of the model: the shards, the coordinators, the messages between them, and what callers were told.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use holdfast_ledger::{Applied, ChangeKind, Command, Outcome, Refusal, ShardNumber};

use crate::{
    packet::{Body, Network},
    scope::Scope,
    seat::{Granted, Seat},
    shard::Shard,
};

/// A property that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Broken {
    /// An invariant of the ledger, checked in full after every entry, and every unit in exactly one place.
    Invariant,
    /// Callers were promised more than there is.
    Oversold,
    /// The units of an order were committed twice in one shard.
    DoubleCommit,
    /// A hold that a caller was told of is not there in every shard.
    HoldLost,
    /// A commit that a caller was told of is not there.
    CommitLost,
    /// The same request was answered with two different grants.
    TwoAnswers,
    /// Something stays prepared, or is done in one shard and not in another, whatever the resolvers do.
    DoesNotHeal,
}

/// One state. Two that behave alike are equal.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) shards: Vec<Arc<Shard>>,
    pub(crate) seats: Vec<Arc<Seat>>,
    pub(crate) network: Network,
    pub(crate) witness: Witness,
    pub(crate) left: Left,
    pub(crate) broken: Option<Broken>,
    /// What was broken, in words.
    pub(crate) why: Option<Arc<str>>,
}

/// What a shard says to a command.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    /// Was there an entry for it?
    pub(crate) changed: bool,
}

/// What callers were told and what shards did, remembered by nobody else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Witness {
    /// By order.
    pub(crate) granted: Vec<Option<Granted>>,
    /// How often the units of an order were committed, by order and shard.
    pub(crate) committed: Vec<Vec<u8>>,
    /// Which wishes were fulfilled.
    pub(crate) fulfilled: Vec<bool>,
}

/// How much may still happen.
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
            match Shard::stocked(number, *units) {
                Ok(shard) => shards.push(Arc::new(shard)),
                Err(error) => broken = Some((Broken::Invariant, error)),
            }
        }
        Self {
            witness: Witness {
                granted: vec![None; scope.orders.len()],
                committed: vec![vec![0; shards.len()]; scope.orders.len()],
                fulfilled: vec![false; scope.wishes.len()],
            },
            shards,
            seats: scope
                .coordinators
                .iter()
                .map(|order| Arc::new(Seat::new(*order)))
                .collect(),
            network: Network::default(),
            left: Left {
                timeouts: scope.timeouts,
                redeliveries: scope.redeliveries,
                leaps: scope.leaps.clone(),
            },
            broken: broken.as_ref().map(|(broken, _)| *broken),
            why: broken.map(|(_, why)| why.into()),
        }
    }

    pub(crate) fn shard(&self, number: ShardNumber) -> Option<&Arc<Shard>> {
        self.shards.get(number as usize)
    }

    /// Has a shard take a command.
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

    /// Log time leaps to the next moment at which something is due. False: nothing is.
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
                if scope.id(order) == effect.reservation_id
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

    /// Resolvers send whatever is due, and again whenever it may have been lost: so it is always on its way.
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

    /// Equal when the shards and what callers know are.
    pub(crate) fn shards_key(&self) -> u64 {
        let mut hasher = xxhash_rust::xxh3::Xxh3::new();
        for shard in &self.shards {
            shard.digest.hash(&mut hasher);
        }
        self.witness.hash(&mut hasher);
        hasher.finish()
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for shard in &self.shards {
            shard.digest.hash(state);
        }
        for seat in &self.seats {
            seat.digest.hash(state);
        }
        for packet in self.network.iter() {
            packet.key.hash(state);
        }
        self.witness.hash(state);
        self.left.hash(state);
        self.broken.hash(state);
    }
}

impl PartialEq for World {
    fn eq(&self, other: &Self) -> bool {
        let same_shards = self
            .shards
            .iter()
            .map(|shard| shard.digest)
            .eq(other.shards.iter().map(|shard| shard.digest));
        let same_seats = self
            .seats
            .iter()
            .map(|seat| seat.digest)
            .eq(other.seats.iter().map(|seat| seat.digest));
        same_shards
            && same_seats
            && self.network == other.network
            && self.witness == other.witness
            && self.left == other.left
            && self.broken == other.broken
    }
}
