//! The judge of states: are the answers to callers still true, and can every order still be brought to an
//! end?

use std::collections::{BTreeMap, HashMap};

use holdfast_ledger::{ReservationState, ReserveMode, ShardNumber, Standing, Verdict};
use parking_lot::Mutex;

use crate::{
    heal,
    judgement::{Judgement, fulfilled},
    scope::{Scope, Wish},
    world::{Broken, World},
};

/// The judge of states. The judgement follows from the shards and from the answers to callers, so it is
/// remembered for these.
#[derive(Debug, Default)]
pub(crate) struct Judge {
    known: Mutex<HashMap<u64, Option<Broken>>>,
}

impl Judge {
    pub(crate) fn judge(&self, scope: &Scope, world: &mut World) {
        let key = world.shards_key();
        let known = self.known.lock().get(&key).copied();
        if known == Some(None) {
            return;
        }
        if let Err((broken, why)) = check(scope, world).and_then(|()| heal::check(scope, world)) {
            world.fail(broken, &why);
        }
        self.known.lock().insert(key, world.broken);
    }
}

/// Checks the claims that hold at every moment.
fn check(scope: &Scope, world: &World) -> Judgement {
    check_effects(scope, world)?;
    check_replaced(scope, world)?;
    check_kept(scope, world)?;
    let mut promised: BTreeMap<ShardNumber, i64> = BTreeMap::new();
    for order in 0..scope.orders.len() {
        let times = world.witness.committed.get(order).into_iter().flatten();
        if times.clone().any(|times| *times > 1) {
            return Err((Broken::DoubleCommit, format!("order {order}: {times:?}")));
        }
        check_promises(scope, world, order, &mut promised)?;
    }
    for (shard, promised) in promised {
        if scope
            .units
            .get(shard as usize)
            .is_none_or(|units| promised > *units)
        {
            return Err((Broken::Oversold, format!("{promised} units of shard {shard}")));
        }
    }
    Ok(())
}

/// Checks that at most one of the requests that share an id and a shard has an effect.
fn check_effects(scope: &Scope, world: &World) -> Judgement {
    let has_effect = |order: &usize| {
        let order_scope = &scope.orders[*order];
        let standing = world
            .shard(order_scope.home())
            .and_then(|home| home.standing(scope.id(*order)));
        let Some(Standing::Decided { incarnations, .. }) = standing else {
            return false;
        };
        order_scope.shards.len() == incarnations.len()
            && order_scope
                .shards
                .iter()
                .all(|shard| incarnations.contains_key(shard))
    };
    let effective: Vec<usize> = (0..scope.orders.len()).filter(has_effect).collect();
    for order in &effective {
        let (id, order_scope) = (scope.id(*order), &scope.orders[*order]);
        let is_alone = |wish| match wish {
            Wish::Alone { order, shard } => scope.id(order) == id && order_scope.shards.contains(&shard),
            _ => false,
        };
        let also_alone = (0..scope.orders.len()).any(|other| fulfilled(scope, world, other, is_alone));
        let also = effective.iter().find(|other| {
            *other != order && scope.id(**other) == id && scope.orders[**other].meets(order_scope)
        });
        if also_alone || also.is_some() {
            let why = format!("order {order} and {also:?}, or a hold in one shard");
            return Err((Broken::TwoEffects, why));
        }
    }
    Ok(())
}

/// Checks that a hold has ended when an order that replaces it was held, and that the replacement ended it.
/// Checks also that at most one live order has the one reference.
fn check_replaced(scope: &Scope, world: &World) -> Judgement {
    for of in 0..scope.orders.len() {
        let by: Vec<usize> = replacements(scope, world, of).collect();
        let verdict = world.verdict(scope, of);
        if by.len() > 1 || (!by.is_empty() && !matches!(verdict, Some(Verdict::Released) | None)) {
            let why = format!("order {of} is {verdict:?}, and {by:?} replaced it");
            return Err((Broken::BothHold, why));
        }
    }
    let live: Vec<usize> = (0..scope.orders.len())
        .filter(|order| scope.orders[*order].is_unique && is_live(scope, world, *order))
        .collect();
    if live.len() > 1 {
        return Err((Broken::TwoDocuments, format!("orders {live:?}")));
    }
    Ok(())
}

/// Returns the orders that were held in place of another one.
fn replacements<'a>(scope: &'a Scope, world: &'a World, of: usize) -> impl Iterator<Item = usize> + 'a {
    let replace = move |new: &usize| scope.orders[*new].replaces == Some(of);
    let was_held = |new: &usize| world.verdict(scope, *new).is_some();
    (0..scope.orders.len()).filter(replace).filter(was_held)
}

fn is_live(scope: &Scope, world: &World, order: usize) -> bool {
    let verdict = world.verdict(scope, order);
    matches!(verdict, Some(Verdict::Held | Verdict::Committed))
}

/// Checks that no unit of a live order is free in its shard.
fn check_kept(scope: &Scope, world: &World) -> Judgement {
    for (number, (shard, units)) in (0..).zip(world.shards.iter().zip(&scope.units)) {
        let has_units = |order: &usize| {
            let order_scope = &scope.orders[*order];
            let is_whole = order_scope.mode == ReserveMode::AllOrNothing && order_scope.id_of.is_none();
            let is_cancelled = fulfilled(
                scope,
                world,
                *order,
                |wish| matches!(wish, Wish::Cancel { shard, .. } if shard == number),
            );
            let is_here = order_scope.shards.contains(&number);
            is_here && is_whole && !is_cancelled && is_live(scope, world, *order)
        };
        let orders: Vec<usize> = (0..scope.orders.len()).filter(has_units).collect();
        let taken: i64 = orders.iter().map(|order| scope.orders[*order].quantity).sum();
        let free = shard.cell().map_or(0, |cell| cell.free);
        if free + taken > *units {
            let why = format!(
                "shard {number} has {free} units free, and orders {orders:?} have {taken} of {units}"
            );
            return Err((Broken::LetGo, why));
        }
    }
    Ok(())
}

/// Checks that what callers know of a plain hold is true.
fn check_plain(scope: &Scope, world: &World, order: usize) -> Judgement {
    let was_held = fulfilled(scope, world, order, |wish| matches!(wish, Wish::Reserve { .. }))
        || scope.held.contains(&order);
    let is_paid = fulfilled(scope, world, order, |wish| matches!(wish, Wish::Commit { .. }));
    let is_released = fulfilled(scope, world, order, |wish| matches!(wish, Wish::Release { .. }))
        || replacements(scope, world, order).next().is_some();
    match world.verdict(scope, order) {
        Some(Verdict::Committed) => Ok(()),
        verdict if is_paid => Err((Broken::CommitLost, format!("order {order}: {verdict:?}"))),
        Some(Verdict::Held | Verdict::Expired) => Ok(()),
        Some(Verdict::Released) if is_released => Ok(()),
        None if !was_held => Ok(()),
        verdict => Err((Broken::HoldLost, format!("order {order}: {verdict:?}"))),
    }
}

/// Checks that what callers know of an order is true.
fn check_promises(
    scope: &Scope,
    world: &World,
    order: usize,
    promised: &mut BTreeMap<ShardNumber, i64>,
) -> Judgement {
    let granted = world.witness.granted.get(order).copied().flatten();
    let is_paid = fulfilled(scope, world, order, |wish| matches!(wish, Wish::Commit { .. }));
    let Some(order_scope) = scope.orders.get(order) else {
        return Ok(());
    };
    if order_scope.named_home().is_none() {
        return check_plain(scope, world, order);
    }
    let id = scope.id(order);
    let Some(home) = world.shard(order_scope.home()) else {
        return Ok(());
    };
    let standing = home.standing(id);
    let lost = |broken: Broken, why: &str| Err((broken, format!("order {order}: {why}: {standing:?}")));
    let (verdict, incarnations) = match &standing {
        Some(Standing::Decided {
            verdict,
            incarnations,
            position,
            first_expires_at_ms,
            ..
        }) => {
            let is_another = granted.is_some_and(|granted| {
                granted.log_index != position.log_index || granted.expires_at_ms != *first_expires_at_ms
            });
            if is_another {
                return lost(Broken::HoldLost, "another hold than the one that was told of");
            }
            (*verdict, incarnations)
        }
        // It was forgotten long ago, and nothing can begin it again.
        None if home.is_too_old(id) => return Ok(()),
        _ if is_paid => return lost(Broken::CommitLost, "paid"),
        _ if granted.is_some() => return lost(Broken::HoldLost, "held"),
        _ => return Ok(()),
    };
    match verdict {
        Verdict::Held | Verdict::Expired if is_paid => return lost(Broken::CommitLost, "paid"),
        Verdict::Released | Verdict::Aborted if is_paid => return lost(Broken::CommitLost, "paid"),
        Verdict::Released
            if !fulfilled(scope, world, order, |wish| matches!(wish, Wish::Release { .. }))
                && replacements(scope, world, order).next().is_none() =>
        {
            return lost(Broken::HoldLost, "nobody released it");
        }
        Verdict::Aborted => return lost(Broken::HoldLost, "decided"),
        Verdict::Released | Verdict::Expired => return Ok(()),
        Verdict::Held | Verdict::Committed => {}
    }
    for (shard, incarnation) in incarnations {
        let is_cancelled = fulfilled(
            scope,
            world,
            order,
            |wish| matches!(wish, Wish::Cancel { shard: there, .. } if there == *shard),
        );
        let has_lines = order_scope.shards.contains(shard);
        if is_cancelled || !has_lines {
            continue;
        }
        let part = world
            .shard(*shard)
            .and_then(|shard| shard.part(id, order_scope.named_home()));
        let is_there = part.is_some_and(|part| {
            let may_be = match part.state {
                ReservationState::Prepared | ReservationState::Held => true,
                ReservationState::Committed => verdict == Verdict::Committed,
                _ => false,
            };
            may_be && part.incarnation == *incarnation
        });
        if !is_there {
            return lost(
                if is_paid {
                    Broken::CommitLost
                } else {
                    Broken::HoldLost
                },
                &format!("shard {shard} has {part:?}"),
            );
        }
        if granted.is_some() {
            *promised.entry(*shard).or_default() += order_scope.quantity;
        }
    }
    Ok(())
}
