//! The claim that every coordinator comes to an end when every message arrives and nobody else begins
//! anything.

use std::sync::Arc;

use crate::{
    heal,
    moves::{Move, OrderModel},
    packet::Packet,
    world::World,
};

/// More moves than two coordinators need.
const MOVES: usize = 400;

pub(crate) fn every_coordinator_ends(model: &OrderModel, world: &World) -> bool {
    let mut world = world.clone();
    for _ in 0..MOVES {
        if world.drivers.iter().all(|driver| driver.coordinator().is_none()) {
            return true;
        }
        let moved = arrive(model, &world, true)
            .or_else(|| arrive(model, &world, false))
            .or_else(|| run_out_of_time(model, &world));
        match moved {
            Some(next) => world = next,
            None => return false,
        }
    }
    false
}

/// Delivers some message of a coordinator, or of a resolver, that changes something.
fn arrive(model: &OrderModel, world: &World, of_coordinators: bool) -> Option<World> {
    let is_meant = |packet: &&Arc<Packet>| packet.body.driver().is_some() == of_coordinators;
    world.network.iter().filter(is_meant).find_map(|packet| {
        let next = model.play(world, &Move::Deliver(Arc::clone(packet)))?;
        (next != *world).then_some(next)
    })
}

/// Lets time pass for the home of an order that nobody decides, when nothing else moves.
fn run_out_of_time(model: &OrderModel, world: &World) -> Option<World> {
    let home = heal::undecided_at(&model.scope, world)?;
    let mut next = world.clone();
    next.leap(&model.scope, home).then(|| {
        next.send_what_is_due();
        next
    })
}
