//! Every way in which the messages, the timeouts and the clocks of a scope can follow each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use holdfast_ledger::{
    Acknowledgement, Coordinator, OrderReply, OrderStep, Progress, ShardNumber, StepFailure, Success,
};
use stateright::{Model, Property};

use crate::{
    judge::Judge,
    packet::{Body, Packet},
    scope::{Scope, shard_of, step},
    seat::Seat,
    world::{Answer, Broken, World},
};

/// What can happen next.
#[derive(Debug, Clone, PartialEq)]
pub enum Move {
    /// A node takes the request and coordinates.
    Start {
        /// Which coordinator.
        seat: usize,
    },
    /// A message arrives.
    Deliver(Arc<Packet>),
    /// A message arrives, and will once more.
    Redeliver(Arc<Packet>),
    /// A coordinator takes a step for lost, which may still arrive.
    Timeout {
        /// Which coordinator.
        seat: usize,
        /// Which of its steps.
        number: u64,
    },
    /// A coordinator's time is over.
    GiveUp {
        /// Which.
        seat: usize,
    },
    /// A caller does something to a held order.
    Wish {
        /// Which, by its place in the scope.
        number: usize,
    },
    /// A shard's log time leaps to the next moment at which something is due.
    Leap {
        /// Which shard.
        shard: ShardNumber,
    },
}

/// Orders over several shards, within the bounds of a scope.
pub struct OrderModel {
    pub(crate) scope: Scope,
    judge: Judge,
    deadline: Option<Instant>,
    was_cut: Arc<AtomicBool>,
}

impl OrderModel {
    /// `deadline`: no state is looked at after it, and `was_cut` says so.
    pub(crate) fn new(scope: Scope, deadline: Option<Instant>, was_cut: Arc<AtomicBool>) -> Self {
        Self {
            scope,
            judge: Judge::default(),
            deadline,
            was_cut,
        }
    }

    fn start(&self, world: &mut World, place: usize) -> Option<()> {
        let order = world.seats.get(place)?.order;
        let request = self.scope.request(order)?;
        let coordinator = Coordinator::new(request, shard_of).ok()??;
        let send = Arc::make_mut(world.seats.get_mut(place)?).start(coordinator);
        for target in send {
            world.network.send(Body::Step { seat: place, target });
        }
        Some(())
    }

    /// None: it changes nothing, so it may as well not have arrived.
    fn deliver(&self, world: &mut World, packet: &Packet, stays: bool) -> Option<()> {
        if !stays {
            world.network.take(packet);
        }
        match &packet.body {
            Body::Step { seat, target } => {
                let Answer { outcome, changed } = world.run(&self.scope, target.shard, &target.command);
                let waiting = world.seats.get(*seat)?;
                if waiting.waits_for().contains(&target.number) {
                    let mut ears = Seat::clone(waiting);
                    let heard =
                        ears.hear(|coordinator| coordinator.on_answer(target.number, outcome.clone()))?;
                    if heard.pause {
                        // It would ask the same again: as if it had waited until something is different.
                        return None;
                    }
                    world.network.send(Body::Answer {
                        seat: *seat,
                        number: target.number,
                        outcome,
                    });
                } else if !changed {
                    return None;
                }
            }
            Body::Answer {
                seat,
                number,
                outcome,
            } => {
                self.tell(world, *seat, |coordinator| {
                    coordinator.on_answer(*number, outcome.clone())
                })?;
            }
            Body::Settle { home, due } => {
                let settle = step(due.reservation_id, OrderStep::Settle(due.settlement.clone()));
                world.run(&self.scope, due.shard, &settle);
                world.network.send(Body::Acknowledge {
                    home: *home,
                    acknowledgement: Acknowledgement {
                        reservation_id: due.reservation_id,
                        shard: due.shard,
                        attempt: due.settlement.attempt,
                        version: due.settlement.version,
                    },
                });
            }
            Body::Acknowledge {
                home,
                acknowledgement,
            } => {
                let id = acknowledgement.reservation_id;
                let acknowledge = step(id, OrderStep::Acknowledge(vec![*acknowledgement]));
                if !world.run(&self.scope, *home, &acknowledge).changed {
                    return None;
                }
            }
            Body::Inquire { shard, due } => {
                let inquire = OrderStep::Inquire {
                    shard: *shard,
                    attempt: due.attempt,
                    incarnation: due.incarnation,
                };
                let Answer { outcome, changed } =
                    world.run(&self.scope, due.home, &step(due.reservation_id, inquire));
                match outcome {
                    Ok(Success::Order {
                        reply: OrderReply::Answered(Some(settlement)),
                        ..
                    }) => world.network.send(Body::Answered {
                        shard: *shard,
                        reservation_id: due.reservation_id,
                        settlement,
                    }),
                    _ if changed => {}
                    _ => return None,
                }
            }
            Body::Answered {
                shard,
                reservation_id,
                settlement,
            } => {
                let settle = step(*reservation_id, OrderStep::Settle(settlement.clone()));
                if !world.run(&self.scope, *shard, &settle).changed {
                    return None;
                }
            }
        }
        Some(())
    }

    fn tell(
        &self,
        world: &mut World,
        place: usize,
        tell: impl FnOnce(&mut Coordinator) -> Progress,
    ) -> Option<()> {
        let seat = Arc::make_mut(world.seats.get_mut(place)?);
        let progress = seat.hear(tell)?;
        let order = seat.order;
        let waits_for = seat.waits_for().to_vec();
        world
            .network
            .drop_answers(place, |number| waits_for.contains(&number));
        for target in progress.send {
            world.network.send(Body::Step { seat: place, target });
        }
        if let Some(granted) = progress.end.as_ref().and_then(Seat::granted) {
            let known = world.witness.granted.get_mut(order)?;
            if known.is_some_and(|first| first != granted) {
                world.fail(Broken::TwoAnswers, "the same request was granted twice");
            } else {
                *known = Some(granted);
            }
        }
        Some(())
    }

    fn wish(&self, world: &mut World, number: usize) -> Option<()> {
        let (shard, command) = self.scope.wish(number)?;
        let Answer { outcome, changed } = world.run(&self.scope, shard, &command);
        if !changed {
            return None;
        }
        if outcome.is_ok() {
            *world.witness.fulfilled.get_mut(number)? = true;
        }
        Some(())
    }

    fn leap(&self, world: &mut World, shard: ShardNumber) -> Option<()> {
        let left = world.left.leaps.get_mut(shard as usize)?;
        *left = left.checked_sub(1)?;
        world.leap(&self.scope, shard).then_some(())
    }

    fn play(&self, before: &World, action: &Move) -> Option<World> {
        let mut world = before.clone();
        match action {
            Move::Start { seat } => self.start(&mut world, *seat)?,
            Move::Deliver(packet) => self.deliver(&mut world, packet, false)?,
            Move::Redeliver(packet) => {
                world.left.redeliveries = world.left.redeliveries.checked_sub(1)?;
                self.deliver(&mut world, packet, true)?;
            }
            Move::Timeout { seat, number } => {
                world.left.timeouts = world.left.timeouts.checked_sub(1)?;
                self.tell(&mut world, *seat, |coordinator| {
                    coordinator.on_failure(*number, StepFailure::Unknown)
                })?;
            }
            Move::GiveUp { seat } => {
                world.left.timeouts = world.left.timeouts.checked_sub(1)?;
                self.tell(&mut world, *seat, Coordinator::give_up)?;
            }
            Move::Wish { number } => self.wish(&mut world, *number)?,
            Move::Leap { shard } => self.leap(&mut world, *shard)?,
        }
        if world.broken.is_some() {
            return Some(world);
        }
        let same_shards = before
            .shards
            .iter()
            .zip(&world.shards)
            .all(|(before, after)| Arc::ptr_eq(before, after));
        if !same_shards || before.witness != world.witness {
            world.send_what_is_due();
            self.judge.judge(&self.scope, &mut world);
        }
        Some(world)
    }
}

impl Model for OrderModel {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.scope)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Move>) {
        if world.broken.is_some() {
            return;
        }
        for (place, seat) in world.seats.iter().enumerate() {
            let is_first = world
                .seats
                .iter()
                .take(place)
                .all(|other| other.order != seat.order || other.has_started());
            // Coordinators of one request are alike: one of them is the first.
            if !seat.has_started() && is_first {
                actions.push(Move::Start { seat: place });
            }
            if world.left.timeouts > 0 && seat.coordinator().is_some() {
                actions.push(Move::GiveUp { seat: place });
                actions.extend(seat.waits_for().iter().map(|number| Move::Timeout {
                    seat: place,
                    number: *number,
                }));
            }
        }
        for packet in world.network.iter() {
            actions.push(Move::Deliver(Arc::clone(packet)));
            let may_repeat = world.left.redeliveries > 0 && !matches!(packet.body, Body::Answer { .. });
            if may_repeat {
                actions.push(Move::Redeliver(Arc::clone(packet)));
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
            Property::always(Broken::DoesNotHeal.claim(), |_, world: &World| {
                world.broken != Some(Broken::DoesNotHeal)
            }),
        ]
    }

    fn within_boundary(&self, _: &World) -> bool {
        let is_over = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if is_over {
            self.was_cut.store(true, Ordering::Relaxed);
        }
        !is_over
    }
}

impl Broken {
    /// The claim that it breaks.
    pub fn claim(self) -> &'static str {
        match self {
            Self::Invariant => "every invariant of the ledger holds, and every unit is in one place",
            Self::Oversold => "nobody is promised what is not there",
            Self::DoubleCommit => "no order is committed twice in a shard",
            Self::HoldLost => "an acknowledged hold is never aborted",
            Self::CommitLost => "an acknowledged commit is never lost",
            Self::TwoAnswers => "the same request is granted the same",
            Self::DoesNotHeal => "every state heals to all or nothing",
        }
    }
}
