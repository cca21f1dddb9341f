//! Makes random valid histories from a seed.

use holdfast_api::v1::{Bucket, ChangeKind, ReservationState};

use super::world::World;

/// A generator of small numbers from a seed (SplitMix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

const SKUS: [&str; 3] = ["SHIRT", "HAT", "MUG"];
const WAREHOUSES: [&str; 2] = ["EAST", "WEST"];
const STOREFRONTS: [&str; 2] = ["web", "app"];

/// Makes a history with this many operations.
pub(super) fn random(seed: u64, operations: usize) -> World {
    let mut dice = Dice(seed);
    let mut world = World::new();
    for sku in SKUS {
        for warehouse in WAREHOUSES {
            world.receive(sku, warehouse, 40);
        }
    }
    world.end_entry();
    for _ in 0..operations {
        operation(&mut world, &mut dice);
        if dice.below(3) > 0 {
            close(&mut world, &mut dice);
        }
    }
    world.end_entry();
    world
}

/// Ends an entry and lets time pass. In the next entry, holds whose time has run out expire first.
fn close(world: &mut World, dice: &mut Dice) {
    world.end_entry();
    world.log_time_ms += dice.below(400);
    for at in 0..world.holds.len() {
        let hold = &world.holds[at];
        if hold.state == ReservationState::Held && hold.expires_at_ms <= world.log_time_ms {
            world.end_hold(at, ChangeKind::Expired);
        }
    }
}

fn operation(world: &mut World, dice: &mut Dice) {
    let sku = SKUS[dice.below(3) as usize];
    let warehouse = WAREHOUSES[dice.below(2) as usize];
    let storefront = STOREFRONTS[dice.below(2) as usize];
    let quantity = 1 + dice.below(6) as i64;
    let place = (sku, warehouse, storefront);
    let free = world.units(sku, warehouse, "free");
    match dice.below(18) {
        0 => world.receive(sku, warehouse, quantity),
        1 => world.set_policy(sku, storefront),
        2 if free >= quantity => {
            world.stock(
                ChangeKind::PoolAllocated,
                place,
                &[(Bucket::Free, -quantity), (Bucket::Pool, quantity)],
            );
        }
        3 if free >= quantity => {
            let to = [Bucket::Safety, Bucket::Damaged, Bucket::QualityHold][dice.below(3) as usize];
            world.stock(
                ChangeKind::BucketMoved,
                (sku, warehouse, ""),
                &[(Bucket::Free, -quantity), (to, quantity)],
            );
        }
        4 if free >= quantity => {
            world.stock(
                ChangeKind::Adjusted,
                (sku, warehouse, ""),
                &[(Bucket::OnHand, -quantity), (Bucket::Free, -quantity)],
            );
        }
        5 => {
            // A deficit excludes stock in pools, and is never more than the promised units.
            let pooled = STOREFRONTS.map(|s| world.units(sku, warehouse, &format!("pool {s}")));
            let kept = world.units(sku, warehouse, "damaged") + world.units(sku, warehouse, "quality_hold");
            if pooled == [0, 0] {
                let on_hand = world.units(sku, warehouse, "on_hand");
                world.count(sku, warehouse, (on_hand - quantity).max(kept));
            }
        }
        6 => {
            let on_hand = world.units(sku, warehouse, "on_hand");
            world.count(sku, warehouse, on_hand + quantity);
        }
        7..=10 => {
            let other = SKUS[dice.below(3) as usize];
            let wanted = [(sku, warehouse, quantity), (other, WAREHOUSES[0], 2)];
            let lines = 1 + dice.below(2) as usize;
            world.reserve(storefront, &wanted[..lines], 200 + dice.below(3_000));
        }
        action if !world.holds.is_empty() => {
            let at = dice.below(world.holds.len() as u64) as usize;
            match (world.holds[at].state, action) {
                (ReservationState::Held, 11) => world.end_hold(at, ChangeKind::Released),
                (ReservationState::Held, 12) => world.extend(at, 2_000),
                (ReservationState::Held, _) => world.end_hold(at, ChangeKind::Committed),
                (ReservationState::Committed, 11) => {
                    world.move_units(at, ChangeKind::Cancelled, quantity);
                }
                (ReservationState::Committed, 12..=15) => {
                    world.move_units(at, ChangeKind::Shipped, quantity);
                }
                (ReservationState::Committed | ReservationState::Shipped, _) => {
                    world.move_units(at, ChangeKind::Returned, quantity);
                }
                _ => {}
            }
        }
        _ => {}
    }
}
