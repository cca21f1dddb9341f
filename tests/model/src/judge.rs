//! Is what callers were told still true, and can whatever happened still be brought to an end?

use std::collections::{BTreeMap, HashMap};

use holdfast_ledger::{ReservationState, ShardNumber, Standing, Verdict};
use parking_lot::Mutex;

use crate::{
    heal,
    scope::{Scope, Wish},
    world::{Broken, World},
};

/// Judges states. What it says follows from the shards and from what callers were told, so it is remembered for those.
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

/// A broken claim, and how.
pub(crate) type Judgement = Result<(), (Broken, String)>;

/// What must be so at every moment.
fn check(scope: &Scope, world: &World) -> Judgement {
    check_effects(scope, world)?;
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

/// Of requests that share an id and a shard, one has an effect.
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

/// What callers know of an order is so.
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
        // Long forgotten, when nothing can begin it again.
        None if home.is_too_old(id) => return Ok(()),
        _ if is_paid => return lost(Broken::CommitLost, "paid"),
        _ if granted.is_some() => return lost(Broken::HoldLost, "held"),
        _ => return Ok(()),
    };
    match verdict {
        Verdict::Held | Verdict::Expired if is_paid => return lost(Broken::CommitLost, "paid"),
        Verdict::Released | Verdict::Aborted if is_paid => return lost(Broken::CommitLost, "paid"),
        Verdict::Released if !fulfilled(scope, world, order, |wish| matches!(wish, Wish::Release { .. })) => {
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
        if is_cancelled {
            continue;
        }
        let part = world
            .shard(*shard)
            .and_then(|shard| shard.part(id, order_scope.home()));
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

/// Was a wish for this order fulfilled?
pub(crate) fn fulfilled(scope: &Scope, world: &World, order: usize, is_meant: impl Fn(Wish) -> bool) -> bool {
    let wishes = scope.wishes.iter().zip(&world.witness.fulfilled);
    wishes
        .into_iter()
        .any(|(wish, done)| *done && wish.order() == order && is_meant(*wish))
}
