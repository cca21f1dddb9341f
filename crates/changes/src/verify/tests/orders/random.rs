//! Makes random valid orders between three shards, from a seed. Each step has its own time, and participants
//! may be late.

use holdfast_api::v1::{ChangeKind, ReservationState};
use proptest::prelude::*;

use super::super::histories::Dice;
use super::super::last_seq;
use super::shop::Shop;

const SHARDS: u32 = 3;

/// The decision of the home.
#[derive(Clone, Copy)]
struct Decided {
    kind: ChangeKind,
    by: Option<[u8; 16]>,
    expires_at_ms: u64,
}

struct Order {
    id: [u8; 16],
    home: u32,
    /// The units that each shard is asked for. The home may be asked for none.
    wanted: Vec<(u32, i64)>,
    /// True when all units were available.
    is_whole: bool,
    /// The participants with units, and how many of the home's decisions each has followed.
    followed: Vec<(u32, usize)>,
    decided: Vec<Decided>,
}

impl Order {
    fn last(&self) -> Option<ChangeKind> {
        self.decided.last().map(|decided| decided.kind)
    }

    fn is_over(&self) -> bool {
        let open = [Some(ChangeKind::Confirmed), Some(ChangeKind::Extended), None];
        !open.contains(&self.last())
    }
}

fn random(seed: u64, steps: usize) -> Shop {
    let mut dice = Dice(seed);
    let mut shop = Shop::new(SHARDS);
    let mut orders: Vec<Order> = Vec::new();
    for _ in 0..steps {
        let shard = dice.below(SHARDS.into()) as usize;
        if dice.below(4) == 0 {
            shop.worlds[shard].log_time_ms += dice.below(2_000);
        }
        if orders.is_empty() || dice.below(4) == 0 {
            orders.push(begin(&mut shop, &mut dice));
            continue;
        }
        let at = dice.below(orders.len() as u64) as usize;
        let order = &mut orders[at];
        match dice.below(5) {
            0 if order.last() == Some(ChangeKind::Aborted) && order.followed.is_empty() => {
                order.is_whole = true;
                prepare(&mut shop, order);
            }
            0 | 1 => decide(&mut shop, &mut dice, order),
            2 if order.last() == Some(ChangeKind::Committed) => {
                let world = &mut shop.worlds[order.home as usize];
                if let Some(hold) = world.holds.iter().rposition(|hold| hold.id == order.id)
                    && world.holds[hold].state == ReservationState::Committed
                    && world.move_units(hold, ChangeKind::Shipped, 2)
                {
                    world.end_entry();
                }
            }
            _ => follow(&mut shop, &mut dice, order),
        }
    }
    for order in &mut orders {
        while !order.is_over() {
            decide(&mut shop, &mut dice, order);
        }
        while !order.followed.is_empty() {
            follow(&mut shop, &mut dice, order);
        }
    }
    shop
}

fn begin(shop: &mut Shop, dice: &mut Dice) -> Order {
    let home = dice.below(SHARDS.into()) as u32;
    let mut wanted: Vec<(u32, i64)> = (0..SHARDS)
        .map(|shard| (shard, 1 + dice.below(3) as i64))
        .collect();
    wanted.remove(dice.below(SHARDS.into()) as usize);
    let mut order = Order {
        id: shop.order(home),
        home,
        wanted,
        is_whole: true,
        followed: Vec::new(),
        decided: Vec::new(),
    };
    prepare(shop, &mut order);
    order
}

/// Makes the first attempt, or one more.
fn prepare(shop: &mut Shop, order: &mut Order) {
    order.decided.clear();
    for (shard, quantity) in order.wanted.clone() {
        if shop.worlds[shard as usize].units("SHIRT", "EAST", "free") < quantity {
            order.is_whole = false;
            continue;
        }
        shop.prepare(shard, order.id, quantity);
        if shard != order.home {
            order.followed.push((shard, 0));
        }
    }
}

/// Makes the home decide, or go on after its decision.
fn decide(shop: &mut Shop, dice: &mut Dice, order: &mut Order) {
    let now_ms = shop.worlds[order.home as usize].log_time_ms;
    let until_ms = order.decided.last().map_or(0, |decided| decided.expires_at_ms);
    let kind = match (order.last(), dice.below(5)) {
        (None, 0) => ChangeKind::Aborted,
        (None, _) if !order.is_whole => ChangeKind::Aborted,
        (None, _) => ChangeKind::Confirmed,
        (Some(ChangeKind::Confirmed | ChangeKind::Extended), _) if until_ms <= now_ms => ChangeKind::Expired,
        (Some(ChangeKind::Confirmed | ChangeKind::Extended), 0) => ChangeKind::Extended,
        (Some(ChangeKind::Confirmed | ChangeKind::Extended), 1) => ChangeKind::Released,
        (Some(ChangeKind::Confirmed | ChangeKind::Extended), _) => ChangeKind::Committed,
        _ => return,
    };
    let decided = Decided {
        kind,
        by: match kind {
            ChangeKind::Expired => None,
            ChangeKind::Confirmed | ChangeKind::Aborted => Some(order.id),
            _ => Some(shop.operation()),
        },
        expires_at_ms: match kind {
            ChangeKind::Confirmed | ChangeKind::Extended => until_ms.max(now_ms + 1 + dice.below(5_000)),
            _ => until_ms,
        },
    };
    order.decided.push(decided);
    carry_out(shop, order.home, order.id, decided);
}

/// Makes a participant follow one of the decisions that it does not know.
fn follow(shop: &mut Shop, dice: &mut Dice, order: &mut Order) {
    let behind = |(_, known): &(u32, usize)| *known < order.decided.len();
    let Some(at) = order.followed.iter().position(behind) else {
        return;
    };
    let (shard, known) = order.followed[at];
    let missed = order.decided.len() - known;
    let heard = known + dice.below(missed as u64) as usize;
    let mut decided = order.decided[heard];
    if known == 0 && decided.kind == ChangeKind::Extended {
        decided.kind = ChangeKind::Confirmed;
    }
    carry_out(shop, shard, order.id, decided);
    order.followed[at].1 = heard + 1;
    if !matches!(decided.kind, ChangeKind::Confirmed | ChangeKind::Extended) {
        order.followed.remove(at);
    }
}

fn carry_out(shop: &mut Shop, shard: u32, id: [u8; 16], decided: Decided) {
    let holds = &shop.worlds[shard as usize].holds;
    let open = [ReservationState::Prepared, ReservationState::Held];
    let has_units = holds
        .iter()
        .any(|hold| hold.id == id && open.contains(&hold.state));
    match decided.kind {
        ChangeKind::Confirmed | ChangeKind::Extended => {
            shop.note_until(decided.expires_at_ms, shard, id, decided.kind, decided.by);
        }
        kind if has_units => shop.settle(shard, id, kind, decided.by),
        kind => shop.note_until(decided.expires_at_ms, shard, id, kind, decided.by),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_valid_history_of_orders_is_clean(seed: u64, steps in 0usize..120) {
        let shop = random(seed, steps);
        let report = shop.verify();
        prop_assert!(report.ok, "{}", report);
        prop_assert_eq!(report.orders.prepared, 0);
        prop_assert_eq!(report.orders.orders, shop.told().len() as u64);
    }

    #[test]
    fn streams_read_at_different_moments_are_clean_once_the_rest_was_followed(
        seed: u64,
        cuts in prop::array::uniform3(any::<prop::sample::Index>()),
    ) {
        let shop = random(seed, 100);
        // Each entry has one change here, so every cut is between entries.
        let ends: Vec<u64> = (0..SHARDS)
            .map(|shard| cuts[shard as usize].index(shop.history(shard).len()) as u64)
            .collect();
        let mut verifier = shop.verifier(|shard| ends[shard as usize]);
        let mut asked = 0;
        for unsettled in verifier.unsettled().unwrap() {
            for (shard, after_seq) in &unsettled.shards {
                asked += 1;
                prop_assert_eq!(*after_seq, ends[*shard as usize]);
                for change in shop.history(*shard).iter().filter(|change| change.seq > *after_seq) {
                    let of = change.reservation.as_ref().map(|effect| effect.reservation_id.clone());
                    if of.is_some_and(|id| *id == unsettled.reservation_id) {
                        verifier.follow(change);
                    }
                }
            }
        }
        prop_assert_eq!(verifier.unsettled().unwrap(), []);
        let report = verifier.finish().unwrap();
        prop_assert!(report.ok, "{} shards asked: {}", asked, report);
    }

    #[test]
    fn a_participant_whose_last_word_is_missing_is_found(seed: u64) {
        let shop = random(seed, 60);
        for shard in 0..SHARDS {
            let history = shop.history(shard);
            let Some(last) = history.last() else { continue };
            // The last decision of an order's part, unless it says nothing about the order as a whole.
            let ends = matches!(
                last.kind(),
                ChangeKind::Committed | ChangeKind::Released | ChangeKind::Expired | ChangeKind::Aborted
            );
            let home = last.reservation.as_ref().and_then(|effect| effect.home);
            if !ends || home == Some(shard) {
                continue;
            }
            let cut = last_seq(&history) - 1;
            let report = shop.verifier(|one| if one == shard { cut } else { u64::MAX }).finish().unwrap();
            prop_assert!(!report.ok);
        }
    }
}
