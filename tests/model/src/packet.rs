//! Messages under way. The network keeps them in no order. A message that never arrives is a lost one, and a
//! message that is kept after it has arrived may come again.

use std::sync::Arc;

use holdfast_ledger::{
    Action, CallerReason, Cause, DueInquiry, DueSettlement, OrderStep, Outcome, Reference, ReservationId,
    Settlement, ShardNumber, Target, Verdict,
};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

/// One message of the network.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Packet {
    /// The message's key in the network.
    key: u64,
    /// A number that is equal for equal messages, even of different coordinators.
    pub(crate) alike: u64,
    pub(crate) body: Body,
}

/// The content of a message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) enum Body {
    /// A coordinator's step, to a shard.
    Step { driver: usize, target: Target },
    /// The answer to a step, sent to the coordinator.
    Answer {
        driver: usize,
        number: u64,
        outcome: Outcome,
    },
    /// The settlement that a home's resolver sends to a participant.
    Settle { home: ShardNumber, due: DueSettlement },
    /// The question that a participant's resolver sends to the home.
    Inquire { shard: ShardNumber, due: DueInquiry },
    /// The answer to that question, sent to the participant.
    Answered {
        shard: ShardNumber,
        reservation_id: ReservationId,
        settlement: Settlement,
    },
}

impl Body {
    /// Returns the coordinator that the message belongs to, if any.
    pub(crate) fn driver(&self) -> Option<usize> {
        match self {
            Self::Step { driver, .. } | Self::Answer { driver, .. } => Some(*driver),
            Self::Settle { .. } | Self::Inquire { .. } | Self::Answered { .. } => None,
        }
    }

    /// Returns whether the message may take units each time that it arrives. All other messages may arrive
    /// any number of times.
    pub(crate) fn takes_units(&self) -> bool {
        match self {
            Self::Step { target, .. } => matches!(
                target.command.action,
                Action::Order(OrderStep::Begin { .. } | OrderStep::Prepare { .. })
            ),
            _ => false,
        }
    }

    /// Removes the cause of a decision. Only changes report it, except for the cause that released a hold.
    fn forget_cause(&mut self) {
        match self {
            Self::Settle { due, .. } => forget_cause_of(&mut due.settlement),
            Self::Answered { settlement, .. } => forget_cause_of(settlement),
            Self::Step { .. } | Self::Answer { .. } | Self::Inquire { .. } => {}
        }
    }

    fn alike(&self) -> u64 {
        match self {
            Self::Step { target, .. } => key_of(target),
            Self::Answer { number, outcome, .. } => key_of(&(number, outcome)),
            other => key_of(other),
        }
    }
}

/// Messages in order of their keys, none twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Network(Vec<Arc<Packet>>);

impl Network {
    pub(crate) fn send(&mut self, mut body: Body) {
        body.forget_cause();
        let alike = body.alike();
        let key = alike.rotate_left(body.driver().map_or(0, |driver| 1 + driver as u32));
        if let Err(place) = self.0.binary_search_by_key(&key, |packet| packet.key) {
            self.0.insert(place, Arc::new(Packet { key, alike, body }));
        }
    }

    pub(crate) fn take(&mut self, packet: &Packet) {
        self.0.retain(|other| other.key != packet.key);
    }

    /// Drops the answers that a coordinator no longer waits for.
    pub(crate) fn drop_answers(&mut self, of: usize, waits_for: impl Fn(u64) -> bool) {
        self.0.retain(|packet| match &packet.body {
            Body::Answer { driver, number, .. } => *driver != of || waits_for(*number),
            _ => true,
        });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Packet>> {
        self.0.iter()
    }
}

fn forget_cause_of(settlement: &mut Settlement) {
    let by = settlement.cause.operation_id;
    settlement.cause = Cause {
        operation_id: by.filter(|_| settlement.verdict == Verdict::Released),
        ..nobody()
    };
}

fn nobody() -> Cause {
    Cause {
        operation_id: None,
        principal: None,
        reason: CallerReason::default(),
        reference: Reference::default(),
        occurred_at_ms: None,
    }
}

pub(crate) fn key_of(value: &impl Serialize) -> u64 {
    // Every length in these values is known beforehand. Only an unknown one makes postcard fail.
    postcard::to_stdvec(value).map_or(0, |bytes| xxh3_64(&bytes))
}
