//! Messages on their way. The network keeps each until it is delivered, in no order: one that never arrives is a lost one.

use std::sync::Arc;

use holdfast_ledger::{
    Acknowledgement, DueInquiry, DueSettlement, Outcome, ReservationId, Settlement, ShardNumber, Target,
};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

/// One message, and its name in the network.
#[derive(Debug, Clone, PartialEq)]
pub struct Packet {
    pub(crate) key: u64,
    pub(crate) body: Body,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) enum Body {
    /// A coordinator's step, to a shard.
    Step { seat: usize, target: Target },
    /// The answer, to the coordinator.
    Answer {
        seat: usize,
        number: u64,
        outcome: Outcome,
    },
    /// A home's resolver tells a participant.
    Settle { home: ShardNumber, due: DueSettlement },
    /// A participant has followed, to the home.
    Acknowledge {
        home: ShardNumber,
        acknowledgement: Acknowledgement,
    },
    /// A participant's resolver asks the home.
    Inquire { shard: ShardNumber, due: DueInquiry },
    /// What it is told, to the participant.
    Answered {
        shard: ShardNumber,
        reservation_id: ReservationId,
        settlement: Settlement,
    },
}

/// In order of their keys, none twice.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Network(Vec<Arc<Packet>>);

impl Network {
    pub(crate) fn send(&mut self, body: Body) {
        let key = key_of(&body);
        if let Err(place) = self.0.binary_search_by_key(&key, |packet| packet.key) {
            self.0.insert(place, Arc::new(Packet { key, body }));
        }
    }

    pub(crate) fn take(&mut self, packet: &Packet) {
        self.0.retain(|other| other.key != packet.key);
    }

    /// Drops the answers that a coordinator does not wait for any more.
    pub(crate) fn drop_answers(&mut self, of: usize, waits_for: impl Fn(u64) -> bool) {
        self.0.retain(|packet| match &packet.body {
            Body::Answer { seat, number, .. } => *seat != of || waits_for(*number),
            _ => true,
        });
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<Packet>> {
        self.0.iter()
    }
}

pub(crate) fn key_of(value: &impl Serialize) -> u64 {
    // Nothing here has a length that is not known or a map with other keys, the two things that postcard refuses.
    postcard::to_stdvec(value).map_or(0, |bytes| xxh3_64(&bytes))
}
