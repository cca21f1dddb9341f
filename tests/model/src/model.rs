//! The model as the checker sees it: its first state, its moves, and the claims that hold in every state.

use std::sync::Arc;

use stateright::{Model, Property};

use crate::{
    finish::every_coordinator_ends,
    moves::{Move, OrderModel},
    packet::Body,
    world::{Broken, World},
};

impl Model for OrderModel {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.scope)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Move>) {
        if world.broken.is_some() || self.is_over() {
            return;
        }
        for (place, driver) in world.drivers.iter().enumerate() {
            if world.left.timeouts > 0 && driver.coordinator().is_some() {
                actions.push(Move::GiveUp { driver: place });
                actions.extend(driver.waits_for().iter().map(|number| Move::Timeout {
                    driver: place,
                    number: *number,
                }));
            }
        }
        for packet in world.network.iter() {
            actions.push(Move::Deliver(Arc::clone(packet)));
            if world.left.redeliveries > 0 && packet.body.takes_units() {
                actions.push(Move::Redeliver(Arc::clone(packet)));
            }
            if matches!(packet.body, Body::Settle { .. }) {
                actions.push(Move::DeliverUnheard(Arc::clone(packet)));
            }
        }
        for (number, fulfilled) in world.witness.fulfilled.iter().enumerate() {
            if !fulfilled {
                actions.push(Move::Wish { number });
            }
        }
        for (shard, left) in (0..).zip(&world.left.leaps) {
            if *left > 0 {
                actions.push(Move::Leap { shard });
            }
        }
    }

    fn next_state(&self, world: &World, action: Move) -> Option<World> {
        self.play(world, &action)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(Broken::Invariant.claim(), |_, world: &World| {
                world.broken != Some(Broken::Invariant)
            }),
            Property::always(Broken::Oversold.claim(), |_, world: &World| {
                world.broken != Some(Broken::Oversold)
            }),
            Property::always(Broken::DoubleCommit.claim(), |_, world: &World| {
                world.broken != Some(Broken::DoubleCommit)
            }),
            Property::always(Broken::HoldLost.claim(), |_, world: &World| {
                world.broken != Some(Broken::HoldLost)
            }),
            Property::always(Broken::CommitLost.claim(), |_, world: &World| {
                world.broken != Some(Broken::CommitLost)
            }),
            Property::always(Broken::TwoAnswers.claim(), |_, world: &World| {
                world.broken != Some(Broken::TwoAnswers)
            }),
            Property::always(Broken::TwoEffects.claim(), |_, world: &World| {
                world.broken != Some(Broken::TwoEffects)
            }),
            Property::always(Broken::BothHold.claim(), |_, world: &World| {
                world.broken != Some(Broken::BothHold)
            }),
            Property::always(Broken::LetGo.claim(), |_, world: &World| {
                world.broken != Some(Broken::LetGo)
            }),
            Property::always(Broken::TwoDocuments.claim(), |_, world: &World| {
                world.broken != Some(Broken::TwoDocuments)
            }),
            Property::always(Broken::DoesNotHeal.claim(), |_, world: &World| {
                world.broken != Some(Broken::DoesNotHeal)
            }),
            Property::always(Broken::NeverEnds.claim(), |model: &Self, world: &World| {
                !model.scope.coordinators_end
                    || world.broken.is_some()
                    || every_coordinator_ends(model, world)
            }),
        ]
    }
}

impl Broken {
    /// Returns the claim that it breaks.
    pub fn claim(self) -> &'static str {
        match self {
            Self::Invariant => "every invariant of the ledger holds, and every unit is in one place",
            Self::Oversold => "nobody is promised what is not there",
            Self::DoubleCommit => "no order is committed twice in a shard",
            Self::HoldLost => "an acknowledged hold is never aborted",
            Self::CommitLost => "an acknowledged commit is never lost",
            Self::TwoAnswers => "the same request is granted the same, and one answer is the first",
            Self::TwoEffects => "of requests that share an id and a shard one has an effect",
            Self::BothHold => {
                "a hold and what replaced it never both count, nor two replacements of one hold"
            }
            Self::LetGo => "a unit of a held order is never free, also while another order keeps it",
            Self::TwoDocuments => {
                "one live order has a reference to itself, and without one it is not refused"
            }
            Self::NeverEnds => "every coordinator comes to an end when all messages arrive",
            Self::DoesNotHeal => "every state heals to all or nothing",
        }
    }
}
