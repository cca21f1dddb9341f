//! The healing of a state: everybody but the shards dies and every message is lost. Then the resolvers alone
//! bring each order to an end that is the same in all of its shards.

use holdfast_ledger::{OrderStep, Refusal, ReservationState, ReserveMode, ShardNumber, Standing, Verdict};

use crate::{
    judgement::{Judgement, fulfilled},
    scope::{OrderScope, Scope, Wish, step},
    world::{Broken, World},
};

/// More rounds than any order needs.
const ROUNDS: usize = 24;

pub(crate) fn check(scope: &Scope, world: &World) -> Judgement {
    let mut healed = world.clone();
    settle_all(scope, &mut healed)?;
    all_or_nothing(scope, &healed)?;
    check_held_units(scope, &healed)?;
    check_document(scope, &healed)?;
    // Nobody pays or gives back any more: the holds run out, everywhere.
    for _ in 0..ROUNDS {
        if !has_holds(&healed) {
            break;
        }
        for shard in (0..).take(healed.shards.len()) {
            healed.leap(scope, shard);
        }
        settle_all(scope, &mut healed)?;
    }
    all_or_nothing(scope, &healed)?;
    if has_holds(&healed) {
        return Err((Broken::DoesNotHeal, "units stay held for ever".to_owned()));
    }
    Ok(())
}

/// Lets resolvers tell and ask until there is nothing to tell and nobody to ask. Undecided orders run out of
/// time.
fn settle_all(scope: &Scope, world: &mut World) -> Judgement {
    for _ in 0..ROUNDS {
        let told = world.tell(scope);
        let asked = ask(scope, world);
        if let (Some(broken), Some(why)) = (world.broken, &world.why) {
            return Err((broken, format!("while it heals: {why}")));
        }
        if told || asked {
            continue;
        }
        let Some(home) = undecided_at(scope, world) else {
            return Ok(());
        };
        if !world.leap(scope, home) && world.broken.is_none() {
            return Err((Broken::DoesNotHeal, format!("shard {home} never decides")));
        }
    }
    Err((Broken::DoesNotHeal, "the resolvers never come to rest".to_owned()))
}

fn ask(scope: &Scope, world: &mut World) -> bool {
    let mut answered = false;
    for shard in (0..).take(world.shards.len()) {
        let work = world.shard(shard).map(|shard| shard.work());
        for due in work.into_iter().flat_map(|work| work.inquire) {
            let inquire = OrderStep::Inquire {
                shard,
                attempt: due.attempt,
                incarnation: due.incarnation,
            };
            let answer = world.run(scope, due.home, &step(due.reservation_id, inquire));
            if let Some(settlement) = answer.settlement().cloned() {
                answered = true;
                let settle = OrderStep::Settle(settlement.about(due.incarnation));
                world.run(scope, shard, &step(due.reservation_id, settle));
            }
        }
    }
    answered
}

/// Returns the home of an order that waits for its decision.
pub(crate) fn undecided_at(scope: &Scope, world: &World) -> Option<ShardNumber> {
    scope.orders.iter().enumerate().find_map(|(order, order_scope)| {
        let home = order_scope.home();
        let standing = world.shard(home)?.standing(scope.id(order));
        matches!(standing, Some(Standing::Undecided { .. })).then_some(home)
    })
}

fn has_holds(world: &World) -> bool {
    world
        .shards
        .iter()
        .any(|shard| shard.cell().is_none_or(|cell| cell.held > 0))
}

/// Checks that at rest the held units are those of the orders that are held, and no others.
fn check_held_units(scope: &Scope, world: &World) -> Judgement {
    let is_plain = |order: &OrderScope| order.mode == ReserveMode::AllOrNothing && order.id_of.is_none();
    let has_strangers = scope.wishes.iter().any(|wish| matches!(wish, Wish::Alone { .. }));
    if has_strangers || !scope.orders.iter().all(is_plain) {
        return Ok(());
    }
    for (number, shard) in (0..).zip(&world.shards) {
        let is_held = |(order, order_scope): &(usize, &OrderScope)| {
            order_scope.shards.contains(&number) && world.verdict(scope, *order) == Some(Verdict::Held)
        };
        let orders = scope.orders.iter().enumerate().filter(is_held);
        let wanted: i64 = orders.map(|(_, order)| order.quantity).sum();
        let held = shard.cell().map(|cell| cell.held);
        if held != Some(wanted) {
            return Err((
                Broken::DoesNotHeal,
                format!("shard {number} has {held:?} units held, orders have {wanted}"),
            ));
        }
    }
    Ok(())
}

/// Checks that at rest a reference is refused if a live order has it to itself, and is free if none has.
fn check_document(scope: &Scope, world: &World) -> Judgement {
    let is_live = |order: &usize| {
        let verdict = world.verdict(scope, *order);
        scope.orders[*order].is_unique && matches!(verdict, Some(Verdict::Held | Verdict::Committed))
    };
    let live = (0..scope.orders.len()).find(is_live).map(|order| scope.id(order));
    let Some(home) = scope
        .orders
        .iter()
        .find(|order| order.is_unique)
        .map(OrderScope::home)
    else {
        return Ok(());
    };
    let stranger = scope.stranger(home);
    let mut world = world.clone();
    let outcome = stranger.map(|stranger| world.run(scope, home, &stranger).outcome);
    let is_right = match (&outcome, live) {
        (Some(Err(Refusal::ReferenceTaken { reservation_id })), Some(live)) => *reservation_id == live,
        (Some(Ok(_) | Err(Refusal::InsufficientStock(_))), None) => true,
        _ => false,
    };
    if is_right {
        return Ok(());
    }
    Err((
        Broken::TwoDocuments,
        format!("{live:?} has the reference, another one is told {outcome:?}"),
    ))
}

/// Checks that at rest an order is the same in all of its shards.
fn all_or_nothing(scope: &Scope, world: &World) -> Judgement {
    for (order, order_scope) in scope.orders.iter().enumerate() {
        let id = scope.id(order);
        let states: Vec<Option<ReservationState>> = order_scope
            .participants()
            .iter()
            .map(|shard| Some(world.shard(*shard)?.part(id, order_scope.named_home())?.state))
            .collect();
        let parts_in = |state: ReservationState| states.iter().filter(|part| **part == Some(state)).count();
        let committed: Vec<u8> = order_scope
            .shards
            .iter()
            .filter_map(|shard| world.witness.committed.get(order)?.get(*shard as usize).copied())
            .collect();
        let everywhere = states.len();
        let bad = if parts_in(ReservationState::Prepared) > 0 {
            Some("a part stays prepared")
        } else if ![0, everywhere].contains(&parts_in(ReservationState::Held)) {
            Some("held in one shard and not in another")
        } else if committed.iter().any(|times| *times > 1) {
            return Err((Broken::DoubleCommit, format!("order {order}: {committed:?}")));
        } else if committed.iter().any(|times| *times != committed[0]) {
            Some("committed in one shard and not in another")
        } else {
            None
        };
        if let Some(bad) = bad {
            return Err((
                Broken::DoesNotHeal,
                format!("order {order}: {bad}: {states:?}, committed {committed:?} times"),
            ));
        }
        let is_paid = fulfilled(scope, world, order, |wish| matches!(wish, Wish::Commit { .. }));
        if is_paid && committed[0] == 0 {
            return Err((Broken::CommitLost, format!("order {order}: {states:?}")));
        }
    }
    Ok(())
}
