//! The moves of the model: every way in which the messages, the timeouts and the clocks of a scope can follow
//! each other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use holdfast_ledger::{
    Acknowledgement, Action, Coordinator, OrderStep, Progress, ShardNumber, StepFailure, Target,
};

use crate::{
    driver::Driver,
    judge::Judge,
    packet::{Body, Packet},
    scope::{Scope, step},
    world::{Answer, Broken, World},
};

/// A move: one thing that can happen next.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Move {
    /// A message arrives.
    Deliver(Arc<Packet>),
    /// A message that may take units arrives, and will once more.
    Redeliver(Arc<Packet>),
    /// A settlement arrives, and its acknowledgement is lost. A late acknowledgement is the same as that of
    /// the next delivery.
    DeliverUnheard(Arc<Packet>),
    /// A coordinator assumes that a step is lost, but the step may still arrive.
    Timeout {
        /// The coordinator.
        driver: usize,
        /// The number of its step.
        number: u64,
    },
    /// A coordinator's time is over.
    GiveUp {
        /// The coordinator.
        driver: usize,
    },
    /// A caller does something to a held order.
    Wish {
        /// The wish, by its place in the scope.
        number: usize,
    },
    /// A shard's log time leaps to the next moment at which something is due.
    Leap {
        /// The shard.
        shard: ShardNumber,
    },
}

/// The fate of a message after its delivery.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Never,
    Once,
    /// The message may come again, and nobody hears the result of this delivery.
    Unheard,
}

/// A model of orders over several shards, within the bounds of a scope.
pub(crate) struct OrderModel {
    pub(crate) scope: Scope,
    judge: Judge,
    deadline: Option<Instant>,
    was_cut: Arc<AtomicBool>,
}

impl OrderModel {
    /// Makes a model. After `deadline` nothing happens in any state, and `was_cut` is set.
    pub(crate) fn new(scope: Scope, deadline: Option<Instant>, was_cut: Arc<AtomicBool>) -> Self {
        Self {
            scope,
            judge: Judge::default(),
            deadline,
            was_cut,
        }
    }

    /// Delivers a message. Returns none when it changes nothing, which is the same as no delivery.
    fn deliver(&self, world: &mut World, packet: &Packet, again: Again) -> Option<()> {
        if packet.body.takes_units() && again == Again::Never {
            world.network.take(packet);
        }
        match &packet.body {
            Body::Step { driver, target } => self.take_step(world, *driver, target),
            Body::Answer {
                driver,
                number,
                outcome,
            } => self.tell(world, *driver, |coordinator| {
                coordinator.on_answer(*number, outcome.clone())
            }),
            Body::Settle { home, due } => {
                let settle = step(due.reservation_id, OrderStep::Settle(due.settlement.clone()));
                let settled = world.run(&self.scope, due.shard, &settle);
                // It waits for something else, so nothing is acknowledged.
                if again == Again::Unheard || settled.outcome.is_err() {
                    return settled.changed.then_some(());
                }
                let acknowledgement = Acknowledgement {
                    reservation_id: due.reservation_id,
                    shard: due.shard,
                    attempt: due.settlement.attempt,
                    version: due.settlement.version,
                };
                let acknowledge = OrderStep::Acknowledge(vec![acknowledgement]);
                let acknowledged = world.run(&self.scope, *home, &step(due.reservation_id, acknowledge));
                (settled.changed || acknowledged.changed).then_some(())
            }
            Body::Inquire { shard, due } => {
                let inquire = OrderStep::Inquire {
                    shard: *shard,
                    attempt: due.attempt,
                    incarnation: due.incarnation,
                };
                let answer = world.run(&self.scope, due.home, &step(due.reservation_id, inquire));
                if let Some(settlement) = answer.settlement() {
                    world.network.send(Body::Answered {
                        shard: *shard,
                        reservation_id: due.reservation_id,
                        settlement: settlement.clone().about(due.incarnation),
                    });
                }
                Some(())
            }
            Body::Answered {
                shard,
                reservation_id,
                settlement,
            } => {
                let settle = step(*reservation_id, OrderStep::Settle(settlement.clone()));
                let settled = world.run(&self.scope, *shard, &settle);
                settled.changed.then_some(())
            }
        }
    }

    fn take_step(&self, world: &mut World, place: usize, target: &Target) -> Option<()> {
        let Answer { outcome, changed } = world.run(&self.scope, target.shard, &target.command);
        let driver = world.drivers.get(place)?;
        if !driver.waits_for().contains(&target.number) {
            return changed.then_some(());
        }
        let mut ears = Driver::clone(driver);
        let heard = ears.hear(|coordinator| coordinator.on_answer(target.number, outcome.clone()))?;
        if heard.pause {
            // It would ask the same again. So the model lets it wait until something is different.
            return None;
        }
        world.network.send(Body::Answer {
            driver: place,
            number: target.number,
            outcome,
        });
        Some(())
    }

    fn tell(
        &self,
        world: &mut World,
        place: usize,
        tell: impl FnOnce(&mut Coordinator) -> Progress,
    ) -> Option<()> {
        let driver = Arc::make_mut(world.drivers.get_mut(place)?);
        let mut progress = driver.hear(tell)?;
        if progress
            .send
            .iter()
            .any(|target| attempt_of(target) > self.scope.attempts)
        {
            driver.die();
            progress.send.clear();
        }
        let order = driver.order;
        let waits_for = driver.waits_for().to_vec();
        world
            .network
            .drop_answers(place, |number| waits_for.contains(&number));
        for target in progress.send {
            world.network.send(Body::Step {
                driver: place,
                target,
            });
        }
        if progress.end.as_ref().is_some_and(Driver::was_first) {
            let was_before = std::mem::replace(world.witness.first.get_mut(order)?, true);
            if was_before {
                world.fail(Broken::TwoAnswers, "two answers say that they were the first");
            }
        }
        if let Some(granted) = progress.end.as_ref().and_then(Driver::granted) {
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

    pub(crate) fn play(&self, before: &World, action: &Move) -> Option<World> {
        let mut world = before.clone();
        let done = self.act(&mut world, action);
        if world.broken.is_some() {
            return Some(world);
        }
        done?;
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

    pub(crate) fn is_over(&self) -> bool {
        let is_over = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
        if is_over {
            self.was_cut.store(true, Ordering::Relaxed);
        }
        is_over
    }

    /// Makes a move. Returns none when nothing happens.
    fn act(&self, world: &mut World, action: &Move) -> Option<()> {
        match action {
            Move::Deliver(packet) => self.deliver(world, packet, Again::Never),
            Move::DeliverUnheard(packet) => self.deliver(world, packet, Again::Unheard),
            Move::Redeliver(packet) => {
                world.left.redeliveries = world.left.redeliveries.checked_sub(1)?;
                self.deliver(world, packet, Again::Once)
            }
            Move::Timeout { driver, number } => {
                world.left.timeouts = world.left.timeouts.checked_sub(1)?;
                self.tell(world, *driver, |coordinator| {
                    coordinator.on_failure(*number, StepFailure::Unknown)
                })
            }
            Move::GiveUp { driver } => {
                world.left.timeouts = world.left.timeouts.checked_sub(1)?;
                self.tell(world, *driver, Coordinator::give_up)
            }
            Move::Wish { number } => self.wish(world, *number),
            Move::Leap { shard } => self.leap(world, *shard),
        }
    }
}

fn attempt_of(target: &Target) -> u32 {
    match &target.command.action {
        Action::Order(OrderStep::Begin { attempt, .. } | OrderStep::Prepare { attempt, .. }) => *attempt,
        _ => 0,
    }
}
